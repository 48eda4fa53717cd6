"""Options that commands share, and the store that they open."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from backcast.engine.interfaces.terminal import message

if TYPE_CHECKING:
    from backcast.engine.log.store import EventStore

DEFAULT_STORE = "sqlite:///backcast.db"


def store_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--store."""
    return click.option(
        "--store",
        "url",
        envvar="BACKCAST_STORE",
        default=DEFAULT_STORE,
        show_default=True,
        metavar="URL",
        help="sqlite:///FILE, or postgresql://USER@HOST/NAME where several machines write."
        " Also BACKCAST_STORE.",
    )(command)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="For programs.")(command)


def moment_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--at, --before, --known-at, --position."""
    for option in (
        click.option(
            "--position", type=click.IntRange(0), help="As known at this position of the log."
        ),
        click.option("--known-at", metavar="TIME", help="As known at this time of recording."),
        click.option("--before", metavar="commit:SHA", help="Before this commit."),
        click.option("--at", metavar="TIME", help="What had happened by then, or commit:SHA."),
    ):
        command = option(command)
    return command


task_option = click.option("--task", required=True, metavar="TASK", help="See 'backcast tasks'.")


def refuse_others(allowed: Collection[str], beside: str) -> None:
    """A usage error where the command was given an option that has no meaning beside another."""
    context = click.get_current_context()
    for option in context.command.params:
        told = context.get_parameter_source(option.name or "")
        if told is ParameterSource.COMMANDLINE and option.name not in allowed:
            raise click.UsageError(f"{option.opts[0]} has no meaning beside {beside}")


@contextmanager
def opened(url: str, *, create: bool = False) -> Iterator["EventStore"]:
    """The store at a URL; each damaged row that is met is told on stderr, once."""
    from backcast.engine.log.rows import DamageReporter
    from backcast.engine.log.store import EventStore

    with EventStore.open(url, create=create) as store:
        store.report = DamageReporter(lambda damage: message(f"skipped {damage}"))
        yield store
