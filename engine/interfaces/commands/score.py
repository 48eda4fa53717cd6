"""`backcast score`: how likely a model held what was written, under the prompts of policies."""

from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import click

from backcast.domain.errors import BackcastError, InputError
from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import UNREADABLE, address_argument, log_at
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.profiles import RECORDED, setting_of
from backcast.engine.interfaces.running import INTERRUPTED
from backcast.engine.interfaces.terminal import escaped, message, progress_bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backcast.engine.log.open_logs import Log
    from backcast.engine.replay.corpus import Setting
    from backcast.engine.replay.kept_scores import ScoreBook
    from backcast.engine.replay.score import ScorePlan, Scoring

MINUTE = 90
"Seconds from which a time is said in minutes."


@click.command(name="score")
@address_argument("addresses", several=True, metavar="FILE.jsonl|TASK")
@store_option
@click.option("--model", required=True, metavar="llama:FILE", help="Who reads: a GGUF file.")
@click.option("--policy", "policies", multiple=True, metavar="NAME_OR_FILE",
              help="May be repeated; the first is what others are compared with.")  # fmt: skip
@click.option("--context-tokens", type=click.IntRange(1), metavar="N",
              help="A context part of N tokens; the window changes by the difference.")  # fmt: skip
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Only N of the steps.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="S",
              help="Read no longer than this; steps are taken by lot.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), help="As many as cores are free.")
@click.option("--scores", type=Path, metavar="FILE",
              help="Where scores are kept, not in the store or FILE.jsonl.scores.")  # fmt: skip
@click.option("--lines", "by_line", is_flag=True, help="Also each line of each outcome.")
@json_option
def command(
    addresses: tuple[Address, ...], url: str, model: str, policies: tuple[str, ...],
    context_tokens: int | None, sample: int | None, seconds: float | None, threads: int | None,
    scores: Path | None, by_line: bool, as_json: bool,
) -> None:  # fmt: skip
    """Tell how likely what was written was, under each policy.

    \b
    backcast score fixtures/logs/till.jsonl --model llama:model.gguf --policy hierarchical \\
        --policy default --context-tokens 1000
    backcast score backcast --model llama:model.gguf --policy recorded --policy mine.toml \\
        --sample 20 --seconds 600

    The model reads each prompt, then the code that was really accepted, or the body that a commit
    gave a function, and tells how likely it held that text: nats per token, lower is better. That
    is not what it would have answered. Each score is kept, and never asked for twice: in a store as
    an event of the task, for a log that is a file in FILE.jsonl.scores. No prompt is ever built of
    scores. Exit codes: 0, 2 where nothing can be scored, 130 after Ctrl-C, which loses nothing.
    'backcast help scores' explains the table.
    """
    from backcast.engine.models.likelihood import LikelihoodReader
    from backcast.engine.replay.kept_scores import ScoreBook, file_beside
    from backcast.engine.replay.score import ScorePlan, reading_profile

    settings = _settings(policies or (RECORDED,))
    path = _file_of(model)
    profile = reading_profile(path, context_tokens)
    reader = LikelihoodReader(path, profile.window, threads=threads)
    with ExitStack() as stack:
        logs, unreadable = _opened(stack, addresses, url)
        if not logs:
            raise SystemExit(UNREADABLE)  # the reasons are on stderr
        plan = ScorePlan(reader, settings, profile)
        with progress_bar("steps", sample) as advance:
            plan.add(logs, sample, advance)
        books = {
            log.name: ScoreBook(
                log.store, scores or (None if "://" in log.name else file_beside(log.name))
            )
            for log in logs
        }
        scoring, interrupted = _scored(plan, books, seconds)
        _print(scoring, by_line, as_json)
    if interrupted:
        message("interrupted by Ctrl-C; the scores so far are kept")
        raise SystemExit(INTERRUPTED)
    raise SystemExit(UNREADABLE if unreadable else 0)


