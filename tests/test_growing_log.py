"""The log of `scripts/bench scale`: it grows in pieces as it grows at once, and its texts hold."""

from pathlib import Path

from backcast.domain.events import (
    Committed,
    ModuleIteration,
    ModuleOutlined,
    ModuleRenamed,
)
from backcast.engine.history.snapshots import state_at
from backcast.engine.log import EventStore
from backcast.projections import dependency_graph
from scripts.benches.scale_log import TASK, History, grow

THEN = "2026-01-01T00:00:00Z"


def _history(path: Path) -> History:
    """A history of two commits: a module comes, and is renamed and changed."""
    url = f"sqlite:///{path}"
    with EventStore.open(url) as store:
        first, second = (store.put(text) for text in (b"def f(): ...\n", b"def g(): ...\n"))
        facts = [
            Committed(sha="a" * 40, message="one", authored_at=THEN, committed_at=THEN),
            ModuleIteration(module_name="a.py", iteration=1, source=first),
            Committed(sha="b" * 40, message="two", authored_at=THEN, committed_at=THEN),
            ModuleRenamed(module_name="b.py", previous_name="a.py", iteration=2, source=first),
            ModuleOutlined(module_name="b.py", source=first, set={"x": ("1",)}),
            ModuleIteration(module_name="b.py", iteration=3, source=second),
            ModuleOutlined(module_name="b.py", source=second, base=first, set={"x": ("2",)}),
        ]
        store.append("small", facts, after=0)
    return History(url, "small")


def _events(path: Path) -> list[tuple[object, ...]]:
    with EventStore.open(f"sqlite:///{path}") as store:
        return [(e.version, e.timestamp, e.because, e.fact) for e in store.read(TASK)]


def test_a_log_that_grows_in_pieces_is_that_which_grows_at_once(tmp_path: Path) -> None:
    histories = [_history(tmp_path / "small.db")]
    pieces, whole = tmp_path / "pieces.db", tmp_path / "whole.db"
    assert [grow(pieces, histories, size).events for size in (4, 12, 16)] == [4, 8, 4]
    grow(whole, histories, 16)
    assert len(_events(whole)) == 16
    assert _events(pieces) == _events(whole)


def test_each_history_stands_in_a_folder_of_its_own_with_texts_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "grown.db"
    grow(path, [_history(tmp_path / "small.db")], 14)
    with EventStore.open(f"sqlite:///{path}") as store:
        state: dependency_graph.State = state_at(store, dependency_graph, TASK)
        now = {name: one for name, one in state.modules.items() if not one.deleted}
        assert sorted(now) == ["small-1/b.py", "small/b.py"]
        texts = {name: store.get(one.source or "") for name, one in now.items()}
        assert all(one.outlined == one.source and one.facets["x"] == ("2",) for one in now.values())
    assert texts["small/b.py"] == b"def g(): ...\n"
    assert texts["small-1/b.py"] == b"def g(): ...\n# small-1/\n"
