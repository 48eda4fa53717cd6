"""What finished tasks left is offered by reference where a policy recalls nothing of its text, and
says where it came from."""

from collections.abc import Iterable

from backcast.domain.budget import PROFILES
from backcast.domain.context import Context
from backcast.domain.context_events import ContextBuilt, ContextItem
from backcast.domain.events import (
    CheckFailure,
    ChecksRan,
    ModuleComplete,
    TaskComplete,
    TaskFailed,
    TaskStarted,
)
from backcast.domain.moment import NOW, Moment
from backcast.domain.policy import COVERAGE, Policy
from backcast.engine.context.recorded import context_at, record_context
from backcast.engine.context.request import Request
from backcast.engine.log import EventStore
from backcast.engine.replay.verify import verified
from tests.candidates import shown
from tests.sources import Task

QWEN = PROFILES["qwen3-8b-32k"]._replace(tokenizer="upper-bound")
LETTERS = Request("module:letters.py")
MESSAGE = "TypeError: weigh() takes 1 argument"


def checked(task: Task, *messages: str, module: str = "letters.py", name: str = "test_w") -> None:
    """A run of checks of which these failed."""
    failures = tuple(CheckFailure(name=name, message=message) for message in messages)
    failed = len(failures)
    task.happened(ChecksRan(passed=3, failed=failed, module_name=module, failures=failures))


def earlier(task_id: str = "earlier", *, goal: str = "Weigh parcels.", ends: bool = True) -> Task:
    """A task in which a check failed and was mended."""
    return mended(Task(task_id), goal, ends=ends)


def mended(task: Task, goal: str = "Weigh parcels.", *, ends: bool = True) -> Task:
    task.happened(TaskStarted(goal=goal))
    task.wrote("scales.py", "def weigh(): pass\n")
    checked(task, MESSAGE, module="scales.py")
    task.wrote("scales.py", "def weigh(thing): pass\n")
    checked(task, module="scales.py")
    task.outlined()
    if ends:
        task.happened(TaskComplete())
    return task


def later(store: EventStore, goal: str = "Send letters.", path: str = "letters.py") -> Task:
    """A task that runs now."""
    task = Task("later", store)
    task.happened(TaskStarted(goal=goal))
    task.wrote(path, "def send(): pass\n")
    task.outlined()
    return task


def built(task: Task, request: Request = LETTERS, policy: Policy = COVERAGE) -> Context:
    return context_at(task.store, task.id, NOW, request, QWEN, policy)


def left(context: Context) -> dict[str, str]:
    """What earlier tasks left that is shown: the task of each."""
    return {item.node: item.task for item in context.items if item.task}


def recorded(task: Task, request: Request = LETTERS) -> list[ContextItem]:
    record_context(task.store, task.id, NOW, request, QWEN, COVERAGE)
    facts: Iterable[object] = (e.fact for e in task.store.read(task.id, types=["CONTEXT_BUILT"]))
    [*_, last] = (fact for fact in facts if isinstance(fact, ContextBuilt))
    return list(last.items)


# Fixes


def test_the_fix_of_a_message_that_fails_now_is_offered_with_where_it_stands() -> None:
    task = later(earlier().store)
    checked(task, MESSAGE)
    found = built(task)
    [node] = left(found)
    assert node.startswith("fix:earlier@")
    assert f"Seen before: test_w: {MESSAGE}\n" in found.text
    assert "mended by iteration 2 of scales.py, task earlier" in found.text


def test_the_record_says_that_it_was_found_offline_and_in_which_task() -> None:
    task = later(earlier().store)
    checked(task, MESSAGE)
    items = recorded(task)
    [fix] = [item for item in items if item.node.startswith("fix:")]
    assert (fix.found, fix.task, fix.section) == ("offline", "earlier", "historical patterns")
    assert {item.task for item in items if item.found != "offline"} == {None}
    assert all(verdict.holds for verdict in verified(task.store, task.id))


def test_a_message_that_is_only_alike_has_no_fix() -> None:
    task = later(earlier().store)
    checked(task, MESSAGE.replace("1", "2"))
    assert left(built(task)) == {}


def test_a_message_that_fails_no_more_has_no_fix() -> None:
    task = later(earlier().store)
    checked(task, MESSAGE)
    task.wrote("letters.py", "def send(x): pass\n")
    checked(task)
    task.outlined()
    assert left(built(task)) == {}


