"""What holds of every life, whatever the log: nothing is counted twice, raised or foreseen."""

import ast
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import (
    ChecksRan,
    MessageReceived,
    ModuleDeleted,
    ModuleIteration,
    ModuleOutlined,
    ModuleRenamed,
    SourceRead,
    StepStarted,
    TaskComplete,
    TaskFailed,
    ToolReturned,
    WorkflowEvent,
)
from backcast.domain.memory_events import SummaryWritten
from backcast.domain.moment import NOW, Moment
from backcast.domain.outline import digest_of, part_of
from backcast.engine.history.snapshots import state_at
from backcast.engine.history.staleness import stale
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from backcast.engine.replay.audit import life_of
from backcast.engine.replay.audit.occurrences import IN, OUT, WITHIN, Life
from backcast.projections import dependency_graph
from tests.lives import imported, life
from tests.sources import Task
from tests.strategies import NODES, iteration, logs, stored

ASKED = (
    *NODES, "class:a.py::C", "method:a.py::C.m", "test:b.py::test_f", "attribute:a.py::C.n",
    "attribute:a.py::k", "failure:1.1", "iteration:a.py@0", "library:os", "module:pkg/c.py",
)  # fmt: skip
TOLD = (
    ChecksRan, ContextBuilt, ContextBuilt, ModuleDeleted, ModuleIteration, ModuleOutlined,
    ModuleRenamed, SourceRead, StepStarted, SummaryWritten, TaskComplete, TaskFailed, ToolReturned,
)  # fmt: skip
"The kinds of fact of which lives are made; unknown ones come with them."
LOGS = ("till", "shop", "contexts", "validators")


def prompts_of(store: EventStore) -> list[int]:
    [task] = store.tasks()
    events = store.read(task, types=["CONTEXT_BUILT"])
    return [event.version for event in events if isinstance(event.fact, ContextBuilt)]


def nodes_of(store: EventStore) -> list[str]:
    """Every node that a prompt of the task names."""
    [task] = store.tasks()
    found: dict[str, None] = {}
    for event in store.read(task, types=["CONTEXT_BUILT"]):
        if isinstance(event.fact, ContextBuilt):
            found |= dict.fromkeys(one.node for one in event.fact.items + event.fact.omissions)
    return sorted(found)


def counts_once(found: Life, prompts: list[int]) -> bool:
    dealt = Counter(one.event for one in found.occurrences if one.what in (IN, WITHIN, OUT))
    standing = found.standing
    told = standing.shown + standing.within + standing.omitted
    assert set(dealt) <= set(prompts)
    assert sum(dealt.values()) == told
    return max(dealt.values(), default=1) == 1 and told + standing.not_offered == len(prompts)


@pytest.mark.parametrize("name", LOGS)
def test_every_prompt_counts_exactly_once_for_every_node_of_a_recorded_run(name: str) -> None:
    store = imported(name)
    prompts = prompts_of(store)
    for node in [*nodes_of(store), "module:nowhere.py"]:
        assert counts_once(life(store, node), prompts), node


@settings(max_examples=60)
@given(log=logs(kinds=TOLD), node=st.sampled_from(ASKED), position=st.none() | st.integers(0, 24))
def test_any_log_can_be_asked_for_any_node_at_any_moment(
    log: list[WorkflowEvent], node: str, position: int | None
) -> None:
    store = stored(log)
    moment = Moment(position=position)
    found = life_of(store, "task", node, moment)
    known = [event for event in log if moment.holds(event)]
    # Prompts of other programs have no items.
    prompts = [
        event.version
        for event in known
        if isinstance(event.fact, ContextBuilt) and event.fact.request is None
    ]
    assert counts_once(found, prompts)
    assert [one.event for one in found.occurrences] == sorted(o.event for o in found.occurrences)
    assert {one.event for one in found.occurrences} <= {event.version for event in known}


@pytest.mark.parametrize("node", ["function:money.py::to_cents", "module:money.py", "task:till",
    "failure:162.1", "method:items.py::Item.amount", "iteration:orders.py@1"])  # fmt: skip
