"""`backcast stale`: which summaries no longer hold, and why."""

from collections import Counter

import click

from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import address_argument, task_at
from backcast.engine.interfaces.empty import FILLED_BY, note_empty
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.profiles import policy_by, policy_option
from backcast.engine.interfaces.terminal import escaped, say


@click.command(name="stale")
@address_argument()
@store_option
@click.option("--since", metavar="WHEN", help="Ask the extractive summaries of then: commit:SHA.")
@policy_option()
@json_option
def command(
    address: Address, url: str, since: str | None, policy_name: str | None, as_json: bool
) -> None:
    """Print every summary that no longer holds, and the proof.

    Without --since, the summaries that somebody wrote are asked: by the digests of what they were
    made of, else by the clock that they name, and by their time to live, or that of a policy.
    Ends with 0 either way. Of a prompt of another program, it is the files that it shows otherwise
    than they are by then, as far as the log follows them.

    \b
    backcast stale history
    backcast stale history@commit:9b1c2d3 --since commit:4fd36e1
    """
    from backcast.engine.history.moments import moment_at
    from backcast.engine.history.snapshots import state_at
    from backcast.engine.history.staleness import stale as stale_at
    from backcast.engine.history.state_json import plain
    from backcast.engine.interfaces.foreign_prompts import is_foreign, print_old
    from backcast.engine.interfaces.outlining import need_outlines
    from backcast.engine.interfaces.step_prompts import at_prompt
    from backcast.projections import summaries

    with task_at(address, url) as place:
        if since is None and is_foreign(place):
            print_old(at_prompt(place), as_json=as_json)
            return
        at = place.outlined()
        begin = moment_at(place.store, place.task, since) if since else None
        if begin is not None:
            need_outlines(place.store, place.task, begin, "--since")
            need_outlines(place.store, place.task, at)
        found = stale_at(place.store, place.task, at, begin, policy_by(policy_name).lives)
        if not (found or begin or state_at(place.store, summaries, place.task, at).nodes):
            note_empty(place.store, place.task, at, *FILLED_BY["summaries"])
    for proof in found:
        say(json_text(plain(proof)) if as_json else escaped(str(proof)))
    if not as_json:
        counts = Counter(one.by for one in found)
        parts = ", ".join(f"{counts[by]} by {by}" for by in sorted(counts))
        # By digest is the usual.
        usual = counts.keys() <= {summaries.DIGEST}
        say(f"{len(found)} stale" + ("" if usual else f": {parts}"), err=True)
