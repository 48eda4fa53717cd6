"""What `backcast regress` says of logs in which it finds nothing to try, or more than one kind."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from backcast.engine.replay.agent_prompts import has_messages

if TYPE_CHECKING:
    from backcast.engine.log.open_logs import Log
    from backcast.engine.replay.corpus import ReplayRun, Tried

MANY = 500
"Changes whose prompts take more than some seconds."


def nothing_in(log: "Log") -> str:
    """Return what a log holds that has no prompts and no changes of functions to try."""
    if any(has_messages(log.store, task) for task in log.tasks):
        return "prompts of another program alone: --histories tries its messages otherwise"
    return "no prompts and no changes of functions"


def untried(found: "Sequence[Tried]") -> list[str]:
    """Return the logs in whose runs no prompt was tried."""
    logs = dict.fromkeys(result.run.log for result in found)
    tried = {result.run.log for result in found if result.steps}
    return [log for log in logs if log not in tried]


def both_tried(runs: "Sequence[ReplayRun]") -> Iterator[str]:
    """Yield a line for each task whose recorded prompts are tried beside its changes."""
    for run in (run for run in runs if run.prompts):
        if changes := sum(other.length for other in runs if other.task == run.task):
            prompts = "1 recorded prompt" if run.prompts == 1 else f"{run.prompts:,} prompts"
            yield f"{run.task} holds {prompts} and {changes:,} changes of its code: all are tried"


def long_trial(runs: "Sequence[ReplayRun]", policies: int, *, reported: bool) -> str:
    """Return what a trial of a long history will build; empty for a short one.

    `reported` tells whether a report keeps what is done.
    """
    changes = sum(run.length for run in runs)
    if changes < MANY:
        return ""
    advice = "--last 200 tries only the last ones of each history"
    if not reported:
        advice += ", and --report FILE.jsonl keeps what is done after Ctrl-C"
    return f"{changes:,} changes under {policies} policies take a while: {advice}"
