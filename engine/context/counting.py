"""Tokens of texts, each text counted once however many prompts hold it."""

from collections import OrderedDict
from collections.abc import Callable

from backcast.engine.context.rendering import joint
from backcast.engine.models.tokenizers import Tokenizer

KEPT = 100_000
"Texts whose count is kept; then all are counted anew."
KEPT_LINES = 256
"Texts whose lines are kept with their counts."
WHOLE = 8
"Prompts whose size and tokens are kept: one is counted and compared, and stays the same."

LevelTexts = tuple[tuple[str, str], ...]
"Levels and their texts, the most detailed first."
Fewer = tuple[str, str, int]
"A level, its text and the tokens of that."


class CountedLines:
    """The lines of a text and their tokens, each with one for its end."""

    def __init__(self, lines: list[str], count: Callable[[str], int]) -> None:
        self.lines, self._count = lines, count
        self._sizes = [0] * len(lines)
        "Of each line; 0 until it is asked for."
        self._sums = [0]
        "Of the first lines."

    def size(self, place: int) -> int:
        """Return the tokens of a line, by its place from 0."""
        size = self._sizes[place]
        if not size:
            size = self._sizes[place] = self._count(self.lines[place]) + 1
        return size

    def fit(self, limit: int) -> bool:
        """Tell whether all lines have at most so many tokens."""
        sums, lines = self._sums, len(self.lines)
        # Each line has one token at the least; what is over the limit is not counted to the end.
        while len(sums) <= lines <= limit and sums[-1] <= limit:
            sums.append(sums[-1] + self.size(len(sums) - 1))
        return len(sums) > lines and sums[-1] <= limit


class Counting:
    """A tokenizer that remembers what it has counted."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.asked = self.counted = 0
        "Texts, and those of them that the tokenizer had to be asked for."
        self._kept: dict[str, int] = {}
        self._fewer: dict[LevelTexts, tuple[Fewer, ...]] = {}
        self._whole: OrderedDict[str, list[int]] = OrderedDict()
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._lines: OrderedDict[str, CountedLines] = OrderedDict()

    def count(self, text: str) -> int:
        """Return the tokens of a text."""
        self.asked += 1
        tokens = self._kept.get(text)
        if tokens is None:
            self.counted += 1
            if len(self._kept) >= KEPT:
                self._kept.clear()
            tokens = self._kept[text] = self.tokenizer.count(text)
        return tokens

    def item(self, level: str, text: str) -> int:
        """Return the tokens of an item at a level, with the separator behind it."""
        return self.count(text + joint(level))

    def lines(self, text: str) -> "CountedLines":
        """Return the lines of a text, whose tokens are counted as they are asked for."""
        found = self._lines.get(text)
        if found is None:
            if len(self._lines) >= KEPT_LINES:
                self._lines.popitem(last=False)
            found = self._lines[text] = CountedLines(text.split("\n"), self.count)
        return found

    def fewer(self, texts: LevelTexts) -> tuple[Fewer, ...]:
        """Return the levels with a text, each of fewer tokens than the one before."""
        levels = self._fewer.get(texts)
        if levels is None:
            chosen: list[Fewer] = []
            for level, text in texts:
                tokens = self.item(level, text) if text else 0
                if text and (not chosen or tokens < chosen[-1][2]):
                    chosen.append((level, text, tokens))
            if len(self._fewer) >= KEPT:
                self._fewer.clear()
            levels = self._fewer[texts] = tuple(chosen)
        return levels

    def size(self, text: str) -> int:
        """Return the number of tokens of a whole prompt, or of most of it."""
        size = self._sizes.get(text)
        if size is None:
            size = self._sizes[text] = self.tokenizer.count(text)
            if len(self._sizes) > WHOLE:
                self._sizes.popitem(last=False)
        return size

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a prompt's text; the list is shared, so do not change it."""
        tokens = self._whole.get(text)
        if tokens is None:
            tokens = self._whole[text] = self.tokenizer.encode(text)
            if len(self._whole) > WHOLE:
                self._whole.popitem(last=False)
        return tokens
