"""Prompts of a log, whichever program built them: as they were, or under another policy."""

from typing import TYPE_CHECKING, Any

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.addresses import Place
from backcast.engine.interfaces.built_prompts import show_built
from backcast.engine.interfaces.profiles import DEFAULT_PROFILE, policy_by, profile_by
from backcast.engine.interfaces.terminal import escaped, hand_on, message, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backcast.engine.replay.item_evidence import ItemEvidence

BUILDING = {"policy_name": "--policy", "name": "--profile", "tokenizer": "--tokenizer",
            "context_tokens": "--context-tokens", "prompt_tokens": "--prompt-tokens",
            "text_only": "--text", "record": "--record"}  # fmt: skip
"Options that need a request: a recorded prompt is as it was."
SIZES = ("tokenizer", "context_tokens", "prompt_tokens")
"Options that size the prompt of a change, too, which is built anew."
NOT_OURS = (
    "--explain tells of prompts that Backcast built; --anatomy tells of what an agent's is made"
)
NO_ANATOMY = (
    "--anatomy needs an agent's prompt, recorded or of an imported run, without --for and --query:"
    " --explain tells of what a prompt like this one is made"
)


def print_known(
    place: Place, *, explain: bool, anatomy: bool, as_json: bool, **building: Any
) -> None:
    """Print a prompt of the log, whichever program built it."""
    # What is asked for is built without all these, which take a while to import.
    from backcast.engine.interfaces.dispatched_prompts import is_dispatched, print_dispatched
    from backcast.engine.interfaces.foreign_prompts import is_foreign, print_request
    from backcast.engine.interfaces.formed_prompts import is_formed, print_formed
    from backcast.engine.interfaces.histories import is_agents_run, print_prompt
    from backcast.engine.interfaces.step_prompts import at_prompt
    from backcast.engine.replay.find import names_change
    from backcast.engine.replay.steps import asked as holds_prompts

    place = at_prompt(place)
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
    ours = holds_prompts(place.store, place.task) and not names_change(*place[:3])
    if (policy_name and ours) or (not ours and _is_history(place)):
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


def _is_history(place: Place) -> bool:
    """Return whether a task without prompts of our own holds changes, each of which asks for one:
    no run of agents is such a history."""
    from backcast.engine.history.commits import changed
    from backcast.engine.interfaces.dispatched_prompts import is_dispatched
    from backcast.engine.interfaces.histories import is_agents_run

    is_run = is_dispatched(place) or is_agents_run(place)
    return not is_run and bool(changed(place.store, place.task))


def _print_under(
    place: Place, *, policy_name: str | None, name: str | None, explain: bool, text_only: bool,
    as_json: bool, **sizes: Any,
) -> None:  # fmt: skip
    """Build a prompt anew under a policy, from what was known then, and print it: a recorded one,
    or that of a change."""
    from backcast.engine.interfaces.unrated import note_unrated
    from backcast.engine.replay.derive import BuilderPool, PolicyReplay
    from backcast.engine.replay.find import step_at
    from backcast.engine.replay.item_evidence import item_evidence
    from backcast.engine.replay.pairs import context_of

    policy = policy_by(policy_name)  # first, so that its error stands alone
    step = step_at(place.store, place.task, place.when)
    for key, value in sizes.items():
        if value and (step.built or key not in SIZES):
            option = BUILDING[key]
            raise InputError(f"{option} needs --for NODE or --query TEXT, which say what to build")
    given = {key: sizes[key] for key in SIZES}
    profile = None
    if name or any(given.values()):
        profile = profile_by(name or DEFAULT_PROFILE, **given)
    if step.built is None:
        message(
            f"note: no prompt is recorded there: built for {escaped(step.name)}"
            f" ({escaped(place.task)}@{step.version}), a request for {escaped(step.request.target)}"
        )
    note_unrated(policy, place.store, place.task, place.moment)
    builder = PolicyReplay(BuilderPool(place.store), profile, policy).builder(step)
    found = context_of(builder, step)

    def behind() -> "Mapping[str, ItemEvidence]":
        return item_evidence(builder, step, [item.node for item in found.items])

    show_built(found, step.request.target, builder.profile, place, behind, explain=explain,
                as_json=as_json, text_only=text_only, step=step.version)  # fmt: skip


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
        say(json_text({"messages": shown, "digest": prompt.fact.digest}))
        return
    for role, text in rebuilt:
        hand_on(f"[{role}]\n{text}\n")
