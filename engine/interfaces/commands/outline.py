"""`backcast outline`: record what is in the modules of a task."""

import click

from backcast.domain.errors import InputError
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import address_argument, task_at
from backcast.engine.interfaces.options import store_option
from backcast.engine.interfaces.terminal import say


@click.command(name="outline")
@address_argument(metavar="TASK")
@store_option
def command(address: Address, url: str) -> None:
    """Record what is in the modules of a task, beforehand.

    That is functions, classes, imports and calls. Commands that need it do it by themselves.

    \b
    backcast outline history
    """
    from backcast.engine.interfaces.outlining import outline_all

    if address.when or address.log:
        raise InputError(f"needed a task of the store, found {str(address)!r}")
    with task_at(address, url) as place:
        say(f"outlined {outline_all(place.store, place.task, anew=True)} texts")
