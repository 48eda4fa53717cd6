"""Render what history policies do to an agent's prompts: figures, losses, one prompt's changes."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from backcast.domain.message_parts import MessagePart, total
from backcast.engine.interfaces.views import one_line
from backcast.engine.replay.history_figures import HistoryFigures, losses
from backcast.engine.replay.history_prompt import HistoryPrompt
from backcast.engine.replay.history_trial import TriedRun
from backcast.engine.replay.recall_interval import is_beyond, sureness
from backcast.engine.replay.regress import Rules

SHOWN, LONGEST = 12, 240
"Prompts whose losses are named under a policy, and characters of such a line."
HEAD = ("policy", "prompts", "median", "tokens", "prefix", "read", "again", "evidence recall",
        "last results")  # fmt: skip


def idle(found: Sequence[HistoryFigures]) -> list[str]:
    """Return the names of the policies that change no prompt."""
    same = [row for row in found[1:] if row._replace(name=found[0].name) == found[0]]
    return [row.name for row in same]


def rows(found: Sequence[HistoryFigures]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table: its heads, then a row for each policy."""
    yield HEAD
    for row in found:
        yield (
            row.name, str(row.prompts), f"{row.median_tokens:,.0f}", f"{row.tokens:,}",
            _percent(row.prefix), f"{row.read:,}", f"{row.again:,}",
            f"{_recall(row.recall, row.shown, row.used)}{_interval(row)}",
            _recall(row.last_recall, row.last_shown, row.last_used),
        )  # fmt: skip


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} %"


def _recall(value: float | None, shown: int, used: int) -> str:
    return "nothing used" if value is None else f"{value:.1f} % ({shown:,} of {used:,})"


def _interval(row: HistoryFigures) -> str:
    if row.interval is None or row.shown == row.used:
        return ""
    return ", 95 % {:.1f} to {:.1f}".format(*row.interval)


def told_losses(runs: Sequence[TriedRun], number: int, name: str) -> Iterator[str]:
    """Yield a line for each prompt that lost evidence under a policy, those with most first."""
    prompts = [
        (f"{run.name}@{version}", [str(thing) for _, thing in lost])
        for run in runs
        for version, lost in groupby(losses(run, number), lambda pair: pair[0])
    ]
    prompts = [(where, list(lost)) for where, lost in prompts]
    prompts.sort(key=lambda prompt: -len(prompt[1]))
    yield f"lost under {name}: {_counted(sum(len(lost) for _, lost in prompts), len(prompts))}"
    for where, lost in prompts[:SHOWN]:
        yield "  " + one_line(f"{where}: {', '.join(lost)}", LONGEST)
    if len(prompts) > SHOWN:
        yield f"  and {len(prompts) - SHOWN} more prompts; --json names all"


def _counted(things: int, prompts: int) -> str:
    return f"{things:,} things that {prompts:,} answers used" if things else "nothing"


def as_json(row: HistoryFigures, runs: Sequence[TriedRun], number: int) -> dict[str, Any]:
    """Return a policy's figures, and all that its prompts lost, as JSON."""
    lost = [
        {"run": run.name, "event": version, "kind": thing.kind, "text": thing.text}
        for run in runs
        for version, thing in losses(run, number)
    ]
    return row._asdict() | {"recall": row.recall, "last_recall": row.last_recall, "lost": lost}


def prompt_json(found: HistoryPrompt, policy: str) -> dict[str, Any]:
    """Return a prompt under a policy as JSON."""
    names = ("role", "kind", "turn", "tool", "call", "state", "tokens", "ref", "text")
    return {
        "event": found.recorded.version,
        "policy": policy,
        "formed": found.recorded.formed,
        "tokens": total(found.shown),
        "recorded_tokens": total(found.recorded.parts),
        "parts": [{name: getattr(part, name) for name in names} for part in found.shown],
    }


def difference_lines(found: HistoryPrompt) -> Iterator[str]:
    """Yield what a policy changes in a prompt, part by part."""
    for state, title, before, after, _ in changed_parts(found):
        tokens = f"{before:,} -> {after:,}" if before and after else f"{before or after:,}"
        yield f"  {state:11} {title}: {tokens} tokens"
    yield f"  in all      {total(found.recorded.parts):,} -> {total(found.shown):,} tokens"


def changed_parts(
    found: HistoryPrompt,
) -> Iterator[tuple[str, str, int, int, MessagePart | None]]:
    """Yield what became of each part that a policy changes: the word for it, its title, its tokens
    before and after, 0 where it was not there, and the part as it is shown now."""
    waiting: dict[tuple[object, ...], list[MessagePart]] = {}
    for part in found.recorded.parts:
        waiting.setdefault(_place(part), []).append(part)
    for part in found.shown:
        mine = waiting.get(_place(part), [])
        was = mine.pop(0) if mine else None
        if was is None:
            yield "new", part.title, 0, part.tokens, part
        elif was.text != part.text:
            yield part.state, part.title, was.tokens, part.tokens, part
    gone = [part for parts in waiting.values() for part in parts]
    if gone:
        turns = sorted({part.turn for part in gone})
        where = f"turns {turns[0]} to {turns[-1]}" if len(turns) > 1 else f"turn {turns[0]}"
        yield "gone", f"{len(gone)} parts of {where}", total(gone), 0, None


def _place(part: MessagePart) -> tuple[object, ...]:
    return part.role, part.kind, part.tool, part.turn, part.call


def broken_rules(before: HistoryFigures, after: HistoryFigures, rules: Rules) -> Iterator[str]:
    """Yield a line for each rule that a policy breaks, beside the prompts as they were."""
    if before.recall is not None and after.recall is not None:
        fell = before.recall - after.recall
        if fell > rules.recall:
            counted = f"{after.units} run{'s' * (after.units != 1)}"
            certain = is_beyond(after.interval, before.recall - rules.recall)
            sure = sureness(after.interval, counted, "{:.1f}", certain=certain)
            yield (
                f"evidence recall fell by {fell:.1f} points, to {after.recall:.1f} %{sure};"
                f" {rules.recall:g} are allowed"
            )
    if before.prefix is not None and after.prefix is not None:
        fell = before.prefix - after.prefix
        if fell > rules.prefix:
            yield f"the prefix kept fell by {fell:.1f} points; {rules.prefix:g} are allowed"
    more = 100 * (after.median_tokens / before.median_tokens - 1) if before.median_tokens else 0.0
    if rules.tokens is not None and more > rules.tokens:
        yield f"the median prompt grew by {more:.1f} %; {rules.tokens:g} are allowed"
