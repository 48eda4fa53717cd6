"""A search finds functions by what their code says, too, as of the moment that is asked about."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from backcast.domain.events import Claim, ModuleIteration
from backcast.engine.context.search import CodePlace, Document, search_words
from backcast.engine.context.search.code_words import CodeWords, SearchWords
from backcast.engine.context.search.word_counts import WordCounts
from backcast.engine.interfaces.outlining import outline_all
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from tests.strategies import NOON

Backcast = Callable[..., tuple[str, str, int]]

DRAWER = '''\
class Till:
    """The till of a shop."""

    def open(self):
        """Open it."""
        if self.locked:
            raise RuntimeError("{message}")

    def count(self):
        """Count what is in it."""
        return sum(self.coins)
'''
STUCK = "the drawer is jammed, call the keeper"
CALLED = "the keeper has the key"


def written(url: str, *messages: str) -> list[int]:
    """Write a module once for each message, with its outline; return the task's versions."""
    versions = list[int]()
    with EventStore.open(url) as store:
        for number, message in enumerate(messages, 1):
            blob = Blob(DRAWER.replace("{message}", message).encode())
            fact = ModuleIteration(module_name="till.py", iteration=number, source=blob.ref)
            store.append("shop", [Claim(fact, NOON)], after=store.version("shop"), blobs=[blob])
            outline_all(store, "shop")
            versions.append(store.version("shop"))
    return versions


def found(backcast: Backcast, url: str, query: str, when: str = "") -> list[dict[str, Any]]:
    out, err, code = backcast("search", f"shop{when}", query, "--words", "--json", "--store", url)
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_a_message_finds_the_function_that_prints_it(backcast: Backcast, shared_url: str) -> None:
    written(shared_url, STUCK)
    hits = found(backcast, shared_url, "jammed, call the keeper")
    assert {hit["id"] for hit in hits} == {"method:till.py::Till.open", "class:till.py::Till"}
    assert hits[0]["id"] == "method:till.py::Till.open", "it says little else"
    assert "jammed" not in hits[0]["text"], "its summary does not say it"
    again = found(backcast, shared_url, "jammed, call the keeper")
    assert again == hits, "so do the words that were kept"
    out, _, _ = backcast("search", "shop", "jammed", "-k", 1, "--words", "--store", shared_url)
    assert out == "method:till.py::Till.open  Open it.\n"


def test_code_is_found_as_it_was_at_the_moment(backcast: Backcast, shared_url: str) -> None:
    first, last = written(shared_url, STUCK, CALLED)
    assert found(backcast, shared_url, "jammed") == []
    assert (
        found(backcast, shared_url, "jammed", f"@{first}")[0]["id"] == "method:till.py::Till.open"
    )
    assert found(backcast, shared_url, "has key", f"@{first}") == []
    assert (
        found(backcast, shared_url, "has key", f"@{last}")
        == found(backcast, shared_url, "has key")
        != []
    )


def test_code_and_text_count_alike_and_what_has_no_code_is_found_by_its_text() -> None:
    texts = {"a": "x = 1\ndef one():\n    return 'blue green'\ndef two():\n    return 'red'"}
    documents = [
        Document("module:m.py", "red things"),
        Document("function:m.py::one", "one", CodePlace("a", 2, 3)),
        Document("function:m.py::two", "two red", CodePlace("a", 4, 5)),
    ]
    read = {name: text.encode() for name, text in texts.items()}.__getitem__

    def ids(query: str) -> list[str]:
        words = SearchWords(WordCounts(), CodeWords(read, WordCounts()))
        return [hit.id for hit in search_words(documents, query, 5, words)]

    assert ids("green") == ["function:m.py::one"]
    assert ids("red") == ["function:m.py::two", "module:m.py"], "in both is more than in one"
    assert ids("x") == [], "what stands between functions is no function's code"
    assert [hit.id for hit in search_words(documents, "green", 5)] == [], "unless code is asked for"


def test_a_function_whose_text_is_lost_is_found_by_its_summary(
    backcast: Backcast, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/lost.db"
    written(url, STUCK)
    with closing(sqlite3.connect(tmp_path / "lost.db")) as connection, connection:
        connection.execute("DELETE FROM blobs")
    assert found(backcast, url, "jammed") == []
    assert found(backcast, url, "count coins")[0]["id"] == "method:till.py::Till.count"
