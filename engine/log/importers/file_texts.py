"""What a foreign log lets one know of the text of each file, as its tools write and read it.

A write or a whole read makes a text known; an edit goes on from a known text, and where that is
not known, or does not hold what the edit replaces, the text is unknown from then on. So a text is
never guessed: what the log does not hold is said to be unknown, with the reason.
"""

from collections.abc import Sequence
from posixpath import isabs, join, normpath, relpath

from backcast.engine.log.importers.file_edits import Change, FileEdit, ReplacedPiece, Shown
from backcast.engine.log.importers.patch_edits import patched

MOST_KEPT = 64 * 2**20
"Characters of all texts that are kept at once; the texts that were used first are forgotten."
MOST_UNDONE = 10
"Edits of a file that can be undone."
ROOT = "/"
OTHERWISE = "something that the log does not show changed it"
UNSEEN = "its text was never shown as a whole"


class _File:
    """A file as far as it is known."""

    __slots__ = ("blob", "gone", "iteration", "text", "undo")

    def __init__(self) -> None:
        self.text: Shown | None = None
        self.gone = False
        self.blob: str | None = None
        "The name of the text that was stored last."
        self.iteration = 0
        self.undo: list[Shown | None] = []


class FileTexts:
    """The files of one run."""

    def __init__(self) -> None:
        self.root: str | None = None
        "The working folder that the run began in; modules are named from there."
        self.folder = ""
        "The working folder now."
        self.files: dict[str, _File] = {}
        "By path; those used last stand last."
        self._held = 0

    def at(self, folder: object) -> None:
        """Note the working folder, if it is one."""
        if isinstance(folder, str) and isabs(folder) and "\0" not in folder:
            self.folder = normpath(folder)
            self.root = self.root or self.folder

    def name(self, path: str, folder: str = "") -> str:
        """Return the module's name of a file: its path from the run's first working folder."""
        here = join(self.folder, folder)
        if not isabs(path) and isabs(here) and self.root:
            path = join(here, path)
        elif not isabs(path):
            path = join(folder if not isabs(folder) else "", path)
        if not isabs(path):
            return normpath(path)
        self.root = self.root or ROOT
        return relpath(normpath(path), self.root).lstrip("/")

    def doubt(self) -> None:
        """Forget all texts: something may have changed any of them."""
        for file in self.files.values():
            self._hold(file, None)

    def stored(self, name: str, blob: str | None) -> None:
        """Note the name of a module's stored text."""
        if name in self.files:
            self.files[name].blob = blob

    def apply(self, edit: FileEdit) -> list[Change]:
        """Return what becomes of the modules by an edit that was made."""
        if edit.kind == "delete":
            return self._delete(edit)
        if edit.kind == "read":
            return self._read(edit.path, edit.after)
        changes = self._read(edit.path, edit.before)
        if edit.kind == "move":
            return [*changes, *self._move(edit)]
        file = self._file(edit.path)
        before = file.text
        text, why = _edited(before, edit, file.undo)
        if edit.after is not None and (text is None or not alike(text, edit.after)):
            text, why = edit.after, ""
        elif edit.after is not None and text is not None and edit.after.exact:
            text = edit.after
        if edit.kind != "undo":
            file.undo = [*file.undo, before][-MOST_UNDONE:]
        elif file.undo:
            file.undo.pop()
        file.iteration += 1
        self._hold(file, text)
        pieces = () if text else edit.pieces or _piece_of(edit)
        return [
            *changes,
            Change("iteration", edit.path, file.iteration, text, why, file.blob, pieces),
        ]

    def _read(self, path: str, shown: Shown | None) -> list[Change]:
        """Return what a whole text that was shown says that was not known."""
        if shown is None:
            return []
        file = self._file(path)
        before = file.text
        if before is not None and alike(before, shown):
            if shown.exact and not before.exact and before.text != shown.text:
                self._hold(file, shown)
            return []
        self._hold(file, shown)
        if before is None:
            return [Change("read", path, file.iteration, shown, base=file.blob)]
        file.iteration += 1
        return [Change("iteration", path, file.iteration, shown, OTHERWISE, file.blob,
                       by_tool=False)]  # fmt: skip

    def _delete(self, edit: FileEdit) -> list[Change]:
        names = [name for name in self.files if not self.files[name].gone]
        below = [name for name in names if name.startswith(f"{edit.path}/")]
        changes = []
        for name in (edit.path, *sorted(below)):
            if name in names or (not below and edit.why != "folder"):
                file = self._file(name)
                self._hold(file, None)
                file.gone, file.undo = True, []
                changes.append(Change("deleted", name, file.iteration))
        return changes

    def _move(self, edit: FileEdit) -> list[Change]:
        if edit.to == edit.path:
            return []
        file, other = self._file(edit.path), self._file(edit.to)
        text, why = file.text, "" if file.text else UNSEEN
        if edit.hunks:
            text, why = _edited(file.text, edit, file.undo)
        other.iteration, other.blob = max(file.iteration, other.iteration) + 1, file.blob
        other.undo = file.undo
        self._hold(file, None)
        file.gone = True
        self._hold(other, text)
        return [Change("renamed", edit.to, other.iteration, text, why, file.blob,
                       previous=edit.path)]  # fmt: skip

    def _file(self, path: str) -> _File:
        file = self.files.pop(path, None) or _File()
        self.files[path] = file
        return file

    def _hold(self, file: _File, text: Shown | None) -> None:
        """Keep a file's text, and forget the texts that were used first where they are too long."""
        self._held += (len(text.text) if text else 0) - (len(file.text.text) if file.text else 0)
        file.text, file.gone = text, False
        for other in self.files.values():
            if self._held <= MOST_KEPT:
                break
            if other is not file and other.text is not None:
                self._held -= len(other.text.text)
                other.text, other.undo = None, []


