"""What each of many things is worth, from a few random halves of them: a sparse linear fit.

Most things are worth nothing, so that far fewer halves than things tell the others (ContextCite).
A half is drawn by digests: whether a thing is in it depends on its own name alone.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
FOLDS = 4
"Parts of the halves, each of which is foretold by a fit to the others."
STRENGTHS = 10
"Penalties that are tried, from the one that leaves nothing on."
WEAKEST = 0.01
"The weakest of them, as a share of the strongest."
ROUNDS, NEAR = 300, 1e-3
"Rounds of coordinate descent at most, and the step below which it ends, to the largest weight."
DRAWS, SEED = 200, 0
"Bootstrap samples of the halves, and the seed of the generator."


class FittedWorth(NamedTuple):
    """What a thing adds to a value where it is there."""

    value: float
    interval: tuple[float, float]
    "95 % interval by bootstrap over the halves."


def in_half(number: int, name: str) -> bool:
    """Return whether a thing is in the half of a number.

    >>> [in_half(number, "module:a.py") for number in range(6)]
    [True, True, True, False, True, True]
    """
    return bool(sha256(f"{number}:{name}".encode(errors="surrogatepass")).digest()[0] & 1)


def sparse_fit(held: Sequence[Sequence[bool]], values: Sequence[float]) -> list[FittedWorth]:
    """Return what each thing adds, by subsets of them and the value of each subset.

    The penalty is the one that foretells subsets best which it was not fitted to.
    """
    things, found = np.array(held, float), np.array(values, float)
    strength = _best(things, found)
    worth = lasso(things, found, strength)
    drawn = np.random.default_rng(SEED).integers(0, len(found), (DRAWS, len(found)))
    every = lasso(things[drawn], found[drawn], strength)
    low, high = np.percentile(every, [2.5, 97.5], axis=0)
    bounds = zip(worth, low, high, strict=True)
    return [FittedWorth(float(value), (float(a), float(b))) for value, a, b in bounds]


def lasso(things: Numbers, values: Numbers, strength: float) -> Numbers:
    """Return the weights of least squares with a penalty on the sum of their sizes.

    By coordinate descent: each weight in turn gets its best value, the others being as they are.
    Many samples are fitted at once where there is an axis before that of the subsets.
    """
    centred = things - things.mean(axis=-2, keepdims=True)
    wanted = values - values.mean(axis=-1, keepdims=True)
    turned = np.swapaxes(centred, -1, -2)
    gram, aims = turned @ centred, (turned @ wanted[..., None])[..., 0]
    sizes, limit = np.diagonal(gram, axis1=-2, axis2=-1), strength * values.shape[-1]
    weights = np.zeros(aims.shape)
    for _ in range(ROUNDS):
        before = weights.copy()
        for number in range(weights.shape[-1]):
            size = sizes[..., number]
            rest = (gram[..., number, :] * weights).sum(axis=-1) - size * weights[..., number]
            aim = aims[..., number] - rest
            best = np.sign(aim) * np.maximum(0.0, np.abs(aim) - limit)
            weights[..., number] = np.where(size > 0.0, best / np.where(size > 0.0, size, 1.0), 0.0)
        if np.abs(weights - before).max(initial=0.0) <= NEAR * np.abs(weights).max(initial=0.0):
            break
    return weights


def _best(things: Numbers, values: Numbers) -> float:
    """Return the penalty by which each part of the subsets is foretold best by the others."""
    centred = things - things.mean(axis=0)
    most = float(np.abs(centred.T @ (values - values.mean())).max(initial=0.0)) / len(values)
    if most == 0.0:
        return 0.0
    tried = np.geomspace(most, WEAKEST * most, STRENGTHS)
    parts = np.arange(len(values)) % FOLDS

    def missed(strength: float) -> float:
        total = 0.0
        for part in range(FOLDS):
            own, rest = things[parts == part], parts != part
            weights = lasso(things[rest], values[rest], strength)
            foretold = (own - things[rest].mean(axis=0)) @ weights + values[rest].mean()
            total += float(((values[parts == part] - foretold) ** 2).sum())
        return total

    return float(min(tried, key=missed))
