"""Folds what one task leaves to later ones: modules, summaries, plans, fixes; in bounded room."""

import json
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from immutables import Map

from backcast.domain import plans
from backcast.domain.cache import Failure, failures_of, module_of, shortened, youngest
from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import (
    ChecksRan,
    ModuleComplete,
    ModuleDeleted,
    ModuleIteration,
    ModuleOutlined,
    ModuleRenamed,
    PlanningComplete,
    RequirementsComplete,
    SourceRead,
    TaskComplete,
    TaskStarted,
    UnknownFact,
    WorkflowEvent,
)
from backcast.domain.memory_events import PlanLearned, SummaryWritten
from backcast.domain.node import SYMBOLS, kind_of, path_of
from backcast.domain.plans import Planning

MODULES, SYMBOLS_KEPT, IMPORTS, SUMMARIES = 512, 256, 64, 1_024
"""Limits per task; symbols and imports are per module. An eighth more may gather before the oldest
are dropped together."""
OPEN, FIXES, PLANS = 16, 64, 16
LONGEST_TEXT = 4_000
"Characters of a summary or plan that are kept."
PLANNED = frozenset((
    TaskStarted, RequirementsComplete, SourceRead, ContextBuilt, PlanningComplete, UnknownFact,
))  # fmt: skip
"Types of fact that tell of a plan, or of what it was made from."
IN_MODULES = ("module", *SYMBOLS)
"The kinds of node that disappear with their module."

T = TypeVar("T")


class LatestModule(NamedTuple):
    """The latest iteration of a module, and the symbols of its outline."""

    iteration: int = 0
    source: str | None = None
    version: int = 0
    position: int = 0
    outlined: str | None = None
    "The outlined source."
    symbols: Map[str, str] = Map()
    "The kind of each function, method, class and test, by qualified name."
    imports: tuple[str, ...] = ()
    standard: tuple[str, ...] = ()
    failing: str | None = None
    "The text on which checks failed last."
    interface: Map[str, tuple[str, ...]] = Map()
    "The facets of its public names, signatures and bases, where a plan may rest on them."
    complete: bool = False
    "Whether it was completed since, while its task went on."


class WrittenSummary(NamedTuple):
    """The last summary of a node."""

    text: str
    tokens: int | None
    version: int
    position: int


class Plan(NamedTuple):
    """A plan that a PLAN_LEARNED tells."""

    name: str
    text: str
    task: str
    position: int


class Fix(NamedTuple):
    """A failing check, and the iteration after which it passed."""

    message: str
    check: str
    "The name of the check; empty if unknown."
    module: str
    iteration: int
    source: str | None
    task: str
    position: int
    "The position of the iteration."
    before: str | None = None
    "The text of the module on which the check failed last."


class TaskLegacy(NamedTuple):
    """The contribution of one task to later ones."""

    goal: str | None = None
    modules: Map[str, LatestModule] = Map()
    last: str = ""
    "The module that was iterated last."
    summaries: Map[str, WrittenSummary] = Map()
    "Summaries by node."
    plans: tuple[Plan, ...] = ()
    planning: Planning = Planning()
    "Its own plan, and what that was made from."
    open: tuple[Failure, ...] = ()
    "Checks that failed and have not passed since, oldest first."
    fixes: tuple[Fix, ...] = ()
    passed: int = 0
    failed: int = 0
    "Failed checks of the last run."
    reason: str | None = None
    "Why the task failed."
    version: int = 0
    "The version of the last event that contributed; in an ended task, of the event that ended it."
    position: int = 0


def gathered(task: TaskLegacy, event: WorkflowEvent) -> TaskLegacy:
    """Return a task's contribution after one more event."""
    if type(event.fact) in PLANNED:
        planning = plans.planning(task.planning, event)
        task = task if planning is task.planning else task._replace(planning=planning)
    match event.fact:
        case TaskStarted(goal=goal) if goal is not None:
            return task._replace(goal=goal)
        case ModuleIteration(module_name=name, iteration=iteration, source=source) as fact:
            return _iterated(task, event, name, iteration, source, fact.unknown)
        case ModuleComplete(module_name=name) if name in task.modules:
            done = task.modules[name]._replace(complete=True)
            return task._replace(modules=task.modules.set(name, done))
        case ModuleDeleted(module_name=name):
            return _without(task, name)
        case ModuleRenamed(module_name=name, previous_name=previous) as fact:
            task = _moved(task, previous, name)
            return _iterated(task, event, name, fact.iteration, fact.source, fact.unknown)
        case ModuleOutlined() as fact:
            return _outlined(task, fact)
        case SummaryWritten(node=str(node), text=str(text), tokens=tokens):
            text = shortened(text, LONGEST_TEXT)
            summary = WrittenSummary(text, tokens, event.version, event.position)
            summaries = task.summaries.set(node, summary)
            summaries = bounded(summaries, SUMMARIES, lambda written: written.version)
            return task._replace(summaries=summaries)
        case PlanLearned() as fact if fact.data:
            return task._replace(plans=(*task.plans, _plan(fact, event))[-PLANS:])
        case ChecksRan(passed=passed, unmet=unmet) as fact if passed > 0 or unmet > 0:
            return _checked(task, event, fact)
        case TaskComplete():
            return task._replace(planning=_settled(task, event))
    return task


