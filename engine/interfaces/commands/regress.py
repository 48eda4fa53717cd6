"""`backcast regress`: try policies on recorded logs."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

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
    last_option,
    on_option,
    plot_option,
    store_option,
)
from backcast.engine.interfaces.profiles import (
    RECORDED,
    setting_of,
)
from backcast.engine.interfaces.regress_plan import (
    RegressPlan,
    compared_in,
    planned,
    strategies_of,
    trade_offs_of,
)
from backcast.engine.interfaces.regress_printed import print_report
from backcast.engine.interfaces.regress_trial import Trial, growing_report
from backcast.engine.interfaces.running import INTERRUPTED
from backcast.engine.interfaces.scoring import Reading
from backcast.engine.interfaces.terminal import message, say
from backcast.engine.log.remote import copies_kept, is_remote, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backcast.engine.interfaces.regress_report import Column
    from backcast.engine.models.reading import OutcomeReader
    from backcast.engine.replay.corpus import ReplayRun


@click.command(name="regress")
@address_argument("addresses", several=True, metavar=LOGS)
@store_option
@click.option("--policy", "policies", multiple=True, metavar="NAME_OR_FILE",
              help="TOML or a name; may be repeated.")  # fmt: skip
@click.option("--strategies", is_flag=True,
              help="All named strategies, as a table of what each costs and keeps.")  # fmt: skip
@click.option("--histories", is_flag=True,
              help="All policies of an agent's messages, as a table.")  # fmt: skip
@click.option("--routing", "routings", multiple=True, type=Path, metavar="FILE.toml",
              help="Of dispatches: who would have been asked, at which cost.")  # fmt: skip
@click.option(
    "--explain", is_flag=True, help="Of these: what each prompt lost, or what was expected."
)
@click.option("--baseline", default=RECORDED, metavar="OLD", show_default=True,
              help="TOML, a name, each prompt's own, or a report (.json).")  # fmt: skip
@click.option("--limit", "limits", multiple=True, metavar="RULE=N", help="What counts as worse.")
@click.option("--profile", metavar="NAME", help="Another window than the recorded one.")
@click.option("--context-tokens", type=int, metavar="N",
              help="A context part of N tokens, within the profile's window.")  # fmt: skip
@click.option("--window", type=click.IntRange(1), default=25, show_default=True,
              help="Changes of a history that count as one run.")  # fmt: skip
@last_option
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
    context_tokens: int | None, window: int, last: int | None, model: str | None,
    sample: int | None, seconds: float | None, reports: tuple[Path, ...], plot: Path | None,
    processes: int | None, on: str, as_json: bool,
) -> None:  # fmt: skip
    """Build recorded prompts under other policies; tell what is worse.

    \b
    backcast regress fixtures/logs/till.jsonl --policy mine.toml
    backcast regress 'runs/**/*.jsonl' --policy hierarchical --policy no-cache --report out.md
    backcast regress s3://bucket/runs/ --policy mine.toml
    backcast regress httpx --policy mine.toml --last 200    # the last changes of a history
    backcast regress fixtures/logs/till.jsonl --strategies  # what each costs, and what it keeps
    backcast regress fixtures/recorded/agent.jsonl --histories  # an agent's messages, otherwise
    backcast regress fixtures/recorded/routed.jsonl --routing fixtures/recorded/cheap-first.toml
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
    points, percent or a number), whether each "holds", and whether that is "certain"; "regression"
    is whether one does not hold. "interval" is drawn over so many "units", runs or changes.
    "worse" names what it shows less of than the baseline, "missed" all that it did not show.
    "logs" tells how many were "read", why others are "unreadable", the "damage" in them, their
    events of "unknown_types", and how many runs are "unmeasured"; then the "exit_code".
    """
    from backcast.engine.interfaces.histories import message_policies, try_histories
    from backcast.engine.interfaces.regress_notes import (
        long_trial,
        other_base,
        unmoved,
        untried,
    )
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
            "--limit": limits, "--profile": profile, "--plot": plot, "--last": last,
        }  # fmt: skip
        if odd := next((name for name, given in others.items() if given), None):
            raise click.UsageError(f"{odd}: needed no --routing beside it")
        raise SystemExit(try_routings(addresses, url, routings, as_json=as_json))
    of_messages = message_policies(policies, every=histories)
    if of_messages:
        others = {
            "--strategies": strategies, "--baseline": baseline != RECORDED, "--model": model,
            "--context-tokens": context_tokens, "--report": reports, "--sample": sample,
            "--last": last,
        }  # fmt: skip
        if odd := next((name for name, given in others.items() if given), None):
            raise click.UsageError(f"{odd}: needed no policy of an agent's messages beside it")
        tried = {policy.name for policy in of_messages}
        ruled = [] if histories else [name for name in policies if setting_of(name).name in tried]
        rules = [rules_of(name, limits) for name in ruled]
        code = try_histories(
            addresses, url, of_messages, rules, profile, plot, explain=explain, as_json=as_json
        )
        raise SystemExit(code)
    if explain and not strategies:
        raise click.UsageError(
            "--explain: needed --histories, --strategies, or a policy of an agent's messages"
        )
    growing = growing_report(reports)  # before the work, which is long
    if strategies:
        baseline, policies = strategies_of(policies, baseline, model)
    plan = planned(policies, baseline, limits, profile, context_tokens)
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
        recorded = set[str]()
        runs, why = _runs(addresses, url, window, last, times, findings, plan, recorded)
        if baseline == RECORDED and (differs := other_base(recorded, policies)):
            message(f"note: {differs}")
        line = long_trial(runs, len(plan.settings), reported=growing is not None)
        if line and not last:
            message(f"note: {line}")
        measured = trial.run(runs, times) if runs else []
        for name in untried(measured):
            message(f"note: {shown(name)} holds {why[name]}")
        if not any(result.steps for result in measured):
            failed = trial.failed > trial.lacking and not findings.unreadable
            code = 1 if failed else UNREADABLE
            if as_json:
                say(json_text({"logs": findings.plain(), "exit_code": code}))
            if findings.unreadable or trial.failed:
                raise SystemExit(code)  # the reason is on stderr
            raise InputError(NOTHING)
        columns, found = compared_in(plan, measured)
        costs = trade_offs_of(plan, runs, columns) if strategies else None
    times.report()
    lost = 0
    if reading and reader:
        reading = reading._replace(runs=tuple(result.run for result in measured))
        columns, lost = _read(reading, reader, plan, columns, addresses, url, elsewhere)
    if plot is not None:
        from backcast.engine.interfaces.plots import marks_of, recall_plot, write_plot

        write_plot(plot, recall_plot(marks_of(columns)))
    broken = (
        trial.failed > trial.lacking
        or findings.damage
        or lost
        or (not strategies and any(column.beside and column.beside.broken for column in columns))
    )
    code = 1 if broken else UNREADABLE if findings.unreadable or trial.lacking else 0
    ended = {"logs": findings.plain() | {"unmeasured": trial.failed}, "exit_code": code}
    print_report(
        columns, found, [path for path in reports if path != growing], costs,
        ended if as_json else None, explain=explain,
    )  # fmt: skip
    if not strategies:
        for line in (
            *unmoved(plan.settings, columns), *next_looks(columns, policies, baseline)
        ):  # fmt: skip
            message(line)
    if findings.damage:
        message(f"{findings.torn}: their missing events were not tried")
    raise SystemExit(code)


def _runs(
    addresses: "Sequence[Address]", url: str, window: int, last: int | None, times: LogTimes,
    findings: LogFindings, plan: RegressPlan, recorded: set[str],
) -> "tuple[list[ReplayRun], dict[str, str]]":  # fmt: skip
    """The runs of some logs, of which `findings` learns what is wrong with them, and `recorded` the
    policies of their prompts; and what each log holds if it holds nothing to try."""
    from backcast.engine.interfaces.regress_notes import both_tried, nothing_in, recorded_under
    from backcast.engine.interfaces.unrated import lacking, note_lacking
    from backcast.engine.replay.corpus import runs_in

    runs: list[ReplayRun] = []
    why: dict[str, str] = {}
    policies = [setting.policy for setting in plan.settings if setting.policy]
    unrated = sorted({name for policy in policies for name in policy.ratings})
    for log in each_log(addresses, url, times, findings):
        if log is None:
            continue
        found = list(runs_in(log, window, last))
        for task in log.tasks:
            unrated = lacking(unrated, log.store, task)
        why[log.name] = nothing_in(log)
        if not found:
            message(f"note: {shown(log.name)} holds {why[log.name]}")
        for line in both_tried(found):
            message(f"note: {line}")
        recorded |= recorded_under(log, [run.task for run in found if run.prompts])
        runs += found
    note_lacking(unrated, "these logs have")
    return runs, why


def _read(
    reading: Reading, reader: "OutcomeReader", plan: RegressPlan, columns: "Sequence[Column]",
    addresses: "Sequence[Address]", url: str, on: str | None,
) -> "tuple[list[Column], int]":  # fmt: skip
    """The columns with how likely a model held the outcomes, and the steps that were lost.

    The model reads in this process, or where `on` says; of the runs that were measured, and no
    other step.
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
    read = sum(step.sums(0, new=True).tokens > 0 for step in scoring.steps)
    found = [columns[0]._replace(score=scores[0], read=read)]
    for column, score, rules in zip(columns[1:], scores[1:], plan.rules, strict=True):
        assert column.beside
        worse = (*column.beside.broken, *less_likely(score.beside, rules))
        limits = (*column.beside.limits, likely_limit(score.beside, rules))
        beside = column.beside._replace(broken=worse, limits=limits)
        found.append(column._replace(beside=beside, score=score, read=read))
    return found, lost
