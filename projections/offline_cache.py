"""What have finished tasks left for later ones?

What a task leaves is gathered while it runs, in bounded room, and left at TASK_COMPLETE; a task
that goes on leaves it anew when it completes again. At TASK_FAILED what was gathered is kept
apart, as what did not work. Summaries, plans and outlines that are told of a task after its end
add to what it left. A branch leaves nothing: it only tries what could have been. The questions
below are asked of the tasks that completed, the latest first, if they do not say otherwise.
"""

from typing import Literal, NamedTuple

from immutables import Map

from backcast.domain.cache import Failure, Held, shortened
from backcast.domain.events import (
    Branched,
    ChecksRan,
    ModuleDeleted,
    ModuleIteration,
    ModuleOutlined,
    ModuleRenamed,
    PlanLearned,
    SummaryWritten,
    TaskComplete,
    TaskFailed,
    TaskStarted,
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
from backcast.domain.node import Reference, kind_of, name_of, node_id, path_of

NAME = "offline_cache"
VERSION = 2
SCOPE: Literal["task", "store"] = "store"

RUNNING = 256
"Tasks that are gathered from at once; of more, those that were heard of longest ago are dropped."


class OfflineCacheState(NamedTuple):
    """What tasks have left, and what those that run have gathered so far; by task."""

    running: Map[str, TaskLegacy] = Map()
    complete: Map[str, TaskLegacy] = Map()
    failed: Map[str, TaskLegacy] = Map()
    "Tasks that failed and did not complete since."
    branches: Map[str, str] = Map()
    "Their origins; empty where that was not told."


State = OfflineCacheState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """The state after one more event."""
    task, fact = event.task_id, event.fact
    if not isinstance(fact, _GATHERED) or task in state.branches:
        return state
    if isinstance(fact, Branched):
        return _branched(state, task, fact.origin or "")
    running, complete, failed, _ = state
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


def _branched(state: State, task: str, origin: str) -> State:
    """The state without what was gathered from the events that a branch was copied with."""
    running, complete, failed = (_without(tasks, task) for tasks in state[:3])
    return State(running, complete, failed, state.branches.set(task, origin))


def _without(tasks: Map[str, TaskLegacy], task: str) -> Map[str, TaskLegacy]:
    return tasks.delete(task) if task in tasks else tasks


DERIVED = (ModuleOutlined, SummaryWritten, PlanLearned)
"What may be told of a task after its end, and adds to what it left."
_GATHERED = (
    *DERIVED, Branched, TaskStarted, ModuleIteration, ModuleRenamed, ModuleDeleted, ChecksRan,
    TaskComplete, TaskFailed,
)  # fmt: skip


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
    "Checks of the last run."
    failing: tuple[Failure, ...]
    "Those that were never mended."
    version: int
    "Of the event that ended it."
    position: int


class Left(NamedTuple):
    """A node that a task left."""

    node: str
    kind: str
    task: str
    text: str = ""
    "Its latest summary; empty where none was written."
    tokens: int | None = None
    position: int = 0
    "Of the summary, else of the latest iteration of its module."


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
    "What was written about it last."
    users: tuple[str, ...]
    "References to the modules, those of the latest task first."


class Recurring(NamedTuple):
    """What failed, and was fixed, in several tasks."""

    message: str
    fixes: tuple[Fix, ...]
    "Those of the latest task first."


def finished(state: State) -> list[Finished]:
    """The tasks that ended, whatever came of them, the latest first."""
    ended = {**_by_task(state.complete), **_by_task(state.failed)}
    told = [
        Finished(
            task, of.goal, "failed" if task in state.failed else "complete", of.reason,
            tuple(sorted(of.modules)), of.passed, of.failed, of.open, of.version, of.position,
        )
        for task, of in ended.items()
    ]  # fmt: skip
    return sorted(told, key=lambda one: (-one.position, one.task))


def nodes_left(state: State) -> list[Left]:
    """The task, modules, functions and other nodes that each task left, sorted within a task."""
    return [left for task, of in _by_task(state.complete).items() for left in _left(task, of)]


def held(state: State) -> list[Held]:
    """The nodes that were left, as a look-up reads them; of equal ids the latest task's first."""
    goals = {node_id("task", task): of.goal for task, of in _by_task(state.complete).items()}
    return [
        Held(left.node, left.task, tuple(filter(None, [goals.get(left.node)])))
        for left in nodes_left(state)
    ]


def historical_solutions(state: State) -> list[Solution]:
    """What was asked for, what was made of it, and where that stands."""
    solutions = []
    for task, of in _by_task(state.complete).items():
        nodes = {left.node: left for left in _left(task, of)}
        code = tuple(left for left in nodes.values() if left.kind == "module")
        references = tuple(str(Reference(task, path_of(left.node))) for left in code)
        summary = nodes[node_id("task", task)].text
        solutions.append(Solution(task, of.goal or "", summary, code, references))
    return solutions


def library_knowledge(state: State) -> list[Library]:
    """The libraries, by name: what modules import that is neither standard nor the task's own."""
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
    """What was learned about how to go about a task; within a task the latest first."""
    return [plan for of in _by_task(state.complete).values() for plan in reversed(of.plans)]


def fixes(state: State) -> list[Fix]:
    """What failed and how it was mended; within a task the latest first."""
    return [fix for of in _by_task(state.complete).values() for fix in reversed(of.fixes)]


def recurring(state: State) -> list[Recurring]:
    """The messages that were fixed in two tasks or more, by message."""
    by_message: dict[str, list[Fix]] = {}
    for fix in fixes(state):
        by_message.setdefault(fix.message, []).append(fix)
    return [
        Recurring(message, tuple(by_message[message]))
        for message in sorted(by_message)
        if len({fix.task for fix in by_message[message]}) > 1
    ]


def _by_task(tasks: Map[str, TaskLegacy]) -> dict[str, TaskLegacy]:
    """Tasks, the one that ended last first."""
    names = sorted(tasks, key=lambda task: (-tasks[task].position, task))
    return {task: tasks[task] for task in names}


def _left(task: str, of: TaskLegacy) -> list[Left]:
    """The nodes that a task left, sorted: all that it made, and what else it wrote about."""
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
    """Whether what a summary is about is there at the end, as far as that is known."""
    kind, module = kind_of(node), of.modules.get(path_of(node))
    if kind == "task":
        return False
    if kind not in IN_MODULES:
        return True
    if module is None or not name_of(node):
        return module is not None
    return module.outlined is None or name_of(node) in module.symbols


def _own_names(of: TaskLegacy) -> set[str]:
    """Names that could mean a module of the task's own: any folder or file name of its paths."""
    parts = (part for path in sorted(of.modules) for part in path.split("/"))
    return {part.removesuffix(".py") for part in parts}


def _libraries(module: LatestModule, own: set[str]) -> list[str]:
    tops = {name.partition(".")[0] for name in module.imports}
    return sorted(tops - own - set(module.standard) - {""})
