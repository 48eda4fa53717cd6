"""`backcast resume`: go on with a task that was cut off."""

from typing import Any

import click

from backcast.domain.errors import InputError
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import address_argument, task_at
from backcast.engine.interfaces.running import go_on, run_options, runtime_of


@click.command(name="resume")
@address_argument(metavar="TASK")
@click.option("--model", metavar="MODEL", help="Another than before.")
@run_options
def command(address: Address, url: str, **options: Any) -> None:
    """Go on with a task that was cut off, where its log ends.

    \b
    backcast resume validators
    backcast resume validators --model http://127.0.0.1:8080/v1

    No call that a model has answered is repeated. Model, profile, policy and folder are those of
    the run so far, unless others are given.
    """
    if address.when or address.log:
        raise InputError(
            f"needed a task of the store, found {str(address)!r}: 'backcast fork' begins another"
            " history of it at an event"
        )
    from backcast.engine.interfaces.questions import go_on as go_on_asking
    from backcast.engine.interfaces.questions import question_of

    with task_at(address, url) as place:
        if question_of(place.store, place.task) is not None:
            go_on_asking(place.store, place.task, options)
            return
        go_on(place.store, place.task, runtime_of(options, place.store, place.task), options)
