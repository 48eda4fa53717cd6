"""The trial of `backcast regress`: where it is done, what fails meanwhile, and how to go on."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backcast.domain.errors import extra_lacking
from backcast.engine.interfaces.addresses import UNREADABLE
from backcast.engine.interfaces.many_logs import LogTimes
from backcast.engine.interfaces.running import INTERRUPTED
from backcast.engine.interfaces.terminal import message, progress_bar
from backcast.engine.log.remote import shown

if TYPE_CHECKING:
    from backcast.domain.budget import ModelProfile
    from backcast.engine.log.engines import WorkEngine
    from backcast.engine.replay.corpus import ReplayRun, Setting, Tried
    from backcast.engine.replay.try_runs import FailedRuns


class Trial:
    """A trial of policies, wherever its work is done, and the report that it goes on from."""

    def __init__(
        self,
        stack: ExitStack,
        settings: "Sequence[Setting]",
        profile: "ModelProfile | None",
        growing: Path | None,
        engine: "AbstractContextManager[WorkEngine]",
    ) -> None:
        from backcast.engine.replay.run_report import RunReport

        report = RunReport(growing, settings, profile) if growing else None
        self.settings, self.profile = settings, profile
        self.report = stack.enter_context(report) if report else None
        self.engine = stack.enter_context(engine)
        self.failed = 0
        "Runs that could not be measured."
        self.lacking = 0
        "Those among them that need no more than an extra."
        self._reasons: set[tuple[str, str]] = set()
        self._extras: set[str] = set()

    def run(self, runs: "Sequence[ReplayRun]", times: LogTimes) -> "list[Tried]":
        """Measure the runs, and add what each log took; after Ctrl-C say how to go on."""
        from backcast.engine.replay.try_runs import tried

        done = sum(map(self.report.holds, runs)) if self.report else 0
        if done and self.report:
            message(f"note: {done} of {len(runs)} runs stand in {self.report.path}")
        try:
            with progress_bar("runs", len(runs)) as advance:
                found = list(
                    tried(
                        runs, self.settings, self.profile, engine=self.engine,
                        report=self.report, failed=self._fail, advance=advance,
                    )
                )  # fmt: skip
        except KeyboardInterrupt:
            if not self.report:
                raise
            done = sum(map(self.report.holds, runs))
            message(
                f"interrupted by Ctrl-C; {done} of {len(runs)} runs stand in {self.report.path}:"
                " the same command goes on from there"
            )
            raise SystemExit(INTERRUPTED) from None
        for result in found:
            built = (figures.seconds for step in result.steps for figures in step.figures)
            times.add(shown(result.run.log), sum(built))
        if self.failed:
            message(f"{self.failed} of {len(runs)} runs were not measured")
        if not found:
            raise SystemExit(UNREADABLE if self.lacking == self.failed else 1)
        return found

    def _fail(self, failed: "FailedRuns") -> None:
        """Count runs that failed; a reason is told once of each log."""
        self.failed += len(failed.runs)
        if extra := extra_lacking(failed.reason):
            self.lacking += len(failed.runs)
            if extra in self._extras:  # how it is installed was told
                failed = failed._replace(reason=f"needs the extra {extra!r}, too")
            self._extras.add(extra)
        reason = failed.runs[0].log, failed.reason
        if reason not in self._reasons:
            self._reasons.add(reason)
            message(f"skipped {failed}")


def growing_report(reports: "Sequence[Path]") -> Path | None:
    """Return the report that grows; a usage error where a report cannot be written."""
    from backcast.engine.replay.growing_report import SUFFIX

    for report in reports:
        if report.suffix not in (".md", ".json", SUFFIX):
            raise click.UsageError(
                f"--report: needed a name that ends in .md, .json or {SUFFIX}, found {report}"
            )
        if not report.parent.is_dir():
            raise click.UsageError(f"--report: needed a folder that is there, found {report}")
    growing = [report for report in reports if report.suffix == SUFFIX]
    if len(growing) > 1:
        raise click.UsageError(f"--report: needed one that ends in {SUFFIX}, found {len(growing)}")
    return growing[0] if growing else None
