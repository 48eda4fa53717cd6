"""`backcast regress`: try policies on recorded logs."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import LOGS, UNREADABLE, address_argument, each_log
from backcast.engine.interfaces.log_findings import LogFindings
from backcast.engine.interfaces.log_shelf import LogShelf
from backcast.engine.interfaces.many_logs import LogTimes
from backcast.engine.interfaces.options import (
    engine_on,
    json_option,
    on_option,
    plot_option,
    store_option,
)
from backcast.engine.interfaces.profiles import (
    DEFAULT_PROFILE,
    RECORDED,
    profile_by,
    setting_of,
)
from backcast.engine.interfaces.regress_trial import Trial, growing_report
from backcast.engine.interfaces.running import INTERRUPTED
from backcast.engine.interfaces.scoring import Reading
from backcast.engine.interfaces.terminal import message
from backcast.engine.log.remote import copies_kept, is_remote, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backcast.domain.budget import ModelProfile
    from backcast.engine.interfaces.regress_report import Column
    from backcast.engine.models.reading import OutcomeReader
    from backcast.engine.replay.corpus import ReplayRun, Setting, Tried
    from backcast.engine.replay.regress import Rules
    from backcast.engine.replay.tradeoffs import TradeOffs


@click.command(name="regress")
@address_argument("addresses", several=True, metavar=LOGS)
@store_option
@click.option("--policy", "policies", multiple=True, metavar="NEW",
              help="TOML or a name; may be repeated.")  # fmt: skip
@click.option("--strategies", is_flag=True,
              help="All named strategies, as a table of what each costs and keeps.")  # fmt: skip
@click.option("--histories", is_flag=True,
              help="All policies of an agent's messages, as a table.")  # fmt: skip
@click.option("--routing", "routings", multiple=True, type=Path, metavar="FILE.toml",
              help="Of dispatches: who would have been asked, at which cost.")  # fmt: skip
@click.option("--explain", is_flag=True, help="Of such policies: what each prompt lost.")
@click.option("--baseline", default=RECORDED, metavar="OLD", show_default=True,
              help="TOML, a name, each prompt's own, or a report (.json).")  # fmt: skip
@click.option("--limit", "limits", multiple=True, metavar="RULE=N", help="What counts as worse.")
@click.option("--profile", metavar="NAME", help="Another window than the recorded one.")
@click.option("--context-tokens", type=int, metavar="N",
              help="A context part of N tokens, within the profile's window.")  # fmt: skip
@click.option("--window", type=click.IntRange(1), default=25, show_default=True,
              help="Changes of a history that count as one run.")  # fmt: skip
@click.option("--model", metavar="MODEL",
              help="Also how likely a model holds the outcomes: see score.")  # fmt: skip
@click.option("--sample", type=click.IntRange(1), metavar="N", help="It reads only N of the steps.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="S",
              help="It reads no longer than this.")  # fmt: skip
@click.option("--report", "reports", multiple=True, type=Path, metavar="FILE",
              help="Also as FILE.md or FILE.json; FILE.jsonl is gone on from.")  # fmt: skip
@plot_option("the evidence recall of each policy")
@click.option("--processes", type=click.IntRange(1), help="As many as there are cores.")
@on_option("processes")
@json_option
def command(
    addresses: tuple[Address, ...], url: str, policies: tuple[str, ...], strategies: bool,
    histories: bool, routings: tuple[Path, ...], explain: bool, baseline: str,
    limits: tuple[str, ...], profile: str | None,
    context_tokens: int | None, window: int, model: str | None, sample: int | None,
    seconds: float | None, reports: tuple[Path, ...], plot: Path | None, processes: int | None,
    on: str, as_json: bool,
) -> None:  # fmt: skip
    """Build recorded prompts under other policies; tell what is worse.

    \b
    backcast regress fixtures/logs/till.jsonl --policy mine.toml
    backcast regress 'runs/**/*.jsonl' --policy hierarchical --policy no-cache --report out.md
    backcast regress s3://bucket/runs/ --policy mine.toml
    backcast regress fixtures/logs/till.jsonl --strategies  # what each costs, and what it keeps
    backcast regress fixtures/recorded/agent.jsonl --histories  # an agent's messages, otherwise
    backcast regress fixtures/recorded/routed.jsonl --routing cheap-first.toml  # who, at what cost
    backcast regress runs/*.jsonl --report main.json        # later, by other code:
    backcast regress runs/*.jsonl --policy recorded --baseline main.json
    backcast regress runs/*.jsonl --policy mine.toml --on dask://HOST:8786 --report grows.jsonl

    LOG is a file, a folder, a quoted pattern, or a URL: https://, s3://, gs://, or that of a store.
    Evidence recall is the share, of what the accepted code really used, that the prompt had shown.
    In a git history each change of a function is taken as a request for it.
    A policy of an agent's messages is tried on agents' runs: 'backcast help histories'.
    Without --model no model is asked. What counts as a regression stands in the policy's file under
    [regress], or in --limit: recall, prefix (points), critical, stale, unfit (numbers), tokens
    (percent), nats (per token, with --model). Exit codes: 0; 1 for a regression, or a log that is
    not whole; else 2 where a log, policy or option cannot be read, or nothing was there to try.

    With --json each policy is a line: "recall_percent" is the share as in the table, and
    "recall_points" the difference to the baseline ("recall" is the first of the baseline, the other
    of others); "limits" are the rules, with what is "allowed", what was "found" (how much worse,
    points, percent or a number) and whether each "holds"; "regression" is whether one does not.
    "worse" names what it shows less of than the baseline, "missed" all that it did not show.
    "logs" tells how many were "read", why others are "unreadable", the "damage" in them, their
    events of "unknown_types", and how many runs are "unmeasured"; then the "exit_code".
    """
    from backcast.engine.interfaces.histories import message_policies, try_histories
    from backcast.engine.interfaces.regress_notes import untried
    from backcast.engine.interfaces.regress_report import next_looks
    from backcast.engine.log.engines import PROCESSES
    from backcast.engine.replay.corpus import NOTHING
    from backcast.engine.replay.regress import rules_of

    if routings:
        from backcast.engine.interfaces.routings import try_routings

        others = {
            "--policy": policies, "--strategies": strategies, "--histories": histories,
            "--explain": explain, "--baseline": baseline != RECORDED, "--model": model,
            "--context-tokens": context_tokens, "--report": reports, "--sample": sample,
            "--limit": limits, "--profile": profile, "--plot": plot,
        }  # fmt: skip
        if odd := next((name for name, given in others.items() if given), None):
            raise click.UsageError(f"{odd}: needed no --routing beside it")
        raise SystemExit(try_routings(addresses, url, routings, as_json=as_json))
    of_messages = message_policies(policies, every=histories)
    if of_messages:
        others = {
            "--strategies": strategies, "--baseline": baseline != RECORDED, "--model": model,
            "--context-tokens": context_tokens, "--report": reports, "--sample": sample,
        }  # fmt: skip
        if odd := next((name for name, given in others.items() if given), None):
            raise click.UsageError(f"{odd}: needed no policy of an agent's messages beside it")
        rules = [] if histories else [rules_of(name, limits) for name in policies]
        code = try_histories(
            addresses, url, of_messages, rules, profile, plot, explain=explain, as_json=as_json
        )
        raise SystemExit(code)
    if explain:
        raise click.UsageError("--explain: needed --histories, or a policy of an agent's messages")
    growing = growing_report(reports)  # before the work, which is long
    if strategies:
        baseline, policies = _strategies(policies, baseline, model)
    plan = _planned(policies, baseline, limits, profile, context_tokens)
    if model and plan.report:
        raise click.UsageError("--model: needed a policy as the baseline, found a report")
    elsewhere = None if on == PROCESSES else on
    if model and seconds and elsewhere:
        raise click.UsageError("--seconds: needed no --on beside it: --sample N reads less there")
    reading = Reading(model, context_tokens, sample, seconds) if model else None
    reader = reading.reader() if reading else None
    times, findings = LogTimes(), LogFindings()
    with ExitStack() as stack:
        if any(is_remote(named.log) for named in addresses):
            stack.enter_context(copies_kept())
        trial = Trial(stack, plan.settings, plan.profile, growing, engine_on(on, processes))
        runs, why = _runs(addresses, url, window, times, findings)
        measured = trial.run(runs, times) if runs else []
        for name in untried(measured):
            message(f"note: {shown(name)} holds {why[name]}")
        if not any(result.steps for result in measured):
            code = 1 if trial.failed and not findings.unreadable else UNREADABLE
            if as_json:
                click.echo(json_text({"logs": findings.plain(), "exit_code": code}))
            if findings.unreadable or trial.failed:
                raise SystemExit(code)  # the reason is on stderr
            raise InputError(NOTHING)
        columns, found = _compared(plan, measured)
        costs = _trade_offs(plan, runs, columns) if strategies else None
    times.report()
    lost = 0
    if reading and reader:
        columns, lost = _read(reading, reader, plan, columns, addresses, url, elsewhere)
    if plot is not None:
        from backcast.engine.interfaces.plots import marks_of, recall_plot, write_plot

        write_plot(plot, recall_plot(marks_of(columns)))
    broken = (
        trial.failed
        or findings.damage
        or lost
        or (not strategies and any(column.beside and column.beside.broken for column in columns))
    )
    code = 1 if broken else UNREADABLE if findings.unreadable else 0
    ended = {"logs": findings.plain() | {"unmeasured": trial.failed}, "exit_code": code}
    _print(columns, found, [path for path in reports if path != growing], costs,
           ended if as_json else None)  # fmt: skip
    if not strategies:
        for line in next_looks(columns, policies):
            message(line)
    if findings.damage:
        message(f"{findings.torn}: their missing events were not tried")
    raise SystemExit(code)


def _strategies(
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


def _trade_offs(
    plan: "_Plan", runs: "Sequence[ReplayRun]", columns: "Sequence[Column]"
) -> "TradeOffs":
    from backcast.engine.interfaces.terminal import progress_bar
    from backcast.engine.replay.tradeoffs import RUNS, trade_offs

    with progress_bar("rebuilding", min(RUNS, len(runs))) as advance:
        summaries = [column.summary for column in columns]
        return trade_offs(runs, plan.settings, summaries, plan.profile, advance)


class _Plan(NamedTuple):
    """What is to be tried."""

    settings: "list[Setting]"
    rules: "list[Rules]"
    "Of each policy but the baseline."
    profile: "ModelProfile | None"
    report: Path | None
    "The report that is the baseline; else that is the first setting."


def _planned(
    policies: tuple[str, ...], baseline: str, limits: tuple[str, ...], profile: str | None,
    context_tokens: int | None,
) -> _Plan:  # fmt: skip
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
    return _Plan([setting_of(name) for name in names], rules, asked, report)


def _runs(
    addresses: "Sequence[Address]", url: str, window: int, times: LogTimes, findings: LogFindings
) -> "tuple[list[ReplayRun], dict[str, str]]":
    """The runs of some logs, of which `findings` learns what is wrong with them; and what each log
    holds if it holds nothing to try."""
    from backcast.engine.interfaces.regress_notes import both_tried, nothing_in
    from backcast.engine.replay.corpus import runs_in

    runs: list[ReplayRun] = []
    why: dict[str, str] = {}
    for log in each_log(addresses, url, times, findings):
        if log is None:
            continue
        found = list(runs_in(log, window))
        why[log.name] = nothing_in(log)
        if not found:
            message(f"note: {shown(log.name)} holds {why[log.name]}")
        for line in both_tried(found):
            message(f"note: {line}")
        runs += found
    return runs, why


def _compared(plan: _Plan, found: "list[Tried]") -> "tuple[list[Column], list[Tried]]":
    """The columns of the table, and the runs with the baseline in front."""
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


def _read(
    reading: Reading, reader: "OutcomeReader", plan: _Plan, columns: "Sequence[Column]",
    addresses: "Sequence[Address]", url: str, on: str | None,
) -> "tuple[list[Column], int]":  # fmt: skip
    """The columns with how likely a model held the outcomes, and the steps that were lost.

    The model reads in this process, or where `on` says.
    """
    from backcast.engine.interfaces.score_report import note, remarks
    from backcast.engine.replay.regress import less_likely, likely_limit
    from backcast.engine.replay.score_summary import score_summary

    lost = 0
    with LogShelf(addresses, url, again=True) as logs:
        if on is None:
            scoring, interrupted = reading.scored(reader, logs, plan.settings)
        else:
            with engine_on(on) as engine:
                scoring, interrupted = reading.scored_on(engine, reader, logs, plan.settings)
                lost = scoring.lost
        for remark in remarks(scoring):
            message(remark)
    if interrupted:
        message("interrupted by Ctrl-C; the scores so far are kept")
        raise SystemExit(INTERRUPTED)
    message(note(reader))
    scores = score_summary(scoring.steps, [setting.name for setting in plan.settings])
    found = [columns[0]._replace(score=scores[0])]
    for column, score, rules in zip(columns[1:], scores[1:], plan.rules, strict=True):
        assert column.beside
        worse = (*column.beside.broken, *less_likely(score.beside, rules))
        limits = (*column.beside.limits, likely_limit(score.beside, rules))
        beside = column.beside._replace(broken=worse, limits=limits)
        found.append(column._replace(beside=beside, score=score))
    return found, lost


def _print(
    columns: "Sequence[Column]", found: "Sequence[Tried]", reports: "Sequence[Path]",
    costs: "TradeOffs | None", ended: "Mapping[str, object] | None",
) -> None:  # fmt: skip
    """Print the table, or where `ended` is given, each policy as JSON, with these fields too."""
    from backcast.engine.interfaces import tradeoff_table
    from backcast.engine.interfaces.regress_report import (
        NOTE,
        build_times,
        lines,
        markdown,
        missed,
        rows,
        summed,
    )
    from backcast.engine.interfaces.regress_report import as_json as report_json
    from backcast.engine.interfaces.views import console, table

    for report in reports:
        text = markdown(columns, found) + (tradeoff_table.markdown(costs) if costs else "")
        if report.suffix == ".json":
            costs_json = {"trade_offs": tradeoff_table.by_name(costs)} if costs else {}
            text = json_text(report_json(columns, found) | costs_json)
        try:
            report.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputError(f"{report}: cannot be written: {error.strerror}") from None
    if ended is not None:
        for number, column in enumerate(columns):
            more = tradeoff_table.by_name(costs).get(column.name, {})
            misses = {"missed": missed(found, number)}
            click.echo(json_text({**summed(column), **misses, **more, **ended}))
        return
    if costs:
        head, *rest = tradeoff_table.rows(costs)
        table(console(), head, rest)
        for line in tradeoff_table.lines(costs):
            click.echo(line)
        message(NOTE)
        return
    head, *rest = rows(columns)
    table(console(), head, [row for row in rest if any(row[1:])])
    for column in columns:
        for line in lines(column.beside) if column.beside else ():
            click.echo(line)
    message(NOTE)
    message(build_times(columns))
