"""The command that tells why a thing is in a prompt, or out of it."""

from typing import TYPE_CHECKING

import click

from backcast.domain.json_text import json_text
from backcast.engine.interfaces.diffing import only_task
from backcast.engine.interfaces.options import DEFAULT_STORE, json_option
from backcast.engine.interfaces.replaying import note_prompt
from backcast.engine.interfaces.terminal import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backcast.domain.events import WorkflowEvent
    from backcast.engine.replay.blame import Blame


@click.command()
@click.argument("log", required=False)
@click.option(
    "--store", "url", envvar="BACKCAST_STORE", default=DEFAULT_STORE, show_default=True,
    metavar="URL", help="Where no LOG is named. Also BACKCAST_STORE.",
)  # fmt: skip
@click.option("--task", metavar="TASK", help="Where a log holds several.")
@click.option("--at", default="last", metavar="STEP", help="A prompt: its event, first or last.")
@click.option("--item", required=True, metavar="NODE", help="A node, a path, or PATH::NAME.")
@json_option
def blame(log: str | None, url: str, task: str | None, at: str, item: str, as_json: bool) -> None:
    """Tell which events put a thing into a prompt, at which level; or what pushed it out.

    \b
    backcast blame fixtures/logs/till.jsonl --at 164 --item money.py::share
    backcast blame --store sqlite:///runs.db --task till --item failure:162.1 --json
    """
    from backcast.engine.history.state_json import plain
    from backcast.engine.log.open_logs import opened
    from backcast.engine.replay.blame import blame as blamed
    from backcast.engine.replay.derive import BuilderPool
    from backcast.engine.replay.find import step_at

    with opened(log or url, task) as there:
        own = only_task(there)
        step = step_at(there.store, own, at)
        note_prompt(at, step)
        found = blamed(BuilderPool(there.store), step, item)
        named = {*found.because, *(one for rival in found.rivals for one in rival.because)}
        events = [one for version in sorted(named)
                  for one in there.store.read(own, after=version - 1, last=version)]  # fmt: skip
    if as_json:
        told = plain(found) | {"prompt": step.version, "events": [one.version for one in events]}
        click.echo(json_text(told))
        return
    click.echo(escaped(f"{own}@{step.version} {step.name}"))
    for line in _lines(found, {one.version: one for one in events}):
        click.echo(line)


def _lines(found: "Blame", events: "dict[int, WorkflowEvent]") -> "Iterator[str]":
    from backcast.engine.interfaces.views import event_line, one_line

    node = one_line(found.node, 100)
    if found.level:
        yield f"{node} is in {found.section}, {found.level}, {found.tokens} tokens"
    else:
        yield f"{node} is {'in' if found.inside else 'out'}"
    yield f"why: {one_line(found.why, 200)}"
    if not found.inside and found.tokens:
        yield f"it would take {found.tokens} tokens; its chance to be needed was {found.score:g}"
    yield f"shown last by event {found.last}" if found.last else "no prompt before showed it"
    if found.because:
        yield "it came from"
        yield from (event_line(events[one]) for one in found.because if one in events)
    if found.rivals:
        yield "its tokens went to" if found.last else "the last ones in instead"
        for rival in found.rivals:
            told = ", ".join(map(str, rival.because))
            yield (
                f"  {one_line(rival.node, 90)}  {rival.level}, {rival.tokens} tokens more, chance"
                f" {rival.score:g}{f', from event {told}' if told else ''}"
            )


COMMANDS = (blame,)
