"""The commits of a git repository along first parents, as `git log --raw` prints them.

>>> time_of_date("2011-09-29T14:38:50+518:00")
datetime.datetime(2011, 9, 8, 0, 38, 50, tzinfo=datetime.timezone.utc)
"""

import re
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from tempfile import TemporaryFile
from typing import IO, NamedTuple

from backcast.domain.errors import InputError
from backcast.engine.log.importers import Report
from backcast.engine.log.importers.git_objects import Absent, Objects
from backcast.engine.log.importers.git_repository import GitRepository, reason_of
from backcast.engine.log.importers.times import EPOCH

LOG = (
    "log", "--first-parent", "--diff-merges=first-parent", "--root", "--raw", "-z",
    "--no-abbrev", "-l2000", "--encoding=UTF-8", "--no-color", "--no-ext-diff", "--no-textconv",
    "--no-show-signature", "--no-notes", "--no-mailmap", "--no-follow", "--no-relative",
    "--ignore-submodules=none", "-O/dev/null",
    "--format=%x01%H%x00%P%x00%an%x00%at%x00%aI%x00%ct%x00%cI%x00%B%x00",
)  # fmt: skip
EXACT = "objects are missing: for {} only renames with equal content are recognised"
FIELDS = 7
"The texts of a commit after its name."
_ZONED = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)([+-])(\d+):(\d\d)")
_RAW = re.compile(r"(-?\d{1,12})(?: [+-]\d+)?")
_PERSON = re.compile(
    rb"^(author|committer) (?:([^<\n]*?) ?<.*>([^>\n]*)|(.*?)((?:-?\d+ [+-]\d+)?))$", re.MULTILINE
)
"The name and date of a person, whose address may be lacking."


class FileChange(NamedTuple):
    """A line of `git log --raw`."""

    mode: str
    oid: str
    status: str
    path: str
    previous: str | None


class Commit(NamedTuple):
    """A commit and its changes against its first parent."""

    sha: str
    parents: Sequence[str]
    author: str
    authored_at: str
    "The date as git prints it in ISO 8601, or as the commit holds it where git reads none."
    committed_at: str
    message: str
    changes: Sequence[FileChange]


class GitFailure(NamedTuple):
    """The reason why git ended before it printed all commits."""

    reason: str
    lacks: bool
    "Whether it may have lacked an object."


def commits(
    repository: GitRepository, last: str | None, objects: Objects, report: Report
) -> Iterator[Commit]:
    """Yield the commits after one, oldest first.

    Where git lacks an object that it needs to find similar files, it is asked for that commit again
    without looking for them, so that a history read in parts comes as one read at once.
    """
    span = f"{last}..{repository.head}" if last else repository.head
    names = repository.ask("rev-list", "--first-parent", "--reverse", span, "--").split()
    done, exact = 0, 0
    failure: GitFailure | None = None
    while done < len(names) and not failure:
        failure = GitFailure("git printed no commit", lacks=True)
        for found in _printed(repository, names[done:], "--find-renames", objects):
            if isinstance(found, Commit):
                done += 1
                yield found
            else:
                failure = found
        if done == len(names) or not failure.lacks:
            break
        for found in _printed(repository, [names[done]], "--find-renames=100%", objects):
            if isinstance(found, Commit):
                done, exact, failure = done + 1, exact + 1, None
                yield found
            else:
                failure = found
    if exact:
        report.notes.append(EXACT.format(f"{exact} commit{'s' * (exact > 1)}"))
    if done < len(names) and failure:
        if not done:
            raise InputError(f"{repository.path}: {failure.reason}")
        after = names[done - 1].decode()[:12]
        report.skipped.append(f"the history after commit {after}: {failure.reason}")


