"""Which `def` and `class` lines will the next run most likely need on its map, and how many fit?

Gain per token decides. A file's path, and the id of the item that it begins, are paid once; so the
lines of a file that are worth it together are taken together. This is the greedy answer to a
knapsack, whose value is below the best possible one by at most its largest step.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

DECIMALS = 9
"Gains are rounded before they are compared: sums of floats differ in their last bits."
LEAST = 1e-6
"The gain of a line without evidence."
TOGETHER = 12
"The most lines of a file that may be taken together."


class Line(NamedTuple):
    """A function, method or class as it stands on a map."""

    node: str
    path: str
    text: str
    tokens: int
    "Tokens, including the line end before it."


class Costs(NamedTuple):
    """The token costs around the lines."""

    item: int
    "The most tokens of one item."
    opens: Callable[[str], int]
    "The cost of an item's first line: its id and the path of its file."


class Group(NamedTuple):
    """The lines of one item."""

    path: str
    lines: tuple[Line, ...]


def gains(
    shares: Mapping[str, Mapping[str, float]], weights: Mapping[str, float]
) -> dict[str, float]:
    """Return each node's chance to be needed next. Each kind of evidence is scaled to the same sum
    before it is weighed."""
    found: dict[str, float] = {}
    for kind in sorted(shares):
        whole, weight = sum(shares[kind].values()), weights.get(kind, 0.0)
        if whole > 0 and weight:
            for node, value in shares[kind].items():
                found[node] = found.get(node, 0.0) + weight * value / whole
    return {node: round(value, DECIMALS) for node, value in found.items()}


def filled(lines: Sequence[Line], gain: Mapping[str, float], room: int) -> Mapping[str, float]:
    """Return each node's gain; if evidence leaves room, other lines gain a little."""
    if sum(one.tokens for one in lines if gain.get(one.node)) >= room:
        return gain
    return {one.node: gain.get(one.node) or LEAST for one in lines}


def chosen(
    lines: Iterable[Line], gain: Mapping[str, float], tokens: int, costs: Costs
) -> list[Group]:
    """Return the shown lines, grouped into items, the most worth first."""
    worth = [one for one in lines if gain.get(one.node, 0.0) > 0]
    remaining, groups = tokens, dict[str, list[list[Line]]]()
    sizes: dict[str, int] = {}
    "Tokens of the last item of each file."
    for line in _by_density(worth, gain, costs):
        more, size = line.tokens, sizes.get(line.path, 0)
        new = not size or size + more > costs.item
        if new:
            more += costs.opens(line.path)
        if more > remaining:
            continue
        remaining -= more
        items = groups.setdefault(line.path, [])
        if new:
            items.append([])
            size = 0
        items[-1].append(line)
        sizes[line.path] = size + more
    return [Group(path, tuple(group)) for path, items in groups.items() for group in items]


def _by_density(lines: Sequence[Line], gain: Mapping[str, float], costs: Costs) -> list[Line]:
    """Return lines by gain per token; a file's first lines stay together, as many as are best with
    the cost of opening the file."""
    files: dict[str, list[Line]] = {}
    for line in sorted(lines, key=lambda line: (-gain[line.node] / line.tokens, line.node)):
        files.setdefault(line.path, []).append(line)
    found: list[tuple[float, str, list[Line]]] = []
    for path in sorted(files):
        best, count = _opening([(gain[one.node], one.tokens) for one in files[path]],
                              costs.opens(path))  # fmt: skip
        found.append((-best, path, files[path][:count]))
        for line in files[path][count:]:
            found.append((-gain[line.node] / line.tokens, path, [line]))
    ordered = sorted(found, key=lambda row: (round(row[0], DECIMALS), row[1]))
    return [line for _, _, some in ordered for line in some]


def _opening(some: Sequence[tuple[float, int]], tokens: int) -> tuple[float, int]:
    """Return the best gain per token of a file's first lines with its opening, and their count."""
    best, count, gained = 0.0, 1, 0.0
    for number, (gain, more) in enumerate(some[:TOGETHER], 1):
        gained, tokens = gained + gain, tokens + more
        if gained / tokens > best:
            best, count = gained / tokens, number
    return best, count


def faded(shares: Iterable[tuple[int, float]], now: int, rest: float) -> float:
    """Return the sum of past updates' shares, each reduced to `rest` per update since."""
    return sum(part * rest ** (now - update) for update, part in shares)
