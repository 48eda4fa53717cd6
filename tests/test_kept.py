"""What is kept for the next process: equal answers with and without it, and never in the way."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.events import (
    Claim,
    Fact,
    ModuleDeleted,
    ModuleIteration,
    ModuleRenamed,
)
from backcast.domain.moment import NOW, Moment
from backcast.engine.context.search import Document, search_words
from backcast.engine.context.search import embedders as loaders
from backcast.engine.context.search.code_words import SearchWords
from backcast.engine.context.search.kept_embedder import LateEmbedder, embedder_of
from backcast.engine.context.search.kept_words import words_kept
from backcast.engine.context.search.node_texts import node_texts
from backcast.engine.context.search.word_counts import WordCounts
from backcast.engine.history.kept import PREFIX, keep, kept
from backcast.engine.history.kept_graph import graph_at
from backcast.engine.history.snapshots import state_at
from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.outlining import outline_all
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from backcast.engine.log.recorder.sqlite import SQLiteRecorder
from backcast.engine.memory.outlines import Outlining
from backcast.projections import dependency_graph
from tests.sources import SHOP
from tests.strategies import NOON
from tests.test_search import Drawn

TASK = "shop"
PATHS = ("constants.py", "utils.py", "validators.py", "shop/__init__.py", "shop/cart.py")
TEXTS = (
    *SHOP.values(),
    "from utils import *\nimport constants\ndef f(x: int) -> int:\n    return constants.LIMIT\n",
    "from shop.cart import Cart\nfrom . import cart\ndef g():\n    return Cart().total()\n",
    "class Cart:\n    def total(self):\n        return self.limit()\n    def limit(self): ...\n",
    "def normalise(text, more):\n    '''Another one.'''\n",
    "",
)
Step = tuple[str, str, str]
steps = st.lists(
    st.tuples(
        st.sampled_from(("write", "write", "write", "delete", "rename")),
        st.sampled_from(PATHS),
        st.sampled_from((*PATHS, *TEXTS)),
    ),
    max_size=6,
)


def take(store: EventStore, taken: list[Step]) -> None:
    """Append steps to the task, and outline what they brought."""
    for kind, path, text in taken:
        version = store.version(TASK)
        body = Blob(dedent(text).encode())
        fact: Fact
        match kind:
            case "delete":
                fact = ModuleDeleted(module_name=path)
            case "rename":
                other = PATHS[len(text) % len(PATHS)]
                fact = ModuleRenamed(
                    module_name=other, previous_name=path, iteration=version, source=body.ref
                )
            case _:
                fact = ModuleIteration(module_name=path, iteration=version, source=body.ref)
        store.append(TASK, [Claim(fact, NOON)], after=version, blobs=[body])
    Outlining(store, TASK).catch_up()


@contextmanager
def in_memory() -> Iterator[EventStore]:
    """A store in memory that keeps what one in a file would."""
    with pytest.MonkeyPatch.context() as patched, EventStore.open("sqlite://") as store:
        patched.setattr(SQLiteRecorder, "is_lasting", True)
        yield store


def state_of(store: EventStore) -> dependency_graph.State:
    state: dependency_graph.State = state_at(store, dependency_graph, TASK)
    return state


def texts_of(store: EventStore) -> list[Document]:
    return node_texts(store, TASK, NOW, lambda: state_of(store))


def names(store: EventStore) -> list[str]:
    """The names of what is kept."""
    return [name for (name,) in store.recorder.all("SELECT projection FROM snapshots ORDER BY 1")]


def forget(store: EventStore) -> None:
    with store.recorder.transact(write=True) as cursor:
        cursor.execute("DELETE FROM snapshots")


@settings(max_examples=150, deadline=None)
@given(steps, steps, steps)
def test_links_and_texts_made_from_kept_ones_are_those_made_anew(
    before: list[Step], after: list[Step], later: list[Step]
) -> None:
    with in_memory() as store:
        take(store, before)
        begun = graph_at(store, TASK, NOW, state_of(store))
        assert begun.edges == dependency_graph.graph_of(state_of(store)).edges
        texts_of(store)
        assert {PREFIX + "links", PREFIX + "texts"} <= set(names(store))
        for more in (after, later):
            take(store, more)
            found, anew = (
                graph_at(store, TASK, NOW, state_of(store)),
                dependency_graph.graph_of(state_of(store)),
            )
            assert found.links == anew.links
            assert (found.edges, found.unresolved) == (anew.edges, anew.unresolved)
            by_kept = texts_of(store)
            assert by_kept == node_texts(
                store, TASK, Moment(at=NOON.replace(year=9000)), lambda: state_of(store)
            )


@settings(deadline=None)
@given(
    st.lists(st.text(st.sampled_from("ab_B ö")), max_size=8), st.lists(st.text("ab "), max_size=4)
)
def test_words_counted_before_weigh_what_they_weigh_anew(known: list[str], new: list[str]) -> None:
    def found(texts: list[str], counts: WordCounts | None = None) -> list[object]:
        rows = [Document(f"n{number:02}", text) for number, text in enumerate(texts)]
        counted = SearchWords(counts) if counts is not None else None
        return [search_words(rows, query, words=counted) for query in ("a", "b a", "ab ö")]

    with in_memory() as store:
        take(store, [("write", "a.py", "")])
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("backcast.engine.context.search.kept_words.NEW", 0)
            with words_kept(store, "words", TASK, NOW) as counts:
                first = found(known, counts)
            with words_kept(store, "words", TASK, NOW) as counts:
                again, more = found(known, counts), found([*new, *known], counts)
                assert counts.new == len({*new} - {*known})
            with words_kept(store, "words", TASK, NOW) as counts:
                fewer = found(new, counts)
                assert not counts.new or not known
    assert first == again == found(known)
    assert more == found([*new, *known])
    assert fewer == found(new)


@pytest.fixture
def shop(shared_url: str) -> str:
    """A store with the seeds' example, in which everything is kept."""
    with EventStore.open(shared_url) as store:
        take(store, [("write", path, text) for path, text in SHOP.items()])
    for arguments in ASKED:
        ran(shared_url, *arguments)
    return shared_url


