"""`backcast score`: how likely a model held what was written, under the prompts of policies."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import LOGS, UNREADABLE, address_argument
from backcast.engine.interfaces.log_shelf import LogShelf
from backcast.engine.interfaces.options import (
    check_on,
    engine_on,
    json_option,
    last_option,
    on_option,
    processes_option,
    store_option,
)
from backcast.engine.interfaces.profiles import RECORDED, read_setting
from backcast.engine.interfaces.running import INTERRUPTED
from backcast.engine.interfaces.scoring import Reading
from backcast.engine.interfaces.terminal import escaped, message, say
from backcast.engine.log.remote import copies_kept

if TYPE_CHECKING:
    from backcast.engine.replay.score_run import Scoring


@click.command(name="score")
@address_argument("addresses", several=True, metavar=LOGS)
@store_option
@click.option("--model", required=True, metavar="MODEL", help="Who reads: llama:FILE, URL or copy.")
@click.option("--policy", "policies", multiple=True, metavar="NAME_OR_FILE",
              help="May be repeated; the first is what others are compared with.")  # fmt: skip
@click.option("--context-tokens", type=click.IntRange(1), metavar="N",
              help="A context part of N tokens; the window changes by the difference.")  # fmt: skip
@last_option
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Only N of the steps.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="S",
              help="Take no longer than this; steps are taken by lot.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), help="As many as cores are free.")
@click.option("--scores", type=Path, metavar="FILE",
              help="Where scores are kept, not in the store or FILE.jsonl.scores.")  # fmt: skip
@on_option(None)
@processes_option
@click.option("--lines", "by_line", is_flag=True, help="Also each line of each outcome.")
@json_option
def command(
    addresses: tuple[Address, ...], url: str, model: str, policies: tuple[str, ...],
    context_tokens: int | None, last: int | None, sample: int | None, seconds: float | None,
    threads: int | None, scores: Path | None, on: str | None, processes: int | None,
    by_line: bool, as_json: bool,
) -> None:  # fmt: skip
    """Tell how likely what was written was, under each policy.

    \b
    backcast score fixtures/logs/till.jsonl --model llama:model.gguf --policy hierarchical \\
        --policy default --context-tokens 1000
    backcast score history --model llama:model.gguf --policy recorded --policy mine.toml \\
        --sample 20 --seconds 600
    backcast score 'runs/**/*.jsonl' --model llama:model.gguf --sample 200
    backcast score httpx --model copy --policy default --policy mine.toml --last 30
    backcast score runs/ --model llama:/models/model.gguf --on dask://HOST:8786

    LOG is a file, a folder, a quoted pattern, or a URL: https://, s3://, gs://, or that of a store.
    The model reads each prompt, then the code that was really accepted, or the body that a commit
    gave a function, and tells how likely it held that text: nats per token, lower is better. That
    is not what it would have answered. Each score is kept, and never asked for twice: in a store as
    an event of the task, for a log that is a file in FILE.jsonl.scores. No prompt is ever built of
    scores. Exit codes: 0, 1 where a log is not whole or workers of --on could not score a step, 2
    where nothing can be scored, 130 after Ctrl-C, which loses nothing. 'backcast help scores'
    explains the table.
    """
    check_on(on, processes, seconds)
    policies = policies or (RECORDED,)
    settings = [read_setting(name) for name in policies]
    reading = Reading(model, context_tokens, sample, seconds, threads, scores, last)
    reader, lost = reading.reader(), 0
    with LogShelf(addresses, url) as logs:
        if on is None:
            scoring, interrupted = reading.scored(reader, logs, settings)
        else:
            with copies_kept(), engine_on(on, processes) as engine:
                scoring, interrupted = reading.scored_on(engine, reader, logs, settings)
                lost = scoring.lost
        _print(scoring, policies, by_line, as_json)
    if interrupted:
        message("interrupted by Ctrl-C; the scores so far are kept")
        raise SystemExit(INTERRUPTED)
    nothing = not scoring.steps
    raise SystemExit(1 if lost or logs.torn else UNREADABLE if logs.unreadable or nothing else 0)


def _print(scoring: "Scoring", policies: tuple[str, ...], by_line: bool, as_json: bool) -> None:
    from backcast.engine.interfaces.score_report import as_json as report_json
    from backcast.engine.interfaces.score_report import by_lines, note, remarks, rows
    from backcast.engine.interfaces.score_verdict import looks, verdicts
    from backcast.engine.interfaces.views import console, table
    from backcast.engine.replay.score_summary import score_summary

    names = [setting.name for setting in scoring.plan.settings]
    scores = score_summary(scoring.steps, names)
    if as_json:
        say(json_text(report_json(scoring, scores, policies)))
    else:
        for step in scoring.steps if by_line else ():
            for line in by_lines(step, names):
                say(line)
            say()
        if scoring.steps:
            head, *rest = rows(scores, len(scoring.steps))
            table(console(), head, [row for row in rest if any(row[1:])])
            others = zip(verdicts(scores), policies[1:], scores[1:], strict=True)
            for verdict, name, score in others:
                say(escaped(verdict))
                for look in looks(score.beside, policies[0], name):
                    say(escaped(look))
            say(escaped(note(scoring.plan.reader)))
    for remark in remarks(scoring):
        message(remark)
