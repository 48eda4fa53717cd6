"""Render the trade-offs of the named strategies, as `backcast regress --strategies` prints them."""

from collections.abc import Iterator
from typing import Any

from backcast.engine.interfaces.terminal import escaped
from backcast.engine.replay.tradeoffs import MATRIX, TradeOff, TradeOffs, verdicts

TIMED = ("rebuild cost, ms of CPU (timed)", "latency, ms of CPU (timed)")
"Columns that differ from run to run: no report holds them."
NAMED = 3
"Pairs that a line names."


def rows(
    found: TradeOffs, *, timed: bool = True, explain: bool = True
) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table: its heads, then a row for each strategy; with `explain` what
    was expected of it, too."""
    yield "", "compression", "information kept", *(TIMED if timed else ())
    for row in found.rows:
        claim = MATRIX.get(row.name) if explain else None
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


def lines(found: TradeOffs, *, timed: bool = True, explain: bool = True) -> Iterator[str]:
    """Yield what the columns are, and with `explain` which expectations these logs bear out."""
    prompts = "1 prompt" if found.prompts == 1 else f"{found.prompts} prompts"
    if explain:
        yield (
            "In brackets: what the studies that Backcast grew from expected of a strategy"
            " ('backcast help seeds')."
        )
    yield (
        f"compression: of the project's code, in tokens, the share that {prompts} left out;"
        " information kept: evidence recall, of what the accepted code used the share that the"
        " prompt had shown"
    )
    if timed:
        yield (
            "rebuild cost: to build a prompt with nothing in memory, once the log is read"
            f" ({found.fold:,.0f} ms for each strategy); latency: to build the next one; medians,"
            " with all vectors made"
        )
    for verdict in verdicts(found.rows) if explain else ():
        if verdict.column in ("rebuild cost", "latency") and not timed:
            continue
        line = (
            f"{verdict.column}: of {verdict.pairs} pairs of which one was expected to have more,"
            f" {verdict.held} came out so"
        )
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
