"""The plan of a finished task: an example for a like one, its plan where all holds, else told."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import ModelError
from backcast.domain.events import (
    ChecksRan,
    Fact,
    ModuleIteration,
    PlannedModule,
    PlanningComplete,
    TaskComplete,
    TaskFailed,
    TaskStarted,
    UnknownFact,
)
from backcast.domain.memory_events import PlanLearned
from backcast.domain.plans import problem_in
from backcast.domain.policy import COVERAGE, READER
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from backcast.engine.memory.outlines import Outlining
from backcast.engine.models import NOTHING, Call, Completion, Limits, Message
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.sandbox.run import Outcome, SandboxLimits
from backcast.engine.workflow.spec import Spec, Test
from backcast.projections import fold, offline_cache

PROFILE = MISTRAL_7B_8K._replace(tokenizer="upper-bound")
EXAMPLE, USE = (COVERAGE.model_copy(update={"plans": name}) for name in ("example", "use"))
CODE = "def lock(door: str) -> str:\n    return f'{door} is shut'\n"
FIRST = Spec(
    task="first",
    goal="Enable the lock of a door",
    context="house",
    requirements=("a door has a name", "at most 3 tries"),
    tests=(Test(path="test_lock.py", source="from lock import lock\n\ndef test(): lock('a')\n"),),
)
PLAN = {"path": "lock.py", "purpose": "Locks a door.", "dependencies": [], "tests": []}


class Double:
    """A model that plans and writes one module, and knows how often it was asked for a plan."""

    id = "double"

    def __init__(self) -> None:
        self.prompts = list[str]()

    def complete(
        self,
        messages: Sequence[Message],
        limits: Limits,
        *,
        schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        call: Call = NOTHING,
    ) -> Completion:
        if call.kind == "plan":
            self.prompts.append("\n".join(message.content for message in messages))
            return Completion(json.dumps({"modules": [PLAN]}))
        return Completion(f"```python {call.module}\n{CODE}```\n")


def fulfilled(files: Mapping[str, bytes], tests: Sequence[str], limits: SandboxLimits) -> Outcome:
    return Outcome(1, 0, 0, (), b"", 0.0, (), {}, {})


def ran(store: EventStore, spec: Spec, policy: Any = COVERAGE) -> Double:
    """Run a task to its end with a double; gives the double."""
    double = Double()
    start(store, spec)
    runtime = Runtime(double, "double", PROFILE, policy)
    assert work(store, spec.task, runtime, checks=fulfilled).status == "complete"
    return double


def second(**changes: Any) -> Spec:
    return Spec.model_validate(FIRST.model_dump() | {"task": "second"} | changes)


def planned(store: EventStore, task: str = "second") -> PlanningComplete:
    [event] = store.read(task, types=["PLANNING_COMPLETE"])
    assert isinstance(event.fact, PlanningComplete)
    return event.fact


def reasons(store: EventStore, task: str = "second") -> list[str]:
    """Why plans were not used, as the prompts for a plan tell it."""
    facts = [event.fact for event in store.read(task, types=["CONTEXT_BUILT"])]
    return [
        omission.reason
        for fact in facts
        if isinstance(fact, ContextBuilt)
        for omission in fact.omissions
        if omission.node == "plan:first"
    ]


def happened(store: EventStore, task: str, *facts: Fact) -> None:
    store.append(task, facts, after=store.version(task))


def wrote(store: EventStore, task: str, text: str) -> None:
    """Append another text of the module to a task, with its outline."""
    body = Blob(text.encode())
    fact = ModuleIteration(module_name="lock.py", iteration=2, source=body.ref)
    store.append(task, [fact], after=store.version(task), blobs=[body])
    Outlining(store, task).catch_up()


# What holds


def test_the_same_task_takes_the_plan_without_a_call_and_the_log_tells_whose_it_is() -> None:
    with EventStore.open("sqlite://") as store:
        ran(store, FIRST)
        assert ran(store, second(limits={"iterations": 2}), USE).prompts == []
        fact, [event] = planned(store), store.read("second", types=["PLANNING_COMPLETE"])
        assert [module.path for module in fact.planned] == ["lock.py"]
        assert fact.reused is not None
        assert (fact.reused.task, fact.reused.version) == ("first", planned_at(store, "first"))
        assert sorted(fact.reused.held) == ["lock.py", "test_lock.py"]
        causes = [e.type for e in store.read("second") if e.version in event.because]
        assert causes == ["TASK_STARTED", "SOURCE_READ", "REQUIREMENTS_COMPLETE", "POLICY_USED"]
        verdicts = list(verified(store, "second"))
        assert verdicts
        assert [verdict for verdict in verdicts if not verdict.holds] == []


def planned_at(store: EventStore, task: str) -> int:
    [event] = store.read(task, types=["PLANNING_COMPLETE"])
    return event.version


def test_a_policy_that_only_shows_examples_asks_all_the_same() -> None:
    with EventStore.open("sqlite://") as store:
        ran(store, FIRST)
        [prompt] = ran(store, second(), EXAMPLE).prompts
        assert "earlier task like this one, first" in prompt
        assert "- lock.py: Locks a door." in prompt
        assert planned(store).reused is None
        assert reasons(store) == []


def test_policies_of_old_know_no_plans_and_the_default_shows_them_as_examples() -> None:
    assert (COVERAGE.plans, READER.plans) == ("off", "example")
    with EventStore.open("sqlite://") as store:
        ran(store, FIRST)
        [prompt] = ran(store, second()).prompts
        assert "Locks a door" not in prompt
        assert reasons(store) == []


def test_a_module_whose_body_alone_was_mended_is_no_reason_to_plan_anew() -> None:
    with EventStore.open("sqlite://") as store:
        ran(store, FIRST)
        wrote(store, "first", CODE.replace("shut", "closed"))
        assert ran(store, second(), USE).prompts == []


# What is alike in words and unlike in code


OTHER_TEST = Test(path="test_lock.py", source="from lock import lock\n\ndef test(): lock('b')\n")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"goal": "Disable the lock of a door"}, "same goal: other words"),
        ({"goal": "Enable the lock of a  door"}, "same goal: other words"),
        (
            {"requirements": ["a door has a name", "at most 4 tries"]},
            "same request: '- at most 4 tries' in place of '- at most 3 tries'",
        ),
        (
            {"requirements": ["at most 3 tries", "a door has a name"]},
            "same request: the same lines in another order",
        ),
        ({"requirements": ["a door has a name"]}, "nothing in place of '- at most 3 tries'"),
        ({"tests": [OTHER_TEST]}, "same test_lock.py: another text"),
        ({"modules": [{"path": "lock.py"}]}, "in place of nothing"),
    ],
)
def test_a_task_that_differs_sees_an_example_and_the_log_tells_in_what(
    changes: dict[str, Any], why: str
) -> None:
    with EventStore.open("sqlite://") as store:
        ran(store, FIRST)
        [prompt] = ran(store, second(**changes), USE).prompts
        assert "- lock.py: Locks a door." in prompt
        assert planned(store).reused is None
        [reason] = reasons(store)
        assert reason.startswith("no more than an example: ")
        assert reason.endswith(why)


def test_an_example_tells_what_its_task_was_asked_for_otherwise() -> None:
    with EventStore.open("sqlite://") as store:
        ran(store, FIRST)
        changes = {"requirements": ["a door has a name", "at most 4 tries"]}
        [prompt] = ran(store, second(**changes), EXAMPLE).prompts
        assert "It was asked for otherwise: at most 3 tries." in prompt


def test_another_context_is_another_code(caplog: pytest.LogCaptureFixture) -> None:
    with EventStore.open("sqlite://") as store:
        ran(store, FIRST)
        assert len(ran(store, second(context="garden"), USE).prompts) == 1
    assert caplog.messages == ["the plan of task first is not used: same context: house"]


# What has moved on


def test_a_plan_whose_module_moved_on_is_told_as_stale_and_not_even_an_example() -> None:
    with EventStore.open("sqlite://") as store:
        ran(store, FIRST)
        wrote(store, "first", CODE.replace("door: str", "door: str, key: str"))
        moved = store.version("first") - 1
        [prompt] = ran(store, second(), USE).prompts
        assert "Locks a door" not in prompt
        assert reasons(store) == [f"stale: lock.py moved on, by event {moved} of task first"]
        assert [v for v in verified(store, "second") if not v.holds] == []


def test_a_task_of_the_same_context_moves_a_module_on_and_one_of_another_does_not() -> None:
    with EventStore.open("sqlite://") as store:
        ran(store, FIRST)
        for task, context in (("other", "garden"), ("mend", "house")):
            happened(store, task, TaskStarted(goal="mend", context=context))
            wrote(store, task, CODE.replace("def lock", "def shut"))
            happened(store, task, ChecksRan(passed=1, failed=0), TaskComplete())
            templates = offline_cache.templates(fold(offline_cache, store.read()))
            [moved] = [template.moved for template in templates if template.task == "first"]
            assert moved == ("lock.py moved on, by event 2 of task mend" if task == "mend" else "")
        ran(store, second(), USE)
        assert planned(store).reused is None


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ([TaskFailed(reason="it was wrong")], "task first failed since, at event"),
        ([ModuleIteration(module_name="lock.py", iteration=2)], "has another text, not outlined"),
    ],
)
def test_what_happened_to_a_task_since_makes_its_plan_stale(facts: list[Fact], why: str) -> None:
    with EventStore.open("sqlite://") as store:
        ran(store, FIRST)
        happened(store, "first", *facts)
        ran(store, second(), USE)
        assert planned(store).reused is None
        assert [why in reason for reason in reasons(store)] == [True]


# What is broken


def finished(*facts: Fact, goal: str = "Enable the lock of a door") -> EventStore:
    """A store with one task that ended complete, as a foreign log may tell it."""
    store = EventStore.open("sqlite://")
    done = (ModuleIteration(module_name="lock.py", iteration=1), ChecksRan(passed=1, failed=0))
    happened(store, "first", TaskStarted(goal=goal), *facts, *done, TaskComplete())
    return store


def plan_of(*modules: tuple[str, Sequence[str]], purpose: str = "Locks.") -> PlanningComplete:
    made = (PlannedModule(path=p, purpose=purpose, dependencies=tuple(n)) for p, n in modules)
    return PlanningComplete(planned=tuple(made))


@pytest.mark.parametrize(
    ("fact", "problem"),
    [
        (plan_of(("../lock.py", [])), "'../lock.py' is no path inside the task's folder"),
        (plan_of(("/etc/lock.py", [])), "'/etc/lock.py' is no path inside the task's folder"),
        (
            plan_of(("lock.py", ["key.py"]), ("key.py", ["lock.py"])),
            "'lock.py' needs 'key.py', which is behind it or in a cycle",
        ),
        (plan_of(("lock.py", ["key.py"])), "'lock.py' needs 'key.py', which is not planned"),
        (plan_of(("lock.py", []), ("lock.py", [])), "'lock.py' is planned twice"),
        (plan_of(("lock.py", []), purpose=""), "the purposes of its modules are not in the log"),
        (
            plan_of(("lock.py", []), purpose="MASKED_password_1"),
            "its words are masked in this log",
        ),
        (
            UnknownFact(kind="PLANNING_COMPLETE", kind_version=7, payload={}),
            "its plan is of form 7, which this release cannot read",
        ),
        (
            plan_of(*((f"m{n}.py", []) for n in range(201))),
            "it has more than 200 modules",
        ),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_right_is_told_in_one_line_and_never_used(
    fact: Fact, problem: str
) -> None:
    with finished(fact) as store:
        [template] = offline_cache.templates(fold(offline_cache, store.read()))
        assert problem_in(template) == problem
        [prompt] = ran(store, second(), USE).prompts
        assert "Locks." not in prompt
        assert planned(store).reused is None
        assert [reason for reason in reasons(store) if "\n" in reason or not reason] == []
        assert len(reasons(store)) == 1


def test_a_plan_that_was_told_in_words_is_an_example_and_nothing_more() -> None:
    with finished(
        PlanLearned.model_validate({"name": "n", "text": "Begin with the key."})
    ) as store:
        [prompt] = ran(store, second(), USE).prompts
        assert "Begin with the key." in prompt
        assert reasons(store) == ["no more than an example: sound plan: it is told in words only"]


def test_a_plan_that_this_task_refuses_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    with EventStore.open("sqlite://") as store:
        ran(store, FIRST)
        happened(store, "house", TaskStarted(goal="A house"))
        wrote(store, "house", "def other(): ...\n")
        assert len(ran(store, second(), USE).prompts) == 1
    assert caplog.messages == [
        "the plan of task first is not used: lock.py has another text in task house"
    ]


def test_a_run_that_was_asking_for_its_plan_goes_on_with_that() -> None:
    class Gone(Double):
        def complete(self, messages: Any, limits: Any, **named: Any) -> Completion:
            raise ModelError("it is gone", "unavailable")

    with EventStore.open("sqlite://") as store:
        ran(store, FIRST)
        start(store, second())
        with pytest.raises(ModelError):
            work(store, "second", Runtime(Gone(), "double", PROFILE, COVERAGE), checks=fulfilled)
        double = Double()
        work(store, "second", Runtime(double, "double", PROFILE, COVERAGE), checks=fulfilled)
        assert len(double.prompts) == 1
        assert planned(store).reused is None


# What a person sees


def test_plans_are_shown_with_what_they_rest_on_and_whether_it_holds(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    with EventStore.open(url, create=True) as store:
        ran(store, FIRST)
        start(store, second())
        start(store, second(task="third", goal="Disable the lock of a door"))

    def shown(*arguments: str) -> str:
        with pytest.raises(SystemExit):
            main(["show", "plans", *arguments, "--store", url])
        return capsys.readouterr().out

    every = shown()
    assert every.startswith("first@")
    assert "keywords  enable, lock, door, most, name, tries" in every
    assert "1. lock.py: Locks a door." in every
    assert 'holds: used where the policy says plans = "use"' in shown("second")
    third = shown("third")
    assert ": an example; " in third
    assert "FAILS" in third
    assert "same goal: other words" in third
    [line] = shown("third", "--json").splitlines()
    failing = [check for check in json.loads(line)["preconditions"] if not check["holds"]]
    assert [check["what"] for check in failing] == ["same goal"]
    with EventStore.open(url) as store:
        last = store.last_position()
    assert shown(f"@{last}") == every
