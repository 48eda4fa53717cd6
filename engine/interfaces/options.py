"""Options that commands share, and the store that they open."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backcast.domain.errors import InputError
from backcast.engine.interfaces.terminal import message

if TYPE_CHECKING:
    from backcast.engine.log.engines import WorkEngine
    from backcast.engine.log.store import EventStore

DEFAULT_STORE = "sqlite:///backcast.db"
STORE_VARIABLE = "BACKCAST_STORE"


def _named(context: click.Context, option: click.Parameter, url: str) -> str:
    """Return a store's URL; refuse an empty variable, which click takes for none."""
    source = context.get_parameter_source(option.name or "")
    if source is click.core.ParameterSource.DEFAULT and os.environ.get(STORE_VARIABLE) == "":
        raise InputError(
            f"{STORE_VARIABLE}: needed the URL of a store, found an empty text: set it, or unset it"
        )
    if url.startswith("sqlite:///"):
        return url
    from backcast.engine.log.recorder.addresses import store_url

    return store_url(url)


def default_store() -> str:
    """Return the URL of the store that commands open where none is named."""
    return os.environ.get(STORE_VARIABLE) or DEFAULT_STORE


def store_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --store to a command."""
    return click.option(
        "--store",
        "url",
        envvar=STORE_VARIABLE,
        callback=_named,
        default=DEFAULT_STORE,
        metavar="URL",
        help="FILE.db or a URL; else BACKCAST_STORE, or backcast.db.",
    )(command)


def in_order(command: click.Command) -> None:
    """Put --store behind what is a command's own, and name bare numbers N."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            in_order(inner)
    command.params.sort(key=lambda option: option.name == "url" and "--store" in option.opts)
    for option in command.params:
        if isinstance(option.type, click.IntRange) and option.metavar is None:
            option.metavar = "N"


def last_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --last to a command that takes steps of histories."""
    return click.option("--last", type=click.IntRange(1), metavar="N",
                        help="Of each history only its last N changes.")(command)  # fmt: skip


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --json to a command."""
    return click.option("--json", "as_json", is_flag=True, help="For programs.")(command)


def plot_option(draws: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option --plot, which says what it draws."""
    return click.option(
        "--plot", type=click.Path(path_type=Path, dir_okay=False), callback=_drawn,
        metavar="FILE.svg", help=f"Also draw {draws}.",
    )  # fmt: skip


def _drawn(context: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    """Return the file of a picture; refuse one that would not be opened as such."""
    if path is not None and path.suffix != ".svg":
        raise click.UsageError(f"--plot: needed a file that ends in .svg, found {str(path)!r}")
    return path


def on_option(default: str | None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option --on; without a default the work is done in this process."""
    return click.option(
        "--on",
        default=default,
        show_default=True,
        metavar="ENGINE",
        help="processes, dask://HOST:8786, package.module:make: 'backcast help scale'.",
    )


def processes_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --processes to a command that works in its own process where there is no --on."""
    return click.option("--processes", type=click.IntRange(1), metavar="N",
                        help="Of --on processes: as many as there are cores.")(command)  # fmt: skip


def check_on(on: str | None, processes: int | None, seconds: float | None = None) -> None:
    """Refuse options that do not fit to --on, or to its absence."""
    if on is None and processes is not None:
        raise click.UsageError("--processes: needed --on processes, found no --on")
    if on is not None and seconds is not None:
        raise click.UsageError("--seconds: needed no --on beside it: --sample N reads less there")


@contextmanager
def engine_on(name: str, processes: int | None = None) -> "Iterator[WorkEngine]":
    """Open the engine of --on; processes here start when there is work."""
    from backcast.engine.log.engines import PROCESSES, engine_at

    if name != PROCESSES and processes is not None:
        raise click.UsageError(f"--processes: needed --on {PROCESSES}, found --on {name}")
    with engine_at(name, processes or os.cpu_count() or 1) as engine:
        yield engine


def _tidied(url: str) -> AbstractContextManager[None]:
    from backcast.engine.log.recorder.unused import removed_if_unused

    return removed_if_unused(url)


@contextmanager
def opened(url: str, *, create: bool = False) -> Iterator["EventStore"]:
    """Open the store at a URL; each damaged row that is met is reported on stderr, once.

    A store that is made here, and to which nothing is written, is removed at the end. `InputError`
    for a store that no later command would find.
    """
    from backcast.engine.log.recorder import check_kept
    from backcast.engine.log.rows import DamageReporter
    from backcast.engine.log.store import EventStore

    check_kept(url)
    with _tidied(url) if create else nullcontext(), EventStore.open(url, create=create) as store:
        store.report = DamageReporter(lambda damage: message(f"skipped {damage}"))
        yield store
