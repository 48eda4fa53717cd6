"""The command line. Data goes to stdout, messages to stderr.

Exit codes are 0; 1 where the work was done and something was found, or it failed on its way; 2
where it could not be begun: what was handed in, or the store, is not what was needed; and 130 and
141, as of any tool that a signal ends, after Ctrl-C and where whoever read the output has left.

Everything that is slow to import is imported by the command that needs it.
"""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backcast.domain.errors import (
    BackcastError,
    ConflictError,
    DamagedError,
    InputError,
    ModelError,
)
from backcast.domain.json_text import json_text
from backcast.engine.interfaces import (
    auditing,
    blaming,
    branching,
    contexts,
    diffing,
    exporting,
    knowing,
    mapping,
    regressing,
    replaying,
    running,
)
from backcast.engine.interfaces.options import (
    json_option,
    moment_options,
    opened,
    store_option,
    task_option,
)
from backcast.engine.interfaces.terminal import (
    escaped,
    escaped_lines,
    hand_on_bytes,
    in_a_line,
    message,
)

if TYPE_CHECKING:
    from backcast.engine.log.importers import Report
    from backcast.engine.log.store import EventStore

PROJECTIONS = {
    "progress": ("progress", "How far the task has come, and what it is waiting for."),
    "versions": ("versions", "Which version of each module is the latest, and who wrote it."),
    "online": ("online_cache", "What is in hand for the task: its working set, in order."),
    "offline": (
        "offline_cache",
        "What finished tasks have left for later ones, in the whole store.",
    ),
    "prompts": ("prompts", "What the model was shown last."),
    "changes": ("changes", "Which modules change together, and which have changed of late."),
    "context_map": (
        "context_map",
        "Which orientation knowledge is on the maps, of the whole store; see 'backcast map show'.",
    ),
}
"What `show` can show, the projection that it folds, and what that answers."
OF_STORE = ("offline", "context_map")
"Of these, what folds the whole store."
OUTPUT_FAILS = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
UNREAD = 128 + 13
"The exit code of what SIGPIPE ends, as shells tell it."


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; an error of ours is one line."""
    try:
        try:
            cli(arguments, prog_name="backcast")
        finally:
            if sys.stdout:  # None where it was closed
                sys.stdout.flush()  # what fails only at the very end could not be told of
    except OSError as error:
        if error.errno not in OUTPUT_FAILS:
            raise
        _give_up_output()
        if isinstance(error, BrokenPipeError):
            sys.exit(UNREAD)
        _fail(f"the output cannot be written: {error.strerror}", 2)
    except ConflictError as error:
        # One that expected what it found was refused for another reason, which it tells.
        _fail(_MEANWHILE.format(error.task_id) if error.expected != error.found else error, 1)
    except (ModelError, DamagedError) as error:
        _fail(error, 1)
    except BackcastError as error:
        _fail(error, 2)


_MEANWHILE = (
    "task {!r}: another process wrote to it at the same time, so this command stopped; run it again"
    " when the other has ended (what stands already is not written twice)"
)


def _fail(error: Exception | str, code: int) -> None:
    message(error)
    sys.exit(code)


def _give_up_output() -> None:
    """What is still in the buffer would be written, and told of, at the very end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Commands(click.Group):
    """Commands that end quietly where nobody reads on, as `head` does not after ten lines."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            pass
        except click.UsageError as error:
            told = error.format_message()
            if escaped_lines(told) == told:
                raise
            raise click.UsageError(in_a_line(told), error.ctx) from None
        except SystemExit as end:
            # rich ends with 1 by itself.
            if not isinstance(end.__context__, BrokenPipeError):
                raise
        _give_up_output()
        sys.exit(UNREAD)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="backcast")
def cli() -> None:
    """An append-only log of what code-generation workflows do, and its state at any moment.

    \b
    backcast import git .                                   # this repository's history
    backcast log --task backcast --type MODULE_DELETED      # what was deleted, when, by whom
    backcast show versions --task backcast --at 2026-11-20  # the modules as they were then
    """


@cli.group(name="import")
def import_group() -> None:
    """Take over a foreign log. Importing again adds only what is new.

    What cannot be taken is told on stderr, line by line, and the rest is imported. The exit code is
    1 where that happens in Backcast's own lines (events), or where nothing could be taken.

    \b
    backcast import git ~/src/httpx --task httpx
    backcast import swe-agent run.traj --store sqlite:///runs.db
    """


def _importer(name: str, help: str) -> None:
    def outlines(command: Callable[..., Any]) -> Callable[..., Any]:
        return (
            command
            if name != "git"
            else click.option(
                "--outlines/--no-outlines",
                default=True,
                show_default=True,
                help="Outline the sources at once; else when a command first asks for it.",
            )(command)
        )

    @import_group.command(name=name, help=help)
    @click.argument("path", type=click.Path(path_type=Path))
    @store_option
    @click.option("--task", metavar="TASK", help="The task to import as; else named by the log.")
    @json_option
    @outlines
    def command(path: Path, url: str, task: str | None, as_json: bool, **more: bool) -> None:
        from backcast.engine.interfaces.terminal import progress_bar
        from backcast.engine.memory.import_log import counted, run

        counted(name, path)  # before a store is made
        with opened(url, create=True) as store:
            report = run(
                store,
                name,
                path,
                task,
                processes=os.cpu_count() or 1,
                progress=progress_bar,
                **more,
            )
        _tell(report, as_json)
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
    "inspect": "An Inspect AI evaluation log (JSON).",
}.items():
    _importer(_name, _help)


def _tell(report: "Report", as_json: bool) -> None:
    for note in report.notes:
        message(f"note: {note}")
    for line in report.skipped[:20]:
        message(f"skipped {line}")
    if len(report.skipped) > 20:
        message(f"and {len(report.skipped) - 20} more skipped")
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


@cli.command()
@store_option
@click.option("--task", metavar="TASK", help="Only this task; else the whole store.")
@moment_options
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only these; may be repeated.")
@click.option("--follow", is_flag=True, help="Wait for more, until interrupted.")
@json_option
def log(
    url: str,
    task: str | None,
    types: tuple[str, ...],
    follow: bool,
    as_json: bool,
    **moment: Any,
) -> None:
    """Print events in log order.

    \b
    backcast log --task backcast --at commit:4fd36e1 --type COMMITTED
    """
    from backcast.engine.history.moments import moment_of
    from backcast.engine.interfaces.views import event_json, event_line

    if follow and any(value is not None for value in moment.values()):
        raise click.UsageError("--follow waits for what is to come: it takes no moment")
    with opened(url) as store:
        if task is not None and not follow:
            store.require(task)
        at = moment_of(store, task, **moment)
        kinds = [kind.upper() for kind in types]
        events = (
            store.follow(task, types=kinds) if follow else store.read(task, moment=at, types=kinds)
        )
        found = False
        for event in events:
            found = True
            click.echo(event_json(event) if as_json else event_line(event))
            if follow:
                sys.stdout.flush()
        if kinds and not found:
            message(f"note: no event of type {', '.join(kinds)} by then")


@cli.group(name="show")
def show_group() -> None:
    """The state of a task at a moment, one sub-command a projection.

    \b
    backcast show progress --task task-abc123 --at 2026-11-20T10:31
    """


def _projection(name: str, projection: str, help: str) -> None:
    whole = click.option(
        "--task", metavar="TASK", help="The store is asked as a whole.", hidden=True
    )

    @show_group.command(name=name, help=help)
    @store_option
    @(whole if name in OF_STORE else task_option)
    @moment_options
    @json_option
    def command(url: str, task: str | None, as_json: bool, **moment: Any) -> None:
        from backcast.engine.history.moments import moment_of
        from backcast.engine.history.snapshots import state_at
        from backcast.engine.history.state_json import plain
        from backcast.projections import BY_NAME

        with opened(url) as store:
            if task is not None:
                store.require(task)
            at = moment_of(store, task, **moment)
            state = state_at(store, BY_NAME[projection], task, at)
        if as_json:
            click.echo(json_text(plain(state)))
            return
        from backcast.engine.interfaces.views import console, show

        show(name, state, console())


for _name, (_folded, _help) in PROJECTIONS.items():
    _projection(_name, _folded, _help)
for _command in knowing.SHOWN:
    show_group.add_command(_command)
_ROOMS = (
    running, branching, knowing, contexts, replaying, diffing, blaming, regressing, auditing,
    exporting, mapping,
)  # fmt: skip
for _room in _ROOMS:
    for _command in _room.COMMANDS:
        cli.add_command(_command)


@cli.command()
@store_option
@json_option
def tasks(url: str, as_json: bool) -> None:
    """List the tasks in the store; of a branch, what it is one of."""
    from backcast.engine.history.branches import branches
    from backcast.engine.interfaces.views import one_line

    with opened(url) as store:
        forked = branches(store)
        for task in store.tasks():
            told: dict[str, Any] = {"task_id": task, "events": store.version(task)}
            line = f"{told['events']:>8}  {one_line(task, 200)}"
            if one := forked.get(task):
                told |= {"origin": one.origin, "version": one.version}
                line += f"  (branch of {one_line(one.origin, 200)} up to event {one.version})"
            click.echo(json_text(told) if as_json else line)


@cli.command()
@store_option
@click.argument("ref", metavar="REF")
@moment_options
def cat(url: str, ref: str, **moment: Any) -> None:
    """Write the body of a blob to stdout, or the text of a module or a part of it as it was then.

    In a path, %23 stands for # and %25 for %.

    \b
    backcast cat blob:6ca13d52ca70c883e0f0bb101e425a89e8624de51db2d2392593af6a84118090
    backcast cat storage://task-abc123/validators.py#L4-L9 --at 2026-11-20T10:03
    backcast cat storage://task-abc123/validators.py#validate_email
    """
    from backcast.domain.node import parse_reference
    from backcast.engine.history.moments import moment_of
    from backcast.engine.history.source_text import text_of

    with opened(url) as store:
        if ref.startswith("storage:"):
            reference = parse_reference(ref)
            at = moment_of(store, reference.task_id, **moment)
            body = text_of(store, reference, at)
        else:
            body = _blob(store, ref)
        hand_on_bytes(body)


def _blob(store: "EventStore", ref: str) -> bytes:
    try:
        if not store.holds(ref):
            raise InputError(f"{ref[:71]} is not in this store")
        return store.get(ref)
    except ValueError as error:
        raise InputError(str(error)) from None


@cli.command()
@store_option
@json_option
def fsck(url: str, as_json: bool) -> None:
    """Read everything, and name each row and blob that is not what was written."""
    from backcast.engine.interfaces.terminal import progress_bar
    from backcast.engine.log.fsck import check, size

    with opened(url) as store, progress_bar("checking", size(store)) as advance:
        found = 0
        for damage in check(store, advance):
            found += 1
            click.echo(json_text({"damage": damage}) if as_json else escaped(str(damage)))
    if not as_json:
        click.echo(f"{found} damaged" if found else "clean", err=True)
    sys.exit(1 if found else 0)
