"""`backcast influence`: what each item of a prompt was worth for what was written."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from backcast.domain.errors import BackcastError, InputError
from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import (
    UNREADABLE,
    address_argument,
    log_at,
    logs_named,
)
from backcast.engine.interfaces.many_logs import LogTimes, shown_progress
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.profiles import RECORDED, setting_of
from backcast.engine.interfaces.running import INTERRUPTED
from backcast.engine.interfaces.scoring import Reading
from backcast.engine.interfaces.terminal import escaped, message
from backcast.engine.log.remote import shown

if TYPE_CHECKING:
    from backcast.engine.log.open_logs import Log
    from backcast.engine.models.reading import OutcomeReader
    from backcast.engine.replay.corpus import Setting
    from backcast.engine.replay.influence import Influence, InfluencePlan
    from backcast.engine.replay.score_run import Scoring

MOST = 20
"Items that are left out one by one, where nothing is asked for."


@click.command(name="influence")
@address_argument("addresses", several=True, metavar="LOG|TASK[@WHEN]")
@store_option
@click.option("--model", required=True, metavar="MODEL", help="Who reads: llama:FILE, or URL.")
@click.option("--policy", default=RECORDED, metavar="NAME_OR_FILE", show_default=True,
              help="Whose prompt it is.")  # fmt: skip
@click.option("--context-tokens", type=click.IntRange(1), metavar="N",
              help="A context part of N tokens; the window changes by the difference.")  # fmt: skip
@click.option("--most", type=click.IntRange(0), metavar="N",
              help=f"The N largest items alone, one by one: {MOST} of few.")  # fmt: skip
@click.option("--halves", type=click.IntRange(0), metavar="N",
              help="N random halves of the items, and a fit: 32 of more than 24.")  # fmt: skip
@click.option("--texts", is_flag=True,
              help="Each sentence of our own words, too, as rows 'instruction'.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), help="As many as cores are free.")
@click.option("--scores", type=Path, metavar="FILE",
              help="Where scores are kept, not in the store or FILE.jsonl.scores.")  # fmt: skip
@json_option
def command(
    addresses: tuple[Address, ...], url: str, model: str, policy: str, context_tokens: int | None,
    most: int | None, halves: int | None, texts: bool, threads: int | None, scores: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Tell what each item of a prompt was worth.

    \b
    backcast influence fixtures/logs/validators.jsonl@27 --model llama:model.gguf
    backcast influence 'runs/*.jsonl' --model llama:model.gguf --json    # the last of each task

    LOG is a file, a folder, a quoted pattern, or a URL: https://, s3://, gs://, or that of a store.
    The model reads what was really written (see score) behind the prompt, then behind the prompt
    without each section, and without each item: the nats that a part saves in the new lines, harm
    first; with --texts each sentence of our own words, too. Items that say the same stand in for
    each other, and seem worth little alone. Of many items random halves are read, and a sparse
    linear fit tells what each is worth. Every score is kept, so that the command goes on where
    Ctrl-C ended it (exit code 130). Of several logs or tasks, one that cannot be read, or has no
    such step, is named, and the rest goes on (exit code 2).
    """
    if not addresses:
        raise click.UsageError("needed a LOG, or TASK[@WHEN], found none")
    try:
        setting = setting_of(policy)
    except BackcastError as error:
        raise click.UsageError(str(error)) from None
    reading = Reading(model, context_tokens, threads=threads, scores=scores)
    reader = reading.reader()
    asked = _InfluenceQuestion(reading, reader, setting, most, halves, texts)
    found, failed = logs_named(addresses, url)
    several, times = len(found) > 1, LogTimes()
    with shown_progress(len(found)) as advance:
        for address in found:
            try:
                with times.taken(shown(str(address))):
                    failed += _of_log(asked, address, url, several, as_json)
            except BackcastError as error:
                if not several and not failed:
                    raise
                message(error)
                failed += 1
            advance(1)
    times.report()
    raise SystemExit(UNREADABLE if failed else 0)


