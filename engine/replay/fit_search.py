"""Search for the settings under which what was written is likeliest, one setting at a time.

Each move is read on the same steps, and kept where the mean falls. Moves are made again, from
where the last one led, until none of them is kept.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from backcast.domain.policy import Policy

LEAST = 0.002
"The part of a mean by which it has to fall for a setting to be kept."
ROUNDS = 3
"Times that all moves are tried, at most."
LONGER = 0.2
"By how much the power of a text's tokens is moved."
TYPICAL = 100
"Tokens of a text whose worth stays as it is when that power moves."
STARTS = ((0.3, 0.4), (1.2, 0.4))
"`pattern` and `longer` to begin with, where a policy does not weigh likeness yet."
SIGNATURE = (0.3, 3.0)
"Factors of the worth of signatures."
PATTERN = (0.5, 2.0)
"Factors of the worth of a body that is like the one asked for."
AROUND, PARTS = 0.15, 0.2
"By how much the share of the lines around the place is moved; from which share on a function is \
shown in parts."
DIGITS = 4


class PolicyMove(NamedTuple):
    """A change of a policy, with a name for people."""

    name: str
    policy: Policy


class PolicyTrial(NamedTuple):
    """A move that was read."""

    name: str
    mean: float | None
    "Nats per token of new lines, as a mean over the steps; None where not all could be read."
    kept: bool


class SearchResult(NamedTuple):
    """What a search found."""

    policy: Policy
    begun: float
    "The mean of the policy from which it began."
    mean: float
    trials: tuple[PolicyTrial, ...]
    untried: tuple[str, ...]
    "Moves for which there was no time."


def searched(
    base: Policy,
    likeness: Mapping[str, float] | None,
    begun: float,
    mean_of: Callable[[PolicyMove], float | None],
    in_time: Callable[[], bool] = lambda: True,
) -> SearchResult:
    """Return the best policy that single moves lead to.

    `likeness` are fitted weights. `mean_of` reads a policy; where it returns None the move is not
    kept, and where the time is up after that, the search ends.
    """
    policy, mean, trials, known = base, begun, list[PolicyTrial](), {base.body: begun}
    for _ in range(ROUNDS):
        before = policy
        names = [move.name for move in moves(policy, base, likeness)]
        for number, name in enumerate(names):
            # A move is made from where the search is now, not from where the round began.
            move = next((m for m in moves(policy, base, likeness) if m.name == name), None)
            if move is None or move.policy.body in known:
                continue
            found = mean_of(move) if in_time() else None
            if found is None and not in_time():
                ahead = [m for m in moves(policy, base, likeness) if m.name in names[number:]]
                late = tuple(move.name for move in ahead if move.policy.body not in known)
                return SearchResult(policy, begun, mean, tuple(trials), late)
            known[move.policy.body] = float("inf") if found is None else found
            kept = found is not None and found < mean * (1 - LEAST)
            trials.append(PolicyTrial(move.name, found, kept))
            if kept and found is not None:
                policy, mean = move.policy, found
        if policy == before:
            break
    return SearchResult(policy, begun, mean, tuple(trials), ())


def moves(
    policy: Policy, base: Policy, likeness: Mapping[str, float] | None
) -> Iterator[PolicyMove]:
    """Yield the moves from a policy; those whose name is the same are the same from elsewhere."""
    weights = dict(likeness) if likeness else None
    if not policy.pattern:
        for pattern, longer in STARTS if weights else ():
            more = {"likeness": weights, "pattern": pattern, "longer": longer}
            yield _moved(f"likeness fitted, pattern {pattern:g}", policy, more)
    else:
        if weights:
            yield _moved("likeness fitted", policy, {"likeness": weights})
        yield _moved("likeness as in the base", policy, {"likeness": base.likeness})
        for factor in PATTERN:
            pattern = _rounded(policy.pattern * factor)
            yield _moved(f"pattern x {factor:g}", policy, {"pattern": pattern})
        for step in (-LONGER, LONGER):
            longer = _rounded(min(1.0, max(0.0, policy.longer + step)))
            pattern = _rounded(policy.pattern * TYPICAL ** (policy.longer - longer))
            yield _moved(f"longer {step:+g}", policy, {"longer": longer, "pattern": pattern})
    for factor in SIGNATURE:
        signature = _rounded(policy.worth.get("signature", 0.0) * factor)
        worth = {**policy.worth, "signature": signature}
        yield _moved(f"worth of a signature x {factor:g}", policy, {"worth": worth})
    yield _moved("opening the other way", policy, {"opening": not policy.opening})
    for step in (-AROUND, AROUND):
        around = _rounded(min(1.0, max(0.0, policy.around + step)))
        if around != policy.around:
            yield _moved(f"around {step:+g}", policy, {"around": around})
    yield _moved("parts the other way", policy, {"parts": 0.0 if policy.parts else PARTS})


def _moved(name: str, policy: Policy, settings: Mapping[str, object]) -> PolicyMove:
    return PolicyMove(name, policy.model_copy(update=settings))


def _rounded(value: float) -> float:
    return round(value, DIGITS)
