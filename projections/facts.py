"""What holds, since when, and what ended it?

The state keeps every statement of the log about every subject: see `backcast.domain.timed_facts`.
First what we found ourselves: texts, imports, signatures, values, verdicts of checks; then what a
model or a person claims, in slots of its own. It is folded only where somebody asks.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from immutables import Map

from backcast.domain.cache import module_of
from backcast.domain.dispatch_events import ClaimChecked, DispatchStarted, ItemDecided
from backcast.domain.dispatch_statements import (
    CHANGED,
    CLAIMED_CHANGED,
    dispatch_statements,
    failing_statements,
    line_of_text,
    listed,
)
from backcast.domain.events import (
    AnswerRefused,
    ChecksRan,
    Committed,
    ModelFailed,
    ModuleComplete,
    ModuleDeleted,
    ModuleIteration,
    ModuleOutlined,
    ModuleRenamed,
    ModuleStarted,
    PlanningComplete,
    PolicyUsed,
    RequirementsComplete,
    SourceRead,
    TaskComplete,
    TaskFailed,
    TaskStarted,
    ToolCalled,
    ToolReturned,
    WorkflowEvent,
)
from backcast.domain.facet_facts import Statement, relevant, statements
from backcast.domain.memory_events import SummaryWritten
from backcast.domain.node import node_id
from backcast.domain.outline import Facets
from backcast.domain.timed_facts import FactEntry, slot_of, stated

NAME = "facts"
VERSION = 2
SCOPE: Literal["task", "store"] = "task"
DIGITS = 12
"Digits of a digest that a fact shows."


class FactModule(NamedTuple):
    """A module, and the facets of its latest outline that facts are made of."""

    source: str | None = None
    outlined: str | None = None
    source_version: int = 0
    facets: Facets = Map()
    gone: tuple[int, datetime] | None = None
    """The version and the time of the event by which it went, until a later text is outlined: that
    outline may be the difference to the last one."""


class FactsState(NamedTuple):
    """All statements of a task's log."""

    slots: Map[str, tuple[FactEntry, ...]] = Map()
    modules: Map[str, FactModule] = Map()
    open: Map[str, tuple[str, ...]] = Map()
    """Slots that the next statements of a kind end where they do not repeat them: failing checks by
    module, what was planned, claimed or found to differ."""
    calls: Map[str, str] = Map()
    "The subject of each open call of a tool, by call id."
    commit: tuple[str, datetime] | None = None
    given: Map[int, tuple[str, str]] = Map()
    "The task of the list, and the agent, of each dispatch."


State = FactsState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """Return the state after one more event."""
    match event.fact:
        case ModuleOutlined(module_name=name):
            return _outlined(state, event, name, event.fact)
        case ModuleIteration(module_name=name) as fact:
            return _text(state, event, name, fact.source, fact.iteration, fact.unknown)
        case SourceRead(path=name, source=source):
            module = state.modules.get(name, FactModule())
            return state if module.source == source else _text(state, event, name, source)
        case ModuleDeleted(module_name=name):
            return _gone(state, event, name, "deleted")
        case ModuleRenamed(module_name=name, previous_name=previous) as fact:
            state = _gone(state, event, previous, f"renamed to {name}")
            state = _text(state, event, name, fact.source, fact.iteration, fact.unknown)
            said = Statement(node_id("module", name), "renamed from", previous)
            return _said(state, event, [said])
        case ChecksRan() as fact:
            return _checked(state, event, fact)
    return _of_task(state, event)


