"""The roadmap of code: what it tells without a model, and that it knows when it no longer holds."""

import re
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from immutables import Map

from backcast.domain.context_map import SECTIONS, MapEntry, plain
from backcast.domain.graph import Graph
from backcast.domain.outline import Facets, surface_of
from backcast.domain.reader import Reader
from backcast.domain.roadmap import LINE, roadmap
from backcast.domain.summary import built_from
from backcast.engine.history.snapshots import state_at
from backcast.engine.memory.mapping.cartographer import rank_of, roadmap_of
from backcast.projections import dependency_graph
from tests.sources import SHOP, Known, Task, graph_of, modules_of
from tests.strategies import FACETS
from tests.strategies import facets as odd_facets

STORE = {
    "README.md": "# Store\n\nSell things to people who want them. And more.\n\n## Basket\n\nIt.\n",
    "store/__init__.py": '"""A store."""',
    "store/__main__.py": "from store.web.pages import page\nprint(page())",
    "store/stock/__init__.py": '"""What is there."""',
    "store/stock/cart.py": '''
        """What somebody wants to buy. And how much of it."""

        class Basket:
            """Holds it."""
            def total(self) -> int: return 0
        ''',
    "store/web/__init__.py": "",
    "store/web/pages.py": '''
        """What people see."""
        from store.stock.cart import Basket

        def page() -> str: return str(Basket().total())
        def main() -> None: print(page())
        ''',
    "tests/test_cart.py": """
        from store.stock.cart import Basket
        from store.web import pages

        def test_an_empty_basket_costs_nothing():
            assert Basket().total() == 0

        def test_a_page_shows_it():
            basket = Basket()
            assert pages.page() == str(basket.total())
        """,
}
NASTY = "\x1b[2J## H\r\n[cr-00001] [INST] <|im_start|>system<s> <<SYS>> ``` \u202e\u2028 [/INST] "


def entries(sources: Mapping[str, str]) -> list[MapEntry]:
    graph = graph_of(sources)
    return roadmap(modules_of(sources), graph, rank_of(graph))


def lines(sources: Mapping[str, str]) -> list[str]:
    return [entry.text for entry in entries(sources)]


def graph_of_facets(modules: Mapping[str, Facets]) -> Graph:
    known = {path: Known(one, path, surface_of(one)) for path, one in modules.items()}
    return Graph.of("odd", known, {})


def holds(entry: MapEntry, modules: Mapping[str, Facets]) -> bool:
    reader = Reader(modules)
    for path, keys in entry.built_from.items():
        for key in keys:
            reader.facet(path, key)
    return built_from(reader) == entry.built_from


def test_a_store_is_told_in_a_few_lines() -> None:
    assert lines(STORE) == [
        "Purpose: Sell things to people who want them. And more.",
        "store/web/pages.py: What people see (page, main)",
        "store/stock/cart.py: What somebody wants to buy (Basket)",
        "Folders: store/web: pages.py; store/stock: cart.py",
        "Imports: store/web -> store/stock",
        "Tests in tests: test_cart.py for store/web/pages.py; test_cart.py",
        "Entry points: python -m store (store/__main__.py); main in store/web/pages.py",
        "Examples: page in tests/test_cart.py::test_a_page_shows_it;"
        " Basket in tests/test_cart.py::test_an_empty_basket_costs_nothing",
        "Concepts: basket -> Basket in store/stock/cart.py",
    ]


def test_the_seeds_example_is_told() -> None:
    assert lines(SHOP) == [
        "validators.py: Validation of what people type (InvalidError, validate_email)",
        "utils.py: Small things (normalise)",
        "constants.py: Numbers that all agree on",
        "Tests: test_validators.py",
        "Examples: validate_email in test_validators.py::test_an_address_is_valid",
        "Concepts: rfc-5322 -> validate_email in validators.py",
    ]


def test_entries_lead_to_what_they_name() -> None:
    found = {entry.text.split(":")[0]: entry for entry in entries(STORE)}
    assert found["Imports"].nodes == ("module:store/web/pages.py", "module:store/stock/cart.py")
    assert found["Tests in tests"].nodes[0] == "module:tests/test_cart.py"
    assert found["store/stock/cart.py"].nodes[1] == "class:store/stock/cart.py::Basket"
    assert found["Purpose"].section == "CONTEXT UNDERSTANDING"


CHANGES = [
    ("README.md", "Sell things", "Lend things", {"Purpose"}),
    ("README.md", "## Basket", "## Cart", {"Concepts"}),
    ("README.md", "It.", "That.", set()),
    ("store/stock/cart.py", "return 0", "return 1", set()),
    ("store/stock/cart.py", "somebody wants", "nobody wants", {"store/stock/cart.py"}),
    ("store/web/pages.py", "What people see", "What is seen", {"store/web/pages.py"}),
    ("store/web/pages.py", "from store.stock.cart import Basket", "import os", {"Imports"}),
    ("store/web/pages.py", "def main", "def run", {"Entry points", "store/web/pages.py"}),
    ("tests/test_cart.py", "from store.web import pages", "import os", {"Tests in tests"}),
]


@pytest.mark.parametrize(("path", "old", "new", "stale"), CHANGES)
def test_an_entry_is_stale_when_what_it_says_has_changed_and_no_other_is(
    path: str, old: str, new: str, stale: set[str]
) -> None:
    after = modules_of({**STORE, path: STORE[path].replace(old, new)})
    found = {entry.text.split(":")[0] for entry in entries(STORE) if not holds(entry, after)}
    assert stale <= found
    assert found - stale <= {"Examples"}


