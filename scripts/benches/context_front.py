"""Pooled shares with intervals, and whether ours lie beyond what the peers reach together.

Shares are pooled over all gold of a set; intervals of 95 % come from drawing its commits anew, by
a fixed seed. Two peers mixed at any ratio are a peer too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scripts.benches.context_gold import Gold
from scripts.benches.context_quality import Result, Shown
from scripts.benches.context_tasks import Task

Values = NDArray[np.float64]
DRAWS = 2_000
MIXED = np.linspace(0, 1, 21)
"Shares of the first of two peers that are mixed."
AXES = ("signature", "body")


class Stratum(NamedTuple):
    """Which gold counts, and what of it must be shown."""

    counts: Callable[[Task, Gold], bool]
    axis: int = 0


def _callable(gold: Gold) -> bool:
    return gold.kind != "variable"


STRATA = {
    "signature": Stratum(lambda _, gold: _callable(gold)),
    "body": Stratum(lambda _, gold: gold.kind in ("function", "method"), 1),
    "in-file": Stratum(lambda _, gold: _callable(gold) and gold.inside),
    "cross-file": Stratum(lambda _, gold: _callable(gold) and not gold.inside),
    "not imported": Stratum(lambda _, gold: _callable(gold) and not gold.near),
    "new": Stratum(lambda task, gold: _callable(gold) and task.new),
    "changed": Stratum(lambda task, gold: _callable(gold) and not task.new),
    "variables": Stratum(lambda _, gold: not _callable(gold)),
}


class Share(NamedTuple):
    """A pooled share in percent, and its interval."""

    value: float
    low: float
    high: float
    of: int
    "How many gold symbols there are."


class Front(NamedTuple):
    """How ours stand beside a peer, or beside two of them mixed."""

    against: str
    margin: float
    "The lower bound of the difference on the axis on which ours gain more, in percent points."
    behind: float
    "By how much ours are below on the other axis; 0 where they are not."

    @property
    def beyond(self) -> bool:
        return self.margin > 0


Pairs = list[tuple[Task, Shown]]


def pairs_of(results: Sequence[Result], budget: str, method: str) -> Pairs:
    """Each task of some repositories with what a method showed for it."""
    return [
        pair
        for result in results
        for pair in zip(result.tasks, result.shown[budget].get(method, ()), strict=False)
    ]


def share(pairs: Pairs, stratum: Stratum) -> Share:
    """The share of the gold of a stratum that was shown."""
    hits, total = _sums(pairs, stratum)
    if not total.sum():
        return Share(0, 0, 0, 0)
    draws = _draws(len(pairs))
    drawn = 100 * (draws @ hits) / np.maximum(1, draws @ total)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Share(float(100 * hits.sum() / total.sum()), float(low), float(high), int(total.sum()))


def front(ours: Pairs, peers: Mapping[str, Pairs]) -> Iterator[Front]:
    """Ours against each peer, and against each two of them mixed at the worst ratio for us.

    Ours lie beyond the front when no mixture is left that they do not surpass on an axis, with the
    whole interval. Among them are those whose other value equals ours.
    """
    drawn = {name: _drawn(pairs) for name, pairs in peers.items()}
    own, names = _drawn(ours), sorted(drawn)
    for number, name in enumerate(names):
        yield _front(name, own - drawn[name])
        for other in names[number + 1 :]:
            mixed = [
                _front(f"{part:.0%} {name}, {1 - part:.0%} {other}",
                       own - part * drawn[name] - (1 - part) * drawn[other])
                for part in _parts(own[0], drawn[name][0], drawn[other][0])
            ]  # fmt: skip
            yield min(mixed, key=lambda one: one.margin)


def _front(against: str, difference: NDArray[np.float64]) -> Front:
    """Row 0 holds the differences themselves, the others those of the draws."""
    low = np.percentile(difference[1:], 2.5, axis=0)
    best = int(np.argmax(low))
    return Front(against, float(low[best]), float(max(0.0, -difference[0][1 - best])))


def _parts(own: Values, one: Values, other: Values) -> list[float]:
    """Shares of the first peer, among them those at which the mixture equals ours on an axis."""
    parts = [float(part) for part in MIXED[1:-1]]
    for axis in (0, 1):
        apart = one[axis] - other[axis]
        if apart and 0 < (part := float((own[axis] - other[axis]) / apart)) < 1:
            parts.append(part)
    return parts


def _drawn(pairs: Pairs) -> NDArray[np.float64]:
    """Both pooled shares, then those of every draw."""
    draws = np.vstack([np.ones(len(pairs)), _draws(len(pairs))])
    columns = []
    for axis in AXES:
        hits, total = _sums(pairs, STRATA[axis])
        columns.append(100 * (draws @ hits) / np.maximum(1, draws @ total))
    return np.stack(columns, axis=1)


def _sums(pairs: Pairs, stratum: Stratum) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How much was shown and how much there was, by commit."""
    hits, total = np.zeros(len(pairs)), np.zeros(len(pairs))
    for number, (task, shown) in enumerate(pairs):
        for gold, seen in zip(task.gold, shown.seen, strict=True):
            if stratum.counts(task, gold):
                total[number] += 1
                hits[number] += seen[stratum.axis]
    return hits, total


def _draws(count: int) -> NDArray[np.float64]:
    """How often each commit is drawn, a row a draw; equal for all methods, so that they pair."""
    chance = np.random.default_rng(1)
    rows = chance.integers(0, count, (DRAWS, count))
    return np.stack([np.bincount(row, minlength=count) for row in rows]).astype(float)
