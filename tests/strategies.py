"""Random logs: every kind of fact, several writers, late and wild times, causes of any shape."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import wraps
from inspect import signature
from itertools import chain, repeat
from typing import Any

from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from backcast.domain.context_events import (
    CompressedItem,
    ContextItem,
    ContextOmission,
    ForeignRequest,
    RequestPart,
)
from backcast.domain.dispatch_events import (
    BuiltParts,
    ChangedFile,
    DispatchPart,
    ReadTask,
    RoutedTo,
    TaskTraits,
)
from backcast.domain.events import (
    AnswerOrigin,
    CallCost,
    CheckFailure,
    Claim,
    Fact,
    ModuleIteration,
    PlannedModule,
    PlanOrigin,
    ServerAnswer,
    UnknownFact,
    WorkflowEvent,
)
from backcast.domain.fact_types import FACTS
from backcast.domain.memory_events import MapAnswer, MapEdit
from backcast.domain.question_events import AnswerQuote, AskedSubject
from backcast.domain.rating_events import NodesRated
from backcast.engine.log import EventStore

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
WRITERS = ("ann", "bob", "cy")
NAMES = ("a.py", "b.py", "pkg/c.py")
REF = "blob:" + "0" * 64
REFS = (REF, "blob:" + "1" * 64, "blob:" + "2" * 64)
NODES = ("task:task", "module:a.py", "function:a.py::f", "function:pkg/c.py::f", "module:gone.py")
ITEMS = ("cr-00001", "cr-00002", "dc-00002", "dc-00003", "cr-99999")
FACETS = {
    "sig:f": ("function", "(x)"),
    "sig:C": ("class", ""),
    "sig:C.m": ("method", "(self)"),
    "sig:test_f": ("test", "()"),
    "name:f": ("def",),
    "name:C": ("def",),
    "name:b": ("import", "b"),
    "name:g": ("from", "b", "f"),
    "name:h": ("from", ".c", "h"),
    "name:k": ("alias", "b.f"),
    "stars": ("b", ".c"),
    "imports": ("b", "pkg.c", "os"),
    "standard": ("os",),
    "calls:f": ("b.f", "g", "self.x", "?.y", "h"),
    "calls:C.m": ("self.m", "self.n", "super.m"),
    "calls:test_f": ("f", "C.m"),
    "bases:C": ("C", "b.C", "h"),
    "attributes:C": ("n=C", "o"),
    "doc:f": ("Read RFC 5322 and `C`.",),
    "body:f": ("00", "1"),
    "heading": ("Usage",),
}
json_texts = st.text(max_size=5)
facets = st.dictionaries(st.sampled_from(sorted(FACETS)), st.just(None), max_size=8).flatmap(
    lambda keys: st.fixed_dictionaries(
        {key: st.just(FACETS[key]) | st.lists(json_texts, max_size=3).map(tuple) for key in keys}
    )
)

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
        name: draw(_values(name, field, kind))
        for name, field in sorted(kind.model_fields.items())
        if field.is_required() or draw(st.booleans())
    }
    extra = draw(st.dictionaries(st.text("xyz", min_size=1), json_values, max_size=2))
    return kind(**extra, **stated)


def _values(name: str, field: FieldInfo, kind: type[Fact]) -> st.SearchStrategy[Any]:
    if name in ("module_name", "previous_name"):
        return st.sampled_from(NAMES)
    if name == "answers":
        told = st.builds(MapAnswer, role=st.text(), text=st.sampled_from(REFS))
        return st.lists(told, max_size=2).map(tuple)
    if name == "ratings":
        rated = st.sampled_from(["function:a.py::f", "method:b.py::C.m", "class:gone.py::C"])
        return st.dictionaries(rated, st.floats(0, 1), max_size=3)
    if name in ("source", "base"):
        return st.sampled_from(REFS)
    if kind is NodesRated and name == "name":
        return st.sampled_from(["fragility", "my own order"])
    if field.metadata or name in ("output", "answer") or "blob:" in str(field.annotation):
        return st.just(REF)
    if name in _SHAPED:
        return _SHAPED[name]
    if name == "refs":
        return st.dictionaries(st.text(), st.text(), max_size=3)
    if name == "iteration":
        return st.integers(0, 2**40)
    if name == "kind":
        return st.text() | st.sampled_from(["plan", "code", "answer", "ask"])
    if name == "call":  # one that is there, now and then
        return st.integers(1, 12) if field.is_required() else st.none() | st.integers(1, 12)
    if field.annotation is int:
        return st.integers(0, 2**40)
    if field.annotation is bool:
        return st.booleans()
    if name == "score":
        return st.none() | st.floats(allow_nan=False, allow_infinity=False)
    if name == "arguments":
        return json_values
    if name == "call_id":
        return st.none() | st.sampled_from(["call-1", "call-2", "q#0", "q#1", "q.1a#1"])
    return _PLAIN.get(str(field.annotation), st.text())


_PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "int | None": st.none() | st.integers(0, 12),
    "float | None": st.none() | st.floats(0, 1e6),
    "bool | None": st.none() | st.booleans(),
    "tuple[str, ...]": st.lists(json_texts, max_size=2).map(tuple),
}
"By the type of a field that nothing else tells of."


_SHAPED: dict[str, st.SearchStrategy[Any]] = {
    "built": st.none()
    | st.builds(
        BuiltParts,
        parts=st.lists(
            st.builds(
                DispatchPart, name=json_texts, level=st.integers(0, 3), levels=st.just((REF,))
            ),
            max_size=2,
        ).map(tuple),
        stage=json_texts,
        room=st.integers(0, 99),
    ),
    "pieces": st.lists(st.tuples(st.text(), st.text()), max_size=2).map(tuple),
    "sections": st.dictionaries(json_texts, st.integers(0, 99), max_size=2),
    "set": facets | st.dictionaries(json_texts, st.lists(json_texts, max_size=2).map(tuple)),
    "gone": st.lists(st.sampled_from(sorted(FACETS)) | json_texts, max_size=3).map(tuple),
    "lines": st.lists(st.integers(-1, 9), max_size=7).map(tuple),
    "items": st.lists(
        st.builds(
            ContextItem,
            node=st.sampled_from(NODES),
            found=st.sampled_from(["", "online", "offline", "made"]),
        ),
        max_size=3,
    ).map(tuple),
    "omissions": st.lists(
        st.builds(ContextOmission, node=st.sampled_from(NODES), reason=json_texts), max_size=2
    ).map(tuple),
    "stood_at": st.none() | st.integers(0, 9),
    "shared_prefix": st.none() | st.integers(0, 9),
    "line_tokens": st.lists(st.integers(0, 9), max_size=3).map(tuple),
    "line_nats": st.lists(st.floats(0, 99), max_size=3).map(tuple),
    "name_tokens": st.lists(st.integers(0, 9), max_size=3).map(tuple),
    "name_nats": st.lists(st.floats(0, 99), max_size=3).map(tuple),
    "code": st.dictionaries(json_texts, json_texts, max_size=2),
    "failures": st.lists(
        st.builds(
            CheckFailure,
            name=json_texts,
            message=json_texts,
            at=st.sampled_from(["", "a.py:7"]),
            kind=st.sampled_from(["", "failure", "error"]),
        ),
        max_size=2,
    ).map(tuple),
    "node": st.none() | st.sampled_from(NODES) | json_texts,
    "used": st.lists(st.sampled_from(NODES), max_size=3).map(tuple),
    "changed": st.lists(st.sampled_from(NODES), max_size=3).map(tuple),
    "tags": st.dictionaries(
        st.sampled_from(ITEMS), st.sampled_from(["helpful", "harmful", "neutral", "stale", "odd"])
    ),
    "edits": st.lists(
        st.builds(
            MapEdit,
            operation=st.sampled_from(["ADD", "REPLACE", "DELETE"]),
            item=st.sampled_from(ITEMS),
            section=st.sampled_from(["CONTEXT ROADMAP", "DOMAIN CONSTANTS", "ODD"]),
            text=st.sampled_from(["a.py: first things", "b.py:\n  def f()", "## X"]) | json_texts,
            nodes=st.lists(st.sampled_from(NODES), max_size=2).map(tuple),
            built_from=st.just({"a.py": {"sig:f": "00"}}) | st.just({}),
            refused=st.sampled_from(["", "no such item"]),
        ),
        max_size=4,
    ).map(tuple),
    "fields": st.dictionaries(json_texts, json_texts | st.lists(json_texts).map(tuple)),
    "clock": st.dictionaries(st.sampled_from(NAMES), st.integers(0, 9), max_size=2),
    "built_from": st.dictionaries(
        st.sampled_from(NAMES),
        st.dictionaries(st.sampled_from(sorted(FACETS)), json_texts, max_size=2),
        max_size=2,
    ),
    "built_at": st.none() | st.integers(0, 9),
    "tokens": st.none() | st.integers(0, 400),
    "planned": st.lists(
        st.builds(
            PlannedModule,
            path=st.sampled_from(NAMES),
            dependencies=st.lists(st.sampled_from(NAMES), max_size=2).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    "answer_of": st.none() | st.builds(AnswerOrigin, task=json_texts, version=st.integers(0, 9)),
    "allowed": st.dictionaries(st.sampled_from(["calls", "tokens", "money", "x"]), st.floats()),
    "limits": st.dictionaries(st.sampled_from(["depth", "answer"]), st.integers(0, 9)),
    "actions": st.lists(json_texts, max_size=2).map(tuple),
    "subject": st.none() | st.builds(AskedSubject, task=json_texts, version=st.integers(0, 9)),
    "name": st.sampled_from(["q", "q.1a", "q.1b", "q.1a.2a"]) | json_texts,
    "parent": st.none() | st.sampled_from(["q", "q.1a", "q.1b"]),
    "quotes": st.lists(
        st.builds(AnswerQuote, node=st.sampled_from(NODES), proven=st.booleans()), max_size=2
    ).map(tuple),
    "reused": st.none()
    | st.builds(PlanOrigin, task=json_texts, version=st.integers(0, 9), ended=st.integers(0, 9)),
    "compressed": st.none()
    | st.builds(
        CompressedItem, whole=st.sampled_from(REFS), tokens=st.integers(0, 400), state=json_texts
    ),
    "request": st.none()
    | st.builds(
        ForeignRequest,
        path=json_texts,
        dialect=st.sampled_from(["", "chat"]),
        fidelity=st.sampled_from(["", "messages", "parts"]),
        parts=st.lists(
            st.builds(
                RequestPart,
                kind=st.sampled_from(["system", "message", "rest"]),
                text=st.sampled_from(REFS),
                before=json_texts,
                tokens=st.none() | st.integers(0, 9),
            ),
            max_size=2,
        ).map(tuple),
        base=st.none() | st.integers(0, 9),
        headers=st.just({}),
    ),
    "http_answer": st.none()
    | st.builds(
        ServerAnswer,
        status=st.none() | st.integers(100, 599),
        headers=st.just({}),
        body=st.none() | st.sampled_from(REFS),
    ),
    **dict.fromkeys(
        ("cost", "reserved"),
        st.builds(CallCost, tokens=st.integers(-9, 99), seconds=st.sampled_from([0.0, 0.25, -1.0])),
    ),
    **dict.fromkeys(("fresh", "slot"), st.none() | st.integers(0, 400)),
    "meant_for": st.lists(st.integers(1, 12), max_size=3).map(tuple),
    "money": st.none() | st.floats(0, 99),
    "outcome": st.sampled_from(["answered", "failed", "won", "lost", "cancelled", "reused"]),
    "wanted": st.lists(st.sampled_from(NODES), max_size=2).map(tuple),
    "needs": st.lists(st.sampled_from(NAMES), max_size=2).map(tuple),
    "nodes": st.lists(st.sampled_from(NODES), max_size=2).map(tuple),
    **dict.fromkeys(
        (
            "attempt",
            "earlier",
            "again",
            "step",
            "prompt_tokens",
            "predicted_tokens",
            "cached_tokens",
            "masked",
            "version",
            "wave",
            "calls",
            "alternative",
        ),
        st.none() | st.integers(0, 9),
    ),
    "dispatch": st.integers(1, 12),
    "item": st.none() | st.sampled_from(["1", "1.1", "2"]),
    "tasks": st.lists(
        st.builds(
            ReadTask,
            id=st.sampled_from(["1", "1.1", "2"]),
            status=st.sampled_from(["to do", "doing", "done"]),
        ),
        max_size=2,
    ).map(tuple),
    "marked": st.dictionaries(st.sampled_from(["1.1", "2"]), st.sampled_from(["doing", "done"])),
    "files": st.lists(
        st.builds(ChangedFile, path=st.sampled_from(NAMES), change=st.just("changed")), max_size=2
    ).map(tuple),
    "result": st.none() | st.just({"status": "completed"}) | st.just({"assessment": "approved"}),
    "routed": st.none()
    | st.builds(
        RoutedTo,
        agent=st.sampled_from(NAMES),
        propensity=st.none() | st.floats(0, 1),
        traits=st.none() | st.builds(TaskTraits, blast=st.integers(0, 9)),
    ),
    "reported": st.none() | st.builds(CallCost, tokens=st.integers(0, 99)),
    "lives": st.none() | st.floats(0, 1e6),
    "same_as": st.lists(json_texts, max_size=2).map(tuple),
    "contained": st.lists(json_texts, max_size=2).map(tuple),
    "isolation": st.dictionaries(json_texts, json_texts, max_size=2),
    "seconds": st.none() | st.floats(0, 1e6),
    "coverage": st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1), max_size=2),
}


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
    times = [event.recorded_at for event in events]
    clock = chain(times, repeat(times[-1] if times else NOON))
    store = EventStore.open("sqlite://", clock=lambda: next(clock))
    for event in events:
        claim = Claim(event.fact, event.timestamp, event.writer, event.because)
        store.append(task_id, [claim], after=event.version - 1)
    return store


def each_of(choices: Sequence[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Ask a drawn example of each choice, as first argument: drawing takes longer than asking."""

    def decorate(law: Callable[..., None]) -> Callable[..., None]:
        @wraps(law)
        def ask(*drawn: Any, **named: Any) -> None:
            for choice in choices:
                try:
                    law(choice, *drawn, **named)
                except BaseException as error:
                    error.add_note(f"asked of {choice.NAME}")
                    raise

        whole = signature(law)
        rest = list(whole.parameters.values())[1:]
        ask.__signature__ = whole.replace(parameters=rest)  # type: ignore[attr-defined]
        return ask

    return decorate


def iteration(name: str, number: int = 1, **more: Any) -> ModuleIteration:
    """A module iteration."""
    return ModuleIteration(module_name=name, iteration=number, **more)


__all__ = ["claims", "each_of", "facts", "iteration", "logs", "stored", "times"]
