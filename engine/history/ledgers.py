"""Both ledgers of a task, from its folded states: of a code run, or of a run over a task list."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from backcast.domain.dispatch_prompt import VERSION
from backcast.domain.ledger import STALLS, Attempt, Ledger, LedgerItem, Stall, StallPolicy, stall
from backcast.domain.moment import NOW, Moment
from backcast.domain.node import node_id
from backcast.domain.task_list import ListedTask, TaskList
from backcast.domain.timed_facts import TimedFact, holding
from backcast.engine.log.store import EventStore
from backcast.projections import checks, dispatches, facts, fold, progress

UNFINISHED = ("cut", "cancelled", "budget", "unreached")
"Outcomes of a dispatch that say nothing of the agent."
LISTED = 12
"Facts of a kind that a ledger shows, the latest; the rest are counted."
GIVEN = ("goal", "requires", "stands at")
GUESSED = ("result", "assessment", "issue", "must fix")
FOUND = ("checks", "accepted", "differs")
ENDS = {"complete": "done", "failed": "failed"}
STATUSES = {"complete": "done", "started": "doing"}


_EXITED = re.compile(r"(it ended with exit code -?\d+|signal \d+ ended it): .*", re.DOTALL)


class LedgerStates(NamedTuple):
    """The states that both ledgers are made of."""

    progress: progress.State
    checks: checks.State
    dispatches: dispatches.State
    facts: facts.State


def ledger_states(
    store: EventStore, task_id: str, moment: Moment = NOW, last: int | None = None
) -> LedgerStates:
    """Return the states of a task at a moment, or by its event `last`; its log is read once."""
    folds: Sequence[Any] = (progress, checks, dispatches, facts)
    events = list(store.read(task_id, moment=moment, last=last))
    return LedgerStates._make(fold(one, events) for one in folds)


def ledger_of(
    task_id: str, states: LedgerStates, policy: StallPolicy = STALLS, version: int = VERSION
) -> Ledger:
    """Return both ledgers of a task; of an older `version` as prompts of that one show it."""
    items = tuple(_items(states, version))
    done = [item for item in items if item.status == "done"]
    stalls = tuple(_stalls(states, policy, {item.id for item in done}, version))
    halted = _halted(states, version)
    status = ENDS.get(states.progress.status, "running" if states.progress.events else "unknown")
    if status == "running" and items and len(done) == len(items) and states.dispatches.tasks:
        status = "done"
    if status == "running" and (halted or any(found.halt for found in stalls)):
        status = "blocked"
    who, what = "", ""
    if status in ("running", "blocked"):
        who, what = _next(states, items, stalls, halted, version)
    known = holding(states.facts.slots)
    return Ledger(
        status, items, tuple(_given(task_id, known)), tuple(_look_up(states, known)),
        _latest(fact for fact in known if not fact.found and fact.relation in GUESSED),
        tuple(_plan(states, items)), stalls, who, what,
    )  # fmt: skip


# Progress


def _items(states: LedgerStates, version: int) -> Iterator[LedgerItem]:
    for task in states.dispatches.tasks:
        decided = states.dispatches.decided.get(task.id)
        if version > 2 and dispatches.goes_on(states.dispatches, task.id):
            decided = None  # it was halted, and goes on
        note = f"{decided.action}: {decided.reason or ''}".rstrip(": ") if decided else ""
        yield LedgerItem(task.id, task.title, task.status, note)
    if states.dispatches.tasks:
        return
    planned = {module.path: module.purpose for module in states.progress.planned}
    known = states.progress.modules
    if not planned and states.progress.status == "unknown":
        return  # a history of commits has no plan
    for path in dict.fromkeys((*planned, *sorted(known))):
        module = known.get(path)
        if module and module.status == "deleted":
            continue
        status = STATUSES.get(module.status, "doing") if module else "to do"
        if status == "doing" and states.progress.status == "complete":
            status = "done"  # an agent's log tells of no module's end
        yield LedgerItem(path, planned.get(path, ""), status, _checked(module))


def _checked(module: progress.ModuleProgress | None) -> str:
    if module is None or not module.iteration:
        return ""
    plural = "check fails" if module.failed == 1 else "checks fail"
    failed = {None: "", 0: ", its checks pass"}.get(module.failed, f", {module.failed} {plural}")
    return f"iteration {module.iteration}{failed}"


def _stalls(
    states: LedgerStates, policy: StallPolicy, done: set[str], version: int
) -> Iterator[Stall]:
    unfinished = UNFINISHED if version > 2 else UNFINISHED[:2]
    for item, attempts in attempts_of(states, unfinished).items():
        found = stall(attempts, policy)
        if found.kind and item not in done:
            yield found


def attempts_of(
    states: LedgerStates, unfinished: Sequence[str] = UNFINISHED
) -> Mapping[str, list[Attempt]]:
    """Return the attempts at each task of a list, or each module, oldest first."""
    found: dict[str, list[Attempt]] = {}
    made = states.dispatches.dispatches
    mended = {made[version].started.repairs for version in sorted(made)}
    for version in sorted(made):
        attempt = _of_dispatch(version, made[version], mended, unfinished)
        if attempt:
            found.setdefault(attempt.item, []).append(attempt)
    for path in sorted(states.checks.runs):
        runs = reversed(states.checks.runs[path]) if path else ()
        found[path] = [_of_run(path, run) for run in runs]
    return {item: attempts for item, attempts in found.items() if attempts}


def _of_dispatch(
    version: int, found: dispatches.DispatchState, mended: set[int | None],
    unfinished: Sequence[str],
) -> Attempt | None:  # fmt: skip
    started, ended, checked = found.started, found.ended, found.checked
    item, who = started.item or "", started.agent or ""
    if ended is None or ended.outcome in unfinished or (found.claim and found.claim in mended):
        return None
    result = found.claimed.result if found.claimed else None
    if started.role == "reviewer":
        fixes = result.get("required_fixes") if isinstance(result, dict) else None
        return Attempt(item, who, version, complaint=_digest(fixes) if fixes else "", review=True)
    failure = ""
    if checked is None:
        error = found.claimed.error if found.claimed else None
        failure = _digest([ended.outcome, _alike(ended.reason), error])
    elif not checked.accepted:
        named = sorted(one.name + one.message.partition("\n")[0] for one in checked.failures)
        failure = _digest(named or _alike(checked.reason))
    return Attempt(item, who, version, failure, (ended.patch or "") if ended.files else "")


def _alike(reason: str | None) -> str | None:
    """Return a reason without the last words of an agent, which differ where it fails alike."""
    return reason and _EXITED.sub(r"\1", reason)


def _of_run(path: str, run: checks.TestedRun) -> Attempt:
    """Return a run of a module's checks as the attempt that it judges."""
    source = next((written.source for written in run.wrote if written.path == path), None)
    named = sorted(f"{check.name}: {check.message}" for check in run.failed)
    failure = _digest(named or run.unmet) if run.unmet else ""
    return Attempt(path, "the model", run.version, failure, source or "")


