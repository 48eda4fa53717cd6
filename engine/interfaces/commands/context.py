"""`backcast context`: what a model was shown, or would be shown at a moment."""

from typing import Any

import click

from backcast.domain.errors import InputError
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import address_argument, task_at
from backcast.engine.interfaces.built_prompts import print_built
from backcast.engine.interfaces.known_prompts import NO_ANATOMY, print_known
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.profiles import (
    DEFAULT_PROFILE,
    PROFILE_NAMES,
    TOKENIZERS,
    policy_option,
)


@click.command(name="context")
@address_argument()
@store_option
@click.option(
    "--for",
    "target",
    metavar="NODE",
    help="module:PATH or function:PATH::NAME; of what is there, without its kind.",
)
@click.option("--query", default="", metavar="TEXT", help="What is to be done, in words.")
@policy_option()
@click.option(
    "--profile",
    "name",
    metavar="NAME",
    help=f"Else that of the task's run, or {DEFAULT_PROFILE}. There are {PROFILE_NAMES}.",
)
@click.option("--tokenizer", metavar="NAME", help=f"Another than the profile's: {TOKENIZERS}.")
@click.option(
    "--context-tokens",
    type=int,
    metavar="N",
    help="A context part of N tokens, within the profile's window.",
)
@click.option("--prompt-tokens", type=int, metavar="N", help="A prompt of N tokens at most.")
@click.option("--explain", is_flag=True, help="What is in it and why, what is out and why.")
@click.option("--anatomy", is_flag=True, help="An agent's prompt by part, in tokens.")
@click.option("--text", "text_only", is_flag=True, help="What is known of the code alone.")
@click.option("--record", is_flag=True, help="Append it as a CONTEXT_BUILT, for 'verify'.")
@json_option
def command(
    address: Address, url: str, target: str | None, query: str, explain: bool, anatomy: bool,
    as_json: bool, **building: Any,
) -> None:  # fmt: skip
    """Print the prompt that a model saw, or would see.

    \b
    backcast context validators@21                     # the prompt that was recorded as event 21
    backcast context validators@21 --explain           # what it was made of
    backcast context validators@21 --policy no-cache   # the same request under another policy
    backcast context fixtures/recorded/agent.jsonl@12 --anatomy   # what filled an agent's window
    backcast context fixtures/recorded/agent.jsonl@12 --policy mask-3    # with results as lines
    backcast context fixtures/recorded/dispatch.jsonl#shop@5 --explain   # a dispatch's prompt
    backcast context fixtures/logs/addresses.jsonl@2026-11-20T10:31 --for module:validators.py
    backcast context httpx@before:commit:SHA --query "retry when a server is too busy"

    Without --for and --query it is a recorded prompt, rebuilt from the log: the one at WHEN, or the
    last one; with --policy as another policy builds it, from what was known then. In a history
    without prompts it is that of the change at WHEN; --context-tokens N --tokenizer gguf:FILE makes
    it the one that score and influence had that model read. What is named by its kind, for instance
    function:money.py::share, need not exist yet. A policy file sets what differs from the default,
    or from the strategy that it names as its `base`; 'backcast policy' prints all settings,
    'backcast help policies' the strategies.
    """
    with task_at(address, url) as place:
        if target is None and not query:
            print_known(place, explain=explain, anatomy=anatomy, as_json=as_json, **building)
        elif anatomy:
            raise InputError(NO_ANATOMY)
        else:
            print_built(place, target, query, explain=explain, as_json=as_json, **building)
