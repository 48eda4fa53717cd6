"""What is served unflagged is what would be made anew; what is flagged has its proof."""

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.errors import InputError, MomentError
from backcast.domain.events import (
    Claim,
    Fact,
    ModuleDeleted,
    ModuleIteration,
)
from backcast.domain.memory_events import SummaryWritten
from backcast.domain.moment import NOW, Moment
from backcast.domain.node import Reference, kind_of, path_of
from backcast.domain.outline import Facets
from backcast.domain.staleness import Modules
from backcast.domain.summary import NodeSummary, summary_of
from backcast.engine.history.snapshots import state_at
from backcast.engine.history.source_text import text_of
from backcast.engine.history.staleness import extracted, stale
from backcast.engine.log import EventStore
from backcast.engine.memory.import_log import run
from backcast.projections import dependency_graph
from backcast.projections import summaries as kept
from tests.sources import SHOP, Task, graph_of, modules_of
from tests.strategies import NOON

LOG = Path(__file__).parents[1] / "fixtures/logs/shop.jsonl"


def nodes(modules: dict[str, Facets]) -> list[str]:
    found = graph_of_modules(modules)
    return [node for node in found if kind_of(node) in ("module", "function", "method", "class")]


def graph_of_modules(modules: dict[str, Facets]) -> list[str]:
    named = [f"module:{path}" for path in modules]
    for path, facets in modules.items():
        for key in sorted(facets):
            if key.startswith("sig:"):
                named.append(f"{facets[key][0]}:{path}::{key[4:]}")
    return named


def summaries(modules: dict[str, Facets]) -> dict[str, NodeSummary]:
    made = {node: summary_of(modules, node) for node in nodes(modules)}
    return {node: summary for node, summary in made.items() if summary}


def test_the_seeds_example_is_stale_with_its_proof() -> None:
    with EventStore.open("sqlite://") as store:
        run(store, "events", LOG)
        found = [str(one) for one in stale(store, "task-def456", NOW)]
        before = stale(store, "task-def456", Moment(position=33))
    assert found == [
        "function:utils.py::normalise summary (built at utils.py=7)"
        " stale since event 34: utils.py=8, path utils.py",
        "function:validators.py::validate_email summary (built at validators.py=3, utils.py=7)"
        " stale since event 34: utils.py=8, path validators.py -> utils.py",
        "module:validators.py summary (built at validators.py=3, utils.py=7)"
        " stale since event 34: utils.py=8, path validators.py -> utils.py",
    ]
    assert before == []


WORDS = st.sampled_from(["f", "g", "C", "D"])
PATHS = ("a.py", "b.py", "p/__init__.py", "p/c.py")
IMPORTS = (
    "import a", "import b", "import p", "import p.c", "from a import f", "from b import g as f",
    "from p import f", "from p import c", "from p.c import *", "from a import *",
    "from .c import g", "from . import c", "import b as p", "from b import C",
)  # fmt: skip
CALLS = (
    "f()", "g()", "a.f()", "b.g()", "p.c.f()", "c.g()", "C().m()", "self.m()", "self.x.m()",
    "super().m()", "p.f()", "D.m(1)", "raise_()",
)  # fmt: skip


@st.composite
def sources(draw: st.DrawFn) -> str:
    """A small module: imports, functions and classes that may know each other, or not."""
    lines = draw(st.lists(st.sampled_from(IMPORTS), max_size=3))
    for name in draw(st.lists(st.sampled_from(["f", "g", "h"]), max_size=2, unique=True)):
        argument = draw(st.sampled_from(["", "x", "x: int = 1"]))
        doc = draw(st.sampled_from(["", '"""Read `g`."""; ', '"""Do it."""; ']))
        body = "; ".join(draw(st.lists(st.sampled_from(CALLS), min_size=1, max_size=3)))
        lines.append(f"def {name}({argument}): {doc}{body}")
    for name in draw(st.lists(st.sampled_from(["C", "D"]), max_size=2, unique=True)):
        parent = draw(st.sampled_from(["", "(C)", "(b.C)", "(p.C)"]))
        lines.append(f"class {name}{parent}:")
        typed = draw(st.sampled_from(["x: int = 1", "x: C", "x: b.C", "y = 2"]))
        lines.append(f"    {typed}")
        method = draw(st.sampled_from(["m", "n"]))
        lines.append(f"    def {method}(self): {draw(st.sampled_from(CALLS))}")
    alias = draw(st.sampled_from(["", "g = f", "f = a.f", "D = C"]))
    return "\n".join([*lines, alias])