def _of_task(state: State, event: WorkflowEvent) -> State:
    task = node_id("task", event.task_id)
    match event.fact:
        case Committed(sha=sha, message=message):
            short = sha[:DIGITS]
            words = Statement(f"commit:{short}", "commit says", line_of_text(message), found=False)
            state = _said(state, event, [Statement(task, "stands at", short), words])
            return state._replace(commit=(short, event.timestamp))
        case TaskStarted(goal=goal):
            goals = [Statement(task, "goal", line_of_text(goal))] if goal else []
            return _said(state, event, [*goals, Statement(task, "status", "started")])
        case TaskComplete():
            return _said(state, event, [Statement(task, "status", "complete")])
        case TaskFailed(reason=reason):
            return _said(
                state, event, [Statement(task, "status", f"failed: {line_of_text(reason)}")]
            )
        case PolicyUsed(model=str(model)):
            return _said(state, event, [Statement(task, "model", model)])
        case PlanningComplete() as fact:
            return _planned(state, event, task, fact)
        case ModuleStarted(module_name=name):
            return _said(state, event, [Statement(node_id("module", name), "status", "started")])
        case ModuleComplete(module_name=name):
            return _said(state, event, [Statement(node_id("module", name), "status", "complete")])
        case SummaryWritten(node=str(node), text=str(text)):
            return _said(
                state, event, [Statement(node, "summary", line_of_text(text), found=False)]
            )
        case AnswerRefused(reason=reason) | ModelFailed(reason=reason) as fact:
            subject = node_id("module", module_of(fact)) if module_of(fact) else task
            return _said(state, event, [Statement(subject, "refused", line_of_text(reason))])
        case RequirementsComplete() as fact:
            asked = [Statement(task, "requires", line_of_text(text)) for text in listed(fact)]
            return _renewed(state, event, "\trequired", asked)
        case ToolCalled() | ToolReturned() as fact:
            return _tool(state, event, fact)
    return _of_dispatch(state, event)


def _of_dispatch(state: State, event: WorkflowEvent) -> State:
    fact = event.fact
    item, agent = state.given.get(getattr(fact, "dispatch", 0), ("", ""))
    if isinstance(fact, DispatchStarted) and fact.item:
        item, agent = f"item:{fact.item}", fact.agent or "an agent"
        state = state._replace(given=state.given.set(event.version, (item, agent)))
        if fact.role != "reviewer" and fact.repairs is None:
            state = _thrown_away(state, event, item)
    if isinstance(fact, ItemDecided) and fact.action == "halt" and not fact.pauses:
        state = _thrown_away(state, event, f"item:{fact.item}")
    for kind, said in dispatch_statements(fact, item, agent):
        state = _renewed(state, event, f"\t{kind}\t{item}", said) if kind else (
            _said(state, event, said))  # fmt: skip
    if isinstance(fact, ClaimChecked) and item:
        paths = {node_id("module", file.path) for file in fact.files}
        for slot in state.open.get(f"\t{CLAIMED_CHANGED}\t{item}", ()):
            if not paths.intersection(slot.split("\t")):
                state = _ended(state, event, [slot], refuted=True)
        failing = failing_statements(fact.failures)
        state = _renewed(state, event, f"\tverdicts\t{item}", failing)
    return state


def _thrown_away(state: State, event: WorkflowEvent, item: str) -> State:
    """Return the state after the work of an attempt is thrown away: it has changed no file."""
    key, name = f"\t{CHANGED}\t{item}", item.removeprefix("item:")
    for slot in state.open.get(key, ()):
        if f" for {name}: " in (state.slots[slot][-1].object or ""):
            state = _ended(state, event, [slot])
    return state._replace(open=state.open.set(key, ())) if key in state.open else state


def _renewed(
    state: State, event: WorkflowEvent, key: str, said: Sequence[Statement], *, whole: bool = True
) -> State:
    """Return the state after statements of a kind: earlier ones that they do not repeat end.

    Where they are not the `whole`, those stay.
    """
    now, before = tuple(map(_slot, said)), state.open.get(key, ())
    over = [slot for slot in before if slot not in now] if whole else []
    state = _said(_ended(state, event, over), event, said)
    now = (*(slot for slot in before if slot not in (*over, *now)), *now)
    return state._replace(open=state.open.set(key, now)) if now or before else state


