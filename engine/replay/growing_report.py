"""A report that grows by a line for each part that is done, and from which a later one goes on.

A line counts for a part with the same events and settings, code and libraries, whatever the log is
called by then. Other lines stay as they are, and their parts are done again.
"""

import json
import os
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from backcast.domain.errors import InputError
from backcast.engine.log.code import code_digest
from backcast.engine.replay.conditions import conditions

SUFFIX = ".jsonl"
FORMAT = 1
"Version of the lines; grows when their readers would have to change."
_LINE = re.compile(rb'\{"key": "([0-9a-f]{64})", ')


class GrowingReport:
    """The file of a report, which no other process writes meanwhile."""

    command = ""
    "Whose report it is."
    part = ""
    "What each line is of."

    def __init__(self, path: Path, *settings: object) -> None:
        """`settings` are JSON values that decide what comes of a part."""
        self.path = path
        self._places: dict[str, int] = {}
        "Where the line of each key begins."
        self._same = [code_digest(), sorted(conditions().items()), *settings]
        self._needed = f"needed a report of '{self.command} --report FILE{SUFFIX}'"

    def __enter__(self) -> Self:
        """Open the file, or make it; `InputError` where it is another's, or no such report."""
        try:
            self._file = self.path.open("a+b")
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written: {error.strerror}") from None
        try:
            _lock(self._file.fileno(), self.path)
            self._read()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def has(self, key: str) -> bool:
        """Tell whether the part of a key was done before."""
        return key in self._places

    def line(self, key: str) -> dict[str, Any] | None:
        """Return the line of a key; None where there is none, and an empty one if it is damaged."""
        place = self._places.get(key)
        if place is None:
            return None
        self._file.seek(place)
        try:
            line: dict[str, Any] = json.loads(self._file.readline())
        except ValueError:
            return {}
        return line

    def write(self, key: str, line: Mapping[str, object]) -> None:
        """Write a line, of which a process that is killed now loses nothing."""
        self._places[key] = self._file.seek(0, os.SEEK_END)
        self._write({"key": key, **line})

    def key(self, *own: object) -> str:
        """Return what a part is known by, of JSON values that tell it from others."""
        return sha256(json.dumps([[*own], self._same]).encode()).hexdigest()

    def damaged(self, name: str) -> InputError:
        """Return the error of a line that cannot be read."""
        return InputError(
            f"{self.path}: {self._needed}, found a damaged line for {name}: name another file"
        )

    def _write(self, line: Mapping[str, object]) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()

    @property
    def _head(self) -> dict[str, object]:
        what = f"backcast {self.command}, a line for each {self.part}"
        return {"report": what, "format": FORMAT}

    def _read(self) -> None:
        """Find the lines; the last one is dropped where it was cut."""
        self._file.seek(0)
        first, end = self._file.readline(), 0
        if first.endswith(b"\n"):
            end = len(first)
            self._check(first)
            for line in self._file:
                found = _LINE.match(line)
                if not line.endswith(b"\n"):
                    break
                if not found:
                    raise InputError(
                        f"{self.path}: {self._needed}, found another line at byte {end:,}:"
                        " name another file"
                    )
                self._places[found[1].decode()] = end
                end += len(line)
        elif not json.dumps(self._head).encode().startswith(first):
            self._check(first)
        if end < os.fstat(self._file.fileno()).st_size:
            self._file.truncate(end)
        if not end:
            self._write(self._head)

    def _check(self, first: bytes) -> None:
        """Raise `InputError` where the first line of the file is not the head of a report."""
        try:
            head = json.loads(first)
            found = head["format"] if head["report"] == self._head["report"] else None
        except (ValueError, TypeError, LookupError):
            found = None
        if found is None:
            raise InputError(f"{self.path}: {self._needed}, found another file: name another one")
        if found != FORMAT:
            raise InputError(
                f"{self.path}: {self._needed} of format {FORMAT}, found format {found!r:.20}:"
                " name another file"
            )


def _lock(descriptor: int, path: Path) -> None:
    """Keep a file for this process; `InputError` where another one has it."""
    try:
        import fcntl
    except ImportError:  # where a file is opened by name alone, the last writer would win
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InputError(
            f"{path}: needed a report that no other process writes, found one at work on it:"
            " wait for it, or name another file"
        ) from None
