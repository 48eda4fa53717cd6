"""Cache entries that name versions or a time to live: each holds as long as it says."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from math import inf, nan
from pathlib import Path

import pytest
from pydantic import ValidationError

from backcast.domain.budget import PROFILES
from backcast.domain.context import Context
from backcast.domain.events import (
    Claim,
    Fact,
    ModuleIteration,
    TaskStarted,
)
from backcast.domain.memory_events import SummaryWritten
from backcast.domain.moment import NOW, Moment
from backcast.domain.policy import DEFAULT, Policy
from backcast.engine.context.recorded import context_at, record_context
from backcast.engine.context.request import Request
from backcast.engine.history.staleness import stale
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from backcast.engine.replay.stale_items import stale_items
from backcast.engine.replay.steps import steps
from backcast.engine.replay.verify import verified
from backcast.projections.summaries import Written, outlived
from tests.strategies import NOON

BOUND = PROFILES["mistral-7b-8k"]._replace(tokenizer="upper-bound")
TILL = b"def total(prices):\n    return sum(prices)\n"
NODE = "module:till.py"
MILLENNIUM = 1_000 * 365.25 * 24 * 3600

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def backcast(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def ran(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([*arguments, "--store", f"sqlite:///{tmp_path}/store.db"])
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err

    return ran


def line(minute: int, kind: str, **data: object) -> str:
    time = (NOON + timedelta(minutes=minute)).isoformat()
    return json.dumps({"type": kind, "task_id": "t", "timestamp": time, "data": data})


def iteration(minute: int, path: str, number: int) -> str:
    return line(minute, "MODULE_ITERATION", module_name=path, iteration=number)


def entry(minute: int, **data: object) -> str:
    return line(minute, "SUMMARY_WRITTEN", **data)


def test_an_entry_of_content_and_vector_clock_is_told_by_clock(
    backcast: Command, tmp_path: Path
) -> None:
    log = tmp_path / "entries.jsonl"
    clock = {"till.py": 1, "money.py": 2}
    lines = [
        iteration(0, "till.py", 1), iteration(0, "money.py", 2), iteration(0, "other.py", 1),
        entry(1, node=NODE, content="Adds prices.", vector_clock=clock, summariser="scribe 1"),
        entry(1, node="module:money.py", content="Cents.", vector_clock={"money.py": 2}),
        iteration(2, "other.py", 2),
        iteration(3, "money.py", 3),
    ]  # fmt: skip
    log.write_text("\n".join(lines))
    assert backcast("import", "events", str(log))[0] == 0
    assert backcast("stale", "t@6")[1] == ""  # only a module that no clock names moved on
    _, out, err = backcast("stale", "t")
    assert out.splitlines() == [
        "module:money.py summary (by clock, built at money.py=2) stale since event 7: money.py=3,"
        " path money.py",
        "module:till.py summary (by clock, built at till.py=1, money.py=2) stale since event 7:"
        " money.py=3, path till.py -> money.py",
    ]
    assert err == "2 stale: 2 by clock\n"
    _, out, _ = backcast("show", "summaries", "t", "--node", NODE)
    assert out.startswith("module:till.py  (by scribe 1, STALE by clock: see 'backcast stale')")
    assert "  Adds prices.\n" in out
    _, out, _ = backcast("show", "summaries", "t@6", "--node", NODE)
    assert out.startswith("module:till.py  (by scribe 1)")


def test_versions_that_the_task_never_had_are_told_and_an_entry_holds_once_it_has_them() -> None:
    facts: list[Fact] = [
        ModuleIteration(module_name="till.py", iteration=1),
        SummaryWritten(node=NODE, text="a", summariser="ghost", clock={"never.py": 3}),
        SummaryWritten(node=NODE, text="b", summariser="ahead", clock={"till.py": 2}),
        SummaryWritten(node=NODE, text="c", summariser="absent", clock={"never.py": 0}),
        ModuleIteration(module_name="till.py", iteration=2),
    ]
    with EventStore.open("sqlite://") as store:
        store.append("t", [Claim(fact, NOON) for fact in facts], after=0)
        reasons = {one.summariser: one.reason for one in stale(store, "t", Moment(position=4))}
        later = [one.summariser for one in stale(store, "t", NOW)]
        store.append("t", [ModuleIteration(module_name="never.py", iteration=1)], after=5)
        come = {one.summariser: str(one.proof or one.reason) for one in stale(store, "t", NOW)}
    assert reasons == {
        "ghost": "not known to hold: its clock names never.py=3, which this task never had",
        "ahead": "not known to hold: its clock names till.py=2, and the task is at till.py=1",
    }
    assert later == ["ghost"]
    assert come["absent"].startswith("stale since event 6: never.py=1")
    assert come["ghost"].endswith("never.py=3, and the task is at never.py=1")


def test_an_entry_without_a_place_is_kept_and_told_and_one_without_versions_is_refused(
    backcast: Command, tmp_path: Path
) -> None:
    log = tmp_path / "entries.jsonl"
    lines = [
        entry(1, content="Of what?", vector_clock={"till.py": 1}),
        entry(1, node=NODE, text="x", clock={"till.py": "one"}),
    ]
    log.write_text("\n".join(lines))
    _, out, err = backcast("import", "events", str(log))
    assert "line 1: a summary without its 'node' is kept, and shown nowhere" in out + err
    assert "line 2: SUMMARY_WRITTEN: " in out + err
    assert "Of what?" in backcast("log", "t", "--json")[1]


# Of times to live


@pytest.mark.parametrize(
    ("lives", "seconds", "ended"),
    [
        (None, 1e9, False), (300, 300, False), (300, 301, True),
        (0.5, 0.25, False), (0, 0, True), (-5, 0, True),
        (MILLENNIUM, 1e9, False), (MILLENNIUM, 3e10 + 2e9, True),
        (1e300, 1e9, False), (inf, 1e9, False), (nan, 1e9, False),
    ],
)  # fmt: skip
def test_a_time_to_live_may_be_anything(lives: float | None, seconds: float, ended: bool) -> None:
    written = Written("x", "s 1", 1, datetime.min.replace(tzinfo=NOON.tzinfo), 1, 1, (), (), lives)
    at = written.timestamp + timedelta(seconds=seconds)
    assert outlived(written, at) == ended
    assert outlived(written, at, 60) == (ended or seconds > 60)
    assert not outlived(written, None)


class Shop:
    """A task with a summary that lives for 300 seconds, in a store whose clock is set by hand."""

    def __init__(self, lives: float | None = 300) -> None:
        self.now = NOON
        self.store = EventStore.open("sqlite://", clock=lambda: self.now)
        blob = Blob(TILL)
        facts: list[Fact] = [
            TaskStarted(goal="Add prices"),
            ModuleIteration(module_name="till.py", iteration=1, source=blob.ref),
            SummaryWritten(node=NODE, text="SAID", clock={"till.py": 1}, lives=lives),
        ]
        self.store.append("t", facts, after=0, blobs=[blob])

    def asked(self, seconds: int, policy: Policy = DEFAULT, *, record: bool = False) -> Context:
        self.now = NOON + timedelta(seconds=seconds)
        build = record_context if record else context_at
        return build(self.store, "t", NOW, Request(NODE, "Add."), BOUND, policy)


NO_OPENING = Policy(name="summing")
"The settings by which the target's module is shown by its summary."


def shows(context: Context) -> bool:
    return any("SAID" in item.text for item in context.items)


def test_a_time_to_live_counts_from_the_time_that_each_prompt_records() -> None:
    shop = Shop()
    fresh, late = (shop.asked(s, NO_OPENING, record=True) for s in (300, 301))
    assert (shows(fresh), shows(late)) == (True, False)
    [omission] = [one for one in late.omissions if one.section == "summaries"]
    assert omission.reason == "stale by time: its summary, written by event 3"
    assert [str(v.derived) for v in verified(shop.store, "t")] == ["same", "same"]
    for step, context in zip(steps(shop.store, "t"), (fresh, late), strict=True):
        assert stale_items(context.items, step.known.states) == []
    # What is asked about later is asked at its own time, and now is the clock's.
    assert [one.by for one in stale(shop.store, "t", NOW)] == ["time"]
    assert stale(shop.store, "t", Moment(at=NOON + timedelta(seconds=300))) == []
    assert stale(shop.store, "t", Moment(position=3)) == []


def test_a_prompt_names_the_entry_that_it_leaves_out_by_its_clock() -> None:
    shop = Shop()
    assert shows(shop.asked(1, NO_OPENING))
    shop.store.append("t", [ModuleIteration(module_name="till.py", iteration=2)], after=3)
    context = shop.asked(2, NO_OPENING)
    assert not shows(context)
    [omission] = [one for one in context.omissions if one.section == "summaries"]
    assert omission.reason == "stale by clock: its summary, written by event 3"


def test_a_policy_sets_how_long_summaries_of_a_kind_live() -> None:
    shop = Shop(lives=None)
    assert shows(shop.asked(10_000, NO_OPENING))
    hour = NO_OPENING.model_copy(update={"lives": {"module": 3600}})
    assert [shows(shop.asked(s, hour)) for s in (3600, 3601)] == [True, False]
    other = NO_OPENING.model_copy(update={"lives": {"function": 1}})
    assert shows(shop.asked(10_000, other))
    [late] = stale(shop.store, "t", NOW, lives=hour.lives)
    assert late.reason == f"outlived: it held for 3600 s from {NOON.isoformat()} as the policy says"
    with pytest.raises(ValidationError, match="lives: needed one of task, module, class, "):
        Policy(lives={"modules": 1})
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        Policy(lives={"module": -1})


def test_a_recorded_policy_without_times_to_live_is_read_as_before() -> None:
    body = json.loads(DEFAULT.body)
    del body["lives"]
    assert Policy.model_validate(body) == DEFAULT
