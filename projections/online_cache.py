"""What does the running task have in hand: goal, module, failures, nodes it was shown?

The goal, the current module, the last failures, and the nodes that the model was shown. Those hold
at most a number of tokens, as each prompt recorded them: the least in priority go first, those that
somebody asked to see last. When the task is complete the cache is emptied; only the goal and the
counters stay. `working_set` puts the entries in order.
"""

from collections import Counter
from typing import Literal, NamedTuple

from immutables import Map

from backcast.domain.cache import (
    Failure,
    Held,
    asked_of,
    failures_of,
    module_of,
    shortened,
    youngest,
)
from backcast.domain.context import PRIORITIES
from backcast.domain.context_events import ContextBuilt, ContextItem
from backcast.domain.events import (
    AnswerRefused,
    ChecksRan,
    ModelFailed,
    ModelReplied,
    ModuleComplete,
    ModuleDeleted,
    ModuleIteration,
    ModuleRenamed,
    ModuleStarted,
    TaskComplete,
    TaskFailed,
    TaskStarted,
    ToolReturned,
    WorkflowEvent,
)
from backcast.domain.node import SYMBOLS, kind_of, node_id, path_of
from backcast.domain.question_events import step_question
from backcast.domain.score_events import Scored
from backcast.domain.shown_nodes import TOKENS, ShownNode, last_shown, priority_of, shown_in, within

NAME = "online_cache"
VERSION = 4
SCOPE: Literal["task", "store"] = "task"

FAILURES = 5
ITERATIONS = 3
MODULES = 32
"Modules that are remembered, the latest touched ones."


class ModuleIterated(NamedTuple):
    """One iteration of a module."""

    iteration: int
    score: float | None
    source: str | None
    version: int


class TouchedModule(NamedTuple):
    """A module that the task touched lately."""

    started: bool = False
    "Whether it was started and is not complete."
    failed: int = 0
    "Failed checks of its last run."
    iterations: tuple[ModuleIterated, ...] = ()
    "The last iterations, newest first."
    version: int = 0


class CheckOutcome(NamedTuple):
    """The outcome of a run of checks."""

    module: str
    "Empty if the run was about all modules, or does not say which."
    passed: int
    failed: int
    version: int


class Counters(NamedTuple):
    """How often shown nodes were in a cache already; a node counts once a context."""

    online: int = 0
    "Hits in this cache."
    offline: int = 0
    "Hits in the offline cache."
    promotions: int = 0
    "Offline hits of nodes that this cache did not hold: it holds them from then on."
    misses: int = 0
    "Nodes that neither cache held."
    evictions: int = 0
    "Nodes that were dropped because all together were too many, or had too many tokens."


class OnlineCacheState(NamedTuple):
    """The cache of one task."""

    task: str = ""
    goal: str | None = None
    module: str = ""
    "The current module; empty between two."
    iteration: int = 0
    modules: Map[str, TouchedModule] = Map()
    failures: tuple[Failure, ...] = ()
    "Failures, newest first."
    checks: CheckOutcome | None = None
    shown: Map[str, ShownNode] = Map()
    counters: Counters = Counters()
    limit: int = TOKENS
    "Tokens that the shown nodes may have together."


State = OnlineCacheState

initial = State()


class HeldEntry(NamedTuple):
    """One entry of the cache."""

    id: str
    "The node's id; for other entries the kind and the place in the task."
    kind: str
    "task, module, failure, checks, refinement, iteration or node."
    priority: str
    "CRITICAL, HIGH, MEDIUM or LOW."
    version: int = 0
    "The version of the last event about it; 0 for the goal."
    text: str = ""
    blob: str | None = None
    "The blob of its text, if the log has one."
    level: str = ""
    tokens: int = 0
    "Tokens of the shown text, as recorded then; 0 if unknown."
    pinned: bool = False
    "Whether somebody asked to see it: it goes last."


