"""Moments as people type them: `79`, `last`, a time, `commit:SHA`, `recorded:TIME`.

A moment is the state with that event, or with all up to that time, included. A part that limits
the order of recording and a time may be joined by a comma: `2026-03-01,recorded:2026-03-05`.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, time
from difflib import get_close_matches

from backcast.domain.errors import MomentError
from backcast.domain.events import Committed, RefsRead
from backcast.domain.moment import Moment
from backcast.engine.history.address import FORMS
from backcast.engine.history.commits import lacks_before
from backcast.engine.log.store import EventStore

COMMIT, BEFORE, RECORDED = "commit:", "before:", "recorded:"
FIRST, LAST = "first", "last"
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_FRACTION = re.compile(r"[.,]\d")
_TIMED = re.compile(r"(\d{4}-\d{2}-\d{2}[T ][\d:.,]+)(.*)", re.DOTALL)
_RELATIVE = re.compile(r"[\w./-]+[~^][~^\d]*")
"A commit as git finds it from another, which no log does."
_SHORTEST = 4
_HEX = re.compile("[0-9a-fA-F]+")
"Characters of a commit's name."


def parse_time(text: str) -> datetime:
    """Return a time in ISO 8601; without a zone it is UTC. A date alone is the day's last
    microsecond, a time without a fraction its second's. `MomentError` where it is none.

    >>> parse_time("2026-11-20T10:31+01:00").isoformat()
    '2026-11-20T09:31:00.999999+00:00'
    >>> parse_time("2026-11-20T10:31:07.5").isoformat()
    '2026-11-20T10:31:07.500000+00:00'
    >>> parse_time("2026-11-20").isoformat()
    '2026-11-20T23:59:59.999999+00:00'
    """
    text = text.strip()
    try:
        if _DAY.fullmatch(text):
            return datetime.combine(datetime.fromisoformat(text), time.max, UTC)
        found = datetime.fromisoformat(text)
        if not _FRACTION.search(text):
            # Commands print whole seconds, in which what they name happened.
            found = found.replace(microsecond=999_999)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        reason = str(error)
    if (parts := _TIMED.fullmatch(text)) and parts[2].strip() and _is_time(parts[1]):
        raise MomentError(
            f"needed a zone such as Z or +01:00 behind {parts[1]}, found {parts[2].strip()!r}"
        )
    known = f": {reason}" if "must be in" in reason or "out of range" in reason else ""
    raise MomentError(f"needed a time such as 2026-11-20T10:31, found {text!r}{known}")


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text.rstrip())
    except ValueError:
        return False
    return True


def asked_at(store: EventStore, moment: Moment, last_at: datetime | None) -> datetime | None:
    """Return the time that a moment is about: its own, or now; else that of its last event.

    Now is never before the last event, whatever time that states.
    """
    if moment.at is not None:
        return moment.at
    if moment.position is not None:
        return last_at
    now = store.clock()
    return now if last_at is None else max(now, last_at)


def moment_at(store: EventStore, task_id: str | None, when: str = "") -> Moment:
    """Return the moment that `when` names in a task, or in the whole store where there is none.

    `MomentError` where it names none, in one line that tells which are near.
    """
    positions: list[int] = []
    times: list[datetime] = []
    for part in when.split(",") if when else ():
        found = _part(store, task_id, part.strip())
        if isinstance(found, datetime):
            times.append(found)
        else:
            positions.append(found)
    if len(times) > 1 or len(positions) > 1:
        raise MomentError(
            f"{when!r}: needed at most one time, and one event, commit or recorded:TIME, found more"
        )
    return Moment(positions[0] if positions else None, times[0] if times else None)


def _part(store: EventStore, task_id: str | None, part: str) -> int | datetime:
    """The position, or the time, that a part of a moment names."""
    if part.isdecimal() and part.isascii():
        return position_of(store, task_id, int(part))
    if part in (FIRST, LAST):
        last = store.version(task_id) if task_id is not None else store.last_position()
        return position_of(store, task_id, min(1, last) if part == FIRST else last)
    if part.startswith(RECORDED):
        return store.position_at(parse_time(part.removeprefix(RECORDED)))
    if part.startswith(COMMIT):
        return commit_span(store, task_id, part)[1]
    if part.startswith(BEFORE):
        return commit_span(store, task_id, part.removeprefix(BEFORE))[0] - 1
    if not part[:1].isdigit():
        raise MomentError(f"needed {FORMS}, found {part!r}")
    return parse_time(part)


def position_of(store: EventStore, task_id: str | None, number: int) -> int:
    """Return the position of a task's event; in the whole store an event's number is that."""
    if task_id is None:
        last = store.last_position()
        if number > last:
            raise MomentError(f"needed an event from 1 to {last:,} of this store, found {number}")
        return number
    last = store.version(task_id)
    rows = store.recorder.rows(task_id, number - 1, number) if 1 <= number <= last else []
    if not rows:
        raise MomentError(f"task {task_id!r}: needed an event from 1 to {last}, found {number}")
    return rows[0][0]


def commit_span(store: EventStore, task_id: str | None, text: str) -> tuple[int, int]:
    """Return the positions of the first and the last event of a commit, `commit:NAME`.

    NAME is the beginning of its SHA, or HEAD, a branch or a tag where the import recorded them.
    """
    name = text.removeprefix(COMMIT)
    if task_id is None or not text.startswith(COMMIT) or not name:
        raise MomentError(f"needed TASK@commit:SHA of a git history, found {text!r}")
    found = _commits(store, task_id, name)
    if not found:
        sha = _sha_of(store, task_id, name)
        found = _commits(store, task_id, sha)
        if not found:
            begins = lacks_before(store, task_id)
            line = f"in it: it {begins}" if begins else "on its line of first parents"
            raise MomentError(
                f"task {task_id!r}: needed a commit of the imported history, found that {name!r} is"
                f" {sha[:12]}, which is not {line}"
            )
    if len(found) > 1:
        near = ", ".join(sorted(sha[:10] for sha in found))
        raise MomentError(
            f"task {task_id!r}: needed one commit, found several that begin with {name!r}: {near}"
        )
    [version] = found.values()
    return _span(store, task_id, version)


def _commits(store: EventStore, task_id: str, sha: str) -> dict[str, int]:
    """The commits whose SHAs begin so, two at the most, and the versions of their first events.

    They are read from the events: an exported log brings no ids of the repository.
    """
    found: dict[str, int] = {}
    if len(sha) < _SHORTEST or not _HEX.fullmatch(sha):
        return found
    beginning = sha.lower()
    for event in store.read(task_id, types=["COMMITTED"]):
        if isinstance(event.fact, Committed) and event.fact.sha.startswith(beginning):
            found.setdefault(event.fact.sha, event.version)
            if len(found) > 1:
                break
    return found


def _sha_of(store: EventStore, task_id: str, name: str) -> str:
    """The commit that the repository's name stood for when it was imported last."""
    refs = _refs(store, task_id)
    if name in refs:
        return refs[name]
    if not refs:
        hint = (
            "; names such as HEAD are not recorded in this log: 'backcast import git' records them"
        )
    elif len(name) >= _SHORTEST and _HEX.fullmatch(name):
        hint = (
            "; a history follows first parents: if git has it, 'git rev-list --first-parent"
            f" --ancestry-path {name}..HEAD | tail -1' prints the merge that brought it"
        )
        if begins := lacks_before(store, task_id):
            hint = f"; the history {begins}: earlier ones were not imported{hint}"
    else:
        near = get_close_matches(name, sorted(refs), 3, 0.5) or sorted(refs)[:3]
        hint = f"; names that are there: {', '.join(near)}"
        hint += f"; others go by {_SHORTEST} or more characters of their SHA"
        if _RELATIVE.fullmatch(name):
            hint += f", which 'git rev-parse {name}' prints"
    short = f" (at least {_SHORTEST} characters of a SHA)" if len(name) < _SHORTEST else ""
    raise MomentError(f"task {task_id!r}: needed a commit{short}, found no {name!r}{hint}")


