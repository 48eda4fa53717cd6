"""References: whatever prints one of stored text, 'backcast cat' opens it."""

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import InputError
from backcast.domain.events import ModuleDeleted, TaskComplete, TaskStarted
from backcast.domain.moment import NOW, Moment
from backcast.domain.node import Reference, parse_reference
from backcast.engine.context.recorded import messages
from backcast.engine.history.snapshots import state_at
from backcast.engine.history.source_text import last_text, text_of
from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.summaries import node_summaries
from backcast.engine.log import EventStore
from backcast.engine.memory.import_log import run
from backcast.engine.memory.outlines import Outlining
from backcast.projections import offline_cache
from tests.sources import SHOP, Task

LOGS = sorted((Path(__file__).parents[1] / "fixtures/logs").glob("*.jsonl"))
REFERENCE = re.compile(r"storage://[^\s,]+")


def said(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> tuple[str, str, int]:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    out, err = capsys.readouterr()
    return out, err, int(end.value.code or 0)


def moments(store: EventStore, task: str) -> Iterator[Moment]:
    positions = [event.position for event in store.read(task)]
    yield NOW
    yield from map(Moment, positions[:: max(1, len(positions) // 4)])


def left(store: EventStore, moment: Moment) -> Iterator[str]:
    state = state_at(store, offline_cache, None, moment)
    for solution in offline_cache.historical_solutions(state):
        yield from solution.references
    for library in offline_cache.library_knowledge(state):
        yield from library.users


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_every_reference_that_a_fixture_makes_us_print_opens(log: Path) -> None:
    opened = 0
    with EventStore.open("sqlite://") as store:
        run(store, "events", log)
        for task in store.tasks():
            Outlining(store, task).catch_up()
            for moment in moments(store, task):
                for summary in node_summaries(store, task, moment, None):
                    for found in REFERENCE.findall(str(summary)):
                        assert text_of(store, parse_reference(found), moment)
                        opened += 1
                for found in left(store, moment):
                    assert last_text(store, parse_reference(found)).body
                    opened += 1
            for event in store.read(task, types=["CONTEXT_BUILT"]):
                assert isinstance(event.fact, ContextBuilt)
                for _, text in messages(event.fact, store.get):
                    for found in REFERENCE.findall(text):
                        assert last_text(store, parse_reference(found)).body
                        opened += 1
    assert opened


@given(
    task=st.text(min_size=1).filter(lambda text: text.isprintable() or "\n" in text),
    path=st.text(min_size=1).filter(lambda text: not text.startswith("/")),
)
def test_a_reference_is_one_line_and_is_read_as_it_was_meant(task: str, path: str) -> None:
    written = str(Reference(task, path, (3, 9)))
    assert len(written.splitlines()) == 1
    assert parse_reference(written) == Reference(task, path, (3, 9))


@pytest.mark.parametrize("name", ["ann/app#1", "50%", "a b", "odd%2Fname", "t\u2028u"])
def test_a_task_with_an_odd_name_is_opened_by_what_its_summary_prints(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with EventStore.open(url, create=True) as store:
        task = Task(name, store)
        task.happened(TaskStarted(goal="sell"))
        task.wrote("a#b/100%.py", "def f() -> int:\n    return 1\n")
        task.outlined()
        node = "function:a#b/100%.py::f"
        [summary] = node_summaries(store, name, NOW, node)
    reference = dict(summary.beside)["Full code"]
    out, _, code = said(("cat", reference, "--store", url), capsys)
    assert (out, code) == ("def f() -> int:\n    return 1\n", 0)


def test_what_is_gone_by_now_is_opened_as_it_was_last_and_that_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with EventStore.open(url, create=True) as store:
        task = Task(store=store)
        task.happened(TaskStarted(goal="sell"))
        for path, source in SHOP.items():
            task.wrote(path, source)
        task.happened(TaskComplete())
        task.outlined()
        [solution] = offline_cache.historical_solutions(state_at(store, offline_cache, None))
        for path in SHOP:
            task.happened(ModuleDeleted(module_name=path))
    for reference in solution.references:
        out, err, code = said(("cat", reference, "--store", url), capsys)
        assert (out, code) == (dedent(SHOP[parse_reference(reference).path]), 0)
        assert "names nothing since event" in err
    out, err, code = said(("cat", f"storage://{task.id}/none.py", "--store", url), capsys)
    assert (out, code) == ("", 2)
    assert "there is no such module" in err


def test_a_summary_of_a_moment_names_what_cat_needs_to_open_that_moments_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = next(str(log) for log in LOGS if log.stem == "shop")
    at = ("show", "summaries", f"{log}@16", "--node", "function:utils.py::normalise")
    out, _, code = said(at, capsys)
    reference = next(line for line in out.splitlines() if "Full code" in line).split()[2:]
    assert code == 0
    assert reference[1] == f"{log}@16"
    out, _, code = said(("cat", *reference), capsys)
    assert code == 0
    assert out.startswith("def normalise(")


def test_a_reference_into_a_text_that_never_was_is_told() -> None:
    task = Task()
    task.wrote("a.py", "x = 1\n")
    with pytest.raises(InputError, match="the module has 1 lines at this moment"):
        last_text(task.store, parse_reference(f"storage://{task.id}/a.py#L5-L9"))
