"""Which of two versions knew of the other? (vector clocks)

A clock counts, for each writer, how many of its steps are known. One clock dominates another
when it knows all that the other knows; when neither does, the two are concurrent: their
writers did not know of each other.
See Fidge (1988) and Mattern (1989).

>>> ann = VectorClock.of({"ann": 2}); both = ann.tick("bob")
>>> both.dominates(ann), ann.concurrent(VectorClock.of({"bob": 1}))
(True, True)
"""

from collections.abc import Mapping
from typing import NamedTuple, Self


class VectorClock(NamedTuple):
    """Known steps of each writer, as pairs sorted by writer; a writer not named counts 0."""

    counts: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> Self:
        """Return the clock with these counts; `ValueError` for a negative one."""
        if any(count < 0 for count in counts.values()):
            raise ValueError("a vector clock counts steps: needed 0 or more")
        return cls(tuple(sorted((writer, count) for writer, count in counts.items() if count)))

    def steps(self, writer: str) -> int:
        """Return how many steps of a writer are known."""
        return next((count for name, count in self.counts if name == writer), 0)

    def tick(self, writer: str) -> "VectorClock":
        """Return this clock after one more step of a writer."""
        counts = self.counts
        if len(counts) == 1 and counts[0][0] == writer:  # by far the most frequent
            return VectorClock(((writer, counts[0][1] + 1),))
        return self.of(dict(counts) | {writer: self.steps(writer) + 1})

    def merge(self, other: "VectorClock") -> "VectorClock":
        """Return the least clock that knows all that either knows."""
        if not self.counts or self.counts == other.counts:
            return other
        merged = dict(self.counts)
        for writer, count in other.counts:
            merged[writer] = max(count, merged.get(writer, 0))
        return self.of(merged)

    def dominates(self, other: "VectorClock") -> bool:
        """Return whether this clock knows all that the other knows, as of equal clocks both do."""
        mine = dict(self.counts)
        return all(mine.get(writer, 0) >= count for writer, count in other.counts)

    def concurrent(self, other: "VectorClock") -> bool:
        """Return whether neither clock knows all that the other knows."""
        return not self.dominates(other) and not other.dominates(self)