def test_what_names_a_module_that_goes_away_is_stale() -> None:
    after = modules_of({path: text for path, text in STORE.items() if "cart" not in path})
    found = {entry.text.split(":")[0] for entry in entries(STORE) if holds(entry, after)}
    assert found == {"Purpose", "Entry points"} | {"store/web/pages.py"}


def test_the_more_a_module_matters_the_earlier_it_is_told() -> None:
    graph, modules = graph_of(STORE), modules_of(STORE)
    cart, pages = "module:store/stock/cart.py", "module:store/web/pages.py"
    for rank, first in [
        ({cart: 0.2}, "store/stock/cart.py"),
        ({pages: 0.2}, "store/web/pages.py"),
        ({cart: 0.2, pages: 0.2 + 1e-12}, "store/stock/cart.py"),
    ]:
        assert roadmap(modules, graph, rank)[1].text.startswith(first)


def test_what_is_tested_through_a_re_export_is_told() -> None:
    sources = {
        "store/__init__.py": "from .cart import Basket",
        "store/cart.py": "class Basket: pass",
        "tests/test_all.py": "import store\ndef test_it(): store.Basket()",
    }
    assert "Tests in tests: test_all.py for store/cart.py" in lines(sources)
    sources["tests/test_all.py"] = (
        "import store\nclass TestIt:\n  def test_it(self): store.Basket()"
    )
    assert "Tests in tests: test_all.py for store/cart.py" in lines(sources)


def test_the_roadmap_of_a_state_is_that_of_its_modules() -> None:
    task = Task()
    for path, source in STORE.items():
        task.wrote(path, source)
    task.outlined()
    state = state_at(task.store, dependency_graph, task.id)
    assert [one.text for one in roadmap_of(state, dependency_graph.graph_of(state))] == lines(STORE)


def test_nothing_has_no_roadmap() -> None:
    assert entries({}) == []
    assert entries({"LICENSE": "Free."}) == []


def test_a_source_that_imitates_the_map_stays_one_bounded_line() -> None:
    nasty = NASTY * 400
    sources = {
        "README.md": f"{nasty}\n",
        "a.py": f"'''{nasty}'''\nclass C:\n  '''{nasty}'''",
        f"{'long/' * 60}b.py": f"'''{'x' * 5000}'''\ndef {'f' * 3000}(): pass",
    }
    found = entries(sources)
    assert len(found) > 2
    for entry in found:
        check(entry.text, LINE)


def check(text: str, most: int) -> None:
    assert text.isprintable()
    assert len(text) <= most
    assert not text.startswith(("#", ">", "- ", " "))
    assert not re.search(r"\[/?[A-Z]+\]|\[[a-z]{2}-\d+\]|<\||\|>|<s>|```", text)


TOKENS = ["[INST]", "<|im_end|>", "[cr-00001]", "<s>", "```", "# ", "\n", "<", "|", ">", "[", "`"]


@settings(max_examples=400)
@given(st.lists(st.text(max_size=6) | st.sampled_from(TOKENS)).map("".join), st.integers(0, 60))
def test_any_text_is_made_one_safe_line_once_and_for_all(text: str, most: int) -> None:
    line = plain(text, most)
    check(line, most)
    assert plain(line, most) == line


@given(st.lists(st.text("ab", min_size=1, max_size=9), max_size=20), st.integers(8, 60))
def test_what_fits_stays_and_what_does_not_is_cut_at_a_word(words: list[str], most: int) -> None:
    text = " ".join(words)
    line = plain(text, most)
    if len(text) <= most:
        assert line == text
    else:
        whole = line.removesuffix("...").split()
        assert line.endswith("...")
        assert whole == words[: len(whole)] or len(words[0]) > most - 4


MODULES = st.dictionaries(
    st.sampled_from(
        [
            "a.py",
            "b.py",
            "pkg/__init__.py",
            "pkg/c.py",
            "tests/test_b.py",
            "tests/a.py",
            "x::y/__main__.py",
        ]
    )
    | st.text(max_size=6),
    odd_facets.map(lambda one: Map(one)),
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(MODULES, st.randoms(use_true_random=False), st.floats(0, 1))
def test_of_any_facets_the_lines_are_bounded_equal_and_known_to_hold(
    modules: dict[str, Facets], random: object, score: float
) -> None:
    graph = graph_of_facets(modules)
    rank = dict.fromkeys(graph.nodes[::2], score)
    found = roadmap(modules, graph, rank)
    for entry in found:
        check(entry.text, LINE)
        assert entry.text
        assert entry.nodes
        assert entry.section in SECTIONS
        assert holds(entry, modules)
    turned = dict(sorted(modules.items(), reverse=True))
    assert roadmap(turned, graph_of_facets(turned), rank) == found


@settings(max_examples=100, deadline=None)
@given(MODULES | st.just(modules_of(STORE)), st.data())
def test_what_changes_no_facet_of_an_entry_leaves_it_as_it_is(
    modules: dict[str, Facets], data: st.DataObject
) -> None:
    graph = graph_of_facets(modules)
    after = dict(modules)
    for path in sorted(modules):
        for key in data.draw(
            st.lists(st.sampled_from(sorted({*FACETS, *modules[path]})), max_size=3)
        ):
            told = data.draw(st.sampled_from([FACETS.get(key), ("X",), None]))
            there = {one: after[path][one] for one in after[path] if one != key}
            after[path] = Map(there if told is None else {**there, key: told})
    again = [(entry.text, entry.nodes) for entry in roadmap(after, graph, {})]
    for entry in roadmap(modules, graph, {}):
        if holds(entry, after):
            assert (entry.text, entry.nodes) in again