def _settings(names: "Sequence[str]") -> "list[Setting]":
    try:
        return [setting_of(name) for name in names]
    except InputError as error:
        raise click.UsageError(str(error)) from None


def _file_of(name: str) -> Path:
    """Return the file of a model that reads; `InputError` where it is none."""
    from backcast.engine.models.address import shown

    kind, _, place = name.partition(":")
    if kind in ("http", "https"):
        raise InputError(
            f"needed llama:FILE, found {shown(name)}: llama-server returns no log-probabilities of"
            " a prompt"
        )
    if kind != "llama" or not place:
        raise InputError(f"needed llama:FILE, found {shown(name)!r}")
    return Path(place).expanduser()


def _opened(stack: ExitStack, addresses: "Sequence[Address]", url: str) -> "tuple[list[Log], int]":
    """Open all logs; return them and how many cannot be read, after the reasons are told."""
    logs, unreadable = [], 0
    for address in addresses or (Address(),):
        if address.when:
            raise InputError(f"{str(address)!r}: needed a task or a log, found a moment of one")
        try:
            log = stack.enter_context(log_at(address, url))
        except BackcastError as error:
            message(error)
            unreadable += 1
            continue
        for problem in log.problems:
            message(f"skipped {problem}")
        logs.append(log)
    return logs, unreadable


def _scored(
    plan: "ScorePlan", books: "dict[str, ScoreBook]", seconds: float | None
) -> "tuple[Scoring, bool]":
    """Read what was never read; return the scores, and whether Ctrl-C ended it."""
    from backcast.engine.replay.score import Scoring

    if not plan.jobs:
        reasons = [f"{step.step}: {step.reason}" for step in plan.left_out[:1]]
        reasons = reasons or ["found none"]
        raise InputError(f"needed a step whose outcome can be read: {reasons[0]}")
    waiting = plan.to_read(books)
    scoring = Scoring(plan, books, seconds)
    prompts, tokens = len(plan.jobs) * len(plan.settings), sum(waiting.values())
    message(
        f"{prompts} prompts of {len(plan.jobs)} steps: {len(waiting)} differ and were never read,"
        f" {tokens:,} tokens at most"
    )
    begun = monotonic()
    read, unkept = 0, list[str]()
    with progress_bar("tokens", tokens) as bar:

        def advance(size: int) -> None:
            nonlocal read
            if not read and size < tokens:
                taken = max(monotonic() - begun, 1e-3)
                message(
                    f"about {_time((tokens - size) * taken / size)} more, at"
                    f" {size / taken:,.0f} tokens a second"
                )
            read += size
            bar(size)
            for reason in {book.unkept: 0 for book in books.values() if book.unkept}:
                if reason not in unkept:
                    unkept.append(reason)
                    message(f"note: the scores are printed, and not kept: {reason}")

        try:
            scoring.run(advance)
        except KeyboardInterrupt:
            return scoring, True
    return scoring, False


def _time(seconds: float) -> str:
    if seconds < MINUTE:
        return f"{max(1, round(seconds))} seconds"
    return f"{seconds / 60:,.0f} minutes"


def _print(scoring: "Scoring", by_line: bool, as_json: bool) -> None:
    from backcast.engine.interfaces.score_report import as_json as report_json
    from backcast.engine.interfaces.score_report import by_lines, note, remarks, rows
    from backcast.engine.interfaces.views import console, table
    from backcast.engine.replay.score_summary import score_summary

    names = [setting.name for setting in scoring.plan.settings]
    scores = score_summary(scoring.steps, names)
    if as_json:
        click.echo(json_text(report_json(scoring, scores)))
    else:
        for step in scoring.steps if by_line else ():
            for line in by_lines(step, names):
                click.echo(line)
            click.echo()
        if scoring.steps:
            head, *rest = rows(scores, len(scoring.steps))
            table(console(), head, [row for row in rest if any(row[1:])])
            click.echo(escaped(note(scoring.plan.reader)))
    for remark in remarks(scoring):
        message(remark)
