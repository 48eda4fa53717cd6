"""`backcast influence`: what each item of a prompt was worth for what was written."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backcast.domain.errors import WorkerError
from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import UNREADABLE, address_argument, logs_named
from backcast.engine.interfaces.options import (
    check_on,
    default_store,
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
    from collections.abc import Iterator

    from backcast.engine.interfaces.influencing import AskedStep
    from backcast.engine.models.reading import OutcomeReader
    from backcast.engine.replay.influence_run import StepInfluences

LOST = 1
"The exit code where something is missing of what could be begun."


@click.command(name="influence")
@address_argument("addresses", several=True, metavar="LOG|TASK[@WHEN]")
@store_option
@click.option("--model", required=True, metavar="MODEL", help="Who reads: llama:FILE, URL or copy.")
@click.option("--policy", default=RECORDED, metavar="NAME_OR_FILE", show_default=True,
              help="Whose prompt it is.")  # fmt: skip
@click.option("--context-tokens", type=click.IntRange(1), metavar="N",
              help="A context part of N tokens; the window changes by the difference.")  # fmt: skip
@last_option
@click.option("--most", type=click.IntRange(0), metavar="N",
              help="The N largest items alone, one by one: 20 of few.")  # fmt: skip
@click.option("--halves", type=click.IntRange(0), metavar="N",
              help="N random halves of the items, and a fit: 32 of more than 24.")  # fmt: skip
@click.option("--texts", is_flag=True,
              help="Each sentence of our own words, too, as rows 'instruction'.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), help="As many as cores are free.")
@click.option("--scores", type=Path, metavar="FILE",
              help="Where scores are kept, not in the store or FILE.jsonl.scores.")  # fmt: skip
@click.option("--report", type=Path, metavar="FILE.jsonl",
              help="A line for each step, from which the same command goes on.")  # fmt: skip
@on_option(None)
@processes_option
@json_option
def command(
    addresses: tuple[Address, ...], url: str, model: str, policy: str, context_tokens: int | None,
    last: int | None, most: int | None, halves: int | None, texts: bool, threads: int | None,
    scores: Path | None, report: Path | None, on: str | None, processes: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Tell what each item of a prompt was worth.

    \b
    backcast influence fixtures/logs/validators.jsonl@27 --model llama:model.gguf
    backcast influence 'runs/*.jsonl' --model llama:model.gguf --json    # the last of each task
    backcast influence httpx --model copy --last 10    # each of a history's last changes
    backcast influence 'runs/**/*.jsonl' --model llama:/models/model.gguf --report grows.jsonl \\
        --on dask://HOST:8786

    LOG is a file, a folder, a quoted pattern, or a URL: https://, s3://, gs://, or that of a store.
    A step is a recorded prompt of Backcast's own, a change of a function in a history, or a reply
    of an agent with a call: that by its messages, answers and results, as 'context --anatomy' lists
    them, or with --policy behind a prompt that Backcast builds in the place of its own.
    The model reads what was really written (see score) behind the prompt, then behind the prompt
    without each section, and without each item: the nats that a part saves in the new lines, harm
    first; with --texts each sentence of our own words, too. Items that say the same stand in for
    each other, and seem worth little alone. Of many items random halves are read, and a sparse
    linear fit tells what each is worth. Every score is kept, so that the command goes on where
    Ctrl-C ended it (exit code 130). Of a history the last step is read, or with --last those of its
    last changes. Of several logs or tasks, one that cannot be read, or has no such step, is named,
    and the rest goes on (exit code 2); so are a log that is not whole and a step that no worker of
    --on could do (exit code 1).
    """
    from backcast.engine.interfaces.influencing import InfluenceRun
    from backcast.engine.replay.growing_report import SUFFIX
    from backcast.engine.replay.influence_report import InfluenceReport
    from backcast.engine.replay.influence_run import InfluenceQuestion

    if not addresses:
        raise click.UsageError("needed a LOG, or TASK[@WHEN], found none")
    check_on(on, processes)
    if report and report.suffix != SUFFIX:
        raise click.UsageError(f"--report: needed a name that ends in {SUFFIX}, found {report}")
    if last and any(address.when for address in addresses):
        raise click.UsageError("--last: needed a LOG or TASK without a moment, found one @WHEN")
    setting = read_setting(policy)
    reading = Reading(model, context_tokens, threads=threads, scores=scores, last=last)
    reader, question = reading.reader(), InfluenceQuestion(setting, most, halves, texts)
    with ExitStack() as stack:
        grown = InfluenceReport(report, question, reader, context_tokens) if report else None
        if grown:
            stack.enter_context(grown)
        run = InfluenceRun(reading, reader, question, url, grown)
        found, unnamed = logs_named(addresses, url)
        several = len(found) + unnamed > 1 or last is not None
        try:
            if on is None:
                answers = run.here(found)
            else:
                stack.enter_context(copies_kept())
                answers = run.elsewhere(stack.enter_context(engine_on(on, processes)), found)
            options = _options(policy, context_tokens, reader)
            count, failed, lost = _print_all(answers, reader, options, several, as_json)
        except KeyboardInterrupt:
            message("interrupted by Ctrl-C; the scores so far are kept: run it again to go on")
            raise SystemExit(INTERRUPTED) from None
    if run.known:
        message(f"note: {run.known} of {count} steps stand in {report}")
    run.times.report()
    raise SystemExit(LOST if lost or run.torn else UNREADABLE if failed or unnamed else 0)


