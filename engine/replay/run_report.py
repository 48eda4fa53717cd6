"""A report that grows by a line for each run that is measured, and from which a later one goes on.

A line counts for a run with the same events, policies, profile, code and libraries, whatever the
log is called by then. Other lines stay as they are, and their runs are measured again.
"""

import json
import os
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from backcast.domain.budget import ModelProfile
from backcast.domain.errors import InputError
from backcast.engine.history.state_json import builder
from backcast.engine.log.code import code_digest
from backcast.engine.replay.conditions import conditions
from backcast.engine.replay.corpus import ReplayRun, Setting, Tried
from backcast.engine.replay.measure import Measured

SUFFIX = ".jsonl"
FORMAT = 1
"Version of the lines; grows when their readers would have to change."
HEAD = {"report": "backcast regress, a line for each run", "format": FORMAT}
NEEDED = f"needed a report of 'regress --report FILE{SUFFIX}'"
_LINE = re.compile(rb'\{"key": "([0-9a-f]{64})", ')


class RunReport:
    """The file of a report, which no other process writes meanwhile."""

    def __init__(
        self, path: Path, settings: Sequence[Setting], profile: ModelProfile | None
    ) -> None:
        self.path = path
        self._places: dict[str, int] = {}
        "Where the line of each key begins."
        window = profile and [*profile._replace(rows={}), sorted(profile.rows.items())]
        policies = [policy and policy.digest for _, policy in settings]
        self._same = [code_digest(), sorted(conditions().items()), policies, window]

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

    def holds(self, run: ReplayRun) -> bool:
        """Tell whether a run was measured before."""
        return self._key(run) in self._places

    def find(self, run: ReplayRun) -> Tried | None:
        """Return what was measured of a run before; None where it was not."""
        place = self._places.get(self._key(run))
        if place is None:
            return None
        self._file.seek(place)
        line = self._file.readline()
        try:
            return Tried(run, _steps(json.loads(line)["steps"]))
        except (ValueError, TypeError, LookupError):
            raise InputError(
                f"{self.path}: {NEEDED}, found a damaged line for {run.name}: name another file"
            ) from None

    def add(self, tried: Tried) -> None:
        """Write what was measured of a run, of which a process that is killed now loses nothing."""
        key = self._key(tried.run)
        self._places[key] = self._file.seek(0, os.SEEK_END)
        self._write({"key": key, "run": tried.run.name, "steps": tried.steps})

    def _key(self, run: ReplayRun) -> str:
        assert run.stamp, "needed the stamp of the log"
        own = [run.task, run.stamp, run.prompts, run.first, run.length]
        return sha256(json.dumps([own, self._same]).encode()).hexdigest()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()

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
                        f"{self.path}: {NEEDED}, found another line at byte {end:,}:"
                        " name another file"
                    )
                self._places[found[1].decode()] = end
                end += len(line)
        elif not json.dumps(HEAD).encode().startswith(first):
            self._check(first)
        if end < os.fstat(self._file.fileno()).st_size:
            self._file.truncate(end)
        if not end:
            self._write(HEAD)

    def _check(self, first: bytes) -> None:
        """Raise `InputError` where the first line of the file is not the head of a report."""
        try:
            head = json.loads(first)
            found = head["format"] if head["report"] == HEAD["report"] else None
        except (ValueError, TypeError, LookupError):
            found = None
        if found is None:
            raise InputError(f"{self.path}: {NEEDED}, found another file: name another one")
        if found != FORMAT:
            raise InputError(
                f"{self.path}: {NEEDED} of format {FORMAT}, found format {found!r:.20}:"
                " name another file"
            )


_build = builder(tuple[Measured, ...])


def _steps(value: Any) -> tuple[Measured, ...]:
    assert _build is not None
    steps: tuple[Measured, ...] = _build(value)
    return steps


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