programs = st.dictionaries(st.sampled_from(PATHS), sources(), min_size=1)


@settings(max_examples=150)
@given(before=programs, change=programs, gone=st.sets(st.sampled_from(PATHS), max_size=1))
def test_whatever_is_served_unflagged_equals_what_would_be_made_anew(
    before: dict[str, str], change: dict[str, str], gone: set[str]
) -> None:
    old = modules_of(before)
    new = modules_of({p: s for p, s in {**before, **change}.items() if p not in gone})
    now = Modules(new)
    for node, entry in summaries(old).items():
        if now.holds(entry.built_from):
            again = summary_of(new, node)
            assert again is not None
            assert again.text == entry.text


@settings(max_examples=150)
@given(before=programs, change=programs, gone=st.sets(st.sampled_from(PATHS), max_size=1))
def test_any_graph_made_of_an_earlier_one_is_the_graph_from_nothing(
    before: dict[str, str], change: dict[str, str], gone: set[str]
) -> None:
    after = {p: s for p, s in {**before, **change}.items() if p not in gone}
    made, anew = graph_of(after, graph_of(before)), graph_of(after)
    assert made.edges == anew.edges
    assert made.unresolved == anew.unresolved
    assert made.libraries == anew.libraries


def test_a_body_alone_does_not_make_its_users_stale() -> None:
    entry = summary_of(modules_of(SHOP), "function:validators.py::validate_email")
    assert entry is not None
    body = {**SHOP, "utils.py": SHOP["utils.py"].replace("lower()", "upper()")}
    assert Modules(modules_of(body)).holds(entry.built_from)
    signature = {**SHOP, "utils.py": SHOP["utils.py"].replace("text: str", "words: str")}
    assert not Modules(modules_of(signature)).holds(entry.built_from)


def test_a_module_that_would_hide_another_makes_its_users_stale() -> None:
    sources = {"app/a.py": "from utils import f\ndef g(): f()", "utils.py": "def f(): pass"}
    entry = summary_of(modules_of(sources), "function:app/a.py::g")
    assert entry is not None
    hidden = {**sources, "app/utils.py": "def f(x): pass"}
    now = Modules(modules_of(hidden))
    assert now.changed(entry.built_from) == [("", "top:utils")]


def shop() -> Task:
    task = Task()
    for path, source in SHOP.items():
        task.wrote(path, source)
    task.outlined()
    return task


def wrote_summary(task: Task, node: str, **more: object) -> int:
    state = state_at(task.store, dependency_graph, task.id)
    [entry] = [entry for entry in extracted(state) if entry.node == node]
    fact = SummaryWritten(
        node=node, text="said", summariser=more.pop("summariser", "by-hand 1"),
        built_at=entry.built_at, clock=dict(entry.clock),
        built_from={path: dict(keys) for path, keys in entry.built_from.items()}, **more,
    )  # fmt: skip
    return task.happened(fact)


def test_the_proof_names_the_first_event_that_broke_it() -> None:
    task = shop()
    wrote_summary(task, "function:validators.py::validate_email")
    task.wrote("constants.py", "LIMIT = 3")
    first = task.wrote("utils.py", "def normalise(text): pass")
    task.wrote("utils.py", "def normalise(text, other): pass")
    task.outlined()
    [one] = stale(task.store, task.id, NOW)
    assert one.proof is not None
    assert one.proof.since == first
    assert one.proof.clock == (("utils.py", 2),)
    assert one.proof.way == ("validators.py", "utils.py")
    assert one.proof.facets == ("sig:normalise",)


