"""Earlier work stands in a prompt with its content: code, patches, and the tasks that left them."""

from textwrap import dedent

from backcast.domain.budget import MISTRAL_7B_8K, PROFILES
from backcast.domain.cache import Failure
from backcast.domain.context import Context
from backcast.domain.events import (
    CheckFailure,
    ChecksRan,
    Committed,
    Imported,
    StepStarted,
    TaskComplete,
    TaskFailed,
    TaskStarted,
)
from backcast.domain.gathered import Fix
from backcast.domain.moment import NOW, Moment
from backcast.domain.node import parse_reference
from backcast.domain.policy import DEFAULT, Policy
from backcast.engine.context.recall.fixes import differ_in_values
from backcast.engine.context.recall.solutions import fresh_runs
from backcast.engine.context.recorded import context_at, record_context
from backcast.engine.context.request import Request
from backcast.engine.context.sources import SourcePiece
from backcast.engine.history.snapshots import state_at
from backcast.engine.history.source_text import text_of
from backcast.engine.log import EventStore
from backcast.engine.models import Completion
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.spec import Spec, SpecModule, Test
from backcast.projections import dependency_graph
from tests.sources import Task
from tests.test_answers_read import Double, passing

QWEN = PROFILES["qwen3-8b-32k"]._replace(tokenizer="upper-bound")
SCALES = '''
    def weigh(thing, unit="kg"):
        """Weigh a thing, in a unit."""
        mass = sum(part.mass for part in thing.parts)
        return round(mass / UNITS[unit], 3)

    def tare(pan):
        return pan.mass
    '''
WEIGH = Request("function:scales.py::weigh", "Weigh things in a unit.")


def earlier(goal: str = "Weigh parcels.", store: EventStore | None = None) -> Task:
    """A task that left a module, and has no end yet."""
    task = Task("earlier", store)
    task.happened(TaskStarted(goal=goal))
    task.wrote("scales.py", SCALES)
    task.outlined()
    return task


def later(store: EventStore, goal: str = "Send letters.") -> Task:
    """A task that runs now."""
    task = Task("later", store)
    task.happened(TaskStarted(goal=goal))
    task.wrote("letters.py", "def send(letter):\n    return letter.stamp\n")
    task.outlined()
    return task


def built(task: Task, request: Request = WEIGH, policy: Policy = DEFAULT) -> Context:
    return context_at(task.store, task.id, NOW, request, QWEN, policy)


def recalled(context: Context) -> dict[str, str]:
    """The functions and modules of earlier work, and the level at which each is shown."""
    return {item.node: item.level for item in context.items if item.node.startswith("left:")}


# What other tasks left


def test_the_body_of_a_function_that_an_earlier_task_left_is_shown_with_where_it_is_from() -> None:
    work = earlier()
    work.happened(TaskComplete())
    found = built(later(work.store))
    assert recalled(found) == {"left:earlier/function:scales.py::weigh": "full"}
    assert (
        "# Left by earlier task earlier: storage://earlier/scales.py#weigh\n"
        'def weigh(thing, unit="kg"):\n'
    ) in found.text
    assert "return round(mass / UNITS[unit], 3)" in found.text


def test_of_tasks_with_one_goal_that_which_left_the_function_is_shown() -> None:
    work = earlier("Build a till.")
    work.happened(TaskComplete())
    other = Task("other", work.store)
    other.happened(TaskStarted(goal="Build a till."))
    other.wrote("constants.py", "LIMIT = 64\n")
    other.outlined()
    other.happened(TaskComplete())
    found = built(later(work.store, "Build a till."), Request("module:till.py", "Weigh the goods"))
    assert "left:earlier/function:scales.py::weigh" in recalled(found)
    assert "Code: storage://earlier/scales.py: weigh\n" in found.text
    assert all(item.task != "later" for item in found.items if item.task)


def test_of_a_function_that_has_moved_on_the_lines_are_shown_that_are_here_no_more() -> None:
    work = earlier()
    work.happened(TaskComplete())
    task = later(work.store)
    kept = SCALES.replace("round(mass / UNITS[unit], 3)", "mass")
    task.wrote("scales.py", kept.replace("Weigh a thing, in a unit.", "Weigh."))
    task.outlined()
    found = built(task)
    assert recalled(found) == {"left:earlier/function:scales.py::weigh": "part"}
    [shown] = [item.text for item in found.items if item.node.startswith("left:")]
    assert shown.split("\n") == [
        "# Left by earlier task earlier: storage://earlier/scales.py#weigh;"
        " lines that are here no more:",
        'def weigh(thing, unit="kg"):',
        "    return round(mass / UNITS[unit], 3)",
    ]
    assert recalled(built(task, policy=DEFAULT.model_copy(update={"news": 0}))) == {}


