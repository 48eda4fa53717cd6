"""The prompts of dispatches as commands print them."""

from typing import TYPE_CHECKING

import click

from backcast.domain.json_text import json_text
from backcast.engine.interfaces.terminal import escaped, hand_on_bytes, message

if TYPE_CHECKING:
    from backcast.engine.interfaces.addresses import Place


def is_dispatched(place: "Place") -> bool:
    """Return whether the prompts of a task are those of agents that were dispatched."""
    return any(place.store.read(place.task, types=["DISPATCH_STARTED"]))


def print_dispatched(place: "Place", *, explain: bool, as_json: bool) -> None:
    """Print the prompt of a dispatch, or what it was built of."""
    from backcast.engine.interfaces.views import console, table
    from backcast.engine.replay.dispatch_prompts import dispatched_at, text_of

    found = dispatched_at(place.store, place.task, place.when or "last")
    started, built = found.started, found.started.built
    assert started.prompt is not None
    text = text_of(place.store, started.prompt)
    if as_json:
        click.echo(json_text({
            "dispatch": f"{place.task}@{found.version}", "prompt": text, "digest": started.prompt,
            "tokens": started.prompt_tokens,
            "built": built.model_dump(mode="json") if built else None,
        }))  # fmt: skip
        return
    if not explain:
        hand_on_bytes(text.encode(errors="replace"))
        return
    if built is None:
        message("note: this dispatch is from before prompts were recorded with their parts")
        return
    rows = [
        (part.name, part.group, f"{part.level + 1} of {len(part.levels)}", part.tokens)
        for part in built.parts
    ]
    table(console(), ("part", "may be lowered as", "level", "tokens"), rows)
    stands = next((part.tokens for part in built.parts if part.name == "ledger"), 0)
    whole = built.in_its_place or 0
    beside = " in place of" if stands < whole else ", beside"
    for line in (
        f"{started.prompt_tokens or 0:,} tokens of {built.room:,}, of a window of"
        f" {built.window:,}; counted by {built.tokenizer}; stage: {built.stage}",
        f"prefix {built.prefix_tokens:,} tokens, {(built.prefix or '')[:21]};"
        f" whole {started.prompt[:21]}",
        f"the ledger as of @{built.stood_at}: {stands:,} tokens{beside} {whole:,} of the list,"
        " answers and test outputs",
    ):
        click.echo(escaped(line))
