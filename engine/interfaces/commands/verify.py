"""`backcast verify`: rebuild every recorded prompt, and build it again."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from backcast.domain.errors import extra_lacking
from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import LOGS, UNREADABLE, address_argument, each_log
from backcast.engine.interfaces.log_findings import LogFindings
from backcast.engine.interfaces.options import engine_on, json_option, on_option, store_option
from backcast.engine.interfaces.running import INTERRUPTED
from backcast.engine.interfaces.terminal import message, note_fault, say
from backcast.engine.log.remote import shown

if TYPE_CHECKING:
    from backcast.engine.log.importers.versions import Faulty
    from backcast.engine.log.open_logs import Log
    from backcast.engine.replay.run_report import VerifyReport
    from backcast.engine.replay.verify import Answer, Verdict

LONG = 60
"Characters of a reason from which on it is not repeated."


@click.command(name="verify")
@address_argument("addresses", several=True, metavar=LOGS)
@store_option
@click.option("--bisect", is_flag=True, help="Name the first event that makes each difference.")
@click.option(
    "--only", type=click.Choice(["rebuilt", "derived"]), help="Ask only this of the two questions."
)
@click.option("--report", type=Path, metavar="FILE.jsonl",
              help="A line for each task, from which the same command goes on.")  # fmt: skip
@on_option(None)
@json_option
def command(
    addresses: tuple[Address, ...], url: str, bisect: bool, only: str | None, report: Path | None,
    on: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Rebuild every recorded prompt, and derive it again.

    \b
    backcast verify fixtures/logs/till.jsonl fixtures/logs/validators.jsonl
    backcast verify till --bisect
    backcast verify 'runs/**/*.jsonl' s3://bucket/runs/
    backcast verify 'runs/**/*.jsonl' --on dask://HOST:8786 --report verified.jsonl

    LOG is a file, a folder, a quoted pattern, or a URL: https://, s3://, gs://, or that of a store.
    Without an address the whole store is asked. The exit code is 0 where every prompt is the same
    and every log is whole, 2 where a log cannot be read at all, else 1. A prompt that another
    program built cannot be derived: it is the same where it is rebuilt. Tasks that came by an
    importer with a known fault are noted, on stderr or as lines with "note", and are no failure. A
    task that stands in --report is not verified again while its events and the code are the same.

    With --json each prompt is a line, with its log and whether it "holds". The last line sums up:
    "prompts", "failed", "untold" (of those that failed, the ones that cannot be told here),
    "lacking" (how many are not told, and have not failed, for want of an extra, by its name),
    "foreign" (built by another program, and only rebuilt), "exit_code", and of the "logs" how many
    were "read", why others are "unreadable", the "damage" in them, their events of "unknown_types",
    and why tasks of them are "unverified".
    """
    findings, sums = LogFindings(), _Sums()
    reasons: set[str] = set()
    with _gone_on_from(report):
        for log in _found(on, addresses, url, bisect, report, findings):
            for verdict in log.verdicts:
                sums.add(verdict, only)
                holds = _holds(verdict, only)
                print_verdict(
                    verdict,
                    only,
                    reasons,
                    as_json=as_json,
                    beside={"log": log.name, "holds": holds},
                )
            for part in log.faults:
                note_fault(part, as_json)
            for reason in log.failed:
                message(f"skipped {reason}")
                sums.unverified.setdefault(log.name, []).append(reason)
    unreadable, torn = bool(findings.unreadable), bool(findings.damage or sums.unverified)
    if not (sums.prompts or unreadable or torn):
        message("note: no prompt is recorded that Backcast built: there is nothing to rebuild")
    code = UNREADABLE if unreadable else 1 if sums.failed or torn else 0
    code = code or (UNREADABLE if sums.lacking else 0)
    if as_json:
        logs = findings.plain() | {"unverified": sums.unverified}
        say(json_text(sums.plain() | {"exit_code": code, "logs": logs}))
    if sums.prompts or not unreadable:
        say("; ".join(filter(None, [str(sums), findings.torn])), err=True)
    raise SystemExit(code)


