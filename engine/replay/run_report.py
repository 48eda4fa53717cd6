"""The reports that grow of `regress`, by a line for each run, and of `verify`, for each task."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backcast.domain.budget import ModelProfile
from backcast.engine.history.state_json import builder
from backcast.engine.replay.corpus import ReplayRun, Setting, Tried
from backcast.engine.replay.growing_report import GrowingReport
from backcast.engine.replay.measure import Measured
from backcast.engine.replay.verify import Verdict


class RunReport(GrowingReport):
    """What was measured of each run under some policies."""

    command, part = "regress", "run"

    def __init__(
        self, path: Path, settings: Sequence[Setting], profile: ModelProfile | None
    ) -> None:
        window = profile and [*profile._replace(rows={}), sorted(profile.rows.items())]
        super().__init__(path, [policy and policy.digest for _, policy in settings], window)

    def holds(self, run: ReplayRun) -> bool:
        """Tell whether a run was measured before."""
        return self.has(self._key(run))

    def find(self, run: ReplayRun) -> Tried | None:
        """Return what was measured of a run before; None where it was not."""
        line = self.line(self._key(run))
        if line is None:
            return None
        try:
            return Tried(run, _MEASURED(line["steps"]))
        except (ValueError, TypeError, LookupError):
            raise self.damaged(run.name) from None

    def add(self, tried: Tried) -> None:
        """Write what was measured of a run."""
        self.write(self._key(tried.run), {"run": tried.run.name, "steps": tried.steps})

    def _key(self, run: ReplayRun) -> str:
        assert run.stamp, "needed the stamp of the log"
        return self.key(run.task, run.stamp, run.prompts, run.first, run.length)


class VerifyReport(GrowingReport):
    """The verdicts on the prompts of each task."""

    command, part = "verify", "task"

    def __init__(self, path: Path, *, bisect: bool) -> None:
        super().__init__(path, bisect)

    def find(self, task: str, stamp: str) -> list[Verdict] | None:
        """Return the verdicts on a task's prompts; None where it was not verified before."""
        line = self.line(self.key(task, stamp))
        if line is None:
            return None
        try:
            return list(_VERDICTS(line["verdicts"]))
        except (ValueError, TypeError, LookupError):
            raise self.damaged(task) from None

    def add(self, task: str, stamp: str, verdicts: Sequence[Verdict]) -> None:
        """Write the verdicts on a task's prompts."""
        self.write(self.key(task, stamp), {"task": task, "verdicts": verdicts})


def _built(kind: object) -> Any:
    build = builder(kind)
    assert build is not None
    return build


_MEASURED, _VERDICTS = _built(tuple[Measured, ...]), _built(tuple[Verdict, ...])
