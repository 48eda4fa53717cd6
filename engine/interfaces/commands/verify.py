"""`backcast verify`: rebuild every recorded prompt, and build it again."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import LOGS, UNREADABLE, address_argument, each_log
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.terminal import message, note_faults

if TYPE_CHECKING:
    from backcast.engine.log.open_logs import Log
    from backcast.engine.replay.verify import Answer, Verdict


@click.command(name="verify")
@address_argument("addresses", several=True, metavar=LOGS)
@store_option
@click.option("--bisect", is_flag=True, help="Name the first event that makes each difference.")
@click.option(
    "--only", type=click.Choice(["rebuilt", "derived"]), help="Ask only this of the two questions."
)
@json_option
def command(
    addresses: tuple[Address, ...], url: str, bisect: bool, only: str | None, as_json: bool
) -> None:
    """Rebuild every recorded prompt, and derive it again.

    \b
    backcast verify fixtures/logs/till.jsonl fixtures/logs/validators.jsonl
    backcast verify till --bisect
    backcast verify 'runs/**/*.jsonl' s3://bucket/runs/

    LOG is a file, a folder, a quoted pattern, or a URL: https://, s3://, gs://, or that of a store.
    Without an address the whole store is asked. The exit code is 0 where every answer is "same" and
    every log is whole, 2 where a log cannot be read at all, else 1. Tasks that came by an importer
    with a known fault are noted, on stderr or as lines with "note", and are no failure.
    """
    count, failed, unknown, unreadable, torn = 0, 0, 0, 0, 0
    for log in each_log(addresses, url):
        if log is None:
            unreadable += 1
            continue
        torn += bool(log.problems)
        for verdict in _verdicts(log, bisect):
            count, failed = count + 1, failed + (not _holds(verdict, only))
            unknown += not _differs(verdict, only) and not _holds(verdict, only)
            _print(verdict, only, as_json)
        note_faults(log.store, log.tasks, as_json)
    if not (count or unreadable):
        message("note: no prompt is recorded that Backcast built: there is nothing to rebuild")
    if count or not unreadable:
        blind = f", of them {unknown} that cannot be told here" if unknown else ""
        click.echo(f"{count} prompts, {failed} failed{blind}", err=True)
    raise SystemExit(UNREADABLE if unreadable else 1 if failed or torn else 0)


def _verdicts(log: "Log", bisect: bool) -> "Iterator[Verdict]":
    from backcast.engine.replay.bisect import with_event
    from backcast.engine.replay.verify import verified

    for task in log.tasks:
        for verdict in verified(log.store, task):
            yield with_event(log.store, verdict) if bisect else verdict


def _holds(verdict: "Verdict", only: str | None) -> bool:
    if only is None:
        return verdict.holds
    answer: Answer = getattr(verdict, only)
    return answer.verdict == "same"


def _differs(verdict: "Verdict", only: str | None) -> bool:
    questions = [only] if only else ["rebuilt", "derived"]
    return any(getattr(verdict, name).verdict == "different" for name in questions)


def _print(verdict: "Verdict", only: str | None, as_json: bool) -> None:
    if as_json:
        from backcast.engine.history.state_json import plain

        click.echo(json_text(plain(verdict)))
        return
    from backcast.engine.interfaces.views import one_line

    questions = [only] if only else ["rebuilt", "derived"]
    answers = "; ".join(f"{name}: {getattr(verdict, name)}" for name in questions)
    where = f"{verdict.task_id}@{verdict.version}"
    click.echo(one_line(f"{where:<20} {verdict.name}  {answers}", 1_000))
