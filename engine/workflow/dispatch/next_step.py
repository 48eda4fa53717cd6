"""Decides what comes next for a task of the list, from what was recorded of it."""

from typing import Literal, NamedTuple

from backcast.projections import dispatches
from backcast.projections.dispatches import DispatchState

UNFINISHED = ("cut", "cancelled")
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


def next_step(
    state: dispatches.State, item: str, *, reviewed: bool, attempts: int, halted: int = 0
) -> NextStep:
    """Return what comes next for a task; what was done before the event `halted` counts no more."""
    done = [
        (version, found) for version, found in dispatches.of_item(state, item) if version > halted
    ]
    if not done:
        return NextStep("implement")
    version, last = done[-1]
    attempt = last.started.attempt or 1
    if last.ended is None:
        return NextStep("halt", attempt, version, "it is under way")
    if last.started.role == "reviewer":
        return _after_review(done, attempts)
    if last.ended.outcome in UNFINISHED:
        return NextStep("implement", attempt, _latest_check(done), review=_review(done))
    if last.claimed is not None and last.claimed.result is None and _may_mend(last):
        return NextStep("mend", attempt, version, last.claimed.message or "")
    if last.checked is None:
        return NextStep("check", attempt, version)
    if last.checked.accepted:
        kind: Literal["review", "done"] = "review" if reviewed else "done"
        return NextStep(kind, attempt, version, last.checked.reason or "")
    return _again(attempt, attempts, version, last.checked.reason or "")


def _after_review(done: list[tuple[int, DispatchState]], attempts: int) -> NextStep:
    version, last = done[-1]
    work, state = next(
        (number, found) for number, found in reversed(done)
        if found.started.role != "reviewer" and found.checked is not None
    )  # fmt: skip
    attempt = state.started.attempt or 1
    result = last.claimed.result if last.claimed else None
    if result is None:
        if last.ended is not None and last.ended.outcome in UNFINISHED:
            return NextStep("review", attempt, work)
        if _may_mend(last):
            return NextStep("mend", attempt, version, (last.claimed and last.claimed.message) or "")
        silent = sum(found.started.role == "reviewer" for number, found in done if number > work)
        if silent < SILENT_REVIEWS:
            return NextStep("review", attempt, work)
        return NextStep("halt", attempt, version, "the reviewer gave no result that can be read")
    match result["assessment"]:
        case "approved":
            return NextStep("done", attempt, work, "approved by the reviewer")
        case "blocked":
            return NextStep("halt", attempt, version, "the reviewer says blocked")
    fixes = list(map(str, result.get("required_fixes", ())))
    before = [
        found.claimed.result
        for number, found in done
        if number != version and found.started.role == "reviewer"
        and found.claimed and found.claimed.result
    ]  # fmt: skip
    if before and before[-1].get("required_fixes", []) == result.get("required_fixes", []):
        return NextStep("halt", attempt, version, "the reviewer requires the same fixes twice")
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
