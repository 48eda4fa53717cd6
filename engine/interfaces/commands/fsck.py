"""`backcast fsck`: find what is damaged."""

import sys
from contextlib import suppress

import click

from backcast.domain.errors import BackcastError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.options import json_option, opened, store_option
from backcast.engine.interfaces.terminal import escaped, note_faults, say


@click.command(name="fsck")
@store_option
@json_option
def command(url: str, as_json: bool) -> None:
    """Find damaged events and blobs.

    Tasks that came by an importer with a known fault are noted, on stderr or as lines with "note":
    they are as they were written, so the exit code tells only of damage.

    \b
    backcast fsck
    backcast fsck --store runs.db
    """
    from backcast.engine.interfaces.terminal import progress_bar
    from backcast.engine.log.fsck import check, size

    with opened(url) as store, progress_bar("checking", size(store)) as advance:
        count = 0
        for damage in check(store, advance):
            count += 1
            say(json_text({"damage": damage}) if as_json else escaped(str(damage)))
        store.report = lambda damage: None  # it is among the lines above
        with suppress(BackcastError):
            note_faults(store, store.tasks(), as_json)
    if as_json:
        say(json_text({"damaged": count, "exit_code": 1 if count else 0}))
    else:
        say(f"{count} damaged" if count else "clean", err=True)
    sys.exit(1 if count else 0)
