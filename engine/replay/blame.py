"""Explain why a node is in a prompt or out of it, and name the events behind that."""

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from backcast.domain.allocation import DUPLICATE, LOWER, OVER
from backcast.domain.cache import names_of
from backcast.domain.context import Candidate, Context, Item
from backcast.domain.errors import InputError
from backcast.domain.node import kind_of
from backcast.domain.policy import Policy
from backcast.engine.context.builder import ContextBuilder
from backcast.engine.context.candidates import Candidates
from backcast.engine.log.store import EventStore
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.diff import built, changes
from backcast.engine.replay.pairs import context_of
from backcast.engine.replay.steps import RecordedPrompt, ReplayStep, asked, steps
from backcast.engine.replay.used import Used, showing

NEAR, MOST = 3, 8
"Nodes that are named where a name is that of none, and where it is that of several."


class Rival(NamedTuple):
    """An item of the prompt that takes tokens which a missing one would need."""

    node: str
    level: str
    tokens: int
    score: float
    because: tuple[int, ...]
    "The versions of the events that it came from."


class Blame(NamedTuple):
    """Why a node is in a prompt, or out of it."""

    node: str
    inside: bool
    section: str
    level: str
    "Level at which it is shown; empty where it is out."
    tokens: int
    "Tokens that it takes; where it is out, tokens of its shortest level."
    priority: str
    score: float
    "Estimated chance that it is needed."
    why: str
    because: tuple[int, ...]
    "The versions of the events that it came from."
    last: int
    "Event of the last earlier prompt that showed it; 0 for none."
    rivals: tuple[Rival, ...]
    "For a node that is out: items that came in since then, or rank just above it."


class KnownPrompts(NamedTuple):
    """The prompts of a task, and how to get at what was known at one."""

    prompts: Iterable[RecordedPrompt]
    "In log order."
    step: Callable[[int], ReplayStep | None]


def known_prompts(store: EventStore, task: str) -> KnownPrompts:
    """Return a task's prompts, read from its log."""
    return KnownPrompts(asked(store, task), lambda version: next(
        (one for one in steps(store, task) if one.version == version), None))  # fmt: skip


def blame(
    pool: BuilderPool, step: ReplayStep, item: str, past: KnownPrompts | None = None,
    policy: Policy | None = None,
) -> Blame:  # fmt: skip
    """Explain why a node is in a step's prompt or out of it; `InputError` for an unknown node.

    The log is read for the prompts before it, unless the caller knows the `past`. With `policy` it
    is the prompt that this one builds.
    """
    past = past or known_prompts(pool.store, step.task_id)
    builder = PolicyReplay(pool, None, policy).builder(step)
    symbols = builder.cache.symbols(step.known.states.graph, step.known.graph)
    offering = Candidates(step.known.states, symbols, step.request, builder.settings)
    offered = {one.node: one for one in offering.all()}
    context = context_of(builder, step)
    node = _resolve(item, offered, context, step)
    last = _last_shown(past, step, node)
    shown = {one.node: one for one in context.items}
    if node in shown:
        return _inside(shown[node], step, last)
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
        before = past.step(last) if last and policy is None else None
        rivals = _rivals(pool, builder, context, candidate, before)
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
    if count := offering.functions.passed_over:
        return f"not offered: {count} functions and classes were less likely to be needed"
    return "not offered: there was nothing of it to show"


def _resolve(item: str, offered: dict[str, Candidate], context: Context, step: ReplayStep) -> str:
    """Return the node that a name means; a path, `PATH::NAME` or a name that one node has will do.

    `InputError` where it is the name of none, or of several.
    """
    nodes = [*offered, *(one.node for one in context.items), *step.known.graph.nodes]
    nodes += [one.node for one in context.omissions]
    known = dict.fromkeys(nodes)
    if item in known:
        return item
    names = {node: names_of(node)[1:] for node in known if kind_of(node) and not _is_left(node)}
    matches = [node for node, own in names.items() if item in own[:1]]
    matches = matches or sorted(node for node, own in names.items() if item in own)
    if len(matches) == 1:
        return matches[0]
    where = f"{step.task_id}@{step.version}: "
    if matches:
        more = f", and {len(matches) - MOST} more" if len(matches) > MOST else ""
        raise InputError(
            f"{where}needed one node, found that {item!r} is {len(matches)} of them:"
            f" {', '.join(matches[:MOST])}{more}"
        )
    owners: dict[str, str] = {}
    for node, own in names.items():
        for name in (node, *own):
            owners.setdefault(name, node)
    near = dict.fromkeys(owners[name] for name in get_close_matches(item, owners, NEAR, 0.6))
    hint = f"; near are {', '.join(near)}" if near else ""
    raise InputError(f"{where}there was no {item!r} at this moment{hint}")


def _is_left(node: str) -> bool:
    """Tell whether a node is one of earlier work, which is named by its whole id alone."""
    return node.startswith("left:")


def _last_shown(past: KnownPrompts, step: ReplayStep, node: str) -> int:
    """Return the event of the last recorded prompt before a step that showed a node; else 0."""
    shown = (
        prompt.version
        for prompt in reversed(list(past.prompts))
        if prompt.version < step.version and any(item.node == node for item in prompt.fact.items)
    )
    return next(shown, 0)


def _rivals(
    pool: BuilderPool, builder: ContextBuilder, context: Context, candidate: Candidate,
    before: ReplayStep | None,
) -> list[Rival]:  # fmt: skip
    """Return the items that hold the tokens which a missing candidate needs; `before` is the last
    prompt that showed it."""
    needed = candidate.levels[-1].tokens
    if before is not None:
        was = context_of(PolicyReplay(pool).builder(before), before)
        template = builder.profile.template
        differences = changes(built("", was, template), built("", context, template))
        grown = [change for change in differences if change.tokens > 0]
        grown.sort(key=lambda change: (change.section != candidate.section, -change.tokens))
        items = {item.node: item for item in context.items}
        return _enough([_rival(items[one.node], one.tokens) for one in grown], needed)
    ahead = [item for item in context.items if item.section == candidate.section]
    ahead.sort(key=lambda item: (item.score, item.node))
    return _enough([_rival(item, item.tokens) for item in ahead], needed)


def _rival(item: Item, tokens: int) -> Rival:
    return Rival(item.node, item.level, tokens, item.score, item.because)


def _enough(rivals: Sequence[Rival], needed: int) -> list[Rival]:
    """Return the first rivals whose tokens add up to `needed`."""
    chosen: list[Rival] = []
    for rival in rivals:
        if sum(one.tokens for one in chosen) >= needed:
            break
        chosen.append(rival)
    return chosen