class _Sums:
    """The counts of what was verified."""

    def __init__(self) -> None:
        self.prompts = self.failed = 0
        self.untold = 0
        "Of those that failed, the ones that cannot be told here."
        self.lacking = Counter[str]()
        "Prompts that are not told for want of an extra, by its name; none of them has failed."
        self.foreign = 0
        "Prompts that another program built, which are only rebuilt."
        self.unverified: dict[str, list[str]] = {}
        "Why tasks were not verified, by log."

    def add(self, verdict: "Verdict", only: str | None) -> None:
        """Count a verdict."""
        from backcast.engine.replay.verify import FOREIGN

        fails = not _holds(verdict, only)
        if fails and (extra := _lacks(verdict, only)):
            self.lacking[extra], fails = self.lacking[extra] + 1, False
            self.prompts += 1
            return
        self.prompts, self.failed = self.prompts + 1, self.failed + fails
        self.untold += fails and not _differs(verdict, only)
        self.foreign += not fails and only != "rebuilt" and verdict.derived.why == FOREIGN

    def plain(self) -> dict[str, object]:
        """Return the counts as JSON."""
        names = ("prompts", "failed", "untold", "foreign")
        return {name: getattr(self, name) for name in names} | {"lacking": dict(self.lacking)}

    def __str__(self) -> str:
        untold = f", of them {self.untold} that cannot be told here" if self.untold else ""
        foreign = (
            f"; {self.foreign} are of another program, and only rebuilt" if self.foreign else ""
        )
        lacking = "".join(
            f", {count} not told, which needs the extra {extra!r}"
            for extra, count in sorted(self.lacking.items())
        )
        return f"{self.prompts} prompts, {self.failed} failed{untold}{lacking}{foreign}"


class _Verified(NamedTuple):
    """The verdicts of a log, and what is to be said of it."""

    name: str
    verdicts: "Iterable[Verdict]"
    faults: "Sequence[Faulty]"
    failed: Sequence[str] = ()
    "Why tasks of it were not verified."


def _found(
    on: str | None, addresses: Sequence[Address], url: str, bisect: bool, file: Path | None,
    findings: LogFindings,
) -> "Iterator[_Verified]":  # fmt: skip
    """Verify each log that can be read where --on says, but for tasks in a report."""
    from backcast.engine.replay.growing_report import SUFFIX
    from backcast.engine.replay.run_report import VerifyReport

    if file is None:
        yield from (_elsewhere if on else _here)(on or "", addresses, url, bisect, None, findings)
        return
    if file.suffix != SUFFIX:
        raise click.UsageError(f"--report: needed a name that ends in {SUFFIX}, found {file}")
    with VerifyReport(file, bisect=bisect) as report:
        yield from (_elsewhere if on else _here)(on or "", addresses, url, bisect, report, findings)


@contextmanager
def _gone_on_from(report: Path | None) -> Iterator[None]:
    """After Ctrl-C, say how to go on where there is a report."""
    try:
        yield
    except KeyboardInterrupt:
        if report is None:
            raise
        message(f"interrupted by Ctrl-C: the same command goes on from {report}")
        raise SystemExit(INTERRUPTED) from None


def _here(
    on: str, addresses: Sequence[Address], url: str, bisect: bool, report: "VerifyReport | None",
    findings: LogFindings,
) -> "Iterator[_Verified]":  # fmt: skip
    """Verify each log in turn, in this process."""
    for log in each_log(addresses, url, findings=findings):
        if log is not None:
            yield _Verified(shown(log.name), _verdicts(log, bisect, report), _faults(log))


