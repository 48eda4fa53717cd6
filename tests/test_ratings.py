"""Ratings of one's own: recorded as facts, weighed where a policy says so, never known early."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.budget import MISTRAL_7B_8K, ModelProfile
from backcast.domain.errors import InputError
from backcast.domain.events import Fact
from backcast.domain.moment import Moment
from backcast.domain.policy import COVERAGE, DEFAULT, Policy
from backcast.domain.rating_events import NodesRated
from backcast.engine.context.policies import changed, laid_over
from backcast.engine.context.recorded import context_at, record_context
from backcast.engine.context.request import Request
from backcast.engine.history.follow import TaskFollower
from backcast.engine.history.task_states import states_at
from backcast.engine.interfaces.cli import main
from backcast.engine.log.open_logs import opened
from backcast.engine.replay.verify import verified
from tests.sources import Task

SMALL: ModelProfile = MISTRAL_7B_8K._replace(tokenizer="upper-bound").with_context(700)
REQUEST = Request("function:shop.py::new", "add up what the parcels cost")
NAMES = ("alpha", "beta", "gamma", "delta", "omega")
NODES = tuple(f"function:parts.py::{name}" for name in NAMES)
WEIGHT = {"rated:fragility": 6.0}
FRAGILE = laid_over(DEFAULT, {"name": "fragile", "weights": WEIGHT, "likeness": WEIGHT})
LOGS = Path(__file__).parents[1] / "fixtures/logs"


def rated(**ratings: float) -> NodesRated:
    return NodesRated(
        name="fragility", ratings={f"function:parts.py::{name}": n for name, n in ratings.items()}
    )


def at_work() -> Task:
    """A task with a module of functions that nothing tells apart, and each fills a third."""
    task = Task("t")
    body = "\n".join(f"    count = count + {number}" for number in range(9))
    task.wrote(
        "parts.py", "\n\n".join(f"def {name}(count):\n{body}\n    return count" for name in NAMES)
    )
    task.wrote("shop.py", "def old():\n    return 0\n")
    task.outlined()
    return task


def prompt(task: Task, policy: Policy, last: int | None = None) -> str:
    version = last or task.store.version(task.id)
    [event] = task.store.read(task.id, after=version - 1, last=version)
    moment = Moment(position=event.position)
    return context_at(task.store, task.id, moment, REQUEST, SMALL, policy).text


ratings = st.builds(
    NodesRated,
    name=st.sampled_from(["fragility", "order"]),
    ratings=st.dictionaries(st.sampled_from(NODES), st.floats(0, 1), max_size=4),
)


@settings(max_examples=10, deadline=None)
@given(st.lists(ratings, min_size=1, max_size=4))
def test_a_later_rating_never_changes_an_earlier_prompt(facts: list[Fact]) -> None:
    task = at_work()
    task.happened(rated(gamma=1.0))
    stood = task.store.version(task.id)
    before = {policy.name: prompt(task, policy, stood) for policy in (DEFAULT, FRAGILE)}
    for fact in facts:
        task.happened(fact)
    after = {policy.name: prompt(task, policy, stood) for policy in (DEFAULT, FRAGILE)}
    assert after == before


@settings(max_examples=10, deadline=None)
@given(st.lists(ratings, max_size=4))
def test_a_policy_that_weighs_none_builds_the_same_whatever_was_rated(facts: list[Fact]) -> None:
    task = at_work()
    before = [prompt(task, policy) for policy in (DEFAULT, COVERAGE)]
    for fact in facts:
        task.happened(fact)
    assert [prompt(task, policy) for policy in (DEFAULT, COVERAGE)] == before


def test_a_policy_that_weighs_what_was_never_rated_builds_what_it_would_without() -> None:
    task = at_work()
    assert prompt(task, FRAGILE) == prompt(task, DEFAULT)
    task.happened(NodesRated(name="order", ratings={NODES[3]: 1.0}))
    assert prompt(task, FRAGILE) == prompt(task, DEFAULT)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_rated_highest_is_shown_whole(name: str) -> None:
    task = at_work()
    task.happened(rated(**{name: 1.0}))
    assert f"def {name}(count):\n    count = count + 0" in prompt(task, FRAGILE)


def test_the_newest_rating_of_each_function_holds_and_0_takes_it_back() -> None:
    task = at_work()
    plain = prompt(task, FRAGILE)
    task.happened(rated(omega=1.0, beta=0.0))
    assert prompt(task, FRAGILE) != plain
    task.happened(NodesRated(name="fragility", ratings={"method:parts.py::omega": 0.0}))
    assert prompt(task, FRAGILE) == plain


def test_no_rating_is_read_where_none_is_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    task, read = at_work(), list[str]()
    monkeypatch.setattr(
        "backcast.engine.history.facts_known.FactsKnown.rated", lambda self: read.append(self.task)
    )
    prompt(task, DEFAULT)
    prompt(task, COVERAGE)
    assert read == []


def test_a_follower_knows_the_ratings_of_every_moment() -> None:
    task = at_work()
    for value in (0.25, 0.5):
        task.happened(rated(beta=value))
    follower, last = TaskFollower(task.store, task.id), task.store.version(task.id)
    seen = []
    for version in (last - 2, last - 1, last):
        follower.read_on(version)
        known = follower.states.facts
        assert known is not None
        seen.append(dict(known.rated().names.get("fragility", {})))
    assert seen == [{}, {"parts.py::beta": 0.25}, {"parts.py::beta": 0.5}]
    now = states_at(task.store, task.id, Moment()).facts
    assert now is not None
    assert dict(now.rated().names["fragility"]) == seen[-1]


def test_a_recorded_prompt_is_rebuilt_and_derived_the_same_after_other_ratings() -> None:
    task = at_work()
    task.happened(rated(gamma=1.0))
    record_context(task.store, task.id, Moment(), REQUEST, SMALL, FRAGILE)
    task.happened(rated(gamma=0.0, alpha=1.0))
    [verdict] = verified(task.store, task.id)
    assert (verdict.rebuilt.verdict, verdict.derived.verdict) == ("same", "same")


# What is no rating, or no weight of one


@pytest.mark.parametrize(
    ("name", "found", "message"),
    [
        ("", {}, "name: needed words on a line"),
        (" a", {}, "name: needed words on a line"),
        ("a\nb", {}, "name: needed words on a line"),
        ("a", {"share": 1}, "needed function:PATH::NAME"),
        ("a", {"module:a.py": 1}, "needed function:PATH::NAME"),
        ("a", {"function:a.py": 1}, "needed function:PATH::NAME"),
        ("a", {NODES[0]: 1.1}, "less than or equal to 1, found 1.1"),
        ("a", {NODES[0]: -0.1}, "greater than or equal to 0, found -0.1"),
        ("a", {NODES[0]: float("nan")}, "a finite number, found nan"),
        ("a", {NODES[0]: "0.5"}, "a valid number, found '0.5'"),
        ("a", {NODES[0]: True}, "a valid number, found True"),
    ],
)
def test_a_rating_is_a_number_from_0_to_1_of_a_function(
    name: str, found: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        NodesRated(name=name, ratings=found)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("table", ["weights", "likeness"])
def test_a_policy_may_weigh_any_rating_and_its_digest_says_so(table: str) -> None:
    policy = laid_over(DEFAULT, {table: {"rated:my own order": 2.0}})
    question = laid_over(DEFAULT, {"lookup": {table: {"rated:my own order": 2.0}}})
    assert policy.ratings == question.ratings == ("my own order",)
    assert len({policy.digest, question.digest, DEFAULT.digest}) == 3
    assert changed(DEFAULT, policy) == [f"{table}.rated:my own order 0.0 -> 2.0"]
    assert Policy.model_validate_json(policy.body) == policy
    assert DEFAULT.ratings == ()


@pytest.mark.parametrize(("table", "key"), [("weights", "rated:"), ("recall", "rated:a")])
def test_other_tables_and_a_rating_without_a_name_are_refused(table: str, key: str) -> None:
    with pytest.raises(InputError, match=f"{table}: needed one of .*found '{key}'"):
        laid_over(DEFAULT, {table: {key: 1.0}})


# From the command line


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    assert end.value.code in (0, None, 1)
    found = capsys.readouterr()
    return found.out, found.err


def test_lines_are_imported_weighed_explained_and_masked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fragile.toml").write_text(
        '[weights]\n"rated:fragility" = 2\n[likeness]\n"rated:fragility" = 3\n'
    )
    found = {"function:money.py::share": 0.9, "function:money.py::passwords": 0.1234}
    line = {"type": "NODES_RATED", "task_id": "till", "timestamp": "2026-12-01T10:00:00Z"}
    Path("rated.jsonl").write_text(json.dumps(line | {"name": "fragility", "ratings": found}))
    asked = ("context", "till", "--for", "function:orders.py::new", "--policy", "fragile.toml",
             "--tokenizer", "upper-bound", "--context-tokens", "1200", "--explain")  # fmt: skip
    said(capsys, "import", "events", str(LOGS / "till.jsonl"))
    before, noted = said(capsys, *asked)
    assert "note: till has by then no rating 'fragility'" in noted
    _, noted = said(capsys, "regress", "till", "--policy", "fragile.toml", "--processes", "1")
    assert "note: these logs have no rating 'fragility'" in noted
    said(capsys, "import", "events", "rated.jsonl")
    after, noted = said(capsys, *asked)
    assert "no rating" not in noted
    levels = [re.findall(r"function:money.py::share +2 +(\w+) ", out) for out in (before, after)]
    assert levels == [["signature"], ["full"]]
    told, _ = said(capsys, "log", "till", "--type", "NODES_RATED")
    assert "fragility: money.py::share 0.9, money.py::passwords 0.1234" in told
    said(capsys, "export", "till", "masked.jsonl", "--redact")
    with opened("masked.jsonl") as log:
        [event] = log.store.read("till", types=["NODES_RATED"])
        assert event.fact.data == {"name": "fragility", "ratings": found}
