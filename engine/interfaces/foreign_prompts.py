"""Print the recorded requests of other programs: to the byte, taken apart, or compared."""

from typing import TYPE_CHECKING

import click

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.terminal import hand_on_bytes, message

if TYPE_CHECKING:
    from backcast.engine.interfaces.addresses import Place
    from backcast.engine.replay.foreign_prompts import Count

BOUND = "upper-bound"


def is_foreign(place: "Place") -> bool:
    """Return whether the prompts of a task are requests of another program."""
    from backcast.domain.events import ContextBuilt

    first = next(place.store.read(place.task, types=["CONTEXT_BUILT"]), None)
    return first is not None and isinstance(first.fact, ContextBuilt) and bool(first.fact.request)


def print_request(place: "Place", tokenizer: str | None, *, anatomy: bool, as_json: bool) -> None:
    """Print the request at a moment: its body to the byte, or what it is made of."""
    from backcast.engine.log.exchanges.requests import body_of
    from backcast.engine.replay.foreign_prompts import anatomy as taken_apart
    from backcast.engine.replay.foreign_prompts import request_at

    found = request_at(place.store, place.task, place.when or "last")
    if found.request.fidelity:
        known = f"by its {found.request.fidelity}, not its bytes"
        message(f"note: this prompt was formed from the agent's log: it is known {known}")
    if not anatomy and not as_json:
        hand_on_bytes(body_of(found, place.store.get))
        return
    parts = taken_apart(place.store, place.task, found, _count(tokenizer))
    if as_json:
        click.echo(json_text(_plain(parts)))
        return
    from backcast.engine.interfaces.anatomy_text import anatomy_text

    click.echo(anatomy_text(parts, place.task))


def print_difference(before: "Place", after: "Place", *, as_json: bool) -> None:
    """Print how two requests of a task differ, and where the prefix broke."""
    from backcast.engine.interfaces.anatomy_text import difference_text
    from backcast.engine.replay.foreign_prompts import compared, request_at

    store, task = before.store, before.task
    first, second = (request_at(store, task, place.when) for place in (before, after))
    if first.version > second.version:
        raise InputError(
            f"needed a second moment behind the first, event {first.version}, found event"
            f" {second.version}"
        )
    found = compared(store, task, first, second, _count(None))
    if as_json:
        click.echo(json_text(_plain(found)))
        return
    click.echo(difference_text(found, task))


def _plain(value: object) -> object:
    from backcast.engine.history.state_json import plain

    return plain(value)


def _count(tokenizer: str | None) -> "Count":
    """Return what counts the parts that the server did not; where it is a bound, that is noted."""
    from backcast.engine.models.tokenizers import tokenizer_of

    noted = list[bool]()

    def count(text: str) -> int:
        counter = tokenizer_of(tokenizer or BOUND)
        if not noted and not counter.exact:
            noted.append(True)
            message(f"note: tokens are counted by an {counter.id}; --tokenizer names another")
        return counter.count(text)

    return count
