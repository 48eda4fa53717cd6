"""`backcast fsck`: find what is damaged."""

import sys

import click

from backcast.domain.json_text import json_text
from backcast.engine.interfaces.options import json_option, opened, store_option
from backcast.engine.interfaces.terminal import escaped


@click.command(name="fsck")
@store_option
@json_option
def command(url: str, as_json: bool) -> None:
    """Find damaged events and blobs."""
    from backcast.engine.interfaces.terminal import progress_bar
    from backcast.engine.log.fsck import check, size

    with opened(url) as store, progress_bar("checking", size(store)) as advance:
        count = 0
        for damage in check(store, advance):
            count += 1
            click.echo(json_text({"damage": damage}) if as_json else escaped(str(damage)))
    if not as_json:
        click.echo(f"{count} damaged" if count else "clean", err=True)
    sys.exit(1 if count else 0)
