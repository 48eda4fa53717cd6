"""`backcast compare`: the modules of a run against a repository."""

import sys
from pathlib import Path

import click

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address, parse
from backcast.engine.interfaces.addresses import address_argument, require, task_at
from backcast.engine.interfaces.empty import FILLED_BY, note_empty
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.terminal import message, say


@click.command(name="compare")
@address_argument()
@click.argument("other", metavar="FOLDER|TASK[@WHEN]")
@store_option
@json_option
def command(address: Address, other: str, url: str, as_json: bool) -> None:
    """Do the modules of a run stand in a repository as its log tells them?

    OTHER is the repository's folder, or another task of the store, such as an imported history.
    Each module that the run has changed or read is the same, differs from some line on, has a text
    that the log does not hold, or is in one of them only. Ends with 1 where a known text is not
    that of the repository.

    \b
    backcast compare till ~/src/shop
    backcast compare till httpx@commit:a226c60
    """
    from backcast.engine.history import compared_modules as compared
    from backcast.engine.history.moments import moment_at
    from backcast.engine.history.state_json import plain
    from backcast.engine.interfaces.views import console, table

    with task_at(address, url) as place:
        if Path(other).is_dir():
            text = compared.in_folder(Path(other))
        else:
            at = parse(other)
            if at.log or at.task is None:
                raise InputError(f"needed a folder or a task of the store, found {other!r}")
            require(place.store, at)
            moment = moment_at(place.store, at.task, at.when)
            text = compared.in_task(place.store, at.task, moment)
        found = list(compared.compared_modules(place.store, place.task, place.moment, text))
        if not found:
            note_empty(place.store, place.task, place.moment, *FILLED_BY["versions"])
    if as_json:
        for verdict in found:
            say(json_text(plain(verdict)))
    else:
        rows = [(v.path, v.verdict, v.line or "", v.reason or v.ours, v.theirs) for v in found]
        table(console(), ("module", "verdict", "line", "by the log", "there"), rows)
    counts = {v.verdict: sum(w.verdict == v.verdict for w in found) for v in found}
    if found:
        message(", ".join(f"{counts[verdict]} {verdict}" for verdict in sorted(counts)))
    wrong = {compared.DIFFERS, compared.MISSING, compared.EXTRA}
    sys.exit(1 if wrong & counts.keys() else 0)