ASKED = (
    ("context", TASK, "--query", "is an address valid?", "--explain"),
    ("search", "--words", TASK, "valid address"),
)
KEPT = {"outlines", "links", "texts"}
WORDS = {"words of outlines", "words of sources", "words of nodes", "words of nodes, in code"}


def ran(url: str, *arguments: str) -> bytes:
    """What a new process prints."""
    code = "from backcast.engine.interfaces.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments, "--store", url], capture_output=True, check=True
    ).stdout


def answers(url: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the commands print, stderr included."""
    for arguments in ASKED:
        main([*arguments, "--store", url])
    return [*capsys.readouterr()]


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that are called here do not end the process, and keep words however few they are."""
    from backcast.engine.interfaces import cli

    monkeypatch.setattr("backcast.engine.context.search.kept_words.NEW", 0)

    group = cli.cli
    monkeypatch.setattr(
        cli, "cli", lambda arguments, prog_name: group(arguments, prog_name, standalone_mode=False)
    )


def test_a_new_process_answers_the_same_with_and_without_what_is_kept(shop: str) -> None:
    with EventStore.open(shop) as store:
        assert {PREFIX + name for name in KEPT} <= set(names(store))
    by_kept = [ran(shop, *arguments) for arguments in ASKED]
    with EventStore.open(shop) as store:
        forget(store)
    assert by_kept == [ran(shop, *arguments) for arguments in ASKED]
    assert all(by_kept)


@pytest.mark.usefixtures("in_process")
def test_sources_whose_words_are_kept_are_not_cut_again(
    shop: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = answers(shop, capsys)
    counted: list[str] = []
    count = WordCounts._count

    def noted(counts: WordCounts, text: str) -> None:
        counted.append(text)
        count(counts, text)

    monkeypatch.setattr(WordCounts, "_count", noted)
    assert answers(shop, capsys) == before
    assert not counted
    with EventStore.open(shop) as store:
        forget(store)
    assert answers(shop, capsys) == before
    assert counted


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("how", ["cut", "foreign", "other code", "of no value", "later"])
def test_what_cannot_be_used_is_made_anew_without_a_word(
    shop: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = answers(shop, capsys)
    assert before[0]
    with EventStore.open(shop) as store:
        rows = store.recorder.all(
            "SELECT projection, projection_version FROM snapshots WHERE task_id=?", TASK
        )
        assert {PREFIX + name for name in (*KEPT, *WORDS)} <= {name for name, _ in rows}
        for name, code in rows:
            with store.recorder.transact(write=True) as cursor:
                match how:
                    case "cut":
                        state = "substr(state, 1, length(state) / 2)"
                        changed = f"UPDATE snapshots SET state={state} WHERE projection=?"
                        cursor.execute(changed, (name,))
                    case "other code":
                        cursor.execute("UPDATE snapshots SET projection_version=1")
                    case "later":
                        cursor.execute("UPDATE snapshots SET version=1000000")
            if how in ("foreign", "of no value"):
                forget(store)
                body = b'{"a": [1, 2]}' if how == "foreign" else b"\x00\xff"
                keep(store, name.removeprefix(PREFIX), code, TASK, 1, body)
    assert answers(shop, capsys) == before


@pytest.mark.usefixtures("in_process")
def test_a_store_that_cannot_be_written_is_read_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "held" / "store.db"
    path.parent.mkdir()
    url = f"sqlite:///{path}"
    with EventStore.open(url) as store:
        take(store, [("write", name, text) for name, text in SHOP.items()])
    before = answers(url, capsys)
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM snapshots")
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("BEGIN IMMEDIATE")  # another process writes, and does not end
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("backcast.engine.log.recorder.sqlite.SQLiteRecorder.lock_timeout", 0.05)
        assert answers(url, capsys) == before
    connection.rollback()
    connection.close()
    with EventStore.open(url) as store:
        assert not names(store)


def test_of_two_processes_the_later_value_stays(shared_url: str) -> None:
    def value(store: EventStore, last: int) -> tuple[int, bytes] | None:
        return kept(store, "thing", 7, TASK, last, bytes)

    with EventStore.open(shared_url) as one, EventStore.open(shared_url) as other:
        keep(one, "thing", 7, TASK, 20, b"twenty")
        keep(other, "thing", 7, TASK, 10, b"ten")
        assert value(one, 99) == (20, b"twenty")
        assert value(one, 15) == (10, b"ten")
        keep(other, "thing", 7, TASK, 30, b"thirty")
        assert value(one, 29) is None
        keep(one, "thing", 8, TASK, 5, b"by other code")
        assert value(one, 99) is None
        assert kept(one, "thing", 8, TASK, 5, bytes) == (5, b"by other code")


def test_that_all_is_outlined_is_known_until_a_text_comes(shared_url: str) -> None:
    with EventStore.open(shared_url) as store:
        take(store, [("write", "a.py", "def f(): ...")])
        assert outline_all(store, TASK) == 0
        assert PREFIX + "outlines" in names(store)
        body = Blob(b"def g(): ...")
        fact = ModuleIteration(module_name="b.py", iteration=1, source=body.ref)
        store.append(TASK, [Claim(fact, NOON)], after=store.version(TASK), blobs=[body])
        assert outline_all(store, TASK) == 1
        assert [document.id for document in texts_of(store)] == [
            "module:a.py", "function:a.py::f", "module:b.py", "function:b.py::g",
        ]  # fmt: skip
        assert outline_all(store, TASK) == 0


def test_an_outliner_of_another_version_asks_again(
    shared_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backcast.engine.memory.outliner import python

    with EventStore.open(shared_url) as store:
        take(store, [("write", "a.py", "def f(): ...")])
        assert outline_all(store, TASK) == 0
        monkeypatch.setattr(python, "VERSION", python.VERSION + 1)
        assert outline_all(store, TASK) == 1


def test_a_model_is_loaded_only_where_a_text_is_new(
    shared_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sentence_transformers", reason="needs the extra 'semantic'")
    loaded: list[Drawn] = []

    def load(name: str | None) -> Drawn:
        loaded.append(Drawn())
        return loaded[-1]

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"1")
    monkeypatch.setattr(loaders, "sentence_embedder", load)
    with EventStore.open(shared_url) as store:
        assert isinstance(embedder_of(store, str(folder)), Drawn)
        late = embedder_of(store, str(folder))
        assert isinstance(late, LateEmbedder)
        assert (late.id, late.dimensions, len(loaded)) == (Drawn.id, Drawn.dimensions, 1)
        assert np.array_equal(late.embed(["a"]), Drawn().embed(["a"]))
        assert len(loaded) == 2
        (folder / "weights").write_bytes(b"2")
        assert isinstance(embedder_of(store, str(folder)), Drawn)


def test_what_is_kept_costs_no_more_than_one_value_of_a_kind(tmp_path: Path) -> None:
    with EventStore.open(f"sqlite:///{tmp_path}/store.db") as store:
        for version in (1, 300, 600):
            keep(store, "thing", 7, TASK, version, os.urandom(16))
        assert names(store) == [PREFIX + "thing"]


def test_a_store_in_memory_keeps_nothing() -> None:
    with EventStore.open("sqlite://") as store:
        keep(store, "thing", 7, TASK, 1, b"")
        assert not names(store)
