"""Print the formed prompts of imported runs: taken apart, compared, and where a text came from."""

from typing import TYPE_CHECKING

from backcast.domain.json_text import json_text
from backcast.engine.interfaces.terminal import escaped, message, say

if TYPE_CHECKING:
    from backcast.engine.context.search import Document
    from backcast.engine.interfaces.addresses import Place

NOTE = (
    "note: no request was recorded; this is formed of the run's messages, without tools, pictures"
    " and instructions that no log tells"
)


def is_formed(place: "Place") -> bool:
    """Return whether the prompts of a task are formed of messages, as it holds no requests."""
    from backcast.engine.interfaces.foreign_prompts import is_foreign
    from backcast.engine.interfaces.histories import is_agents_run

    return not is_foreign(place) and is_agents_run(place)


def print_formed(place: "Place", profile: str | None, tokenizer: str | None, as_json: bool) -> None:
    """Print what the prompt at a moment is made of."""
    from backcast.engine.history.state_json import plain
    from backcast.engine.interfaces.anatomy_text import formed_text
    from backcast.engine.interfaces.histories import counter_of
    from backcast.engine.replay.formed_anatomy import formed_anatomy

    counter = counter_of(profile, tokenizer)
    found = formed_anatomy(place.store, place.task, place.when, counter.count)
    message(NOTE)
    say(json_text(plain(found)) if as_json else formed_text(found, place.task, counter.id))


def print_formed_rows(place: "Place", as_json: bool) -> None:
    """Print the prompts in a row, and where each leaves the one before."""
    from backcast.engine.history.state_json import plain
    from backcast.engine.interfaces.anatomy_text import formed_prefixes_text
    from backcast.engine.interfaces.histories import counter_of
    from backcast.engine.replay.formed_anatomy import formed_rows

    counter = counter_of(None)
    last = place.store.version_at(place.task, place.moment)
    rows = list(formed_rows(place.store, place.task, last, counter.count))
    message(NOTE)
    if not as_json:
        say(formed_prefixes_text(rows, place.task, counter.id))
    for row in rows if as_json else ():
        say(json_text(plain(row)))


def print_formed_difference(before: "Place", after: "Place", as_json: bool) -> None:
    """Print how the prompts at two moments differ."""
    from backcast.engine.history.state_json import plain
    from backcast.engine.interfaces.anatomy_text import difference_text
    from backcast.engine.interfaces.histories import counter_of
    from backcast.engine.replay.formed_anatomy import formed_difference

    store, task = before.store, before.task
    found = formed_difference(store, task, before.when, after.when, counter_of(None).count)
    message(NOTE)
    say(json_text(plain(found)) if as_json else difference_text(found, task))


def print_formed_origins(place: "Place", wanted: str, as_json: bool) -> None:
    """Print the parts of a prompt that say something, and the events that brought them."""
    from backcast.engine.history.state_json import plain
    from backcast.engine.interfaces.histories import counter_of
    from backcast.engine.interfaces.views import cause_line, one_line
    from backcast.engine.replay.formed_anatomy import formed_origins

    store, task = place.store, place.task
    version, found = formed_origins(store, task, place.when, wanted, counter_of(None).count)
    message(NOTE)
    if as_json:
        say(json_text({"prompt": version, "parts": plain(found)}))
        return
    say(escaped(f"{task}@{version}"))
    for part, number in found:
        say(one_line(f"{part.title}, {part.tokens:,} tokens: {part.words}", 110))
        for event in store.read(task, after=number - 1, last=number):
            say(cause_line(event))


def formed_documents(place: "Place") -> "list[Document]":
    """Return the texts of a run's messages, calls and results to search in."""
    from backcast.engine.context.search import Document
    from backcast.engine.replay.formed_anatomy import said_parts

    last = place.store.version_at(place.task, place.moment)
    return [
        Document(f"{place.task}@{part.event} {part.title}", part.text)
        for part in said_parts(place.store, place.task, last)
    ]
