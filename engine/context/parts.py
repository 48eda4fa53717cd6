"""Parts of large functions, since what is like new code is often a part of what is too large.

Code that is taken out of a function is the clearest case: the function holds it word for word, and
no window of a small model holds the function.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from backcast.engine.context.evidence import DECIMALS, Evidence
from backcast.engine.context.sources import SourcePiece
from backcast.engine.context.surroundings import Surroundings

_QUOTES = re.compile(r"\s*[rRuU]?(\"{3}|'{3})")
Count = Callable[[str], int]
LEAST, MOST = 200, 520
"Characters of a block: it ends before a blank or outer line behind so many, or after so many."
SIZES = (500, 220)
"Tokens of the parts that are offered, the largest first."
OF_NAMES = ("like class", "like name", "like path", "parameters", "same name")
"Evidence that a function as a whole is alike."


class Block(NamedTuple):
    """Lines of a function that stay together."""

    begin: int
    "Its first line, counted from 0."
    end: int
    "The line behind its last one."


class Parts:
    """The parts of functions that are likest to what will be written."""

    def __init__(
        self, evidence: Evidence, likeness: Mapping[str, float], count: Count, *, code: bool = False
    ) -> None:
        """`likeness` are the weights by which texts are alike; `count` counts tokens. With `code`
        no part is of a docstring."""
        self.evidence, self.count, self.code = evidence, count, code
        self.words, self.near = likeness.get("text words", 0.0), likeness.get("near", 0.0)
        evidence.gather(("text words", "near"))
        self.named = {name: likeness[name] for name in OF_NAMES if likeness.get(name)}

    def of(
        self, row: int, piece: SourcePiece, alike: float, most: int, surroundings: Surroundings
    ) -> Iterator[tuple[str, float]]:
        """Yield parts of a symbol with the chance that they are like what will be written.

        `alike` is that of the whole; a part has at most `most` tokens, and no line that stands
        around the target's place.
        """
        path = self.evidence.symbols.named[row].path
        lines = piece.text.split("\n")
        head, place = _head(lines, piece.signature.split("\n")), piece.place
        begins = _behind_docstring(lines, head) if self.code else head
        cut = [
            block for block in _blocks(piece.text, begins)
            if not surroundings.overlaps(path, place + block.begin, place + block.end - 1)
        ]  # fmt: skip
        if not cut:
            return
        texts = ["\n".join(lines[begin:end]) for begin, end in cut]
        scores, sizes = list(map(self.evidence.part_words, texts)), list(map(self.count, texts))
        for size in SIZES:
            if size > most:
                continue
            first, last = _window(cut, scores, sizes, size)
            begin, end = cut[first].begin, cut[last].end
            text = "\n".join(lines[begin:end]).rstrip()
            more = self.words * (
                self.evidence.part_words(text) - float(self.evidence["text words"][row])
            )
            if path == surroundings.path:
                near = self.evidence.nearness(place + begin, place + end)
                more += self.near * (near - float(self.evidence["near"][row]))
            # What is alike by its name is alike as a whole.
            more -= sum(self.named[name] * float(self.evidence[name][row]) for name in self.named)
            odds = alike / (1 - alike) * math.exp(more) if alike < 1 else math.inf
            chance = round(1 - 1 / (1 + odds), DECIMALS)
            yield _shown(piece.signature, text, begin > head, end < len(lines)), chance


def _head(lines: Sequence[str], signature: Sequence[str]) -> int:
    """Return how many lines of a function are its decorators and its signature."""
    for above in range(len(lines) - len(signature) + 1):
        if lines[above + len(signature) - 1] == signature[-1]:
            return above + len(signature)
    return len(signature)


def _behind_docstring(lines: Sequence[str], head: int) -> int:
    """Return the line behind the docstring of a function whose body begins at line `head`."""
    opened = _QUOTES.match(lines[head]) if head < len(lines) else None
    if opened is None:
        return head
    for number in range(head, len(lines)):
        begin = opened.end() if number == head else 0
        if opened[1] in lines[number][begin:]:
            return number + 1
    return head


def _shown(signature: str, text: str, before: bool, behind: bool) -> str:
    first = signature.split("\n")[0]
    gap = first[: len(first) - len(first.lstrip())] + "    ..."
    return "\n".join([signature, *([gap] if before else []), text, *([gap] if behind else [])])


def _window(
    blocks: Sequence[Block], scores: Sequence[float], sizes: Sequence[int], most: int
) -> tuple[int, int]:
    """Return the first and last block of a window around the best one, without a gap.

    It has at most `most` tokens, unless the best block alone has more.
    """
    first = last = max(range(len(scores)), key=lambda n: (scores[n], -n))
    held = sizes[first]
    while True:
        sides = list[int]()
        if first and blocks[first - 1].end == blocks[first].begin:
            sides.append(first - 1)
        if last + 1 < len(blocks) and blocks[last].end == blocks[last + 1].begin:
            sides.append(last + 1)
        sides = [n for n in sides if held + sizes[n] <= most]
        if not sides:
            return first, last
        best = max(sides, key=lambda n: (scores[n], n))
        held += sizes[best]
        first, last = min(first, best), max(last, best)


@lru_cache(4_096)
def _blocks(text: str, head: int) -> tuple[Block, ...]:
    """Return the blocks of a function's lines, from line `head` on, counted from 0."""
    found, lines = list[Block](), text.split("\n")
    begin, size, depth = head, 0, 0
    for number in range(head, len(lines)):
        line = lines[number]
        ends = not line.strip() or _depth(line) <= depth
        if size and (size + len(line) > MOST or (size >= LEAST and ends)):
            found.append(Block(begin, number))
            begin, size = number, 0
        if not size:
            depth = _depth(line)
        size += len(line) + 1
    if size:
        found.append(Block(begin, len(lines)))
    return tuple(found)


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())
