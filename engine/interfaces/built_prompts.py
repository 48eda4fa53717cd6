"""What a model would be shown: built at a moment, told of and printed."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.addresses import Place
from backcast.engine.interfaces.profiles import policy_by, profile_at
from backcast.engine.interfaces.terminal import hand_on, message, say, told_if_long

FEW = 3
"Items of a context, its task among them, that are too few for a project."
KEPT = "what is read of a long history for the first time is kept for the next prompts"
NOTHING_KNOWN = "nothing of the code is known at this moment"


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backcast.domain.budget import ModelProfile
    from backcast.domain.context import Context
    from backcast.domain.moment import Moment
    from backcast.engine.replay.item_evidence import ItemEvidence


def print_built(
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
    from backcast.engine.interfaces.unrated import note_unrated
    from backcast.engine.models.tokenizers import tokenizer_of

    policy = policy_by(policy_name)  # first, so that its error stands alone
    at = place.outlined()
    request = Request(node_asked(target, query, place.store, place.task, at), query)
    sizes = tokenizer, context_tokens, prompt_tokens
    profile = profile_at(place.store, place.task, name, *sizes)
    counter = tokenizer_of(profile.tokenizer)
    if record and place.log:
        raise InputError("--record needs a task of a store, found a log in a file")
    if record and at.at is not None:
        raise InputError("--record needs a moment by event or commit, or none: not a time")
    note_unrated(policy, place.store, place.task, at)
    map = map_at_commit(place.store, place.task, place.when)
    with told_if_long("the prompt", KEPT):
        if record:
            found = record_context(place.store, place.task, at, request, profile, policy)
        else:
            found = context_at(place.store, place.task, at, request, profile, policy, map)
    if record and map and map.items and not any(item.section == MAP for item in found.items):
        message("note: a recorded prompt shows the map that was known then, and there was none")
    is_bare = any(item.level == "name" for item in found.items)
    if len(found.items) <= FEW and not is_bare and (unread := _unread(place, at)):
        message(f"note: {unread}")
    if not counter.exact and (tokenizer or profile.tokenizer != "upper-bound"):  # else it was noted
        message("note: tokens are counted by an upper bound, a token a byte")

    def behind() -> "Mapping[str, ItemEvidence]":
        from backcast.engine.replay.derive import BuilderPool
        from backcast.engine.replay.item_evidence import item_evidence, step_asked

        builder = BuilderPool(place.store).builder(profile, policy)
        step = step_asked(place.store, place.task, at, request)
        return item_evidence(builder, step, [item.node for item in found.items])

    show_built(found, request.target, profile, place, behind, explain=explain, as_json=as_json,
                text_only=text_only)  # fmt: skip


def _unread(place: Place, at: "Moment") -> str:
    """Return how many modules have no inside that a context could show; empty for none."""
    from backcast.engine.history.snapshots import state_at
    from backcast.projections import dependency_graph

    state = state_at(place.store, dependency_graph, place.task, at)
    present = [module for module in state.modules.values() if not module.deleted]
    bare = sum(not module.outlined for module in present)
    if not bare:
        return ""
    return (
        f"of {bare:,} of {len(present):,} modules nothing can be shown but their names: only Python"
        " and Markdown have an inside; 'backcast search' finds what they say"
    )


def show_built(
    found: "Context", target: str, profile: "ModelProfile", place: Place,
    behind: "Callable[[], Mapping[str, ItemEvidence]]", *, explain: bool,
    as_json: bool, text_only: bool, step: int = 0,
) -> None:  # fmt: skip
    """Print a context; `step` is the event of the step that it is built for, 0 for none, and
    `behind` finds what is behind the worth of its items where that is shown."""
    from backcast.engine.history.commits import lacks_before

    for note in notes(found, target, text_only=text_only and not (explain or as_json)):
        begins = lacks_before(place.store, place.task) if note == NOTHING_KNOWN else ""
        message(f"note: {note}{f'; the history {begins}' if begins else ''}")
    if commits := _map_behind(found, place):
        message(
            f"note: the map in it was last updated {commits:,} commits before this moment:"
            f" 'backcast map update {place.task}' reads the newest"
        )
    if profile.yarn > 1 and found.tokens <= profile.window // profile.yarn:
        message(
            f"warning: {found.tokens:,} tokens fit the model's own window of"
            f" {profile.window // profile.yarn:,}; loaded with YaRN x{profile.yarn} it answers"
            " short prompts worse"
        )
    if as_json:
        say(json_text(_plain(found, behind())))
    elif explain:
        from backcast.engine.interfaces.explained import influences_at, show

        show(found, influences_at(place, found.messages, step), behind())
    elif text_only:
        hand_on(found.text)
    else:
        for role, text in found.messages:
            hand_on(f"[{role}]\n{text}\n")


def _map_behind(context: "Context", place: Place) -> int:
    """Return by how many commits the map in a prompt is far behind; 0 where it is not."""
    from backcast.domain.policy import MAP
    from backcast.engine.history.maps import FAR, commits_behind

    for item in context.items:
        if item.section == MAP and item.because:
            behind = commits_behind(place.store, place.task, item.because[0], place.moment)
            return behind if behind >= FAR else 0
    return 0


def notes(context: "Context", target: str | None, *, text_only: bool = False) -> list[str]:
    """What one should know of a context, or of its text alone, before one trusts it."""
    from backcast.domain.policy import MAP

    lines = []
    path = (target or "").partition(":")[2].partition("::")[0]
    if not any(item.section != "task description" for item in context.items):
        lines.append(NOTHING_KNOWN)
    elif path and not any(item.node == f"module:{path}" for item in context.items):
        lines.append(f"there is no {path} at this moment; what else is known is shown")
    if path and any(
        (item.node, item.level) == (f"module:{path}", "name") for item in context.items
    ):
        lines.append(f"of {path} the name alone is shown: only Python and Markdown have an inside")
    if any(one.section == "task description" for one in context.omissions):
        lines.append("the words of the request do not fit, and are left out: shorten them")
    if not any(item.section == MAP for item in context.items):
        off = Counter(one.reason for one in context.omissions if one.section == MAP)
        why = ", ".join(f"{off[reason]} {reason}" for reason in sorted(off))
        lines += [f"no item of the context map is shown: {why}"] if off else []
    elif text_only:
        lines.append("the context map is left out: it is shown without --text")
    return lines


def _plain(context: "Context", behind: "Mapping[str, ItemEvidence]") -> dict[str, Any]:
    """A context as JSON, each function or class with what is behind its worth."""
    more = {
        node: found._asdict() | {"evidence": [kind._asdict() for kind in found.evidence]}
        for node, found in behind.items()
    }
    return context._asdict() | {
        "messages": [{"role": role, "content": text} for role, text in context.messages],
        "items": [item._asdict() | more.get(item.node, {}) for item in context.items],
        "omissions": [omission._asdict() for omission in context.omissions],
        "sections": [
            {"section": section, "budget": budget, "tokens": tokens}
            for section, budget, tokens in context.sections
        ],
    }
