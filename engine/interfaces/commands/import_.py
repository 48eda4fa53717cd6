"""`backcast import`: take over a foreign log."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backcast.domain.json_text import json_text
from backcast.engine.interfaces.options import json_option, opened, store_option
from backcast.engine.interfaces.terminal import escaped, message

if TYPE_CHECKING:
    from backcast.engine.log.importers import Report
    from backcast.engine.memory.import_anew import AnewTask

SHOWN = 20
"Lines that could not be taken, of which the reasons are shown."


@click.group(name="import")
def command() -> None:
    """Take over a foreign log. Importing again adds only what is new.

    Lines that cannot be taken are named on stderr, and the rest is imported. The exit code is 1
    where that happens in Backcast's own lines (events), or where nothing could be taken.

    \b
    backcast import git ~/src/httpx --as httpx
    backcast import swe-agent run.traj --store sqlite:///runs.db
    backcast import git ~/src/httpx --as httpx --anew    # again, as httpx~2
    """


def _importer(name: str, help: str) -> None:
    def outlines(function: Callable[..., Any]) -> Callable[..., Any]:
        if name != "git":
            return function
        return click.option(
            "--outlines/--no-outlines", default=True, show_default=True,
            help="Outline the sources at once; else when a command first asks for it.",
        )(function)  # fmt: skip

    def anew(function: Callable[..., Any]) -> Callable[..., Any]:
        if name == "events":
            return function
        return click.option(
            "--anew", is_flag=True,
            help="Write the task again beside the one that is stored, and tell what differs.",
        )(function)  # fmt: skip

    @command.command(name=name, help=help)
    @click.argument("path", type=click.Path(path_type=Path))
    @store_option
    @click.option("--as", "task", metavar="TASK", help="The task to import as; else the log's own.")
    @json_option
    @outlines
    @anew
    def importer(
        path: Path, url: str, task: str | None, as_json: bool, anew: bool = False, **more: bool
    ) -> None:
        if anew:
            _anew(name, path, url, task, as_json, **more)
            return
        from backcast.engine.interfaces.terminal import progress_bar
        from backcast.engine.memory.import_log import counted, run

        counted(name, path)  # before a store is made
        with opened(url, create=True) as store:
            report = run(store, name, path, task, processes=os.cpu_count() or 1,
                         progress=progress_bar, **more)  # fmt: skip
        if name == "events" and report.skipped and not (report.added or report.known):
            from backcast.engine.log.importers.events import require

            require(path)  # what is no log at all has one reason, not one a line
        _print(report, as_json)
        # A foreign log is what it is; one of our own should not hold what cannot be taken.
        # Of a history only new commits are read, and there is no history without one.
        taken = report.added or report.known or (name == "git" and not report.skipped)
        if not (taken or report.skipped):
            message(f"nothing was found in {path}")
        sys.exit(1 if not taken or (report.skipped and name == "events") else 0)


for _name, _help in {
    "git": "A repository's history along first parents: PATH is its folder.",
    "events": "JSON lines with type, task_id, timestamp and data, as 'backcast export' writes.",
    "swe-agent": "A trajectory of SWE-agent (.traj) or mini-swe-agent.",
    "openhands": "An OpenHands event file, or a folder of them.",
    "claude-code": "A Claude Code session (JSON lines).",
    "cline": "A Cline session.",
    "inspect": "An Inspect AI evaluation log (.eval, or .json).",
}.items():
    _importer(_name, _help)


def _anew(name: str, path: Path, url: str, task: str | None, as_json: bool, **more: bool) -> None:
    """Import a log again beside its task, and print what differs."""
    from backcast.engine.history.state_json import plain
    from backcast.engine.interfaces.terminal import progress_bar
    from backcast.engine.interfaces.views import console, table
    from backcast.engine.memory.import_anew import run_anew
    from backcast.engine.memory.import_log import counted

    counted(name, path)
    with opened(url) as store:
        report, compared = run_anew(store, name, path, task, processes=os.cpu_count() or 1,
                                    progress=progress_bar, **more)  # fmt: skip
    _print_problems(report)
    for pair in compared:
        if as_json:
            click.echo(json_text(plain(pair)))
            continue
        click.echo(_summed(pair))
        if pair.differs:
            table(console(), ("", pair.task, pair.anew, "moved"), _rows(pair))
    sys.exit(0 if compared else 1)


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


def _print(report: "Report", as_json: bool) -> None:
    _print_problems(report)
    if as_json:
        click.echo(json_text(vars(report)))
        return
    tasks = ", ".join(
        f"{count} to task {escaped(task)}" for task, count in sorted(report.tasks.items())
    )
    click.echo(
        f"added {report.added} events{f' ({tasks})' if tasks else ''},"
        f" {report.known} known already, {len(report.skipped)} skipped"
    )


def _print_problems(report: "Report") -> None:
    for note in report.notes:
        message(f"note: {note}")
    for line in report.skipped[:SHOWN]:
        message(f"skipped {line}")
    if len(report.skipped) > SHOWN:
        message(f"and {len(report.skipped) - SHOWN} more skipped")
