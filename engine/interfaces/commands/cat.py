"""`backcast cat`: write a body, an event's text or a source text to stdout."""

import re
from base64 import b64encode
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import click

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address, parse
from backcast.engine.interfaces.addresses import address_argument, log_at, task_at
from backcast.engine.interfaces.options import json_option, opened, store_option
from backcast.engine.interfaces.terminal import hand_on_bytes, message, say

if TYPE_CHECKING:
    from backcast.domain.node import Reference
    from backcast.engine.history.shown_lines import ShownStretch
    from backcast.engine.log.store import EventStore

_SHORT = re.compile(r"blob:[0-9a-f]{8,63}")
"The beginning of a blob's name, as prompts under a history policy show it."


class _Found(NamedTuple):
    """A text to print, and what `--json` has beside it."""

    body: bytes
    beside: dict[str, Any]


@click.command(name="cat")
@store_option
@click.argument("ref", metavar="REF")
@address_argument("moment", required=False, metavar="[FILE.jsonl][@WHEN]")
@json_option
def command(url: str, ref: str, moment: Address | None, as_json: bool) -> None:
    """Print what an event brought, a blob, or the text of a module or a part as it was.

    Of an event it is the answer, the result, the output, also of checks, or the module's text.
    Where a module is gone by now and no moment is named, its last text is printed, which a note
    tells. Where no event holds a text as a whole, the lines that tools showed of it are printed,
    with their numbers and events, and the exit code is 1. Of a blob's name 8 digits or more are
    enough. In a path, %23 stands for # and %25 for %; in a task's name, %2F for /. With --json the
    text comes in an object; one that is not UTF-8 as "base64", and lines that tools showed as a
    list.

    \b
    backcast cat till@80                               # what a model answered, for instance
    backcast cat blob:ee188b111aa89592
    backcast cat storage://task-abc123/validators.py#L4-L9 fixtures/logs/addresses.jsonl
    backcast cat storage://till/money.py#share @2026-11-20T12:01
    backcast cat storage://till/money.py fixtures/logs/till.jsonl
    """
    found = _found(url, ref, moment, as_json)
    if as_json:
        say(json_text(found.beside | _held(found.body)))
    else:
        hand_on_bytes(found.body)


def _found(url: str, ref: str, moment: Address | None, as_json: bool) -> _Found:
    """Return the text that is named, from the store or a log; ends where only lines are known."""
    if not moment and not ref.startswith(("blob:", "storage:")) and (at := parse(ref)).when:
        return _event_found(at, url)
    if moment and moment.task:
        raise InputError(f"needed @WHEN or FILE.jsonl behind {ref!r}, found {str(moment)!r}")
    when = moment.when if moment else ""
    if moment and moment.log:
        with log_at(moment, url) as log:
            for problem in log.problems:
                message(f"skipped {problem}")
            return _text_found(log.store, ref, when, as_json)
    with opened(url) as store:
        return _text_found(store, ref, when, as_json)


def _held(body: bytes) -> dict[str, str]:
    """Return a body as JSON can hold it."""
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"base64": b64encode(body).decode()}


def _event_found(address: Address, url: str) -> _Found:
    """Return the text of an event, and name its other ones."""
    from backcast.engine.interfaces.event_texts import event_text

    with task_at(address, url) as place:
        ref, others, short = event_text(place)
        body = _blob(place.store, ref)[1] if ref else short.encode(errors="surrogatepass")
        event = place.store.version_at(place.task, place.moment)
    for name, other in others.items():
        message(f"note: its {name.replace('_', ' ')} is {other[:21]}")
    beside = {"task": place.task, "event": event, "blob": ref or None, "others": others}
    return _Found(body, beside)


def _text_found(store: "EventStore", ref: str, when: str, as_json: bool) -> _Found:
    from backcast.domain.moment import NOW
    from backcast.domain.node import parse_reference
    from backcast.engine.history.moments import moment_at
    from backcast.engine.history.source_text import last_text, lines_shown, text_of

    if not ref.startswith("storage:"):
        name, body = _blob(store, ref)
        return _Found(body, {"blob": name})
    reference = parse_reference(ref)
    moment = moment_at(store, reference.task_id, when) if when else NOW
    try:
        if when:
            return _Found(text_of(store, reference, moment), {"reference": ref})
        found = last_text(store, reference)
    except InputError as error:
        if stretches := lines_shown(store, reference, moment):
            _print_stretches(reference, stretches, str(error), as_json)
        raise
    if not found.before:
        return _Found(found.body, {"reference": ref})
    last = found.before.version - 1
    message(
        f"note: {ref} names nothing since event {found.before.version} of its task; this is"
        f" the last text that it named ({reference.task_id}@{last})"
    )
    return _Found(found.body, {"reference": ref, "last_at": last})


def _print_stretches(
    reference: "Reference", stretches: "Sequence[ShownStretch]", error: str, as_json: bool
) -> NoReturn:
    """Print the lines that are known of a text, with their numbers, and end with 1: it is not the
    file."""
    if as_json:
        lines = [
            {"line": number, "text": text, "event": event, "changed_by": changed or None}
            for event, run, changed in stretches
            for number, text in run
        ]
        say(json_text({"reference": str(reference), "lines": lines}))
    else:
        hand_on_bytes(_stretches_text(stretches).encode(errors="surrogatepass"))
    count = sum(len(stretch.lines) for stretch in stretches)
    events = [str(event) for event in sorted({each.event for each in stretches})]
    by = f"event {events[0]}" if len(events) == 1 else f"events {', '.join(events)}"
    message(
        f"{error}; tools showed {count:,} lines of it, by {by}"
        f" ('backcast cat {reference.task_id}@{events[-1]}' prints all that the last one showed)"
    )
    raise SystemExit(1)


def _stretches_text(stretches: "Sequence[ShownStretch]") -> str:
    """Return lines as a person reads them, with who showed them."""
    shown = list[str]()
    for event, lines, changed in stretches:
        old = f", before the change of event {changed}" if changed else ""
        shown.append(f"--- lines {lines[0][0]}-{lines[-1][0]}, as event {event} showed them{old}")
        shown += [f"{number:>7}\t{text}" for number, text in lines]
    return "".join(f"{line}\n" for line in shown)


def _blob(store: "EventStore", ref: str) -> tuple[str, bytes]:
    """Return a blob's whole name and its body."""
    if _SHORT.fullmatch(ref):
        names = store.names(ref)
        if len(names) > 1:
            raise InputError(f"{ref}: needed more of the name, found {names[0]} and {names[1]}")
        if not names:
            raise InputError(f"{ref} is not in this store")
        ref = names[0]
    try:
        if not store.holds(ref):
            raise InputError(f"{ref[:71]} is not in this store")
        return ref, store.get(ref)
    except ValueError as error:
        raise InputError(str(error)) from None