class _InfluenceQuestion(NamedTuple):
    """What is asked of each prompt."""

    reading: Reading
    reader: "OutcomeReader"
    setting: "Setting"
    most: int | None
    halves: int | None
    texts: bool


def _of_log(
    asked: _InfluenceQuestion, address: Address, url: str, several: bool, as_json: bool
) -> int:
    """Print what the parts of a prompt of each task were worth; return how many tasks failed."""
    failed = 0
    with log_at(address, url) as log:
        for problem in log.problems:
            message(f"skipped {problem}")
        for task in log.tasks:
            try:
                _of_task(asked, log, task, address.when, several or len(log.tasks) > 1, as_json)
            except BackcastError as error:
                if not several and len(log.tasks) == 1:
                    raise
                message(f"{shown(log.name)}: {error}")
                failed += 1
    return failed


def _of_task(
    asked: _InfluenceQuestion, log: "Log", task: str, when: str, several: bool, as_json: bool
) -> None:
    from backcast.engine.replay.influence import influences, planned, step_with_outcome

    step = step_with_outcome(log.store, task, when)
    halves = 0 if asked.most is not None and asked.halves is None else asked.halves
    most = MOST if asked.most is None else asked.most
    plan = asked.reading.plan(asked.reader, [asked.setting])
    found = planned(plan, log.name, log.store, step, most, halves, texts=asked.texts)
    scoring, interrupted = asked.reading.read(found.plan, [log])
    if interrupted:
        message("interrupted by Ctrl-C; the scores so far are kept: run it again to go on")
        raise SystemExit(INTERRUPTED)
    if several and not as_json:
        click.echo(escaped(f"{shown(log.name)}:"))
    _print(found, scoring, influences, as_json)


def _print(found: "InfluencePlan", scoring: "Scoring", influences: Any, as_json: bool) -> None:
    from backcast.engine.interfaces.score_report import left_out, note
    from backcast.engine.interfaces.views import console, table

    if not scoring.steps:
        [failed] = left_out(scoring)
        raise InputError(f"{failed.step}: {failed.reason}")
    [step] = scoring.steps
    worth: list[Influence] = influences(step, found.parts, found.items, found.halves)
    whole = step.sums(0, new=True)
    if as_json:
        click.echo(json_text(_as_json(found, scoring, worth)))
    else:
        click.echo(
            escaped(
                f"{step.job.place}: {whole.nats:.2f} nats for {whole.tokens} tokens of new lines"
            )
        )
        rows = [_row(influence) for influence in worth]
        head = ("nats saved", "95 %", "tokens", "section", "level", "what")
        table(console(), head, rows, 120)
        click.echo(escaped(note(scoring.plan.reader)))
    if found.items:
        message(
            f"note: {len(found.items)} items by a sparse linear fit to {len(found.halves)} random"
            " halves of them ('--halves 0' leaves them out one by one)"
        )
    if found.not_read:
        message(f"note: {found.not_read} smaller items were not left out one by one (see --most)")


def _row(influence: "Influence") -> tuple[object, ...]:
    part = influence.part
    whats = {"section": "the whole section", "instruction": f"instruction: {part.name}"}
    what = whats.get(part.kind, part.name)
    nats, sure = f"{influence.nats:+.2f}", _interval(influence)
    return nats, sure, part.tokens, part.section, part.level, what


def _interval(influence: "Influence") -> str:
    return "{:+.2f} to {:+.2f}".format(*influence.interval) if influence.interval else ""


def _as_json(
    found: "InfluencePlan", scoring: "Scoring", worth: "list[Influence]"
) -> dict[str, Any]:
    from backcast.engine.history.state_json import plain
    from backcast.engine.interfaces.score_report import note

    [step] = scoring.steps
    whole = step.sums(0, new=True)
    return {
        "note": note(scoring.plan.reader), "log": shown(step.job.log),
        "task": step.job.task, "version": step.job.version,
        "name": step.job.name, "target": step.job.target, "new": whole._asdict(),
        "influences": [plain(one) for one in worth], "not_read": found.not_read,
        "halves": len(found.halves),
    }  # fmt: skip
