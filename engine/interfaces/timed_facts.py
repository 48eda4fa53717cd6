"""Facts with their times, as text and as JSON."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.domain.moment import Moment
from backcast.domain.node import path_of
from backcast.domain.timed_facts import TAGS, TimedFact, about, holding
from backcast.engine.history.moments import RECORDED, moment_at, parse_time
from backcast.engine.interfaces.addresses import Place
from backcast.engine.interfaces.empty import note_empty
from backcast.engine.interfaces.terminal import escaped, message, progress_bar, say

if TYPE_CHECKING:
    from backcast.engine.context.fact_rows import Ranking

KINDS = ("TASK_STARTED", "MODULE_ITERATION", "CHECKS_RAN", "COMMITTED")
"Types of event that facts are made of."
NEAR = 3
"Subjects that an error names."


class FactsAsked(NamedTuple):
    """What is asked of the facts of a task."""

    known_at: str = ""
    "The moment up to which the log is read; empty for that of the address."
    about: str = ""
    tag: str = ""
    query: str = ""
    tokens: int = 500
    embedder: str | None = None
    tokenizer: str | None = None
    ended: bool = False
    "Whether facts that had ended by then are asked for, too."


def show_facts(place: Place, asked: FactsAsked, *, as_json: bool) -> None:
    """Print the facts of a task at a moment; with a query, those that answer it best."""
    found, note = facts_at(place, asked), ""
    if not found:
        note_empty(place.store, place.task, place.moment, "fact", KINDS)
    elif asked.query:
        chosen, spent = _answering(place, found, asked)
        note = f"{len(chosen)} of {len(found):,} facts, {spent} of {asked.tokens} tokens"
        found = chosen
    if as_json:
        say(json_text(facts_json(found)))
    else:
        say("".join(f"{line}\n" for line in fact_lines(found)), nl=False)
    if note:
        message(f"note: {note}")


def _answering(
    place: Place, found: Sequence[TimedFact], asked: FactsAsked
) -> tuple[list[TimedFact], int]:
    """Return the facts that answer a query within its tokens, and the tokens of their text."""
    from backcast.engine.context.fact_rows import retrieved, row_text
    from backcast.engine.context.search import search, search_words, sentence_embedder
    from backcast.engine.interfaces.profiles import counter_by

    counter = counter_by(None, asked.tokenizer, place.store, place.task)
    ranking: Ranking = search_words
    with ExitStack() as stack:
        if asked.embedder:
            embedder = sentence_embedder(asked.embedder)
            advance = stack.enter_context(progress_bar("embedding facts", len(found)))
            ranking = partial(search, place.store, embedder, progress=advance)
        chosen = retrieved(found, asked.query, asked.tokens, counter.count, ranking)
    return chosen, counter.count(row_text(chosen))


def facts_at(place: Place, asked: FactsAsked) -> list[TimedFact]:
    """Return the facts of a task that hold at a moment, as far as the log was known by another.

    `InputError` where no fact is about what was asked for.
    """
    from backcast.engine.history.snapshots import state_at
    from backcast.projections import facts

    moment = place.outlined()
    known = moment.position
    version: int | None = None
    if asked.known_at:
        known = _known_at(place, asked.known_at)
        if moment.position is not None:
            version = place.store.version_at(place.task, Moment(moment.position))
    state = state_at(place.store, facts, place.task, Moment(known))
    found = holding(state.slots, moment.at, version, ended=asked.ended)
    if asked.tag and asked.tag not in TAGS:
        raise InputError(f"--tag: needed one of {', '.join(TAGS)}, found {asked.tag!r}")
    if asked.tag:
        found = [fact for fact in found if fact.tag == asked.tag]
    if not asked.about or not found:
        return found
    named = about(found, asked.about)
    if not named:
        raise InputError(_nothing_about(place.task, asked.about, found))
    return named


def _known_at(place: Place, when: str) -> int | None:
    """Return the position up to which the log was known: a plain time is one of recording."""
    if when[:1].isdigit() and not when.isdecimal():
        return place.store.position_at(parse_time(when))
    moment = moment_at(place.store, place.task, when)
    if moment.at is not None:
        raise InputError(
            f"--known-at: needed an event, a commit or a time of recording, found {when!r}:"
            f" a time alone is one of recording, as is {RECORDED}TIME"
        )
    return moment.position


def _nothing_about(task: str, thing: str, facts: Sequence[TimedFact]) -> str:
    names = dict.fromkeys(name for fact in facts for name in (path_of(fact.subject), fact.subject))
    near = get_close_matches(thing, list(names), NEAR, 0.5) or list(names)[:NEAR]
    return (
        f"task {task!r}: needed a path or a node that facts are about at that moment, found"
        f" {thing!r}; such as {', '.join(near)}"
    )


def fact_lines(facts: Sequence[TimedFact]) -> Iterator[str]:
    """Yield a line for each subject, and one for each of its facts: what, and from when to when."""
    subject = ""
    for fact in facts:
        if fact.subject != subject:
            subject = fact.subject
            yield escaped(subject)
        until = f" to {_end(fact.since, fact.until)}" if fact.until else ""
        ended = "refuted" if fact.refuted else "ended"
        by = f", {ended} by event {fact.ended_by}" if fact.ended_by else ""
        claimed = "" if fact.found else "claimed, "
        yield (
            f"  {fact.relation}: {escaped(fact.object)}"
            f"  [{claimed}from {_time(fact.since)}{until}, event {fact.event}{by}]"
        )


def _end(since: datetime, until: datetime) -> str:
    """Return when a fact ended; on the day of its beginning the time alone."""
    same = since.date() == until.date()
    return _time(until).partition("T")[2] if same else _time(until)


def _time(time: datetime) -> str:
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")


def facts_json(facts: Sequence[TimedFact]) -> list[dict[str, Any]]:
    """Return facts as JSON."""
    from backcast.engine.history.state_json import plain

    return [plain(fact) for fact in facts]
