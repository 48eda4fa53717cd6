"""`backcast resummarise`: ask a model for the summaries that are missing or stale."""

import click

from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import address_argument, task_at
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.terminal import message, say


@click.command(name="resummarise")
@address_argument()
@store_option
@click.option("--model", "--summariser", "model", required=True, metavar="MODEL",
              help="answers:FILE, llama:FILE or a URL, as of run; or extractive.")  # fmt: skip
@click.option("--profile", metavar="NAME", help="Of a server that does not tell how it counts.")
@click.option("--tokenizer", metavar="NAME",
              help="Whose tokens are counted; else the model's own: gguf:FILE, ...")  # fmt: skip
@click.option("--window", type=click.Choice(["8k", "32k"]), help="Limits of such models.")
@click.option("--node", "nodes", multiple=True, metavar="NODE", help="Only these; repeatable.")
@json_option
def command(
    address: Address, url: str, model: str, profile: str | None, tokenizer: str | None,
    window: str | None, nodes: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Ask a model for summaries that are missing or stale.

    Older moments keep the summaries that they had. A summary that still holds is not asked for
    again. What a model writes is held against the code: a field that names a parameter, a name, an
    exception or a dependency that is not there is left out, and told on stderr. Nodes that the
    model fails on keep what they had, and are named on stderr (exit code 1). Extractive summaries
    are derived at each question, hence never missing or stale, and not recorded.

    \b
    backcast resummarise history --model answers:answers.jsonl --node module:domain/clock.py
    backcast resummarise till --model llama:/models/Qwen3-8B-Q4_K_M.gguf
    backcast resummarise till --model http://127.0.0.1:8080/v1

    'backcast help recordings' has the form of recorded answers.
    """
    from backcast.domain.summary import LIMITS, LIMITS_BY_WINDOW
    from backcast.engine.interfaces.summaries import nodes_of, summariser_of
    from backcast.engine.interfaces.terminal import progress_bar
    from backcast.engine.memory.resummarise import resummarise
    from backcast.engine.models.tokenizers import tokenizer_of

    asked, own = summariser_of(model, profile)
    counter = tokenizer_of(tokenizer or own)
    limits = LIMITS_BY_WINDOW[window] if window else LIMITS
    refused: list[tuple[str, str]] = []
    with task_at(address, url) as place:
        at = place.outlined()
        wanted = list(nodes) or list(nodes_of(place.store, place.task, at))
        with progress_bar("summing up", len(wanted)) as advance:
            result = resummarise(
                place.store, place.task, asked, wanted, at, counter, limits,
                progress_of=advance, refused=lambda *field: refused.append(field),
            )  # fmt: skip
    if asked.derived:
        message(
            "note: extractive summaries are derived, and not recorded: 'backcast show summaries"
            f" {place.task}'"
        )
    elif not counter.exact:
        message("note: tokens are counted by an upper bound, a token a byte")
    for node, problem in refused:
        message(f"{node}: left out: {problem}")
    for node, problem in result.failed:
        message(f"{node}: {problem}")
    if as_json:
        say(json_text(result._asdict() | {"left_out": refused}))
    else:
        say(f"wrote {result.written}, {result.kept} still hold, {len(result.failed)} failed")
    raise SystemExit(1 if result.failed else 0)
