"""Render a node's life as a table and a closing line."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Console

from backcast.engine.interfaces.views import one_line, table
from backcast.engine.replay.audit.occurrences import IN, OUT, WITHIN, Life, Occurrence, Standing

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


def summed_up(s: Standing) -> str:
    """Return the standing of a node in one line."""
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
    return occurrence.what, occurrence.level, occurrence.within, occurrence.told


def _row(group: Sequence[Occurrence], node: str) -> tuple[object, ...]:
    first = group[0]
    when = first.timestamp.strftime("%Y-%m-%d %H:%M:%S")
    if len(group) == 1:
        return first.event, when, first.what, "; ".join(filter(None, _details(first, node)))
    events = [str(each.event) for each in group]
    more = f" ... {events[-1]}" if len(events) > NAMED + 1 else ""
    head = f"in {len(group)} prompts (events {', '.join(events[:NAMED] if more else events)}{more})"
    parts = (f"{head} at {first.level}" if first.level else head, _within(first), first.told)
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
            yield occurrence.told
            asked = " ".join(filter(None, (occurrence.asked, occurrence.target)))
            yield f"for {asked}" if asked else ""
        case "summarised":
            yield f"by {occurrence.who}" if occurrence.who else ""
            yield "" if occurrence.tokens is None else f"{occurrence.tokens} tokens"
            yield f"in place of that of event {occurrence.of}" if occurrence.of else ""
            yield occurrence.told
        case "stale" | "holds again" | "superseded" if occurrence.of:
            yield f"the summary of event {occurrence.of}"
            yield occurrence.told
        case _:
            yield _changed(occurrence.facets, node)
            yield occurrence.told
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
