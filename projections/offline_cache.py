"""What have finished tasks left for later ones?

What a task leaves is gathered while it runs, in bounded room, and left at TASK_COMPLETE; a task
that goes on leaves it anew when it completes again. At TASK_FAILED what was gathered is kept
apart, as what did not work. Summaries, plans and outlines that are told of a task after its end
add to what it left. The questions below are asked of the tasks that completed, the latest first,
if they do not say otherwise.
"""

import json
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, TypeVar

from immutables import Map

from domain.cache import Failure, Held, failures_of, module_of, shortened, youngest
from domain.events import (
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
from domain.node import SYMBOLS, Reference, kind_of, name_of, node_id, path_of

NAME = "offline_cache"
VERSION = 1
SCOPE: Literal["task", "store"] = "store"

RUNNING = 256
"Tasks that are gathered from at once; of more, those that were heard of longest ago are dropped."
MODULES, SYMBOLS_KEPT, IMPORTS, SUMMARIES = 512, 256, 64, 1_024
"""What is gathered of a task at most; symbols and imports are those of a module. An eighth more
may gather before the oldest are dropped together."""
OPEN, FIXES, PLANS = 16, 64, 16
LONGEST_TEXT = 4_000
"Characters of a summary or plan that are kept."

T = TypeVar("T")


class Module(NamedTuple):
    """The latest iteration of a module, and what its outline says is in it."""

    iteration: int = 0
    source: str | None = None
    version: int = 0
    position: int = 0
    outlined: str | None = None
    "The source that was outlined."
    symbols: Map[str, str] = Map()
    "The kind of each function, method, class and test, by qualified name."
    imports: tuple[str, ...] = ()
    standard: tuple[str, ...] = ()


class Summary(NamedTuple):
    """What was written about a node last."""

    text: str
    tokens: int | None
    version: int
    position: int


class Plan(NamedTuple):
    """What a PLAN_LEARNED says."""

    name: str
    text: str
    task: str
    position: int


class Fix(NamedTuple):
    """A failing check, and the iteration after which it passed."""

    message: str
    check: str
    "Its name; empty where that was not told."
    module: str
    iteration: int
    source: str | None
    task: str
    position: int
    "That of the iteration."


class Gathered(NamedTuple):
    """What one task has to leave."""

    goal: str | None = None
    modules: Map[str, Module] = Map()
    last: str = ""
    "The module that was iterated last."
    summaries: Map[str, Summary] = Map()
    "By node."
    plans: tuple[Plan, ...] = ()
    open: tuple[Failure, ...] = ()
    "Checks that failed and have not passed since, oldest first."
    fixes: tuple[Fix, ...] = ()
    passed: int = 0
    failed: int = 0
    "Checks of the last run."
    reason: str | None = None
    "Why the task failed."
    version: int = 0
    "Of the last event that was gathered from; of a task that ended, of the event that ended it."
    position: int = 0


class State(NamedTuple):
    """What tasks have left, and what those that run have gathered so far; by task."""

    running: Map[str, Gathered] = Map()
    complete: Map[str, Gathered] = Map()
    failed: Map[str, Gathered] = Map()
    "Tasks that failed and did not complete since."


initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """The state after one more event."""
    task, fact = event.task_id, event.fact
    if not isinstance(fact, _GATHERED):
        return state
    running, complete, failed = state
    before = running.get(task) or failed.get(task) or complete.get(task) or Gathered()
    after = _gathered(before, event)
    if isinstance(fact, _DERIVED) and task not in running:
        if task in failed:
            return State(running, complete, failed.set(task, after))
        if task in complete:
            return State(running, complete.set(task, after), failed)
    after = after._replace(version=event.version, position=event.position)
    if not isinstance(fact, TaskComplete | TaskFailed):
        running = _some(running.set(task, after), RUNNING, lambda task: task.position)
        return State(running, complete, failed)
    running = running.delete(task) if task in running else running
    if isinstance(fact, TaskFailed):
        reason = shortened(fact.reason) or None
        return State(running, complete, failed.set(task, after._replace(reason=reason)))
    failed = failed.delete(task) if task in failed else failed
    return State(running, complete.set(task, after._replace(reason=None)), failed)


_DERIVED = (ModuleOutlined, SummaryWritten, PlanLearned)
"What may be told of a task after its end, and adds to what it left."
_GATHERED = (
    *_DERIVED, TaskStarted, ModuleIteration, ModuleRenamed, ModuleDeleted, ChecksRan,
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


def _gathered(task: Gathered, event: WorkflowEvent) -> Gathered:
    match event.fact:
        case TaskStarted(goal=goal) if goal is not None:
            return task._replace(goal=goal)
        case ModuleIteration(module_name=name, iteration=iteration, source=source):
            return _iterated(task, event, name, iteration, source)
        case ModuleDeleted(module_name=name):
            return _without(task, name)
        case ModuleRenamed(module_name=name, previous_name=previous) as fact:
            return _iterated(_moved(task, previous, name), event, name, fact.iteration, fact.source)
        case ModuleOutlined() as fact:
            return _outlined(task, fact)
        case SummaryWritten(node=str(node), text=str(text), tokens=tokens):
            text = shortened(text, LONGEST_TEXT)
            summary = Summary(text, tokens, event.version, event.position)
            summaries = task.summaries.set(node, summary)
            return task._replace(summaries=_some(summaries, SUMMARIES, lambda one: one.version))
        case PlanLearned() as fact if fact.data:
            return task._replace(plans=(*task.plans, _plan(fact, event))[-PLANS:])
        case ChecksRan(passed=passed, failed=failed) as fact if passed > 0 or failed > 0:
            return _checked(task, event, fact)
    return task


def _plan(fact: PlanLearned, event: WorkflowEvent) -> Plan:
    """What a fact says of a plan: its text, or where it has none, all that it states."""
    name, text = fact.data.get("name"), fact.data.get("text")
    text = text if isinstance(text, str) else json.dumps(fact.data, sort_keys=True)
    return Plan(shortened(name), shortened(text, LONGEST_TEXT), event.task_id, event.position)


def _iterated(
    task: Gathered, event: WorkflowEvent, name: str, iteration: int, source: str | None
) -> Gathered:
    module = task.modules.get(name, Module())._replace(
        iteration=iteration, source=source, version=event.version, position=event.position
    )
    modules = _some(task.modules.set(name, module), MODULES, lambda one: one.version)
    return task._replace(modules=modules, last=name)


def _without(task: Gathered, name: str) -> Gathered:
    """What was gathered, without a module, what is in it and what failed in it."""
    summaries = task.summaries
    for node in sorted(summaries):
        if kind_of(node) in _IN_MODULES and path_of(node) == name:
            summaries = summaries.delete(node)
    modules = task.modules.delete(name) if name in task.modules else task.modules
    left = tuple(failure for failure in task.open if failure.at != name)
    return task._replace(modules=modules, summaries=summaries, open=left)


def _moved(task: Gathered, previous: str, name: str) -> Gathered:
    """What was gathered, with a module under another name; its summaries spoke of the old one."""
    module = task.modules.get(previous, Module())
    left = tuple(
        failure._replace(at=name) if failure.at == previous else failure for failure in task.open
    )
    task = _without(task._replace(open=left), previous)
    return task._replace(modules=task.modules.set(name, module))


def _outlined(task: Gathered, fact: ModuleOutlined) -> Gathered:
    """What was gathered, with an outline; a difference to an unknown one is no outline."""
    module = task.modules.get(fact.module_name)
    if module is None or (fact.base is not None and fact.base != module.outlined):
        return task
    if fact.base is None:
        module = module._replace(symbols=Map(), imports=(), standard=())
    symbols = module.symbols
    for key in sorted({*fact.gone, *fact.set}):
        kind, name = fact.set.get(key, ())[:1], key.removeprefix("sig:")
        if name != key and kind and kind[0] in SYMBOLS:
            symbols = symbols.set(name, kind[0])
        elif name in symbols and name != key:
            symbols = symbols.delete(name)
    if len(symbols) > SYMBOLS_KEPT:
        symbols = Map((name, symbols[name]) for name in sorted(symbols)[:SYMBOLS_KEPT])
    module = module._replace(
        outlined=fact.source,
        symbols=symbols,
        imports=_told(fact, "imports", module.imports),
        standard=_told(fact, "standard", module.standard),
    )
    return task._replace(modules=task.modules.set(fact.module_name, module))


def _told(fact: ModuleOutlined, key: str, before: tuple[str, ...]) -> tuple[str, ...]:
    return fact.set.get(key, () if key in fact.gone else before)[:IMPORTS]


def _checked(task: Gathered, event: WorkflowEvent, fact: ChecksRan) -> Gathered:
    """What was gathered, with a run of checks: what failed before and does not now is mended.

    Where a run does not tell all that failed, nothing is known to be mended.
    """
    at, failing = module_of(fact), [one for one in failures_of(event) if one.name or one.message]
    again = {_check(failure) for failure in failing}
    mends = fact.passed > 0 and fact.failed <= len(failing)
    mended = [
        failure
        for failure in task.open
        if mends and (not at or failure.at == at) and _check(failure) not in again
    ]
    left = [one for one in task.open if one not in mended and _check(one) not in again]
    new = [fix for failure in mended for fix in _fixed(task, event.task_id, failure, at)]
    return task._replace(
        open=(*left, *failing)[-OPEN:],
        fixes=(*task.fixes, *new)[-FIXES:],
        passed=fact.passed,
        failed=fact.failed,
    )


def _check(failure: Failure) -> tuple[str, str]:
    return failure.at, failure.name or failure.message


def _fixed(task: Gathered, task_id: str, failure: Failure, at: str) -> Iterator[Fix]:
    """The pair of a message and the last iteration since, of the checked module if it has one."""
    for path in (at, task.last):
        module = task.modules.get(path)
        if failure.message and module is not None and module.version > failure.version:
            yield Fix(
                failure.message, failure.name, path, module.iteration, module.source, task_id,
                module.position,
            )  # fmt: skip
            return


def _some(entries: Map[str, T], limit: int, age: Callable[[T], int]) -> Map[str, T]:
    return youngest(entries, limit, age, slack=limit // 8)


def _by_task(tasks: Map[str, Gathered]) -> dict[str, Gathered]:
    """Tasks, the one that ended last first."""
    names = sorted(tasks, key=lambda task: (-tasks[task].position, task))
    return {task: tasks[task] for task in names}


def _left(task: str, of: Gathered) -> list[Left]:
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
        summary = of.summaries.get(node, Summary("", None, 0, made[node]))
        lefts.append(
            Left(node, kind_of(node), task, summary.text, summary.tokens, summary.position)
        )
    return lefts


def _stands(of: Gathered, node: str) -> bool:
    """Whether what a summary is about is there at the end, as far as that is known."""
    kind, module = kind_of(node), of.modules.get(path_of(node))
    if kind == "task":
        return False
    if kind not in _IN_MODULES:
        return True
    if module is None or not name_of(node):
        return module is not None
    return module.outlined is None or name_of(node) in module.symbols


def _own_names(of: Gathered) -> set[str]:
    """Names that could mean a module of the task's own: any folder or file name of its paths."""
    parts = (part for path in sorted(of.modules) for part in path.split("/"))
    return {part.removesuffix(".py") for part in parts}


def _libraries(module: Module, own: set[str]) -> list[str]:
    tops = {name.partition(".")[0] for name in module.imports}
    return sorted(tops - own - set(module.standard) - {""})


_IN_MODULES = ("module", *SYMBOLS)
