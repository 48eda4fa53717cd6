"""How like what will be written is a body? Its name, its class, its place and its words tell."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.moment import NOW
from backcast.domain.policy import DEFAULT
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.evidence import RequestEvidence, place_of, weighed
from backcast.engine.context.likeness import NameWords
from backcast.engine.context.recorded import record_context
from backcast.engine.context.request import Request
from backcast.engine.history.snapshots import state_at
from backcast.engine.models.tokenizers import UpperBound
from backcast.engine.replay.changes import requests
from backcast.engine.replay.verify import verified
from backcast.projections import changes, dependency_graph
from tests.sources import Task

MODULE = """
class Orders:
    def fetch_new(self, session, since):
        return session.pages("/orders", after=since)

    def cancel(self, number):
        del self.rows[number]


def greet(name):
    return "hello " + name


def fetch_letters(session, since):
    return session.pages("/letters", after=since)
"""
TARGET = "function:clients.py::fetch_parcels"


def evidence(
    sources: Mapping[str, str], target: str, text: str, behind: str = ""
) -> dict[str, dict[str, float]]:
    """Each evidence of likeness by name and symbol."""
    task = Task()
    for path, source in sources.items():
        task.wrote(path, source)
    task.outlined()
    graph = state_at(task.store, dependency_graph, task.id)
    cache = BuildCache(UpperBound(), task.store.get)
    symbols = cache.symbols(graph, dependency_graph.graph_of(graph))
    history = state_at(task.store, changes, task.id)
    asked = RequestEvidence(target, text, behind)
    found = cache.evidence(symbols, graph, history, asked)
    weighed(found, DEFAULT.likeness)
    return {
        name: {one.name: float(value) for one, value in zip(symbols.named, values, strict=True)}
        for name, values in found.items()
    }


def test_names_are_alike_by_their_rare_words() -> None:
    names = NameWords()
    numbers = [names.number(name) for name in ("fetch_new", "fetch_letters", "greet", "cancel")]
    like = names.likeness("fetch_parcels", np.bincount(numbers))
    assert like[numbers[0]] > like[numbers[2]] == like[numbers[3]] == 0
    assert names.likeness("greet", np.bincount(numbers))[numbers[2]] == 1


def test_what_is_alike_in_name_parameters_text_and_place_is_told() -> None:
    text = "def fetch_parcels(session, since):\n    session.pages"
    found = evidence({"clients.py": MODULE}, TARGET, text, behind="fetch_letters")
    for name in ("like name", "parameters", "text words", "near"):
        assert found[name]["fetch_letters"] > found[name]["greet"], name
    assert found["parameters"]["fetch_letters"] == 1
    assert found["near"]["fetch_letters"] > found["near"]["greet"] > found["near"]["Orders"]


def test_methods_of_a_class_with_a_name_like_its_own_are_told() -> None:
    found = evidence({"clients.py": MODULE}, "method:lab.py::NewOrders.cancel", "")
    assert found["like class"]["Orders.cancel"] > 0 == found["like class"]["greet"]
    assert [name for name, same in found["same name"].items() if same] == ["Orders.cancel"]


def test_the_target_is_not_like_itself() -> None:
    target = "function:clients.py::greet"
    found = evidence({"clients.py": MODULE}, target, MODULE)
    for name in ("like name", "same name", "near", "text words", "folder", "like path"):
        assert found[name]["greet"] == 0, name


@pytest.mark.parametrize(
    ("name", "behind", "line"),
    [
        ("greet", "", 10),
        ("fetch_parcels", "greet", 11),
        ("Orders.close", "", 7),
        ("fetch_parcels", "nobody", 15),
        ("fetch_parcels", "", 15),
    ],
)
def test_where_a_function_would_stand(name: str, behind: str, line: int) -> None:
    lines = {
        "Orders": (2, 7), "Orders.fetch_new": (3, 4), "Orders.cancel": (6, 7), "greet": (10, 11),
        "fetch_letters": (14, 15),
    }  # fmt: skip
    assert place_of(name, behind, lines) == line


def test_a_prompt_with_a_place_is_recorded_and_derived_as_it_was() -> None:
    task = Task()
    task.wrote("clients.py", MODULE)
    task.outlined()
    profile = MISTRAL_7B_8K._replace(tokenizer="upper-bound")
    request = Request(TARGET, "def fetch_parcels(session, since):", behind="greet")
    record_context(task.store, task.id, NOW, request, profile, DEFAULT)
    [fact] = [event.fact for event in task.store.read(types=["CONTEXT_BUILT"])]
    assert fact.model_dump()["behind"] == "greet"
    assert [verdict.holds for verdict in verified(task.store, task.id)] == [True]


def test_a_change_of_a_history_says_behind_what_its_function_stands() -> None:
    task = Task()
    task.wrote("clients.py", MODULE)
    task.outlined()
    added = "\n\ndef fetch_parcels(session, since):\n    return fetch_letters(session, since)\n\n\n"
    task.wrote("clients.py", MODULE.replace("\n\ndef fetch_letters", f"{added}def fetch_letters"))
    task.outlined()
    *_, last = requests(task.store, task.id)
    assert (last.request.target, last.request.behind) == (TARGET, "greet")


@settings(max_examples=30)
@given(texts=st.lists(st.sampled_from(["return a", "return b + a", "pass", "b = 1"]), min_size=1))
def test_words_of_texts_kept_from_before_are_those_counted_anew(texts: list[str]) -> None:
    task, kept = Task(), None
    for number, text in enumerate(texts):
        task.wrote(
            f"m{number % 2}.py", f"def f():\n    {text}\n\n\ndef g{number}():\n    return a\n"
        )
        task.outlined()
        graph = state_at(task.store, dependency_graph, task.id)
        found = list[list[float]]()
        kept = kept or BuildCache(UpperBound(), task.store.get)
        for cache in (kept, BuildCache(UpperBound(), task.store.get)):
            symbols = cache.symbols(graph, dependency_graph.graph_of(graph))
            history = state_at(task.store, changes, task.id)
            asked = RequestEvidence("function:m0.py::new", "return b")
            weights = {"text words": 1.0}
            found.append(weighed(cache.evidence(symbols, graph, history, asked), weights).tolist())
        assert found[0] == found[1]
