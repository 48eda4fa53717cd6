"""Many runs are tried by several processes as by one."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.policy import DEFAULT
from backcast.engine.context.strategies import STRATEGIES
from backcast.engine.log.open_logs import opened
from backcast.engine.replay.corpus import (
    MOST,
    ReplayRun,
    Setting,
    Tried,
    batches,
    runs_in,
)
from backcast.engine.replay.try_runs import tried

FIXTURES = Path(__file__).parents[1] / "fixtures" / "logs"
LOGS = [str(FIXTURES / f"{name}.jsonl") for name in ("contexts", "shop", "addresses")]
SETTINGS = [Setting("default", DEFAULT), Setting("no-cache", STRATEGIES["no-cache"])]


def runs_of(log: str) -> list[ReplayRun]:
    """The tasks of a log, and each of its changes."""
    with opened(log) as there:
        return list(runs_in(there, 1))


def untimed(found: Tried) -> Tried:
    """All but how long it took."""
    steps = (
        one._replace(figures=tuple(each._replace(seconds=0.0) for each in one.figures))
        for one in found.steps
    )
    return found._replace(steps=tuple(steps))


def test_two_processes_tell_what_one_tells_in_the_same_order() -> None:
    runs = [run for log in LOGS for run in runs_of(log)]

    alone = [untimed(one) for one in tried(runs, SETTINGS)]
    together = [untimed(one) for one in tried(runs, SETTINGS, processes=2)]

    assert [one.run for one in together] == runs
    assert together == alone
    assert any(one.steps for one in alone)


def test_an_open_log_is_measured_without_being_opened_again() -> None:
    runs = runs_of(LOGS[0])
    with opened(LOGS[0]) as log:
        named = [run._replace(log="open") for run in runs]

        found = list(tried(named, SETTINGS, processes=2, stores={"open": log.store}))

    assert [one.run.log for one in found] == ["open"] * len(runs)
    assert [untimed(one).steps for one in found] == [
        untimed(one).steps for one in tried(runs, SETTINGS)
    ]
    assert any(one.steps for one in found)


@given(st.lists(st.integers(0, 3), max_size=100), st.integers(1, 5))
def test_every_run_is_handed_out_once_in_order_with_others_of_its_log(
    logs: list[int], processes: int
) -> None:
    runs = [ReplayRun(f"log-{log}", "task", 0, number, 1) for number, log in enumerate(logs)]

    found = list(batches(runs, processes))

    assert [run for some in found for run in some] == runs
    assert all(len({run.log for run in some}) == 1 for some in found)
    assert all(len(some) <= MOST for some in found)


@given(st.integers(1, 200), st.integers(1, 5))
def test_batches_of_one_log_never_grow_and_end_with_a_single_run(many: int, processes: int) -> None:
    runs = [ReplayRun("log", "task", 0, number, 1) for number in range(many)]

    sizes = [len(some) for some in batches(runs, processes)]

    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1
