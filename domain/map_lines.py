"""Which lines of code stand on a context map: the `def` and `class` lines that the next run will
most likely need, as many as fit.

What is gained per token decides. A file's path, and the id of the item that it begins, are paid
once: so the lines of a file that are worth it together come together. It is the greedy answer to a
knapsack, whose value lies below the best possible one by at most its largest step.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

DECIMALS = 9
"Gains are rounded before they are compared: sums of floats differ in their last bits."
LEAST = 1e-6
"What a line gains for which nothing speaks."
TOGETHER = 12
"Lines of a file that may come together."


class Line(NamedTuple):
    """A function, method or class as it stands on a map."""

    node: str
    path: str
    text: str
    tokens: int
    "With the line's end before it."


class Costs(NamedTuple):
    """What stands around the lines, in tokens."""

    item: int
    "The most of one item."
    opens: Callable[[str], int]
    "Of an item's first line: its id and the path of its file."


class Group(NamedTuple):
    """The lines of one item."""

    path: str
    lines: tuple[Line, ...]


def gains(
    shares: Mapping[str, Mapping[str, float]], weights: Mapping[str, float]
) -> dict[str, float]:
    """How likely each node is needed next, by evidence of several kinds, each of which is brought
    to the same sum before it is weighed."""
    found: dict[str, float] = {}
    for kind in sorted(shares):
        whole, weight = sum(shares[kind].values()), weights.get(kind, 0.0)
        if whole > 0 and weight:
            for node, value in shares[kind].items():
                found[node] = found.get(node, 0.0) + weight * value / whole
    return {node: round(value, DECIMALS) for node, value in found.items()}


def filled(lines: Sequence[Line], gain: Mapping[str, float], room: int) -> Mapping[str, float]:
    """What each node gains; where those for which something speaks leave some of the tokens, each
    other line a little, so that it comes after them."""
    if sum(one.tokens for one in lines if gain.get(one.node)) >= room:
        return gain
    return {one.node: gain.get(one.node) or LEAST for one in lines}


def chosen(
    lines: Iterable[Line], gain: Mapping[str, float], tokens: int, costs: Costs
) -> list[Group]:
    """The lines that are shown, in the items in which they are, the most worth first."""
    worth = [one for one in lines if gain.get(one.node, 0.0) > 0]
    left, groups = tokens, dict[str, list[list[Line]]]()
    sizes: dict[str, int] = {}
    "Of the last item of each file."
    for one in _by_density(worth, gain, costs):
        more, size = one.tokens, sizes.get(one.path, 0)
        new = not size or size + more > costs.item
        if new:
            more += costs.opens(one.path)
        if more > left:
            continue
        left -= more
        items = groups.setdefault(one.path, [])
        if new:
            items.append([])
            size = 0
        items[-1].append(one)
        sizes[one.path] = size + more
    return [Group(path, tuple(group)) for path, items in groups.items() for group in items]


def _by_density(lines: Sequence[Line], gain: Mapping[str, float], costs: Costs) -> list[Line]:
    """Lines by what they gain per token; those with which a file opens come together, as many as
    gain most with the cost of opening it."""
    files: dict[str, list[Line]] = {}
    for one in sorted(lines, key=lambda one: (-gain[one.node] / one.tokens, one.node)):
        files.setdefault(one.path, []).append(one)
    found: list[tuple[float, str, list[Line]]] = []
    for path in sorted(files):
        best, many = _opening([(gain[one.node], one.tokens) for one in files[path]],
                              costs.opens(path))  # fmt: skip
        found.append((-best, path, files[path][:many]))
        for one in files[path][many:]:
            found.append((-gain[one.node] / one.tokens, path, [one]))
    ordered = sorted(found, key=lambda one: (round(one[0], DECIMALS), one[1]))
    return [line for _, _, some in ordered for line in some]


def _opening(some: Sequence[tuple[float, int]], tokens: int) -> tuple[float, int]:
    """What the first lines of a file gain per token with what it costs to open it, and how many
    of them gain most."""
    best, many, gained = 0.0, 1, 0.0
    for number, (gain, more) in enumerate(some[:TOGETHER], 1):
        gained, tokens = gained + gain, tokens + more
        if gained / tokens > best:
            best, many = gained / tokens, number
    return best, many


def faded(shares: Iterable[tuple[int, float]], now: int, left: float) -> float:
    """The sum of the parts of some updates, of each of which so much is left per update since."""
    return sum(part * left ** (now - update) for update, part in shares)
