"""`backcast context`: what a model was shown, or would be shown at a moment."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import Place, address_argument, task_at
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.profiles import (
    DEFAULT_PROFILE,
    TOKENIZERS,
    policy_by,
    policy_option,
    profile_by,
)
from backcast.engine.interfaces.terminal import hand_on, message

if TYPE_CHECKING:
    from backcast.domain.budget import ModelProfile
    from backcast.domain.context import Context

BUILDING = {"policy_name": "--policy", "name": "--profile", "tokenizer": "--tokenizer",
            "context_tokens": "--context-tokens", "prompt_tokens": "--prompt-tokens",
            "text_only": "--text", "record": "--record"}  # fmt: skip
"Options that need a request: a recorded prompt is as it was."
NOT_OURS = (
    "--explain tells of prompts that Backcast built; --anatomy tells of what an agent's is made"
)
NO_ANATOMY = (
    "--anatomy needs an agent's prompt, recorded or of an imported run, without --for and --query:"
    " --explain tells of what a prompt like this one is made"
)


@click.command(name="context")
@address_argument()
@store_option
@click.option("--for", "target", metavar="NODE", help="[module:]PATH or [function:]PATH::NAME.")
@click.option("--query", default="", metavar="TEXT", help="What is to be done, in words.")
@policy_option()
@click.option(
    "--profile", "name", metavar="NAME", help=f"{DEFAULT_PROFILE} unless another is named."
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
    backcast context recorded@12 --anatomy             # what filled an agent's window
    backcast context recorded@12 --policy mask-3       # the same, with old results as lines
    backcast context tasks@3 --explain                 # a dispatch's prompt, by its parts
    backcast context task-abc123@2026-11-20T10:31 --for module:validators.py
    backcast context httpx@before:commit:SHA --query "retry when a server is too busy"

    Without --for and --query it is a recorded prompt, rebuilt from the log: the one at WHEN, or the
    last one; with --policy as another policy builds it, from what was known then. A function that
    is asked for need not exist yet. A policy file sets what differs from the default, or from the
    strategy that it names as its `base`; 'backcast policy' prints all settings, 'backcast help
    policies' the strategies.
    """
    with task_at(address, url) as place:
        if target is None and not query:
            _print_known(place, explain=explain, anatomy=anatomy, as_json=as_json, **building)
        elif anatomy:
            raise InputError(NO_ANATOMY)
        else:
            _print_built(place, target, query, explain=explain, as_json=as_json, **building)


def _print_known(
    place: Place, *, explain: bool, anatomy: bool, as_json: bool, **building: Any
) -> None:
    """Print a prompt of the log, whichever program built it."""
    # What is asked for is built without all these, which take a while to import.
    from backcast.engine.interfaces.dispatched_prompts import is_dispatched, print_dispatched
    from backcast.engine.interfaces.foreign_prompts import is_foreign, print_request
    from backcast.engine.interfaces.formed_prompts import is_formed, print_formed
    from backcast.engine.interfaces.histories import is_agents_run, print_prompt
    from backcast.engine.replay.steps import asked as holds_prompts

    policy_name, name, tokenizer = (building[key] for key in ("policy_name", "name", "tokenizer"))
    if not anatomy and policy_name and is_agents_run(place):
        print_prompt(place, policy_name, name, tokenizer, as_json=as_json)
        return
    if explain and not anatomy and (is_foreign(place) or is_agents_run(place)):
        raise InputError(NOT_OURS)
    if is_foreign(place):
        print_request(place, tokenizer, anatomy=anatomy, as_json=as_json)
        return
    if anatomy and is_formed(place):
        print_formed(place, name, tokenizer, as_json)
        return
    if anatomy:
        raise InputError(NO_ANATOMY)
    if policy_name and holds_prompts(place.store, place.task):
        _print_under(place, explain=explain, as_json=as_json, **building)
        return
    for key, option in BUILDING.items():
        if building[key]:
            raise InputError(f"{option} needs --for NODE or --query TEXT, which say what to build")
    if is_dispatched(place):
        print_dispatched(place, explain=explain, as_json=as_json)
        return
    if is_agents_run(place):  # which holds no requests, but messages
        print_prompt(place, None, None, None, as_json=as_json)
        return
    _print_recorded(place, as_json=as_json, explain=explain)


def _print_built(
    place: Place, target: str | None, query: str, *, policy_name: str | None, name: str | None,
    tokenizer: str | None, context_tokens: int | None, prompt_tokens: int | None, explain: bool,
    text_only: bool, record: bool, as_json: bool,
) -> None:  # fmt: skip
    """Build the context of a request, and print it."""
    from backcast.domain.policy import MAP
    from backcast.engine.context.recorded import context_at, record_context
    from backcast.engine.context.request import Request
    from backcast.engine.history.maps import map_at_commit
    from backcast.engine.interfaces.named_nodes import node_asked
    from backcast.engine.models.tokenizers import tokenizer_of

    at = place.outlined()
    request = Request(node_asked(target, query, place.store, place.task, at), query)
    profile = profile_by(name or DEFAULT_PROFILE, tokenizer, context_tokens, prompt_tokens)
    policy = policy_by(policy_name)
    counter = tokenizer_of(profile.tokenizer)
    if record and place.log:
        raise InputError("--record needs a task of a store, found a log in a file")
    if record and at.at is not None:
        raise InputError("--record needs a moment by event or commit, or none: not a time")
    map = map_at_commit(place.store, place.task, place.when)
    if record:
        found = record_context(place.store, place.task, at, request, profile, policy)
        if map and map.items and not any(item.section == MAP for item in found.items):
            message("note: a recorded prompt shows the map that was known then, and there was none")
    else:
        found = context_at(place.store, place.task, at, request, profile, policy, map)
    if not counter.exact and (tokenizer or profile.tokenizer != "upper-bound"):  # else it was noted
        message("note: tokens are counted by an upper bound, a token a byte")
    _show_built(found, request.target, profile, place, explain=explain, as_json=as_json,
                text_only=text_only)  # fmt: skip


