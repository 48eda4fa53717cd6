"""Builds a context at a moment, records it as a fact, and rebuilds a recorded one to the byte.

The bytes of a recorded context follow from the recorded texts, their order and the template alone.
Whether today's code would choose the same is another question: see `backcast.engine.replay.verify`.
"""

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from weakref import WeakKeyDictionary

from backcast.domain import names
from backcast.domain.budget import ModelProfile, checked, reserved
from backcast.domain.cache import LookUp, LookUpPolicy, look_up
from backcast.domain.context import Context
from backcast.domain.context_events import (
    CompressedItem,
    ContextBuilt,
    ContextItem,
    ContextOmission,
)
from backcast.domain.errors import DamagedError, InputError
from backcast.domain.events import BLOB_PREFIX, Claim
from backcast.domain.moment import Moment
from backcast.domain.policy import DEFAULT, Policy
from backcast.domain.summary import EXTRACTIVE
from backcast.engine.context import builder, rendering
from backcast.engine.context.build_cache import BuildCache, BuildWords
from backcast.engine.context.builder import ContextBuilder
from backcast.engine.context.policies import policy_of
from backcast.engine.context.prefix import Prefix, compared
from backcast.engine.context.rendering import FIRST_ORDER, FIRST_SYSTEM, RenderItem, messages_of
from backcast.engine.context.request import Request
from backcast.engine.context.search.embedders import Embedder, needs_extra
from backcast.engine.context.search.kept_embedder import embedder_of
from backcast.engine.context.search.kept_words import words_kept
from backcast.engine.context.search.vectors import Nearness
from backcast.engine.history.kept_graph import graph_at
from backcast.engine.history.late_outlines import after_outlines, texts_waiting, with_late_outlines
from backcast.engine.history.legacies import LegacyReader
from backcast.engine.history.moments import asked_at
from backcast.engine.history.task_states import PROJECTIONS, TaskStates, states_at
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from backcast.engine.models.chat import is_own
from backcast.engine.models.templates import digest_of, pieces
from backcast.engine.models.tokenizers import Tokenizer, tokenizer_of
from backcast.projections import (
    context_map,
    dependency_graph,
    offline_cache,
    online_cache,
)

log = logging.getLogger("backcast")

CODE = {
    "builder": str(builder.VERSION), "rendering": str(rendering.VERSION), "summaries": EXTRACTIVE,
    "names": str(names.VERSION),
} | {one.NAME: str(one.VERSION) for one in (*PROJECTIONS, context_map)}  # fmt: skip
"The versions of the code that chooses and renders, as each fact records them."


def context_at(
    store: EventStore,
    task_id: str,
    moment: Moment,
    request: Request,
    profile: ModelProfile,
    policy: Policy = DEFAULT,
    map: context_map.ContextMap | None = None,
) -> Context:
    """Return the context that a model would be shown at a moment; with `map` in place of the map
    that was known then.

    Outlines of its texts count, also where the log got them later. `InputError` where the profile
    keeps too little for the answer.
    """
    reserved(profile)
    nearness = nearness_of(store, policy)
    return _built(store, task_id, moment, request, profile, policy, nearness, map=map, late=True)[1]


def nearness_of(store: EventStore, policy: Policy) -> Nearness | None:
    """Return what compares meanings, once there are some; None where a policy does not weigh them.

    `InputError` where it then has to be compared, and the policy's embedder is not to be had.
    """
    if not policy.by_meaning:
        return None
    return Nearness(store, lambda: policy_embedder(store, policy))


def policy_embedder(store: EventStore, policy: Policy) -> Embedder:
    """Return the embedder of a policy that weighs meanings; `InputError` names the policy."""
    known = _EMBEDDERS.setdefault(store, {})
    if policy.embedder not in known:
        try:
            known[policy.embedder] = embedder_of(store, policy.embedder or None)
        except InputError as error:
            raise InputError(
                f"policy {policy.name!r} weighs nearness in meaning: {error}"
            ) from None
    return known[policy.embedder]


_EMBEDDERS: WeakKeyDictionary[EventStore, dict[str, Embedder]] = WeakKeyDictionary()
"By the name in the policy, as long as the store is open: a model is loaded once."


