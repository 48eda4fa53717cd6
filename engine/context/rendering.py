"""A context as text: sections from what changes least to what changes most, items by file.

Nothing here knows a clock, an id or a counter. `pieces` is the prompt as the chat template has it,
control tokens apart from text, since they are counted and read apart.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from backcast.domain.errors import InputError
from backcast.domain.node import path_of

TEMPLATES = ("mistral", "chatml", "qwen3")
"qwen3 is chatml that ends by the empty thought of a model that shall not think."
VERSION = 2
"Grows when equal items would give another prompt; what earlier versions wrote can still be read."


class Shown(NamedTuple):
    """What rendering needs of an item."""

    node: str
    section: str
    text: str
    level: str = "full"


FIRST_SYSTEM = (
    "You write Python for the project that is shown below. Use what it already has: its functions,"
    " classes and names. Answer with code only."
)
FIRST_ORDER = (
    "dependencies", "related modules", "historical patterns", "current module",
    "related functions", "test results", "recent errors", "task description",
)  # fmt: skip
"What version 1 wrote, which knew no policy."


class Piece(NamedTuple):
    """A part of a rendered prompt."""

    text: str
    control: bool = False
    "Whether it is one control token of the template."


def joint(level: str, version: int = VERSION) -> str:
    """What divides an item from the one after it; a line's end after what has no body."""
    return "\n" if version > 1 and level in ("signature", "name") else "\n\n"


def messages_of(
    items: Sequence[Shown],
    system: str,
    order: Sequence[str],
    version: int = VERSION,
) -> tuple[tuple[str, str], ...]:
    """Role and text of each message."""
    return (("system", system), ("user", body_of(items, order, version)))


def body_of(items: Sequence[Shown], order: Sequence[str], version: int = VERSION) -> str:
    """The items, grouped under their sections and the paths of their files."""
    parts = []
    for section in order:
        shown = [item for item in items if item.section == section]
        if shown:
            parts.append(f"# {section.capitalize()}\n\n" + _by_file(shown, version))
    return "\n\n".join(parts)


def heading(path: str, version: int = VERSION) -> str:
    """The line above the items of a file, and what divides it from them."""
    return f"## {path}" + ("\n" if version > 1 else "\n\n")


@lru_cache(maxsize=50_000)
def file_of(node: str) -> str:
    """The path of the file that a node is or is in; empty for what is in none."""
    return path_of(node) if node.startswith(_IN_FILES) else ""


_IN_FILES = ("module:", "function:", "method:", "class:", "test:", "attribute:")


def _by_file(items: Sequence[Shown], version: int) -> str:
    parts: list[str] = []
    path = ""
    for number, item in enumerate(items):
        file = file_of(item.node)
        if file and file != path:
            parts.append(heading(file, version))
        path = file
        last = number + 1 == len(items)
        parts.append(item.text if last else item.text + joint(item.level, version))
    return "".join(parts)


UNTHOUGHT = (
    Piece("<think>", True), Piece("\n\n"), Piece("</think>", True), Piece("\n\n"),
)  # fmt: skip
"An empty thought, after which a model that thinks does not."


def pieces(template: str, messages: Sequence[tuple[str, str]]) -> list[Piece]:
    """The prompt as a chat template renders it, up to where the answer begins."""
    if template in ("chatml", "qwen3"):
        found = []
        for role, text in messages:
            found += [Piece("<|im_start|>", True), Piece(f"{role}\n{text}")]
            found += [Piece("<|im_end|>", True), Piece("\n")]
        found += [Piece("<|im_start|>", True), Piece("assistant\n")]
        return found if template == "chatml" else [*found, *UNTHOUGHT]
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
