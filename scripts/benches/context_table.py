"""The tables of `scripts/bench context`."""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from scripts.benches.context_front import STRATA, Pairs, front, pairs_of, share
from scripts.benches.context_quality import BIG, OURS, Result
from scripts.benches.figures import percentile

WITH_INTERVAL = ("signature", "body", "not imported")
AIMS = {
    ("mid", "8000"): (85, 40), ("mid", "32000"): (99, 65),
    ("big", "8000"): (65, 40), ("big", "32000"): (90, 62),
}  # fmt: skip
"Signature and full body that are aimed at, in percent."


def sets_of(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Repositories by size."""
    sets: dict[str, list[Result]] = {"mid": [], "big": []}
    for result in results:
        sets["big" if result.size >= BIG else "mid"].append(result)
    return {name: found for name, found in sets.items() if found}


def rows_of(results: Sequence[Result]) -> Iterator[dict[str, Any]]:
    """Every set, number of tokens and method with its shares, as values."""
    for name, members in sets_of(results).items():
        for budget in members[0].shown:
            methods = dict.fromkeys(m for result in members for m in result.shown[budget])
            for method in methods:
                pairs = pairs_of(members, budget, method)
                told = {one: share(pairs, stratum)._asdict() for one, stratum in STRATA.items()}
                yield {"set": name, "tokens": int(budget), "method": method, "tasks": len(pairs),
                       **told, **_costs(pairs)}  # fmt: skip


def verdicts(results: Sequence[Result]) -> Iterator[dict[str, Any]]:
    """For every set and number of tokens the mixture of peers that comes nearest."""
    for name, members in sets_of(results).items():
        for budget, methods in members[0].shown.items():
            ours = pairs_of(members, budget, OURS)
            peers = {one: pairs_of(members, budget, one) for one in methods if one != OURS}
            whole = {one: pairs for one, pairs in peers.items() if len(pairs) == len(ours)}
            if whole:
                found = list(front(ours, whole))
                worst = min(found, key=lambda one: (one.margin, one.against))
                above = [one.against for one in found if one.behind and one.against in whole]
                told = {"set": name, "tokens": int(budget), "beyond": worst.beyond, "above": above}
                yield told | worst._asdict()


def show(results: Sequence[Result], out: Console) -> None:
    """Print a table for each set and number of tokens, with its verdict."""
    rows, found = list(rows_of(results)), list(verdicts(results))
    for name, members in sets_of(results).items():
        told = ", ".join(f"{one.name} ({one.size // 1000:,}K)" for one in members)
        commits = sum(len(one.tasks) for one in members)
        out.print(f"\n[bold]{name} repositories[/bold]: {told}; {commits} commits")
        for budget in members[0].shown:
            chosen = [one for one in rows if (one["set"], one["tokens"]) == (name, int(budget))]
            out.print(_table(name, budget, chosen))
            for one in found:
                if (one["set"], one["tokens"]) == (name, int(budget)):
                    out.print(_verdict(one))
        for note in dict.fromkeys(note for one in members for note in one.notes):
            out.print(note)


def _table(name: str, budget: str, rows: Sequence[dict[str, Any]]) -> Table:
    aim = AIMS.get((name, budget))
    title = f"{int(budget):,} tokens" + (f" (aim {aim[0]} / {aim[1]})" if aim else "")
    table = Table(title=title, title_justify="left", header_style="dim")
    table.add_column("method", no_wrap=True)
    for one in STRATA:
        of = rows[0][one]["of"]
        table.add_column(f"{one}\n% of {of}", justify="right", no_wrap=True)
    for head in ("tokens\np50", "over", "ms\np50", "ms\np95"):
        table.add_column(head, justify="right")
    for row in rows:
        cells = [_cell(row[one], one in WITH_INTERVAL) for one in STRATA]
        costs = (f"{row['used']:,.0f}", str(row["over"]), _ms(row["p50"]), _ms(row["p95"]))
        table.add_row(row["method"], *cells, *costs, style="bold" if row["method"] == OURS else "")
    return table


def _cell(told: dict[str, Any], interval: bool) -> str:
    if not told["of"]:
        return "-"
    spread = f" [{told['low']:.0f}..{told['high']:.0f}]" if interval else ""
    return f"{told['value']:.1f}{spread}".replace("[", r"\[")


def _verdict(one: dict[str, Any]) -> Text:
    worst = f"{one['margin']:.1f} points against {one['against']}"
    above = ", ".join(one["above"]) or "none"
    told = f"beyond the peers' front: at least {worst}; peers above ours on an axis: {above}"
    return Text(told) if one["beyond"] else Text(f"NOT {told}", style="red")


def _costs(pairs: Pairs) -> dict[str, float]:
    seconds = [shown.seconds for _, shown in pairs]
    return {
        "used": median(shown.tokens for _, shown in pairs),
        "over": sum(shown.over for _, shown in pairs),
        "p50": 1000 * median(seconds),
        "p95": 1000 * percentile(seconds, 95),
    }


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