def _digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _halted(states: LedgerStates, version: int) -> dict[str, str]:
    """Return why tasks of a list were halted, by id."""
    decided, at = states.dispatches.decided, states.dispatches.at
    made = states.dispatches.dispatches
    items = ((version, made[version].started.item or "") for version in sorted(made))
    since = {item for version, item in items if version > at.get(item, version)}
    return {
        item: decided[item].reason or "halted"
        for item in sorted(decided)
        if decided[item].action == "halt"
        and item not in since
        and not (version > 2 and dispatches.goes_on(states.dispatches, item))
    }


def _next(
    states: LedgerStates, items: Sequence[LedgerItem], stalls: Sequence[Stall],
    halted: Mapping[str, str], version: int,
) -> tuple[str, str]:  # fmt: skip
    """Return who is next, and with what."""
    if running := dispatches.under_way(states.dispatches):
        _, made = running[-1]
        attempt = made.started.attempt or 1
        return made.started.agent or "", f"{made.started.item}, attempt {attempt}, is under way"
    if reason := next((found for found in stalls if found.halt), None):
        return "a person", f"{reason.why}: {reason.advice}"
    if halted:
        item = next(iter(halted))
        if version > 2 and states.dispatches.decided[item].pauses:
            server = states.dispatches.decided[item].cause == "server"
            how = "once its server answers" if server else "with a higher --budget"
            return "a person", f"let {item} go on {how} ({halted[item]})"
        return "a person", f"decide on {item}: {halted[item]}"
    if states.dispatches.tasks:
        task = TaskList(tuple(
            ListedTask(task.id, task.title, task.status, parent=task.parent or "")
            for task in states.dispatches.tasks
        )).next()  # fmt: skip
        doing = next((item for item in items if item.status == "doing"), None)
        if doing or task:
            chosen = doing or task
            assert chosen is not None
            work = [found for _, found in dispatches.of_item(states.dispatches, chosen.id)
                    if found.started.role != "reviewer"]  # fmt: skip
            passed = doing and work and work[-1].checked and work[-1].checked.accepted
            who = "the reviewer" if version > 2 and passed else "the implementer"
            return who, f"{chosen.id} {chosen.title}".strip()
        return "", ""
    return "", progress.waiting_for(states.progress)


# What is known


def _given(task_id: str, known: Sequence[TimedFact]) -> Iterator[str]:
    task = node_id("task", task_id)
    for fact in known:
        if fact.found and fact.subject == task and fact.relation in GIVEN:
            words = {"goal": fact.object, "requires": fact.object}
            yield words.get(fact.relation, f"stands at {fact.object}")
    yield from _latest(fact for fact in known if fact.found and fact.relation in FOUND)


def _look_up(states: LedgerStates, known: Sequence[TimedFact]) -> Iterator[str]:
    broken = [
        fact for fact in known if fact.found and fact.relation in ("verdict", "does not parse")
    ]
    yield from (f"why {line.replace(' verdict: ', ' ', 1)}" for line in _latest(broken))
    yield from (f"the text of {node}" for node in states.progress.wanted)
    yield from _latest(fact for fact in known if fact.relation == "needs next")


def _latest(found: Iterator[TimedFact] | Sequence[TimedFact]) -> tuple[str, ...]:
    """Return the latest of some facts as lines, in the order of their events."""
    ordered = sorted(found, key=lambda fact: (fact.event, fact.line))
    more = len(ordered) - LISTED
    lines = [_line(fact) for fact in ordered[-LISTED:]]
    return (f"{more} earlier ones", *lines) if more > 0 else tuple(lines)


def _line(fact: TimedFact) -> str:
    _, _, name = fact.subject.partition(":")
    return f"{name} {fact.relation}: {fact.object}"


def _plan(states: LedgerStates, items: Sequence[LedgerItem]) -> Iterator[str]:
    """Yield what is planned of what is not done yet, in order."""
    waiting = {item.id for item in items if item.status != "done"}
    for module in states.progress.planned:
        if module.path in waiting:
            needs = f" (after {', '.join(module.dependencies)})" if module.dependencies else ""
            yield f"{module.path}{needs}"
    if states.dispatches.tasks and waiting:
        yield " then ".join(item.id for item in items if item.id in waiting)
