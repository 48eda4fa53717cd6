"""The prefix that a prompt shares with the one before, which llama.cpp need not read again.

The first difference ends it: a model's cache holds tokens only as a prefix.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from backcast.domain.texts import HEADINGS
from backcast.engine.models.prefixes import shared
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
    "The section of the first difference; empty without one, or before any section."


def compared(
    before: Sequence[PromptPiece],
    after: Sequence[PromptPiece],
    tokenizer: Encodes,
    texts: Mapping[str, str] = HEADINGS,
) -> Prefix:
    """Compare two prompts from their beginning; `texts` are the later one's headings."""
    old, new = encoded(before, tokenizer), encoded(after, tokenizer)
    sections = {texts[section]: section for section in HEADINGS if texts[section]}
    return Prefix(shared(old, new), len(new), _section(_text(before), _text(after), sections))


def encoded(prompt: Sequence[PromptPiece], tokenizer: Encodes) -> list[Token]:
    """Return the tokens of a prompt."""
    tokens: list[Token] = []
    for piece in prompt:
        tokens += [piece.text] if piece.control else tokenizer.encode(piece.text)
    return tokens


def _text(prompt: Sequence[PromptPiece]) -> str:
    return "".join(piece.text for piece in prompt)


def _section(before: str, after: str, sections: Mapping[str, str]) -> str:
    """Return the section of the heading above the first difference."""
    same = shared(before, after)
    if same == len(before) == len(after):
        return ""
    # The line in which they differ may be the heading itself.
    line_end = after.find("\n", same)
    lines = after[: line_end if line_end >= 0 else len(after)].split("\n")
    heads = (line for line in reversed(lines) if line.startswith("# ") or line in sections)
    head = next(heads, "")
    return sections.get(head, head.removeprefix("# ").lower())
