"""Prompts of other programs: what they are made of, and where two of them part.

A model's cache holds tokens as a prefix. Chat templates put instructions and tools first, whatever
their place in the body, and then the messages: in that order a first difference is looked for.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from backcast.domain.errors import DamagedError, MomentError
from backcast.domain.events import ModelReplied
from backcast.engine.history.moments import LAST, near_numbers, position_of
from backcast.engine.log.exchanges.bodies import part_text, split_body
from backcast.engine.log.exchanges.requests import (
    RecordedRequest,
    RequestReader,
    body_of,
    digest_of_body,
)
from backcast.engine.log.store import EventStore
from backcast.engine.replay.find import last_by

BESIDE = ("setting", "rest")
"Kinds of parts that are no text for the model."
UNCOUNTED = (*BESIDE, "image", "file")
NEAR = 40
"Characters that are shown before the place of a break."
Count = Callable[[str], int]


class AnatomyPart(NamedTuple):
    """A part of a prompt."""

    kind: str
    role: str
    name: str
    message: int | None
    "The number of its message, from 1."
    tokens: int
    counted: bool
    "Whether the server counted them, and not we."
    bytes: int
    text: str
    "The hash of its text."
    words: str
    "Its beginning."
    turn: int | None = None
    "Of a prompt that is formed of messages: the answer that the part belongs to."

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        named = f" {self.name}" if self.name else ""
        role = f"{self.role} " if self.role not in ("", "tool") and self.kind == "message" else ""
        where = f" in message {self.message}" if self.message else ""
        where = where if self.turn is None else f", turn {self.turn}"
        return f"{role}{self.kind}{named}{where}"


class Anatomy(NamedTuple):
    """What a prompt is made of."""

    version: int
    path: str
    purpose: str
    parts: tuple[AnatomyPart, ...]
    between: int
    "Bytes of the body that stand between the parts."
    size: int
    tokens: int | None
    "Tokens of the whole prompt as the server's template makes it, where that was asked."
    server: int | None
    "Tokens of the prompt as the server told them with its answer."
    cached: int | None
    "Tokens that the server did not have to read again."
    predicted: int | None
    "Tokens that the prompt shares with the one before it in the task."


class PrefixBreak(NamedTuple):
    """Where a later prompt stops being the earlier one."""

    part: AnatomyPart
    "The first part that differs."
    how: str
    "moved, changed, new, or gone."
    to: int | None
    "The message that it moved to, if it moved to another."
    same: int
    "Characters that the text of a changed part shares with what it was."
    kept: int
    "Tokens of the parts before it."
    again: int
    "Tokens of it and of all parts behind it."
    words: str
    "What stands where it breaks."


class PromptDifference(NamedTuple):
    """The difference between two prompts of other programs."""

    before: Anatomy
    after: Anatomy
    broken: PrefixBreak | None
    "None where the later prompt begins with all of the earlier one."
    goes_on: int
    "Tokens of the parts that are new behind the earlier prompt, where nothing broke."
    gone: tuple[AnatomyPart, ...]
    new: tuple[AnatomyPart, ...]
    moved: tuple[AnatomyPart, ...]
    again: int | None
    "Tokens to be read again to the token, where both prompts follow each other and were counted."


def has_requests(store: EventStore, task_id: str) -> bool:
    """Return whether a task holds requests of another program."""
    return any(True for _ in RequestReader(store, task_id).all())


def request_at(store: EventStore, task_id: str, when: str = LAST) -> RecordedRequest:
    """Return the request at a moment: that event, or the last by that time. `MomentError` names the
    nearest where an event is none."""
    reader = RequestReader(store, task_id)
    found = [request.version for request in reader.all()]
    if not found:
        raise MomentError(f"task {task_id!r}: needed the prompt of a call, found none")
    if when.isdecimal() and int(when) not in found:
        position_of(store, task_id, int(when))  # there is such an event
        [event] = store.read(task_id, after=int(when) - 1, last=int(when))
        near = " and ".join(f"{task_id}@{near}" for near in near_numbers(int(when), found, 2))
        raise MomentError(
            f"{task_id}@{when}: needed the event of a prompt, found {event.type}: the nearest"
            f" prompts are {near}"
        )
    version = int(when) if when.isdecimal() else last_by(store, task_id, when, found, found)
    request = reader.at(version)
    if request is None:
        raise DamagedError(f"{task_id}@{version}: the request cannot be read")
    return request


def anatomy(store: EventStore, task_id: str, found: RecordedRequest, count: Count) -> Anatomy:
    """Return what a prompt is made of; `count` counts what the server did not."""
    parts = tuple(_parts(store, found, count))
    between = len(found.request.rest.encode())
    between += sum(len(part.before.encode()) for part in found.parts)
    reply = reply_to(store, task_id, found.version)
    return Anatomy(
        found.version, found.request.path, found.request.purpose, parts, between,
        found.request.size, found.fact.tokens, reply.prompt_tokens, reply.cached_tokens,
        found.fact.shared_prefix,
    )  # fmt: skip


def _parts(store: EventStore, found: RecordedRequest, count: Count) -> Iterator[AnatomyPart]:
    bodies = [store.get(part.text) for part in found.parts]
    split = split_body(body_of(found, store.get), found.request.dialect).parts
    numbers: Sequence[int | None] = [part.message for part in split]
    if len(numbers) != len(bodies):  # split by other code, or masked since
        numbers = [None] * len(bodies)
    for part, body, number in zip(found.parts, bodies, numbers, strict=True):
        text = "" if part.kind in UNCOUNTED else part_text(body)
        counted = part.tokens is not None and bool(text)
        tokens = part.tokens if counted and part.tokens is not None else count(text) if text else 0
        message = None if number is None else number + 1
        yield AnatomyPart(
            part.kind, part.role, part.name, message, tokens, counted or not text, len(body),
            part.text, " ".join((text or body.decode(errors="replace"))[:200].split()),
        )  # fmt: skip


def reply_to(store: EventStore, task_id: str, version: int) -> ModelReplied:
    """Return the reply to the request of an event; an empty one where none came."""
    for event in store.read(task_id, after=version, types=["MODEL_REPLIED"]):
        if isinstance(event.fact, ModelReplied) and version in event.because:
            return event.fact
    return ModelReplied()


def compared(
    store: EventStore, task_id: str, before: RecordedRequest, after: RecordedRequest, count: Count
) -> PromptDifference:
    """Compare two prompts of a task."""
    old, new = (anatomy(store, task_id, side, count) for side in (before, after))
    follows = _before(store, task_id, after.version) == before.version
    exact = new.tokens is not None and new.predicted is not None and follows
    again = (new.tokens or 0) - (new.predicted or 0) if exact else None
    return difference_of(old, new, lambda part: part_text(store.get(part.text)), again)


def difference_of(
    old: Anatomy, new: Anatomy, text_of: Callable[[AnatomyPart], str], reread: int | None
) -> PromptDifference:
    """Compare two prompts; `reread` are the tokens to be read again, where they are known."""
    was, now = _shown(old), _shown(new)
    same = 0
    while same < min(len(was), len(now)) and _is_same(was[same], now[same]):
        same += 1
    kept = sum(part.tokens for part in now[:same])
    again = sum(part.tokens for part in now[same:])
    old_keys, new_keys = [{_key(part) for part in parts} for parts in (was, now)]
    broken = None
    if same < len(was):
        part, how, to = _first(was[same:], now[same:], old_keys, new_keys)
        alike = _alike(text_of, was, now, same) if how == "changed" else 0
        said = text_of(part)[max(0, alike - NEAR) : alike + 200]
        words = f"…{' '.join(said.split())}" if alike > NEAR else part.words
        broken = PrefixBreak(part, how, to, alike, kept, again, words)
    was, now = _all(old), _all(new)
    old_keys, new_keys = [{_key(part) for part in parts} for parts in (was, now)]
    moved = tuple(_moved(was, now))
    return PromptDifference(
        old, new, broken, 0 if broken else again,
        tuple(part for part in was if _key(part) not in new_keys),
        tuple(part for part in now if _key(part) not in old_keys), moved, reread,
    )  # fmt: skip


def _shown(found: Anatomy) -> list[AnatomyPart]:
    """Return the parts that a template shows, in the order in which it does."""
    return [part for part in _all(found) if part.kind in UNCOUNTED or part.tokens]


def _all(found: Anatomy) -> list[AnatomyPart]:
    parts = [part for part in found.parts if part.kind not in BESIDE]
    return sorted(parts, key=lambda part: part.kind not in ("system", "tool"))


def _key(part: AnatomyPart) -> tuple[str, str, str, str]:
    return part.kind, part.role, part.name, part.text


def _is_same(before: AnatomyPart, after: AnatomyPart) -> bool:
    return _key(before) == _key(after)


Keys = set[tuple[str, str, str, str]]


def _first(
    was: Sequence[AnatomyPart], now: Sequence[AnatomyPart], old: Keys, new: Keys
) -> tuple[AnatomyPart, str, int | None]:
    """Return the part that broke the prefix, how, and where it moved to."""
    if not now:
        return was[0], "gone", None
    if _key(was[0]) not in new:
        alike = was[0][:3] == now[0][:3] and _key(now[0]) not in old
        return (now[0], "changed", None) if alike else (was[0], "gone", None)
    if _key(now[0]) not in old:
        return now[0], "new", None
    # Both are in both: the one that went farther moved.
    places = [[_key(part) for part in parts] for parts in (was, now)]
    back, on = (
        places[0].index(_key(now[0])) if _key(now[0]) in places[0] else len(was),
        places[1].index(_key(was[0])) if _key(was[0]) in places[1] else len(now),
    )
    if on <= back or on == len(now):
        return now[0], "moved", None
    to = now[on].message
    return was[0], "moved", None if to == was[0].message else to


def _alike(
    text_of: Callable[[AnatomyPart], str], was: Sequence[AnatomyPart],
    now: Sequence[AnatomyPart], place: int,
) -> int:  # fmt: skip
    """Return how many characters the two parts at a place begin with alike."""
    if place >= len(now):
        return 0
    before, after = (text_of(parts[place]) for parts in (was, now))
    same = 0
    for mine, other in zip(before, after, strict=False):
        if mine != other:
            break
        same += 1
    return same


def _moved(was: Sequence[AnatomyPart], now: Sequence[AnatomyPart]) -> Iterator[AnatomyPart]:
    """Yield the parts that both prompts have, in another order or message."""
    places = {_key(part): part.message for part in reversed(was)}
    for part in now:
        if places.get(_key(part), part.message) != part.message:
            yield part


def _before(store: EventStore, task_id: str, version: int) -> int | None:
    """Return the version of the conversation's request before another one."""
    last = None
    for found in RequestReader(store, task_id).all():
        if found.version >= version:
            return last
        last = last if found.request.purpose else found.version
    return last


class BodyVerdict(NamedTuple):
    """Whether the body of a request follows from its parts."""

    version: int
    path: str
    same: bool
    why: str = ""
    unreadable: bool = False


def rebuilt_bodies(store: EventStore, task_id: str) -> Iterator[BodyVerdict]:
    """Rebuild the body of each request from its parts, and hold it against its digest."""
    masked: dict[int | None, int] = {}
    for found in RequestReader(store, task_id).all():
        if found.request.fidelity:
            continue  # formed from messages: there are no bytes to hold it against
        name = f"POST {found.request.path}"
        count = (found.fact.masked or 0) + masked.get(found.request.base, 0)
        masked[found.version] = count
        try:
            same = digest_of_body(body_of(found, store.get)) == found.request.digest
        except (DamagedError, ValueError) as error:
            yield BodyVerdict(found.version, name, False, str(error), unreadable=True)
            continue
        if not same and count:
            why = f"masked texts in it: {count}"
            yield BodyVerdict(found.version, name, False, why, unreadable=True)
            continue
        why = "" if same else "the recorded parts do not give the recorded digest"
        yield BodyVerdict(found.version, name, same, why)
