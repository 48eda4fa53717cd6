"""What held from when to when, as of any moment on both time axes?

A fact says of a subject by a relation that something holds. It holds from the time of the event
that made it true until that of the next statement about the same: the older fact is ended then,
and never deleted. A question names a time or a place in the log (what held?) and how much of the
log was known; what is recorded late about an earlier time changes only what was known later.

>>> noon = datetime(2026, 11, 20, 12)
>>> known = (FactEntry("2 passed", noon, 4, 4, noon), FactEntry("1 failed", noon, 9, 9, noon))
>>> [(fact.object, fact.event, fact.ended_by) for fact in of_slot("task:t\\tchecks", known)]
[('2 passed', 4, 9), ('1 failed', 9, None)]
"""

from bisect import insort_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from posixpath import dirname, join, normpath
from typing import NamedTuple

from backcast.domain.node import name_of, path_of

TAGS = ("file change", "convention", "decision", "error", "dependency", "test")
RELATIONS: Mapping[str, str] = {
    "text": "file change", "renamed from": "file change", "stands at": "file change",
    "changed by": "file change", "signature": "convention", "value": "convention",
    "doc": "convention", "summary": "convention", "goal": "decision", "requires": "decision",
    "status": "decision", "model": "decision", "plans": "decision", "commit says": "decision",
    "title": "decision", "given to": "decision", "ended": "decision", "decided": "decision",
    "result": "decision", "assessment": "decision", "needs next": "decision",
    "imports": "dependency", "inherits": "dependency", "reads setting": "dependency",
    "should need": "dependency", "raises": "error", "does not parse": "error", "fails": "error",
    "refused": "error", "issue": "error", "must fix": "error", "differs": "error",
    "checks": "test", "verdict": "test", "coverage": "test", "accepted": "test",
}  # fmt: skip
"The tag of each relation."
SEVERAL = frozenset((
    "imports", "inherits", "reads setting", "raises", "plans", "should need", "renamed from",
    "requires", "needs next", "issue", "must fix", "differs",
))  # fmt: skip
"Relations that a subject can have to several objects at once: each of these ends by itself."
FOUND, CLAIMED = 1.0, 0.5
"The confidence of a fact that we found ourselves, and of one that a model or an agent states."
CLAIM = "claimed\t"
"How the slots of claims begin, so that no claim ends a fact that was found."


class FactEntry(NamedTuple):
    """A statement in a slot: what holds from then on."""

    object: str | None
    "None where nothing holds any more."
    since: datetime
    place: int
    "The task version of the event that made it true."
    event: int
    "The version of the event that recorded it, which may be later."
    recorded_at: datetime
    refuted: bool = False
    "Whether nothing holds any more as we found that it was not so."


class TimedFact(NamedTuple):
    """A fact with its times on both axes, its event, and what ended it."""

    subject: str
    relation: str
    object: str
    tag: str
    found: bool
    "Whether we found it ourselves; else a model, a person or an agent states it."
    confidence: float
    since: datetime
    until: datetime | None
    "None where nothing is known to have ended it."
    event: int
    recorded_by: int
    recorded_at: datetime
    ended_by: int | None = None
    ended_recorded_at: datetime | None = None
    refuted: bool = False
    "Whether what ended it found that it was not so."

    @property
    def line(self) -> str:
        """The fact without its times, as a prompt shows it."""
        said = f"{self.subject} {self.relation}: {self.object}"
        return said if self.found else f"{said} (claimed)"


def slot_of(subject: str, relation: str, object: str = "", found: bool = True) -> str:
    """Return the key under which statements about the same thing follow each other."""
    parts = [subject, relation, object] if relation in SEVERAL else [subject, relation]
    return ("" if found else CLAIM) + "\t".join(part.replace("\t", " ") for part in parts)


