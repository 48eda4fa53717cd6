"""Options that commands share, and the store that they open."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from backcast.engine.interfaces.terminal import message

if TYPE_CHECKING:
    from backcast.engine.log.store import EventStore

DEFAULT_STORE = "sqlite:///backcast.db"


def store_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --store to a command."""
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
    """Add --json to a command."""
    return click.option("--json", "as_json", is_flag=True, help="For programs.")(command)


@contextmanager
def opened(url: str, *, create: bool = False) -> Iterator["EventStore"]:
    """Open the store at a URL; each damaged row that is met is reported on stderr, once."""
    from backcast.engine.log.rows import DamageReporter
    from backcast.engine.log.store import EventStore

    with EventStore.open(url, create=create) as store:
        store.report = DamageReporter(lambda damage: message(f"skipped {damage}"))
        yield store
