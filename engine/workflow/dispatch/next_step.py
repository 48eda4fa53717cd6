"""Decides what comes next for a task of the list, from what was recorded of it."""

from typing import Literal, NamedTuple

from backcast.domain.ledger import STALLS, StallPolicy, stall
from backcast.engine.history.ledgers import LedgerStates, attempts_of
from backcast.projections import checks, dispatches, facts, progress
from backcast.projections.dispatches import DispatchState

UNFINISHED = ("cut", "cancelled", "budget", "unreached")
"Outcomes that say nothing of the agent: it is dispatched again, as the same attempt."
SILENT_REVIEWS = 2
"Reviews without a result after which a person must look."


class NextStep(NamedTuple):
    """What comes next for a task."""

    kind: Literal["implement", "mend", "check", "review", "done", "halt"]
    attempt: int = 1
    about: int = 0
    "The version of the DISPATCH_STARTED that it follows from."
    reason: str = ""
    review: int = 0
    "The version of the DISPATCH_STARTED of the review whose fixes are required."
    advice: str = ""
    "What the agent is told where the attempts before were all alike."
    cause: str = ""
    "Of a halt that says nothing of the work: budget or server."


def next_step(
    state: dispatches.State, item: str, *, reviewed: bool, attempts: int, halted: int = 0,
    paused: int = 0, stalls: StallPolicy = STALLS,
) -> NextStep:  # fmt: skip
    """Return what comes next for a task.

    What was done before the event `halted` counts no more. What was going on when the budget ended
    or the server was gone, as the event `paused` tells, is done again, as the same attempt.
    """
    done = [
        (version, found) for version, found in dispatches.of_item(state, item) if version > halted
    ]
    if not done:
        return NextStep("implement")
    version, last = done[-1]
    attempt = last.started.attempt or 1
    if last.ended is None:
        return NextStep("halt", attempt, version, "it is under way")
    if last.ended.outcome == "unreached" and version > paused:
        return NextStep("halt", attempt, version, last.ended.reason or "", cause="server")
    if last.started.role == "reviewer":
        return _unless_stalled(_after_review(done, attempts), state, item, halted, stalls)
    if last.ended.outcome in UNFINISHED:
        return NextStep("implement", attempt, _latest_check(done), review=_review(done))
    if last.claimed is not None and last.claimed.result is None and _may_mend(last):
        return NextStep("mend", attempt, version, last.claimed.message or "")
    if last.checked is None:
        return NextStep("check", attempt, version)
    if last.checked.accepted:
        kind: Literal["review", "done"] = "review" if reviewed else "done"
        return NextStep(kind, attempt, version, last.checked.reason or "")
    step = _again(attempt, attempts, version, last.checked.reason or "")
    return _unless_stalled(step, state, item, halted, stalls)


def _unless_stalled(
    step: NextStep, state: dispatches.State, item: str, halted: int, policy: StallPolicy
) -> NextStep:
    """Return the step, with advice where attempts are alike; a halt where that did not help."""
    if step.kind != "implement":
        return step
    states = LedgerStates(progress.initial, checks.initial, state, facts.initial)
    made = [found for found in attempts_of(states).get(item, ()) if found.version > halted]
    # A stall is told of once; the work may have stalled, and the review of it not.
    last = max((place for place, found in enumerate(made, 1) if not found.review), default=0)
    stalls = [stall(made[:end], policy) for end in range(last, len(made) + 1)]
    stalled = max(stalls, key=lambda found: (found.halt, bool(found.kind)))
    advice = f"{stalled.why}; {stalled.advice}".removeprefix(f"{item}: ")
    if stalled.halt:
        return NextStep("halt", step.attempt, step.about, advice)
    return step._replace(advice=advice if stalled.kind else "")


def _after_review(done: list[tuple[int, DispatchState]], attempts: int) -> NextStep:
    version, last = done[-1]
    work, state = next(
        (number, found) for number, found in reversed(done)
        if found.started.role != "reviewer" and found.checked is not None
    )  # fmt: skip
    attempt = state.started.attempt or 1
    if state.checked is not None and not state.checked.accepted:  # upon what was done meanwhile
        return _again(attempt, attempts, work, state.checked.reason or "")
    result = last.claimed.result if last.claimed else None
    if result is None:
        if last.ended is not None and last.ended.outcome in UNFINISHED:
            return NextStep("review", attempt, work)
        if _may_mend(last):
            return NextStep("mend", attempt, version, (last.claimed and last.claimed.message) or "")
        silent = sum(found.started.role == "reviewer" for number, found in done if number > work)
        if silent < SILENT_REVIEWS:
            return NextStep("review", attempt, work)
        reason = "the reviewer gave no result that can be read"
        if last.ended is not None and last.ended.outcome == "failed":
            reason = f"{reason}: {last.ended.reason}"
        elif last.claimed is not None and last.claimed.message:
            reason = f"{reason}: {last.claimed.message}"
        return NextStep("halt", attempt, version, reason)
    match result["assessment"]:
        case "approved":
            return NextStep("done", attempt, work, "approved by the reviewer")
        case "blocked":
            return NextStep("halt", attempt, version, "the reviewer says blocked")
    fixes = list(map(str, result.get("required_fixes", ())))
    reason = f"the reviewer requires {len(fixes)} fixes" if len(fixes) != 1 else (
        "the reviewer requires 1 fix")  # fmt: skip
    return _again(attempt, attempts, work, reason, version)


def _again(attempt: int, attempts: int, version: int, reason: str, review: int = 0) -> NextStep:
    if attempt >= attempts:
        tried = "1 attempt" if attempt == 1 else f"{attempt} attempts"
        return NextStep("halt", attempt, version, f"{reason}; {tried} made")
    return NextStep("implement", attempt + 1, version, reason, review)


def _may_mend(state: DispatchState) -> bool:
    """Return whether an agent may be asked once for a result that can be read."""
    answered = state.ended is not None and state.ended.outcome == "answered"
    return answered and state.started.repairs is None


def _latest_check(done: list[tuple[int, DispatchState]]) -> int:
    return max((version for version, found in done if found.checked is not None), default=0)


def _review(done: list[tuple[int, DispatchState]]) -> int:
    """Return the review that the latest check led to."""
    checked = _latest_check(done)
    return max((version for version, found in done if version > checked
                and found.started.role == "reviewer" and found.claimed), default=0)  # fmt: skip
