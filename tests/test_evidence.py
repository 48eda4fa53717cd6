"""Each evidence that something will be needed makes it likelier; what is kept changes nothing."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.policy import WEIGHTS
from backcast.engine.context.evidence import RequestEvidence, chances
from backcast.engine.context.symbols import Symbols
from backcast.engine.history.snapshots import state_at
from backcast.projections import changes, dependency_graph, fold
from tests.sources import Task

FUNCTION = "def {name}({more}):\n    return {calls}\n"


def function(name: str, calls: str = "0", more: str = "") -> str:
    return FUNCTION.format(name=name, calls=calls, more=more)


def symbols_of(task: Task) -> Symbols:
    state = state_at(task.store, dependency_graph, task.id)
    return Symbols.of(state, dependency_graph.graph_of(state))


class Running:
    """A task whose states and symbols are carried on from moment to moment."""

    def __init__(self) -> None:
        self.task, self.version = Task(), 0
        self.state = dependency_graph.initial
        self.symbols: Symbols | None = None

    def after(self, path: str, source: str | None) -> Symbols:
        """The symbols after a module got another text, or went away."""
        if source is None:
            self.task.deleted(path)
        else:
            self.task.wrote(path, source)
        self.task.outlined()
        events = self.task.store.read(self.task.id, after=self.version)
        self.state = fold(dependency_graph, events, self.state)
        self.version = self.task.store.version(self.task.id)
        graph = dependency_graph.graph_of(self.state, self.symbols.graph if self.symbols else None)
        self.symbols = Symbols.of(self.state, graph, self.symbols)
        return self.symbols


def chance(
    sources: Mapping[str, str], target: str, text: str = "", weights: Mapping[str, float] = WEIGHTS
) -> dict[str, float]:
    """The chance of each function and class of some modules, by path and name."""
    task = Task()
    for path, source in sources.items():
        task.wrote(path, source)
    task.outlined()
    symbols, history = symbols_of(task), state_at(task.store, changes, task.id)
    asked = RequestEvidence(target, text, said=text)
    found = chances(symbols, history, asked, weights)
    return {node.partition(":")[2]: float(c) for node, c in zip(symbols.nodes, found, strict=True)}


TWINS = {"a.py": function("f"), "b.py": function("one") + function("two")}
TARGET = "function:a.py::f"


# What each evidence does


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("let one be two", ()),
        ("let `one` be 2", ("one",)),
        ("what `b.one()` gives", ("one",)),
        ("one() is slow, two( too", ("one", "two")),
        ("def f(box: TheBox) -> Box", ("TheBox",)),
        ("since the_box is 1", ("the_box",)),
    ],
)
def test_what_a_request_names_as_code_is_cited(text: str, cited: tuple[str, ...]) -> None:
    more = "class TheBox:\n    pass\n\nclass Box:\n    pass\n\n" + function("the_box")
    found = chance(TWINS | {"c.py": more}, TARGET, text, {"cited": 1.0})
    least = min(found.values())
    assert {node.partition("::")[2] for node, value in found.items() if value > least} == {*cited}


def test_a_namesake_is_cited_by_half() -> None:
    alone = chance(TWINS, TARGET, "call `one`", {"cited": 1.0})
    found = chance(TWINS | {"c.py": function("one")}, TARGET, "call `one`", {"cited": 1.0})
    assert alone["b.py::one"] > found["b.py::one"] == found["c.py::one"] > found["b.py::two"]


def test_what_needs_the_target_is_a_caller_and_its_tests_are_not() -> None:
    sources = TWINS | {
        "c.py": "from a import f\n" + function("pays", "f()") + function("waits"),
        "test_a.py": "from a import f\n" + function("test_f", "f()"),
        "a.py": function("f", "f()") + function("beside", "f()"),
    }
    found = chance(sources, TARGET, weights={"callers": 1.0})
    least = min(found.values())
    assert {node for node, value in found.items() if value > least} == {
        "c.py::pays",
        "a.py::beside",
    }


def test_without_evidence_twins_are_equally_likely() -> None:
    found = chance(TWINS, TARGET)
    assert found["b.py::one"] == found["b.py::two"] > 0


@pytest.mark.parametrize(
    ("sources", "text"),
    [
        pytest.param({"a.py": "from b import one\n" + function("f", "one()")}, "", id="needed"),
        pytest.param({"a.py": "from b import one\n" + function("f")}, "", id="namespace"),
        pytest.param(
            {"a.py": "from b import one\n" + function("f") + function("g", "one()")}, "",
            id="siblings",
        ),
        pytest.param(
            {"a.py": "import c\n" + function("f"), "c.py": "from b import one\n" +
             function("fry_eggs", "one()")}, "fry eggs", id="alike",
        ),
        pytest.param({}, "call `one`", id="named"),
        pytest.param({"c.py": "from b import one\n" + function("g", "one()")}, "", id="used"),
        pytest.param(
            {"b.py": function("one", more="parcel") + function("two")}, "weigh parcel",
            id="signature words",
        ),
        pytest.param(
            {"b.py": "import c\n" + function("one", "c.parcel()") + function("two")}, "parcel",
            id="body words",
        ),
        pytest.param({"b.py": function("one") + function("__two__")}, "", id="special"),
    ],
)  # fmt: skip
def test_evidence_within_a_module_makes_its_symbol_likelier(
    sources: dict[str, str], text: str
) -> None:
    found = chance({**TWINS, **sources}, TARGET, text)
    other = found.get("b.py::two", found.get("b.py::__two__", 1.0))
    assert found["b.py::one"] > other


@pytest.mark.parametrize(
    ("sources", "text"),
    [
        pytest.param({"one.py": "X = 1\n" + function("same")}, "", id="own file"),
        pytest.param({"a.py": "import one\n" + function("f")}, "", id="imported file"),
        pytest.param({"a.py": "from one import C\n" + function("f")}, "give C", id="typed"),
        pytest.param({"test_two.py": "", "two.py": ""}, "", id="test file"),
    ],
)
def test_evidence_of_a_module_makes_its_symbols_likelier(
    sources: dict[str, str], text: str
) -> None:
    both = {"one.py": "class C:\n    def same(self): pass\n" + function("same")}
    if "test_two.py" in sources:
        sources = {"test_two.py": both["one.py"], "two.py": "X = 1\n"}
    else:
        sources = {"two.py": both["one.py"], **sources}
    target = "function:one.py::new" if "X = 1" in sources.get("one.py", "") else TARGET
    found = chance({"a.py": function("f"), **both, **sources}, target, text)
    other = "two.py" if "two.py::same" in found else "test_two.py"
    name = "C.same" if text else "same"
    assert found[f"one.py::{name}"] > found[f"{other}::{name}"]


def test_methods_of_the_targets_own_class_are_likelier() -> None:
    classes = "".join(f"class {c}:\n    def g(self): pass\n" for c in "CD")
    found = chance({"a.py": classes}, "method:a.py::C.new")
    assert found["a.py::C.g"] > found["a.py::D.g"]


def test_modules_that_changed_with_the_target_or_of_late_are_likelier() -> None:
    task = Task()
    for path in ("b.py", "a.py", "c.py"):
        task.wrote(path, function(path[0]))
    task.outlined()
    symbols, history = symbols_of(task), state_at(task.store, changes, task.id)
    found = chances(symbols, history, RequestEvidence("function:a.py::new", ""), WEIGHTS)
    assert found[symbols.places["function:c.py::c"]] > found[symbols.places["function:b.py::b"]]
    together = changes.State(history.modules.set("a.py", (7,)).set("b.py", (7,)))
    plain = {**WEIGHTS, "lately": 0.0}
    found = chances(symbols, together, RequestEvidence("function:a.py::new", ""), plain)
    assert found[symbols.places["function:b.py::b"]] > found[symbols.places["function:c.py::c"]]


def test_what_stands_nearer_in_the_graph_is_likelier_where_rank_is_weighed() -> None:
    chain = {
        "a.py": "from b import one\n" + function("f", "one()"),
        "b.py": "from c import two\n" + function("one", "two()"),
        "c.py": function("two") + function("three"),
    }
    found = chance(chain, TARGET, weights={"rank": 1.0})
    assert found["b.py::one"] > found["c.py::two"] > found["c.py::three"]


def test_how_near_the_meaning_is_counts_where_it_is_known() -> None:
    task = Task()
    task.wrote("b.py", TWINS["b.py"])
    task.outlined()
    symbols, history = symbols_of(task), state_at(task.store, changes, task.id)
    meaning = np.array([0.2, 0.9])
    found = chances(symbols, history, RequestEvidence("", ""), {"meaning": 1.0}, meaning)
    assert found.tolist() == [0.549834, 0.71095]


def test_a_class_is_worth_nearly_as_much_as_the_best_of_its_methods() -> None:
    task = Task()
    task.wrote("a.py", "class C:\n    def f(self): pass\n    def g(self): pass\nclass D: pass\n")
    task.outlined()
    symbols = symbols_of(task)
    scores = symbols.with_classes(np.array([0.1, 0.2, 0.8, 0.3]), 0.5)
    assert dict(zip(symbols.nodes, scores.tolist(), strict=True)) == {
        "class:a.py::C": 0.4, "method:a.py::C.f": 0.2, "method:a.py::C.g": 0.8,
        "class:a.py::D": 0.3,
    }  # fmt: skip


# What is kept from moment to moment

BODIES = st.builds(
    function,
    st.sampled_from(["one", "two", "__init__", "test_it"]),
    st.sampled_from(["0", "one()", "two(3)", "b.one()", "C().m()"]),
    st.sampled_from(["", "x: int"]),
)
HEADS = st.sampled_from(["", "import b\n", "from b import one\n", "from a import *\n", "X = 1\n"])
CLASS = st.sampled_from(["", "class C:\n    def m(self):\n        return one()\n"])
TEXTS = st.builds(
    lambda head, c, bodies: head + c + "".join(bodies), HEADS, CLASS, st.lists(BODIES)
)
EDITS = st.lists(
    st.tuples(st.sampled_from(["a.py", "b.py", "test_c.py"]), st.none() | TEXTS),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40)
@given(edits=EDITS, text=st.sampled_from(["", "one x", "C m int"]))
def test_symbols_made_of_those_before_are_those_made_anew(
    edits: list[tuple[str, str | None]], text: str
) -> None:
    running = Running()
    for path, source in edits:
        kept = running.after(path, source)
        anew = Symbols.of(running.state, dependency_graph.graph_of(running.state))
        assert kept.nodes == anew.nodes
        assert kept.used.tolist() == anew.used.tolist()
        old, new = ([one.tests(path, {*one.nodes}) for path in one.parts] for one in (kept, anew))
        assert old == new
        for bodies in (False, True):
            first, second = (one.by_words(text, bodies=bodies) for one in (kept, anew))
            np.testing.assert_allclose(first, second)
        history = state_at(running.task.store, changes, running.task.id)
        for target in ("", "module:a.py", "function:a.py::one", "function:a.py::new", "x"):
            first, second = (
                chances(one, history, RequestEvidence(target, text), {**WEIGHTS, "rank": 1.0})
                for one in (kept, anew)
            )
            assert first.tolist() == second.tolist()
            assert all((first >= 0) & (first <= 1))


def test_parts_of_modules_that_did_not_change_are_not_made_again() -> None:
    running = Running()
    running.after("a.py", TWINS["a.py"])
    before = running.after("b.py", TWINS["b.py"])
    after = running.after("b.py", TWINS["b.py"] + function("three"))
    assert after.parts["a.py"] is before.parts["a.py"]
    assert after.parts["b.py"] is not before.parts["b.py"]
    assert "function:b.py::three" in after.places


def test_where_nothing_is_there_nothing_is_likely() -> None:
    assert chance({}, "") == {}
    assert chance({"a.md": "# Hello\n"}, "module:a.md", "hello") == {}


@settings(max_examples=30)
@given(edits=EDITS)
def test_a_graph_is_the_same_whichever_moment_it_is_made_of(
    edits: list[tuple[str, str | None]],
) -> None:
    running, states = Running(), []
    for path, source in edits:
        running.after(path, source)
        states.append(running.state)
    graphs = [dependency_graph.graph_of(state) for state in states]
    for state, anew in zip(states, graphs, strict=True):
        for before, other in zip(states, graphs, strict=True):
            shared = dependency_graph.sharing(state, before)
            made = dependency_graph.graph_of(shared, other)
            assert shared == state
            assert (made.edges, made.unresolved) == (anew.edges, anew.unresolved)