def _print_all(
    answers: "Iterator[AskedStep]",
    reader: "OutcomeReader",
    options: tuple[str, str],
    several: bool,
    as_json: bool,
) -> tuple[int, int, int]:
    """Print what came of each step; return how many there are, how many of them failed, and how
    many no worker could do.

    What is wrong with a step that is the only one is raised.
    """
    count = failed = lost = 0
    for answer in answers:
        count += 1
        among = several or answer.tasks > 1
        if answer.found:
            if among and not as_json:
                say(escaped(f"{answer.log}:"))
            _print(answer.log, answer.found, reader, options, as_json)
        elif answer.error:
            if not among:
                raise answer.error
            message(f"{answer.log}: {answer.error}" if answer.log else answer.error)
            gone = isinstance(answer.error, WorkerError)
            failed, lost = failed + (not gone), lost + gone
    return count, failed, lost


def _options(policy: str, context_tokens: int | None, reader: "OutcomeReader") -> tuple[str, str]:
    """Return the options by which `context` builds the prompt of a change as it was read, and
    those by which `blame` tells of it."""
    named = "" if policy == RECORDED else f" --policy {policy}"
    tokens = f" --context-tokens {context_tokens}" if context_tokens else ""
    return f"{named}{tokens} --tokenizer {reader.tokenizer}", named


def _print(
    log: str,
    found: "StepInfluences",
    reader: "OutcomeReader",
    options: tuple[str, str],
    as_json: bool,
) -> None:
    from backcast.engine.history.state_json import plain
    from backcast.engine.interfaces.influence_text import (
        HEAD,
        note_of,
        rows,
        total_of,
        uncertain,
        verdicts,
    )
    from backcast.engine.interfaces.score_report import note
    from backcast.engine.interfaces.views import console, table

    if as_json:
        line = {
            "note": note(reader), "log": log, "task": found.task, "version": found.version,
            "name": found.name, "target": found.target, "new": found.new._asdict(),
            "influences": [plain(worth) for worth in found.influences],
            "not_read": found.not_read, "halves": found.halves,
        }  # fmt: skip
        say(json_text(line))
    else:
        say(escaped(f"{found.place}: {total_of(found)}"))
        if why := uncertain(found):
            say(why)
        table(console(), HEAD, list(rows(found)), 120)
        is_store = "://" in log and ".jsonl" not in log
        address = f"{found.task}@{found.version}"
        address = address if is_store else f"{log}#{address}"
        if is_store and log != default_store():
            address += f" --store {log}"
        for verdict in verdicts(found, address, *options):
            say(escaped(verdict))
        say(escaped(note_of(reader)))
    if found.items:
        message(
            f"note: {found.items} items by a sparse linear fit to {found.halves} random halves of"
            " them ('--halves 0' leaves them out one by one)"
        )
    if found.not_read:
        message(f"note: {found.not_read} smaller items were not left out one by one (see --most)")
