"""Verify recorded prompts: do their texts give their digest, and does today's code build them?

*Rebuilt*: the recorded texts, in their order and template, give the recorded digest. That must hold
for every log ever written. *Derived*: today's builder, from what was known then and under the
recorded policy, chooses and renders the same. Each answer is same, different, or cannot be told; a
difference comes with its first section, item and token, and its cause.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Literal, NamedTuple

from backcast.domain.context import Context
from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import BackcastError, DamagedError, InputError
from backcast.domain.events import BLOB_PREFIX
from backcast.engine.context import rendering
from backcast.engine.context.prefix import compared
from backcast.engine.context.recorded import CODE, messages, rebuilt, template_of
from backcast.engine.history.collecting import rarely_collecting
from backcast.engine.log.blobs import ref_of
from backcast.engine.log.store import EventStore
from backcast.engine.log.unknown_types import counted_types, unknown_types
from backcast.engine.models.templates import pieces
from backcast.engine.models.tokenizers import Tokenizer
from backcast.engine.replay.derive import BuilderPool, asked_again
from backcast.engine.replay.dispatch_prompts import dispatched_prompts, prompt_check
from backcast.engine.replay.foreign_prompts import rebuilt_bodies
from backcast.engine.replay.late_tasks import without_late_tasks
from backcast.engine.replay.steps import ReplayStep, steps
from backcast.engine.workflow.ask.words import VERSION
from backcast.projections.questions import KIND

SAME: Literal["same"] = "same"
DIFFERENT: Literal["different"] = "different"
UNTOLD: Literal["cannot be told"] = "cannot be told"
FOREIGN = "another program built it"
"Why a recorded request cannot be derived, which is no failure."


class FirstDifference(NamedTuple):
    """The first place where two prompts differ."""

    section: str
    "Empty before any section, and where only text after the items differs."
    node: str
    "The first item that differs; empty where all are the same."
    token: int
    "Index of the first token that differs."
    recorded: str
    "The item as recorded: its level and tokens, or `out`."
    derived: str
    "The item as derived now."

    def __str__(self) -> str:
        where = f"in section {self.section!r} " if self.section else ""
        item = f": {self.node} was {self.recorded}, is {self.derived}" if self.node else ""
        return f"{where}at token {self.token}{item}"


class Answer(NamedTuple):
    """The answer to one of the two questions."""

    verdict: Literal["same", "different", "cannot be told"]
    why: str = ""
    "Cause of a difference, or what is missing for an answer."
    difference: FirstDifference | None = None
    event: str = ""
    "Event that makes the difference, where it was looked for."

    def __str__(self) -> str:
        parts: list[str] = [self.verdict]
        if self.difference:
            parts.append(f" {self.difference}")
        if self.why:
            parts.append(f": {self.why}" if self.verdict == UNTOLD else f" ({self.why})")
        if self.event:
            parts.append(f" {self.event}")
        return "".join(parts)


class Verdict(NamedTuple):
    """Both answers about one recorded prompt."""

    task_id: str
    version: int
    name: str
    "The request in a few words."
    rebuilt: Answer
    derived: Answer

    @property
    def holds(self) -> bool:
        """Whether both answers are `same`."""
        derived = self.derived.verdict == SAME or self.derived.why == FOREIGN
        return self.rebuilt.verdict == SAME and derived


def verified(store: EventStore, task_id: str) -> Iterator[Verdict]:
    """Yield the answers for every prompt that a task recorded with a digest, ours and others'."""
    pool = BuilderPool(store)
    with rarely_collecting():
        for step in steps(store, task_id):
            if step.built:
                answers = rebuilt_answer(store, step.built), derived_answer(pool, step, step.built)
                yield Verdict(task_id, step.version, step.name, *answers)
        for body in rebuilt_bodies(store, task_id):
            why = Answer(UNTOLD if body.unreadable else DIFFERENT, body.why)
            answer = Answer(SAME) if body.same else why
            yield Verdict(task_id, body.version, body.path, answer, Answer(UNTOLD, FOREIGN))
        for found in dispatched_prompts(store, task_id):
            if found.started.built:
                check = prompt_check(store, task_id, found)
                first, again = (
                    Answer(DIFFERENT, why) if why else
                    Answer(UNTOLD, check.unknown) if check.unknown else Answer(SAME)
                    for why in (check.rebuilt, check.derived)
                )  # fmt: skip
                yield Verdict(task_id, found.version, found.name, first, again)


def rebuilt_answer(store: EventStore, fact: ContextBuilt) -> Answer:
    """Answer whether the recorded texts of a prompt give its recorded digest."""
    if missing := _unreadable(store, fact):
        return Answer(UNTOLD, missing)
    try:
        if rebuilt(fact, store.get) == fact.digest:
            return Answer(SAME)
    except (InputError, ValueError) as error:
        return Answer(UNTOLD, str(error))
    if fact.masked:
        return Answer(UNTOLD, f"masked texts in it: {fact.masked}")
    return Answer(DIFFERENT, "the recorded items do not give the recorded digest")


