"""How many tokens is a text? Each model counts its own."""

from typing import Protocol


class Tokenizer(Protocol):
    """Counts the tokens of a text as one model does."""

    id: str
    exact: bool
    "Whether `count` is the number itself, or a bound that it never exceeds."

    def count(self, text: str) -> int:
        """The tokens of a text, without anything that a chat template adds."""


class UpperBound:
    """A bound for every tokenizer whose tokens each stand for at least one byte of UTF-8.

    That holds for byte-level BPE (Qwen) and for SentencePiece with byte fallback (Mistral), which
    may put one space in front. The true number is a third of it for English, or less.
    """

    id = "upper bound 1"
    exact = False

    def count(self, text: str) -> int:
        """The bytes of the text in UTF-8, and one for a space in front."""
        return len(text.encode(errors="replace")) + 1 if text else 0
