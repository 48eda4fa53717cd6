"""`backcast ask`: answer a question about a log that is far larger than a model's window."""

from typing import Any

import click

from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import address_argument
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.profiles import PROFILE_NAMES
from backcast.engine.interfaces.running import AT_ONCE, budget_options


@click.command(name="ask")
@address_argument()
@click.argument("question", metavar="QUESTION")
@store_option
@click.option("--model", required=True, metavar="MODEL", help="answers:FILE, llama:FILE or a URL.")
@click.option("--about", default="", metavar="NODE", help="module:PATH or function:PATH::NAME.")
@click.option(
    "--depth", type=int, default=2, show_default=True, metavar="N",
    help="How many questions one may be away from the first; 0 for none but it.",
)  # fmt: skip
@click.option(
    "--concurrency", type=click.IntRange(1, 256), metavar="N",
    help=f"Calls that are made at once; else {AT_ONCE}, or what the model answers at once.",
)  # fmt: skip
@budget_options
@click.option("--task", default="", metavar="NAME", help="The task that holds all of it.")
@click.option("--profile", metavar="NAME", help=f"The window and its rows: {PROFILE_NAMES}.")
@click.option(
    "--template", metavar="NAME_OR_FILE", help="A chat template for llama:FILE, not its own."
)
@click.option("--strict", is_flag=True, help="A recorded answer only to the same prompt.")
@click.option("--deterministic", is_flag=True, help="A llama-server reads each prompt anew.")
@json_option
def command(address: Address, question: str, url: str, **options: Any) -> None:
    """Answer a question about a repository, a task or a log as of a moment.

    \b
    backcast ask httpx@commit:a226c60 "Where are header values validated?" --model URL
    backcast ask session.jsonl "Why did the second test run fail?" --model URL --calls 20

    The model lists, searches and reads, asks smaller questions side by side, and answers with
    quotes, which are checked. All of it stands in a task of its own: 'backcast help ask'.
    """
    from backcast.engine.interfaces.questions import ask

    ask(address, question, url, options)
