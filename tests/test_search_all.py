"""Search over all tasks: as of one moment, each text once, and what is found can be opened."""

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backcast.domain.errors import InputError
from backcast.domain.events import (
    Claim,
    ModuleIteration,
    TaskComplete,
    TaskStarted,
)
from backcast.domain.memory_events import SummaryWritten
from backcast.engine.context.search import Document, search
from backcast.engine.context.search import embedders as loaders
from backcast.engine.context.search.kept_embedder import embedder_of
from backcast.engine.context.search.vectors import Nearness, held_by, others_by
from backcast.engine.history.branches import fork
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from tests.strategies import NOON
from tests.test_search import SIZE, Drawn

Backcast = Callable[..., tuple[str, str, int]]
MAIL = 'def is_mail(text):\n    """Is a text an e-mail address?"""\n    return "@" in text\n'
PHONE = 'def is_phone(text):\n    """Is a text a phone number?"""\n    return True\n'


def work(store: EventStore, task: str, goal: str, *sources: str, hours: int, done: bool) -> None:
    """Append a task that writes modules, an hour each."""
    at = NOON + timedelta(hours=hours)
    claims = [Claim(TaskStarted(goal=goal), at)]
    blobs = [Blob(source.encode()) for source in sources]
    for number, blob in enumerate(blobs, 1):
        path = f"m{number}.py"
        fact = ModuleIteration(module_name=path, iteration=1, source=blob.ref)
        claims.append(Claim(fact, at + timedelta(hours=number)))
    if done:
        claims.append(Claim(TaskComplete(), at + timedelta(hours=len(sources) + 1)))
    store.append(task, claims, after=0, blobs=blobs)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with a finished task, a running one that has copied a module, and a branch."""
    url = f"sqlite:///{tmp_path}/all.db"
    with EventStore.open(url) as store:
        work(store, "shop", "Sell things", MAIL, hours=0, done=True)
        work(store, "club", "Keep members", MAIL, PHONE, hours=10, done=False)
        fork(store, "shop", 2, "shop~1")
    return url


def found(backcast: Backcast, url: str, *more: object) -> list[dict[str, Any]]:
    """What a search by words finds, the best first."""
    out, err, code = backcast(
        "search", "e-mail address", "--all", "--words", "--json", "--store", url, *more
    )
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_what_several_tasks_have_is_shown_once_and_can_be_opened(
    backcast: Backcast, url: str
) -> None:
    hits = found(backcast, url)
    [first] = [hit for hit in hits if hit["node"] == "module:m1.py"]
    others = [hit for hit in hits if hit is not first]
    assert first["task_id"] == "shop", "it is finished"
    assert first["also"] == [
        {"task_id": "club", "node": first["node"], "status": "generating", "branch_of": None},
        {"task_id": "shop~1", "node": first["node"], "status": "generating",
         "branch_of": "shop@2"},
    ]  # fmt: skip
    assert first["text"] not in [other["text"] for other in others]
    assert backcast("cat", first["reference"], "--store", url)[0] == MAIL


def test_only_what_was_there_at_the_moment_is_found(backcast: Backcast, url: str) -> None:
    then = found(backcast, url, "--at", (NOON + timedelta(hours=5)).isoformat())
    assert {hit["task_id"] for hit in then} == {"shop"}
    assert then[0]["also"][0]["task_id"] == "shop~1"
    assert found(backcast, url, "--at", NOON.isoformat()) == []
    by_event = found(backcast, url, "--at", "shop@1")
    assert by_event == []
    with EventStore.open(url) as store:
        work(store, "late", "Read an e-mail address", MAIL, hours=20, done=True)
    again = found(backcast, url, "--at", (NOON + timedelta(hours=5)).isoformat())
    assert again == then, "a later task changes nothing of an earlier moment"


def test_tasks_are_found_by_their_goals_and_what_was_written_about_no_module(
    backcast: Backcast, url: str
) -> None:
    with EventStore.open(url) as store:
        fact = SummaryWritten(node="library:mailer", text="Sends to an e-mail address", level=2)
        store.append("club", [Claim(fact, NOON + timedelta(hours=13))], after=store.version("club"))
    nodes = [(hit["node"], hit["reference"]) for hit in found(backcast, url)]
    assert ("library:mailer", None) in nodes
    out, _, _ = backcast("search", "Keep members", "--all", "--words", "--store", url)
    assert out.splitlines() == ["club (generating)  task:club"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["shop", "x", "--all"], "--all searches every task: needed a query alone, found 'shop'"),
        (["shop"], "and a query, or a query and --all, found 'shop'"),
        (["shop", "x", "--at", "3"], "--at goes with --all: needed TASK@3"),
        (["x", "--all", "--at", "soon"], "--at: needed a time such as 2026-11-20T10:31"),
        (["x", "--all", "--at", "99"], "needed an event from 1 to"),
        (["x", "--all", "--at", "nobody@1"], "nobody"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    backcast: Backcast, url: str, arguments: Sequence[str], said: str
) -> None:
    out, err, code = backcast("search", *arguments, "--words", "--store", url)
    assert (out, code) == ("", 2)
    assert said in err


# An embedder of another version


class Turned(Drawn):
    """The same model with other weights: the vectors point the other way."""

    id = "drawn@2"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """A row for each text, of length 1."""
        return -super().embed(texts)


def test_vectors_of_another_version_are_made_anew_and_never_mixed() -> None:
    texts = [Document(f"function:a.py::f{n}", f"text {n}") for n in range(20)]
    with EventStore.open("sqlite://") as store:
        old = search(store, Drawn(), texts, "asked")
        assert others_by(store, Drawn()) == ()
        turned = Turned()
        assert others_by(store, turned) == ["drawn@1"]
        assert search(store, turned, texts, "asked") == old, "both turned: the same cosines"
        assert len(turned.seen) == 21, "every text and the query were embedded anew"
        assert others_by(store, turned) == ()
        assert held_by(store, turned) is not held_by(store, Drawn())
        # The builder asks the same table, and embeds nothing that the search has.
        again = Turned()
        plain = [text.text for text in texts]
        near = Nearness(store, lambda: again).of(plain, "asked")
        assert again.seen == []
        cosines = Turned().embed(plain) @ Turned().embed(["asked"])[0]
        assert np.abs(near - np.clip(cosines, 0, 1)).max() <= 0.0001
        other = Nearness.recorded(store, "drawn@3", bytes(4 * SIZE))
        with pytest.raises(InputError, match="20 vectors by drawn@3 are not kept in this store"):
            other.of(plain, "asked")


def test_a_named_version_is_refused_where_the_model_is_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loaded = Drawn()
    loaded.id = "drawn@00112233445566aa"
    monkeypatch.setattr(loaders, "sentence_embedder", lambda name: loaded)
    with EventStore.open("sqlite://") as store:
        assert embedder_of(store, "drawn@00112233445566aa").id == loaded.id
        with pytest.raises(InputError, match="needed drawn@ffffffffffffffff, found drawn@0011"):
            embedder_of(store, "drawn@ffffffffffffffff")
