"""Fit the weights of likeness to what single texts were worth to a reader.

A logistic sum of evidence, as `backcast.engine.context.evidence` weighs it, is brought near the
share of nats that each text saved when it was shown alone. Each step weighs the same. A ridge holds
the weights near those that a policy has already; how strong it is, is chosen by cross-validation
over the steps. Nothing is drawn: equal figures give equal weights.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RIDGES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
"Strengths of the ridge that are tried, the strongest first."
FOLDS = 5
"Parts of the steps, each of which is foretold by the others once."
FREE = 1e-6
"The strength of the ridge on the constant, `always`, which is nearly free."
SPREAD = 1e-9
"Evidence that varies by less tells nothing."
LOWEST, HIGHEST = -0.3, 1.0
"Bounds of a share of nats that counts: one text may mislead a small model by any amount."
DECIMALS = 3
"Decimals of a weight."
STEPS, SMALL, TINY = 200, 1e-9, 1e-12
"Steps towards the weights, the gain at which they end, and what keeps a matrix from being empty."
ALWAYS = "always"
"The name of the constant."


class ItemWorth(NamedTuple):
    """A text that was shown alone, and what it was worth."""

    step: str
    evidence: tuple[float, ...]
    "In the order of some names."
    share: float
    "Of the nats of the outcome's new lines without it, the part that it saves."


class LikenessFit(NamedTuple):
    """Weights that were fitted."""

    weights: Mapping[str, float]
    "Of all evidence; what did not vary has the weight that it had."
    ridge: float
    error: float
    "The mean squared error on steps that were foretold by others."
    before: float
    "That of the weights from which it began."
    constant: float
    "That of one share for all items: what there is to tell."
    steps: int
    items: int


class _Table(NamedTuple):
    """Items as a matrix whose first column is the constant."""

    values: Floats
    shares: Floats
    weights: Floats
    "Of each item, so that the steps weigh the same."
    fixed: Floats
    "What evidence that stays as it is adds to the sum of each item."
    ridge: Floats
    "How much the ridge holds each column: as much as it varies."
    start: Floats


def share_saved(without: float, beside: float) -> float:
    """Return the share of some nats that a text saves, within its bounds.

    >>> share_saved(10.0, 4.0), share_saved(10.0, 90.0)
    (0.6, -0.3)
    """
    return min(HIGHEST, max(LOWEST, (without - beside) / without)) if without > 0 else 0.0


def fitted_likeness(
    names: Sequence[str], items: Sequence[ItemWorth], base: Mapping[str, float]
) -> LikenessFit | None:
    """Return the weights that tell best what items were worth; None where nothing can be told.

    That is where there are fewer than two steps, or every item was worth the same.
    """
    steps = list(dict.fromkeys(item.step for item in items))
    if len(steps) < 2 or np.ptp([item.share for item in items]) < SPREAD:
        return None
    every = np.array([item.evidence for item in items], float).reshape(len(items), len(names))
    varied = [number for number, column in enumerate(every.T) if np.ptp(column) > SPREAD]
    still = [number for number in range(len(names)) if number not in varied]
    counts = {step: sum(item.step == step for item in items) for step in steps}
    table = _Table(
        values=np.column_stack([np.ones(len(items)), every[:, varied]]),
        shares=np.array([item.share for item in items]),
        weights=np.array([1 / (len(steps) * counts[item.step]) for item in items]),
        fixed=every[:, still] @ np.array([base.get(names[number], 0.0) for number in still]),
        ridge=np.array([FREE, *every[:, varied].var(axis=0)]),
        start=np.array([base.get(name, 0.0) for name in (ALWAYS, *_at(names, varied))]),
    )
    places = {step: number for number, step in enumerate(steps)}
    folds = np.array([places[item.step] % min(FOLDS, len(steps)) for item in items])
    errors = {ridge: _foretold(table, folds, ridge) for ridge in RIDGES}
    mean = float(table.weights @ table.shares)
    best = min(RIDGES, key=lambda ridge: (round(errors[ridge], 9), -ridge))
    found = _solved(table, best)
    fitted = zip((ALWAYS, *_at(names, varied)), found.tolist(), strict=True)
    weights = dict(base) | {name: round(value, DECIMALS) for name, value in fitted}
    return LikenessFit(
        weights=weights, ridge=best, error=errors[best], before=_error(table, table.start),
        constant=float(table.weights @ (table.shares - mean) ** 2), steps=len(steps),
        items=len(items),
    )  # fmt: skip


def _at(names: Sequence[str], numbers: Sequence[int]) -> list[str]:
    return [names[number] for number in numbers]


def _part(table: _Table, held: NDArray[np.bool_]) -> _Table:
    """Return some rows of a table."""
    return table._replace(
        values=table.values[held],
        shares=table.shares[held],
        weights=table.weights[held] / table.weights[held].sum(),
        fixed=table.fixed[held],
    )


def _foretold(table: _Table, folds: NDArray[np.int64], ridge: float) -> float:
    """Return the mean squared error of each fold under what the other folds taught."""
    total = 0.0
    for fold in range(int(folds.max()) + 1):
        own = folds == fold
        found = _solved(_part(table, ~own), ridge)
        total += float(table.weights[own].sum()) * _error(_part(table, own), found)
    return total


def _error(table: _Table, found: Floats) -> float:
    """Return the mean squared error of some weights."""
    return float(table.weights @ (_shares(table, found) - table.shares) ** 2)


def _shares(table: _Table, found: Floats) -> Floats:
    """Return what the weights tell of each item."""
    shares: Floats = 1 / (1 + np.exp(-np.clip(table.values @ found + table.fixed, -50, 50)))
    return shares


def _solved(table: _Table, ridge: float) -> Floats:
    """Return the weights of the least squared error and ridge together, by Levenberg's steps."""
    rows = np.sqrt(table.weights)
    held = np.sqrt(table.ridge * np.array([1.0, *([ridge] * (len(table.ridge) - 1))]))

    def apart(found: Floats) -> Floats:
        errors = rows * (_shares(table, found) - table.shares)
        return np.concatenate([errors, held * (found - table.start)])

    found, damping = table.start, 1e-3
    errors = apart(found)
    for _ in range(STEPS):
        shares = _shares(table, found)
        steep = (rows * shares * (1 - shares))[:, None] * table.values
        slopes = np.vstack([steep, np.diag(held)])
        square = slopes.T @ slopes
        more = np.diag(damping * np.diag(square) + TINY)
        tried = found - np.linalg.solve(square + more, slopes.T @ errors)
        others = apart(tried)
        gain = float(errors @ errors - others @ others)
        if gain < 0:
            damping *= 4
            continue
        done = gain <= SMALL * float(errors @ errors)
        found, errors, damping = tried, others, max(damping / 4, TINY)
        if done:
            break
    return found
