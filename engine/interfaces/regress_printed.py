"""What `regress` prints and writes: a table, JSON, or a report."""

from typing import TYPE_CHECKING

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.terminal import message, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from backcast.engine.interfaces.regress_report import Column
    from backcast.engine.replay.corpus import Tried
    from backcast.engine.replay.tradeoffs import TradeOffs


def print_report(
    columns: "Sequence[Column]", found: "Sequence[Tried]", reports: "Sequence[Path]",
    costs: "TradeOffs | None", ended: "Mapping[str, object] | None", *, explain: bool = False,
) -> None:  # fmt: skip
    """Write reports, and print the table; where `ended` is given, each policy as JSON with these
    fields too. With `explain` the table of strategies has what was expected of each."""
    from backcast.engine.interfaces import tradeoff_table
    from backcast.engine.interfaces.regress_report import (
        NOTE,
        build_times,
        losses,
        markdown,
        missed,
        rows,
        summed,
        verdicts,
    )
    from backcast.engine.interfaces.regress_report import as_json as report_json
    from backcast.engine.interfaces.views import console, table

    for report in reports:
        text = markdown(columns, found) + (tradeoff_table.markdown(costs) if costs else "")
        if report.suffix == ".json":
            costs_json = {"trade_offs": tradeoff_table.by_name(costs)} if costs else {}
            text = json_text(report_json(columns, found) | costs_json)
        try:
            report.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputError(f"{report}: cannot be written: {error.strerror}") from None
    if ended is not None:
        for number, column in enumerate(columns):
            more = tradeoff_table.by_name(costs).get(column.name, {})
            misses = {"missed": missed(found, number)}
            say(json_text({**summed(column), **misses, **more, **ended}))
        return
    if costs:
        head, *rest = tradeoff_table.rows(costs, explain=explain)
        table(console(), head, rest)
        for line in tradeoff_table.lines(costs, explain=explain):
            say(line)
        message(NOTE)
        return
    compared = [column.beside for column in columns if column.beside]
    for comparison in compared:  # first what a person asks
        for line in verdicts(comparison):
            say(line)
    head, *rest = rows(columns)
    table(console(), head, [row for row in rest if any(row[1:])])
    for comparison in compared:
        for line in losses(comparison):
            say(line)
    message(NOTE)
    message(build_times(columns))