def stated(known: tuple[FactEntry, ...], new: FactEntry) -> tuple[FactEntry, ...]:
    """Return a slot's entries with a new one, in the order of the times at which they hold.

    That nothing holds is kept only where something held.
    """
    if not known:
        return () if new.object is None else (new,)
    if _order(known[-1]) <= _order(new):
        return (*known, new)
    entries = list(known)
    insort_right(entries, new, key=_order)
    return tuple(entries)


def _order(entry: FactEntry) -> tuple[datetime, int]:
    return entry.since, entry.place


def of_slot(slot: str, entries: Sequence[FactEntry]) -> Iterator[TimedFact]:
    """Yield the facts of a slot, oldest first, each with what ended it."""
    found = not slot.startswith(CLAIM)
    subject, relation = slot.removeprefix(CLAIM).split("\t")[:2]
    held: FactEntry | None = None
    for entry in (*entries, None):
        if entry is not None and held is not None and entry.object == held.object:
            continue  # stated once more
        if held is not None and held.object is not None:
            yield TimedFact(
                subject, relation, held.object, RELATIONS[relation], found,
                FOUND if found else CLAIMED, held.since, entry.since if entry else None,
                held.place, held.event, held.recorded_at, entry.place if entry else None,
                entry.recorded_at if entry else None, bool(entry and entry.refuted),
            )  # fmt: skip
        held = entry


def holding(
    slots: Mapping[str, tuple[FactEntry, ...]],
    at: datetime | None = None,
    place: int | None = None,
    *,
    ended: bool = False,
) -> list[TimedFact]:
    """Return the facts that hold at a time, or with a place in the log; sorted by slot.

    With `ended` those too that had begun by then and hold no more. What ended a fact may be later:
    all that `slots` know is told.
    """
    shown = list[TimedFact]()
    for slot in sorted(slots, key=lambda slot: (slot.removeprefix(CLAIM), slot)):
        facts = [fact for fact in of_slot(slot, slots[slot]) if _begun(fact, at, place)]
        shown += facts if ended else [fact for fact in facts[-1:] if not _over(fact, at, place)]
    return shown


def _begun(fact: TimedFact, at: datetime | None, place: int | None) -> bool:
    return (at is None or fact.since <= at) and (place is None or fact.event <= place)


def _over(fact: TimedFact, at: datetime | None, place: int | None) -> bool:
    """Tell whether the end of a fact that had begun lies before a moment, too."""
    if fact.until is None or fact.ended_by is None:
        return False
    return (at is None or fact.until <= at) and (place is None or fact.ended_by <= place)


def about(facts: Sequence[TimedFact], thing: str) -> list[TimedFact]:
    """Return the facts about a path, a node or a name: of it, in it, and those that lead to it."""
    paths = dict.fromkeys(path_of(fact.subject) for fact in facts)
    leads = leads_to(paths)
    return [
        fact
        for fact in facts
        if thing in (fact.subject, path_of(fact.subject), name_of(fact.subject))
        or f"{thing}:" in fact.object
        or fact.object == thing
        or leads(fact) == thing
    ]


def leads_to(paths: Mapping[str, None]) -> Callable[[TimedFact], str]:
    """Return a function that tells the path to which a fact leads; empty for none."""
    ends: dict[str, str] = {}
    for path in sorted(paths, key=lambda path: (-len(path), path)):
        parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
        for first in range(len(parts)):
            ends["/".join(parts[first:])] = path

    def leads(fact: TimedFact) -> str:
        if fact.relation in ("should need", "renamed from"):
            return fact.object
        if fact.relation != "imports":
            return ""
        written = fact.object
        name = written.lstrip(".")
        level = len(written) - len(name)
        if not level:
            return ends.get(name.replace(".", "/"), "")
        folder = join(dirname(path_of(fact.subject)), *[".."] * (level - 1))
        stem = normpath(join(folder, *name.split(".")))
        return next((end for end in (f"{stem}.py", f"{stem}/__init__.py") if end in paths), "")

    return leads
