"""What scores tell in a line: which policy makes outcomes likelier, or that it is not certain."""

from collections.abc import Iterator, Sequence
from math import ceil

from backcast.engine.replay.score_summary import LEAST_UNITS, PolicyScore, ScoreDifference

SMALL = 0.05
"Nats per token: a difference that is worth knowing."
MOST = 100_000
"Steps beyond which nobody goes on."


def verdicts(scores: Sequence[PolicyScore]) -> Iterator[str]:
    """Yield a line for each policy but the first: whether it is likelier, and how certain that is.

    What counts are the new lines, over all tokens and as a mean over the steps.
    """
    for score in scores[1:]:
        yield _verdict(score, scores[0].name)


def _verdict(score: PolicyScore, first: str) -> str:
    beside = score.beside
    if beside is None:
        return f"{score.name} and {first}: no line is new, so there is nothing to compare"
    on = f"on {count_of(beside)}"
    if beside.interval is None or beside.step_interval is None:
        unit = "steps" if beside.units == beside.steps else "runs"
        return (
            f"which of {score.name} and {first} is likelier is not certain {on}: an interval needs"
            f" {LEAST_UNITS} {unit} at least"
        )
    sides = _side(beside.interval), _side(beside.step_interval)
    if sides[0] == sides[1] != 0:
        better = score.name if sides[0] < 0 else first
        worse = first if sides[0] < 0 else score.name
        by = f"{abs(beside.per_token):.3f} nats per token"
        return f"{better} makes the new lines likelier than {worse}, by {by}: certain at 95 % {on}"
    which = f"which of {score.name} and {first} is likelier is not certain {on}"
    if any(sides):
        token = "over all tokens" if sides[0] else "as a mean over the steps"
        return f"{which}: only {token} does the interval hold no 0"
    return f"{which}{_needed(beside)}"


def _side(interval: tuple[float, float]) -> int:
    """Return on which side of 0 an interval lies; 0 where it holds 0.

    >>> _side((-0.2, -0.1)), _side((-0.1, 0.1)), _side((0.1, 0.2))
    (-1, 0, 1)
    """
    return (interval[0] > 0) - (interval[1] < 0)


def _needed(beside: ScoreDifference) -> str:
    """Return about how many steps would show a small difference; empty where nobody has as many."""
    low, high = beside.interval or (0.0, 0.0)
    steps = ceil(beside.steps * ((high - low) / 2 / SMALL) ** 2)
    if not beside.steps < steps <= MOST:
        return ""
    digits = max(0, len(str(steps)) - 2)
    return f"; about {round(steps, -digits):,} would show a difference of {SMALL:g}"


def count_of(beside: ScoreDifference) -> str:
    """Return on how many steps, and of how many runs, a difference rests."""
    of = f" of {beside.units} run{'s' * (beside.units != 1)}" * (beside.units != beside.steps)
    return f"{beside.steps} step{'s' * (beside.steps != 1)}{of}"
