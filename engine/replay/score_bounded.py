"""Scores within a time: each step's prompts are built when its turn comes, by lot.

On a long history all prompts would take longer than the time; so nothing is built that is not read
at once, and the steps that were scored are a sample, whenever the time is up.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from heapq import nsmallest
from itertools import chain
from time import monotonic

from backcast.engine.log.open_logs import Log
from backcast.engine.log.store import EventStore
from backcast.engine.replay.derive import BuilderPool
from backcast.engine.replay.kept_scores import ScoreBook
from backcast.engine.replay.score import Building, FoundStep, ScorePlan, silent
from backcast.engine.replay.score_jobs import ScoreJob, draw
from backcast.engine.replay.score_run import Scoring

LOOKING = 0.5
"The share of the time in which steps are looked for."
LEAST = 3.0
"Seconds for which they are, however short the time is."
HELD, PACE = 1_000, 10
"Steps that wait at most, whose states take memory: so many, or so many a second."


class BoundedPlan(ScorePlan):
    """Steps in the order of the lot, whose prompts are built later."""

    def __init__(self, plan: ScorePlan, seconds: float) -> None:
        """`plan` says who reads, and under which policies; the time begins now."""
        super().__init__(plan.reader, plan.settings, plan.profile, plan.choice)
        self.seconds, self.begun = seconds, monotonic()
        self.to_build: list[FoundStep] = []
        self.not_built = 0
        "Steps whose turn did not come yet."
        self._sample: int | None = None
        self._found_steps = self._tried = 0
        self._pools: list[BuilderPool] = []

    @property
    def until(self) -> float:
        """When the time is up, by the monotonic clock."""
        return self.begun + self.seconds

    def add(
        self,
        logs: Iterable[Log],
        sample: int | None = None,
        advance: Callable[[int], None] = lambda steps: None,
        keep: Callable[[Collection[str]], None] = lambda names: None,
        building: Building = silent,
    ) -> None:
        """Look for the steps of open logs, or for a sample of so many; nothing is built yet."""
        looks_until = self.begun + max(LEAST, LOOKING * self.seconds)
        held = max(HELD, int(PACE * self.seconds)) if sample is None else sample + self.spare
        self._sample = sample
        for log in logs:
            found = chain(self.to_build, self._in_time(log, looks_until, advance))
            self.to_build = nsmallest(held, found, key=lambda each: draw(each.step))
            keep({each.log.name for each in self.to_build})
            if not self.looked_at_all:
                break
        self._count()

    def _in_time(
        self, log: Log, until: float, advance: Callable[[int], None]
    ) -> Iterator[FoundStep]:
        """Yield the steps of a log, as far as the time goes, and one at least."""
        for each in self._found(log):
            advance(1)
            self._found_steps += 1
            yield each
            if monotonic() > until:
                self.looked_at_all = False
                return

    def build_next(self) -> ScoreJob | None:
        """Return the next step that can be read, with its prompts; None where there is none, or no
        more time."""
        job = None
        while job is None and self.not_built and self.to_build and monotonic() <= self.until:
            self._tried += 1
            if self._plan(*self.to_build.pop(0)):
                job = self.jobs[-1]
            self._count()
        return job

    def _count(self) -> None:
        """Count the steps that wait, and those that the sample leaves out."""
        rest = self._found_steps - self._tried
        wanted = rest if self._sample is None else self._sample - len(self.jobs)
        self.not_built = min(rest, wanted)
        self.not_sampled = rest - self.not_built

    def _pool(self, store: EventStore) -> BuilderPool:
        known = next((pool for pool in self._pools if pool.store is store), None)
        if known is None:
            known = BuilderPool(store, lambda name: self.reader)
            self._pools.append(known)
        return known


class BoundedScoring(Scoring):
    """Scores of steps that are built one by one, until the time is up."""

    plan: BoundedPlan

    def __init__(self, plan: BoundedPlan, books: Mapping[str, ScoreBook]) -> None:
        super().__init__(plan, books)
        self.until = plan.until

    @property
    def not_reached(self) -> int:
        """The number of steps that nobody came to read."""
        return len(self.waiting) + self.plan.not_built

    def run(self, advance: Callable[[int], None] = lambda tokens: None) -> None:
        """Build and read step by step, until all is read or the time is up."""
        while not (self.waiting or self.gone) and (job := self.plan.build_next()):
            self.waiting.append(job)
            super().run(advance)