def _unreadable(store: EventStore, fact: ContextBuilt) -> str:
    """Return what is missing to rebuild a prompt; empty where nothing is."""
    version = fact.code.get("rendering", "1")
    if not version.isdigit() or int(version) > rendering.VERSION:
        return f"it was rendered by version {version}, this is {rendering.VERSION}"
    texts = {f"the text of {one.node}": one.text for one in fact.items}
    named = fact.template or ""
    template = named if named.startswith(BLOB_PREFIX) else None
    for what, ref in {
        "its policy": fact.policy, "its chat template": template, **texts
    }.items():  # fmt: skip
        try:
            if ref is not None:
                store.get(ref)
        except (DamagedError, ValueError) as error:
            return f"{what}: {error}"
    return ""


def derived_answer(pool: BuilderPool, step: ReplayStep, fact: ContextBuilt) -> Answer:
    """Answer whether today's builder gives a recorded prompt from what was known then."""
    return derivation(pool, step, fact)[0]


def derivation(
    pool: BuilderPool, step: ReplayStep, fact: ContextBuilt
) -> tuple[Answer, Context | None]:
    """Answer as `derived_answer`, with the context that was built; None where there is none."""
    if fact.stood_at is None or not (fact.profile and fact.tokenizer):
        return Answer(UNTOLD, "the log does not tell where it stood, or by which profile"), None
    try:
        builder = pool.recorded(fact)
        counter = builder.counting.tokenizer
        if counter.id != fact.tokenizer:
            why = f"it was counted by {fact.tokenizer}, here is {counter.id}"
            return Answer(UNTOLD, why), None
        answered = asked_again(pool, step.task_id, fact)
        context = answered or builder.build(step.known.states, step.known.graph, step.request)
    except (BackcastError, ValueError) as error:
        return Answer(UNTOLD, str(error)), None
    if not answered and context.digest != fact.digest:
        with suppress(BackcastError, ValueError):
            if known := without_late_tasks(pool.store, step, fact):
                context = builder.build(known, step.known.graph, step.request)
    if context.digest == fact.digest:
        return Answer(SAME), context
    if fact.masked:
        return Answer(UNTOLD, f"masked texts in it: {fact.masked}"), context
    if apart := _apart(pool.store, fact):
        return Answer(UNTOLD, apart), context
    odd = unknown_types(pool.store, [step.task_id], fact.stood_at)
    why = f"{counted_types(odd)}; or {cause(fact)}" if odd else cause(fact)
    return Answer(DIFFERENT, why, _first(pool.store, fact, context, counter)), context


def _apart(store: EventStore, fact: ContextBuilt) -> str:
    """Return which other tasks a prompt shows that this store does not hold; empty for none."""
    named = dict.fromkeys(one.task for one in fact.items if one.task)
    missing = [task for task in named if not store.version(task)]
    if not missing:
        return ""
    tasks = f"task {missing[0]!r}" if len(missing) == 1 else f"{len(missing)} tasks"
    return (
        f"it shows what {tasks} left, which this log does not hold: import it into the same store"
    )


def cause(fact: ContextBuilt) -> str:
    """Return why a prompt may be derived otherwise: code versions that changed since."""
    known = {**CODE, KIND: str(VERSION)}
    moved = [
        f"{name} {version} -> {known.get(name, 'none')}"
        for name, version in sorted(fact.code.items())
        if known.get(name) != version
    ]
    # A prompt from before names had a version may differ by them, if by nothing else.
    moved = moved or [f"{one} 1 -> {CODE[one]}" for one in ("names",) if one not in fact.code]
    return ", ".join(moved) or "by the same code: --bisect names the event"


def _first(
    store: EventStore, fact: ContextBuilt, context: Context, counter: Tokenizer
) -> FirstDifference | None:
    """Return where the recorded and derived prompt first differ; None if it cannot be read."""
    try:
        template = template_of(fact, store.get)
        before = pieces(template, messages(fact, store.get))
        prefix = compared(before, pieces(template, context.messages), counter)
    except (DamagedError, InputError, ValueError):
        return None
    node, was, is_now = first_item(fact, context)
    return FirstDifference(prefix.section, node, prefix.tokens, was, is_now)


def first_item(fact: ContextBuilt, context: Context) -> tuple[str, str, str]:
    """Return the first item that differs, how it was shown, and how it is shown now."""
    old = {item.node: (f"{item.level}, {item.tokens} tokens", item.text) for item in fact.items}
    new = {
        item.node: (
            f"{item.level}, {item.tokens} tokens", ref_of(item.text.encode(errors="surrogatepass")),
        )
        for item in context.items
    }  # fmt: skip
    reasons = {item.node: item.reason for item in context.omissions}
    for mine, theirs in zip([*old, ""], [*new, ""], strict=False):
        if mine == theirs and old.get(mine) == new.get(theirs):
            continue
        # Name an item that is gone before the one that took its place.
        node = mine if mine and mine not in new else theirs or mine
        gone = f"out ({reasons[node]})" if node in reasons else "out"
        was, is_now = old.get(node, ("out", None)), new.get(node, (gone, None))
        if was[0] == is_now[0]:
            return node, was[0], "elsewhere" if was == is_now else f"{is_now[0]}, another text"
        return node, was[0], is_now[0]
    return "", "", ""
