"""What have finished tasks contributed for later ones?

A task's contribution is gathered while it runs, in bounded room, and offered at TASK_COMPLETE; a
task that continues offers a new one when it completes again. Modules that are complete before their
task is are told apart, as unfinished work. At TASK_FAILED the contribution is
kept apart, as work that failed. Summaries, plans and outlines recorded after a task's end extend
its contribution. A branch contributes nothing: it only tries what could have been. The questions
below are about completed tasks, the latest first, unless they say otherwise.
"""

from typing import Literal, NamedTuple

from immutables import Map

from backcast.domain.cache import Failure, Held, shortened
from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import (
    Branched,
    ChecksRan,
    Fact,
    ModuleComplete,
    ModuleDeleted,
    ModuleIteration,
    ModuleOutlined,
    ModuleRenamed,
    PlanningComplete,
    RequirementsComplete,
    SourceRead,
    TaskComplete,
    TaskFailed,
    TaskStarted,
    UnknownFact,
    WorkflowEvent,
)
from backcast.domain.gathered import (
    IN_MODULES,
    Fix,
    LatestModule,
    Plan,
    TaskLegacy,
    WrittenSummary,
    bounded,
    gathered,
)
from backcast.domain.memory_events import PlanLearned, SummaryWritten
from backcast.domain.node import Reference, kind_of, name_of, node_id, path_of
from backcast.domain.plan_templates import templates_of
from backcast.domain.plans import PlanTemplate, asks_for_plan

NAME = "offline_cache"
VERSION = 3
SCOPE: Literal["task", "store"] = "store"

RUNNING = 256
"Running tasks that are gathered from at once; beyond that, the least recently active are dropped."


class OfflineCacheState(NamedTuple):
    """Contributions of ended tasks, and of running tasks so far; by task."""

    running: Map[str, TaskLegacy] = Map()
    complete: Map[str, TaskLegacy] = Map()
    failed: Map[str, TaskLegacy] = Map()
    "Tasks that failed and have not completed since."
    branches: Map[str, str] = Map()
    "Branches and their origins; empty for an unknown origin."


State = OfflineCacheState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """Return the state after one more event."""
    task, fact = event.task_id, event.fact
    # Not by isinstance, which takes a microsecond for each of them.
    if type(fact) not in _GATHERED or task in state.branches:
        return state
    if isinstance(fact, Branched):
        return _branched(state, task, fact.origin or "")
    running, complete, failed, _ = state
    if type(fact) in _BESIDE and not _bears_on_plan(fact, task, state):
        return state
    before = running.get(task) or failed.get(task) or complete.get(task) or TaskLegacy()
    after = gathered(before, event)
    if isinstance(fact, DERIVED) and task not in running:
        if task in failed:
            return state._replace(failed=failed.set(task, after))
        if task in complete:
            return state._replace(complete=complete.set(task, after))
    after = after._replace(version=event.version, position=event.position)
    if not isinstance(fact, TaskComplete | TaskFailed):
        running = bounded(running.set(task, after), RUNNING, lambda task: task.position)
        return state._replace(running=running)
    running = _without(running, task)
    if isinstance(fact, TaskFailed):
        after = after._replace(reason=shortened(fact.reason) or None)
        return state._replace(running=running, failed=failed.set(task, after))
    complete = complete.set(task, after._replace(reason=None))
    return state._replace(running=running, complete=complete, failed=_without(failed, task))


def _bears_on_plan(fact: Fact, task: str, state: State) -> bool:
    """Return whether a fact may tell of the plan of a task that has not ended."""
    if task not in state.running:
        return False
    match fact:
        case ContextBuilt(query=query):
            return query is not None and asks_for_plan(query)
        case UnknownFact(kind=kind):
            return kind == "PLANNING_COMPLETE"
    return not state.running[task].planning.modules


def _branched(state: State, task: str, origin: str) -> State:
    """Drop the contribution from the events that a branch was copied with."""
    running, complete, failed = (_without(tasks, task) for tasks in state[:3])
    return State(running, complete, failed, state.branches.set(task, origin))


def _without(tasks: Map[str, TaskLegacy], task: str) -> Map[str, TaskLegacy]:
    return tasks.delete(task) if task in tasks else tasks


DERIVED = (ModuleOutlined, SummaryWritten, PlanLearned)
"Event types that change what finished tasks contribute."
_GATHERED = frozenset((
    *DERIVED, Branched, TaskStarted, ModuleIteration, ModuleRenamed, ModuleDeleted, ChecksRan,
    ModuleComplete, TaskComplete, TaskFailed, RequirementsComplete, PlanningComplete, SourceRead,
    ContextBuilt, UnknownFact,
))  # fmt: skip
_BESIDE = frozenset((SourceRead, ContextBuilt, UnknownFact))
"Types of fact few of which tell of a plan."


class Finished(NamedTuple):
    """A task that ended."""

    task: str
    goal: str | None
    outcome: str
    "complete or failed, whichever came last."
    reason: str | None
    modules: tuple[str, ...]
    passed: int
    failed: int
    "Failed checks of the last run."
    failing: tuple[Failure, ...]
    "Failed checks that were never fixed."
    version: int
    "The version of the event that ended it."
    position: int


class Unfinished(NamedTuple):
    """A module that was completed while its task goes on, which may yet change it, or fail."""

    module: str
    iteration: int
    source: str | None
    task: str
    goal: str | None
    position: int
    "The position of its latest iteration."


class Left(NamedTuple):
    """A node that a task contributed."""

    node: str
    kind: str
    task: str
    text: str = ""
    "Its latest summary; empty for none."
    tokens: int | None = None
    position: int = 0
    "The position of the summary, else of the latest iteration of its module."


