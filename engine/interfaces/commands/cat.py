"""`backcast cat`: write a body or a source text to stdout."""

from typing import TYPE_CHECKING

import click

from backcast.domain.errors import InputError
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import address_argument
from backcast.engine.interfaces.options import opened, store_option
from backcast.engine.interfaces.terminal import hand_on_bytes

if TYPE_CHECKING:
    from backcast.engine.log.store import EventStore


@click.command(name="cat")
@store_option
@click.argument("ref", metavar="REF")
@address_argument("moment", required=False, metavar="@WHEN")
def command(url: str, ref: str, moment: Address | None) -> None:
    """Print a blob, or the text of a module or a part as it was.

    In a path, %23 stands for # and %25 for %.

    \b
    backcast cat blob:6ca13d52ca70c883e0f0bb101e425a89e8624de51db2d2392593af6a84118090
    backcast cat storage://task-abc123/validators.py#L4-L9 @2026-11-20T10:03
    backcast cat storage://task-abc123/validators.py#validate_email
    """
    from backcast.domain.node import parse_reference
    from backcast.engine.history.moments import moment_at
    from backcast.engine.history.source_text import text_of

    if moment and (moment.task or moment.log):
        raise InputError(f"needed @WHEN behind {ref!r}, found {str(moment)!r}")
    with opened(url) as store:
        if ref.startswith("storage:"):
            reference = parse_reference(ref)
            at = moment_at(store, reference.task_id, moment.when if moment else "")
            hand_on_bytes(text_of(store, reference, at))
        else:
            hand_on_bytes(_blob(store, ref))


def _blob(store: "EventStore", ref: str) -> bytes:
    try:
        if not store.holds(ref):
            raise InputError(f"{ref[:71]} is not in this store")
        return store.get(ref)
    except ValueError as error:
        raise InputError(str(error)) from None