def test_a_fix_of_its_own_is_not_offered_to_a_task() -> None:
    task = earlier()
    checked(task, MESSAGE, module="scales.py")
    assert not [node for node in left(built(task, Request("module:scales.py"))) if "fix" in node]


def test_as_many_fixes_are_offered_as_the_policy_says() -> None:
    store = earlier().store
    for number in range(3):
        mended(Task(f"task-{number}", store), f"Goal {number}.")
    task = later(store)
    checked(task, MESSAGE)
    assert [node.partition("@")[0] for node in left(built(task))] == ["fix:task-2"]
    none = COVERAGE.model_copy(update={"large": COVERAGE.large.model_copy(update={"patterns": 0})})
    assert left(built(task, policy=none)) == {}


# Tasks and what they made


def test_an_earlier_task_is_offered_where_its_goal_shares_words() -> None:
    store = earlier().store
    found = built(later(store, "Weigh letters."))
    assert left(found) == {"task:earlier": "earlier"}
    assert "Earlier task earlier: Weigh parcels." in found.text
    assert "Code: storage://earlier/scales.py" in found.text


def test_the_task_that_shares_most_words_comes_first() -> None:
    store = earlier("one", goal="Weigh parcels.").store
    mended(Task("two", store), "Weigh heavy parcels of iron.")
    mended(Task("three", store), "Read the clock.")
    items = built(later(store), Request("", "weigh parcels")).items
    scores = {item.node: item.score for item in items if item.task}
    assert sorted(scores, key=scores.__getitem__) == ["task:two", "task:one"]


def test_what_an_earlier_task_made_by_the_name_asked_for_is_offered() -> None:
    task = later(earlier().store)
    found = built(task, Request("module:scales.py"))
    assert left(found) == {"left:earlier/module:scales.py": "earlier"}
    assert "scales.py in earlier task earlier: storage://earlier/scales.py\n" in found.text
    function = built(task, Request("function:scales.py::weigh"))
    assert "weigh in earlier task earlier: storage://earlier/scales.py#weigh" in function.text


def test_what_is_in_hand_is_not_looked_for_in_earlier_tasks() -> None:
    task = later(earlier().store, path="scales.py")
    assert left(built(task, Request("module:scales.py"))) == {}


def test_what_was_offered_once_is_offered_again_in_the_next_prompt() -> None:
    task = later(earlier().store, "Weigh letters.")
    checked(task, MESSAGE)
    for request in (LETTERS, Request("module:scales.py")):
        before = left(built(task, request))
        assert "task:earlier" in before
        recorded(task, request)
        assert left(built(task, request)) == before
    assert all(verdict.holds for verdict in verified(task.store, task.id))


def test_what_the_task_has_itself_is_in_hand_whether_it_was_shown_or_not() -> None:
    task = later(earlier().store, path="scales.py")
    task.wrote("scales.py", "def weigh(): pass\n")
    task.happened(ModuleComplete(module_name="scales.py"))
    task.outlined()
    request = Request("function:scales.py::weigh")
    assert left(built(task, request)) == {}
    recorded(task, request)
    assert left(built(task, request)) == {}


# Nothing


def test_nothing_is_offered_before_a_task_has_completed() -> None:
    running = earlier(ends=False)
    task = later(running.store, "Weigh parcels.", "scales.py")
    checked(task, MESSAGE)
    assert left(built(task, Request("module:scales.py", "weigh"))) == {}
    running.happened(TaskFailed(reason="no scales"))
    assert left(built(task, Request("module:scales.py", "weigh"))) == {}


def test_what_completed_after_the_moment_is_not_known_then() -> None:
    running = earlier(ends=False)
    task = later(running.store, "Weigh letters.")
    [*_, last] = task.store.read(task.id)
    running.happened(TaskComplete())
    then = context_at(task.store, task.id, Moment(position=last.position), LETTERS, QWEN, COVERAGE)
    assert left(then) == {}
    assert left(built(task)) == {"task:earlier": "earlier"}


def test_a_request_of_only_words_has_no_target_and_finds_what_they_name() -> None:
    task = later(earlier().store)
    found = built(task, Request("", "what does send do with a parcel"))
    assert shown(found.items)["function:letters.py::send"] == "full"
    assert not [item for item in found.items if item.section == "current module"]
    assert found.messages[-1][1].endswith(
        "# Task description\n\nTask: Send letters.\nwhat does send do with a parcel"
    )
