"""`backcast import`: take over a foreign log."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from backcast.domain.errors import InputError, UnavailableError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.found_logs import FOLDERS, chosen_log
from backcast.engine.interfaces.many_logs import SOME, LogTimes, shown_progress
from backcast.engine.interfaces.options import json_option, opened, store_option
from backcast.engine.interfaces.terminal import escaped, message, say
from backcast.engine.log.remote import shown

if TYPE_CHECKING:
    from backcast.engine.log.importers import Report
    from backcast.engine.log.importers.git_beginning import Beginning
    from backcast.engine.memory.import_anew import AnewTask
    from backcast.engine.memory.import_log import Progress

AS_THEY_ARE = ("events", "raw-bodies")
"Formats of which nothing is derived when they are imported."
EXAMPLES = {
    "git": ("~/src/httpx", "~/src/httpx --last 100", "~/src/httpx --since 2024-01-31 --as httpx"),
    "events": (
        "fixtures/logs/till.jsonl",
        "fixtures/logs/till.jsonl fixtures/logs/shop.jsonl --store runs.db",
    ),
    "swe-agent": ("fixtures/foreign/swe-agent.traj",),
    "openhands": ("fixtures/foreign/openhands.jsonl",),
    "claude-code": ("--recent", "fixtures/foreign/claude-code.jsonl"),
    "cline": ("fixtures/foreign/cline.json",),
    "inspect": ("fixtures/foreign/inspect.json",),
    "codex": ("--recent", "fixtures/foreign/codex.jsonl"),
    "pi": ("--recent", "fixtures/foreign/pi.jsonl"),
    "qwen": ("--recent", "fixtures/foreign/qwen.jsonl"),
    "atif": ("fixtures/foreign/atif.json",),
    "otlp": ("fixtures/foreign/otlp.jsonl",),
}
"What the help of a format shows to be typed behind its name."
SHOWN = 20
"Lines that could not be taken, of which the reasons are shown."


@click.group(name="import")
def command() -> None:
    """Take over a foreign log. Importing again adds only what is new.

    Lines that cannot be taken are named on stderr, and the rest is imported. The exit code is 1
    where that happens in Backcast's own lines (events), or where nothing could be taken. Of several
    logs, named one by one, by a quoted pattern, as a folder or as a URL, each is imported in turn;
    one that cannot be read is named, the rest goes on, and the exit code is 1.

    \b
    backcast import git ~/src/httpx --as httpx
    backcast import swe-agent fixtures/foreign/swe-agent.traj --store runs.db
    backcast import swe-agent trajectories/ 'more/**/*.traj'
    backcast import events s3://bucket/runs/
    backcast import git ~/src/httpx --as httpx --anew    # again, as httpx~2
    backcast import claude-code --recent                 # the latest session of the agent here
    """


def _importer(name: str, help: str) -> None:
    def outlines(function: Callable[..., Any]) -> Callable[..., Any]:
        if name in AS_THEY_ARE:
            return function
        return click.option(
            "--outlines/--no-outlines", default=True, show_default=True,
            help="Outline the sources at once; else when a command first asks for it.",
        )(function)  # fmt: skip

    def anew(function: Callable[..., Any]) -> Callable[..., Any]:
        if name in AS_THEY_ARE:
            return function
        return click.option(
            "--anew", is_flag=True,
            help="Write the task again beside the one that is stored, and tell what differs.",
        )(function)  # fmt: skip

    def recent(function: Callable[..., Any]) -> Callable[..., Any]:
        if name not in FOLDERS:
            return function
        return click.option(
            "--recent", type=click.IntRange(min=1), is_flag=False, flag_value=1, metavar="[N]",
            help="The latest log where the agent keeps them; of the N latest, the one you choose.",
        )(function)  # fmt: skip

    def begin(function: Callable[..., Any]) -> Callable[..., Any]:
        if name != "git":
            return function
        function = click.option(
            "--since", metavar="DATE", callback=_since,
            help="Begin behind the last commit before a date, such as 2024-01-31 (UTC).",
        )(function)  # fmt: skip
        return click.option(
            "--last", type=click.IntRange(1), metavar="N",
            help="Begin N commits before the end: a long history takes minutes.",
        )(function)  # fmt: skip

    @command.command(name=name, help=help)
    @click.argument("paths", nargs=-1, required=name not in FOLDERS, metavar="PATH...")
    @store_option
    @click.option("--as", "task", metavar="TASK", help="The task to import as; else the log's own.")
    @json_option
    @outlines
    @anew
    @recent
    @begin
    def importer(
        paths: tuple[str, ...], url: str, task: str | None, as_json: bool, anew: bool = False,
        recent: int | None = None, last: int | None = None, since: datetime | None = None,
        **more: bool,
    ) -> None:  # fmt: skip
        from backcast.engine.interfaces.foreign_logs import logs_to_import
        from backcast.engine.interfaces.terminal import progress_bar

        if bool(paths) == bool(recent):
            raise click.UsageError(
                f"needed a PATH or --recent, found {'both' if paths else 'none'}"
            )
        paths = (chosen_log(name, recent),) if recent else paths
        logs, failed = logs_to_import(name, paths)
        if task and len(logs) + failed > 1:
            raise click.UsageError(f"--as: needed a single log, found {len(logs) + failed}")
        begin = {"last": last, "since": since} if last or since else {}
        request = _ImportRequest(name, url, task, as_json, anew, more, begin)
        if len(logs) + failed == 1 and logs:
            sys.exit(_imported(request, logs[0], progress_bar).code)
        sys.exit(_each(request, logs, failed))


def _since(context: click.Context, option: click.Parameter, text: str | None) -> datetime | None:
    """Return the time that a date names: that of a day alone is its beginning."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise click.BadParameter(f"needed a date such as 2024-01-31, found {text!r}") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


