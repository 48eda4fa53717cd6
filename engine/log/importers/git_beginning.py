"""Where the import of a git history begins, if not at its first commit."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from tempfile import NamedTemporaryFile
from typing import NamedTuple

from backcast.domain.errors import InputError
from backcast.engine.log.importers.git_repository import GitRepository

SHALLOW = "GIT_SHALLOW_FILE"


class Beginning(NamedTuple):
    """Where a new task begins in a history; a task that is there already goes on where it ends."""

    last: int | None = None
    "How many of the newest commits there are."
    since: datetime | None = None
    "The time behind whose last earlier commit it begins, by the committers' dates."


WHOLE = Beginning()


class CommitLine(NamedTuple):
    """The commits along first parents that an import takes, the oldest first."""

    taken: list[str]
    left_out: list[str]
    "Those before them that it leaves out."


def line_of(repository: GitRepository, begin: Beginning = WHOLE) -> CommitLine:
    """Return the commits of a history from a beginning on; `InputError` where there is none."""
    asked = "--reverse", "--first-parent", "--timestamp", repository.head, "--"
    dated = [line.split() for line in repository.ask("rev-list", *asked).decode().splitlines()]
    names, first = [name for _, name in dated], 0
    if begin.last is not None:
        first = max(0, len(names) - begin.last)
    if (since := begin.since) is not None:
        earlier = (n for n, (time, _) in enumerate(dated, 1) if int(time) < since.timestamp())
        first = max(first, *earlier, 0)
        if first == len(names):
            newest = datetime.fromtimestamp(int(dated[-1][0]), UTC)
            raise InputError(
                f"{repository.path}: --since: needed a date up to that of the last commit,"
                f" {newest:%Y-%m-%d}, found {since:%Y-%m-%d}"
            )
    return CommitLine(names[first:], names[:first])


@contextmanager
def cut_off(repository: GitRepository, line: CommitLine) -> Iterator[GitRepository]:
    """Open a view of a repository in which the first commit of a line has no parents.

    Git reads it as the beginning of a shallow clone: with all files that were there by then.
    """
    if not line.left_out:
        yield repository
        return
    with NamedTemporaryFile("w", suffix="-shallow") as file:
        if known := repository.environment.get(SHALLOW):
            with open(known, encoding="ascii") as lines:
                file.write(lines.read())
        file.write(f"{line.taken[0]}\n")
        file.flush()
        environment = {**repository.environment, SHALLOW: os.path.realpath(file.name)}
        yield repository._replace(environment=environment)


def parent_of(commit: bytes) -> str | None:
    """Return the first parent that a commit states, whether or not it is there.

    >>> parent_of(b"tree 1f\\nparent 2e\\nparent 3d\\nauthor A\\n\\nparent 4c")
    '2e'
    """
    for line in commit.split(b"\n\n", 1)[0].split(b"\n"):
        if line.startswith(b"parent "):
            return line.removeprefix(b"parent ").decode(errors="replace")
    return None


def elsewhere(task_id: str, first: str, last: str, line: CommitLine) -> str:
    """Return why a history cannot go on where a task ends: its last commit is not in it.

    `first` and `last` are the task's own commits.
    """
    if first in line.taken:
        return (
            f"commit {last[:12]}, the last of task {task_id!r}, is not in this history along first"
            " parents (was it rewritten?): import it as another task, with --as NAME"
        )
    return (
        f"task {task_id!r} holds another history: neither its first commit, {first[:12]}, nor its"
        f" last, {last[:12]}, is in this one along first parents (another repository in a folder of"
        " the same name, or wholly rewritten?): import it as another task, with --as NAME"
    )


def beginning_notes(
    task_id: str, line: CommitLine, begin: Beginning, last: str | None, begins_after: str | None
) -> Iterator[str]:
    """Yield what to know of a history that is not imported from its first commit.

    `last` is the last commit that the task holds already, `begins_after` what its first one lacks.
    """
    task = f"task {task_id!r}"
    if line.left_out:
        yield (
            f"{task} begins with commit {line.taken[0][:10]}, all files as they stood then:"
            f" {len(line.left_out):,} earlier commits are left out"
        )
    elif last and begin != WHOLE:
        yield f"{task} is there already and goes on where it ends, whatever --last and --since say"
    if begins_after:
        yield (
            f"{task} begins behind commit {begins_after[:10]}: what was before cannot be added to"
            f" it; --as NAME imports the whole history as another task"
        )
