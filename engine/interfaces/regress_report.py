"""Render the result of `backcast regress` as a table, as Markdown and as JSON."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from backcast.engine.history.state_json import plain
from backcast.engine.interfaces.profiles import RECORDED
from backcast.engine.interfaces.score_report import difference
from backcast.engine.interfaces.score_verdict import looks
from backcast.engine.interfaces.terminal import escaped
from backcast.engine.interfaces.views import one_line
from backcast.engine.log.remote import shown
from backcast.engine.replay.corpus import Tried
from backcast.engine.replay.regress import Comparison, Limit, PolicySummary, worst
from backcast.engine.replay.score_summary import PolicyScore

FORMAT = 1
"Version of the JSON; grows when its readers would have to change."
LONGEST = 1_000
"Characters of a line."
SHOWN = 5
"Prompts with the largest losses that get a line each."
NOTE = (
    "What prompts would have been; what a model would have answered to them, nobody can tell from"
    " a log."
)


class Column(NamedTuple):
    """One policy in the table; the first is the baseline."""

    name: str
    summary: PolicySummary
    beside: Comparison | None = None
    "Its comparison with the baseline; None for the baseline itself."
    score: PolicyScore | None = None
    "How likely a model held the outcomes; None where none was asked."
    read: int = 0
    "Steps with new lines that it read."


def rows(columns: Sequence[Column]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table: a name, then a cell for each policy."""
    every = [column.summary for column in columns]
    comparisons = [column.beside for column in columns]
    yield "", *(column.name for column in columns)
    yield "prompts", *(str(one.prompts) for one in every)
    yield "  the same to the byte", *(str(one.same) if one else "" for one in comparisons)
    yield "tokens, median", *(f"{one.tokens:,.0f}" for one in every)
    yield "tokens left free, median", *(f"{one.headroom:,.0f}" for one in every)
    yield "context part filled, median", *(f"{one.fill:.0%}" for one in every)
    yield "shared with the prompt before", *(_percent(one.prefix, 100) for one in every)
    scores = [column.score for column in columns]
    yield "new lines, nats per token", *(_nats(column) for column in columns)
    yield "  to the baseline", *(difference(one.beside if one else None) for one in scores)
    yield "evidence recall", *(_recall(one) for one in every)
    yield "  to the baseline", *(_points(one) if one else "" for one in comparisons)
    for kind in sorted({kind for one in every for kind in one.kinds}):
        yield f"  {kind}s shown, of those used", *(_of(one, kind) for one in every)
    for what, name in (("came in", "came"), ("went out", "went"), ("shown by less", "lowered"),
                       ("CRITICAL not shown any more", "critical")):  # fmt: skip
        yield what, *(str(getattr(one, name)) if one else "" for one in comparisons)
    yield "stale summaries shown", *(str(one.stale) for one in every)
    yield "what must be shown does not fit", *(str(one.unfit) for one in every)
    for section in sorted({name for one in every for name in one.sections}):
        yield (
            f"mean tokens, {section}",
            *(f"{one.sections.get(section, 0):,.0f}" for one in every),
        )


def _percent(value: float | None, times: float = 1.0) -> str:
    return "" if value is None else f"{times * value:.1f} %"


def _recall(summary: PolicySummary) -> str:
    counts = f" ({summary.shown} of {summary.used})" if summary.used else "nothing used"
    return f"{_percent(summary.recall)}{counts}"


def _nats(column: Column) -> str:
    """Return nats per token, and of how many steps where it is not of each prompt."""
    if not column.score or not column.score.new.tokens:
        return ""
    prompts = column.summary.prompts
    some = f" ({column.read} of {prompts})" if column.read != prompts else ""
    return f"{column.score.new.per_token:.3f}{some}"


def _points(comparison: Comparison) -> str:
    if comparison.recall is None:
        return ""
    sure = f" (no interval: {comparison.counted})"
    if comparison.interval:
        low, high = comparison.interval
        sure = f" (95 % {low:+.1f} to {high:+.1f}, {comparison.counted})"
    return f"{comparison.recall:+.1f} points{sure}"


def _of(summary: PolicySummary, kind: str) -> str:
    return "{} of {}".format(*summary.kinds.get(kind, (0, 0)))


def verdicts(comparison: Comparison) -> Iterator[str]:
    """Yield a line for each rule that a policy breaks, or one that it breaks none."""
    for rule in comparison.broken:
        yield escaped(f"REGRESSION under {comparison.policy}: {rule}")
    if not comparison.broken:
        yield escaped(f"no regression under {comparison.policy}")