class _ImportRequest(NamedTuple):
    """What is asked of each log."""

    format: str
    url: str
    task: str | None
    as_json: bool
    anew: bool
    options: dict[str, bool]
    begin: dict[str, Any]
    "Where a git history begins, if not at its first commit: see `Beginning`."


class _Imported(NamedTuple):
    """What came of a log."""

    code: int
    report: "Report"


def _each(request: _ImportRequest, logs: Sequence[str], failed: int) -> int:
    """Import each log in turn; name those that cannot be read, and return the exit code."""
    from backcast.engine.interfaces.terminal import progress_bar

    times, added, known, skipped, incomplete = LogTimes(), 0, 0, 0, 0
    progress = (
        progress_bar if len(logs) < SOME else lambda what, total: nullcontext(lambda size: None)
    )
    with shown_progress(len(logs)) as advance:
        for log in logs:
            try:
                with times.taken(shown(log)):
                    code, report = _imported(request, log, progress, several=True)
            except InputError as error:
                message(error)
                failed += 1
            else:
                incomplete += code
                added, known = added + report.added, known + report.known
                skipped += len(report.skipped)
            advance(1)
    times.report()
    say(
        f"{len(logs) - failed} of {len(logs)} logs imported: added {added} events, {known} known"
        f" already, {skipped} skipped", err=request.as_json,
    )  # fmt: skip
    return 1 if failed or incomplete else 0


def _imported(
    request: _ImportRequest, log: str, progress: "Progress", *, several: bool = False
) -> _Imported:
    """Import a log, and print what came of it; `several` where it is one of some."""
    from backcast.engine.interfaces.foreign_logs import copied_here
    from backcast.engine.log.importers import Report
    from backcast.engine.log.importers.git_beginning import Beginning
    from backcast.engine.memory.import_log import counted, run

    cut, name, begin = Report(), request.format, Beginning(**request.begin)
    with copied_here(log, cut) as path:
        if request.anew:
            return _anew(request, path, progress, begin)
        counted(name, path, begin)  # before a store is made
        try:
            with opened(request.url, create=True) as store:
                report = run(store, name, path, request.task, processes=os.cpu_count() or 1,
                             progress=progress, begin=begin, **request.options)  # fmt: skip
        except KeyboardInterrupt:
            from backcast.engine.interfaces.running import INTERRUPTED

            message(f"interrupted by Ctrl-C; {_so_far(request, path)}")
            raise SystemExit(INTERRUPTED) from None
        report.skipped += cut.skipped
        if name == "events" and not (report.added or report.known):
            from backcast.engine.log.importers.events import require

            require(path)  # what is no log at all has one reason, as for every format
    where = shown(log) if several else ""
    _print(report, request.as_json, where)
    # A foreign log is what it is; one of our own should not hold what cannot be taken.
    # Of a history only new commits are read, and there is no history without one.
    taken = report.added or report.known or (name == "git" and not report.skipped)
    if not (taken or report.skipped or report.notes):
        message(f"nothing was found in {shown(log)}")
    return _Imported(1 if not taken or (report.skipped and name == "events") else 0, report)


def _so_far(request: _ImportRequest, path: Path) -> str:
    """Return what an import had stored when it was broken off, and how it goes on."""
    again = "the same command goes on from there"
    if request.format != "git":
        return f"what was stored stays, and {again}"
    from backcast.engine.log.importers import git

    task = request.task or git.task_of(path)
    try:
        with opened(request.url) as store:
            stored = git.stored_line(store, task)
    except UnavailableError:
        return "nothing is stored yet"  # a store that holds nothing is gone again
    total = git.count(path, last=stored.last)
    if not stored.commits:
        return "nothing is stored yet"
    of = f"{stored.commits:,} commits are stored as task {task!r}, {total:,} are to come"
    return f"{of}: {again}"


