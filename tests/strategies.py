"""Random logs: every kind of fact, several writers, late and wild times, causes of any shape."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from domain.events import FACTS, BlobRef, Claim, Fact, ModuleIteration, UnknownFact, WorkflowEvent
from engine.log import EventStore

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
WRITERS = ("ann", "bob", "cy")
NAMES = ("a.py", "b.py", "pkg/c.py")
REF = "blob:" + "0" * 64

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
times = st.one_of(
    st.integers(-3, 60).map(lambda minutes: NOON + timedelta(minutes=minutes)),
    st.sampled_from(
        [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)]
    ),
)


@st.composite
def facts(draw: st.DrawFn, kinds: tuple[type[Fact], ...] = tuple(FACTS.values())) -> Fact:
    """A fact of any kind, known or not, with any of its optional fields and keys of its own."""
    if draw(st.integers(0, 9)) == 0:
        payload = draw(st.dictionaries(st.text(), json_values, max_size=3))
        return UnknownFact(kind=draw(st.sampled_from(["ODD", "a:b", "MODULE_ITERATION"])),
                           kind_version=draw(st.integers(2, 5)), payload=payload)  # fmt: skip
    kind = draw(st.sampled_from(kinds))
    stated = {
        name: draw(_values(name, field))
        for name, field in sorted(kind.model_fields.items())
        if field.is_required() or draw(st.booleans())
    }
    extra = draw(st.dictionaries(st.text("xyz", min_size=1), json_values, max_size=2))
    return kind(**extra, **stated)


def _values(name: str, field: FieldInfo) -> st.SearchStrategy[Any]:
    if name in ("module_name", "previous_name"):
        return st.sampled_from(NAMES)
    if name in ("source", "text", "output"):
        return st.just(REF)
    if field.annotation is int:
        return st.integers(0, 2**40)
    if field.annotation is bool:
        return st.booleans()
    if name == "score":
        return st.none() | st.floats(allow_nan=False, allow_infinity=False)
    if name == "arguments":
        return json_values
    if name == "call_id":
        return st.none() | st.sampled_from(["call-1", "call-2"])
    return st.text()


@st.composite
def claims(draw: st.DrawFn, version: int, kinds: tuple[type[Fact], ...]) -> Claim:
    """A claim that could stand at a version of a task."""
    earlier = st.integers(1, version - 1) if version > 1 else st.nothing()
    because = draw(st.sets(earlier, max_size=2)) if version > 1 and draw(st.booleans()) else set()
    return Claim(
        draw(facts(kinds)),
        draw(times),
        draw(st.sampled_from(WRITERS)),
        tuple(sorted(because)),
    )


@st.composite
def logs(
    draw: st.DrawFn,
    max_size: int = 24,
    kinds: tuple[type[Fact], ...] = tuple(FACTS.values()),
) -> list[WorkflowEvent]:
    """The events of one task, as a store has them: recorded a second apart."""
    claimed = [draw(claims(n, kinds)) for n in range(1, draw(st.integers(0, max_size)) + 1)]
    return [
        WorkflowEvent(
            n, "task", n, c.fact, c.timestamp or NOON, NOON + timedelta(seconds=n),
            c.writer or "", c.because or (),
        )
        for n, c in enumerate(claimed, 1)
    ]  # fmt: skip


def stored(events: list[WorkflowEvent], task_id: str = "task") -> EventStore:
    """A store in memory that holds these events, recorded when they say."""
    clock = iter(event.recorded_at for event in events)
    store = EventStore.open("sqlite://", clock=lambda: next(clock))
    for event in events:
        claim = Claim(event.fact, event.timestamp, event.writer, event.because)
        store.append(task_id, [claim], after=event.version - 1)
    return store


def iteration(name: str, number: int = 1, **more: Any) -> ModuleIteration:
    """A module iteration."""
    return ModuleIteration(module_name=name, iteration=number, **more)


__all__ = ["BlobRef", "claims", "facts", "iteration", "logs", "stored", "times"]
