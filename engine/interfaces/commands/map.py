"""`backcast map`: show, compare, update and hand on context maps."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from backcast.domain.budget import BOUND, MAP_TOKENS
from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import address_argument, task_at
from backcast.engine.interfaces.options import json_option, opened, store_option
from backcast.engine.interfaces.terminal import escaped, escaped_lines, hand_on, message, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from backcast.engine.interfaces.map_text import MapMoment
    from backcast.engine.log.store import EventStore


@click.group(name="map")
def command() -> None:
    """Keep context maps: orientation in a fixed number of tokens.

    \b
    backcast map update httpx                       # read the last 100 commits as runs
    backcast map show httpx@commit:3f2a5c1          # as it stood after that commit
    """


CONTEXT = "CONTEXT[@WHEN]"


def _rendering(function: Any) -> Any:
    for option in (
        click.option("--tokens", metavar="N", type=click.IntRange(1, 100_000),
                     help="The most that the map may have, with the heading that a prompt puts"
                     f" above it; {MAP_TOKENS:,}, or {BOUND} times that where a bound counts."),
        click.option("--tokenizer", metavar="NAME", help="Whose tokens are counted: upper-bound, "
                     "gguf:FILE, ...; mistral-v3, or where that is not installed a bound."),
        click.option("--policy", default="default", show_default=True, metavar="NAME_OR_FILE",
                     help="A strategy, or TOML: what its table `map` sets."),
    ):  # fmt: skip
        function = option(function)
    return function


@command.command(name="show")
@address_argument(metavar=CONTEXT)
@store_option
@_rendering
@click.option("--explain", is_flag=True, help="Where each item came from, and what goes next.")
@json_option
def show(address: Address, url: str, explain: bool, as_json: bool, **options: Any) -> None:
    """Print the map of CONTEXT, a repository or a corpus, as it stood then, within some tokens. For
    a task, a branch say, it is the map as the task knows it.

    \b
    backcast map show httpx@2026-11-20T10:31 --explain
    backcast map show httpx~1                           # a branch, and what it tried
    backcast map show httpx --policy withheld.toml      # [map] stale = "withheld"

    Items that may not hold any more, since the code that they were made of has moved on, are marked
    as stale.
    """
    from backcast.engine.interfaces.map_text import explained, plain_of, since, taggers

    with opened(url) as store:
        then = _then(store, address, options)
        events = since(store, then) if explain or as_json else {}
        tagged = taggers(store, then) if explain else {}
    if as_json:
        say(json_text(plain_of(then, events)))
        return
    hand_on(then.shown.text)
    message(then.line)
    if explain:
        from backcast.engine.interfaces.views import console

        explained(then, events, tagged, console())


@command.command(name="diff")
@address_argument("before", metavar="CONTEXT@WHEN")
@address_argument("after", metavar=CONTEXT)
@store_option
@_rendering
@json_option
def diff(before: Address, after: Address, url: str, as_json: bool, **options: Any) -> None:
    """Tell which items came on the map of CONTEXT, went, or were rewritten between two moments.

    \b
    backcast map diff httpx@commit:3f2a5c1 httpx@commit:99d0b2e
    backcast map diff httpx@commit:3f2a5c1 httpx
    """
    from backcast.engine.interfaces.map_text import compared

    with opened(url) as store:
        old, new = (_then(store, address, options) for address in (before, after))
        if old.map.version > new.map.version and old.map.task == new.map.task:
            message(f"note: {before} is the later moment: compared from {after} to it")
            old, new = new, old
    lines = compared(old, new)
    if as_json:
        say(json_text([line._asdict() for line in lines]))
        return
    for line in lines:
        say(escaped_lines(str(line)))
    message(f"items that differ: {len(lines)}")


@command.command(name="update")
@address_argument(metavar="TASK")
@store_option
@_rendering
@click.option(
    "--last",
    type=click.IntRange(1),
    metavar="N",
    help="Only the newest N runs; 100 where nothing is said.",
)
@click.option("--model", metavar="NAME", help="Who reads and draws, too: answers:FILE, "
              "llama:FILE or http://HOST:PORT/v1.")  # fmt: skip
@click.option("--profile", metavar="NAME", help="Of a server that does not tell its window.")
@click.option("--anew", is_flag=True, help="Begin the map anew: read runs that were read before.")
@json_option
def update(
    address: Address, url: str, tokens: int | None, tokenizer: str | None, policy: str,
    last: int | None, model: str | None, profile: str | None, anew: bool, as_json: bool,
) -> None:  # fmt: skip
    """Read the runs of a task, and edit the map of what it works on.

    \b
    backcast map update httpx                       # the newest 100 commits
    backcast map update httpx --last 400            # a longer memory, in four times the time

    Each commit of an imported history is a run; of any other task the whole is one, or what has
    happened so far where it has not ended. What is edited stands in the log as MAP_EDITED, with the
    time of the run. No model is asked but with --model: then it reads each run and draws what it
    finds worth keeping, and its answers are recorded.

    Runs are read once, the newest last; those that are older than the first one that is read are
    passed over for good. A run takes from milliseconds to a second, by the size of the project;
    after Ctrl-C the same command goes on, but without --anew: that empties the map, with the items
    that other tasks left on it, and reads the runs again, by another policy say. Earlier events
    still name the map as it was.
    """
    from backcast.engine.interfaces.map_keeping import counting, keeping_of, kept, note_of_open
    from backcast.engine.interfaces.outlining import outline_all
    from backcast.engine.interfaces.terminal import progress_bar

    if address.when or address.log:
        raise InputError(f"needed a task of the store, found {str(address)!r}")
    keeping = keeping_of(policy, *counting(tokens, tokenizer), model, profile)
    with task_at(address, url) as place, ExitStack() as stack:
        store, task = place.store, place.task
        outline_all(store, task)

        def advancing(runs: int, older: int) -> "Callable[[int], None]":
            if older and not last:
                message(
                    f"note: the newest {runs:,} of {runs + older:,} runs are read, those before"
                    " them are passed over: --last N reads more"
                )
            return stack.enter_context(progress_bar("reading runs", runs))

        done = kept(store, task, keeping, last, anew=anew, advancing=advancing)
        note = note_of_open(store, task)
    if note:
        message(note)
    if done.map is None:
        message(
            f"no run of task {task} that changes code is left to be read; what came"
            " before the first one that was read is passed over: --anew begins again"
        )
    if as_json:
        say(json_text(done.plain()))
    elif done.map is not None:
        say(escaped(str(done)))


@command.command(name="export")
@address_argument(metavar=CONTEXT)
@store_option
@_rendering
def export(address: Address, url: str, **options: Any) -> None:
    """Hand the map of CONTEXT to a command-line agent: Markdown on stdout.

    \b
    backcast map export httpx >> AGENTS.md
    """
    with opened(url) as store:
        then = _then(store, address, options)
    if then.age:
        message(
            f"note: the map of {then.map.context} was {then.age}: 'backcast map update' reads the"
            " newest"
        )
    hand_on(f"# Map of {then.map.context}\n\n{then.shown.text}")


def _then(store: "EventStore", address: Address, options: dict[str, Any]) -> "MapMoment":
    """Return the map of a context at a moment; `InputError` where there was none."""
    from backcast.engine.context.policies import policy_named
    from backcast.engine.history.maps import first_edit
    from backcast.engine.interfaces.map_keeping import counting
    from backcast.engine.interfaces.map_text import MapMoment

    context = address.task
    if context is None or address.log:
        raise InputError(f"needed {CONTEXT} of the store, found {str(address)!r}")
    most, counter = counting(options["tokens"], options["tokenizer"])
    settings = policy_named(options["policy"]).map
    then = MapMoment.at(store, context, address.when, settings, most, counter)
    if not then.map.version:
        if first := first_edit(store, context):
            raise InputError(f"needed a moment after the first edit of the map of {context!r},"
                             f" {first.isoformat()}, found an earlier one")  # fmt: skip
        known = ", ".join(then.contexts[:5]) or "none"
        raise InputError(
            f"needed a context that had a map at that moment, found {context!r}; there are maps"
            f" of {known}; 'backcast map update TASK' makes one"
        )
    return then
