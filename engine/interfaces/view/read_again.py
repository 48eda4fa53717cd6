"""What the answer of a step asked an agent to read again, though its prompt showed it."""

from backcast.domain.message_parts import cut_inside
from backcast.engine.interfaces.profiles import message_counter
from backcast.engine.interfaces.view.formed_panel import formed_prompts
from backcast.engine.interfaces.view.markup import Markup, joined, tag
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.engine.interfaces.view.reading import RunReader
from backcast.engine.interfaces.view.run_step import RunStep
from backcast.engine.replay.agent_prompts import agent_prompts
from backcast.engine.replay.reads_again import (
    CHANGED,
    OTHER,
    UNCHANGED,
    RepeatedRead,
    repeated_reads,
)

FEW = 4
"Reads of one answer that get a line each."
WIDE = 80
"Characters of a path or call."
SINCE = {UNCHANGED: "unchanged since", CHANGED: "changed since"}


def read_again(maker: PanelMaker, step: RunStep) -> Markup | None:
    """Return a line for each result that had come before, with a link to where."""
    rows = _rows(maker.reader).get(step.asked, []) if step.foreign else []
    lines = [
        tag(
            "p", "Read again: ", tag("code", maker.mask(cut_inside(row.subject, WIDE))),
            f", {row.tokens:,} tokens, {SINCE[row.since]} ", maker.link(row.before),
            f"; prompts carried {row.carried:,} tokens twice" if row.carried else "",
            class_="note again",
        )
        for row in rows[:FEW]
    ]  # fmt: skip
    if rows[FEW:]:
        lines.append(tag("p", f"… and {len(rows) - FEW:,} more", class_="note again"))
    return joined(lines) if lines else None


def _rows(reader: RunReader) -> dict[int, list[RepeatedRead]]:
    """Return what was read again by the events of the prompts whose answers asked for it."""

    def found() -> dict[int, list[RepeatedRead]]:
        prompts = formed_prompts(reader).values() or agent_prompts(
            reader.store, reader.task, message_counter().count
        )
        rows: dict[int, list[RepeatedRead]] = {}
        for row in repeated_reads(prompts)[1]:
            if row.since != OTHER:
                rows.setdefault(row.at, []).append(row)
        return rows

    return reader.held(("read again", reader.sequence.version), found)