def _said(state: State, event: WorkflowEvent, said: Sequence[Statement], place: int = 0) -> State:
    """Return the state after statements; what is found ends another claim about the same."""
    slots = state.slots
    for subject, relation, object, found in said:
        slot = slot_of(subject, relation, object or "", found)
        entry = FactEntry(
            object, event.timestamp, place or event.version, event.version, event.recorded_at
        )
        known = slots.get(slot, ())
        if known or object is not None:
            slots = slots.set(slot, stated(known, entry))
        claim = slot_of(subject, relation, object or "", False)
        if found and claim in slots and slots[claim][-1].object not in (None, object):
            # What was found is believed, where it says something else.
            slots = slots.set(claim, stated(slots[claim], entry._replace(object=None)))
    return state if slots is state.slots else state._replace(slots=slots)


def _ended(
    state: State, event: WorkflowEvent, slots: Sequence[str], place: int = 0, *,
    refuted: bool = False,
) -> State:  # fmt: skip
    """Return the state in which nothing of some slots holds any more."""
    known = state.slots
    end = FactEntry(None, event.timestamp, place or event.version, event.version,
                    event.recorded_at, refuted)  # fmt: skip
    for slot in slots:
        if slot in known and known[slot][-1].object is not None:
            known = known.set(slot, stated(known[slot], end))
    return state if known is state.slots else state._replace(slots=known)


def _text(
    state: State, event: WorkflowEvent, path: str, source: str | None, iteration: int = 0,
    unknown: str | None = None,
) -> State:  # fmt: skip
    """Return the state after a module got a text; one that no log tells ends what was outlined."""
    node, commit = node_id("module", path), state.commit
    digest = (source or "").removeprefix("blob:")[:DIGITS]
    parts = [f"iteration {iteration}" if iteration else "read", f"sha256 {digest}" if digest else
             f"not told: {line_of_text(unknown)}"]  # fmt: skip
    if commit and commit[1] == event.timestamp:
        parts.append(f"commit {commit[0]}")
    module = state.modules.get(path, FactModule())
    if source is None and unknown is not None:
        state = _without(state, event, path, module)
        module = FactModule(source_version=event.version)
    said = [Statement(node, "text", ", ".join(parts)), Statement(node, "refused", None)]
    state = _said(state, event, said)
    modules = state.modules.set(path, module._replace(source=source))
    return state._replace(modules=modules)


def _gone(state: State, event: WorkflowEvent, path: str, why: str) -> State:
    """Return the state after a module went: nothing in it holds any more."""
    module = state.modules.get(path)
    state = _without(state, event, path, module or FactModule())
    node = node_id("module", path)
    if node + "\ttext" in state.slots:
        state = _said(state, event, [Statement(node, "text", why)])
    single = [slot_of(node, relation) for relation in ("status", "checks", "coverage", "refused")]
    single += [slot_of(node, "summary", found=False), *state.open.get(path, ())]
    state = _ended(state, event, single)
    opened = state.open.delete(path) if path in state.open else state.open
    kept = (module or FactModule())._replace(source=None, gone=(event.version, event.timestamp))
    return state._replace(modules=state.modules.set(path, kept), open=opened)


def _without(state: State, event: WorkflowEvent, path: str, module: FactModule) -> State:
    slots = [] if module.gone else [_slot(said) for said in statements(path, module.facets)]
    return _ended(state, event, slots)