def evolve(state: State, event: WorkflowEvent) -> State:
    """Return the state after one more event."""
    if step_question(event.fact):
        return state  # what a question shows, and what fails in it, is no work on the code
    match event.fact:
        case (
            ModuleStarted(module_name=name)
            | ModuleIteration(module_name=name)
            | ModuleComplete(module_name=name)
        ):
            state = _worked(state, event, name)
        case ModuleDeleted(module_name=name):
            state = _without(state, name)
        case ModuleRenamed() as fact:
            state = _renamed(state, event, fact)
        case ChecksRan() as fact if fact.passed > 0 or fact.unmet > 0:
            state = _checked(state, event, fact)
        case ToolReturned(tool=tool):
            state = _failing(state, event, "tool", shortened(tool))
        case (ModelFailed() | ModelReplied() | AnswerRefused()) as fact:
            state = _failing(state, event, "model", asked_of(fact))
        case TaskFailed():
            state = _failing(state, event, "task")
        case ContextBuilt() as fact:
            state = _shown(state, fact, event.version)
        case TaskStarted(goal=goal):
            state = state._replace(goal=state.goal if goal is None else goal)
        case Scored():
            return state
        case TaskComplete():
            state = State(state.task, state.goal, counters=state.counters)
    return state if state.task else state._replace(task=event.task_id)


def working_set(state: State) -> list[HeldEntry]:
    """Return all entries, most needed first; each id once."""
    latest = [failure for failure in state.failures if not failure.over][:1]
    entries: list[HeldEntry] = []
    if state.goal is not None:
        entries.append(HeldEntry(node_id("task", state.task), "task", "CRITICAL", text=state.goal))
    if state.module:
        entries.append(_module_entry(state, state.module, "module", "CRITICAL"))
    entries += [_failure_entry(failure, "CRITICAL") for failure in latest]
    if checks := state.checks:
        text = f"{checks.passed} of {checks.passed + checks.failed} checks passed"
        text = f"{checks.module}: {text}" if checks.module else text
        entries.append(
            HeldEntry(f"checks@{checks.version}", "checks", "HIGH", checks.version, text)
        )
    entries += [_module_entry(state, path, "refinement", "HIGH") for path in pending(state)]
    for made in iterations(state):
        text = f"{state.module} #{made.iteration}"
        text += "" if made.score is None else f" score {made.score:g}"
        id = f"iteration@{made.version}"
        entries.append(HeldEntry(id, "iteration", "HIGH", made.version, text, made.source))
    last = last_shown(state.shown)
    for node in sorted(state.shown, key=lambda node: (-state.shown[node].version, node)):
        of = state.shown[node]
        priority, place = priority_of(of, last), (of.version, "", of.text, of.level, of.tokens)
        entries.append(HeldEntry(node, "node", priority, *place, of.pinned))
    entries += [_failure_entry(failure, "LOW") for failure in state.failures]
    by_id: dict[str, HeldEntry] = {}
    for entry in sorted(entries, key=lambda entry: PRIORITIES.index(entry.priority)):
        by_id.setdefault(entry.id, entry)
    return list(by_id.values())


def tokens_held(state: State) -> int:
    """Return the tokens of the shown nodes together, as they were recorded."""
    return sum(node.tokens for _, node in state.shown.items())


def pending(state: State) -> list[str]:
    """Return the modules that are incomplete or failing; the latest touched first."""
    undone = [
        p for p in sorted(state.modules) if state.modules[p].started or state.modules[p].failed
    ]
    return sorted(undone, key=lambda path: -state.modules[path].version)


def iterations(state: State) -> tuple[ModuleIterated, ...]:
    """Return the last iterations of the current module, newest first."""
    return state.modules.get(state.module, TouchedModule()).iterations


def held(state: State) -> list[Held]:
    """Return the nodes at hand for a look-up, most needed first."""
    nodes = [e for e in working_set(state) if e.kind in ("task", "module", "refinement", "node")]
    return [Held(e.id, names=(e.text,) if e.kind == "task" else ()) for e in nodes]


def _module_entry(state: State, path: str, kind: str, priority: str) -> HeldEntry:
    module = state.modules.get(path, TouchedModule())
    source = module.iterations[0].source if module.iterations else None
    return HeldEntry(node_id("module", path), kind, priority, module.version, path, source)


def _failure_entry(failure: Failure, priority: str) -> HeldEntry:
    text = ": ".join(filter(None, (failure.at, failure.name, failure.message)))
    id = f"failure@{failure.version}.{failure.number}"
    text = text or f"{failure.kind} failed"
    return HeldEntry(id, "failure", priority, failure.version, text, failure.text)


