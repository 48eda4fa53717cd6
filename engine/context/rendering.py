"""A context as text: sections from what changes least to what changes most, items by file.

Nothing here knows a clock, an id or a counter; `backcast.engine.models.templates` makes a prompt.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from backcast.domain.context import Item
from backcast.domain.node import path_of
from backcast.domain.texts import TEXTS

VERSION = 2
"Grows when equal items would give another prompt; what earlier versions wrote can still be read."


class RenderItem(NamedTuple):
    """What rendering needs of an item; an `Item` has it, too."""

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


def joint(level: str, version: int = VERSION) -> str:
    """Return what divides an item from the one after it; a line's end after what has no body."""
    return "\n" if version > 1 and level in ("signature", "name") else "\n\n"


def messages_of(
    items: Sequence[RenderItem | Item],
    system: str,
    order: Sequence[str],
    version: int = VERSION,
    texts: Mapping[str, str] = TEXTS,
) -> tuple[tuple[str, str], ...]:
    """Role and text of each message."""
    return (("system", system), ("user", body_of(items, order, version, texts)))


def body_of(
    items: Sequence[RenderItem | Item],
    order: Sequence[str],
    version: int = VERSION,
    texts: Mapping[str, str] = TEXTS,
) -> str:
    """Return the items, grouped under their sections and the paths of their files."""
    parts = []
    for section in order:
        shown = [item for item in items if item.section == section]
        if shown:
            title = f"{texts[section]}\n\n" if texts[section] else ""
            parts.append(title + _by_file(shown, version, texts["file"]))
    return "\n\n".join(parts)


def heading(path: str, version: int = VERSION, text: str = TEXTS["file"]) -> str:
    """Return the line above the items of a file, and what divides it from them; or nothing."""
    return text.format(path=path) + ("\n" if version > 1 else "\n\n") if text else ""


@lru_cache(maxsize=50_000)
def file_of(node: str) -> str:
    """Return the path of the file that a node is or is in; empty for what is in none."""
    return path_of(node) if node.startswith(_IN_FILES) else ""


_IN_FILES = ("module:", "function:", "method:", "class:", "test:", "attribute:")


def _by_file(items: Sequence[RenderItem | Item], version: int, text: str) -> str:
    parts: list[str] = []
    path = ""
    for number, item in enumerate(items):
        file = file_of(item.node)
        if file and file != path:
            parts.append(heading(file, version, text))
        path = file
        last = number + 1 == len(items)
        parts.append(item.text if last else item.text + joint(item.level, version))
    return "".join(parts)
