"""The prompts of dispatches as commands print them."""

from collections.abc import Iterator
from difflib import unified_diff
from typing import TYPE_CHECKING, Any

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.terminal import escaped, hand_on_bytes, message, say

if TYPE_CHECKING:
    from backcast.engine.interfaces.addresses import Place
    from backcast.engine.replay.dispatch_prompts import DispatchedPrompt

LISTED = 20
"Lines of a part that differ and are shown."


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
        say(json_text({
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
        say(escaped(line))


def print_dispatched_difference(before: "Place", after: "Place", *, as_json: bool) -> None:
    """Print which parts of two dispatches' prompts differ, and in which lines."""
    from backcast.engine.interfaces.views import console, table
    from backcast.engine.replay.dispatch_prompts import dispatched_at

    pair = [dispatched_at(place.store, place.task, place.when or "last")
            for place in (before, after)]  # fmt: skip
    rows = list(_differing(before, *pair))
    names = [f"{before.task}@{found.version}" for found in pair]
    tokens = [found.started.prompt_tokens for found in pair]
    if as_json:
        say(json_text({"dispatches": names, "tokens": tokens, "parts": rows}))
        return
    counts = [f"{count or 0:,}" for count in tokens]
    say(escaped(f"{' -> '.join(names)}: {' -> '.join(counts)} tokens"))
    table(console(), ("part", "before", "after", ""),
          [(row["part"], row["before"] or "", row["after"] or "", row["state"])
           for row in rows])  # fmt: skip
    for row in rows:
        for line in row["lines"][:LISTED]:
            say(escaped(f"{row['part']}: {line}"))
        if len(row["lines"]) > LISTED:
            say(escaped(f"{row['part']}: and {len(row['lines']) - LISTED} more lines"))


def _differing(
    place: "Place", before: "DispatchedPrompt", after: "DispatchedPrompt"
) -> Iterator[dict[str, Any]]:
    """Yield each part of either prompt, in its order, with the tokens and lines that differ."""
    from backcast.engine.replay.dispatch_prompts import text_of

    texts: list[dict[str, tuple[str, int]]] = []
    for found in (before, after):
        built = found.started.built
        if built is None:
            raise InputError(
                f"{place.task}@{found.version}: needed a prompt that was recorded with its parts"
            )
        texts.append({
            part.name: (text_of(place.store, part.levels[part.level]), part.tokens)
            for part in built.parts
        })  # fmt: skip
    old, new = texts
    for name in dict.fromkeys((*new, *old)):
        (was, cost), (text, costs) = (side.get(name, ("", 0)) for side in texts)
        state = "same" if was == text else "changed"
        if not was or not text:
            state = "new" if text else "gone"
        changes = unified_diff(was.splitlines(), text.splitlines(), n=0, lineterm="")
        lines = [line for line in list(changes)[2:] if line[0] in "+-" and line[1:].strip()]
        yield {"part": name, "state": state, "before": cost, "after": costs, "lines": lines}
