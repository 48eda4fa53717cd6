"""A prompt as it was recorded: rebuilt from the log to the byte, or what it was made of."""

from typing import TYPE_CHECKING

import click

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.terminal import hand_on

if TYPE_CHECKING:
    from backcast.domain.events import ContextBuilt
    from backcast.engine.log.store import EventStore

OF_RECORDED = ("url", "task", "event", "as_json", "explain")
"The options of `context` that have a meaning for a recorded prompt."


def print_recorded(
    store: "EventStore", task: str, version: int, *, as_json: bool, explain: bool
) -> None:
    """Print a prompt as it was recorded; with `explain` what it was made of."""
    from backcast.engine.context.recorded import messages

    fact = _recorded(store, task, version)
    if explain and not as_json:
        _explain(fact, task, version)
        return
    told = messages(fact, store.get)
    if as_json:
        shown = [{"role": role, "content": text} for role, text in told]
        click.echo(json_text({"messages": shown, "digest": fact.digest}))
        return
    for role, text in told:
        hand_on(f"[{role}]\n{text}\n")


def _recorded(store: "EventStore", task: str, version: int) -> "ContextBuilt":
    from backcast.domain.events import ContextBuilt

    store.require(task)
    for event in store.read(task, after=version - 1, last=version):
        if isinstance(event.fact, ContextBuilt):
            return event.fact
    raise InputError(f"{task}@{version}: needed a CONTEXT_BUILT: 'backcast log' shows them")


def _explain(fact: "ContextBuilt", task: str, version: int) -> None:
    """Print what was in a prompt, and what was out and why."""
    from backcast.engine.interfaces.views import console, one_line, table

    out = console()
    asked = [fact.target or "", fact.query or ""]
    out.print(one_line("for " + ": ".join(one for one in asked if one), 160), markup=False)
    items = [(one.section, one.node, one.level, one.tokens, one.found) for one in fact.items]
    table(out, ("section", "in", "level", "tokens", "found"), items)
    if fact.omissions:
        out.print()
        table(out, ("out", "reason"), [(one.node, one.reason) for one in fact.omissions])
    out.print(
        f"\n{fact.tokens} tokens, counted by {fact.tokenizer}; why one is in or out:"
        f" backcast blame --task {task} --at {version} --item NODE",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
