"""Pooled shares of shown gold with intervals, and the margin of ours over each peer.

Shares are pooled over all gold of a set; intervals of 95 % come from drawing its commits anew, by
a fixed seed.
"""

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scripts.benches.context_gold import Gold
from scripts.benches.context_tasks import Task
from scripts.benches.figures import Bound, Figure, percentile

OURS = "Backcast"
DRAWS = 2_000
BIG = 1_000_000
"The tokens of source from which on a repository is big."
AIMS = {
    ("mid", 8_000): (85, 40), ("mid", 32_000): (99, 65),
    ("big", 8_000): (65, 40), ("big", 32_000): (90, 62),
}  # fmt: skip
"Aims of signatures and whole bodies, in percent."
Values = NDArray[np.float64]


class Shown(NamedTuple):
    """The gold of a task that one context showed."""

    seen: Sequence[Sequence[bool]]
    "Signature and body, for each gold symbol."
    tokens: int
    over: bool
    seconds: float


class Result(NamedTuple):
    """A repository's tasks and the contexts of each method at each number of tokens."""

    name: str
    head: str
    size: int
    "Tokens of its source at the newest commit."
    tasks: Sequence[Task]
    shown: dict[int, dict[str, list[Shown]]]
    "By number of tokens and method, in the order of the tasks."
    notes: list[str]


class Stratum(NamedTuple):
    """A choice of gold, and which of its two values must be shown."""

    counts: Callable[[Gold], bool]
    axis: int = 0


STRATA = {
    "signature": Stratum(lambda gold: gold.kind != "variable"),
    "body": Stratum(lambda gold: gold.kind in ("function", "method"), 1),
    "not imported": Stratum(lambda gold: gold.kind != "variable" and not gold.near),
}
AXES = ("signature", "body")


class Share(NamedTuple):
    """A pooled share in percent, its interval, and the number of gold symbols."""

    value: float
    low: float
    high: float
    of: int

    def __str__(self) -> str:
        return f"{self.value:.1f} [{self.low:.0f}..{self.high:.0f}]" if self.of else "-"


Pairs = list[tuple[Task, Shown]]


def figures_of(results: Sequence[Result]) -> Iterator[Figure]:
    """Yield the rows of the table: every set of repositories, number of tokens and method."""
    for name in ("mid", "big"):
        members = [one for one in results if (one.size >= BIG) == (name == "big")]
        for budget in members[0].shown if members else ():
            shown = {method: None for one in members for method in one.shown[budget]}
            pairs = {method: _pairs(members, budget, method) for method in shown}
            sizes = ", ".join(f"{one.name} ({one.size // 1000:,}K)" for one in members)
            group = f"{name}, {budget:,} tokens, {len(pairs[OURS])} commits of {sizes}"
            for method in pairs:
                aims = AIMS.get((name, budget)) if method == OURS else None
                yield from _rows(group, method, pairs[method], aims)
            peers = {one: rows for one, rows in pairs.items() if len(rows) == len(pairs[OURS])}
            ours = peers.pop(OURS)
            if peers:
                margin, peer = min((_margin(ours, rows), one) for one, rows in peers.items())
                what = "better than each peer on one axis by at least"
                yield Figure(group, what, [margin], "points", control=peer, must=Bound(">=", 0))
        for note in dict.fromkeys(note for one in members for note in one.notes):
            yield Figure(f"{name} repositories", "a peer", why=note)


def _pairs(results: Sequence[Result], budget: int, method: str) -> Pairs:
    """Return each task of some repositories with its context by a method."""
    return [
        pair
        for result in results
        for pair in zip(result.tasks, result.shown[budget].get(method, ()), strict=False)
    ]


def _rows(
    group: str, method: str, pairs: Pairs, aims: tuple[float, float] | None
) -> Iterator[Figure]:
    """Yield the shares of one method, with its tokens and times."""
    shares = {name: _share(pairs, stratum) for name, stratum in STRATA.items()}
    taken = [1000 * shown.seconds for _, shown in pairs]
    over = sum(shown.over for _, shown in pairs)
    used = f"{median(shown.tokens for _, shown in pairs):,.0f} tokens, {over} over"
    times = f"p50 {median(taken):,.0f} ms, p95 {percentile(taken, 95):,.0f} ms"
    every = {name: share._asdict() for name, share in shares.items()}
    for number, axis in enumerate(AXES):
        share = shares[axis]
        more = f"; not imported before {shares['not imported']}" if not number else ""
        yield Figure(
            group,
            f"{method}: {axis}",
            [share.value] if share.of else [],
            "%",
            f"{share} of {share.of}{more}",
            "" if number else f"{used}; {times}",
            aim=Bound(">=", aims[number]) if aims else None,
            why="" if share.of else "no gold of that kind",
            details={"method": method, "axis": axis, **every},
        )


def _share(pairs: Pairs, stratum: Stratum) -> Share:
    """Return the share of a stratum's gold that was shown."""
    hits, total = _sums(pairs, stratum)
    if not total.sum():
        return Share(0, 0, 0, 0)
    draws = _draws(len(pairs))
    drawn = 100 * (draws @ hits) / np.maximum(1, draws @ total)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Share(float(100 * hits.sum() / total.sum()), float(low), float(high), int(total.sum()))


def _margin(ours: Pairs, peer: Pairs) -> float:
    """Return the lower bound of the difference on the axis on which ours gain more."""
    return float(np.percentile((_drawn(ours) - _drawn(peer))[1:], 2.5, axis=0).max())


def _drawn(pairs: Pairs) -> Values:
    """Return both pooled shares, then those of every draw."""
    draws = np.vstack([np.ones(len(pairs)), _draws(len(pairs))])
    columns = []
    for axis in AXES:
        hits, total = _sums(pairs, STRATA[axis])
        columns.append(100 * (draws @ hits) / np.maximum(1, draws @ total))
    return np.stack(columns, axis=1)


def _sums(pairs: Pairs, stratum: Stratum) -> tuple[Values, Values]:
    """Return the shown and the whole gold, by commit."""
    hits, total = np.zeros(len(pairs)), np.zeros(len(pairs))
    for number, (task, shown) in enumerate(pairs):
        for gold, seen in zip(task.gold, shown.seen, strict=True):
            if stratum.counts(gold):
                total[number] += 1
                hits[number] += seen[stratum.axis]
    return hits, total


def _draws(count: int) -> Values:
    """Return how often each draw has each commit; equal for all methods, so that they pair."""
    chance = np.random.default_rng(1)
    rows = chance.integers(0, count, (DRAWS, count))
    return np.stack([np.bincount(row, minlength=count) for row in rows]).astype(float)
