"""`backcast diff`: what differs between two prompts, section by section, and why."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import ANY, Place, address_argument, task_at
from backcast.engine.interfaces.dispatched_prompts import (
    is_dispatched,
    print_dispatched_difference,
)
from backcast.engine.interfaces.foreign_prompts import is_foreign, print_difference, print_prefixes
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.terminal import escaped, say

if TYPE_CHECKING:
    from backcast.engine.interfaces.differing import ShownDifference


@click.command(name="diff")
@address_argument("first")
@address_argument("second", required=False, metavar=ANY)
@store_option
@click.option("--policy", "policies", multiple=True, metavar="NAME_OR_FILE",
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
    backcast diff tasks@5 tasks@10             # what one agent was told and another was not
    backcast diff fixtures/recorded/agent.jsonl       # where each prompt leaves the last
    backcast diff fixtures/recorded/agent.jsonl fixtures/recorded/mender.jsonl    # two agents' runs

    A prompt that is compared under two policies is built twice now; with one, the recorded prompt
    is the other, of a change in a history that of the default.
    """
    from backcast.engine.interfaces.differing import between_moments, between_settings, in_order
    from backcast.engine.interfaces.formed_prompts import (
        is_formed,
        print_formed_difference,
        print_formed_rows,
    )
    from backcast.engine.interfaces.histories import is_agents_run
    from backcast.engine.interfaces.histories import print_difference as print_history
    from backcast.engine.interfaces.step_prompts import at_prompt

    if second is None:
        with task_at(first, url) as place:
            place = at_prompt(place)
            if not (policies or profiles or target or query) and is_foreign(place):
                print_prefixes(place, as_json=as_json)
                return
            if not (policies or profiles or target or query) and is_formed(place):
                print_formed_rows(place, as_json)
                return
            if policies and is_agents_run(place) and not (target or query or profiles):
                print_history(place, policies, as_json)
                return
            if target or query:
                raise click.UsageError(
                    "--for and --query go with two moments: for two policies at one moment ask"
                    " 'backcast context' with each --policy"
                )
            if not (policies or profiles) or len(policies) > 2 or len(profiles) > 2:
                raise click.UsageError(
                    "needed a second address, --policy once or twice, or --profile"
                )
            _refuse_names(policies, profiles)
            _print(between_settings(place, policies, profiles), as_json)
        return
    if policies:
        raise click.UsageError("--policy compares one prompt with itself: needed one address")
    if (first.log, first.task) == (second.log, second.task) and first != second:
        with task_at(first, url) as place:
            later = place._replace(when=second.when)
            if not (target or query):
                place, later = at_prompt(place), at_prompt(later)
            if not is_dispatched(place):  # two agents of a run have no order
                place, later = in_order(place, later)
            if is_foreign(place) and not (target or query or profiles):
                print_difference(place, later, as_json=as_json)
                return
            if is_formed(place) and not (target or query or profiles):
                print_formed_difference(place, later, as_json)
                return
            if is_dispatched(place) and not (target or query or profiles):
                print_dispatched_difference(place, later, as_json=as_json)
                return
            _print(between_moments(place, later, (target, query), profiles), as_json)
        return
    if target or query or profiles:
        raise click.UsageError("--for, --query and --profile go with two moments of one task")
    with ExitStack() as stack:
        places = [
            at_prompt(stack.enter_context(task_at(address, url))) for address in (first, second)
        ]
        if not (first.when or second.when) and all(map(is_agents_run, places)):
            _compare_agents(places[0], places[1], as_json)
        else:
            _compare_runs(places[0], places[1], as_json)


def _refuse_names(policies: tuple[str, ...], profiles: tuple[str, ...]) -> None:
    """Raise a usage error for a policy or profile that there is not."""
    from backcast.engine.context.policies import policy_named
    from backcast.engine.interfaces.differing import RECORDED
    from backcast.engine.interfaces.profiles import note_idle
    from backcast.engine.workflow.runtime import profile_named

    for name in policies:
        if name != RECORDED:
            policy_named(name)
            note_idle(name)
    for name in profiles:
        profile_named(name)


def _compare_agents(before: Place, after: Place, as_json: bool) -> None:
    """Print two runs of agents side by side, and the calls at which they part."""
    from backcast.engine.history.state_json import plain
    from backcast.engine.interfaces.agent_runs import (
        agent_rows,
        compared_run,
        parting_lines,
        same_calls,
    )
    from backcast.engine.interfaces.views import console, table

    runs = compared_run(before), compared_run(after)
    if as_json:
        say(json_text({"runs": plain(runs), "same_calls": same_calls(*runs)}))
        return
    heads, *rows = agent_rows(*runs)
    table(console(), heads, rows)
    for line in parting_lines(*runs):
        say(escaped(line))


def _compare_runs(before: Place, after: Place, as_json: bool) -> None:
    """Compare the recorded prompts of two runs, and show the first pair that differs, or the pair
    at the moment that is named."""
    from backcast.engine.interfaces.differing import ShownDifference
    from backcast.engine.replay.find import prompt_at
    from backcast.engine.replay.pairs import Pair, between, pairs

    stores = before.store, after.store
    if before.when and after.when:
        both = (prompt_at(place.store, place.task, place.when) for place in (before, after))
        if difference := between(stores, Pair(*both)):
            about = f"{before.task}@{before.when} and {after.task}@{after.when}"
            _print(ShownDifference(difference, about), as_json)
        return
    found = pairs(stores, (before.task, after.task))
    named: list[Pair] = []
    for side, place in enumerate((before, after)):
        if place.when:
            prompt = prompt_at(place.store, place.task, place.when)
            named = [pair for pair in found if pair[side] == prompt]
    differing = [pair for pair in found if not pair.same]
    if not as_json:
        say(f"{len(found)} pairs of prompts, {len(differing)} differ")
        if differing:
            where = [f"{side.version} {side.name}" if side else "none" for side in differing[0]]
            say(escaped(f"the first that differ: {where[0]} and {where[1]}"))
    for pair in named or differing[:1]:
        if difference := between(stores, pair):
            _print(ShownDifference(difference, ""), as_json)
    if as_json and not (named or differing):
        say(json_text({"pairs": len(found), "differ": 0}))


def _print(shown: "ShownDifference", as_json: bool) -> None:
    """Print a difference, the events that made it, and the settings that did."""
    from backcast.engine.interfaces.differing import difference_lines

    if as_json:
        from backcast.engine.history.state_json import plain

        found = shown.found
        made_by = {"same": found.same, "events": shown.events, "settings": shown.settings}
        say(json_text(plain(found) | made_by))
        return
    for line in difference_lines(shown):
        say(line)