def _worked(state: State, event: WorkflowEvent, name: str) -> State:
    """Return the state after a module was started, iterated, or completed."""
    module, version = state.modules.get(name, TouchedModule()), event.version
    match event.fact:
        case ModuleIteration(iteration=number, score=score, source=source):
            made = (ModuleIterated(number, score, source, version), *module.iterations)
            module = module._replace(iterations=made[:ITERATIONS])
        case ModuleStarted():
            module = module._replace(started=True)
        case ModuleComplete():
            state = _touched(state, name, version, module._replace(started=False))
            return state._replace(module="", iteration=0) if name == state.module else state
    state = _touched(state, name, version, module)
    number = module.iterations[0].iteration if module.iterations else 0
    return state._replace(module=name, iteration=number)


def _touched(state: State, name: str, version: int, module: TouchedModule) -> State:
    modules = state.modules.set(name, module._replace(version=version))
    return state._replace(modules=youngest(modules, MODULES, lambda module: module.version))


def _without(state: State, name: str) -> State:
    """Return the state without a module and its contents."""
    shown, modules = state.shown, state.modules
    for node in sorted(shown):
        if path_of(node) == name and kind_of(node) in ("module", *SYMBOLS):
            shown = shown.delete(node)
    modules = modules.delete(name) if name in modules else modules
    state = state._replace(modules=modules, shown=shown)
    return state._replace(module="", iteration=0) if name == state.module else state


def _renamed(state: State, event: WorkflowEvent, fact: ModuleRenamed) -> State:
    before = state.modules.get(fact.previous_name, TouchedModule())
    made = ModuleIterated(fact.iteration, None, fact.source, event.version)
    module = before._replace(iterations=(made, *before.iterations)[:ITERATIONS])
    followed = state.module == fact.previous_name
    failures = tuple(
        failure._replace(at=fact.module_name) if failure.at == fact.previous_name else failure
        for failure in state.failures
    )
    state = _without(state._replace(failures=failures), fact.previous_name)
    state = _touched(state, fact.module_name, event.version, module)
    if followed:
        return state._replace(module=fact.module_name, iteration=fact.iteration)
    return state


def _checked(state: State, event: WorkflowEvent, fact: ChecksRan) -> State:
    """Return the state after a run of checks; a run that names no module is about the current one.

    If all checks passed, it is about all modules.
    """
    at, passed, failed = module_of(fact), fact.passed, fact.unmet
    state = _failing(state, event, "checks", at)
    state = state._replace(checks=CheckOutcome(at, passed, failed, event.version))
    if failed <= 0 and not at:
        modules = state.modules
        for path in [path for path in sorted(modules) if modules[path].failed]:
            modules = modules.set(path, modules[path]._replace(failed=0))
        return state._replace(modules=modules)
    if name := at or state.module:
        module = state.modules.get(name, TouchedModule())
        return _touched(state, name, event.version, module._replace(failed=max(0, failed)))
    return state


def _failing(state: State, event: WorkflowEvent, kind: str, at: str = "") -> State:
    """Return the state after a try: its earlier failures are over, and new ones are added."""
    whole = kind == "checks" and not at
    before = tuple(
        failure._replace(over=True)
        if failure.kind == kind and (whole or failure.at == at)
        else failure
        for failure in state.failures
    )
    return state._replace(failures=(failures_of(event) + before)[:FAILURES])


def _shown(state: State, fact: ContextBuilt, version: int) -> State:
    """Return the state after a context was shown: its nodes are at hand."""
    counted, once, held = Counter[str](), dict[str, ContextItem](), state.shown
    for item in fact.items:
        once.setdefault(item.node, item)
    with held.mutate() as changing:
        for node, item in once.items():
            changing[node] = shown = shown_in(fact, item, version, held.get(node))
            counted[shown.found] += 1
            counted["promoted"] += shown.found == "offline" and node not in held
        held = changing.finish()
    limit = max(state.limit, sum(max(0, item.tokens) for item in once.values()))
    kept = within(held, limit, version)
    before = state.counters
    counters = Counters(
        before.online + counted["online"],
        before.offline + counted["offline"],
        before.promotions + counted["promoted"],
        before.misses + counted["made"],
        before.evictions + len(held) - len(kept),
    )
    return state._replace(shown=kept, counters=counters, limit=limit)
