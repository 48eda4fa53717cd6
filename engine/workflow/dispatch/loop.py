"""The loop of a run over a list of tasks: read, fold, decide, dispatch, check, append."""

from datetime import datetime

from backcast.domain.call_events import BudgetGranted
from backcast.domain.dispatch_events import ItemDecided
from backcast.domain.errors import InputError
from backcast.domain.events import TaskStarted
from backcast.domain.task_list import ListedTask
from backcast.engine.workflow.dispatch.dispatch_run import DispatchRun
from backcast.engine.workflow.dispatch.dispatching import (
    check,
    checked_upon,
    dispatch,
    settle_cut,
)
from backcast.engine.workflow.dispatch.folders import sweep
from backcast.engine.workflow.dispatch.landing import commit_patch
from backcast.engine.workflow.dispatch.next_step import NextStep, next_step
from backcast.engine.workflow.dispatch.reopened import mark_again, open_again
from backcast.engine.workflow.dispatch.side_by_side import Turns, ordered, run_beside
from backcast.projections.dispatches import DispatchesState


def begin(run: DispatchRun) -> None:
    """Begin the run, or go on with it: what a killed process left is cleared away first."""
    goal = f"work through {run.tasks.path.name} of {run.source.top}"
    if run.version and run.goal != goal:
        raise InputError(
            f"task {run.task!r} of this store is to {run.goal or 'do something else'!r}:"
            " name another by --task"
        )
    sweep()
    if not run.version:
        run.append([TaskStarted(goal=goal)])
    settle_cut(run)
    run.note_tasks()
    open_again(run)
    mark_again(run)
    if run.settings.budget.limited and run.settings.budget != run.spending.allowed:
        limits = {name: most for name, most in run.settings.budget._asdict().items()
                  if most is not None}  # fmt: skip
        run.append([BudgetGranted(**limits)])


def work(run: DispatchRun) -> str:
    """Work on the tasks of the list; return why it stopped before the last, or nothing."""
    begun = run.state
    try:
        items = ordered(run.items(), run.tasks.list)
        if run.settings.concurrency > 1:
            run.turns = Turns(items)
            return run_beside(
                items, run.tasks.list, run.turns, run.settings.concurrency,
                lambda item: _work_on(run, item, begun),
            )  # fmt: skip
        for item in items:
            if stopped := _work_on(run, item, begun):
                return f"{item.id}: {stopped}"
        return ""
    finally:
        run.settle_leaving()


def _work_on(run: DispatchRun, item: ListedTask, begun: DispatchesState) -> str:
    """Work on a task until it is done; return why it is not.

    `begun` is the state at the beginning of this run: what was halted or paused then may go on.
    """
    run.mark(item.id, "doing")
    while True:
        step = next_step(
            run.state, item.id, reviewed=run.settings.reviewer is not None,
            attempts=run.settings.attempts, stalls=run.settings.stalls,
            halted=begun.closed.get(item.id, 0), paused=begun.at.get(item.id, 0),
        )  # fmt: skip
        match step.kind:
            case "done":
                run.turns.wait_to_land(item.id)
                if checked_upon(run, step.about) != run.base():
                    check(run, step.about)  # upon what was done meanwhile
                    continue
                _done(run, item, step)
                return ""
            case "halt":
                return _halt(run, item, step)
            case "check":
                check(run, step.about)
            case _:
                if denied := dispatch(run, item, step):
                    return _halt(run, item, step._replace(reason=denied, cause="budget"))


def _halt(run: DispatchRun, item: ListedTask, step: NextStep) -> str:
    cause = {"cause": step.cause} if step.cause else {}
    fact = ItemDecided(item=item.id, action="halt", reason=step.reason, attempt=step.attempt,
                       **cause)  # fmt: skip
    run.append([fact])
    run.mark(item.id, "to do")
    run.tell(f"{item.id}: halted: {step.reason}")
    return step.reason


def _done(run: DispatchRun, item: ListedTask, step: NextStep) -> None:
    """Commit accepted work onto the run's own branch, and mark its task."""
    found = run.state.dispatches[step.about]
    assert found.ended is not None
    patch = run.store.get(found.ended.patch) if found.ended.patch else b""
    agent, when = found.started.agent or "", _ended_at(run, step.about)
    message = f"{item.id} {item.title}\n\nWritten by {agent}, {run.task}@{step.about}.\n"
    base = checked_upon(run, step.about)
    merged = base != found.ended.commit
    made = commit_patch(run.source.repository, base, patch, run.branch, message, when,
                        merged=merged)  # fmt: skip
    reviewed = {"assessment": "approved"} if run.settings.reviewer else {}
    run.append([
        ItemDecided(item=item.id, action="done", reason=step.reason, attempt=step.attempt,
                    commit=made, branch=run.branch, **reviewed)
    ])  # fmt: skip
    run.mark(item.id, "done", *run.tasks.done_with(item.id))
    run.tell(f"{item.id}: done: {step.reason}; {made[:7]} on {run.branch}")


def _ended_at(run: DispatchRun, version: int) -> datetime:
    """Return when a dispatch ended: the date of its commit, the same however often it is made."""
    events = run.store.read(run.task, after=version, types=["DISPATCH_ENDED"])
    return next(event.timestamp for event in events if event.fact.data["dispatch"] == version)
