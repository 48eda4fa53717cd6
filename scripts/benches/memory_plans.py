"""Plans of finished tasks that are used again: false hits, and what true ones save.

Each task of a fixed list is run once, its code checked in the sandbox. Then tasks that are alike in
words and unlike in code, and tasks that a person would call the same, are begun in copies of that
store, up to their plan. The control is the same tasks under a policy without plans, and beside our
match a cache that compares words, as agentic plan caching does, from a threshold on.
"""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from shutil import copyfile
from statistics import median
from typing import NamedTuple

from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import ModelError
from backcast.domain.events import PlanningComplete
from backcast.domain.plans import OF_PLAN
from backcast.domain.policy import Policy
from backcast.engine.context.plan_examples import like_plans, situation
from backcast.engine.history.follow import TaskFollower
from backcast.engine.log.store import EventStore
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.workflow.decide import AskModel
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.prompts import PromptBuilder, RunningTask
from backcast.engine.workflow.requests import request_of
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.spec import Spec
from scripts.benches.figures import Bench, Bound, Figure
from scripts.benches.memory_plans_tasks import (
    OFF,
    PROFILE,
    TASKS,
    USE,
    Pair,
    Scripted,
    World,
    alike,
    finished_world,
    named,
    unlike,
)

GROUP = "plans of finished tasks"
FEW = 8
"Tasks without --full."
LIKE_ENOUGH = (0.9, 0.8)
"Shares of equal words from which on the control uses a plan."
ROUNDS, BUILDS = 9, 20


class PlanOutcome(NamedTuple):
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
    tasks = TASKS if bench.full else TASKS[:FEW]
    worlds = [finished_world(bench.folder, *task) for task in tasks]
    others = [(world, pair) for world in worlds for pair in unlike(world.spec)]
    same = [(world, pair) for world in worlds for pair in alike(world.spec)]
    bench.say(f"{len(worlds)} tasks, {len(others)} unlike and {len(same)} alike ones")
    work_file = bench.folder / "pair.db"
    false, true = (
        [_begun(work_file, world, pair, USE) for world, pair in pairs] for pairs in (others, same)
    )
    control = [_begun(work_file, world, pair, OFF) for world, pair in same]
    return [
        *_hits(false, true, control), *_savings(true, control), _cost(bench, worlds),
    ]  # fmt: skip


def _begun(file: Path, world: World, pair: Pair, policy: Policy) -> PlanOutcome:
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
    return PlanOutcome(
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
    false: Sequence[PlanOutcome], true: Sequence[PlanOutcome], control: Sequence[PlanOutcome]
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


def _savings(true: Sequence[PlanOutcome], control: Sequence[PlanOutcome]) -> list[Figure]:
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
        spec = named(worlds[0].spec).model_copy(update={"task": "built"})
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


def _count(outcomes: Sequence[PlanOutcome], name: str) -> int:
    return sum(getattr(outcome, name) for outcome in outcomes)


def _share(outcomes: Sequence[PlanOutcome], name: str) -> float:
    return 100 * _count(outcomes, name) / (len(outcomes) or 1)