def _refs(store: EventStore, task_id: str) -> dict[str, str]:
    """The SHAs that the repository's names stood for when it was imported last."""
    refs: dict[str, str] = {}
    for event in store.read(task_id, types=["REFS_READ"]):
        if isinstance(event.fact, RefsRead):
            refs = dict(event.fact.refs)
    return refs


def commit_meant(store: EventStore, task_id: str, text: str) -> str:
    """Return what to add where a commit is named without `commit:`, or a name like that of one;
    empty where it is none."""
    refs = _refs(store, task_id)
    if text in refs or _commits(store, task_id, text):
        return f"; did you mean {COMMIT}{text}?"
    bare = text.removeprefix("v")  # of a version the beginning is enough
    alike = [ref for ref in sorted(refs) if bare and ref.removeprefix("v").startswith(bare)]
    near = alike or get_close_matches(text, sorted(refs), 1, 0.6)
    return f"; did you mean {COMMIT}{near[0]}?" if near else ""


def _span(store: EventStore, task_id: str, version: int) -> tuple[int, int]:
    [row] = store.recorder.rows(task_id, version - 1, version)
    first = last = row[0]
    for event in store.read(task_id, after=version):
        if isinstance(event.fact, Committed):
            break
        last = event.position
    return first, last


def near_numbers(number: int, numbers: Iterable[int], most: int = 3) -> list[int]:
    """Return the numbers that are nearest to one, in order.

    >>> near_numbers(28, [8, 13, 21, 27, 33], most=2)
    [27, 33]
    """
    return sorted(sorted(numbers, key=lambda near: (abs(near - number), near))[:most])
