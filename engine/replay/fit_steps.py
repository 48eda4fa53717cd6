"""The steps of some logs on which a policy is fitted, and those on which it is judged."""

from collections.abc import Callable, Collection, Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from backcast.domain.budget import ModelProfile
from backcast.engine.log.open_logs import Log
from backcast.engine.log.store import EventStore
from backcast.engine.replay.corpus import Setting
from backcast.engine.replay.derive import BuilderPool
from backcast.engine.replay.outcomes import KnownOutcome
from backcast.engine.replay.score import Building, ScorePlan, silent
from backcast.engine.replay.score_jobs import draw
from backcast.engine.replay.steps import ReplayStep

PARTS = 3
"One unit of so many is held out."


class FitStep(NamedTuple):
    """A step whose outcome is known."""

    log: Log
    step: ReplayStep
    outcome: KnownOutcome
    unit: str

    @property
    def place(self) -> str:
        """The step as reports name it."""
        return f"{self.step.task_id}@{self.step.version} {self.step.name}"

    @property
    def key(self) -> tuple[str, str, int]:
        """Its log, task and version."""
        return self.log.name, self.step.task_id, self.step.version

    @property
    def held_out(self) -> bool:
        """Whether a policy is judged on it: the lot of its run, or of its change, says so.

        That is the same wherever its log lies, and stays so when the log grows.
        """
        run = self.unit == f"{self.log.name}: {self.step.task_id}"
        unit = self.step.task_id if run else f"{self.step.task_id}@{self.step.version}"
        lot = sha256(f"held out {unit}".encode(errors="surrogatepass")).hexdigest()
        return int(lot, 16) % PARTS == 0


def held_of(sample: int) -> int:
    """Return how many steps of a sample are held out."""
    return max(1, round(sample / PARTS))


class StepList(ScorePlan):
    """Steps whose prompts are built later, under any policy; `jobs` stays empty."""

    def __init__(self, plan: ScorePlan) -> None:
        """`plan` says who reads, and how large prompts are."""
        super().__init__(plan.reader, (), plan.profile, plan.choice)
        self.training: list[FitStep] = []
        self.held_out: list[FitStep] = []
        self.nothing_new = 0
        "Steps whose outcome has no new line."
        self._pools: dict[str, BuilderPool] = {}

    def add(
        self,
        logs: Iterable[Log],
        sample: int | None = None,
        advance: Callable[[int], None] = lambda steps: None,
        keep: Callable[[Collection[str]], None] = lambda names: None,
        building: Building = silent,
    ) -> None:
        """Add the steps of open logs; of a sample, one third is held out.

        A step is in every sample that is larger than one that it is in, whatever else there is.
        """
        held = None if sample is None else held_of(sample)
        most = {True: held, False: None if sample is None or held is None else sample - held}
        found: dict[bool, list[FitStep]] = {True: [], False: []}
        order: dict[str, int] = {}
        for log in logs:
            order.setdefault(log.name, len(order))
            for known in (FitStep(*step) for step in self._found(log)):
                if not any(known.outcome.new):
                    self.nothing_new += 1
                    continue
                part, size = found[known.held_out], most[known.held_out]
                part.append(known)
                # States are large, so steps that lost the lot are let go of on the way.
                if size is not None and len(part) > 2 * size + 1:
                    self._drawn(part, size)
                advance(1)
            for lot, part in found.items():
                if (size := most[lot]) is not None:
                    self._drawn(part, size)
            if sample is not None:
                keep({known.log.name for part in found.values() for known in part})
        for part in found.values():
            part.sort(key=lambda known: (order[known.log.name], *known.key[1:]))
        self.training, self.held_out = found[False], found[True]

    def _drawn(self, part: list[FitStep], size: int) -> None:
        """Leave those of some steps that the lot takes."""
        by_lot = sorted(part, key=lambda known: (draw(known.step), known.log.name))
        self.not_sampled += len(by_lot[size:])
        part[:] = by_lot[:size]

    def under(
        self,
        settings: Sequence[Setting],
        chosen: Sequence[FitStep],
        advance: Callable[[int], None] = lambda steps: None,
    ) -> ScorePlan:
        """Return a plan of the prompts of some steps under some policies."""
        plan = SharedPlan(self, settings)
        for found in chosen:
            plan.add_step(found)
            advance(1)
        return plan

    def keep(self, *plans: ScorePlan) -> None:
        """Keep the steps that have a prompt in one of some plans, and why others have none."""
        kept = {(job.log, job.task, job.version) for plan in plans for job in plan.jobs}
        self.left_out += [out for plan in plans for out in plan.left_out]
        self.training = [found for found in self.training if found.key in kept]
        self.held_out = [found for found in self.held_out if found.key in kept]

    def pool(self, store: EventStore) -> BuilderPool:
        """Return the builders for a store, which all plans share."""
        known = next((pool for pool in self._pools.values() if pool.store is store), None)
        if known is None:
            known = self._pools[str(len(self._pools))] = BuilderPool(store, lambda _: self.reader)
        return known


class SharedPlan(ScorePlan):
    """A plan that builds with what other plans of the same steps have counted already."""

    def __init__(
        self, known: StepList, settings: Sequence[Setting], profile: ModelProfile | None = None
    ) -> None:
        super().__init__(known.reader, settings, profile or known.profile)
        self._known = known

    def add_step(self, found: FitStep) -> None:
        """Add the prompts of a step, or the reason why it has none."""
        self._plan(*found)

    def _pool(self, store: EventStore) -> BuilderPool:
        return self._known.pool(store)
