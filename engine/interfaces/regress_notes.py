"""What `backcast regress` says of logs in which it finds nothing to try, or more than one kind."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from backcast.domain.errors import BackcastError
from backcast.engine.interfaces.profiles import RECORDED
from backcast.engine.replay.agent_prompts import has_messages
from backcast.engine.replay.steps import asked

if TYPE_CHECKING:
    from backcast.engine.interfaces.regress_report import Column
    from backcast.engine.log.open_logs import Log
    from backcast.engine.replay.corpus import ReplayRun, Setting, Tried

FEW = 4
"Settings that are named."
FIRST = "default"
"The name under which `coverage` was recorded while it was the default."
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


def recorded_under(log: "Log", tasks: "Sequence[str]") -> set[str]:
    """Return the strategies by which the prompts of some tasks were recorded, with their versions.

    A policy of one's own is none: what it lies over is not recorded.
    """
    from backcast.domain.policy import COVERAGE
    from backcast.engine.context.policies import policy_of
    from backcast.engine.context.strategies import STRATEGIES

    facts = [prompt.fact for task in tasks for prompt in asked(log.store, task)]
    found = set()
    for ref in {fact.policy for fact in facts if fact.policy}:
        try:
            policy = policy_of(log.store.get(ref))
        except BackcastError:  # it is masked, and whoever rebuilds the prompt says so
            continue
        name = COVERAGE.name if policy.name == FIRST else policy.name
        if name in STRATEGIES:
            found.add(f"{name} {policy.version}")
    return found


def other_base(recorded: "AbstractSet[str]", policies: "Sequence[str]") -> str:
    """Return that a policy file lies over another strategy than prompts were recorded under; empty
    where none does."""
    from backcast.domain.policy import DEFAULT
    from backcast.engine.context.policies import base_of, policy_known
    from backcast.engine.context.strategies import STRATEGIES

    for policy in policies:
        if policy == RECORDED or policy_known(policy):
            continue  # it is no file, and has no base
        base = base_of(policy)
        over = f"{STRATEGIES[base].name} {STRATEGIES[base].version}"
        if others := " and ".join(sorted(recorded - {over})):
            name = "default" if base == DEFAULT.name else base
            return (
                f"prompts were recorded under {others}, and {policy} lies over {over}:"
                f" '--baseline {name}' tells what its own settings do"
            )
    return ""


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
