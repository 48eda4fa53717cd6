"""Contexts as facts, and the two questions about them: rebuilt to the byte, and re-derived.

*Rebuilt*: the bytes follow from the recorded texts, their order and the template alone.
*Re-derived*: today's code chooses and renders from what was known then; where it finds another
prompt it says whether its own versions differ.
"""

import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

from domain.budget import ModelProfile, checked
from domain.cache import Found, LookUpPolicy, look_up
from domain.context import Context
from domain.errors import BackcastError, DamagedError, InputError
from domain.events import ContextBuilt, ContextItem, ContextOmission, WorkflowEvent
from domain.graph import Graph
from domain.moment import Moment
from domain.summary import EXTRACTIVE
from engine.context import builder
from engine.context.builder import Request
from engine.context.candidates import States
from engine.context.rendering import Shown, digest_of, messages_of, pieces
from engine.context.tokenizers import Tokenizer, tokenizer_of
from engine.log.blobs import Blob
from engine.log.store import EventStore
from engine.replay.states import state_at
from projections import dependency_graph, online_cache, progress, summaries

CODE = {"builder": str(builder.VERSION), "summaries": EXTRACTIVE} | {
    projection.NAME: str(projection.VERSION)
    for projection in (progress, dependency_graph, summaries, online_cache)
}
"The versions of the code that chooses and renders."


class Verdict(NamedTuple):
    """What became of one recorded context."""

    task_id: str
    version: int
    rebuilt: bool
    "Whether the recorded texts give the recorded digest."
    derived: str
    "same, or what differs."

    @property
    def holds(self) -> bool:
        """Whether both questions were answered well."""
        return self.rebuilt and self.derived == "same"


def states_at(store: EventStore, task_id: str, moment: Moment) -> tuple[States, Graph]:
    """What was known of a task at a moment, and its graph."""
    graph = state_at(store, dependency_graph, task_id, moment)
    states = States(
        state_at(store, progress, task_id, moment),
        graph,
        state_at(store, summaries, task_id, moment),
        state_at(store, online_cache, task_id, moment),
    )
    return states, dependency_graph.graph_of(graph)


def context_at(
    store: EventStore, task_id: str, moment: Moment, target: str, profile: ModelProfile
) -> Context:
    """The context that a model would be shown at a moment."""
    states, graph = states_at(store, task_id, moment)
    tokenizer = tokenizer_of(profile.tokenizer)
    return builder.build(states, graph, Request(target), profile, tokenizer, store.get)


def in_hand(store: EventStore, task_id: str, moment: Moment, context: Context) -> Found:
    """Which items of a context the task's working set held already; the others were made for it.

    What finished tasks left is not asked: the builder takes nothing from there.
    """
    online = online_cache.held(state_at(store, online_cache, task_id, moment))
    return look_up([item.node for item in context.items], online, (), LookUpPolicy())


def fact_of(
    context: Context,
    target: str,
    profile: ModelProfile,
    tokenizer: Tokenizer,
    stood_at: int,
    found: Found,
) -> tuple[ContextBuilt, list[Blob]]:
    """A context as a fact, and the texts that it points at."""
    places = dict.fromkeys(found.misses, "made") | {hit.node: hit.found for hit in found.hits}
    body = Blob(json.dumps(profile._asdict(), sort_keys=True).encode())
    texts = [Blob(item.text.encode(errors="surrogatepass")) for item in context.items]
    items = tuple(
        ContextItem(
            node=item.node, section=item.section, level=item.level,
            found=places.get(item.node, ""), text=text.ref, tokens=item.tokens,
        )
        for item, text in zip(context.items, texts, strict=True)
    )  # fmt: skip
    omissions = tuple(ContextOmission(**one._asdict()) for one in context.omissions)
    fact = ContextBuilt(
        items=items, omissions=omissions, target=target, stood_at=stood_at, profile=body.ref,
        template=profile.template, tokenizer=tokenizer.id, code=CODE, tokens=context.tokens,
        digest=context.digest,
    )  # fmt: skip
    return fact, [body, *texts]


def rebuilt(fact: ContextBuilt, read: Callable[[str], bytes]) -> str:
    """The digest of the prompt that the recorded texts give."""
    shown = [
        Shown(item.node, item.section, read(item.text).decode(errors="surrogatepass"))
        for item in fact.items
        if item.text is not None
    ]
    return digest_of(pieces(fact.template or "", messages_of(shown)))


def verified(store: EventStore, task_id: str) -> Iterator[Verdict]:
    """Every context that a task recorded with a digest, rebuilt and re-derived."""
    for event in store.read(task_id, types=["CONTEXT_BUILT"]):
        if isinstance(event.fact, ContextBuilt) and event.fact.digest:
            yield _verdict(store, event, event.fact)


def _verdict(store: EventStore, event: WorkflowEvent, fact: ContextBuilt) -> Verdict:
    try:
        same = rebuilt(fact, store.get) == fact.digest
    except (DamagedError, InputError, ValueError):
        same = False
    try:
        derived = _derived(store, event, fact)
    except (BackcastError, ValueError) as error:
        derived = f"cannot be re-derived: {error}"
    return Verdict(event.task_id, event.version, same, derived)


def _derived(store: EventStore, event: WorkflowEvent, fact: ContextBuilt) -> str:
    moved = [
        f"{name} {version} -> {CODE.get(name, 'none')}"
        for name, version in sorted(fact.code.items())
        if CODE.get(name) != version
    ]
    profile = profile_of(store.get(fact.profile or ""))
    [last] = store.read(event.task_id, after=(fact.stood_at or 0) - 1, last=fact.stood_at)
    moment = Moment(position=last.position)
    context = context_at(store, event.task_id, moment, fact.target or "", profile)
    if context.digest == fact.digest:
        return "same"
    return f"different, {', '.join(moved)}" if moved else "different, by the same code"


def profile_of(body: bytes) -> ModelProfile:
    """The profile that was recorded."""
    try:
        told = json.loads(body)
        rows = {str(row): int(tokens) for row, tokens in told["rows"].items()}
        return checked(ModelProfile(**{**told, "rows": rows}))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"needed a recorded profile, found {error!r}") from None
