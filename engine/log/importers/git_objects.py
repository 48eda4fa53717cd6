"""Objects of a git repository by their names, from one running `git cat-file --batch`."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from backcast.engine.log.importers.git_repository import GitRepository

MAX_OBJECT = 128 * 2**20
"Bytes of the largest file that is imported."
AT_ONCE = 500
"Names that are asked for at once; more would fill both pipes, and block."


class Absent:
    """The reason why an object has no bytes here."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Objects:
    """A reader of objects that starts git again after one on which it fails."""

    def __init__(self, repository: GitRepository) -> None:
        self.repository = repository
        self.process: subprocess.Popen[bytes] | None = None

    def read(self, oids: Sequence[str], kind: bytes = b"blob") -> dict[str, bytes | Absent]:
        """Return the objects' bytes, or why there are none."""
        bodies: dict[str, bytes | Absent] = {}
        wanted = list(dict.fromkeys(oids))
        while len(bodies) < len(wanted):
            asking, answers = self._running()
            some = wanted[len(bodies) : len(bodies) + AT_ONCE]
            # Where git ends at an object, its answers before that can still be read.
            with suppress(BrokenPipeError):
                asking.write("".join(f"{oid}\n" for oid in some).encode())
                asking.flush()
            for oid in some:
                body = _answer(answers, kind)
                bodies[oid] = Absent("git cannot read it") if body is None else body
                if body is None:
                    self.close()
                    break
        return bodies

    def _running(self) -> tuple[IO[bytes], IO[bytes]]:
        if self.process is None:
            self.process = subprocess.Popen(
                self.repository.command("cat-file", "--batch"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self.repository.environment,
                cwd=self.repository.empty,
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        return self.process.stdin, self.process.stdout

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@contextmanager
def reading(repository: GitRepository) -> Iterator[Objects]:
    """Read objects, and end git afterwards."""
    objects = Objects(repository)
    try:
        yield objects
    finally:
        objects.close()


def _answer(answers: IO[bytes], kind: bytes) -> bytes | Absent | None:
    """Return the next answer; None if git ended in it."""
    line = answers.readline()
    head = line.split()
    if not line.endswith(b"\n"):
        return None
    if len(head) != 3:
        return Absent("the repository lacks it, or it is damaged")
    size = int(head[2])
    fits, is_kind = size <= MAX_OBJECT, head[1] == kind
    body = answers.read(size) if fits and is_kind else _passed_over(answers, size)
    if answers.read(1) != b"\n":
        return None
    if not is_kind:
        return Absent(f"needed a {kind.decode()}, found a {head[1].decode()}")
    return body if fits else Absent(f"needed at most {MAX_OBJECT:,} bytes, found {size:,}")


def _passed_over(answers: IO[bytes], size: int) -> bytes:
    while size and (piece := answers.read(min(size, 2**20))):
        size -= len(piece)
    return b""
