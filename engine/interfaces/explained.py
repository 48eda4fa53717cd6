"""What a prompt is made of, as `context --explain` prints it: items, omissions, what is known."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console

from backcast.domain.context import Context
from backcast.domain.context_events import ContextBuilt
from backcast.domain.policy import MAP
from backcast.engine.context.builder import TASK
from backcast.engine.interfaces.addresses import Place
from backcast.engine.interfaces.safe_console import SafeConsole
from backcast.engine.interfaces.views import one_line, table
from backcast.engine.replay.influence import Influence
from backcast.engine.replay.item_evidence import ItemEvidence
from backcast.engine.replay.kept_scores import ScoreBook
from backcast.engine.replay.known_influences import KnownInfluences, known_influences

BAR = 40
"Characters that the largest budget, or what is larger, takes as a bar."
WIDEST = 10_000
"Characters of a line that no terminal shows."


def influences_at(
    place: Place, messages: Sequence[tuple[str, str]], step: int = 0
) -> KnownInfluences | None:
    """Return what kept scores say of a prompt's parts; None where there are none."""
    book = ScoreBook.beside(place.store, place.log)
    return known_influences(book, place.store, place.task, messages, step)


def show(
    context: Context, known: KnownInfluences | None, behind: Mapping[str, ItemEvidence]
) -> None:
    """Print what is in a context and why, and what is out and why."""
    out, width = _console()
    table(out, ("section", "budget", "tokens", "used; + is beyond its budget"), _bars(context))
    out.print()
    per_section = Counter(item.section for item in context.items)
    items = [
        (item.priority, item.section, item.node, item.version or "", item.level, item.tokens,
         f"{item.score:g}", f"{behind[item.node].alike:.3g}" if item.node in behind else "",
         _number(item.worth), ", ".join(map(str, item.because)),
         *_worth(known, item.node, item.section, per_section))
        for item in context.items
    ]  # fmt: skip
    head = (
        "priority",
        "section",
        "in",
        "version",
        "level",
        "tokens",
        "score",
        "alike",
        "worth",
        "events",
    )
    table(out, (*head, *_head(known)), items, width)
    if context.omissions:
        out.print()
        rows = [
            (
                omission.node,
                omission.section,
                _number(omission.score),
                _number(omission.worth),
                omission.reason,
            )
            for omission in context.omissions
        ]
        table(out, ("out", "section", "score", "worth", "reason"), rows, width)
    out.print(
        "\nscore: the chance to be needed; alike: that its body is like what will be written;"
        " worth: of a level, per token. What is worth most is chosen, but for what is CRITICAL or"
        " stays from the last prompt: 'backcast help weights'.",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    _show_influences(known, out)
    code = [(budget, tokens) for section, budget, tokens in context.sections
            if section not in (MAP, TASK)]  # fmt: skip
    out.print(
        f"\n{sum(tokens for _, tokens in code):,} of {sum(budget for budget, _ in code):,} tokens"
        " for code, their headings apart; a section fills its own budget first, then what others"
        f" of these leave. {TASK.capitalize()} and {MAP} have theirs apart.",
        soft_wrap=True,
    )
    room = context.window - context.reserve
    out.print(
        f"\n{context.tokens} tokens of {room}, {context.reserve} kept for the answer;"
        f" digest {context.digest[:16]}"
    )


def _bars(context: Context) -> list[tuple[object, ...]]:
    """Return the rows of the sections that have a budget or tokens, drawn to one scale, and the
    sum of them."""
    rows = [row for row in context.sections if row[1] or row[2]]
    most = max((max(budget, tokens) for _, budget, tokens in rows), default=0) or 1
    bars = list[tuple[object, ...]]()
    for section, budget, tokens in rows:
        within, beyond = min(tokens, budget), max(0, tokens - budget)
        bar = "#" * round(BAR * within / most) + "+" * round(BAR * beyond / most)
        bars.append((section, budget, tokens, bar))
    return [*bars, ("all", sum(row[1] for row in rows), sum(row[2] for row in rows), "")]


def explain(fact: ContextBuilt, address: str, known: KnownInfluences | None) -> None:
    """Print the items of a prompt, and what was left out and why."""
    out, width = _console()
    request = [fact.target or "", fact.query or ""]
    out.print(one_line("for " + ": ".join(filter(None, request)), 160), markup=False)
    per_section = Counter(item.section for item in fact.items)
    items = [
        (item.section, item.node, item.level, item.tokens, item.found,
         *_worth(known, item.node, item.section, per_section))
        for item in fact.items
    ]  # fmt: skip
    head = "section", "in", "level", "tokens", "found"
    table(out, (*head, *_head(known)), items, width)
    if fact.omissions:
        out.print()
        table(
            out,
            ("out", "reason"),
            [(omission.node, omission.reason) for omission in fact.omissions],
            width,
        )
    _show_influences(known, out)
    out.print(
        f"\n{fact.tokens} tokens, counted by {fact.tokenizer}; why an item is in or out:"
        f" backcast blame {one_line(address, 200)} NODE",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


def _console() -> tuple[Console, int]:
    """Return where to print, and how wide a cell may be: no name is cut for a pipe or a file."""
    is_terminal = sys.stdout.isatty()
    width = None if is_terminal else WIDEST
    return SafeConsole(width=width, highlight=False), 60 if is_terminal else WIDEST


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _head(known: KnownInfluences | None) -> tuple[str, ...]:
    return ("nats saved",) if known and known.same else ()


def _worth(
    known: KnownInfluences | None, node: str, section: str, items: Mapping[str, int]
) -> tuple[str, ...]:
    """Return the cell of what an item was worth, if there is such a column.

    Another prompt may have shown it by another level, so that says nothing of it here.
    """
    if known is None or not known.same:
        return ()
    found = known.of(node, section, alone=items[section] == 1)
    return (_saved(found) if found else "",)


def _saved(worth: Influence) -> str:
    return f"{worth.nats:+.2f}{'' if worth.certain else ' (not certain)'}"


def _show_influences(known: KnownInfluences | None, out: Console) -> None:
    if known is None:
        return
    sections = ", ".join(f"{name} {_saved(worth)}" for name, worth in known.sections.items())
    which = "this prompt" if known.same else f"another prompt of this step ({known.policy})"
    out.print(
        f"\nnats saved in what was written: as 'influence' found for {which}, under {known.model};"
        " 'not certain' where the 95 % interval holds 0, or too few lines are new for one"
        + (f"; whole sections: {sections}" if sections else ""),
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
