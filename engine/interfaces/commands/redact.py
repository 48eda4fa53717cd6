"""`backcast redact`: strike secrets out of a store itself."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.commands.export import patterns_named
from backcast.engine.interfaces.options import json_option, opened, store_option
from backcast.engine.interfaces.terminal import message, progress_bar, say

if TYPE_CHECKING:
    from backcast.engine.log.redaction.striking import Struck


@click.command(name="redact")
@click.argument("task", metavar="TASK")
@store_option
@click.option("--in-place", is_flag=True, help="Strike it out; without this, tell what would be.")
@click.option("--pattern", "patterns", multiple=True, metavar="REGEX",
              help="Strike out what matches in TASK, and nothing else.")  # fmt: skip
@click.option(
    "--patterns", "pattern_file", type=click.Path(path_type=Path), metavar="FILE",
    help="The same: one a line, # begins a comment line.",
)  # fmt: skip
@json_option
def command(
    task: str, url: str, in_place: bool, patterns: tuple[str, ...], pattern_file: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Strike secrets out of the store in which they stand. What is struck out is gone.

    \b
    backcast redact recorded --pattern 'ACME-[0-9]{6}'             # tells what would be struck
    backcast redact recorded --pattern 'ACME-[0-9]{6}' --in-place

    Without a pattern, keys, tokens and passwords of TASK that show as such are struck, if they are
    so unusual that they stand nowhere else by chance. Each is struck wherever it stands in the
    store, in other tasks too. No other process may have the store open: 'backcast help redaction'.
    """
    from backcast.engine.interfaces.proxy.left_behind import write_left_behind
    from backcast.engine.log.recorder import check_kept
    from backcast.engine.log.recorder.addresses import scheme_of, sqlite_file
    from backcast.engine.log.recorder.rewriting import rewriting
    from backcast.engine.log.redaction.striking import secrets_of, strike

    check_kept(url)
    if scheme_of(url) != "sqlite":
        raise InputError(
            "redact: needed a store in a SQLite file, found PostgreSQL, which keeps old rows in"
            " files of its own: 'backcast export --redact' writes a copy without secrets"
        )
    named = patterns_named(patterns, pattern_file) if patterns or pattern_file else None
    with opened(url) as store:
        store.require(task)
        if written := write_left_behind(store, url):
            message(f"note: {written} exchanges that a killed proxy left are recorded now")
        found = secrets_of(store, task, named)
    path = sqlite_file(url)
    with progress_bar("striking", None) as advance, rewriting(path, keep=in_place) as recorder:
        struck = strike(recorder, found, advance)
    _print(struck, in_place=in_place, as_json=as_json)


def _print(struck: "Struck", *, in_place: bool, as_json: bool) -> None:
    """Say what was struck, and never what it was."""
    if as_json:
        say(json_text(struck._asdict() | {"in_place": in_place}))
        return
    said = "struck out" if in_place else "would be struck out"
    if not struck.masks:
        say("nothing to strike out")
    for mask, count in sorted(struck.masks.items()):
        say(f"{mask}: {said} of {count} places")
    for name, versions in sorted(struck.events.items()):
        shown = ", ".join(map(str, versions[:20])) + (", ..." if len(versions) > 20 else "")
        say(f"{name}: {len(versions)} events: {shown}")
    if struck.unread:
        message(f"{struck.unread} answers are compressed in a way that is not looked into")
    if struck.masks and not in_place:
        message("nothing was changed: --in-place strikes it out")
