"""What `backcast regress` says of logs in which it finds nothing to try, or more than one kind."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from backcast.engine.replay.agent_prompts import has_messages

if TYPE_CHECKING:
    from backcast.engine.interfaces.regress_report import Column
    from backcast.engine.log.open_logs import Log
    from backcast.engine.replay.corpus import ReplayRun, Setting, Tried

FEW = 4
"Settings that are named."
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


def unmoved(settings: "Sequence[Setting]", columns: "Sequence[Column]") -> Iterator[str]:
    """Yield a line for each policy with other settings than the baseline under which all prompts
    were the same to the byte."""
    from backcast.engine.context.policies import differing_settings
    from backcast.engine.context.strategies import STRATEGIES

    known = {setting.name: setting.policy for setting in settings}
    before = known.get(columns[0].name)
    for column in columns[1:]:
        policy, beside = known.get(column.name), column.beside
        if policy is None or not (beside and 0 < beside.same == beside.after.prompts):
            continue
        if before is None:
            differ = "" if column.name in STRATEGIES else "what it sets otherwise, if anything,"
        else:
            names = [n for n in differing_settings(before, policy) if n not in ("name", "version")]
            more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
            differ = f"{', '.join(names[:FEW])}{more}" if names else ""
        if differ:
            yield (
                f"{column.name}: all {beside.same:,} prompts are the same to the byte as under"
                f" {columns[0].name}: {differ} changed nothing here"
            )


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