def _settled(task: TaskLegacy, event: WorkflowEvent) -> Planning:
    """Return a task's plan as its first end since the plan leaves it."""
    plan = task.planning
    if plan.ended or not (plan.modules or plan.unread):
        return plan
    modules = [module for module in plan.modules if module.path in task.modules]
    made = {module.path: digest_left(task.modules[module.path]) for module in modules}
    return plan._replace(
        ended=event.version, position=event.position, made=Map(made), passed=task.passed,
        failed=max(task.failed, len(task.open)),
    )  # fmt: skip


def digest_left(module: LatestModule, key: str = "") -> tuple[str, str]:
    """Return the key and digest by which a later version of a module is told from this one."""
    return plans.left_digest(
        module.source, module.outlined, module.interface, module.iteration, key
    )


def _plan(fact: PlanLearned, event: WorkflowEvent) -> Plan:
    """Return the plan of a fact: its text, or without one, all of its data as JSON."""
    name, text = fact.data.get("name"), fact.data.get("text")
    text = text if isinstance(text, str) else json.dumps(fact.data, sort_keys=True)
    return Plan(shortened(name), shortened(text, LONGEST_TEXT), event.task_id, event.position)


def _iterated(
    task: TaskLegacy, event: WorkflowEvent, name: str, iteration: int, source: str | None,
    unknown: str | None,
) -> TaskLegacy:  # fmt: skip
    before = task.modules.get(name, LatestModule())
    if unknown is not None and source is None:
        before = LatestModule()  # its symbols may have changed with the text
    module = before._replace(
        iteration=iteration, source=source, version=event.version, position=event.position,
        complete=False,
    )  # fmt: skip
    modules = bounded(task.modules.set(name, module), MODULES, lambda latest: latest.version)
    return task._replace(modules=modules, last=name)


def _without(task: TaskLegacy, name: str) -> TaskLegacy:
    """Remove a module, its symbols' summaries and its failures."""
    summaries = task.summaries
    for node in sorted(summaries):
        if kind_of(node) in IN_MODULES and path_of(node) == name:
            summaries = summaries.delete(node)
    modules = task.modules.delete(name) if name in task.modules else task.modules
    failures = tuple(failure for failure in task.open if failure.at != name)
    return task._replace(modules=modules, summaries=summaries, open=failures)


def _moved(task: TaskLegacy, previous: str, name: str) -> TaskLegacy:
    """Move a module to another name; summaries of the old name are dropped."""
    module = task.modules.get(previous, LatestModule())
    failures = tuple(
        failure._replace(at=name) if failure.at == previous else failure for failure in task.open
    )
    task = _without(task._replace(open=failures), previous)
    return task._replace(modules=task.modules.set(name, module))


def _outlined(task: TaskLegacy, fact: ModuleOutlined) -> TaskLegacy:
    """Apply an outline; a difference to an unknown outline is ignored."""
    module = task.modules.get(fact.module_name)
    if module is None or (fact.base is not None and fact.base != module.outlined):
        return task
    if fact.base is None:
        module = module._replace(symbols=Map(), imports=(), standard=(), interface=Map())
    symbols, interface = module.symbols, module.interface
    asked = bool(task.planning.modules or task.planning.context)
    for key in sorted({*fact.gone, *fact.set}):
        if asked and key.startswith(plans.SHOWN):
            interface = plans.interface(interface, key, fact.set.get(key))
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
        interface=interface,
        imports=_latest(fact, "imports", module.imports),
        standard=_latest(fact, "standard", module.standard),
    )
    return task._replace(modules=task.modules.set(fact.module_name, module))


def _latest(fact: ModuleOutlined, key: str, before: tuple[str, ...]) -> tuple[str, ...]:
    return fact.set.get(key, () if key in fact.gone else before)[:IMPORTS]


def _checked(task: TaskLegacy, event: WorkflowEvent, fact: ChecksRan) -> TaskLegacy:
    """Apply a run of checks: an earlier failure that no longer fails is fixed.

    A run that does not list all of its failures fixes nothing.
    """
    at, failing = module_of(fact), [one for one in failures_of(event) if one.name or one.message]
    again = {_check(failure) for failure in failing}
    mends = fact.passed > 0 and fact.unmet <= len(failing)
    fixed = [
        failure
        for failure in task.open
        if mends and (not at or failure.at == at) and _check(failure) not in again
    ]
    unfixed = [one for one in task.open if one not in fixed and _check(one) not in again]
    new = [fix for failure in fixed for fix in _fixed(task, event.task_id, failure, at)]
    for path in (at, task.last) if failing else ():
        if module := task.modules.get(path):
            modules = task.modules.set(path, module._replace(failing=module.source))
            task = task._replace(modules=modules)
    return task._replace(
        open=(*unfixed, *failing)[-OPEN:],
        fixes=(*task.fixes, *new)[-FIXES:],
        passed=fact.passed,
        failed=fact.unmet,
    )


def _check(failure: Failure) -> tuple[str, str]:
    return failure.at, failure.name or failure.message


def _fixed(task: TaskLegacy, task_id: str, failure: Failure, at: str) -> Iterator[Fix]:
    """Yield a failure's fix: the last iteration since, of the checked module if there is one."""
    for path in (at, task.last):
        module = task.modules.get(path)
        if failure.message and module is not None and module.version > failure.version:
            yield Fix(
                failure.message, failure.name, path, module.iteration, module.source, task_id,
                module.position, module.failing,
            )  # fmt: skip
            return


def bounded(entries: Map[str, T], limit: int, age: Callable[[T], int]) -> Map[str, T]:
    """Return the `limit` entries with the highest `age`; an eighth more may gather in between."""
    return youngest(entries, limit, age, slack=limit // 8)