def embedder_lacks(policy: Policy) -> str:
    """Return why a policy cannot weigh meanings here; empty where it can, or need not."""
    if policy.by_meaning:
        try:
            needs_extra("sentence_transformers")
        except InputError as error:
            return str(error)
    return ""


def _built(
    store: EventStore,
    task_id: str,
    moment: Moment,
    request: Request,
    profile: ModelProfile,
    policy: Policy,
    nearness: Nearness | None,
    at: datetime | None = None,
    map: context_map.ContextMap | None = None,
    *,
    late: bool = False,
) -> tuple[TaskStates, Context]:
    """Build a context; `at` is its time where that is not the moment's, and `late` outlines are
    those that the log got after the moment."""
    known = states = states_at(store, task_id, moment)
    if late:
        states = with_late_outlines(store, task_id, moment, states)
    graph = (
        graph_at(store, task_id, moment, states.graph)
        if states is known
        else dependency_graph.graph_of(states.graph)
    )
    states = states._replace(at=at or asked_at(store, moment, states.summaries.last_at))
    states = states if map is None else states._replace(map=map)
    counter = tokenizer_of(profile.tokenizer)
    with (
        words_kept(store, "words of outlines", task_id, moment) as outlines,
        words_kept(store, "words of sources", task_id, moment) as sources,
    ):
        cache = BuildCache(
            counter, store.get, BuildWords(outlines, sources), LegacyReader(store).state
        )
        builder = ContextBuilder(profile, cache, policy, nearness)
        return states, builder.build(states, graph, request)


def record_context(
    store: EventStore,
    task_id: str,
    moment: Moment,
    request: Request,
    profile: ModelProfile,
    policy: Policy = DEFAULT,
) -> Context:
    """Append the context of a moment as a CONTEXT_BUILT, and return it.

    The moment is that behind the outlines of its texts, where these follow on it. Texts that have
    none yet are warned of: whoever records prompts has them outlined first.
    """
    reserved(profile)
    moment = after_outlines(store, task_id, moment)
    version, stood_at = store.version(task_id), store.version_at(task_id, moment)
    for event in store.read(task_id, after=stood_at - 1, last=stood_at) if stood_at else ():
        # The log could not show what other tasks contributed since the task's own last event.
        moment = Moment(position=event.position)
    tokenizer, nearness = tokenizer_of(profile.tokenizer), nearness_of(store, policy)
    now = store.clock()
    states, context = _built(store, task_id, moment, request, profile, policy, nearness, now)
    if behind := texts_waiting(states.graph):
        log.warning(
            "task %s: as of event %s the log has no outline of %s, so that the prompt shows little"
            " of it: 'backcast outline' makes outlines",
            task_id, stood_at, behind[0] if len(behind) == 1 else f"{len(behind)} modules",
        )  # fmt: skip
    fact, blobs = fact_of(
        context, request, profile, policy, tokenizer, stood_at, in_hand(states, context),
        prefix_of(store, task_id, states.prompts.version, context, profile, tokenizer, policy),
    )  # fmt: skip
    if nearness and nearness.blob:
        vector = {"embedder": nearness.embedder.id, "query_vector": nearness.blob.ref}
        fact, blobs = fact.model_copy(update=vector), [*blobs, nearness.blob]
    claim = Claim(fact, now, "builder", ())
    store.append(task_id, [claim], after=version, blobs=blobs)
    return context


def prefix_of(
    store: EventStore,
    task_id: str,
    version: int,
    context: Context,
    profile: ModelProfile,
    tokenizer: Tokenizer,
    policy: Policy = DEFAULT,
) -> Prefix | None:
    """Return the prefix shared with a recorded prompt; None where that cannot be read any more."""
    for event in store.read(task_id, after=version - 1, last=version) if version else ():
        if isinstance(event.fact, ContextBuilt):
            with suppress(DamagedError, InputError, ValueError):
                before = pieces(template_of(event.fact, store.get), messages(event.fact, store.get))
                after = pieces(profile.template, context.messages)
                return compared(before, after, tokenizer, policy.words)
    return None


def in_hand(states: TaskStates, context: Context) -> LookUp:
    """Look up the items of a context in the working set and in finished tasks' contributions."""
    online, offline = online_cache.held(states.online), offline_cache.held(states.offline)
    return look_up([item.node for item in context.items], online, offline, LookUpPolicy(enough=0))


