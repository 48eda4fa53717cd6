"""What scores tell in a line: which policy makes outcomes likelier, or that it is not certain.

Below it stand the steps that make most of the difference, with what to type to look at them.
"""

from collections.abc import Iterator, Sequence
from math import ceil
from shlex import quote

from backcast.engine.history.address import Address
from backcast.engine.interfaces.options import DEFAULT_STORE
from backcast.engine.interfaces.views import one_line
from backcast.engine.replay.score_summary import (
    LEAST_UNITS,
    PolicyScore,
    ScoreDifference,
    StepShare,
    side_of,
)

SMALL = 0.05
"Nats per token: a difference that is worth knowing."
MOST = 100_000
"Steps beyond which nobody goes on."
LONGEST = 120
"Characters of a step's name and its target."


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
    which = f"which of {score.name} and {first} is likelier is not certain on {beside.counted}"
    if beside.interval is None or beside.step_interval is None:
        unit = "steps" if beside.units == beside.steps else "runs"
        return f"{which}: an interval needs {LEAST_UNITS} {unit} at least"
    ahead, behind = (score.name, first) if beside.per_token < 0 else (first, score.name)
    agree = agreement(beside)
    if beside.certain:
        by = f"{abs(beside.per_token):.3f} nats per token"
        return (
            f"{ahead} makes the new lines likelier than {behind}, by {by}: certain at 95 % on"
            f" {beside.counted}; {agree}; {largest(beside)}"
        )
    agree = f"{ahead} is {agree}"
    sides = side_of(beside.interval), side_of(beside.step_interval)
    if sides[0] == sides[1] != 0:
        return f"{which}: {ahead} is ahead {without_one(beside)}; {agree}; {largest(beside)}"
    if any(sides):
        token = "over all tokens" if sides[0] else "as a mean over the steps"
        return f"{which}: only {token} does the interval hold no 0; {agree}"
    return f"{which}{_needed(beside)}; {agree}"


def agreement(beside: ScoreDifference) -> str:
    """Return on how many steps the policy that is ahead is likelier, and on how many it is not."""
    counts = beside.better, beside.worse
    likelier, less = counts if beside.per_token < 0 else reversed(counts)
    return f"likelier on {likelier}, less likely on {less}"


def largest(beside: ScoreDifference) -> str:
    """Return how much of a difference its largest step makes, and the median of the steps."""
    median = -beside.median if beside.per_token < 0 else beside.median
    median = round(median, 3) + 0.0  # never -0.000
    return f"the largest step is {100 * beside.largest:.0f} % of it, the median {median:.3f}"


def without_one(beside: ScoreDifference, *, step: bool = False) -> str:
    """Return by how much a policy is ahead, and by how much it is without the step that does most
    for that; with `step` as a mean over the steps, which is taken as well where only it tells."""
    step = step or beside.side != 0
    value, rest = beside.per_token, beside.rest
    if step:
        value, rest = beside.per_step, beside.step_rest
    assert rest is not None, "it has an interval"
    sign = -1 if value < 0 else 1
    low, high = sorted(sign * bound for bound in rest.interval)
    return (
        f"by {abs(value):.3f}{' as a mean over the steps' * step}, but without one step by"
        f" {sign * rest.value:.3f} (95 % {low:+.3f} to {high:+.3f})"
    )


def _needed(beside: ScoreDifference) -> str:
    """Return about how many steps would show a small difference; empty where nobody has as many."""
    low, high = beside.interval or (0.0, 0.0)
    steps = ceil(beside.steps * ((high - low) / 2 / SMALL) ** 2)
    if not beside.steps < steps <= MOST:
        return ""
    digits = max(0, len(str(steps)) - 2)
    return f"; about {round(steps, -digits):,} would show a difference of {SMALL:g}"


def looks(beside: ScoreDifference | None, before: str, after: str) -> Iterator[str]:
    """Yield the steps that make most of a difference, each with the command that tells why.

    `before` and `after` are the policies as options name them.
    """
    for share in beside.most if beside else ():
        step = f"{share.step} -> {share.target}" if share.target else share.step
        nats = f"{share.nats:+.2f} nats on {one_line(step, LONGEST)}"
        yield f"  {nats}: {command_of(share, before, after)}"


def looks_json(scores: Sequence[PolicyScore], policies: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield the same of every policy as JSON; `policies` are their names as options gave them."""
    for score, name in zip(scores[1:], policies[1:], strict=True):
        for share in score.beside.most if score.beside else ():
            command = command_of(share, policies[0], name)
            yield {"policy": score.name, "step": share.step, "command": command}


def command_of(share: StepShare, before: str, after: str) -> str:
    """Return what to type to look at a step under two policies."""
    log = "" if share.log == DEFAULT_STORE else share.log
    address = quote(str(Address(log, share.task, str(share.version))))
    if share.step.partition(" ")[2].startswith("action "):
        return f"backcast context {address} --anatomy"
    return f"backcast diff {address} --policy {quote(before)} --policy {quote(after)}"
