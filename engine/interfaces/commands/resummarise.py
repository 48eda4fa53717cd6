"""`backcast resummarise`: ask a model for the summaries that are missing or stale."""

import click

from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import address_argument, task_at
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.terminal import message


@click.command(name="resummarise")
@address_argument()
@store_option
@click.option("--summariser", required=True, metavar="answers:FILE",
              help="Who is asked: recorded answers, llama:FILE, a URL; or extractive.")  # fmt: skip
@click.option("--tokenizer", default="upper-bound", show_default=True, metavar="NAME",
              help="Whose tokens are counted: mistral-v3, gguf:FILE, server:URL, ...")  # fmt: skip
@click.option("--node", "nodes", multiple=True, metavar="NODE", help="Only these; repeatable.")
@json_option
def command(
    address: Address, url: str, summariser: str, tokenizer: str, nodes: tuple[str, ...],
    as_json: bool,
) -> None:  # fmt: skip
    """Ask a model for summaries that are missing or stale.

    Older moments keep the summaries that they had. A summary that still holds is not asked for
    again; nodes that the model fails on keep what they had, and are named on stderr (exit code 1).
    Extractive summaries are derived at each question, hence never missing or stale, and not
    recorded.

    \b
    backcast resummarise backcast --summariser answers:answers.jsonl \\
        --node module:domain/clock.py --tokenizer mistral-v3

    'backcast help recordings' has the form of recorded answers.
    """
    from backcast.engine.interfaces.summaries import nodes_of, summariser_of
    from backcast.engine.interfaces.terminal import progress_bar
    from backcast.engine.memory.resummarise import resummarise
    from backcast.engine.models.tokenizers import tokenizer_of

    asked, counter = summariser_of(summariser), tokenizer_of(tokenizer)
    with task_at(address, url) as place:
        at = place.outlined()
        wanted = list(nodes) or list(nodes_of(place.store, place.task, at))
        with progress_bar("summing up", len(wanted)) as advance:
            result = resummarise(
                place.store, place.task, asked, wanted, at, counter, progress_of=advance
            )
    if asked.derived:
        message(
            "note: extractive summaries are derived, and not recorded: 'backcast show summaries"
            f" {place.task}'"
        )
    elif not counter.exact:
        message(f"note: tokens are counted by an {counter.id}")
    for node, problem in result.failed:
        message(f"{node}: {problem}")
    if as_json:
        click.echo(json_text(result._asdict()))
    else:
        click.echo(f"wrote {result.written}, {result.kept} still hold, {len(result.failed)} failed")
    raise SystemExit(1 if result.failed else 0)
