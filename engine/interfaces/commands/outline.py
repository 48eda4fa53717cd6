"""`backcast outline`: record what is in the modules of a task."""

import click

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import address_argument, task_at
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.terminal import say


@click.command(name="outline")
@address_argument(metavar="TASK")
@store_option
@json_option
def command(address: Address, url: str, as_json: bool) -> None:
    """Record what is in the modules of a task, beforehand.

    That is functions, classes, imports and calls. Commands that need it do it by themselves. With
    --json the number comes with a line for each reason why some modules have none.

    \b
    backcast outline history
    """
    from backcast.engine.history.snapshots import state_at
    from backcast.engine.interfaces.outlining import outline_all
    from backcast.engine.memory.not_outlined import not_outlined
    from backcast.projections import dependency_graph

    if address.when or address.log:
        raise InputError(f"needed a task of the store, found {str(address)!r}")
    with task_at(address, url) as place:
        count = outline_all(place.store, place.task, anew=True)
        if not as_json:
            say(f"outlined {count} texts")
            return
        without = not_outlined(state_at(place.store, dependency_graph, place.task))
    say(json_text({"task": address.task, "outlined": count, "without": without}))
