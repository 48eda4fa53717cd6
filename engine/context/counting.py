"""Tokens of texts, each text counted once however many prompts hold it."""

from collections import OrderedDict

from backcast.engine.context.rendering import joint
from backcast.engine.models.tokenizers import Tokenizer

KEPT = 100_000
"Texts whose count is kept, those asked for last."
WHOLE = 8
"Prompts whose tokens are kept: one is counted, compared and told, and stays the same."

Told = tuple[tuple[str, str], ...]
"Levels and their texts."
Fewer = tuple[str, str, int]
"A level, its text and the tokens of that."


class Counting:
    """A tokenizer that remembers what it has counted."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.asked = self.counted = 0
        "Texts, and those of them that the tokenizer had to be asked for."
        self._kept: OrderedDict[str, int] = OrderedDict()
        self._fewer: dict[Told, tuple[Fewer, ...]] = {}
        self._whole: OrderedDict[str, list[int]] = OrderedDict()

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

    def fewer(self, told: Told) -> tuple[Fewer, ...]:
        """Of levels and their texts those that say something, in fewer tokens than those before."""
        found = self._fewer.get(told)
        if found is None:
            made: list[Fewer] = []
            for level, text in told:
                tokens = self.item(level, text) if text else 0
                if text and (not made or tokens < made[-1][2]):
                    made.append((level, text, tokens))
            if len(self._fewer) >= KEPT:
                self._fewer.clear()
            found = self._fewer[told] = tuple(made)
        return found

    def encode(self, text: str) -> list[int]:
        """The tokens of a prompt's text; not to be changed."""
        found = self._whole.get(text)
        if found is None:
            found = self._whole[text] = self.tokenizer.encode(text)
            if len(self._whole) > WHOLE:
                self._whole.popitem(last=False)
        return found
