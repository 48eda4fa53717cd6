"""`backcast blame`: why is a thing in a prompt, or out of it?"""

from typing import TYPE_CHECKING

import click

from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import address_argument, task_at
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.terminal import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backcast.domain.events import WorkflowEvent
    from backcast.engine.replay.blame import Blame


@click.command(name="blame")
@address_argument()
@click.argument("node")
@store_option
@json_option
def command(address: Address, node: str, url: str, as_json: bool) -> None:
    """Tell which events put a thing into a prompt, or pushed it out.

    \b
    backcast blame fixtures/logs/till.jsonl@164 money.py::share
    backcast blame till failure:162.1 --json          # in the last prompt of a task

    NODE is a node of the graph, a path, or PATH::NAME. In a prompt of another program it is a text
    that the prompt holds, or what --anatomy calls a part.
    """
    from backcast.engine.history.state_json import plain
    from backcast.engine.interfaces.foreign_prompts import is_foreign, print_origins
    from backcast.engine.replay.blame import blame
    from backcast.engine.replay.derive import BuilderPool
    from backcast.engine.replay.find import step_at

    with task_at(address, url) as place:
        if is_foreign(place):
            print_origins(place, node, as_json=as_json)
            return
        step = step_at(place.store, place.task, place.when)
        found = blame(BuilderPool(place.store), step, node)
        numbers = {*found.because, *(cause for rival in found.rivals for cause in rival.because)}
        events = {
            number: event
            for number in sorted(numbers)
            for event in place.store.read(place.task, after=number - 1, last=number)
        }
    if as_json:
        click.echo(json_text(plain(found) | {"prompt": step.version, "events": list(events)}))
        return
    click.echo(escaped(f"{place.task}@{step.version} {step.name}"))
    for line in _lines(found, events):
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
        yield from (event_line(events[number]) for number in found.because if number in events)
    if found.rivals:
        yield "its tokens went to" if found.last else "the last ones in instead"
        for rival in found.rivals:
            causes = ", ".join(map(str, rival.because))
            yield (
                f"  {one_line(rival.node, 90)}  {rival.level}, {rival.tokens} tokens more, chance"
                f" {rival.score:g}{f', from event {causes}' if causes else ''}"
            )
