"""Print the recorded requests of other programs: to the byte, taken apart, or compared."""

from collections import Counter
from typing import TYPE_CHECKING

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.terminal import hand_on_bytes, message, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backcast.engine.context.search import Document
    from backcast.engine.interfaces.addresses import Place
    from backcast.engine.log.exchanges.requests import RecordedRequest
    from backcast.engine.log.store import EventStore
    from backcast.engine.replay.foreign_prompts import Count
    from backcast.engine.replay.prompt_words import OldPart, PartOrigin


def is_foreign(place: "Place") -> bool:
    """Return whether the prompts of a task are requests of another program."""
    from backcast.domain.context_events import ContextBuilt

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
    parts = taken_apart(place.store, place.task, found, noted_count(tokenizer))
    if as_json:
        say(json_text(_plain(parts)))
        return
    from backcast.engine.interfaces.anatomy_text import anatomy_text

    say(anatomy_text(parts, place.task))


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
    found = compared(store, task, first, second, noted_count(None))
    if as_json:
        say(json_text(_plain(found)))
        return
    say(difference_text(found, task))


def print_prefixes(place: "Place", *, as_json: bool) -> None:
    """Print the prompts of a conversation in a row, and where each leaves the one before."""
    from backcast.engine.interfaces.anatomy_text import prefixes_text
    from backcast.engine.replay.prefix_rows import prefix_rows

    last = place.store.version_at(place.task, place.moment)
    found = list(prefix_rows(place.store, place.task, last, noted_count(None)))
    if as_json:
        for row in found:
            say(json_text(_plain(row)))
        return
    say(prefixes_text(found, place.task))


def print_origins(place: "Place", wanted: str, *, as_json: bool) -> None:
    """Print the parts of a prompt that say something, and the events that brought them."""
    from backcast.engine.replay.foreign_prompts import request_at
    from backcast.engine.replay.prompt_words import origins

    store, task = place.store, place.task
    asked = request_at(store, task, place.when or "last")
    found = origins(store, task, asked, wanted, noted_count(None))
    if as_json:
        say(json_text({"prompt": asked.version, "parts": _plain(found)}))
        return
    for line in origin_lines(store, task, asked, found):
        say(line)


def origin_lines(
    store: "EventStore", task: str, asked: "RecordedRequest", found: "Sequence[PartOrigin]"
) -> "Iterator[str]":
    """Yield parts of a prompt as lines, and the events that brought them."""
    from backcast.engine.interfaces.views import cause_line, one_line

    yield f"{task}@{asked.version} POST {asked.request.path}"
    for origin in found:
        part = origin.part
        yield one_line(f"{part.title}, {part.tokens:,} tokens: {part.words}", 110)
        since = f"  in the prompts since {task}@{origin.since}, where"
        if not origin.because:
            yield f"{since} the program put it: no event before tells of it"
            continue
        yield f"{since} it came from"
        for number in origin.because:
            for event in store.read(task, after=number - 1, last=number):
                yield cause_line(event)


def print_old(place: "Place", *, as_json: bool) -> None:
    """Print what a prompt shows of files otherwise than the log has them by then."""
    asked, found = old_at(place.store, place.task, place.when or "last", noted_count(None))
    for old in found:
        say(json_text(_plain(old)) if as_json else old_line(place.task, old))
    if not as_json:
        tokens = sum(old.part.tokens for old in found)
        message(f"{len(found)} stale in {place.task}@{asked.version}, {tokens:,} tokens")


def old_at(
    store: "EventStore", task: str, when: str, count: "Count"
) -> "tuple[RecordedRequest, list[OldPart]]":
    """Return a prompt, and what it shows of files otherwise than the log has them by then.

    `InputError` where the log follows no file, so that nobody can tell.
    """
    from backcast.engine.replay.foreign_prompts import request_at
    from backcast.engine.replay.prompt_words import old_parts

    asked = request_at(store, task, when)
    files = store.read(task, last=asked.version, types=["SOURCE_READ", "MODULE_ITERATION"])
    if not any(files):
        raise InputError(
            f"{task}@{asked.version}: needed a call that is known to read or write a file, found"
            " none before: whether a prompt shows a file as it was cannot be told"
        )
    return asked, list(old_parts(store, task, asked, count))


def old_line(task: str, old: "OldPart") -> str:
    """Return a part that shows a file as it was, as a line."""
    from backcast.engine.interfaces.views import one_line

    shows = f"the {old.part.title} shows {old.path} as it was at {task}@{old.shown}"
    return one_line(f"{shows}; {task}@{old.changed}: {old.how}", 200)


def said_documents(place: "Place") -> "list[Document]":
    """Return the texts of a task's prompts and answers to search in."""
    from backcast.engine.context.search import Document
    from backcast.engine.replay.prompt_words import said_texts

    last = place.store.version_at(place.task, place.moment)
    found, counts = list[Document](), Counter[str]()
    for said in said_texts(place.store, place.task, last):
        name = f"{place.task}@{said.version} {said.title}"
        counts[name] += 1
        number = f" {counts[name]}" if counts[name] > 1 else ""
        found.append(Document(name + number, said.text))
    return found


def _plain(value: object) -> object:
    from backcast.engine.history.state_json import plain

    return plain(value)


def noted_count(tokenizer: str | None) -> "Count":
    """Return what counts the parts that the server did not, which a note names."""
    from backcast.engine.interfaces.profiles import message_counter
    from backcast.engine.models.tokenizers import tokenizer_of

    noted = list[bool]()

    def count(text: str) -> int:
        counter = tokenizer_of(tokenizer) if tokenizer else message_counter()
        if not noted and tokenizer and not counter.exact:  # else it was told
            message("note: tokens are counted by an upper bound, a token a byte")
        elif not noted and not tokenizer and counter.exact:
            message(f"note: parts of prompts are counted by {counter.id}")
        noted.append(True)
        return counter.count(text)

    return count
