"""Plans of finished tasks that are used again: false hits, and what true ones save.

Each task of a fixed list is run once, its code checked in the sandbox. Then tasks that are alike in
words and unlike in code, and tasks that differ in nothing that a plan rests on, are begun in copies
of that store, up to their plan. The control is the same tasks under a policy without plans, and
beside our match a cache that compares words, as agentic plan caching does, from a threshold on.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from shutil import copyfile
from statistics import median
from typing import Any, NamedTuple

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.errors import ModelError
from backcast.domain.events import (
    CheckFailure,
    ChecksRan,
    ContextBuilt,
    ModuleDeleted,
    ModuleIteration,
    PlanningComplete,
    RequirementsComplete,
    TaskComplete,
    TaskFailed,
    TaskStarted,
)
from backcast.domain.plans import OF_PLAN
from backcast.domain.policy import DEFAULT, Policy
from backcast.engine.context.plan_examples import like_plans, situation
from backcast.engine.history.follow import TaskFollower
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from backcast.engine.memory.outlines import Outlining
from backcast.engine.models import NOTHING, Call, Completion, Limits, Message
from backcast.engine.models.tokenizers import counted_by, tokenizer_of
from backcast.engine.workflow.decide import AskModel
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.prompts import PromptBuilder, RunningTask
from backcast.engine.workflow.requests import request_of
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.spec import RunLimits, Spec, SpecModule, Test
from scripts.benches.figures import Bench, Bound, Figure

GROUP = "plans of finished tasks"
FEW = 8
"Tasks without --full."
LIKE_ENOUGH = (0.9, 0.8)
"Shares of equal words from which on the control uses a plan."
ROUNDS, BUILDS = 9, 20
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


class Outcome(NamedTuple):
    """What came of the plan of a second task."""

    kind: str
    used: bool
    example: bool
    why: str
    "Why the finished task's plan was not used, as the log tells it."
    words: float
    "The share of words that both tasks have in common."
    prompt: int
    answer: int
    calls: int


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    worlds = [_world(bench.folder, *task) for task in (TASKS if bench.full else TASKS[:FEW])]
    unlike = [(world, pair) for world in worlds for pair in _unlike(world.spec)]
    alike = [(world, pair) for world in worlds for pair in _alike(world.spec)]
    bench.say(f"{len(worlds)} tasks, {len(unlike)} unlike and {len(alike)} alike ones")
    work_file = bench.folder / "pair.db"
    false, true = (
        [_begun(work_file, world, pair, USE) for world, pair in pairs] for pairs in (unlike, alike)
    )
    control = [_begun(work_file, world, pair, OFF) for world, pair in alike]
    return [
        *_hits(false, true, control), *_savings(true, control), _cost(bench, worlds),
    ]  # fmt: skip


def _world(folder: Path, verb: str, noun: str, n: int) -> World:
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


def _unlike(spec: Spec) -> list[Pair]:
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
        Pair("interface moved by itself", _named(spec), _moved_by_itself),
        Pair("interface moved by another", _named(spec), _moved_by_another),
        Pair("module deleted", _named(spec), _module_deleted),
        Pair("failed since", _named(spec), _failed_since),
        Pair("checks fail since", _named(spec), _checks_fail),
    ]  # fmt: skip


def _alike(spec: Spec) -> list[Pair]:
    """Return tasks that a person would call the same, each by one rule."""
    rules, goal = list(spec.requirements), spec.goal
    first, second = spec.tests
    commented = second.model_copy(update={"source": f"# the rule\n{second.source}"})
    return [
        Pair("the same again", _named(spec)),
        _pair(spec, "more blanks", goal=goal.replace(" ", "  ")),
        _pair(spec, "requirements in another order", requirements=rules[::-1]),
        _pair(spec, "stops at the ends", requirements=[f"{rule}." for rule in rules]),
        _pair(spec, "other limits", limits=RunLimits(iterations=3, repairs=2)),
        _pair(spec, "a comment in a test", tests=(first, commented)),
        Pair("code mended, same interface", _named(spec), _body_changed),
        Pair("an unlike task in between", _named(spec), _unlike_between),
    ]  # fmt: skip


def _named(spec: Spec) -> Spec:
    return spec.model_copy(update={"task": "second"})


def _pair(spec: Spec, kind: str, **changes: Any) -> Pair:
    if "requirements" in changes:
        changes["requirements"] = tuple(changes["requirements"])
    return Pair(kind, Spec.model_validate({**_named(spec).model_dump(), **changes}))


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


def _begun(file: Path, world: World, pair: Pair, policy: Policy) -> Outcome:
    """Begin a second task in a copy of a store, up to its plan."""
    copyfile(world.store, file)
    with EventStore.open(f"sqlite:///{file}") as store:
        if pair.change:
            pair.change(store, world.spec)
        start(store, pair.spec)
        model = Scripted(_plan_for(world, pair.spec), {}, only_plan=True)
        with suppress(ModelError):
            work(store, pair.spec.task, Runtime(model, "scripted", PROFILE, policy))
        events = list(store.read(pair.spec.task))
        used = next(e.fact for e in events if isinstance(e.fact, PlanningComplete)).reused
        built = [e.fact for e in events if isinstance(e.fact, ContextBuilt)]
        asked = built[: model.asked.count("plan")]
        nodes = [item.node for fact in asked for item in fact.items]
        why = [o.reason for fact in asked for o in fact.omissions if o.node.startswith(OF_PLAN)]
        follower = TaskFollower(store, pair.spec.task)
        follower.read_on()
        request = request_of(AskModel("plan"), follower.stands, pair.spec)
        like = like_plans(follower.states, situation(follower.states, request))
        words = next(one.words for one in like if one.template.task == world.spec.task)
        answer = tokenizer_of(PROFILE.tokenizer).count(model.plan)
    return Outcome(
        pair.kind, used is not None, any(node.startswith(OF_PLAN) for node in nodes),
        "; ".join(why), words, sum(fact.tokens or 0 for fact in asked),
        answer * len(asked), model.asked.count("plan"),
    )  # fmt: skip


def _plan_for(world: World, spec: Spec) -> str:
    """Return a plan that a second task can take, whatever it names."""
    if not spec.modules:
        return world.plan
    modules = [
        {"path": module.path, "purpose": "Its part.", "dependencies": [], "tests": []}
        for module in spec.modules
    ]
    return json.dumps({"modules": modules})


def _hits(
    false: Sequence[Outcome], true: Sequence[Outcome], control: Sequence[Outcome]
) -> list[Figure]:
    """Return the figures of false and true hits, ours beside a cache that compares words."""
    by_words = {
        least: (sum(o.words >= least for o in false), sum(o.words >= least for o in true))
        for least in LIKE_ENOUGH
    }
    beside = "; ".join(
        f"words alike from {least:.0%} on: {wrong} false, {right} true"
        for least, (wrong, right) in by_words.items()
    )
    kinds = sorted({outcome.kind for outcome in true if not outcome.used})
    silent = [outcome for outcome in false if not (outcome.used or outcome.why or outcome.example)]
    return [
        Figure(
            GROUP, "unlike tasks whose plan is another's (false hits)", [_count(false, "used")],
            "tasks", ours=f"of {len(false)}", control=beside, must=Bound("<=", 0),
        ),
        Figure(
            GROUP, "unlike tasks to which nothing is said of it", [len(silent)], "tasks",
            ours=f"of {len(false)}", must=Bound("<=", 0),
        ),
        Figure(
            GROUP, "unlike tasks that see the plan as an example", [_share(false, "example")], "%",
            ours=f"{_count(false, 'example')} of {len(false)}; stale ones see none",
        ),
        Figure(
            GROUP, "alike tasks whose plan is the finished one's", [_share(true, "used")], "%",
            ours=f"{_count(true, 'used')} of {len(true)}; not: {', '.join(kinds) or '-'}",
            control=f"without plans {_count(control, 'used')}",
        ),
        Figure(
            GROUP, "other alike tasks that see it as an example",
            [_share([outcome for outcome in true if not outcome.used], "example")], "%",
        ),
    ]  # fmt: skip


def _savings(true: Sequence[Outcome], control: Sequence[Outcome]) -> list[Figure]:
    """Return what used plans save, beside the same tasks that ask a model."""
    pairs = [(own, other) for own, other in zip(true, control, strict=True) if own.used]
    calls = [float(other.calls - own.calls) for own, other in pairs]
    tokens = [float(other.prompt + other.answer - own.prompt - own.answer) for own, other in pairs]
    shown = [
        float(own.prompt - other.prompt)
        for own, other in zip(true, control, strict=True) if own.example and not own.used
    ]  # fmt: skip
    return [
        Figure(GROUP, "calls that a used plan saves", calls, "calls", control="without plans 0"),
        Figure(GROUP, "tokens that it saves, prompt and answer", tokens, "tokens"),
        Figure(GROUP, "tokens that an example takes", shown, "tokens",
               why="" if shown else "none is shown"),
    ]  # fmt: skip


def _cost(bench: Bench, worlds: Sequence[World]) -> Figure:
    """Return the time to build a prompt for a plan with examples, beside one without."""
    times: dict[str, list[float]] = {OFF.name: [], USE.name: []}
    with EventStore.open(f"sqlite:///{worlds[0].store}") as store:
        spec = _named(worlds[0].spec).model_copy(update={"task": "built"})
        start(store, spec)
        task = RunningTask(store, spec.task)
        task.read_on()
        task.outline()
        request = request_of(AskModel("plan"), task.stands, spec)
        builders = [PromptBuilder(task, PROFILE, policy) for policy in (OFF, USE)]
        for _ in range(ROUNDS):
            for builder in builders:
                begin = time.process_time()
                for _ in range(BUILDS):
                    builder.build(request)
                times[builder.policy.name].append(time.process_time() - begin)
    more = [1000 * (a - b) / BUILDS for a, b in zip(times["use"], times["off"], strict=True)]
    alone = 1000 * median(times["off"]) / BUILDS
    return Figure(
        GROUP, "time that an example adds to a plan's prompt", more, "ms",
        ours="once in a task; a prompt for code has none",
        control=f"the prompt without it takes {alone:.2f} ms",
    )  # fmt: skip


def _count(outcomes: Sequence[Outcome], name: str) -> int:
    return sum(getattr(outcome, name) for outcome in outcomes)


def _share(outcomes: Sequence[Outcome], name: str) -> float:
    return 100 * _count(outcomes, name) / (len(outcomes) or 1)