def test_outlines_recorded_late_prove_the_same_as_those_recorded_at_once() -> None:
    proofs = []
    for at_once in (True, False):
        task = Task()
        for path, source in [*SHOP.items(), ("utils.py", "def normalise(text): pass")]:
            task.wrote(path, source)
            if at_once:
                task.outlined()
        task.outlined()
        begin = Moment(at=NOON + timedelta(minutes=len(SHOP)))
        proofs.append([(one.node, one.clock) for one in stale(task.store, task.id, NOW, begin)])
    assert proofs[0] == proofs[1]
    assert ("function:validators.py::validate_email" in {node for node, _ in proofs[0]}) is True


def test_a_deletion_makes_stale_and_coming_back_makes_fresh() -> None:
    task = shop()
    node = "function:validators.py::validate_email"
    wrote_summary(task, node)
    gone = task.deleted("utils.py")
    [one] = stale(task.store, task.id, NOW)
    assert one.proof is not None
    assert (one.proof.since, one.proof.way) == (gone, ("validators.py", "utils.py"))
    task.wrote("utils.py", SHOP["utils.py"])
    task.outlined()
    assert stale(task.store, task.id, NOW) == []


def test_a_summary_of_an_older_summariser_is_superseded() -> None:
    task = shop()
    wrote_summary(task, "module:utils.py", summariser="small-model 1")
    assert stale(task.store, task.id, NOW) == []
    wrote_summary(task, "module:constants.py", summariser="small-model 2")
    [one] = stale(task.store, task.id, NOW)
    assert one.node == "module:utils.py"
    assert "its summariser small-model moved on from 1 to 2" in str(one)


@pytest.mark.parametrize(("minutes", "count"), [(9, 0), (10, 0), (11, 1)])
def test_a_time_to_live_is_judged_at_the_moment_asked_for(minutes: int, count: int) -> None:
    task = shop()
    wrote_summary(task, "module:utils.py", lives=300)
    task.minutes = 30
    task.wrote("other.py", "")
    task.outlined()
    at = Moment(at=NOON + timedelta(minutes=minutes))
    assert len(stale(task.store, task.id, at)) == count


def test_served_falsely_fresh_are_none_along_a_history_of_edits() -> None:
    task = shop()
    states = [state_at(task.store, dependency_graph, task.id)]
    edits = [
        ("utils.py", SHOP["utils.py"].replace("text: str", "words: str")),
        ("utils.py", "from constants import LIMIT as normalise"),
        ("constants.py", "def LIMIT(): pass"),
        ("validators.py", SHOP["validators.py"].replace("InvalidError", "WrongError")),
        ("utils.py", "def ("),
        ("utils.py", SHOP["utils.py"]),
    ]
    for path, source in edits:
        task.wrote(path, source)
        task.outlined()
        states.append(state_at(task.store, dependency_graph, task.id))
    flagged = 0
    for before, after in pairwise(states):
        modules = dependency_graph.present(after)
        now = Modules(modules)
        for entry in extracted(before):
            old = summary_of(dependency_graph.present(before), entry.node)
            new = summary_of(modules, entry.node)
            same = old is not None and new is not None and old.text == new.text
            assert same or not now.holds(entry.built_from), entry.node
            flagged += not now.holds(entry.built_from)
    assert flagged > len(edits)


def test_tests_and_classes_are_asked_too() -> None:
    task = shop()
    begin = Moment(position=task.store.version(task.id))
    changed = SHOP["validators.py"].replace("It is not valid", "It is wrong")
    task.wrote("validators.py", changed.replace("validate_email", "validated"))
    task.outlined()
    found = {one.node for one in stale(task.store, task.id, NOW, begin)}
    assert {
        "class:validators.py::InvalidError",
        "test:test_validators.py::test_an_address_is_valid",
    } <= found


