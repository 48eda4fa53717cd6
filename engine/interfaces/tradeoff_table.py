"""Render the trade-offs of the named strategies, as `backcast regress --strategies` prints them."""

from collections.abc import Iterator
from typing import Any

from backcast.engine.interfaces.terminal import escaped
from backcast.engine.replay.tradeoffs import MATRIX, TradeOff, TradeOffs, verdicts

TIMED = ("rebuild cost, ms of CPU (timed)", "latency, ms of CPU (timed)")
"Columns that differ from run to run: no report holds them."
NAMED = 3
"Pairs that a line names."


def rows(found: TradeOffs, *, timed: bool = True) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table: its heads, then a row for each strategy."""
    yield "", "compression", "information kept", *(TIMED if timed else ())
    for row in found.rows:
        claim = MATRIX.get(row.name)
        times = (
            _cell(f"{row.rebuild:,.1f}", claim and claim.rebuild),
            _cell(f"{row.latency:,.1f}", claim and claim.latency),
        )
        yield (
            row.name,
            _cell(_percent(row.compression), claim and f"{claim.compression:g} %"),
            _cell(_percent(row.kept), claim and f"{claim.kept:g} %"),
            *(times if timed else ()),
        )


def _percent(value: float | None) -> str:
    return "nothing to tell" if value is None else f"{value:.1f} %"


def _cell(found: str, said: str | None) -> str:
    return f"{found} ({said})" if said else found


def lines(found: TradeOffs, *, timed: bool = True) -> Iterator[str]:
    """Yield what the table is of, and which claims of the matrix these logs bear out."""
    prompts = "1 prompt" if found.prompts == 1 else f"{found.prompts} prompts"
    yield (
        "In brackets what the seeds' matrix says. Compression: of the tokens of all modules in"
        f" full, the share that {prompts} did not show; information kept: evidence recall."
    )
    if timed:
        yield (
            "Rebuild: a prompt with nothing in memory, after a fold of the log, which is the same"
            f" for all ({found.fold:,.0f} ms); latency: the next prompt; medians, with all vectors"
            " made."
        )
    for verdict in verdicts(found.rows):
        if verdict.column in ("rebuild cost", "latency") and not timed:
            continue
        line = f"{verdict.column}: {verdict.held} of {verdict.pairs} orders of the matrix hold here"
        if verdict.against:
            more = len(verdict.against) - NAMED
            line += f"; not {', '.join(verdict.against[:NAMED])}" + (
                f", and {more} more" if more > 0 else ""
            )
        yield escaped(line)


def markdown(found: TradeOffs) -> str:
    """Return the table as Markdown, without what is timed."""
    head, *rest = rows(found, timed=False)
    text = ["", "## Trade-offs", ""]
    text += [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rest)]
    text += ["", *(f"- {line}" for line in lines(found, timed=False))]
    return "\n".join(text) + "\n"


def as_json(row: TradeOff) -> dict[str, Any]:
    """Return a row as JSON, without what is timed."""
    return {"compression": row.compression, "shown": row.shown, "whole": row.whole}


def by_name(found: TradeOffs | None) -> dict[str, dict[str, Any]]:
    """Return the rows as JSON, by strategy."""
    return {row.name: as_json(row) for row in found.rows} if found else {}