def _print_under(
    place: Place, *, policy_name: str, name: str | None, explain: bool, text_only: bool,
    as_json: bool, **others: Any,
) -> None:  # fmt: skip
    """Build a recorded prompt anew under another policy, from what was known then, and print it."""
    from backcast.engine.replay.derive import BuilderPool, PolicyReplay
    from backcast.engine.replay.find import step_at
    from backcast.engine.replay.pairs import context_of

    for option in (BUILDING[other] for other, value in others.items() if value):
        raise InputError(f"{option} needs --for NODE or --query TEXT, which say what to build")
    step = step_at(place.store, place.task, place.when)
    profile = profile_by(name, None, None) if name else None
    builder = PolicyReplay(BuilderPool(place.store), profile, policy_by(policy_name)).builder(step)
    _show_built(context_of(builder, step), step.request.target, builder.profile, place,
                explain=explain, as_json=as_json, text_only=text_only)  # fmt: skip


def _show_built(
    found: "Context", target: str, profile: "ModelProfile", place: Place, *, explain: bool,
    as_json: bool, text_only: bool,
) -> None:  # fmt: skip
    for note in notes(found, target, text_only=text_only and not (explain or as_json)):
        message(f"note: {note}")
    if profile.yarn > 1 and found.tokens <= profile.window // profile.yarn:
        message(
            f"warning: {found.tokens:,} tokens fit the model's own window of"
            f" {profile.window // profile.yarn:,}; loaded with YaRN x{profile.yarn} it answers"
            " short prompts worse"
        )
    if as_json:
        click.echo(json_text(_plain(found)))
    elif explain:
        from backcast.engine.interfaces.explained import influences_at, show
        from backcast.engine.interfaces.views import console

        show(found, console(), influences_at(place, found.messages))
    elif text_only:
        hand_on(found.text)
    else:
        for role, text in found.messages:
            hand_on(f"[{role}]\n{text}\n")


def notes(context: "Context", target: str | None, *, text_only: bool = False) -> list[str]:
    """What one should know of a context, or of its text alone, before one trusts it."""
    from backcast.domain.policy import MAP

    lines = []
    path = (target or "").partition(":")[2].partition("::")[0]
    if not any(item.section != "task description" for item in context.items):
        lines.append("nothing of the code is known at this moment")
    elif path and not any(item.node == f"module:{path}" for item in context.items):
        lines.append(f"there is no {path} at this moment; what else is known is shown")
    if any(one.section == "task description" for one in context.omissions):
        lines.append("the words of the request do not fit, and are left out: shorten them")
    if not any(item.section == MAP for item in context.items):
        off = Counter(one.reason for one in context.omissions if one.section == MAP)
        why = ", ".join(f"{off[reason]} {reason}" for reason in sorted(off))
        lines += [f"no item of the context map is shown: {why}"] if off else []
    elif text_only:
        lines.append("the context map is left out: it is shown without --text")
    return lines


def _plain(context: "Context") -> dict[str, Any]:
    """A context as JSON."""
    return context._asdict() | {
        "messages": [{"role": role, "content": text} for role, text in context.messages],
        "items": [item._asdict() for item in context.items],
        "omissions": [omission._asdict() for omission in context.omissions],
        "sections": [
            {"section": section, "budget": budget, "tokens": tokens}
            for section, budget, tokens in context.sections
        ],
    }


def _print_recorded(place: Place, *, as_json: bool, explain: bool) -> None:
    """Print a prompt as it was recorded; with `explain` its items and omissions."""
    from backcast.engine.context.recorded import messages
    from backcast.engine.replay.find import prompt_at

    prompt = prompt_at(place.store, place.task, place.when)
    rebuilt = messages(prompt.fact, place.store.get)
    if explain and not as_json:
        from backcast.engine.interfaces.explained import explain as explained
        from backcast.engine.interfaces.explained import influences_at

        address = f"{place.log}{'#' if place.log else ''}{place.task}@{prompt.version}"
        explained(prompt.fact, address, influences_at(place, rebuilt, prompt.version))
        return
    if as_json:
        shown = [{"role": role, "content": text} for role, text in rebuilt]
        click.echo(json_text({"messages": shown, "digest": prompt.fact.digest}))
        return
    for role, text in rebuilt:
        hand_on(f"[{role}]\n{text}\n")
