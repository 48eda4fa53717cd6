"""Moments as people name them: a time, a position, or a commit of an imported history."""

from datetime import UTC, datetime

from domain.errors import MomentError
from domain.events import Committed
from domain.moment import Moment
from engine.log.importers.git import FORMAT
from engine.log.store import EventStore
from engine.replay.branches import line_of

COMMIT = "commit:"


def parse_time(text: str) -> datetime:
    """A time in ISO 8601; without a zone it is UTC. `MomentError` where it is none."""
    try:
        time = datetime.fromisoformat(text.strip())
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise MomentError(
            f"needed a time such as 2026-11-20T10:31 or commit:SHA, found {text!r}"
        ) from None


def moment_of(
    store: EventStore,
    task_id: str | None,
    *,
    at: str | None = None,
    before: str | None = None,
    known_at: str | None = None,
    position: int | None = None,
) -> Moment:
    """The moment that the options of a command name together."""
    if sum(option is not None for option in (before, known_at, position)) > 1:
        raise MomentError("needed one of --before, --known-at and --position, found several")
    if known_at is not None:
        position = store.position_at(parse_time(known_at))
    if before is not None:
        position = _commit_span(store, task_id, before)[0] - 1
    if at is None:
        return Moment(position)
    if not at.startswith(COMMIT):
        return Moment(position, parse_time(at))
    last = _commit_span(store, task_id, at)[1]
    return Moment(last if position is None else min(position, last))


def _commit_span(store: EventStore, task_id: str | None, text: str) -> tuple[int, int]:
    """The positions of the first and the last event of a commit."""
    if task_id is None or not text.startswith(COMMIT):
        raise MomentError(f"needed commit:SHA and a --task that is a git history, found {text!r}")
    sha = text.removeprefix(COMMIT).lower()
    line = line_of(store, task_id)
    found = store.found_like(f"{FORMAT}:{line.origin or task_id}", sha)
    if line.origin:  # a branch has the commits that it was copied with, at the same versions
        found = [one for one in found if one.version <= line.shared]
    if len(found) != 1 or len(sha) < 4:
        shown = "several commits" if len(found) > 1 else "none"
        raise MomentError(f"task {task_id!r}: needed a commit {sha!r}, found {shown}")
    version = found[0].version
    [row] = store.recorder.rows(task_id, version - 1, version)
    first = last = row[0]
    for event in store.read(task_id, after=version):
        if isinstance(event.fact, Committed):
            break
        last = event.position
    return first, last
