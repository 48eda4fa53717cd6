"""Why is a thing in a prompt, or out of it, and by which events?"""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import NamedTuple

from backcast.domain.allocation import DUPLICATE, LOWER, OVER
from backcast.domain.context import Candidate, Context, Item
from backcast.domain.errors import InputError
from backcast.domain.node import kind_of
from backcast.engine.context.builder import ContextBuilder
from backcast.engine.context.candidates import Candidates
from backcast.engine.log.store import EventStore
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.diff import ItemChange, built, changes
from backcast.engine.replay.pairs import context_of
from backcast.engine.replay.steps import ReplayStep, asked, steps
from backcast.engine.replay.used import Used, showing


class Rival(NamedTuple):
    """Something that is in, and took tokens that were left before."""

    node: str
    level: str
    tokens: int
    score: float
    because: tuple[int, ...]
    "The versions of the events that it came from."


class Blame(NamedTuple):
    """Why a thing is in a prompt, or out of it."""

    node: str
    inside: bool
    section: str
    level: str
    "How it is shown; empty where it is not."
    tokens: int
    "That it takes; where it is out, those of its shortest level."
    priority: str
    score: float
    "How likely it was taken to be needed."
    why: str
    because: tuple[int, ...]
    "The versions of the events that it came from."
    last: int
    "The event of the last prompt before that showed it; 0 for none."
    rivals: tuple[Rival, ...]
    "Where it is out: what came in since then, or ranks right before it, up to the tokens it needs."


def blame(workshop: BuilderPool, step: ReplayStep, item: str) -> Blame:
    """Why a thing is in the prompt of a step or out of it; `InputError` where it was not known."""
    builder = PolicyReplay(workshop).builder(step)
    symbols = builder.cache.symbols(step.known.states.graph, step.known.graph)
    offering = Candidates(step.known.states, symbols, step.request, builder.settings)
    offered = {one.node: one for one in offering.all()}
    context = context_of(builder, step)
    node = _named(item, offered, context, step)
    last = _before(workshop.store, step, node)
    there = {one.node: one for one in context.items}
    if node in there:
        return _inside(there[node], step, last)
    reasons = {one.node: one.reason for one in context.omissions}
    candidate = offered.get(node)
    around = showing(context)(Used("symbol", node))
    why = reasons.get(node, "")
    if around and why in ("", DUPLICATE):
        why = "it stands in the text of what holds it, which is shown"
    why = why or _unoffered(offering)
    if candidate is None:
        return Blame(node, around, "", "", 0, "", 0.0, why, (), last, ())
    rivals: Sequence[Rival] = ()
    if why in (OVER, LOWER):
        rivals = _rivals(workshop, builder, step, context, candidate, last)
    return Blame(
        node, around, candidate.section, "", candidate.levels[-1].tokens, candidate.priority,
        candidate.score, why, candidate.because, last, tuple(rivals),
    )  # fmt: skip


def _inside(item: Item, step: ReplayStep, last: int) -> Blame:
    why = f"{item.priority}, with a chance of {item.score:g} to be needed"
    if item.priority == "CRITICAL":
        why = "CRITICAL: the task, the target, what it needs at once, or the latest failure"
    if item.node in step.request.wanted:
        why = "CRITICAL: it was asked for by name"
    return Blame(
        item.node, True, item.section, item.level, item.tokens, item.priority, item.score, why,
        item.because, last, (),
    )  # fmt: skip


def _unoffered(offering: Candidates) -> str:
    many = offering.passed_over
    return f"not offered: {many} functions and classes were less likely to be needed" if many else (
        "not offered: there was nothing of it to show"
    )  # fmt: skip


def _named(item: str, offered: dict[str, Candidate], context: Context, step: ReplayStep) -> str:
    """The node of a name; a path or `PATH::NAME` will do."""
    nodes = [*offered, *(one.node for one in context.items), *step.known.graph.nodes]
    nodes += [one.node for one in context.omissions]
    known = dict.fromkeys(nodes)
    if item in known:
        return item
    found = [node for node in known if node.partition(":")[2] == item and kind_of(node)]
    if len(found) == 1:
        return found[0]
    near = found or get_close_matches(item, known, 3, 0.6)
    told = f"; near are {', '.join(near)}" if near else ""
    raise InputError(f"{step.task_id}@{step.version}: there was no {item!r} at this moment{told}")


def _before(store: EventStore, step: ReplayStep, node: str) -> int:
    """The event of the last recorded prompt before a step that showed a node."""
    shown = (
        one.version
        for one in reversed(asked(store, step.task_id))
        if one.version < step.version and any(item.node == node for item in one.fact.items)
    )
    return next(shown, 0)


def _rivals(
    workshop: BuilderPool, builder: ContextBuilder, step: ReplayStep, context: Context,
    candidate: Candidate, last: int,
) -> list[Rival]:  # fmt: skip
    """What has the tokens that a thing would need."""
    needed = candidate.levels[-1].tokens
    if last:
        before = next(one for one in steps(workshop.store, step.task_id) if one.version == last)
        was = context_of(PolicyReplay(workshop).builder(before), before)
        template = builder.profile.template
        came = [
            one
            for one in changes(built("", was, template), built("", context, template))
            if one.tokens > 0
        ]
        came.sort(key=lambda one: (one.section != candidate.section, -one.tokens))
        return _enough([_came(one, context) for one in came], needed)
    ahead = [one for one in context.items if one.section == candidate.section]
    ahead.sort(key=lambda one: (one.score, one.node))
    return _enough([_rival(one, one.tokens) for one in ahead], needed)


def _came(change: ItemChange, context: Context) -> Rival:
    item = next(one for one in context.items if one.node == change.node)
    return _rival(item, change.tokens)


def _rival(item: Item, tokens: int) -> Rival:
    return Rival(item.node, item.level, tokens, item.score, item.because)


def _enough(those: Sequence[Rival], needed: int) -> list[Rival]:
    """The first of them that together have so many tokens."""
    found: list[Rival] = []
    for one in those:
        if sum(rival.tokens for rival in found) >= needed:
            break
        found.append(one)
    return found
