"""`backcast diff`: what differs between two prompts, section by section, and why."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import ANY, Place, address_argument, task_at
from backcast.engine.interfaces.foreign_prompts import is_foreign, print_difference
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.profiles import node_asked
from backcast.engine.interfaces.terminal import escaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backcast.domain.budget import ModelProfile
    from backcast.engine.replay.diff import Diff
    from backcast.engine.replay.pairs import Side
    from backcast.engine.replay.steps import ReplayStep

RECORDED, NOW = "recorded", "as recorded"
SETTINGS = 12
"Settings in which two policies differ that are named one by one."


@click.command(name="diff")
@address_argument("first")
@address_argument("second", required=False, metavar=ANY)
@store_option
@click.option("--policy", "policies", multiple=True, metavar="NAME",
              help="TOML, a name, or recorded; one beside the recorded prompt.")  # fmt: skip
@click.option("--profile", "profiles", multiple=True, metavar="NAME", help="One window, or two.")
@click.option("--for", "target", metavar="NODE", help="With two moments: what is asked for.")
@click.option("--query", default="", metavar="TEXT", help="With two moments: in words.")
@json_option
def command(
    first: Address, second: Address | None, url: str, policies: tuple[str, ...],
    profiles: tuple[str, ...], target: str | None, query: str, as_json: bool,
) -> None:  # fmt: skip
    """Compare two prompts: what is in, out, shown by less, and why.

    \b
    backcast diff fixtures/logs/till.jsonl@164 --policy recorded --policy mine.toml
    backcast diff till@164 --profile qwen3-8b-32k
    backcast diff till@79 till@164             # two prompts, and the events that made them differ
    backcast diff till till~1                  # two runs: the first prompts that differ

    A prompt that is compared under two policies is built twice now; with one, the recorded prompt
    is the other.
    """
    from backcast.engine.interfaces.histories import is_agents_run
    from backcast.engine.interfaces.histories import print_difference as print_history

    if second is None:
        with task_at(first, url) as place:
            if policies and is_agents_run(place) and not (target or query or profiles):
                print_history(place, policies, as_json)
                return
            _compare_settings(place, policies, profiles, as_json)
        return
    if policies:
        raise click.UsageError("--policy compares one prompt with itself: needed one address")
    if (first.log, first.task) == (second.log, second.task) and first != second:
        with task_at(first, url) as place:
            later = place._replace(when=second.when)
            if is_foreign(place) and not (target or query or profiles):
                print_difference(place, later, as_json=as_json)
                return
            _compare_moments(place, later, (target, query), profiles, as_json)
        return
    if target or query or profiles:
        raise click.UsageError("--for, --query and --profile go with two moments of one task")
    with ExitStack() as stack:
        places = [stack.enter_context(task_at(address, url)) for address in (first, second)]
        _compare_runs(places[0], places[1], as_json)


def _compare_settings(
    place: Place, policies: tuple[str, ...], profiles: tuple[str, ...], as_json: bool
) -> None:
    """Compare one prompt under two policies or profiles."""
    from backcast.domain.policy import DEFAULT
    from backcast.engine.context.policies import changed
    from backcast.engine.replay.derive import BuilderPool
    from backcast.engine.replay.find import step_at
    from backcast.engine.replay.pairs import compared

    if not (policies or profiles) or len(policies) > 2 or len(profiles) > 2:
        raise click.UsageError("needed a second address, --policy once or twice, or --profile")
    step = step_at(place.store, place.task, place.when)
    before, after = _sides(step, policies, profiles)
    pool = BuilderPool(place.store)
    found = compared(pool, step, before, after)
    recorded = pool.settings(step.built)[1] if step.built else DEFAULT
    settings = changed(before.policy or recorded, after.policy or recorded)
    _print(found, as_json, f"{place.task}@{step.version} {step.name}", settings=settings)


def _sides(
    step: "ReplayStep", policies: tuple[str, ...], profiles: tuple[str, ...]
) -> "tuple[Side, Side]":
    """Return by what the two prompts are built; a single name is compared with the recorded one."""
    from backcast.engine.context.policies import policy_named
    from backcast.engine.replay.pairs import Side
    from backcast.engine.workflow.runtime import profile_named

    try:
        named = [None if name == RECORDED else policy_named(name) for name in policies] or [None]
        windows: list[ModelProfile | None] = [profile_named(name) for name in profiles] or [None]
    except InputError as error:
        raise click.UsageError(str(error)) from None
    two = len(policies) == 2 or len(profiles) == 2
    if not two and step.built:
        first = Side(NOW, now=False)
    else:
        first = Side(policies[0] if policies else RECORDED, named[0], windows[0] if two else None)
    names = [*policies[-1:], *profiles[-1:]]
    return first, Side(" ".join(names), named[-1], windows[-1])


def _compare_moments(
    before: Place, after: Place, request: tuple[str | None, str], profiles: tuple[str, ...],
    as_json: bool,
) -> None:  # fmt: skip
    """Compare the prompts of two moments, and print the events between that made the difference."""
    from backcast.engine.interfaces.views import event_line
    from backcast.engine.replay.derive import BuilderPool
    from backcast.engine.replay.pairs import moved
    from backcast.engine.workflow.runtime import profile_named

    begin, end = (_step(place, request) for place in (before, after))
    if begin.version > end.version:
        raise InputError(
            f"needed a second moment behind the first, event {begin.version}, found event"
            f" {end.version}"
        )
    profile = profile_named(profiles[0]) if profiles else None
    found = moved(BuilderPool(before.store), begin, end, profile)
    first, last = (max(1, step.version) - 1 for step in (begin, end))
    causes = {
        cause for change in found.changes for cause in change.because if first < cause <= last
    }
    events = before.store.read(before.task, after=first, last=last)
    lines = [event_line(event) for event in events if event.version in causes]
    _print(found, as_json, f"{before.task}, from {begin.name} to {end.name}", lines)


def _step(place: Place, request: tuple[str | None, str]) -> "ReplayStep":
    """Return the prompt at a moment: the recorded one, or one for what is asked."""
    from backcast.engine.context.request import Request
    from backcast.engine.replay.find import known_at, step_at
    from backcast.engine.replay.steps import ReplayStep

    if not (request[0] or request[1]):
        return step_at(place.store, place.task, place.when)
    moment = place.moment
    version = place.store.version_at(place.task, moment)
    known = known_at(place.store, place.task, moment)
    wanted = Request(node_asked(*request), request[1])
    name = place.when or "last"
    return ReplayStep(place.task, version + 1, name, wanted, None, known, known)


def _compare_runs(before: Place, after: Place, as_json: bool) -> None:
    """Compare the recorded prompts of two runs, and show the first pair that differs, or the pair
    at the moment that is named."""
    from backcast.engine.replay.find import prompt_at
    from backcast.engine.replay.pairs import Pair, between, pairs

    stores = before.store, after.store
    if before.when and after.when:
        both = (prompt_at(place.store, place.task, place.when) for place in (before, after))
        if difference := between(stores, Pair(*both)):
            _print(
                difference, as_json, f"{before.task}@{before.when} and {after.task}@{after.when}"
            )
        return
    found = pairs(stores, (before.task, after.task))
    named: list[Pair] = []
    for side, place in enumerate((before, after)):
        if place.when:
            prompt = prompt_at(place.store, place.task, place.when)
            named = [pair for pair in found if pair[side] == prompt]
    differing = [pair for pair in found if not pair.same]
    if not as_json:
        click.echo(f"{len(found)} pairs of prompts, {len(differing)} differ")
        if differing:
            where = [f"{side.version} {side.name}" if side else "none" for side in differing[0]]
            click.echo(escaped(f"the first that differ: {where[0]} and {where[1]}"))
    for pair in named or differing[:1]:
        if difference := between(stores, pair):
            _print(difference, as_json, "")
    if as_json and not (named or differing):
        click.echo(json_text({"pairs": len(found), "differ": 0}))


def _print(
    found: "Diff", as_json: bool, about: str, events: "Sequence[str]" = (),
    settings: "Sequence[str]" = (),
) -> None:  # fmt: skip
    """Print a difference, the events that made it, and the settings that did."""
    from backcast.engine.interfaces.diff_text import diff_text

    if as_json:
        from backcast.engine.history.state_json import plain

        fields = plain(found) | {"same": found.same, "events": events, "settings": settings}
        click.echo(json_text(fields))
        return
    if about:
        click.echo(escaped(about))
    for line in settings[:SETTINGS]:
        click.echo(escaped(f"  {line}"))
    if len(settings) > SETTINGS:
        click.echo(f"  and {len(settings) - SETTINGS} more settings")
    click.echo(diff_text(found, 200))
    if events:
        click.echo("made so by")
        for line in events:
            click.echo(line)