def test_lines_that_never_were_in_the_project_are_not_called_gone_from_it() -> None:
    work = earlier()
    work.wrote("warnings.py", "class WornOutWarning(Warning):\n    left = 'worn out'\n")
    work.outlined()
    work.happened(TaskComplete())
    request = Request("", "Which class of Warning says that a letter is worn out?")
    assert recalled(built(later(work.store), request)) == {}


def test_a_function_with_a_decorator_is_named_once_and_blank_lines_leave_no_gap() -> None:
    text = dedent(
        """
        @final
        class Scale(
            Base,
        ):
            \"""Weighs things.

            In kilograms.\"""

            first = 1

            second = 2
            known = 3
            # a comment
            third = 4
        """
    ).strip()
    piece = SourcePiece(text, "class Scale(\n    Base,\n):", 1)
    runs = fresh_runs(piece, {"known = 3"})
    assert runs == [["    first = 1", "    second = 2"], ["    third = 4"]]


def test_a_module_that_is_asked_for_and_not_there_is_shown_as_it_was_left() -> None:
    work = earlier()
    work.happened(TaskComplete())
    found = built(later(work.store), Request("module:scales.py", "Weigh"))
    assert recalled(found) == {"left:earlier/module:scales.py": "full"}
    assert "# Left by earlier task earlier: storage://earlier/scales.py\n" in found.text
    assert found.text.count("def tare(pan):") == 1


def test_what_the_project_has_already_is_not_shown_again() -> None:
    work = earlier()
    work.happened(TaskComplete())
    task = later(work.store)
    task.wrote("balance.py", f"UNITS = {{}}\n{dedent(SCALES)}")
    task.outlined()
    assert recalled(built(task)) == {}


def test_an_imported_history_and_a_run_that_is_over_left_their_code_and_a_running_task_none() -> (
    None
):
    for first, shown in (
        (Committed(sha="a" * 40, message="m", authored_at="", committed_at=""), True),
        (Imported(format="claude-code", version=1), True),
        (StepStarted(kind="code", module_name="scales.py", iteration=1), False),
    ):
        work = Task("earlier")
        work.happened(first)
        work.wrote("scales.py", SCALES)
        work.outlined()
        assert bool(recalled(built(later(work.store)))) is shown


def test_what_failed_and_what_came_after_the_moment_is_no_solution() -> None:
    work = earlier()
    task = later(work.store)
    [*_, last] = task.store.read(task.id)
    then = Moment(position=last.position)
    work.happened(TaskFailed(reason="no scales"))
    assert recalled(built(task)) == {}
    work.happened(TaskComplete())
    assert recalled(built(task)) != {}
    assert recalled(context_at(task.store, task.id, then, WEIGH, QWEN)) == {}


def test_the_record_names_the_task_and_the_prompt_is_derived_again() -> None:
    work = earlier()
    work.happened(TaskComplete())
    task = later(work.store)
    record_context(task.store, task.id, NOW, WEIGH, QWEN)
    assert all(verdict.holds for verdict in verified(task.store, task.id))


def test_a_policy_that_recalls_nothing_shows_references_alone() -> None:
    work = earlier()
    work.happened(TaskComplete())
    found = built(later(work.store), policy=DEFAULT.model_copy(update={"recalled": 0.0}))
    assert "weigh in earlier task earlier: storage://earlier/scales.py#weigh" in found.text
    assert "return round(mass" not in found.text


# What was taken out here


def removed() -> Task:
    """A task that took a function out of a module."""
    task = Task("own")
    task.wrote("scales.py", SCALES)
    task.outlined()
    task.wrote("scales.py", "def tare(pan):\n    return pan.mass\n")
    task.outlined()
    return task


def test_a_function_that_was_taken_out_is_shown_as_it_stood_when_it_is_asked_for_again() -> None:
    task = removed()
    found = built(task)
    assert recalled(found) == {"left:own/function:scales.py::weigh": "full"}
    assert "# Removed here: storage://own@1/scales.py#L2-L5\n" in found.text
    [event] = task.store.read(task.id, last=1)
    reference = parse_reference("storage://own/scales.py#L2-L5")
    whole = text_of(task.store, reference, Moment(position=event.position)).decode()
    assert whole.strip() in found.text


def test_a_function_that_came_back_is_there_and_no_longer_removed() -> None:
    task = removed()
    state = state_at(task.store, dependency_graph, task.id)
    assert list(state.removed) == ["scales.py::weigh"]
    task.wrote("scales.py", SCALES)
    task.outlined()
    assert not state_at(task.store, dependency_graph, task.id).removed
    assert recalled(built(task)) == {}


def test_a_deleted_module_is_shown_as_it_stood_when_it_is_asked_for_again() -> None:
    task = Task("own")
    task.wrote("scales.py", SCALES)
    task.outlined()
    task.deleted("scales.py")
    found = built(task, Request("module:scales.py", "weigh again"))
    assert recalled(found) == {"left:own/module:scales.py": "full"}
    assert recalled(built(task)) == {"left:own/function:scales.py::weigh": "full"}


