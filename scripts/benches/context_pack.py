"""Pieces of source packed into a number of tokens, under lines with their files' paths."""

from collections.abc import Iterable
from typing import NamedTuple

from backcast.engine.models.tokenizers import Tokenizer


class Piece(NamedTuple):
    """A text of a file that is shown whole or not at all."""

    path: str
    name: str
    text: str


class Counting:
    """A counter of texts as parts of a longer one; each is counted once.

    The tokens of this tokenizer never span a line's end, so that the parts add up.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.known: dict[str, int] = {}
        self._alone = tokenizer.count("\n")

    def part(self, text: str) -> int:
        """Return the tokens that a text and its last line's end add to a longer text."""
        if text not in self.known:
            self.known[text] = self.tokenizer.count(f"\n{text}\n") - self._alone
        return self.known[text]

    def whole(self, text: str) -> int:
        """Return the tokens of a text that stands alone."""
        return self.tokenizer.count(text)


class Pack:
    """A context that is being filled, never above its tokens."""

    def __init__(self, counting: Counting, tokens: int) -> None:
        self.counting, self.free = counting, tokens - 2
        self.tokens = tokens
        self.files: dict[str, list[Piece]] = {}
        self.taken: set[tuple[str, str]] = set()

    def fill(self, pieces: Iterable[Piece], most: int | None = None) -> None:
        """Take the pieces that fit, in order, up to `most` tokens."""
        room = self.free if most is None else min(most, self.free)
        for piece in pieces:
            if room < 8:
                break
            if (piece.path, piece.name) in self.taken:
                continue
            cost = self.counting.part(piece.text)
            if piece.path not in self.files:
                cost += self.counting.part(f"## {piece.path}")
            if cost <= room:
                self.files.setdefault(piece.path, []).append(piece)
                self.taken.add((piece.path, piece.name))
                room -= cost
                self.free -= cost

    def text(self, after: str = "") -> str:
        """Return the context, followed by another method's text."""
        while True:
            blocks = [
                "\n".join([f"## {path}", *(piece.text for piece in pieces)])
                for path, pieces in self.files.items()
            ]
            text = "\n".join([*blocks, after] if after else blocks)
            if not self.files or self.counting.whole(text) <= self.tokens:
                return text
            path = next(reversed(self.files))
            self.files[path].pop()
            if not self.files[path]:
                del self.files[path]
