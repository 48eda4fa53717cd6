"""The table of a reader: nats by method, with intervals, and what each method is beside ours."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import NamedTuple

from scripts.benches.figures import Figure
from scripts.benches.reader_scores import Reading, by_method
from scripts.benches.reader_tasks import COPIED, ReadTask

DRAWS = 2_000


class MethodTasks(NamedTuple):
    """The readings of some tasks by a method, in one order."""

    method: str
    readings: Sequence[Reading]

    def mean(self, kind: str) -> float:
        """Return the nats per token of `new`, `name` or other tokens, over all tasks."""
        return mean(range(len(self.readings)), self.readings, kind)


def parts(reading: Reading, kind: str) -> tuple[float, int]:
    """Return the nats and tokens of a kind: new, name or rest (of all)."""
    if kind == "new":
        return reading.new_nats, reading.new_tokens
    if kind == "name":
        return reading.name_nats, reading.name_tokens
    return reading.nats - reading.name_nats, reading.tokens - reading.name_tokens


def mean(rows: Iterable[int], readings: Sequence[Reading], kind: str) -> float:
    """Return the nats per token of a kind over some of the readings."""
    sums = [parts(readings[row], kind) for row in rows]
    return sum(nats for nats, _ in sums) / max(1, sum(tokens for _, tokens in sums))


def interval(
    ours: Sequence[Reading], theirs: Sequence[Reading], kind: str = "new"
) -> tuple[float, float]:
    """Return the 95 % interval of the difference in nats per token, drawn over tasks."""
    draw, found = Random(1), list[float]()
    for _ in range(DRAWS):
        rows = [draw.randrange(len(ours)) for _ in ours]
        found.append(mean(rows, ours, kind) - mean(rows, theirs, kind))
    found.sort()
    return found[DRAWS // 40], found[-DRAWS // 40]


def rows_of(
    every: Iterable[Reading],
    reader: str,
    chosen: Mapping[int, Sequence[ReadTask]],
    methods: Sequence[str],
) -> Iterator[Figure]:
    """Yield a row for each size and method, the first method beside each other one."""
    all = list(every)
    for size, tasks in chosen.items():
        found = by_method(all, reader, size)
        read_by_all = [one for one in tasks if all_of(found, methods, one.id)]
        if not read_by_all:
            continue
        read = {name: [found[name][one.id] for one in read_by_all] for name in methods}
        group = f"{reader}, {size:,} tokens, {len(read_by_all)} tasks"
        copied = [n for n, one in enumerate(read_by_all) if one.copied >= COPIED]
        fresh = [n for n in range(len(read_by_all)) if n not in copied]
        first = read[methods[0]]
        best = [
            min((readings[n] for name, readings in read.items() if name != methods[0]),
                key=lambda one: one.new_nats)
            for n in range(len(read_by_all))
        ]  # fmt: skip
        own = mean(range(len(read_by_all)), first, "new")
        for name, readings in [*read.items(), ("oracle of the others", best)]:
            low, high = interval(first, readings)
            means = {kind: mean(range(len(read_by_all)), readings, kind)
                     for kind in ("new", "name", "rest")}  # fmt: skip
            wins = sum(a.new_nats < b.new_nats for a, b in zip(first, readings, strict=True))
            none = read.get("none", readings)
            helped = sum(a.new_nats < b.new_nats for a, b in zip(readings, none, strict=True))
            yield Figure(
                group, name, [means["new"]], "nats",
                ours=f"names {means['name']:.3f}, rest {means['rest']:.3f},"
                f" no copy {mean(fresh, readings, 'new'):.3f} ({len(fresh)})",
                control=f"{methods[0]} to it {own - means['new']:+.3f}"
                f" [{low:+.3f}, {high:+.3f}], better on {wins}; it beats none on {helped}",
                details={"by repository": by_repository(read_by_all, readings)},
            )  # fmt: skip


def all_of(found: Mapping[str, Mapping[str, Reading]], methods: Sequence[str], task: str) -> bool:
    """Tell whether every method was read on a task."""
    return all(task in found.get(name, {}) for name in methods)


def by_repository(tasks: Sequence[ReadTask], readings: Sequence[Reading]) -> dict[str, float]:
    """Return the nats per token of new lines by repository."""
    rows: dict[str, list[int]] = {}
    for number, one in enumerate(tasks):
        rows.setdefault(one.repository, []).append(number)
    return {name: round(mean(some, readings, "new"), 4) for name, some in sorted(rows.items())}
