"""Tasks of a fixed list that are finished in a store, and tasks that are like them.

Each is made by one rule: some differ in what a plan rests on, some in nothing that it does.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.errors import ModelError
from backcast.domain.events import (
    CheckFailure,
    ChecksRan,
    ModuleDeleted,
    ModuleIteration,
    PlanningComplete,
    RequirementsComplete,
    TaskComplete,
    TaskFailed,
    TaskStarted,
)
from backcast.domain.policy import DEFAULT
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from backcast.engine.memory.outlines import Outlining
from backcast.engine.models import NOTHING, Call, Completion, Limits, Message
from backcast.engine.models.tokenizers import counted_by
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.spec import RunLimits, Spec, SpecModule, Test

PROFILE = MISTRAL_7B_8K._replace(tokenizer=counted_by(MISTRAL_7B_8K.tokenizer))
OFF, USE = (DEFAULT.model_copy(update={"name": name, "plans": name}) for name in ("off", "use"))


TASKS = [
    (verb, noun, number)
    for number, noun in enumerate(("prices", "scores", "ages", "counts", "marks"), 3)
    for verb in ("lift", "lower", "limit", "enable")
]
"What the tasks do with what; `enable` is the verb whose contrary is nearly the same word."
RULES: Mapping[str, tuple[str, str, str]] = {
    "lift": ("each of the {noun} is {n} more", "[x + {n} for x in values]", "lower"),
    "lower": ("each of the {noun} is {n} less", "[x - {n} for x in values]", "lift"),
    "limit": ("{noun} above {n} become {n}", "[min(x, {n}) for x in values]", "allow"),
    "enable": ("{noun} from {n} on are enabled", "[x for x in values if x >= {n}]", "disable"),
}
"Per verb its requirement, its code, and a verb that says something else."
READ = '''"""Reads {noun}."""


def read(text: str) -> list[int]:
    """Return the whole numbers of a text."""
    return [int(part) for part in text.split(",") if part.strip()]
'''
RULE = '''"""Works on {noun}."""

from {noun} import read


def {verb}(text: str) -> list[int]:
    """Return what becomes of the numbers of a text."""
    values = read(text)
    return {code}
'''
READ_TEST = "from {noun} import read\n\n\ndef test_read():\n    assert read('1,2') == [1, 2]\n"
RULE_TEST = (
    "from {verb}_{noun} import {verb}\n\n\n"
    "def test_{verb}():\n    assert {verb}('1,9') == {value}\n"
)


class Scripted:
    """A double of a model that knows the plan and the code of one task."""

    id = "scripted"

    def __init__(self, plan: str, code: Mapping[str, str], *, only_plan: bool = False) -> None:
        self.plan, self.code, self.only_plan, self.asked = plan, code, only_plan, list[str]()

    def complete(
        self,
        messages: Sequence[Message],
        limits: Limits,
        *,
        schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        call: Call = NOTHING,
    ) -> Completion:
        """Return the plan or a module; the run stops at the first module where only plans count."""
        self.asked.append(call.kind)
        if call.kind == "plan":
            return Completion(self.plan)
        if self.only_plan:
            raise ModelError("only plans are measured", "unavailable")
        return Completion(f"```python {call.module}\n{self.code[call.module]}```\n")


class World(NamedTuple):
    """A task that is finished in a store, and the double that wrote it."""

    spec: Spec
    plan: str
    code: Mapping[str, str]
    store: Path


class Pair(NamedTuple):
    """A second task beside the finished one."""

    kind: str
    spec: Spec
    change: Callable[[EventStore, Spec], None] | None = None
    "What happens in the store in between."


def finished_world(folder: Path, verb: str, noun: str, n: int) -> World:
    """Run one task to its end, and return it."""
    rule, body, _ = RULES[verb]
    path, code = f"{verb}_{noun}.py", body.format(n=n)
    value = eval(code, {"values": [1, 9]})
    spec = Spec(
        task=f"{verb}-{noun}", goal=f"Write a tool to {verb} {noun} that people type",
        context=f"{noun}-shop",
        requirements=(
            f"a text holds {noun} as whole numbers with commas between",
            rule.format(noun=noun, n=n),
            f"an empty text has no {noun}",
        ),
        tests=(
            Test(path=f"test_{noun}.py", source=READ_TEST.format(noun=noun)),
            Test(path=f"test_{path}",
                 source=RULE_TEST.format(verb=verb, noun=noun, value=value)),
        ),
    )  # fmt: skip
    modules = [
        {"path": f"{noun}.py", "purpose": f"Reads {noun}.", "dependencies": [],
         "tests": [f"test_{noun}.py"]},
        {"path": path, "purpose": f"Is there to {verb} {noun}.", "dependencies": [f"{noun}.py"],
         "tests": [f"test_{path}"]},
    ]  # fmt: skip
    plan = json.dumps({"modules": modules})
    texts = {f"{noun}.py": READ.format(noun=noun),
             path: RULE.format(verb=verb, noun=noun, code=code)}  # fmt: skip
    store = folder / f"{spec.task}.db"
    store.unlink(missing_ok=True)
    with EventStore.open(f"sqlite:///{store}") as opened:
        start(opened, spec)
        stands = work(opened, spec.task, Runtime(Scripted(plan, texts), "scripted", PROFILE, OFF))
        if stands.status != "complete":
            raise AssertionError(f"{spec.task} is {stands.status}: {stands.reason}")
    return World(spec, plan, texts, store)


def unlike(spec: Spec) -> list[Pair]:
    """Return tasks that are alike in words and unlike in code, each by one rule."""
    verb, noun = spec.task.split("-")
    contrary, rules = RULES[verb][2], list(spec.requirements)
    numbers = [word for word in rules[1].split() if word.isdigit()]
    swapped = rules[1].replace(numbers[0], str(int(numbers[0]) + 1))
    first, second = spec.tests
    moved_test = second.model_copy(update={"source": second.source.replace("'1,9'", "'2,9'")})
    renamed = second.model_copy(
        update={"source": second.source.replace(f"{verb}_{noun} ", f"{noun}_rules ")}
    )
    modules = (SpecModule(path=f"{noun}_in.py"), SpecModule(path=f"{verb}_{noun}.py"))
    goal = spec.goal
    return [
        _pair(spec, "contrary verb", goal=goal.replace(f" {verb} ", f" {contrary} ")),
        _pair(spec, "negated verb", goal=goal.replace(f"to {verb}", f"not to {verb}")),
        _pair(spec, "negated requirement", requirements=[rules[0], f"not {rules[1]}", rules[2]]),
        _pair(spec, "changed requirement", requirements=[
            rules[0].replace("whole", "decimal"), *rules[1:]]),
        _pair(spec, "one requirement less", requirements=rules[:2]),
        _pair(spec, "one requirement more", requirements=[*rules, "blanks are refused"]),
        _pair(spec, "swapped number", requirements=[rules[0], swapped, rules[2]]),
        _pair(spec, "other order", requirements=[
            f"then {rules[1]}", f"first {rules[0]}", rules[2]]),
        _pair(spec, "other tests", tests=(first, moved_test)),
        _pair(spec, "one test more", tests=(first, second, Test(
            path="test_more.py", source=f"from {noun} import read\n\n\ndef test():\n"
            "    assert read('') == []\n"))),
        _pair(spec, "other module imported", tests=(first, renamed)),
        _pair(spec, "other modules named", modules=modules),
        _pair(spec, "other context", context=f"{noun}-store"),
        Pair("interface moved by itself", named(spec), _moved_by_itself),
        Pair("interface moved by another", named(spec), _moved_by_another),
        Pair("module deleted", named(spec), _module_deleted),
        Pair("failed since", named(spec), _failed_since),
        Pair("checks fail since", named(spec), _checks_fail),
    ]  # fmt: skip


def alike(spec: Spec) -> list[Pair]:
    """Return tasks that a person would call the same, each by one rule."""
    rules, goal = list(spec.requirements), spec.goal
    first, second = spec.tests
    commented = second.model_copy(update={"source": f"# the rule\n{second.source}"})
    return [
        Pair("the same again", named(spec)),
        _pair(spec, "more blanks", goal=goal.replace(" ", "  ")),
        _pair(spec, "requirements in another order", requirements=rules[::-1]),
        _pair(spec, "stops at the ends", requirements=[f"{rule}." for rule in rules]),
        _pair(spec, "other limits", limits=RunLimits(iterations=3, repairs=2)),
        _pair(spec, "a comment in a test", tests=(first, commented)),
        Pair("code mended, same interface", named(spec), _body_changed),
        Pair("an unlike task in between", named(spec), _unlike_between),
    ]  # fmt: skip


def named(spec: Spec) -> Spec:
    return spec.model_copy(update={"task": "second"})


def _pair(spec: Spec, kind: str, **changes: Any) -> Pair:
    if "requirements" in changes:
        changes["requirements"] = tuple(changes["requirements"])
    return Pair(kind, Spec.model_validate({**named(spec).model_dump(), **changes}))


def _wrote(store: EventStore, task: str, path: str, text: str, *after: Any) -> None:
    """Append one more version of a module to a task, with its outline, and other facts."""
    body = Blob(text.encode())
    version = store.version(task)
    facts = [ModuleIteration(module_name=path, iteration=9, source=body.ref)]
    store.append(task, facts, after=version, blobs=[body])
    Outlining(store, task).catch_up()
    if after:
        store.append(task, after, after=store.version(task))


def _moved_by_itself(store: EventStore, spec: Spec) -> None:
    path, noun = _reader(spec)
    _wrote(store, _task(store), path, READ.format(noun=noun).replace("(text:", "(text, base:"))


def _moved_by_another(store: EventStore, spec: Spec) -> None:
    path, noun = _reader(spec)
    store.append("another", [TaskStarted(goal="mend it", context=spec.context)], after=0)
    text = READ.format(noun=noun).replace("def read(", "def parse(")
    _wrote(store, "another", path, text, ChecksRan(passed=1, failed=0), TaskComplete())


def _module_deleted(store: EventStore, spec: Spec) -> None:
    path, _ = _reader(spec)
    task = _task(store)
    facts = [ModuleDeleted(module_name=path), TaskComplete()]
    store.append(task, facts, after=store.version(task))


def _failed_since(store: EventStore, spec: Spec) -> None:
    task = _task(store)
    store.append(task, [TaskFailed(reason="it was found wrong")], after=store.version(task))


def _checks_fail(store: EventStore, spec: Spec) -> None:
    path, noun = _reader(spec)
    failed = ChecksRan(passed=1, failed=1, failures=(CheckFailure(name="t", message="no"),))
    text = READ.format(noun=noun).replace("-> list[int]", "-> list[str]")
    _wrote(store, _task(store), path, text, failed, TaskComplete())


def _body_changed(store: EventStore, spec: Spec) -> None:
    path, noun = _reader(spec)
    _wrote(store, _task(store), path, READ.format(noun=noun).replace("part.strip()", "part"))


def _unlike_between(store: EventStore, spec: Spec) -> None:
    facts = [
        TaskStarted(goal="Draw a map of the town", context="town"),
        RequirementsComplete.model_validate({"requirements": ["streets have names"]}),
        PlanningComplete.model_validate({"planned": [{"path": "town.py", "purpose": "Draws."}]}),
        TaskComplete(),
    ]
    store.append("town", facts, after=0)


def _reader(spec: Spec) -> tuple[str, str]:
    noun = spec.tests[0].path.removeprefix("test_").removesuffix(".py")
    return f"{noun}.py", noun


def _task(store: EventStore) -> str:
    """Return the finished task of a world's store."""
    return store.tasks()[0]
