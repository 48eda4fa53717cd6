"""How much of a prompt is that of the one before? As much of it llama.cpp need not read again.

What differs first ends it: a model's cache holds tokens only as a prefix.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from backcast.engine.models.templates import PromptPiece
from backcast.engine.models.tokenizers import Encodes

Token = int | str
"The number of a token; of a control token of the chat template its text."


class Prefix(NamedTuple):
    """What two consecutive prompts share from their beginning."""

    tokens: int
    of: int
    "Tokens of the later prompt."
    section: str
    "That in which they differ first; empty where they do not, or before any section."


def compared(
    before: Sequence[PromptPiece], after: Sequence[PromptPiece], tokenizer: Encodes
) -> Prefix:
    """What two prompts share from their beginning."""
    old, new = encoded(before, tokenizer), encoded(after, tokenizer)
    return Prefix(shared(old, new), len(new), _section(_text(before), _text(after)))


def shared(before: Sequence[Token], after: Sequence[Token]) -> int:
    """How many leading tokens two prompts share."""
    pairs = zip(before, after, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def encoded(prompt: Sequence[PromptPiece], tokenizer: Encodes) -> list[Token]:
    """The tokens of a prompt."""
    found: list[Token] = []
    for piece in prompt:
        found += [piece.text] if piece.control else tokenizer.encode(piece.text)
    return found


def _text(prompt: Sequence[PromptPiece]) -> str:
    return "".join(piece.text for piece in prompt)


def _section(before: str, after: str) -> str:
    """The heading above the first difference."""
    same = shared(before, after)
    if same == len(before) == len(after):
        return ""
    # The line in which they differ may be the heading itself.
    line_end = after.find("\n", same)
    lines = after[: line_end if line_end >= 0 else len(after)].split("\n")
    heads = (line[2:] for line in reversed(lines) if line.startswith("# "))
    return next(heads, "").lower()
