"""What `backcast regress` found, as a table, as Markdown and as JSON."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from backcast.engine.history.state_json import plain
from backcast.engine.interfaces.terminal import escaped
from backcast.engine.interfaces.views import one_line
from backcast.engine.replay.corpus import Tried
from backcast.engine.replay.regress import Comparison, PolicySummary, worst

FORMAT = 1
"Of the JSON; grows when a program that reads it would have to change."
LONGEST = 1_000
"Characters of a line."
SHOWN = 5
"Prompts that lose most, of which each is told."
NOTE = (
    "What prompts would have been; what a model would have answered to them, nobody can tell from"
    " a log."
)


class Column(NamedTuple):
    """One policy in the table; the first is the baseline."""

    name: str
    summary: PolicySummary
    beside: Comparison | None = None
    "It beside the baseline; None for that itself."


def rows(columns: Sequence[Column]) -> Iterator[tuple[str, ...]]:
    """The table: what is told, of each policy."""
    every = [column.summary for column in columns]
    found = [column.beside for column in columns]
    yield "", *(column.name for column in columns)
    yield "prompts", *(str(one.prompts) for one in every)
    yield "  the same to the byte", *(str(one.same) if one else "" for one in found)
    yield "tokens, median", *(f"{one.tokens:,.0f}" for one in every)
    yield "tokens left free, median", *(f"{one.headroom:,.0f}" for one in every)
    yield "context part filled, median", *(f"{one.fill:.0%}" for one in every)
    yield "shared with the prompt before", *(_percent(one.prefix, 100) for one in every)
    yield "evidence recall", *(_recall(one) for one in every)
    yield "  to the baseline", *(_points(one) if one else "" for one in found)
    for kind in sorted({kind for one in every for kind in one.kinds}):
        yield f"  {kind}s shown, of those used", *(_of(one, kind) for one in every)
    for what, name in (("came in", "came"), ("went out", "went"), ("shown by less", "lowered"),
                       ("CRITICAL not shown any more", "critical")):  # fmt: skip
        yield what, *(str(getattr(one, name)) if one else "" for one in found)
    yield "stale summaries shown", *(str(one.stale) for one in every)
    yield "what must be shown does not fit", *(str(one.unfit) for one in every)
    for section in sorted({name for one in every for name in one.sections}):
        yield f"tokens of {section}", *(f"{one.sections.get(section, 0):,.0f}" for one in every)
    yield "ms to build, median", *(f"{one.milliseconds:.1f}" for one in every)


def _percent(value: float | None, times: float = 1.0) -> str:
    return "" if value is None else f"{times * value:.1f} %"


def _recall(one: PolicySummary) -> str:
    told = f" ({one.shown} of {one.used})" if one.used else "nothing used"
    return f"{_percent(one.recall)}{told}"


def _points(one: Comparison) -> str:
    if one.recall is None:
        return ""
    sure = " (95 % {:+.1f} to {:+.1f})".format(*one.interval) if one.interval else " (one run)"
    return f"{one.recall:+.1f} points{sure}"


def _of(one: PolicySummary, kind: str) -> str:
    return "{} of {}".format(*one.kinds.get(kind, (0, 0)))


def lines(found: Comparison) -> Iterator[str]:
    """The prompts of a policy that lose most, and the rules that it breaks."""
    for one in worst(found, SHOWN):
        told = [f"lost {node}" for node in one.lost]
        told += [f"misses {node}" for _, node in one.missed if node not in one.lost]
        # A log's names are as whoever wrote it chose.
        yield "  " + one_line(f"{one.run}, {one.step}: {', '.join(told)}", LONGEST)
    if len(found.worse) > SHOWN:
        yield f"  and {len(found.worse) - SHOWN} more prompts that show less of what was used"
    for rule in found.broken:
        yield escaped(f"REGRESSION under {found.policy}: {rule}")
    if not found.broken:
        yield escaped(f"no regression under {found.policy}")


def markdown(columns: Sequence[Column], runs: Sequence[Tried]) -> str:
    """The whole report, for people."""
    head, *rest = rows(columns)
    told = [f"# {', '.join(one.name for one in columns[1:]) or columns[0].name}", ""]
    told += [f"{len(runs)} runs. {NOTE}", ""]
    table = [head, tuple("---" for _ in head), *rest]
    told += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in table]
    for one in columns[1:]:
        if one.beside:
            told += ["", f"## {_cell(one.name)}", ""]
            told += [f"- {_cell(line)}" for line in lines(one.beside)]
    return "\n".join(told) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def as_json(columns: Sequence[Column], runs: Sequence[Tried]) -> dict[str, Any]:
    """The whole report, for programs, and to be a baseline of later ones."""
    return {
        "format": FORMAT,
        "note": NOTE,
        "policies": [summed(column) for column in columns],
        "runs": [plain(one) for one in runs],
    }


def summed(column: Column) -> dict[str, Any]:
    """A policy as JSON, without the single prompts."""
    told: dict[str, Any] = {"name": column.name, "recall": column.summary.recall}
    told |= {"summary": plain(column.summary), "baseline": column.beside is None}
    if one := column.beside:
        beside = plain(one)
        told |= {name: beside[name] for name in beside if name not in ("before", "after", "policy")}
    return told
