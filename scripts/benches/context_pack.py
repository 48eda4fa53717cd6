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
    """Counts texts as they stand within a longer one, each once.

    The tokens of this tokenizer never span a line's end, so that the parts add up.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.known: dict[str, int] = {}
        self._alone = tokenizer.count("\n")

    def part(self, text: str) -> int:
        """The tokens that a text and the end of its last line add to a longer one."""
        if text not in self.known:
            self.known[text] = self.tokenizer.count(f"\n{text}\n") - self._alone
        return self.known[text]

    def whole(self, text: str) -> int:
        """The tokens of a text that stands alone."""
        return self.tokenizer.count(text)


class Pack:
    """A context that is being filled, never above its tokens."""

    def __init__(self, counting: Counting, tokens: int) -> None:
        self.counting, self.free = counting, tokens - 2
        self.tokens = tokens
        self.files: dict[str, list[Piece]] = {}
        self.taken: set[tuple[str, str]] = set()

    def fill(self, pieces: Iterable[Piece], most: int | None = None) -> None:
        """Take the pieces that fit, in order; of them no more than so many tokens."""
        left = self.free if most is None else min(most, self.free)
        for piece in pieces:
            if left < 8:
                break
            if (piece.path, piece.name) in self.taken:
                continue
            cost = self.counting.part(piece.text)
            if piece.path not in self.files:
                cost += self.counting.part(f"## {piece.path}")
            if cost <= left:
                self.files.setdefault(piece.path, []).append(piece)
                self.taken.add((piece.path, piece.name))
                left -= cost
                self.free -= cost

    def text(self, after: str = "") -> str:
        """The context; what another method made may follow it."""
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