def alike(first: Shown, second: Shown) -> bool:
    """Return whether two texts are the same as far as their line ends are told."""
    if first.exact and second.exact:
        return first.text == second.text
    return first.text == second.text or lines_of(first.text) == lines_of(second.text)


def lines_of(text: str) -> list[str]:
    """Return the lines of a text without their ends, up to the last that is not empty."""
    return text.replace("\r\n", "\n").rstrip("\n").split("\n")


def _piece_of(edit: FileEdit) -> tuple[ReplacedPiece, ...]:
    return (
        () if not edit.text or edit.kind in ("write", "unsure") else (ReplacedPiece("", edit.text),)
    )


def _edited(
    before: Shown | None, edit: FileEdit, undo: Sequence[Shown | None]
) -> tuple[Shown | None, str]:
    """Return the text after an edit, or None and why it is unknown."""
    if edit.kind == "write":
        return (None, edit.why) if edit.text is None else (Shown(edit.text), "")
    if edit.kind == "unsure":
        return None, edit.why
    if edit.kind == "undo":
        known = undo[-1] if undo else None
        return known, "" if known else "the text before the undone edit is unknown"
    if before is None and edit.kind == "replace" and edit.pieces and not edit.pieces[0].old:
        before = Shown("")  # tools replace nothing only in a file that is new or empty
    if before is None:
        return None, UNSEEN
    text = before.text
    match edit.kind:
        case "append" if edit.text is not None:
            return before._replace(text=text + edit.text), ""
        case "replace":
            return _replaced(before, edit.pieces)
        case "patch" | "move":
            found = patched(text, edit.hunks)
            if found is None:
                return None, "the context of the patch is not in the text that is known"
            return before._replace(text=found), ""
        case "lines" | "insert" if edit.text is not None:
            return _by_lines(before, edit)
    return None, edit.why or "the log does not tell the new text"


def _replaced(before: Shown, pieces: Sequence[ReplacedPiece]) -> tuple[Shown | None, str]:
    text, exact = before.text, before.exact
    for piece in pieces:
        old, new = piece.old, piece.new
        if not old:
            if text:
                return None, "the edit replaces nothing in a text that is not empty"
            text = new
            continue
        count = text.count(old)
        if not count and "\r\n" in text and "\r" not in old:
            # Tools that match lines whatever their ends keep the ends of the file.
            old, new = old.replace("\n", "\r\n"), new.replace("\n", "\r\n")
            count, exact = text.count(old), False
        if not count:
            return None, "the replaced text is not in the text that is known"
        if count > 1 and not piece.all:
            return None, f"the replaced text stands {count} times in the text that is known"
        text = text.replace(old, new)
    return Shown(text, exact), ""


def _by_lines(before: Shown, edit: FileEdit) -> tuple[Shown | None, str]:
    """Replace or insert whole lines."""
    first, last = edit.place
    lines, ended = before.text.split("\n"), before.text.endswith("\n")
    lines = lines[:-1] if ended or not before.text else lines
    if edit.kind == "insert":
        first, last = first + 1, first
    if not 1 <= first <= len(lines) + 1 or last > max(len(lines), 1) or last < first - 1:
        return None, f"the edit names lines {first} to {last} of {len(lines)} that are known"
    new = (edit.text or "").split("\n")
    new = new[:-1] if new[-1] == "" and edit.text else new
    lines[first - 1 : last] = new if edit.text else []
    text = "\n".join(lines)
    return before._replace(text=f"{text}\n" if lines and (ended or before.text == "") else text), ""