def test_what_comes_later_changes_nothing_of_what_was_told(node: str) -> None:
    store = imported("till")
    whole = life(store, node).occurrences
    # The loop outlines what was written before it builds a prompt.
    for event in prompts_of(store)[::5]:
        before = tuple(one for one in whole if one.event <= event)
        assert life(store, node, Moment(position=event)).occurrences == before


BODIES = ("return x", "return x + 1", '"""Double it."""\n    return 2 * x')
modules = st.tuples(
    st.sampled_from([None, *BODIES]), st.sampled_from(["(x)", "(x, y=0)"]), st.integers(0, 2)
).map(lambda drawn: module(*drawn))


def module(body: str | None, signature: str, other: int) -> str:
    own = f"def f{signature}:\n    {body}\n" if body else ""
    return f"{own}def g(x):\n    return {other}\n"


def text_of(source: str) -> str | None:
    found = [one for one in ast.parse(source).body if isinstance(one, ast.FunctionDef)]
    return next((ast.unparse(one) for one in found if one.name == "f"), None)


@settings(max_examples=60)
@given(sources=st.lists(modules, min_size=1, max_size=8), at_once=st.booleans())
def test_a_function_has_a_row_for_each_time_its_own_text_changed_and_no_other(
    sources: list[str], at_once: bool
) -> None:
    task = Task()
    expected, before = [], None
    for source in sources:
        version, text = task.wrote("a.py", source), text_of(source)
        if text != before:
            expected.append(version)
        before = text
        if at_once:
            task.outlined()
    task.outlined()
    found = life(task.store, "function:a.py::f")
    assert [one.event for one in found.occurrences] == expected
    ended = "deleted" if expected else "unknown"
    assert found.standing.state == ("there" if before else ended)


def summed_up(task: Task, keys: tuple[str, ...]) -> None:
    """Record a summary that was built from some facets of a module, as they are now.

    With "other" it was built from a module that was never there, too.
    """
    facets = dependency_graph.present(state_at(task.store, dependency_graph, task.id)).get("a.py")
    told = {key: digest_of(None if facets is None else part_of(facets, key)) for key in keys}
    built = {"a.py": told} | ({"b.py": {"": "never so"}} if "other" in keys else {})
    task.happened(SummaryWritten(node="function:a.py::f", text="x", built_from=built))


steps = st.one_of(
    modules,
    st.just("deleted"),
    st.sets(st.sampled_from(["", "sig:f", "body:f", "names", "doc:f", "other"])).map(
        lambda keys: tuple(sorted(keys))
    ),
)


@settings(max_examples=100)
@given(edits=st.lists(steps, min_size=1, max_size=8))
def test_a_summary_holds_where_the_command_stale_does_not_name_it(
    edits: list[str | tuple[str, ...]],
) -> None:
    task = Task()
    for edit in ["def f(x):\n    return 0\n", *edits]:
        match edit:
            case "deleted":
                task.deleted("a.py")
            case str():
                task.wrote("a.py", edit)
            case _:
                summed_up(task, edit)
        task.outlined()
        found = life(task.store, "function:a.py::f")
        named = {one.node for one in stale(task.store, task.id, NOW)}
        written = found.standing.summaries > 0
        assert found.standing.holding == (written and "function:a.py::f" not in named)
        turns = [one for one in found.occurrences if one.what in ("summarised", "stale",
                                                                   "holds again")]  # fmt: skip
        assert not written or found.standing.holding == (turns[-1].what != "stale")


def test_a_log_whose_texts_are_missing_is_told_without_what_stood_in_them() -> None:
    task = Task()
    first = task.happened(iteration("a.py", 1, source=Blob(b"def f(): pass").ref))
    task.outlined()
    second = task.happened(MessageReceived(role="user"))
    assert second == first + 1
    found = life(task.store, "module:a.py")
    assert [(one.event, one.what) for one in found.occurrences] == [(first, "recorded")]
    assert life(task.store, "function:a.py::f").occurrences == ()
