"""`backcast stats`: what the calls of a run cost, and what they were shown."""

from pathlib import Path

import click

from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import address_argument, task_at
from backcast.engine.interfaces.options import json_option, plot_option, store_option
from backcast.engine.interfaces.profiles import TOKENIZERS
from backcast.engine.interfaces.terminal import message, say


@click.command(name="stats")
@address_argument()
@store_option
@plot_option("the tokens of each prompt, and what was kept of it")
@click.option("--tokenizer", metavar="NAME",
              help=f"Counts what the log does not: {TOKENIZERS}.")  # fmt: skip
@json_option
def command(
    address: Address, url: str, plot: Path | None, tokenizer: str | None, as_json: bool
) -> None:
    """Sum up a run's calls: tokens and time by kind, hits and misses, prefixes, what was shown.

    \b
    backcast stats fixtures/logs/till.jsonl@120
    backcast stats fixtures/recorded/agent.jsonl --plot run.svg

    Of an agent's run the second table tells what filled its prompts, and the third what it read
    again: where, what became of it since, and how many tokens prompts carried twice.

    Of runs of our own, recorded and imported ones. Seconds are those that each answer states, of a
    replayed one those of its first run; what our clock measured is in 'backcast show spending'.
    What the log does not tell is left out, and named in the last line.
    """
    from backcast.engine.interfaces.empty import note_empty
    from backcast.engine.interfaces.foreign_prompts import noted_count
    from backcast.engine.interfaces.plots import run_plot, write_plot
    from backcast.engine.interfaces.reads_text import again_lines, again_rows
    from backcast.engine.interfaces.run_stats import (
        gathered,
        kind_rows,
        section_rows,
        stats_json,
        stats_lines,
    )
    from backcast.engine.interfaces.terminal import escaped
    from backcast.engine.interfaces.views import console, table

    with task_at(address, url) as place:
        found = gathered(place, noted_count(tokenizer))
        if not found.kinds:
            if any(place.store.read(place.task, types=["DISPATCH_STARTED"])):
                message(
                    f"note: calls of agents are in tasks of their own, {escaped(place.task)}.1"
                    f" and on; 'backcast show spending {escaped(place.task)}' sums them up"
                )
                return
            note_empty(
                place.store, place.task, place.moment, "call", ("STEP_STARTED", "MODEL_REPLIED")
            )
    if plot is not None:
        write_plot(plot, run_plot(found.task, found.prompts))
        message(f"drew {len(found.prompts):,} prompts into {plot}")
    if as_json:
        say(json_text(stats_json(found)))
        return
    if not found.kinds:
        return
    for rows in (kind_rows(found), section_rows(found), again_rows(found)):
        head, *rest = rows
        table(console(), head, rest)
    for line in (*again_lines(found), *stats_lines(found)):
        say(escaped(line))
