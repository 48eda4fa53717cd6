"""Do the modules of a task stand elsewhere as its log tells them? One verdict a module.

A log of an agent need not hold every text, and may show one by lines only; so what is unknown is
said to be unknown, and what was shown by lines is compared by lines.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from backcast.domain.errors import InputError
from backcast.domain.events import BLOB_PREFIX
from backcast.domain.moment import Moment
from backcast.engine.history.snapshots import state_at
from backcast.engine.history.text_origin import origin_of
from backcast.engine.log.store import EventStore
from backcast.projections import dependency_graph

SAME, DIFFERS, UNKNOWN, MISSING, EXTRA, OUTSIDE = (
    "same", "differs", "unknown text", "missing", "deleted", "outside",
)  # fmt: skip
_OUTSIDE = "it lies outside of the working folder"
_OUT = "a link that leads out of the folder"
Other = Callable[[str], bytes | None]
"Returns the text of a module elsewhere; None where there is none."


class OutsidePathError(InputError):
    """A path that leads out of the folder that is compared."""


class ModuleVerdict(NamedTuple):
    """How a module compares to its like elsewhere."""

    path: str
    verdict: str
    "same, differs, unknown text, missing (elsewhere), deleted (but there), outside."
    reason: str = ""
    line: int = 0
    "The first line that differs; 0 where none does."
    ours: str = ""
    "That line by the log."
    theirs: str = ""
    "That line elsewhere; of an unknown text, how much of what was written stands there."


def compared_modules(
    store: EventStore, task_id: str, moment: Moment, other: Other
) -> Iterator[ModuleVerdict]:
    """Yield a verdict for each module that the task has changed or read."""
    state = state_at(store, dependency_graph, task_id, moment)
    for path in sorted(state.modules):
        module = state.modules[path]
        if path.startswith("../"):
            yield ModuleVerdict(path, OUTSIDE, _OUTSIDE)
            continue
        try:
            theirs = other(path)
        except OutsidePathError as error:
            yield ModuleVerdict(path, OUTSIDE, str(error))
            continue
        if module.deleted:
            verdict = SAME if theirs is None else EXTRA
            yield ModuleVerdict(path, verdict, "the task deleted it")
            continue
        origin = origin_of(store, task_id, module.version)
        if module.source is None:
            pieces = _pieces_in(store, origin.pieces, theirs)
            yield ModuleVerdict(path, UNKNOWN, origin.unknown, theirs=pieces)
        elif theirs is None:
            yield ModuleVerdict(path, MISSING)
        else:
            yield _compared(path, store.get(module.source), theirs, by_lines=origin.by_lines)


def _pieces_in(store: EventStore, pieces: Sequence[tuple[str, str]], theirs: bytes | None) -> str:
    """Return how much of what an edit wrote stands in a text; empty where nothing is known."""
    written = [_piece(store, new) for _, new in pieces if new.strip()]
    if not written or theirs is None:
        return ""
    text = theirs.replace(b"\r\n", b"\n")
    found = sum(piece.replace(b"\r\n", b"\n") in text for piece in written)
    return f"{found} of {len(written)} written pieces stand there"


def _piece(store: EventStore, text: str) -> bytes:
    if text.startswith(BLOB_PREFIX) and len(text) == len(BLOB_PREFIX) + 64:
        return store.get(text)
    return text.encode("utf-8", "surrogatepass")


def _compared(path: str, ours: bytes, theirs: bytes, *, by_lines: bool) -> ModuleVerdict:
    if ours == theirs:
        return ModuleVerdict(path, SAME)
    lines = [_lines(body, exact=not by_lines) for body in (ours, theirs)]
    if lines[0] == lines[1]:
        return ModuleVerdict(path, SAME, "by lines, as the log does not tell their ends")
    length = max(map(len, lines))
    padded = [own + [""] * (length - len(own)) for own in lines]
    place = next(n for n in range(length + 1) if n == length or padded[0][n] != padded[1][n])
    if place == length:
        return ModuleVerdict(path, DIFFERS, "the last line break")
    return ModuleVerdict(path, DIFFERS, "", place + 1, padded[0][place], padded[1][place])


def _lines(body: bytes, *, exact: bool) -> list[str]:
    text = body.decode("utf-8", "backslashreplace")
    # A tool that shows lines need not tell an empty last line from a line break at the end.
    return (text if exact else text.replace("\r\n", "\n").rstrip("\n")).split("\n")


def in_folder(folder: Path) -> Other:
    """Return what reads the modules of a folder, and nothing that lies outside of it."""
    whole = folder.resolve()

    def text(path: str) -> bytes | None:
        file = folder / path
        if "\0" in path:
            return None
        try:
            real = file.resolve()
        except (OSError, RuntimeError):
            return None  # a circle of links
        if not real.is_relative_to(whole):
            raise OutsidePathError(_OUT if file.is_symlink() else _OUTSIDE)
        if not file.is_file():
            return None
        try:
            return file.read_bytes()
        except OSError as error:
            raise InputError(f"{file}: cannot be read: {error.strerror}") from None

    return text


def in_task(store: EventStore, task_id: str, moment: Moment) -> Other:
    """Return what reads the modules of a task at a moment."""
    state = state_at(store, dependency_graph, task_id, moment)

    def text(path: str) -> bytes | None:
        module = state.modules.get(path)
        if module is None or module.deleted or module.source is None:
            return None
        return store.get(module.source)

    return text
