"""A context as text: sections from what changes least to what changes most, items by file.

Nothing here knows a clock, an id or a counter. `pieces` is the prompt as the chat template has it,
control tokens apart from text, since they are counted and read apart.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from domain.errors import InputError
from domain.node import path_of

SYSTEM = (
    "You write Python for the project that is shown below. Use what it already has: its functions,"
    " classes and names. Answer with code only."
)
ORDER = (
    "dependencies", "related modules", "historical patterns", "current module",
    "related functions", "test results", "recent errors", "task description",
)  # fmt: skip
"The sections, from stable to volatile."
TEMPLATES = ("mistral", "chatml")


class Shown(NamedTuple):
    """What rendering needs of an item."""

    node: str
    section: str
    text: str


class Piece(NamedTuple):
    """A part of a rendered prompt."""

    text: str
    control: bool = False
    "Whether it is one control token of the template."


def messages_of(items: Sequence[Shown]) -> tuple[tuple[str, str], ...]:
    """Role and text of each message."""
    return (("system", SYSTEM), ("user", body_of(items)))


def body_of(items: Sequence[Shown]) -> str:
    """The items, grouped under their sections and the paths of their files."""
    parts = []
    for section in ORDER:
        shown = [item for item in items if item.section == section]
        if shown:
            parts.append(f"# {section.capitalize()}\n\n" + _by_file(shown))
    return "\n\n".join(parts)


def _by_file(items: Sequence[Shown]) -> str:
    blocks: list[str] = []
    path = ""
    for item in items:
        file = path_of(item.node) if item.node.partition(":")[0] not in ("task", "failure") else ""
        if file and file != path:
            blocks.append(f"## {file}")
        path = file
        blocks.append(item.text)
    return "\n\n".join(blocks)


def pieces(template: str, messages: Sequence[tuple[str, str]]) -> list[Piece]:
    """The prompt as a chat template renders it, up to where the answer begins."""
    if template == "chatml":
        found = []
        for role, text in messages:
            found += [Piece("<|im_start|>", True), Piece(f"{role}\n{text}")]
            found += [Piece("<|im_end|>", True), Piece("\n")]
        return [*found, Piece("<|im_start|>", True), Piece("assistant\n")]
    if template == "mistral":
        # It takes no system role: that text goes into the first user turn.
        system = "".join(f"{text}\n\n" for role, text in messages if role == "system")
        found = [Piece("<s>", True)]
        for role, text in messages:
            if role == "user":
                found += [Piece("[INST]", True), Piece(system + text), Piece("[/INST]", True)]
                system = ""
            elif role == "assistant":
                found += [Piece(text), Piece("</s>", True)]
        return found
    raise InputError(f"needed a chat template of {', '.join(TEMPLATES)}, found {template!r}")


def digest_of(prompt: Sequence[Piece]) -> str:
    """SHA-256 of a rendered prompt, in hex."""
    # Control tokens and text stay apart, so that no text can pose as a token.
    told = "".join(f"{piece.control:d}{len(piece.text)}:{piece.text}" for piece in prompt)
    return sha256(told.encode(errors="surrogatepass")).hexdigest()