def losses(comparison: Comparison) -> Iterator[str]:
    """Yield lines for the prompts that lose most under a policy."""
    for prompt in worst(comparison, SHOWN):
        names = [f"lost {node}" for node in prompt.lost]
        names += [f"misses {node}" for _, node in prompt.missed if node not in prompt.lost]
        # A log's names are as whoever wrote it chose.
        yield "  " + one_line(f"{prompt.run}, {prompt.step}: {', '.join(names)}", LONGEST)
    if len(comparison.worse) > SHOWN:
        yield f"  and {len(comparison.worse) - SHOWN} more prompts that show less of what was used"


def next_looks(
    columns: Sequence[Column], policies: Sequence[str], baseline: str = RECORDED
) -> Iterator[str]:
    """Yield for each policy that broke a rule the command that tells why its worst prompt lost, and
    the steps that matter most where outcomes got less likely.

    `policies` are the last columns, as they were named, beside the `baseline`.
    """
    for policy, column in zip(policies, columns[len(columns) - len(policies) :], strict=True):
        if column.beside and column.beside.broken:
            for prompt in worst(column.beside, SHOWN):
                if prompt.at:
                    yield f"'backcast diff {prompt.at} --policy {policy}' tells why"
                    break
            if column.score and any(_is_broken(limit) for limit in column.beside.limits):
                yield from looks(column.score.beside, baseline, policy)


def _is_broken(limit: Limit) -> bool:
    return limit.rule == "nats" and not limit.holds


def build_times(columns: Sequence[Column]) -> str:
    """Return how long prompts took, which is no result: it differs from run to run."""
    times = (f"{column.summary.milliseconds:.1f} ms under {column.name}" for column in columns)
    return (
        f"the median prompt was built in {', '.join(times)} (the first one pays for what is kept)"
    )


def markdown(columns: Sequence[Column], runs: Sequence[Tried]) -> str:
    """Return the whole report as Markdown."""
    head, *rest = rows(columns)
    text = [f"# {', '.join(column.name for column in columns[1:]) or columns[0].name}", ""]
    compared = [column for column in columns[1:] if column.beside]
    text += [f"- {_cell(line)}" for column in compared for line in _judged(column)]
    text += [""] * bool(compared)
    text += [f"{len(runs)} runs. {NOTE}", ""]
    table = [head, tuple("---" for _ in head), *rest]
    text += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in table]
    for column in compared:
        assert column.beside
        if lost := list(losses(column.beside)):
            text += ["", f"## {_cell(column.name)}", "", *(f"- {_cell(line)}" for line in lost)]
    return "\n".join(text) + "\n"


def _judged(column: Column) -> Iterator[str]:
    return verdicts(column.beside) if column.beside else iter(())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def as_json(columns: Sequence[Column], runs: Sequence[Tried]) -> dict[str, Any]:
    """Return the whole report as JSON, which can be the baseline of later ones."""
    return {
        "format": FORMAT,
        "note": NOTE,
        "policies": [
            summed(column) | {"missed": missed(runs, number)}
            for number, column in enumerate(columns)
        ],
        "runs": [
            _untimed(plain(tried._replace(run=tried.run._replace(log=shown(tried.run.log)))))
            for tried in runs
        ],
    }


def missed(runs: Sequence[Tried], number: int) -> list[dict[str, Any]]:
    """Return for each prompt what was used of it later and a policy, by its index, did not show."""
    return [
        {
            "run": tried.run.name, "step": f"{step.version} {step.name}",
            "at": tried.run.address(step.version), "missed": plain(step.figures[number].missed),
        }
        for tried in runs
        for step in tried.steps
        if step.figures[number].missed
    ]  # fmt: skip


def _untimed(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run without what differs each time that it is measured."""
    for step in run["steps"]:
        for figures in step["figures"]:
            del figures["seconds"]
    return run


def summed(column: Column) -> dict[str, Any]:
    """Return a policy as JSON, without the single prompts."""
    recall = column.summary.recall
    data: dict[str, Any] = {"name": column.name, "recall": recall, "recall_percent": recall}
    summary = plain(column.summary)
    del summary["milliseconds"]
    data |= {"summary": summary, "baseline": column.beside is None}
    if column.score:
        data |= {"score": plain(column.score), "score_steps": column.read}
    if comparison := column.beside:
        beside = plain(comparison)
        data |= {name: beside[name] for name in beside if name not in ("before", "after", "policy")}
        data |= {"recall_points": comparison.recall, "regression": bool(comparison.broken)}
    return data
