"""What `regress` tries: policies, a baseline and rules, as its options say."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from backcast.domain.errors import InputError
from backcast.engine.interfaces.profiles import (
    DEFAULT_PROFILE,
    RECORDED,
    profile_by,
    setting_of,
)
from backcast.engine.interfaces.terminal import message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backcast.domain.budget import ModelProfile
    from backcast.engine.interfaces.regress_report import Column
    from backcast.engine.replay.corpus import ReplayRun, Setting, Tried
    from backcast.engine.replay.regress import Rules
    from backcast.engine.replay.tradeoffs import TradeOffs


class RegressPlan(NamedTuple):
    """What is to be tried."""

    settings: "list[Setting]"
    rules: "list[Rules]"
    "Of each policy but the baseline."
    profile: "ModelProfile | None"
    report: Path | None
    "The report that is the baseline; else that is the first setting."


def planned(
    policies: tuple[str, ...], baseline: str, limits: tuple[str, ...], profile: str | None,
    context_tokens: int | None,
) -> RegressPlan:  # fmt: skip
    """Return what some options ask to try; `InputError` where they do not go together."""
    from backcast.engine.replay.regress import rules_of

    report = Path(baseline) if baseline.endswith(".json") else None
    names = [*policies] if report else [baseline, *policies]
    if report and not report.is_file():
        raise InputError(f"{report}: needed a report of 'regress --report', found no such file")
    if not names:
        raise InputError("--baseline names a report: needed --policy too, for instance recorded")
    asked = None
    if profile or context_tokens:
        asked = profile_by(profile or DEFAULT_PROFILE, None, context_tokens)
    rules = [rules_of(name, limits) for name in policies]
    return RegressPlan([setting_of(name) for name in names], rules, asked, report)


def strategies_of(
    policies: tuple[str, ...], baseline: str, model: str | None
) -> tuple[str, tuple[str, ...]]:
    """Return the baseline and the other policies of --strategies: all that can be built here."""
    from backcast.engine.context.recorded import embedder_lacks
    from backcast.engine.context.strategies import STRATEGIES

    if policies or baseline != RECORDED or model:
        raise click.UsageError(
            "--strategies: needed no --policy, --baseline or --model beside it: it names its own"
        )
    names = []
    for name, policy in STRATEGIES.items():
        if name != policy.name:
            continue  # another name of one of them
        if reason := embedder_lacks(policy):
            message(f"note: {name} is left out: {reason}")
        else:
            names.append(name)
    return names[0], tuple(names[1:])


def trade_offs_of(
    plan: RegressPlan, runs: "Sequence[ReplayRun]", columns: "Sequence[Column]"
) -> "TradeOffs":
    """Return what each policy costs and keeps, by some runs that are built again."""
    from backcast.engine.interfaces.terminal import progress_bar
    from backcast.engine.replay.tradeoffs import RUNS, trade_offs

    with progress_bar("rebuilding", min(RUNS, len(runs))) as advance:
        summaries = [column.summary for column in columns]
        return trade_offs(runs, plan.settings, summaries, plan.profile, advance)


def compared_in(plan: RegressPlan, found: "list[Tried]") -> "tuple[list[Column], list[Tried]]":
    """Return the columns of the table, and the runs with the baseline in front."""
    from backcast.engine.interfaces.regress_report import Column
    from backcast.engine.replay.baseline import beside, figures_in
    from backcast.engine.replay.regress import compared, summary

    names = [one.name for one in plan.settings]
    if plan.report:
        try:
            found, unknown = beside(found, figures_in(plan.report))
        except InputError as error:
            raise click.UsageError(str(error)) from None
        names = [plan.report.name, *names]
        if unknown and not any(one.steps for one in found):
            raise click.UsageError(f"{plan.report}: tells none of the prompts of these logs")
        if unknown:
            message(f"note: {plan.report} lacks {unknown} prompts")
    others = compared(found, names, plan.rules)
    first = Column(names[0], summary(found, 0))
    return [first, *(Column(one.policy, one.after, one) for one in others)], found
