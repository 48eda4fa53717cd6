"""The summaries of a moment on the page: module, class, function; what is stale, and why."""

import re
from html import unescape

from backcast.engine.history.snapshots import state_at
from backcast.engine.history.staleness import stale
from backcast.engine.interfaces.view.moment_panel import moment_panel
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.engine.interfaces.view.reading import RunReader
from backcast.engine.interfaces.view.summary_tree import ModuleTree, summary_trees
from backcast.engine.log.open_logs import opened
from backcast.projections import dependency_graph, summaries

SHOP, TILL = "fixtures/logs/shop.jsonl", "fixtures/logs/till.jsonl"


def panel_at(name: str, version: int) -> str:
    """Return the panel of a moment of a log's only task."""
    with opened(name) as log:
        reader = RunReader(log.store, log.tasks[0])
        reader.sequence.read_on()
        return moment_panel(PanelMaker(reader), version)


def trees_at(name: str, version: int) -> dict[str, ModuleTree]:
    """The trees of a moment of a log's only task, by path."""
    with opened(name) as log:
        task, moment = log.tasks[0], RunReader(log.store, log.tasks[0]).moment(version)
        graph = state_at(log.store, dependency_graph, task, moment)
        written = state_at(log.store, summaries, task, moment)
        found = stale(log.store, task, moment, states=(graph, written))
        return {tree.path: tree for tree in summary_trees(graph, written, found)}


def words(panel: str) -> str:
    """The text of a panel, in a line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", "", panel)).split())


def part(panel: str, key: str) -> str:
    """A part of a panel from its key on, up to the next module's."""
    found = panel.partition(f'data-k="{key}"')[2]
    return re.split(r'data-k="tree [^":]+"', found)[0]


def test_a_modules_summary_comes_first_then_those_of_what_is_in_it_in_its_lines_order() -> None:
    panel = panel_at(TILL, 185)
    money = part(panel, "tree money.py")
    places = [money.index(words) for words in (
        "4 summaries", "Amounts as whole cents", "tree money.py::to_cents", "The cents o",
        "tree money.py::to_text", "tree money.py::share",
    )]  # fmt: skip
    assert places == sorted(places)
    item = part(panel, "tree items.py")
    inner = item.partition('data-k="tree items.py::Item"')[2]
    assert "1 in it" in inner
    assert inner.index("A frozen dataclass") < inner.index('data-k="tree items.py::Item.amount"')


def test_what_is_stale_says_since_when_by_which_version_and_along_which_way() -> None:
    panel = panel_at(SHOP, 39)
    assert "Summaries: 4 of 3 modules, 3 stale" in words(panel)
    own = words(part(panel, "tree validators.py"))
    assert (
        "✗ stale by digest since #34: utils.py=8, which it needs: validators.py → utils.py;"
        " what changed: the signature of normalise" in own
    )
    assert "#30 by by-hand 1 of validators.py=3, utils.py=7 now 9" in own
    assert 'open data-k="tree utils.py"' in panel
    assert '<details data-k="tree constants.py"' in panel


def test_the_tree_is_as_of_the_moment() -> None:
    assert "no summary was written by then" in words(panel_at(SHOP, 25))
    before = trees_at(SHOP, 33)
    assert {path: (tree.total, tree.stale) for path, tree in before.items() if tree.total} == {
        "constants.py": (1, 0), "utils.py": (1, 0), "validators.py": (2, 0)
    }  # fmt: skip
    after = trees_at(SHOP, 39)
    assert {path: tree.stale for path, tree in after.items() if tree.stale} == {
        "utils.py": 1, "validators.py": 2
    }  # fmt: skip


def test_at_each_moment_the_trees_hold_what_was_written_and_what_is_stale() -> None:
    with opened(TILL) as log:
        reader = RunReader(log.store, "till")
        for version in range(30, 186, 13):
            moment, trees = reader.moment(version), trees_at(TILL, version).values()
            written = state_at(log.store, summaries, "till", moment)
            found = [entry for tree in trees for node in tree.nodes for entry in node.written]
            assert len(found) == sum(len(entries) for entries in written.nodes.values())
            outdated = [entry for tree in trees for node in tree.nodes for entry in node.stale]
            asked = stale(log.store, "till", moment)
            assert sorted(map(str, outdated)) == sorted(map(str, asked))