def _outlined(state: State, event: WorkflowEvent, path: str, fact: ModuleOutlined) -> State:
    """Return the state after an outline: what it no longer says ends with the outlined text."""
    place = event.because[0] if event.because else event.version
    module = state.modules.get(path)
    if module is None or place < module.source_version:
        return state
    if fact.base is not None and fact.base != module.outlined:
        return state
    whole = fact.base is None
    facets: Facets = Map() if whole else module.facets
    with facets.mutate() as changing:
        for key in fact.gone:
            changing.pop(key, None)
        changing.update((key, facet) for key, facet in fact.set.items() if relevant(key))
        facets = changing.finish()
    keys = None if whole or module.gone else (*fact.set, *fact.gone)
    known = () if module.gone else statements(path, module.facets, keys)
    before = dict.fromkeys(map(_slot, known))
    now = {_slot(said): said for said in statements(path, facets, keys)}
    state = _ended(state, event, [slot for slot in before if slot not in now], place)
    state = _said(state, event, list(now.values()), place)
    gone = module.gone if module.gone and place < module.gone[0] else None
    if gone:  # outlined after it went: what the text said had ended with it
        ended = event._replace(timestamp=gone[1])
        state = _ended(state, ended, list(now), gone[0])
    module = FactModule(module.source, fact.source, place, facets, gone)
    return state._replace(modules=state.modules.set(path, module))


def _slot(said: Statement) -> str:
    return slot_of(said.subject, said.relation, said.object or "", said.found)


def _checked(state: State, event: WorkflowEvent, fact: ChecksRan) -> State:
    """Return the state after a run of checks.

    A check that failed before, and is not named by this run of the same checks, is not known to
    fail any more; whether it passed or was left out no log tells.
    """
    key = module_of(fact)
    subject = node_id("module", key) if key else node_id("task", event.task_id)
    counts = f"{fact.passed} passed, {fact.failed} failed"
    counts += f", {fact.errors} errors" if fact.errors else ""
    said = [Statement(subject, "checks", counts)]
    said += (
        Statement(node_id("module", path), "coverage", f"{fact.coverage[path]:.0%}")
        for path in sorted(fact.coverage)
    )
    whole = fact.passed + fact.unmet > 0 and not fact.contained
    failing = failing_statements(fact.failures)
    return _renewed(_said(state, event, said), event, key, failing, whole=whole)


def _planned(state: State, event: WorkflowEvent, task: str, fact: PlanningComplete) -> State:
    """Return the state after a plan, which a model claims to be a good one."""
    said = list[Statement]()
    for module in fact.planned:
        planned = f"{module.path}: {line_of_text(module.purpose)}".removesuffix(": ")
        said.append(Statement(task, "plans", planned, found=False))
        node = node_id("module", module.path)
        said += (Statement(node, "should need", path, found=False) for path in module.dependencies)
    state = _ended(state, event, [slot_of(task, "refused")])
    return _renewed(state, event, "\tplan", said)


def _tool(state: State, event: WorkflowEvent, fact: ToolCalled | ToolReturned) -> State:
    """Return the state after a call of a tool or its result; a later success ends a failure."""
    if isinstance(fact, ToolCalled):
        key = fact.call_id or f"\t{fact.tool}"
        return state._replace(calls=state.calls.set(key, _subject(fact)))
    key = fact.call_id or f"\t{fact.tool}"
    subject = state.calls.get(key, f"tool:{fact.tool or ''}")
    said = Statement(
        subject, "fails", line_of_text(fact.message) or "failed" if fact.failed else None
    )
    state = _said(state, event, [said])
    return state._replace(calls=state.calls.delete(key)) if key in state.calls else state


def _subject(fact: ToolCalled) -> str:
    """Return what a call is about: its command, else its tool and path, else its tool."""
    arguments = fact.arguments if isinstance(fact.arguments, dict) else {}
    for name in ("command", "cmd"):
        command = arguments.get(name)
        words = [command] if isinstance(command, str) else command
        if isinstance(words, list) and words and all(isinstance(word, str) for word in words):
            return f"command:{line_of_text(' '.join(words))}"
    places = (arguments.get(name) for name in ("file_path", "path"))
    path = next((place for place in places if isinstance(place, str)), "")
    return f"tool:{fact.tool} {line_of_text(path)}".rstrip()