def _elsewhere(
    on: str, addresses: Sequence[Address], url: str, bisect: bool, report: "VerifyReport | None",
    findings: LogFindings,
) -> "Iterator[_Verified]":  # fmt: skip
    """Verify all tasks of all logs where --on says, and yield the logs in their order."""
    from backcast.engine.log.spread import spread
    from backcast.engine.log.stamps import stamps_of
    from backcast.engine.replay.pieces import verdicts_of, verify_piece, work

    logs: list[tuple[range, str, Sequence[Faulty]]] = []
    tasks: list[tuple[str, str, str]] = []
    verdicts: dict[int, list[Verdict]] = {}
    with engine_on(on) as engine:
        for log in each_log(addresses, url, findings=findings):
            if log is None:
                continue
            stamps = stamps_of(log.store)
            own = range(len(tasks), len(tasks) + len(log.tasks))
            logs.append((own, shown(log.name), _faults(log)))
            tasks += [(log.name, task, stamps[task]) for task in log.tasks]
        if report:
            known = {n: report.find(*task[1:]) for n, task in enumerate(tasks)}
            verdicts |= {n: found for n, found in known.items() if found is not None}
        waiting = [number for number in range(len(tasks)) if number not in verdicts]
        pieces = [verify_piece(*tasks[number], bisect=bisect) for number in waiting]
        failed = dict[int, str]()
        for piece in spread(engine, work, pieces):
            number = waiting[piece.number]
            if piece.failed:
                failed[number] = piece.failed
                continue
            verdicts[number] = verdicts_of(piece.result)
            if report:
                report.add(*tasks[number][1:], verdicts[number])
    for own, name, faults in logs:
        reasons = [f"{name}: {failed[number]}" for number in own if number in failed]
        found = [verdict for number in own for verdict in verdicts.get(number, ())]
        yield _Verified(name, found, faults, reasons)


def _faults(log: "Log") -> "list[Faulty]":
    from backcast.engine.log.importers.versions import faulty

    return [part for task in log.tasks for part in faulty(log.store, task)]


def _verdicts(log: "Log", bisect: bool, report: "VerifyReport | None") -> "Iterator[Verdict]":
    from backcast.engine.log.stamps import stamps_of

    stamps = stamps_of(log.store) if report else {}
    for task in log.tasks:
        if report is None:
            yield from _verified_here(log, task, bisect)
            continue
        found = report.find(task, stamps[task])
        if found is None:
            report.add(task, stamps[task], found := list(_verified_here(log, task, bisect)))
        yield from found


def _verified_here(log: "Log", task: str, bisect: bool) -> "Iterator[Verdict]":
    from backcast.engine.replay.bisect import with_event
    from backcast.engine.replay.verify import verified

    for verdict in verified(log.store, task):
        yield with_event(log.store, verdict) if bisect else verdict


def _holds(verdict: "Verdict", only: str | None) -> bool:
    if only is None:
        return verdict.holds
    from backcast.engine.replay.verify import FOREIGN

    answer: Answer = getattr(verdict, only)
    return answer.verdict == "same" or answer.why == FOREIGN


def _lacks(verdict: "Verdict", only: str | None) -> str:
    """Return the extra for want of which alone a prompt is not told; empty where it is another
    reason, or a difference."""
    names = [only] if only else ["rebuilt", "derived"]
    answers: list[Answer] = [getattr(verdict, name) for name in names]
    found = [extra_lacking(answer.why) for answer in answers if answer.verdict != "same"]
    return found[0] if found and all(found) else ""


def _differs(verdict: "Verdict", only: str | None) -> bool:
    questions = [only] if only else ["rebuilt", "derived"]
    return any(getattr(verdict, name).verdict == "different" for name in questions)


def print_verdict(
    verdict: "Verdict", only: str | None, reasons: set[str], *, as_json: bool,
    beside: Mapping[str, object] | None = None,
) -> None:  # fmt: skip
    """Print a verdict; a long reason of a verdict is printed once, and kept in `reasons`.

    `beside` are more fields of its JSON.
    """
    if as_json:
        from backcast.engine.history.state_json import plain

        say(json_text(plain(verdict) | dict(beside or {})))
        return
    from backcast.engine.interfaces.views import one_line

    questions = [only] if only else ["rebuilt", "derived"]
    found: list[tuple[str, Answer]] = [(name, getattr(verdict, name)) for name in questions]
    answers = "; ".join(
        f"{name}: {answer._replace(why='as above') if answer.why in reasons else answer}"
        for name, answer in found
    )
    reasons |= {
        answer.why for _, answer in found if answer.verdict != "same" and len(answer.why) > LONG
    }  # fmt: skip
    where = f"{verdict.task_id}@{verdict.version}"
    say(one_line(f"{where:<20} {verdict.name}  {answers}", 1_000))