def test_a_text_that_is_gone_is_told_and_not_shown() -> None:
    task = removed()
    kept = task.store.get
    state = state_at(task.store, dependency_graph, task.id)
    lost = state.removed["scales.py::weigh"].source

    def get(ref: str) -> bytes:
        if ref == lost:
            raise ValueError("no such blob")
        return kept(ref)

    task.store.get = get  # type: ignore[method-assign]
    found = built(task)
    assert recalled(found) == {}
    why = {one.node: one.reason for one in found.omissions}
    assert why["left:own/function:scales.py::weigh"] == "its text is gone"


# Fixes

MESSAGE = "TypeError: weigh() takes 1 argument, not 2"


def checked(task: Task, *messages: str, module: str, name: str = "test_weigh") -> None:
    """A run of checks of which these failed."""
    failures = tuple(CheckFailure(name=name, message=message) for message in messages)
    task.happened(ChecksRan(passed=3, failed=len(failures), module_name=module, failures=failures))


def mended(store: EventStore | None = None) -> Task:
    """A task in which a check failed and was mended."""
    task = Task("earlier", store)
    task.happened(TaskStarted(goal="Weigh parcels."))
    task.wrote("scales.py", "UNIT = 1\n\n\ndef weigh(thing):\n    return thing.mass\n")
    checked(task, MESSAGE, module="scales.py")
    task.wrote("scales.py", "UNIT = 1\n\n\ndef weigh(thing, unit=UNIT):\n    return thing.mass\n")
    checked(task, module="scales.py")
    task.outlined()
    task.happened(TaskComplete())
    return task


def test_a_fix_shows_the_failure_the_patch_that_mended_it_and_the_test_that_proved_it() -> None:
    task = later(mended().store)
    checked(task, MESSAGE, module="letters.py")
    text = built(task, Request("module:letters.py")).text
    assert (
        f"Seen before: test_weigh: {MESSAGE}\n"
        "mended by iteration 2 of scales.py, task earlier, proved by test_weigh:\n"
        "@@ -3,3 +3,3 @@\n"
        " \n"
        "-def weigh(thing):\n"
        "+def weigh(thing, unit=UNIT):\n"
        "     return thing.mass"
    ) in text


def test_a_failure_that_differs_in_values_alone_has_a_fix_where_the_policy_lets_it() -> None:
    task = later(mended().store)
    checked(task, MESSAGE.replace("1", "4"), module="letters.py")
    request = Request("module:letters.py")
    assert "Seen before with other values: test_weigh: " in built(task, request).text
    strict = DEFAULT.model_copy(update={"values": False})
    assert "Seen before" not in built(task, request, strict).text


def test_values_differ_only_within_one_exception_about_one_function_or_in_one_test() -> None:
    def alike(now: str, then: str, check: str = "test_a") -> bool:
        failure = Failure("checks", "a.py", "test_a", now, None, 1)
        return differ_in_values(failure, Fix(then, check, "b.py", 2, None, "earlier", 9))

    assert alike("TypeError: f() takes 1 argument", "TypeError: f() takes 2 argument", "test_b")
    assert alike("KeyError: 'a'", "KeyError: 'b'")
    assert not alike("KeyError: 'a'", "KeyError: 'b'", "test_b")
    assert not alike("TypeError: f() takes 1 argument", "TypeError: g() takes 1 argument")
    assert not alike("ValueError: 1", "TypeError: 1")
    assert not alike("assert 3 == 4", "assert 5 == 6")
    assert not alike("SwitchError: enable it()", "SwitchError: disable it()")


# What an answer asks to see


def test_an_answer_may_ask_to_see_what_another_task_left_and_is_told_what_is_not_there() -> None:
    work_before = earlier()
    work_before.happened(TaskComplete())
    asks = (
        "```show\nstorage://earlier/scales.py#weigh\nleft:earlier/function:scales.py::tare\n"
        "storage://nobody/scales.py\nstorage://earlier/nothing.py\n```"
    )
    model = Double(Completion(asks), Completion("```python a.py\nx = 1\n```"))
    spec = Spec(
        task="t", goal="Send letters.", tests=(Test(path="test_a.py", source="import a\n"),),
        modules=(SpecModule(path="a.py", purpose="p", tests=("test_a.py",)),),
    )  # fmt: skip
    start(work_before.store, spec)
    runtime = Runtime(model, "double", MISTRAL_7B_8K)
    assert work(work_before.store, "t", runtime, checks=passing).status == "complete"
    shown = model.asked[1]
    assert shown.count("def weigh(thing") == 1
    assert "# storage://earlier/scales.py#weigh\ndef weigh(thing" in shown
    assert "# left:earlier/function:scales.py::tare\ndef tare(pan):" in shown
    assert "storage://nobody/scales.py: no task 'nobody' is known here that left code" in shown
    assert "storage://earlier/nothing.py: there is no such module" in shown
    assert all(verdict.holds for verdict in verified(work_before.store, "t"))