class Solution(NamedTuple):
    """How a problem was solved once."""

    task: str
    problem: str
    summary: str
    code: tuple[Left, ...]
    references: tuple[str, ...]


class Library(NamedTuple):
    """A library that modules of finished tasks use."""

    name: str
    text: str
    "The latest summary of it."
    users: tuple[str, ...]
    "References to the modules that use it, those of the latest task first."


def finished(state: State) -> list[Finished]:
    """Return all tasks that ended, complete or failed, the latest first."""
    ended = {**_by_task(state.complete), **_by_task(state.failed)}
    tasks = [
        Finished(
            task, of.goal, "failed" if task in state.failed else "complete", of.reason,
            modules=tuple(sorted(of.modules)), passed=of.passed, failed=of.failed,
            failing=of.open, version=of.version, position=of.position,
        )
        for task, of in ended.items()
    ]  # fmt: skip
    return sorted(tasks, key=lambda task: (-task.position, task.task))


def unfinished(state: State) -> list[Unfinished]:
    """Return the completed modules of tasks that go on, the latest first: no prompt shows them.

    Of a task that was complete before, those that it has iterated since.
    """
    modules = [
        Unfinished(path, module.iteration, module.source, task, of.goal, module.position)
        for task, of in sorted(state.running.items())
        for path, module in sorted(of.modules.items())
        if module.complete and module.version > _ended(state, task)
    ]
    return sorted(modules, key=lambda module: (-module.position, module.module))


def _ended(state: State, task: str) -> int:
    """Return the version at which a task ended last; 0 where it did not."""
    ends = [tasks[task].version for tasks in (state.complete, state.failed) if task in tasks]
    return max(ends, default=0)


def nodes_left(state: State) -> list[Left]:
    """Return the task, modules, functions and other nodes of each task, sorted within a task."""
    return [left for task, of in _by_task(state.complete).items() for left in _left(task, of)]


def held(state: State) -> list[Held]:
    """Return the contributed nodes for a look-up; of equal ids the latest task's first."""
    goals = {node_id("task", task): of.goal for task, of in _by_task(state.complete).items()}
    entries = nodes_left(state)
    return [Held(e.node, e.task, tuple(filter(None, [goals.get(e.node)]))) for e in entries]


def historical_solutions(state: State) -> list[Solution]:
    """Return each task's goal, its summary, and where its code stands."""
    solutions = []
    for task, of in _by_task(state.complete).items():
        nodes = {left.node: left for left in _left(task, of)}
        code = tuple(left for left in nodes.values() if left.kind == "module")
        references = tuple(str(Reference(task, path_of(left.node))) for left in code)
        summary = nodes[node_id("task", task)].text
        solutions.append(Solution(task, of.goal or "", summary, code, references))
    return solutions


def library_knowledge(state: State) -> list[Library]:
    """Return the third-party libraries that modules import, by name."""
    users: dict[str, list[str]] = {}
    texts: dict[str, str] = {}
    for task, of in _by_task(state.complete).items():
        own = _own_names(of)
        for path in sorted(of.modules):
            for name in _libraries(of.modules[path], own):
                users.setdefault(name, []).append(str(Reference(task, path)))
        for node in sorted(of.summaries):
            texts.setdefault(node, of.summaries[node].text)
    return [
        Library(name, texts.get(node_id("library", name), ""), tuple(users[name]))
        for name in sorted(users)
    ]


def plans(state: State) -> list[Plan]:
    """Return the learned plans; within a task the latest first."""
    return [plan for of in _by_task(state.complete).values() for plan in reversed(of.plans)]


def templates(state: State) -> list[PlanTemplate]:
    """Return the plans of complete tasks, the latest first, and which have moved on since."""
    return templates_of(_by_task(state.complete), state.running, state.failed)


def fixes(state: State) -> list[Fix]:
    """Return the failures and their fixes; within a task the latest first."""
    return [fix for of in _by_task(state.complete).values() for fix in reversed(of.fixes)]


def _by_task(tasks: Map[str, TaskLegacy]) -> dict[str, TaskLegacy]:
    """Return tasks by their end, the latest first."""
    names = sorted(tasks, key=lambda task: (-tasks[task].position, task))
    return {task: tasks[task] for task in names}


def _left(task: str, of: TaskLegacy) -> list[Left]:
    """Return a task's contributed nodes, sorted: its code, and other summarised nodes."""
    made = {node_id("task", task): of.position}
    for path in sorted(of.modules):
        module = of.modules[path]
        made[node_id("module", path)] = module.position
        for name in sorted(module.symbols):
            made[node_id(module.symbols[name], path, name)] = module.position
    for node in sorted(of.summaries):
        if _stands(of, node):
            made.setdefault(node, of.summaries[node].position)
    lefts = []
    for node in sorted(made):
        summary = of.summaries.get(node, WrittenSummary("", None, 0, made[node]))
        lefts.append(
            Left(node, kind_of(node), task, summary.text, summary.tokens, summary.position)
        )
    return lefts


def _stands(of: TaskLegacy, node: str) -> bool:
    """Return whether the subject of a summary exists at the end, as far as known."""
    kind, module = kind_of(node), of.modules.get(path_of(node))
    if kind == "task":
        return False
    if kind not in IN_MODULES:
        return True
    if module is None or not name_of(node):
        return module is not None
    return module.outlined is None or name_of(node) in module.symbols


def _own_names(of: TaskLegacy) -> set[str]:
    """Return names that could mean an own module: any folder or file name of its paths."""
    parts = (part for path in sorted(of.modules) for part in path.split("/"))
    return {part.removesuffix(".py") for part in parts}


def _libraries(module: LatestModule, own: set[str]) -> list[str]:
    tops = {name.partition(".")[0] for name in module.imports}
    return sorted(tops - own - set(module.standard) - {""})