def fact_of(
    context: Context,
    request: Request,
    profile: ModelProfile,
    policy: Policy,
    tokenizer: Tokenizer,
    stood_at: int,
    found: LookUp,
    prefix: Prefix | None = None,
) -> tuple[ContextBuilt, list[Blob]]:
    """Return a context as a fact, and the blobs that it points at."""
    places: dict[str, tuple[str, str | None]] = dict.fromkeys(found.misses, ("made", None))
    places |= {hit.node: (hit.found, hit.task or None) for hit in reversed(found.hits)}
    places |= {one.node: ("offline", one.task) for one in context.items if one.task}
    profiled = Blob(json.dumps(profile._asdict(), sort_keys=True).encode())
    settings = Blob(policy.body)
    own = [Blob(profile.template.encode())] if is_own(profile.template) else []
    texts = [Blob(item.text.encode(errors="surrogatepass")) for item in context.items]
    wholes = {
        text.node: Blob(text.whole.encode(errors="surrogatepass"))
        for text in context.long if not text.ref
    }  # fmt: skip
    figures = {
        text.node: CompressedItem(whole=text.ref or wholes[text.node].ref, **text.short.facts)
        for text in context.long
    }
    items = tuple(
        ContextItem(
            node=item.node, section=item.section, level=item.level,
            found=places.get(item.node, ("", None))[0], text=text.ref, tokens=item.tokens,
            **({"task": places[item.node][1]} if places.get(item.node, ("", None))[1] else {}),
            **({"compressed": figures[item.node]} if item.node in figures else {}),
        )
        for item, text in zip(context.items, texts, strict=True)
    )  # fmt: skip
    omissions = tuple(
        ContextOmission(node=omission.node, section=omission.section, reason=omission.reason)
        for omission in context.omissions
    )
    fact = ContextBuilt(
        items=items, omissions=omissions, target=request.target, query=request.query,
        **{
            name: value
            for name in ("wanted", "needs", "behind")
            if (value := getattr(request, name))
        },
        stood_at=stood_at, profile=profiled.ref, policy=settings.ref,
        template=own[0].ref if own else profile.template,
        tokenizer=tokenizer.id, code=CODE, tokens=context.tokens,
        sections={one: tokens for one, _, tokens in context.sections if tokens},
        shared_prefix=prefix.tokens if prefix else None,
        parted_in=prefix.section if prefix else None,
        digest=context.digest,
    )  # fmt: skip
    return fact, [profiled, settings, *own, *texts, *wholes.values()]


def rebuilt(fact: ContextBuilt, read: Callable[[str], bytes]) -> str:
    """Return the digest of the prompt that the recorded texts give."""
    return digest_of(pieces(template_of(fact, read), messages(fact, read)))


def template_of(fact: ContextBuilt, read: Callable[[str], bytes]) -> str:
    """Return the chat template of a recorded context: its name, or the model's own as recorded."""
    named = fact.template or ""
    return read(named).decode() if named.startswith(BLOB_PREFIX) else named


def messages(fact: ContextBuilt, read: Callable[[str], bytes]) -> tuple[tuple[str, str], ...]:
    """Return the messages of a recorded context, from the recorded texts alone."""
    shown = [
        RenderItem(
            item.node, item.section, read(item.text).decode(errors="surrogatepass"), item.level
        )
        for item in fact.items
        if item.text is not None
    ]
    if fact.policy is None:
        return messages_of(shown, FIRST_SYSTEM, FIRST_ORDER, 1)
    policy = policy_of(read(fact.policy))
    stated = fact.code.get("rendering", "1")
    if not (stated.isascii() and stated.isdecimal() and len(stated) < 6):
        raise InputError(f"needed a prompt rendered by a version, found {stated[:40]!r}")
    version = int(stated)
    return messages_of(shown, policy.system, policy.order, version, policy.words)


def profile_of(body: bytes) -> ModelProfile:
    """Return a recorded profile. `InputError` where it is none."""
    try:
        fields = json.loads(body)
        rows = {str(row): int(tokens) for row, tokens in fields["rows"].items()}
        return checked(ModelProfile(**{**fields, "rows": rows}))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"needed a recorded profile, found {error!r}") from None