def _printed(
    repository: GitRepository, names: Sequence[bytes], renames: str, objects: Objects
) -> Iterator["Commit | GitFailure"]:
    """Yield the commits of these names, and the reason why git ended before it printed all."""
    with TemporaryFile() as asked, TemporaryFile() as errors:
        asked.write(b"\n".join(names) + b"\n")
        asked.seek(0)
        command = repository.command(*LOG, renames, "--no-walk=unsorted", "--stdin")
        with subprocess.Popen(
            command, stdin=asked, stdout=subprocess.PIPE, stderr=errors,
            env=repository.environment, cwd=repository.empty,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            # The last commit may be torn where git was killed; on its own it ends after one.
            held: Commit | None = None
            for commit in _parse(_tokens(process.stdout), objects):
                if held:
                    yield held
                held = commit
            if process.wait() >= 0 and held:
                yield held
        if process.returncode < 0:
            yield GitFailure(f"git was ended by signal {-process.returncode}", lacks=False)
        elif process.returncode:
            errors.seek(0)
            yield GitFailure(reason_of(errors.read(2**20)), lacks=True)


@lru_cache(maxsize=8)
def time_of_date(text: str) -> datetime | None:
    """Return the time of a commit's date; None where Python knows none."""
    try:
        if text[10:11] == "T" and text[-6:-5] in ("+", "-"):
            return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    try:
        if found := _RAW.fullmatch(text):
            return EPOCH + timedelta(seconds=int(found[1]))
        if found := _ZONED.fullmatch(text):  # git takes for a zone what Python does not
            offset = timedelta(hours=int(found[3]), minutes=int(found[4]))
            local = datetime.fromisoformat(f"{found[1]}+00:00")
            return local - offset if found[2] == "+" else local + offset
    except (ValueError, OverflowError):
        pass
    return None


def _tokens(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the texts between NUL bytes."""
    rest = b""
    while chunk := stream.read(2**16):
        *tokens, rest = (rest + chunk).split(b"\0")
        yield from tokens


def _parse(tokens: Iterator[bytes], objects: Objects) -> Iterator[Commit]:
    head: list[str] = []
    changes: list[FileChange] = []
    for token in tokens:
        token = token.lstrip(b"\n")
        if token.startswith(b"\x01"):
            if head:
                yield _commit(head, changes, objects)
            head = [token[1:].decode(), *(_text(next(tokens, b"")) for _ in range(FIELDS))]
            changes = []
        elif token.startswith(b":"):
            _, mode, _, oid, status = token.decode().split(" ")
            first = _text(next(tokens, b""))
            moved = status[0] in "RC"
            path = _text(next(tokens, b"")) if moved else first
            previous = first if status[0] == "R" else None
            changes.append(FileChange(mode, oid, status[0], path, previous))
    if head:
        yield _commit(head, changes, objects)


def _commit(head: Sequence[str], changes: Sequence[FileChange], objects: Objects) -> Commit:
    sha, parents, author, authored, authored_at, committed, committed_at, message = head
    dates = [_date(authored, authored_at), _date(committed, committed_at)]
    if author == "%an" or None in dates:
        # Git leaves a placeholder as it is where it cannot read the line of a person.
        raw = objects.read([sha], b"commit")[sha]
        header = b"" if isinstance(raw, Absent) else raw.split(b"\n\n", 1)[0]
        people = {
            found[1]: (_text(found[2] or found[4] or b""), _text(found[3] or found[5] or b""))
            for found in _PERSON.finditer(header)
        }
        for place, role in enumerate((b"author", b"committer")):
            name, stated = people.get(role, ("", ""))
            dates[place] = stated.strip() if dates[place] is None else dates[place]
            author = name.strip() if role == b"author" and author in ("", "%an") else author
    return Commit(
        sha, parents.split(), author, dates[0] or "", dates[1] or "", message.strip(), changes
    )


def _date(seconds: str, iso: str) -> str | None:
    """Return a date as git prints it; None where that is not the time that the commit holds."""
    date = f"{iso[:-1]}+00:00" if iso.endswith("Z") else iso  # newer versions of git print Z
    if not seconds.isdigit():
        return None
    time = time_of_date(date)
    is_odd = time is not None and time.timestamp() != int(seconds)
    return None if is_odd else date


def _text(raw: bytes) -> str:
    """Return text in which bytes that are not UTF-8 are escaped, since JSON holds none."""
    return raw.decode(errors="backslashreplace")
