"""The commands of context maps: show, compare, update and hand on."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from backcast.domain.budget import BOUND, MAP_TOKENS
from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.knowing import outline_all
from backcast.engine.interfaces.options import (
    json_option,
    moment_options,
    opened,
    store_option,
    task_option,
)
from backcast.engine.interfaces.terminal import escaped, escaped_lines, hand_on, message

if TYPE_CHECKING:
    from collections.abc import Callable

    from backcast.engine.interfaces.map_text import MapMoment
    from backcast.engine.log.store import EventStore


@click.group(name="map")
def map_group() -> None:
    """Context maps: what helps any later run to find its way, in a fixed number of tokens.

    \b
    backcast map update --task rich --last 100     # read the last 100 commits as runs
    backcast map show rich --at commit:3f2a5c1     # as it stood after that commit
    """


def _rendering(command: Any) -> Any:
    for option in (
        click.option("--tokens", metavar="N", type=click.IntRange(1, 100_000),
                     help="The most that the map may have, with the heading that a prompt puts"
                     f" above it; {MAP_TOKENS:,}, or {BOUND} times that where a bound counts."),
        click.option("--tokenizer", metavar="NAME", help="Whose tokens are counted: upper-bound, "
                     "gguf:FILE, ...; mistral-v3, or where that is not installed a bound."),
        click.option("--policy", default="default", show_default=True, metavar="NAME_OR_FILE",
                     help="A strategy, or TOML: what its table `map` sets."),
    ):  # fmt: skip
        command = option(command)
    return command


@map_group.command(name="show")
@click.argument("context")
@store_option
@moment_options
@_rendering
@click.option("--explain", is_flag=True, help="Where each item came from, and what goes next.")
@json_option
def show(context: str, url: str, explain: bool, as_json: bool, **options: Any) -> None:
    """The map of CONTEXT, a repository or a corpus, as it stood then, within some tokens. That of a
    task, a branch say, is the map as the task knows it.

    \b
    backcast map show rich --at 2026-11-20T10:31 --explain
    backcast map show rich~1                           # a branch, and what it tried
    backcast map show rich --policy withheld.toml      # [map] stale = "withheld"

    Items that may not hold any more, since what they were made of has moved on, are told as stale.
    """
    from backcast.engine.interfaces.map_text import explained, plain_of, since, taggers

    with opened(url) as store:
        then = _then(store, context, options)
        events = since(store, then) if explain or as_json else {}
        tagged = taggers(store, then) if explain else {}
    if as_json:
        click.echo(json_text(plain_of(then, events)))
        return
    hand_on(then.shown.text)
    message(then.line)
    if explain:
        from backcast.engine.interfaces.views import console

        explained(then, events, tagged, console())


@map_group.command(name="diff")
@click.argument("context")
@store_option
@click.option("--from", "begin", required=True, metavar="T1", help="TIME, or commit:SHA.")
@click.option("--to", "end", metavar="T2", help="A later one; now, where none is given.")
@_rendering
@json_option
def diff(
    context: str, url: str, begin: str, end: str | None, as_json: bool, **options: Any
) -> None:
    """What came on the map of CONTEXT, went, or was rewritten between two moments.

    \b
    backcast map diff rich --from commit:3f2a5c1 --to commit:99d0b2e
    """
    from backcast.engine.interfaces.map_text import compared

    with opened(url) as store:
        old, new = (_then(store, context, {**options, "at": at}) for at in (begin, end))
        if old.map.version > new.map.version and old.map.task == new.map.task:
            raise click.UsageError(f"needed --to later than --from, found {begin} and {end}")
    lines = compared(old, new)
    if as_json:
        click.echo(json_text([one._asdict() for one in lines]))
        return
    for one in lines:
        click.echo(escaped_lines(str(one)))
    message(f"items that differ: {len(lines)}")


@map_group.command(name="update")
@store_option
@task_option
@_rendering
@click.option("--last", type=click.IntRange(1), metavar="N", help="Only the newest N runs.")
@click.option("--model", metavar="NAME", help="Who reads and draws, too: recording:FILE, "
              "llama:FILE or http://HOST:PORT/v1.")  # fmt: skip
@click.option("--profile", metavar="NAME", help="Of a server that does not tell its window.")
@click.option("--anew", is_flag=True, help="Begin the map anew: read runs that were read before.")
@json_option
def update(
    url: str, task: str, tokens: int | None, tokenizer: str | None, policy: str, last: int | None,
    model: str | None, profile: str | None, anew: bool, as_json: bool,
) -> None:  # fmt: skip
    """Read the runs of a task that have ended, and edit the map of what it works on.

    \b
    backcast map update --task rich --last 100

    Each commit of an imported history is a run; of any other task the whole is one. What is edited
    stands in the log as MAP_EDITED, with the time of the run. No model is asked but with --model:
    then it reads each run and draws what it finds worth keeping, and its answers are recorded.

    Runs are read once, the newest last. With --anew the map is emptied, what other tasks left on it
    included, and the runs are read again, by another policy say; what it was before stays known to
    --known-at and --position.
    """
    from backcast.engine.interfaces.map_keeping import counting, keeping_of, kept
    from backcast.engine.interfaces.terminal import progress_bar

    keeping = keeping_of(policy, *counting(tokens, tokenizer), model, profile)
    with opened(url) as store, ExitStack() as stack:
        store.require(task)
        outline_all(store, task)

        def progress(runs: int) -> "Callable[[int], None]":
            return stack.enter_context(progress_bar("reading runs", runs))

        done = kept(store, task, keeping, last, anew=anew, progress=progress)
    if done.map is None:
        message(
            f"no run of task {task} that changes code is left to be read; what came"
            " before the first one that was read is passed over: --anew begins again"
        )
    if as_json:
        click.echo(json_text(done.plain()))
    elif done.map is not None:
        click.echo(escaped(str(done)))


@map_group.command(name="export")
@click.argument("context")
@store_option
@moment_options
@_rendering
def export(context: str, url: str, **options: Any) -> None:
    """Hand the map of CONTEXT to a command-line agent: Markdown on stdout.

    \b
    backcast map export rich >> AGENTS.md
    """
    with opened(url) as store:
        then = _then(store, context, options)
    hand_on(f"# Map of {then.map.context}\n\n{then.shown.text}")


def _then(store: "EventStore", context: str, options: dict[str, Any]) -> "MapMoment":
    """The map of a context at the moment, and within the tokens, that options name; `InputError`
    where there was none."""
    from backcast.engine.context.policies import policy_named
    from backcast.engine.history.maps import first_edit
    from backcast.engine.interfaces.map_keeping import counting
    from backcast.engine.interfaces.map_text import MapMoment

    moment = dict(options)
    tokens, tokenizer, policy = (moment.pop(one) for one in ("tokens", "tokenizer", "policy"))
    most, counter = counting(tokens, tokenizer)
    then = MapMoment.at(store, context, moment, policy_named(policy).map, most, counter)
    if not then.map.version:
        if first := first_edit(store, context):
            raise InputError(f"needed a moment after the first edit of the map of {context!r},"
                             f" {first.isoformat()}, found an earlier one")  # fmt: skip
        there = ", ".join(then.contexts[:5]) or "none"
        raise InputError(
            f"needed a context that had a map at that moment, found {context!r}; there are {there}:"
            " 'backcast map update --task TASK' makes one"
        )
    return then


COMMANDS = (map_group,)
