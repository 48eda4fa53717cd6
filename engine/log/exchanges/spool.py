"""A spool of exchanges: what a proxy passes on is on the disk before it is passed on.

So a killed proxy loses nothing that its client had got. Each process has a folder of its own, which
it locks; a folder that nobody locks is what a killed process left. A file is a row of records: a
letter, milliseconds since the exchange began, a length, and as many bytes.
"""

import fcntl
import json
import os
import struct
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

HEAD, ASKED, ANSWERED, ANSWER, END = b"H", b"q", b"A", b"a", b"E"
FINISHED, LEFT, CUT, UNAVAILABLE = "finished", "left", "cut", "unavailable"
"How an exchange ended: whole, left by its client, cut off by the server, or never answered."
KILLED = "killed"
"The end of an exchange that the end of the proxy cut off; its file may tell none."
LOST = "lost"
"The end of an exchange of which not all could be kept: the disk was full."
_RECORD = struct.Struct("<cIQ")
_LOCK = "lock"
SECONDS, PATIENCE = 20.0, 0.02
"How long the end of a killed proxy is waited for, and between two looks."


class ExchangeHead(NamedTuple):
    """What is known of an exchange at its beginning."""

    id: str
    at: str
    "When it began, in UTC."
    method: str
    path: str
    headers: dict[str, str]
    task: str = ""
    "The task that the client names, if it does."


class Exchange(NamedTuple):
    """A request and what came of it."""

    head: ExchangeHead
    body: bytes
    status: int | None
    headers: dict[str, str]
    answer: bytes
    arrivals: tuple[tuple[int, int], ...]
    "Milliseconds since the beginning, and bytes, of each chunk of the answer."
    how: str
    why: str
    seconds: float

    @property
    def began(self) -> datetime:
        """When the request came."""
        return datetime.fromisoformat(self.head.at)


class SpooledExchange:
    """The file of an exchange while it goes on."""

    def __init__(self, path: Path, head: ExchangeHead) -> None:
        self.path, self.head = path, head
        self.lost: OSError | None = None
        "Why what came is not kept any more; the exchange itself goes on."
        self.how = ""
        "How it ended; empty as long as it goes on."
        self.size = 0
        "Bytes of the file, in which what was kept last ends."
        self._began = time.monotonic()
        try:
            self._file: int | None = os.open(
                path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600
            )
        except OSError as error:
            self._file, self.lost = None, error
        self.note(HEAD, head._asdict())

    @classmethod
    def ended(cls, path: Path, lost: OSError | None) -> Self:
        """Return an exchange that has ended, as another process knows it."""
        exchange = cls.__new__(cls)
        exchange.path, exchange.lost, exchange._file = path, lost, None
        return exchange

    def add(self, kind: bytes, body: bytes) -> None:
        """Keep some bytes; where they cannot be kept, note that once."""
        if self._file is None:
            return
        passed = int((time.monotonic() - self._began) * 1000)
        record = _RECORD.pack(kind, passed, len(body)) + body
        self.size += len(record)
        try:
            while record:
                record = record[os.write(self._file, record) :]
        except OSError as error:
            self.lost = error
            os.close(self._file)
            self._file = None

    def kept(self, end: int, size: int) -> bytes:
        """Return some bytes again that end at a place in the file. `OSError` where it is gone."""
        file = os.open(self.path, os.O_RDONLY)
        try:
            return os.pread(file, size, end - size)
        finally:
            os.close(file)

    def note(self, kind: bytes, fields: object) -> None:
        """Keep a record that is no body."""
        self.add(kind, json.dumps(fields).encode())

    def end(self, how: str, why: str = "") -> None:
        """Note how the exchange ended, and close its file; only the first end counts."""
        self.how = self.how or how
        self.note(END, {"how": how, "why": why})
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Spool:
    """A folder of exchanges that are not in the store yet."""

    def __init__(self, folder: Path) -> None:
        """`OSError` where the folder cannot be made."""
        self._all = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        now = time.time_ns()
        self.folder = folder / f"{os.getpid()}-{now:x}"
        place = struct.pack(">QI", now, os.getpid())
        self._name = urlsafe_b64encode(place).decode()
        self.folder.mkdir(mode=0o700)
        self._lock = os.open(self.folder / _LOCK, os.O_WRONLY | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._count = 0

    def begin(
        self, method: str, path: str, headers: dict[str, str], task: str = ""
    ) -> SpooledExchange:
        """Begin an exchange."""
        self._count += 1
        id = f"{self._name}{self._count:x}"  # short: the store keeps it for each exchange
        at = datetime.now(UTC).isoformat()
        head = ExchangeHead(id, at, method, path, headers, task)
        return SpooledExchange(self.folder / f"{self._count:06}", head)

    def left_behind(self) -> list[Path]:
        """Return the files that killed processes left, in the order in which they began."""
        found: list[tuple[int, str, Path]] = []
        for folder in self._all.iterdir():
            if folder != self.folder and _is_free(folder):
                began = int(folder.name.partition("-")[2] or "0", 16)
                found += [
                    (began, file.name, file) for file in folder.iterdir() if file.name != _LOCK
                ]
                if not any(file.name != _LOCK for file in folder.iterdir()):
                    _remove(folder)
        return [path for _, _, path in sorted(found)]

    def close(self) -> None:
        """Remove the folder, unless something in it is not in the store."""
        if not any(file.name != _LOCK for file in self.folder.iterdir()):
            _remove(self.folder)
        os.close(self._lock)
        with suppress(OSError):
            self._all.rmdir()


def _is_free(folder: Path) -> bool:
    """Return whether no process that lives has a folder.

    A process that was forked from one that was killed may be about to end, and may still write: it
    is waited for, as else what it writes would be written twice.
    """
    try:
        lock = os.open(folder / _LOCK, os.O_WRONLY)
    except OSError:
        return False
    try:
        for _ in range(int(SECONDS / PATIENCE)):
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            if _lives(int(folder.name.partition("-")[0])):
                return False
            time.sleep(PATIENCE)
        return False
    finally:
        os.close(lock)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _remove(folder: Path) -> None:
    with suppress(OSError):
        (folder / _LOCK).unlink()
        folder.rmdir()


def read(path: Path) -> Exchange | None:
    """Return the exchange in a file, as far as it came; None where not even its head did."""
    head: ExchangeHead | None = None
    status, headers, how, why, last = None, dict[str, str](), KILLED, "", 0
    asked, answer, arrivals = list[bytes](), list[bytes](), list[tuple[int, int]]()
    for kind, passed, body in _records(path):
        last = passed
        if kind == ASKED:
            asked.append(body)
        elif kind == ANSWER:
            answer.append(body)
            arrivals.append((passed, len(body)))
        else:
            fields: dict[str, Any] = json.loads(body)
            if kind == HEAD:
                head = ExchangeHead(**fields)
            elif kind == ANSWERED:
                status, headers = fields["status"], fields["headers"]
            elif kind == END:
                how, why = fields["how"], fields["why"]
    if head is None:
        return None
    return Exchange(
        head, b"".join(asked), status, headers, b"".join(answer), tuple(arrivals), how, why,
        last / 1000,
    )  # fmt: skip


def _records(path: Path) -> Iterator[tuple[bytes, int, bytes]]:
    """Yield the whole records of a file; the last one of a killed process may be torn."""
    with path.open("rb") as file:
        while len(start := file.read(_RECORD.size)) == _RECORD.size:
            kind, passed, size = _RECORD.unpack(start)
            if len(body := file.read(size)) < size:
                return
            yield kind, passed, body
