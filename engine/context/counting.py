"""Tokens of texts, each text counted once however many prompts hold it."""

from collections import OrderedDict

from engine.context.rendering import joint
from engine.context.tokenizers import Tokenizer

KEPT = 100_000
"Texts whose count is kept, those asked for last."


class Counting:
    """A tokenizer that remembers what it has counted."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.asked = self.counted = 0
        "Texts, and those of them that the tokenizer had to be asked for."
        self._kept: OrderedDict[str, int] = OrderedDict()

    def count(self, text: str) -> int:
        """The tokens of a text."""
        self.asked += 1
        tokens = self._kept.get(text)
        if tokens is None:
            self.counted += 1
            tokens = self._kept[text] = self.tokenizer.count(text)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(text)
        return tokens

    def item(self, level: str, text: str) -> int:
        """The tokens of an item shown at a level, with what divides it from the next."""
        return self.count(text + joint(level))