for _name, _help in {
    "git": "A repository's history along first parents: PATH is its folder.",
    "events": "JSON lines with type, task_id, timestamp and data, as 'backcast export' writes.",
    "swe-agent": "A trajectory of SWE-agent (.traj) or mini-swe-agent.",
    "openhands": "An OpenHands event file, or a folder of them.",
    "claude-code": "A Claude Code session (JSON lines).",
    "cline": "A Cline session.",
    "inspect": "An Inspect AI evaluation log (.eval, or .json).",
    "codex": "A rollout of Codex (rollout-*.jsonl, or .jsonl.zst).",
    "pi": "A session of pi (JSON lines).",
    "qwen": "A chat of Qwen Code (JSON lines).",
    "raw-bodies": "Bodies that Claude Code or Qwen Code wrote: PATH is their folder.",
    "opencode": "The database of opencode (opencode.db); each session is a task.",
    "atif": "A trajectory in the Agent Trajectory Interchange Format (JSON).",
    "otlp": "Spans and events of OpenTelemetry (JSON lines): GenAI or OpenInference.",
}.items():
    _lines = "".join(f"\nbackcast import {_name} {line}" for line in EXAMPLES.get(_name, ()))
    _importer(_name, f"{_help}\n\n\b{_lines}" if _lines else _help)


def _anew(
    request: _ImportRequest, path: Path, progress: "Progress", begin: "Beginning"
) -> _Imported:
    """Import a log again beside its task, and print what differs."""
    from backcast.engine.history.state_json import plain
    from backcast.engine.interfaces.views import console, table
    from backcast.engine.memory.import_anew import run_anew
    from backcast.engine.memory.import_log import counted

    counted(request.format, path, begin)
    with opened(request.url) as store:
        report, compared = run_anew(store, request.format, path, request.task,
                                    processes=os.cpu_count() or 1, progress=progress, begin=begin,
                                    **request.options)  # fmt: skip
    _print_problems(report)
    for pair in compared:
        if request.as_json:
            say(json_text(plain(pair)))
            continue
        say(_summed(pair))
        if pair.differs:
            table(console(), ("", pair.task, pair.anew, "moved"), _rows(pair))
    return _Imported(0 if compared else 1, report)


def _summed(pair: "AnewTask") -> str:
    """Return a line about a task that was imported anew."""
    old, new = escaped(pair.task), escaped(pair.anew)
    if pair.added:
        done = f"added {pair.added} events to task {new}, beside {old}"
    else:
        done = f"task {new} holds {old} anew already: nothing was added"
    return f"{done}; {'they differ' if pair.differs else 'nothing differs'}"


def _rows(pair: "AnewTask") -> "list[tuple[str, ...]]":
    """Return the rows of the table of what differs."""
    rows = [
        (f"events {change.kind}", *(f"{count} only here" if count else "" for count in change[1:3]),
         str(change.moved or ""))
        for change in pair.kinds
    ]  # fmt: skip
    rows += [(f"module {change.path}", "", change.what, "") for change in pair.modules[:SHOWN]]
    if len(pair.modules) > SHOWN:
        rows.append((f"and {len(pair.modules) - SHOWN} more modules", "", "", ""))
    if pair.goals[0] != pair.goals[1]:
        rows.append(("goal", *((goal or "none")[:60] for goal in pair.goals), ""))
    if pair.replies[0] != pair.replies[1]:
        rows.append(("replies", *map(str, pair.replies), ""))
    return rows


def _print(report: "Report", as_json: bool, log: str = "") -> None:
    """Print what was imported; `log` names the log where it is one of several."""
    _print_problems(report, log)
    if as_json:
        named = {"log": log} if log else {}
        say(json_text(named | vars(report) | {"edits": report.edits.plain()}))
        return
    tasks = ", ".join(
        f"{count} to task {escaped(task)}" for task, count in sorted(report.tasks.items())
    )
    say(
        f"{escaped(log)}{': ' if log else ''}added {report.added} events"
        f"{f' ({tasks})' if tasks else ''},"
        f" {report.known} known already, {len(report.skipped)} skipped"
    )


def _print_problems(report: "Report", log: str = "") -> None:
    where = f"{log}: " if log else ""
    for note in report.notes:
        message(f"note: {where}{note}")
    for line in report.skipped[:SHOWN]:
        message(f"skipped {where}{line}")
    if len(report.skipped) > SHOWN:
        message(f"{where}and {len(report.skipped) - SHOWN} more skipped")
