"""Render a node's life as a table and a closing line."""

import shlex
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console

from backcast.domain.node import name_of, path_of, plain_name
from backcast.engine.interfaces.terminal import escaped, message
from backcast.engine.interfaces.views import one_line, table
from backcast.engine.replay.audit.occurrences import IN, OUT, WITHIN, Life, Occurrence, Standing

if TYPE_CHECKING:
    from backcast.domain.moment import Moment
    from backcast.engine.interfaces.addresses import Place

WIDTH = 120
"Characters of a cell."
NAMED = 4
"Prompts that a folded row names at its beginning."
WORDS = {
    "sig": "signature", "config": "settings", "locals": "imports inside", "name": "binding",
    "attribute": "type",
}  # fmt: skip
"Names of facets; other facets are called by their keys."


def show(life: Life, console: Console) -> None:
    """Print a life as a table; consecutive prompts that dealt alike with the node share a row."""
    node = life.standing.node
    rows = [_row(list(group), node) for _, group in groupby(life.occurrences, _fold_key)]
    table(console, ("event", "when", "what", "details"), rows, WIDTH)


def agents_prompts(place: "Place", node: str, moment: "Moment") -> str:
    """Return how many prompts of an agent hold the path or the name of a node, in words; a note
    tells how to find where that came from."""
    from backcast.engine.replay.agent_prompts import prompts_with

    store, task = place.store, place.task
    word = plain_name(name_of(node)).rpartition(".")[2] or path_of(node)
    held, total = prompts_with(store, task, word, store.version_at(task, moment))
    if held:
        first = shlex.quote(f"{task}@{held[0]}")
        message(
            "note: the prompts of this task are another program's and name no nodes: 'backcast"
            f" blame {first} {shlex.quote(word)}' tells where the text came from"
        )
    first = f", first in {one_line(task, WIDTH)}@{held[0]}" if held else ""
    return f"prompts: {total} of an agent, the text {word!r} stands in {len(held)}{first}"


def summed_up(s: Standing, agents: str = "") -> str:
    """Return the standing of a node in one line; `agents` tells of prompts that name no nodes."""
    if agents:
        return (
            f"{one_line(s.node, WIDTH)}: {s.state}; versions: {s.versions};"
            f" summaries: {s.summaries}, {s.holding} of them still holding; {escaped(agents)}"
        )
    prompts = s.shown + s.within + s.omitted + s.not_offered
    return (
        f"{one_line(s.node, WIDTH)}: {s.state}; versions: {s.versions};"
        f" summaries: {s.summaries}, {s.holding} of them still holding;"
        f" prompts: {prompts}, shown in {s.shown}, within another in {s.within},"
        f" left out of {s.omitted}, not offered in {s.not_offered}"
    )


def _fold_key(occurrence: Occurrence) -> tuple[object, ...]:
    """Return a key that is equal for prompts which fit one row."""
    if occurrence.what not in (IN, WITHIN, OUT):
        return (occurrence.event, occurrence.what, occurrence.of)
    return occurrence.what, occurrence.level, occurrence.within, occurrence.details


def _row(group: Sequence[Occurrence], node: str) -> tuple[object, ...]:
    first = group[0]
    when = first.timestamp.strftime("%Y-%m-%d %H:%M:%S")
    if len(group) == 1:
        return first.event, when, first.what, "; ".join(filter(None, _details(first, node)))
    events = [str(each.event) for each in group]
    more = f" ... {events[-1]}" if len(events) > NAMED + 1 else ""
    head = f"in {len(group)} prompts (events {', '.join(events[:NAMED] if more else events)}{more})"
    parts = (f"{head} at {first.level}" if first.level else head, _within(first), first.details)
    return first.event, when, first.what, "; ".join(filter(None, parts))


def _details(occurrence: Occurrence, node: str) -> Iterator[str]:
    """Yield the details of one occurrence; some are empty."""
    match occurrence.what:
        case "shown" | "within" | "omitted":
            yield _within(occurrence)
            section = occurrence.section and f"in {occurrence.section}"
            yield " ".join(filter(None, (occurrence.level, section)))
            yield "" if occurrence.tokens is None else f"{occurrence.tokens} tokens"
            task = f", left by task {occurrence.task}" if occurrence.task else ""
            yield f"{occurrence.found}{task}"
            yield occurrence.details
            asked = " ".join(filter(None, (occurrence.asked, occurrence.target)))
            yield f"for {asked}" if asked else ""
        case "summarised":
            yield f"by {occurrence.who}" if occurrence.who else ""
            yield "" if occurrence.tokens is None else f"{occurrence.tokens} tokens"
            yield f"in place of that of event {occurrence.of}" if occurrence.of else ""
            yield occurrence.details
        case "stale" | "holds again" | "superseded" if occurrence.of:
            yield f"the summary of event {occurrence.of}"
            yield occurrence.details
        case _:
            yield _changed(occurrence.facets, node)
            yield occurrence.details
            yield f"by {occurrence.who}" if occurrence.who else ""
            yield f"checked: {occurrence.target}" if occurrence.target else ""


def _within(occurrence: Occurrence) -> str:
    return f"in {occurrence.within}" if occurrence.within else ""


def _changed(facets: Sequence[str], node: str) -> str:
    """Return the changed facets in words, by symbol for a module."""
    names: dict[str, list[str]] = {}
    for key in facets:
        head, _, name = key.partition(":")
        names.setdefault(name, []).append(WORDS.get(head, head))
    if not node.startswith("module:"):
        return ", ".join(word for words in names.values() for word in words)
    parts = [f"{name} ({', '.join(words)})" for name, words in names.items() if name]
    return ", ".join([*names.get("", ()), *parts])