def test_what_can_no_longer_be_parsed_is_told_as_of_the_last_good_version() -> None:
    task = shop()
    wrote_summary(task, "function:utils.py::normalise")
    broken = task.wrote("utils.py", "x = 1\n\n" + SHOP["utils.py"] + "\ndef (")
    task.outlined()
    [one] = stale(task.store, task.id, NOW)
    assert one.proof is not None
    assert (one.proof.since, one.proof.facets) == (broken, ("error",))
    state = state_at(task.store, dependency_graph, task.id)
    summary = summary_of(dependency_graph.present(state), "function:utils.py::normalise")
    assert summary is not None
    assert "As of: the last version of the module that could be parsed" in summary.text
    assert dependency_graph.lines_of(state, "utils.py") == {}
    reference = Reference(task.id, "utils.py", name="normalise")
    with pytest.raises(InputError, match="this text of it cannot be parsed"):
        text_of(task.store, reference, NOW)


def test_what_went_away_is_told_to_be_gone() -> None:
    task = shop()
    wrote_summary(task, "function:validators.py::validate_email")
    task.deleted("utils.py")
    [one] = stale(task.store, task.id, NOW)
    assert str(one).endswith(": utils.py is gone, path validators.py -> utils.py")


def test_the_moment_asked_about_must_be_the_earlier_one() -> None:
    task = shop()
    with pytest.raises(MomentError, match="before the one asked at"):
        stale(task.store, task.id, Moment(position=2), NOW)


def test_the_graph_gives_the_way_from_an_entry_to_what_moved() -> None:
    graph = graph_of(SHOP)
    assert graph.path(path_of("module:test_validators.py"), "constants.py") == [
        "test_validators.py",
        "validators.py",
        "constants.py",
    ]


# Of summaries that state a version clock and no digests


@given(
    clock=st.dictionaries(st.sampled_from(["a.py", "b.js", "c"]), st.integers(1, 3), min_size=1),
    later=st.lists(st.sampled_from(["a.py", "b.js", "c", "other.py"]), max_size=4),
)
@settings(max_examples=40)
def test_a_clock_without_digests_holds_until_a_module_in_it_moves_on(
    clock: dict[str, int], later: list[str]
) -> None:
    iterations = dict(clock)
    facts: list[Fact] = [
        ModuleIteration(module_name=path, iteration=n) for path, n in sorted(clock.items())
    ]
    facts.append(SummaryWritten(node=f"module:{min(clock)}", text="It adds.", clock=clock))
    written = len(facts)
    for path in later:
        iterations[path] = iterations.get(path, 0) + 1
        facts.append(ModuleIteration(module_name=path, iteration=iterations[path]))
    with EventStore.open("sqlite://") as store:
        store.append("t", [Claim(fact, NOON) for fact in facts], after=0)
        outdated = stale(store, "t", NOW)
        before = stale(store, "t", Moment(position=written))
        states = [state_at(store, folded, "t", NOW) for folded in (dependency_graph, kept)]
    assert before == []
    moved = [n for n, path in enumerate(later, written + 1) if path in clock]
    assert [entry.proof.since for entry in outdated if entry.proof] == moved[:1]
    modules = Modules(dependency_graph.present(states[0]))
    [summary] = states[1].nodes[f"module:{min(clock)}"]
    assert modules.holds(summary.made_of) == (not moved)


def test_a_deleted_module_outdates_a_clock_and_digests_go_before_it() -> None:
    dated = SummaryWritten(node="module:a.py", text="It adds.", clock={"a.py": 1})
    sure = dated.model_copy(update={"summariser": "m 1", "built_from": {"a.py": {"doc": ""}}})
    facts = [ModuleIteration(module_name="a.py", iteration=1), dated, sure]
    with EventStore.open("sqlite://") as store:
        store.append("t", [Claim(fact, NOON) for fact in facts], after=0)
        store.append("t", [Claim(ModuleIteration(module_name="a.py", iteration=2), NOON)], after=3)
        assert [str(entry) for entry in stale(store, "t", NOW)] == [
            "module:a.py summary (by clock, built at a.py=1) stale since event 4: a.py=2, path a.py"
        ]
        store.append("t", [Claim(ModuleDeleted(module_name="a.py"), NOON)], after=4)
        [entry] = stale(store, "t", NOW)
        assert entry.summariser == ""
