"""A branch knows of other tasks what its origin knew where it was forked, and teaches them nothing.

All that is asked here is asked of prompts: what finished tasks left is shown in them.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from backcast.domain.context import Context
from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import MessageReceived, TaskComplete, TaskStarted
from backcast.domain.moment import NOW, Moment
from backcast.domain.policy import COVERAGE, DEFAULT, Policy
from backcast.engine.context.recorded import context_at
from backcast.engine.context.request import Request
from backcast.engine.history.branches import cut_at, fork, lineage_of
from backcast.engine.history.follow import TaskFollower
from backcast.engine.history.task_states import contributions_at, states_at
from backcast.engine.log import EventStore
from backcast.engine.log.importers.events import export_lines
from backcast.engine.memory.import_log import run
from backcast.engine.memory.outlines import Outlining
from backcast.engine.replay.verify import verified
from backcast.projections import fold, offline_cache
from tests.sources import Task
from tests.strategies import NOON
from tests.test_patterns import (
    LETTERS,
    MESSAGE,
    QWEN,
    built,
    checked,
    earlier,
    later,
    mended,
    recorded,
)
from tests.test_patterns import left as shown

SCALES = Request("module:scales.py", "weigh a letter")
IRON = "Weigh letters of iron."


@pytest.fixture
def store() -> Iterator[EventStore]:
    """A task that has ended, prompts of which show what others left; one ended in its middle."""
    task = later(earlier().store, IRON)
    recorded(task)
    mended(Task("between", task.store), "Weigh iron.")
    checked(task, MESSAGE)
    recorded(task)
    recorded(task, SCALES)
    task.happened(TaskComplete())
    mended(Task("afterwards", task.store), IRON)
    yield task.store
    task.store.close()


def of(store: EventStore, task: str) -> Task:
    return Task(task, store)


def digests(store: EventStore, task: str) -> list[str | None]:
    return [one.fact.digest for one in store.read(task) if isinstance(one.fact, ContextBuilt)]


def then(
    store: EventStore, task: str, version: int, request: Request, policy: Policy = COVERAGE
) -> Context:
    """What the task would have been shown when it stood at a version."""
    [event] = store.read(task, after=version - 1, last=version)
    return context_at(store, task, Moment(position=event.position), request, QWEN, policy)


def test_the_prompts_of_the_origin_show_what_others_left(store: EventStore) -> None:
    tasks = [
        {item.task for item in one.fact.items if item.task}
        for one in store.read("later")
        if isinstance(one.fact, ContextBuilt)
    ]
    assert tasks == [{"earlier"}, {"earlier", "between"}, {"earlier", "between"}]
    assert all(verdict.holds for verdict in verified(store, "later"))


def test_wherever_it_is_forked_the_prompts_up_to_there_are_those_of_its_origin(
    store: EventStore,
) -> None:
    last = store.version("later")
    for version in range(1, last + 1):
        branch = fork(store, "later", version).task_id
        verdicts = list(verified(store, branch))
        assert [one for one in verdicts if not one.holds] == []
        assert digests(store, branch) == digests(store, "later")[: len(verdicts)]
    assert len(verdicts) == 3


def test_the_next_prompt_is_the_one_that_its_origin_would_have_been_shown(
    store: EventStore,
) -> None:
    for version in range(1, store.version("later") + 1):
        branch = of(store, fork(store, "later", version).task_id)
        branch.happened(MessageReceived(role="user"))
        Outlining(store, branch.id).catch_up()
        for request, policy in product((LETTERS, SCALES), (COVERAGE, DEFAULT)):
            expected = then(store, "later", version, request, policy)
            assert built(branch, request, policy).digest == expected.digest


def test_the_record_of_a_step_that_is_taken_again_tells_the_same_items_found_in_the_same_places(
    store: EventStore,
) -> None:
    first, _, last = store.read("later", types=["CONTEXT_BUILT"])
    for event, request in ((first, LETTERS), (last, SCALES)):
        branch = fork(store, "later", cut_at(store, "later", event.version))
        again = recorded(of(store, branch.task_id), request)
        assert [item.model_dump(exclude_unset=True) for item in again] == event.fact.data["items"]


def test_a_branch_of_a_branch_is_shown_what_the_first_would_have_been(store: EventStore) -> None:
    version = store.version("later") - 2
    branch = of(store, fork(store, "later", version).task_id)
    recorded(branch, SCALES)
    for cut in (version - 4, version, version + 1, version + 2):
        again = of(store, fork(store, branch.id, cut).task_id)
        assert all(verdict.holds for verdict in verified(store, again.id))
        Outlining(store, again.id).catch_up()
        expected = then(store, "later", min(cut, version), LETTERS)
        assert built(again, LETTERS).digest == (
            expected.digest if cut <= version + 1 else built(branch, LETTERS).digest
        )


def test_the_solution_of_the_origin_is_no_pattern_for_its_branch(store: EventStore) -> None:
    other = later_again(store)
    assert "later" in shown(built(other, SCALES)).values()
    for version in (3, store.version("later")):
        branch = of(store, fork(store, "later", version).task_id)
        assert not {"later", "afterwards"} & set(shown(built(branch, SCALES)).values())


def later_again(store: EventStore) -> Task:
    task = Task("another", store)
    task.happened(TaskStarted(goal=IRON))
    return task


def test_a_branch_that_has_ended_leaves_nothing_to_others(store: EventStore) -> None:
    other = later_again(store)
    before = shown(built(other, SCALES))
    for version in (3, store.version("later")):
        branch = of(store, fork(store, "later", version).task_id)
        mended(branch, IRON)
    other.happened(MessageReceived(role="user"))
    assert shown(built(other, SCALES)) == before
    ended = {one.task for one in offline_cache.finished(fold(offline_cache, store.read()))}
    assert ended == {"earlier", "between", "later", "afterwards"}
    assert contributions_at(store, NOW).complete == fold(offline_cache, store.read()).complete


def test_what_ends_after_the_fork_is_not_known_to_it(store: EventStore) -> None:
    branch = of(store, fork(store, "later", store.version("later")).task_id)
    before = states_at(store, branch.id, NOW).offline
    mended(Task("new", store), IRON)
    branch.happened(MessageReceived(role="user"))
    assert states_at(store, branch.id, NOW).offline == before
    assert "new" in contributions_at(store, NOW).complete


def test_a_task_without_a_goal_keeps_the_name_of_the_first_of_its_line(store: EventStore) -> None:
    task = Task("plain", store)
    task.wrote("letters.py", "def send(): pass\n")
    task.outlined()
    recorded(task)
    version = store.version("plain")
    line = ["plain", fork(store, "plain", version).task_id]
    line += [fork(store, line[1], version).task_id, fork(store, line[1], version + 1).task_id]
    for name in line:
        words = built(of(store, name)).messages[-1][1]
        assert words.endswith("# Task description\n\nTask: plain\nWork on letters.py.")
        assert all(verdict.holds for verdict in verified(store, name))


def test_a_branch_that_runs_reads_on_to_what_one_who_reads_all_knows(store: EventStore) -> None:
    branch = of(store, fork(store, "later", 7).task_id)
    running = TaskFollower(store, branch.id)
    for number in range(3):
        mended(Task(f"new {number}", store), IRON)
        branch.happened(MessageReceived(role="user"))
        running.read_on()
        assert running.states == states_at(store, branch.id, NOW)
        assert running.states.graph.task_id == "later"


def test_a_task_that_runs_forgets_what_it_took_for_a_task_when_that_turns_out_a_branch(
    store: EventStore, tmp_path: Path
) -> None:
    fork(store, "later", store.version("later"))
    *lines, last = export_lines(store, "later~1")
    with EventStore.open("sqlite://", clock=lambda: NOON) as other:
        other.append("own", [TaskStarted(goal=IRON)], after=0)
        running, known = TaskFollower(other, "own"), list[list[str]]()
        for part in (lines, [last]):
            imported(other, tmp_path, part)
            other.append("own", [MessageReceived(role="user")], after=other.version("own"))
            running.read_on()
            assert running.states == states_at(other, "own", NOW)
            known.append(sorted(running.states.offline.complete))
    assert known == [["later~1"], []]


# Elsewhere


def imported(store: EventStore, folder: Path, lines: list[str]) -> None:
    file = folder / "log.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert not run(store, "events", file).skipped


def test_a_branch_stands_by_itself_in_another_store(store: EventStore, tmp_path: Path) -> None:
    task = Task("plain", store)
    task.wrote("letters.py", "def send(): pass\n")
    task.outlined()
    recorded(task)
    fork(store, "plain", store.version("plain"), "what-if")
    recorded(of(store, "what-if"), SCALES)
    lines = list(export_lines(store, "what-if"))
    with EventStore.open("sqlite://", clock=lambda: NOON) as other:
        imported(other, tmp_path, lines)
        assert list(export_lines(other, "what-if")) == lines
        verdicts = list(verified(other, "what-if"))
        assert [verdict.rebuilt.verdict for verdict in verdicts] == ["same", "same"]


def test_without_its_origin_a_branch_knows_what_ended_in_that_store_before_it(
    store: EventStore, tmp_path: Path
) -> None:
    version = store.version("later")
    fork(store, "later", version, "what-if")
    lines = {task: list(export_lines(store, task)) for task in store.tasks()}
    with EventStore.open("sqlite://", clock=lambda: NOON) as other:
        imported(other, tmp_path, lines["earlier"])
        imported(other, tmp_path, lines["what-if"])
        assert lineage_of(other, "what-if") == ("what-if", "later", version, "", version)
        prompt = built(of(other, "what-if"), SCALES)
        assert set(shown(prompt).values()) == {"earlier"}
        for name in ("later", "between"):
            imported(other, tmp_path, lines[name])
        assert lineage_of(other, "what-if").origin == "", (
            "what came later is not what it comes from"
        )
        [*_, last] = other.read("what-if")
        now = context_at(other, "what-if", Moment(position=last.position), SCALES, QWEN, COVERAGE)
        assert now.digest == prompt.digest


def test_with_its_origin_a_branch_knows_there_too_what_that_knew(
    store: EventStore, tmp_path: Path
) -> None:
    fork(store, "later", store.version("later"), "what-if")
    lines = {task: list(export_lines(store, task)) for task in store.tasks()}
    with EventStore.open("sqlite://", clock=lambda: NOON) as other:
        for name in ("earlier", "later", "between", "what-if"):
            imported(other, tmp_path, lines[name])
        assert lineage_of(other, "what-if").origin == "later"
        assert set(shown(built(of(other, "what-if"), SCALES)).values()) == {"earlier"}


def test_another_task_of_the_name_of_its_origin_is_not_taken_for_that(
    store: EventStore, tmp_path: Path
) -> None:
    fork(store, "later", 4, "what-if")
    lines = list(export_lines(store, "what-if"))
    with EventStore.open("sqlite://", clock=lambda: NOON) as other:
        checked(later(other), MESSAGE)
        mended(Task("earlier", other))
        imported(other, tmp_path, lines)
        assert (other.version("later"), lineage_of(other, "what-if").origin) == (4, "")
        assert "earlier" in states_at(other, "what-if", NOW).offline.complete
