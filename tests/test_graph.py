"""What needs what: names resolved through imports, classes and re-exports; questions asked."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.graph import Graph
from backcast.domain.node import Edge
from backcast.engine.history.snapshots import state_at
from backcast.projections import dependency_graph
from tests.sources import SHOP, Task, graph_of


def edges(graph: Graph, kind: str) -> list[tuple[str, str]]:
    return [(edge.source, edge.target) for edge in graph.edges if edge.kind == kind]


def test_the_seeds_example_is_linked_through_its_imports() -> None:
    graph = graph_of(SHOP)
    email = "function:validators.py::validate_email"
    test = "test:test_validators.py::test_an_address_is_valid"
    assert edges(graph, "imports") == [
        ("module:test_validators.py", "module:validators.py"),
        ("module:utils.py", "library:re"),
        ("module:validators.py", "module:constants.py"),
        ("module:validators.py", "module:utils.py"),
    ]
    assert (email, "function:utils.py::normalise") in edges(graph, "calls")
    assert edges(graph, "tests") == [(test, email)]
    assert edges(graph, "tested_by") == [(email, test)]
    assert (email, "attribute:constants.py::LIMIT") in edges(graph, "uses_attribute")
    assert (email, "concept:rfc-5322") in edges(graph, "references")
    assert ("concept:rfc-5322", email) in edges(graph, "references")
    assert ("task:shop", "module:utils.py") in edges(graph, "contains")


@pytest.mark.parametrize(
    ("sources", "call"),
    [
        ({"a.py": "import b\ndef f(): b.g()", "b.py": "def g(): pass"}, "function:b.py::g"),
        ({"a.py": "import b as c\ndef f(): c.g()", "b.py": "def g(): pass"}, "function:b.py::g"),
        (
            {"a.py": "from b import g as h\ndef f(): h()", "b.py": "def g(): pass"},
            "function:b.py::g",
        ),
        (
            {
                "p/__init__.py": "",
                "p/a.py": "from .b import g\ndef f(): g()",
                "p/b.py": "def g(): pass",
            },
            "function:p/b.py::g",
        ),
        (
            {
                "p/__init__.py": "",
                "p/q/__init__.py": "",
                "p/q/a.py": "from .. import b\ndef f(): b.g()",
                "p/b.py": "def g(): pass",
            },
            "function:p/b.py::g",
        ),
        (
            {
                "a.py": "import p\ndef f(): p.g()",
                "p/__init__.py": "from .b import g",
                "p/b.py": "def g(): pass",
            },
            "function:p/b.py::g",
        ),
        (
            {
                "a.py": "from p import *\ndef f(): g()",
                "p/__init__.py": "from .b import *",
                "p/b.py": "def g(): pass",
            },
            "function:p/b.py::g",
        ),
        (
            {"a.py": "import p.b\ndef f(): p.b.g()", "p/__init__.py": "", "p/b.py": "def g(): 1"},
            "function:p/b.py::g",
        ),
        ({"a.py": "import p.b\ndef f(): p.b.g()", "p/b.py": "def g(): 1"}, "function:p/b.py::g"),
        ({"a.py": "def g(): pass\nh = g\ndef f(): h()"}, "function:a.py::g"),
        ({"a.py": "def f():\n  from b import g\n  g()", "b.py": "def g(): 1"}, "function:b.py::g"),
        (
            {"src/p/__init__.py": "", "src/p/b.py": "def g(): 1",
             "tests/a.py": "from p.b import g\ndef f(): g()"},
            "function:src/p/b.py::g",
        ),
    ],
)  # fmt: skip
def test_a_call_is_followed_to_where_the_function_is(sources: dict[str, str], call: str) -> None:
    assert [target for _, target in edges(graph_of(sources), "calls")] == [call]


def test_self_super_and_typed_attributes_are_followed() -> None:
    graph = graph_of(
        {
            "shop.py": """
                from cart import Cart, Basket

                class Shop(Basket):
                    def __init__(self, cart: Cart):
                        super().__init__()
                        self.cart = cart

                    def sell(self):
                        self.count()
                        self.cart.total()
                        self.add()
                        self.nothing()
                """,
            "cart.py": """
                class Basket:
                    def __init__(self): ...
                    def add(self): ...

                class Cart:
                    def total(self): ...
                """,
        }
    )
    sell = "method:shop.py::Shop.sell"
    assert [target for source, target in edges(graph, "calls") if source == sell] == [
        "method:cart.py::Basket.add",
        "method:cart.py::Cart.total",
    ]
    assert ("method:shop.py::Shop.__init__", "method:cart.py::Basket.__init__") in edges(
        graph, "calls"
    )
    assert edges(graph, "inherits") == [("class:shop.py::Shop", "class:cart.py::Basket")]
    assert (sell, "self.count") in graph.unresolved
    assert (sell, "self.nothing") in graph.unresolved


def test_what_cannot_be_told_is_unresolved_and_not_guessed() -> None:
    source = "from b import g\ndef f(client):\n  client.get()\n  g()\n  h()\n  make().run()"
    graph = graph_of({"a.py": source, "b.py": "def other(): pass\ndef get(): pass"})
    assert edges(graph, "calls") == []
    assert [name for _, name in graph.unresolved] == ["?.run", "?client.get", "g", "h", "make"]


def test_libraries_are_told_apart() -> None:
    graph = graph_of({"a.py": "import re, numpy, b", "b.py": ""})
    assert graph.libraries == {"library:numpy": "third-party", "library:re": "standard"}
    assert "module:b.py" in graph.nodes


def test_a_circle_of_imports_is_a_circle_and_has_an_order() -> None:
    graph = graph_of({"a.py": "import b", "b.py": "import c", "c.py": "import b", "d.py": ""})
    assert graph.cycles() == [["b.py", "c.py"]]
    assert graph.order() == ["b.py", "c.py", "a.py", "d.py"]


def test_names_that_lead_round_in_a_circle_end_unresolved() -> None:
    sources = {
        "a.py": "from b import x\ndef f(): x()",
        "b.py": "from a import x\nfrom a import *",
        "c.py": "from d import *\ndef g(): y()",
        "d.py": "from c import *",
        "e.py": "class A(B): pass\nclass B(A):\n  def m(self): self.q()",
    }
    graph = graph_of(sources)
    assert {name for _, name in graph.unresolved} >= {"x", "y", "self.q"}


def test_dependencies_neighbours_and_paths_follow_the_edges() -> None:
    graph = graph_of(SHOP)
    assert "library:re" in graph.dependencies("module:validators.py")
    near = graph.neighbours("function:utils.py::normalise", 1)
    assert near["function:validators.py::validate_email"] == 1
    assert "test:test_validators.py::test_an_address_is_valid" not in near
    assert graph.path("test_validators.py", "utils.py") == [
        "test_validators.py",
        "validators.py",
        "utils.py",
    ]


def test_headings_of_documents_are_concepts_linked_both_ways() -> None:
    graph = graph_of({"README.md": "# Cart\n\nText.\n", "cart.py": "class Cart: pass"})
    assert ("module:README.md", "concept:cart") in edges(graph, "references")
    assert ("concept:cart", "class:cart.py::Cart") in edges(graph, "references")
    assert ("class:cart.py::Cart", "concept:cart") in edges(graph, "references")


def test_a_graph_made_of_an_earlier_one_is_the_graph_from_nothing() -> None:
    before = graph_of(SHOP)
    changes = [
        {"utils.py": SHOP["utils.py"].replace("normalise", "cleaned")},
        {"validators.py": "from utils import normalise\ndef f(): normalise()"},
        {"validators/__init__.py": "", "utils.py": ""},
        {"constants.py": "from utils import normalise as LIMIT"},
    ]
    for change in changes:
        sources = {**SHOP, **change}
        graph, anew = graph_of(sources, before), graph_of(sources)
        assert graph.edges == anew.edges
        assert graph.unresolved == anew.unresolved
        before = graph
    fewer = {path: text for path, text in SHOP.items() if path != "utils.py"}
    assert graph_of(fewer, before).edges == graph_of(fewer).edges


def test_only_modules_that_a_change_can_touch_are_linked_again() -> None:
    before = graph_of(SHOP)
    body = {**SHOP, "utils.py": SHOP["utils.py"].replace('" +"', '"  +"')}
    after = graph_of(body, before)
    assert all(after.links[path] is before.links[path] for path in SHOP)
    called = {**SHOP, "utils.py": SHOP["utils.py"].replace("text.strip()", "str(text)")}
    after = graph_of(called, before)
    assert [path for path in after.links if after.links[path] is not before.links[path]] == [
        "utils.py"
    ]
    named = {**SHOP, "utils.py": SHOP["utils.py"].replace("normalise", "cleaned")}
    after = graph_of(named, before)
    assert [path for path in after.links if after.links[path] is not before.links[path]] == [
        "utils.py",
        "validators.py",
    ]


def test_renames_and_deletions_take_their_links_along_and_bring_them_back() -> None:
    task = Task()
    for path, source in SHOP.items():
        task.wrote(path, source)
    task.outlined()
    whole = dependency_graph.graph_of(state_at(task.store, dependency_graph, task.id)).edges
    task.deleted("utils.py")
    gone = dependency_graph.graph_of(state_at(task.store, dependency_graph, task.id))
    assert "module:utils.py" not in gone.nodes
    assert ("module:validators.py", "utils") in gone.unresolved
    assert "library:utils" not in gone.libraries
    task.renamed("helpers.py", "validators.py", SHOP["validators.py"])
    task.outlined()
    moved = dependency_graph.graph_of(state_at(task.store, dependency_graph, task.id))
    assert "class:helpers.py::InvalidError" in moved.nodes
    assert ("module:test_validators.py", "validators") in moved.unresolved
    assert ("module:helpers.py", "utils") in moved.unresolved
    task.deleted("helpers.py")
    for path in ("utils.py", "validators.py"):
        task.wrote(path, SHOP[path])
    task.outlined()
    back = dependency_graph.graph_of(state_at(task.store, dependency_graph, task.id)).edges
    assert back == whole


def test_a_module_that_was_renamed_away_is_no_library() -> None:
    task = Task()
    task.wrote("utils.py", "def clean(): pass")
    task.wrote("queue.py", "")
    task.wrote("pkg/__init__.py", "")
    task.wrote("pkg/mod.py", "class C: pass")
    source = "import re, queue, numpy, pkg.mod\nfrom utils import clean\ndef f(): clean()"
    task.wrote("shop.py", f"{source}\nclass D(pkg.mod.C): pass")
    seen = [now(task)]
    for path in ("utils.py", "queue.py", "pkg/mod.py"):
        task.renamed(f"new_{path}", path, "def clean(): pass")
        seen.append(now(task, seen[-1]))
    task.wrote("shop.py", f"{source}; clean(1)\nclass D(pkg.mod.C): pass")
    task.renamed("cart.py", "shop.py", f"{source}\nclass D(pkg.mod.C): pass")
    for graph in (now(task, seen[-1]), now(task)):
        assert sorted(graph.libraries) == ["library:numpy", "library:queue", "library:re"]
        assert graph.unresolved == [
            ("class:cart.py::D", "pkg.mod.C"),
            ("function:cart.py::f", "clean"),
            ("module:cart.py", "pkg.mod"),
            ("module:cart.py", "utils"),
        ]
    task.wrote("utils.py", "def clean(): pass")
    for graph in (now(task, seen[-1]), now(task, seen[0]), now(task)):
        assert ("module:cart.py", "module:utils.py") in edges(graph, "imports")


def test_what_is_imported_only_after_a_module_of_its_name_went_away_is_a_library() -> None:
    task = Task()
    task.wrote("httpcore/__init__.py", "class Pool: pass")
    task.wrote("client.py", "import httpcore")
    task.deleted("httpcore/__init__.py")
    gone = now(task)
    task.wrote("client.py", "import http")
    between = now(task, gone)
    task.wrote("client.py", "import httpcore")
    task.wrote("pool.py", "from httpcore import Pool")
    for graph in (now(task, gone), now(task, between), now(task)):
        assert graph.libraries == {"library:httpcore": "third-party"}
        assert graph.unresolved == []
    assert gone.unresolved == [("module:client.py", "httpcore")]


STEPS = st.tuples(
    st.sampled_from(["wrote", "wrote", "deleted", "renamed"]),
    st.sampled_from(
        ["a.py", "b.py", "p/__init__.py", "p/b.py", "q/src/b.py", "q/t.py", "r/b/__init__.py"]
    ),
    st.sampled_from(
        ["", "import a, p.b", "from b import f\ndef g(): f()", "def f(): pass",
         "def g():\n  from p import b\n  b.f()"]
    ),
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(STEPS, min_size=2, max_size=9), st.integers(0, 8))
def test_a_graph_made_of_any_earlier_state_is_the_graph_from_nothing(
    steps: list[tuple[str, str, str]], kept: int
) -> None:
    task, before = Task(), None
    for number, (kind, path, source) in enumerate(steps):
        if kind == "wrote":
            task.wrote(path, source)
        elif kind == "deleted":
            task.deleted(path)
        else:
            task.renamed("moved.py", path, source)
        if number == kept:
            before = now(task)
    made, anew = now(task, before), now(task)
    assert made.edges == anew.edges
    assert made.unresolved == anew.unresolved
    assert made.libraries == anew.libraries


def now(task: Task, before: Graph | None = None) -> Graph:
    task.outlined()
    state = state_at(task.store, dependency_graph, task.id)
    return dependency_graph.graph_of(state, before)


def test_the_edges_are_sorted_and_there_once_each() -> None:
    found = graph_of(SHOP).edges
    assert list(found) == sorted(set(found))
    assert all(isinstance(edge, Edge) for edge in found)
