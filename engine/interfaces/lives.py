"""A node's life as a person reads it."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Console

from backcast.engine.interfaces.views import one_line, table
from backcast.engine.replay.audit.occurrences import IN, OUT, WITHIN, Life, Occurrence, Standing

WIDTH = 120
"Of a cell, in characters."
NAMED = 4
"Prompts of a folded row that are named at its beginning."
WORDS = {
    "sig": "signature", "config": "settings", "locals": "imports inside", "name": "binding",
    "attribute": "type",
}  # fmt: skip
"What facets are called; the others are called by their keys."


def show(life: Life, console: Console) -> None:
    """Print a life as a table. Prompts in a row that dealt alike with the node are one row."""
    node = life.standing.node
    rows = [_row(list(some), node) for _, some in groupby(life.occurrences, _alike)]
    table(console, ("event", "when", "what", "told"), rows, WIDTH)


def summed_up(standing: Standing) -> str:
    """What a life came to, in a line."""
    one = standing
    prompts = one.shown + one.within + one.omitted + one.not_offered
    return (
        f"{one_line(one.node, WIDTH)}: {one.state}; versions: {one.versions};"
        f" summaries: {one.summaries}, {one.holding} of them still holding;"
        f" prompts: {prompts}, shown in {one.shown}, within another in {one.within},"
        f" left out of {one.omitted}, not offered in {one.not_offered}"
    )


def _alike(one: Occurrence) -> tuple[object, ...]:
    """What is equal for prompts that can be told in one row."""
    if one.what not in (IN, WITHIN, OUT):
        return (one.event, one.what, one.of)
    return one.what, one.level, one.within, one.told


def _row(some: Sequence[Occurrence], node: str) -> tuple[object, ...]:
    one = some[0]
    when = one.timestamp.strftime("%Y-%m-%d %H:%M:%S")
    if len(some) == 1:
        return one.event, when, one.what, "; ".join(filter(None, _told(one, node)))
    events = [str(each.event) for each in some]
    more = f" ... {events[-1]}" if len(events) > NAMED + 1 else ""
    head = f"in {len(some)} prompts (events {', '.join(events[:NAMED] if more else events)}{more})"
    told = (f"{head} at {one.level}" if one.level else head, _within(one), one.told)
    return one.event, when, one.what, "; ".join(filter(None, told))


def _told(one: Occurrence, node: str) -> Iterator[str]:
    """The parts of what is told of one occurrence."""
    match one.what:
        case "shown" | "within" | "omitted":
            yield _within(one)
            yield " ".join(filter(None, (one.level, one.section and f"in {one.section}")))
            yield "" if one.tokens is None else f"{one.tokens} tokens"
            yield f"{one.found}{f', left by task {one.task}' * bool(one.task)}"
            yield one.told
            asked = " ".join(filter(None, (one.asked, one.target)))
            yield f"for {asked}" if asked else ""
        case "summarised":
            yield f"by {one.who}" if one.who else ""
            yield "" if one.tokens is None else f"{one.tokens} tokens"
            yield f"in place of that of event {one.of}" if one.of else ""
            yield one.told
        case "stale" | "holds again" | "superseded" if one.of:
            yield f"the summary of event {one.of}"
            yield one.told
        case _:
            yield _changed(one.facets, node)
            yield one.told
            yield f"by {one.who}" if one.who else ""
            yield f"checked: {one.target}" if one.target else ""


def _within(one: Occurrence) -> str:
    return f"in {one.within}" if one.within else ""


def _changed(facets: Sequence[str], node: str) -> str:
    """What changed, by name where it is a module that did."""
    names: dict[str, list[str]] = {}
    for key in facets:
        head, _, name = key.partition(":")
        names.setdefault(name, []).append(WORDS.get(head, head))
    if not node.startswith("module:"):
        return ", ".join(word for words in names.values() for word in words)
    told = [f"{name} ({', '.join(words)})" for name, words in names.items() if name]
    return ", ".join([*names.get("", ()), *told])
