"""The command line. Data goes to stdout, messages to stderr.

Exit codes are 0; 1 where the work was done and something was found, or it failed on its way; 2
where it could not be begun: the input, or the store, is not what was needed; and 130 and 141, as of
any tool that a signal ends, after Ctrl-C and where the reader of the output has left.

Each command is a file under `commands`, imported when it is named, and imports what is slow itself.
"""

import errno
import gc
import logging
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NoReturn

import click

from backcast.domain.errors import (
    BackcastError,
    ConflictError,
    DamagedError,
    ModelError,
    WorkerError,
)
from backcast.engine.interfaces.installed import check_installation
from backcast.engine.interfaces.options import in_order
from backcast.engine.interfaces.terminal import in_a_line, message

COMMANDS = {
    "run": "run", "resume": "resume", "dispatch": "dispatch", "record": "record",
    "import": "import_", "export": "export",
    "tasks": "tasks", "log": "log", "show": "show", "stats": "stats", "context": "context",
    "diff": "diff", "view": "view", "compare": "compare", "blame": "blame", "audit": "audit",
    "search": "search", "ask": "ask", "mcp": "mcp",
    "stale": "stale", "verify": "verify", "regress": "regress", "score": "score",
    "influence": "influence", "fit": "fit", "policy": "policy", "fork": "fork", "map": "map",
    "cat": "cat", "outline": "outline", "resummarise": "resummarise", "redact": "redact",
    "fsck": "fsck",
    "help": "help",
}  # fmt: skip
"The module of each command."
GROUPS = {
    "Record": ("run", "resume", "dispatch", "record", "import", "export", "fork"),
    "Look": (
        "tasks", "log", "show", "context", "diff", "blame", "audit", "view", "search", "ask",
        "stats", "cat", "compare",
    ),
    "Test": ("verify", "regress", "score", "influence", "fit", "policy"),
    "Keep": ("map", "stale", "outline", "resummarise", "redact", "fsck"),
    "More": ("mcp", "help"),
}  # fmt: skip
"The commands as --help lists them."
OUTPUT_FAILS = (errno.EPIPE, errno.EBADF, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
WIDEST = 200
"Characters of a command's sentence in the list, above all of them."
UNREAD = 128 + 13
"The exit code of a process that SIGPIPE ends, as shells report it."
INTERRUPTED = 128 + 2
"The exit code of a process that SIGINT ends."
_INTERRUPTED = "interrupted by Ctrl-C"
_STORING = (
    "run", "resume", "dispatch", "record", "import", "map", "outline", "resummarise", "search",
    "ask", "mcp",
)  # fmt: skip
"The commands that store what they have on their way."
_LOST = dict.fromkeys(
    ("regress", "verify"), "nothing of it is kept: with --report FILE.jsonl it goes on where it was"
) | dict.fromkeys(("export", "view"), "nothing was written")
_MEANWHILE = (
    "task {!r}: another process wrote to it at the same time, so this command stopped; run it again"
    " when the other has ended (events that are written already are not written twice)"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; an error of ours is one line, and so is a warning."""
    if logging.lastResort:  # prints what no handler of the program that holds us takes
        logging.lastResort.setFormatter(logging.Formatter("backcast: %(message)s"))
    try:
        try:
            check_installation()
            cli(arguments, prog_name="backcast")
        finally:
            if sys.stdout:  # None where it was closed
                sys.stdout.flush()  # what fails only at the very end could not be reported
            if arguments is None:
                # Python searches all that is left for cycles before it ends: a sixth of the time.
                gc.freeze()
    except OSError as error:
        if error.errno not in OUTPUT_FAILS:
            raise
        _give_up_output()
        if isinstance(error, BrokenPipeError):
            sys.exit(UNREAD)
        _fail(f"the output cannot be written: {error.strerror}", 2)
    except ConflictError as error:
        # Where it expected what it found, the refusal has another reason, which it names.
        _fail(_MEANWHILE.format(error.task_id) if error.expected != error.found else error, 1)
    except (ModelError, DamagedError, WorkerError) as error:
        _fail(error, 1)
    except BackcastError as error:
        _fail(error, 2)
    except KeyboardInterrupt:
        _fail(_INTERRUPTED, INTERRUPTED)


def _interrupted(command: str) -> str:
    """Return what Ctrl-C left of a command's work, in a line."""
    kept = "what was stored stays" if command in _STORING else _LOST.get(command, "")
    return f"{_INTERRUPTED}; {kept}" if kept else _INTERRUPTED


def _fail(error: Exception | str, code: int) -> NoReturn:
    message(error)
    sys.exit(code)


def _give_up_output() -> None:
    """Drop what is still in the buffer: else it would be written, and fail, at the very end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _misused(error: click.UsageError) -> NoReturn:
    """End with what was wrong in a line; where a command of several is not named, with its help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        raise error
    asked = error.ctx.command_path if error.ctx else "backcast"
    _fail(f"{in_a_line(error.format_message())} ('{asked} --help')", error.exit_code)


class _Commands(click.Group):
    """Commands that are imported when they are named, and end quietly where nobody reads on."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the options in front of a command."""
        try:
            return super().make_context(*args, **extra)
        except click.UsageError as error:
            _misused(error)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of a run's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command of a name."""
        if name not in COMMANDS:
            return None
        module = import_module(f"backcast.engine.interfaces.commands.{COMMANDS[name]}")
        found: click.Command = module.command
        in_order(found)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in groups, each with a whole sentence."""
        for title, names in GROUPS.items():
            found = ((name, self.get_command(ctx, name)) for name in names)
            rows = [(name, one.get_short_help_str(WIDEST)) for name, one in found if one]
            with formatter.section(title):
                formatter.write_dl(rows)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the command that is named first; where there is none, say which are near."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS, 3, 0.5)
            hint = f"; near it: {', '.join(near)}" if near else ""
            raise click.UsageError(f"no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        interrupted = False
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            pass
        except KeyboardInterrupt:
            interrupted = True  # outside of this block, for all that was under way to be closed
        except click.UsageError as error:
            _misused(error)
        except SystemExit as end:
            # rich ends with 1 by itself.
            if not isinstance(end.__context__, BrokenPipeError):
                raise
        if interrupted:
            _fail(_interrupted(ctx.invoked_subcommand or ""), INTERRUPTED)
        _give_up_output()
        sys.exit(UNREAD)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="backcast")
def cli() -> None:
    """Record every prompt of a code-generation run; rebuild, explain and test it later.

    A task, and a moment of it, is named by its address, TASK[@WHEN]: 'backcast help moments'.

    \b
    backcast import git .                                # this repository's history
    backcast log backcast --type MODULE_DELETED          # what was deleted, when, by whom
    backcast show versions backcast@2026-11-20           # the modules as they were then
    """
