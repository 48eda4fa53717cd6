"""Render the result of `backcast score` as a table, line by line, and as JSON."""

from collections.abc import Iterator, Sequence
from typing import Any

from backcast.engine.history.state_json import plain
from backcast.engine.interfaces.score_verdict import looks_json, verdicts
from backcast.engine.interfaces.views import one_line
from backcast.engine.log.remote import shown
from backcast.engine.models.reading import OutcomeReader
from backcast.engine.replay.score_jobs import LeftOut, StepScore
from backcast.engine.replay.score_run import Scoring
from backcast.engine.replay.score_summary import PolicyScore, ScoreDifference, ScoreMean

FORMAT = 1
"Version of the JSON; grows when its readers would have to change."
SHOWN = 5
"Steps that are left out, and get a line each."
LONGEST = 400
"Characters of a line."
NONE = ScoreMean(0, 0.0, 0.0)


def note(reader: OutcomeReader) -> str:
    """Return what the figures are, and what they are not."""
    return (
        f"nats per token of what was written, under {reader.model}; it is not what a model would"
        " have answered"
    )


def rows(scores: Sequence[PolicyScore], steps: int) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table: a name, then a cell for each policy."""
    first = scores[0].name
    yield "", *(score.name for score in scores)
    yield "steps", *(str(steps) for _ in scores)
    yield "tokens of the prompt, median", *(f"{score.prompt_tokens:,.0f}" for score in scores)
    yield "new lines, nats per token", *(_nats(s.new.per_token, s.new.tokens) for s in scores)
    yield f"  to {first}", *(difference(s.beside, "per_token", "interval") for s in scores)
    yield "  tokens", *(f"{score.new.tokens:,}" for score in scores)
    yield "new lines, mean over steps", *(_nats(s.new.per_step, s.new.tokens) for s in scores)
    yield f"  to {first}", *(difference(s.beside, "per_step", "step_interval") for s in scores)
    yield "  steps that got worse", *(_worse(score.beside) for score in scores)
    if any(score.names for score in scores):
        pairs = [(score.names or NONE, score.rest or NONE) for score in scores]
        yield (
            "names of the project, nats per token",
            *(_nats(n.per_token, n.tokens) for n, _ in pairs),
        )
        yield f"  to {first}", *(difference(s.names_beside) for s in scores)
        yield "  steps with such a name", *(_steps(s.names_beside) for s in scores)
        yield "  tokens", *(f"{names.tokens:,}" for names, _ in pairs)
        yield "the rest, nats per token", *(_nats(r.per_token, r.tokens) for _, r in pairs)
    yield (
        "all lines, copied ones too, nats per token",
        *(_nats(s.whole.per_token, s.whole.tokens) for s in scores),
    )
    yield "  tokens", *(f"{score.whole.tokens:,}" for score in scores)


def _nats(value: float, tokens: int) -> str:
    return f"{value:.3f}" if tokens else "no line"


def difference(
    beside: ScoreDifference | None, name: str = "per_token", interval: str = "interval"
) -> str:
    """Return by how much outcomes got less likely, in nats per token, with its interval."""
    if beside is None:
        return ""
    bounds: tuple[float, float] | None = getattr(beside, interval)
    few = f" (no interval: {beside.counted})"
    sure = few if bounds is None else " (95 % {:+.3f} to {:+.3f})".format(*bounds)
    return f"{getattr(beside, name):+.3f}{sure}"


def _steps(beside: ScoreDifference | None) -> str:
    return "" if beside is None else str(beside.steps)


def _worse(beside: ScoreDifference | None) -> str:
    if beside is None:
        return ""
    return f"{beside.worse} of {beside.steps} ({beside.worse / beside.steps:.0%})"


def by_lines(step: StepScore, policies: Sequence[str]) -> Iterator[str]:
    """Yield a step's outcome line by line, with the nats of each line under each policy."""
    about = f" -> {step.job.target}" if step.job.target else ""
    yield one_line(f"{step.job.place}{about}", LONGEST)
    yield f"{' '.join(f'{name[:9]:>9}' for name in policies)}   nats of each line, + is a new one"
    for number, line in enumerate(step.job.outcome.text.split("\n")):
        nats = " ".join(f"{lines[number].nats:9.2f}" for lines in step.lines)
        sign = "+" if step.job.outcome.new[number] else " "
        yield f"{nats} {sign} {one_line(line, LONGEST)}".rstrip()


def left_out(scoring: Scoring) -> list[LeftOut]:
    """Return the steps that were left out, with the reason of each."""
    return [*scoring.plan.left_out, *scoring.failed]


def remarks(scoring: Scoring) -> Iterator[str]:
    """Yield a line for each thing that is not in the figures."""
    plan, out = scoring.plan, left_out(scoring)
    for step in out[:SHOWN]:
        yield one_line(f"left out: {step.step}: {step.reason}", LONGEST)
    if len(out) > SHOWN:
        yield f"left out: {len(out) - SHOWN} more steps ('--json' names them all)"
    if plan.unknown:
        yield f"note: of {plan.unknown} prompts no outcome is known"
    if plan.not_sampled:
        yield f"note: the sample leaves out {plan.not_sampled} steps"
    if scoring.not_reached:
        goes_on = ": the same command goes on there" if scoring.steps else ""
        yield f"note: {scoring.not_reached} steps were not reached{goes_on}"
    if not plan.looked_at_all:
        yield (
            "note: half of the time went by before all steps were looked at: those that were not"
            " are in no figure, and more --seconds reach them"
        )
    unnamed = sum(None in step.names for step in scoring.steps)
    if unnamed:
        yield f"note: {unnamed} steps were scored before names were told apart"
    for book in dict.fromkeys(scoring.books.values()):
        yield from (f"note: skipped {line}" for line in book.notes)


def as_json(
    scoring: Scoring, scores: Sequence[PolicyScore], policies: Sequence[str]
) -> dict[str, Any]:
    """Return the whole result as JSON; `policies` are their names as options gave them."""
    plan, reader = scoring.plan, scoring.plan.reader
    return {
        "format": FORMAT,
        "note": note(reader),
        "reader": {
            "model": reader.model, "template": reader.template, "reader": reader.reader,
            "window": reader.window,
        },
        "policies": [plain(score) for score in scores],
        "verdicts": list(verdicts(scores)),
        "looks": list(looks_json(scores, policies)),
        "steps": [_step(scoring, step) for step in scoring.steps],
        "left_out": [plain(step) for step in left_out(scoring)],
        "outcome_unknown": plan.unknown,
        "not_sampled": plan.not_sampled,
        "not_reached": scoring.not_reached,
        "looked_at_all": plan.looked_at_all,
        "kept": not any(book.unkept for book in scoring.books.values()),
    }  # fmt: skip


def _step(scoring: Scoring, step: StepScore) -> dict[str, Any]:
    job = step.job
    under = [
        {
            "policy": setting.name,
            "prompt": scoring.plan.key(job, number).prompt,
            "prompt_tokens": job.tokens[number] - step.sums(number, new=False).tokens,
            "new": step.sums(number, new=True)._asdict(),
            "all": step.sums(number, new=False)._asdict(),
            "lines": [line.nats for line in step.lines[number]],
            "names": None if (names := step.named(number)) is None else names._asdict(),
        }
        for number, setting in enumerate(scoring.plan.settings)
    ]
    return {
        "log": shown(job.log), "task": job.task, "version": job.version, "name": job.name,
        "target": job.target, "outcome": scoring.plan.key(job, 0).outcome,
        "new_lines": [number for number, new in enumerate(job.outcome.new, 1) if new],
        "policies": under,
    }  # fmt: skip
