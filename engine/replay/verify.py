"""Two questions about every recorded prompt: is it rebuilt, and would it be built again?

*Rebuilt*: the recorded texts, in their order and template, give the recorded digest. That must hold
for every log ever written. *Derived*: today's builder, from what was known then, under the recorded
policy, chooses and renders the same. Each is answered by same, different, or cannot be told; what
is different is named by its first section, item and token, and by its cause.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from backcast.domain.context import Context
from backcast.domain.errors import BackcastError, DamagedError, InputError
from backcast.domain.events import ContextBuilt
from backcast.engine.context import rendering
from backcast.engine.context.prefix import compared
from backcast.engine.context.recorded import CODE, messages, rebuilt
from backcast.engine.log.blobs import ref_of
from backcast.engine.log.store import EventStore
from backcast.engine.models.templates import pieces
from backcast.engine.models.tokenizers import Tokenizer
from backcast.engine.replay.corpus import rarely_collecting
from backcast.engine.replay.derive import BuilderPool
from backcast.engine.replay.steps import ReplayStep, steps

SAME: Literal["same"] = "same"
DIFFERENT: Literal["different"] = "different"
UNTOLD: Literal["cannot be told"] = "cannot be told"


class FirstDifference(NamedTuple):
    """Where two prompts differ first."""

    section: str
    "Empty before any section, and where only what follows the items differs."
    node: str
    "The first item that is not the same; empty where all are."
    token: int
    "The first token that is not the same, counted from 0."
    recorded: str
    "How the item was shown then: its level and tokens, or `out`."
    derived: str
    "How it is shown now."

    def __str__(self) -> str:
        where = f"in section {self.section!r} " if self.section else ""
        item = f": {self.node} was {self.recorded}, is {self.derived}" if self.node else ""
        return f"{where}at token {self.token}{item}"


class Answer(NamedTuple):
    """The answer to one of the two questions."""

    verdict: Literal["same", "different", "cannot be told"]
    why: str = ""
    "The cause of a difference, or what is missing where it cannot be told."
    difference: FirstDifference | None = None
    event: str = ""
    "The event that makes the difference, where it was looked for."

    def __str__(self) -> str:
        told: list[str] = [self.verdict]
        if self.difference:
            told.append(f" {self.difference}")
        if self.why:
            told.append(f": {self.why}" if self.verdict == UNTOLD else f" ({self.why})")
        if self.event:
            told.append(f" {self.event}")
        return "".join(told)


class Verdict(NamedTuple):
    """What became of one recorded prompt."""

    task_id: str
    version: int
    name: str
    "What was asked for."
    rebuilt: Answer
    derived: Answer

    @property
    def holds(self) -> bool:
        """Whether both questions are answered by same."""
        return self.rebuilt.verdict == self.derived.verdict == SAME


def verified(store: EventStore, task_id: str) -> Iterator[Verdict]:
    """Both questions, of every prompt that a task recorded with a digest."""
    workshop = BuilderPool(store)
    with rarely_collecting():
        for step in steps(store, task_id):
            if step.built:
                answers = _rebuilt(store, step.built), _derived(workshop, step, step.built)
                yield Verdict(task_id, step.version, step.name, *answers)


def _rebuilt(store: EventStore, fact: ContextBuilt) -> Answer:
    if missing := _unreadable(store, fact):
        return Answer(UNTOLD, missing)
    try:
        if rebuilt(fact, store.get) == fact.digest:
            return Answer(SAME)
    except (InputError, ValueError) as error:
        return Answer(UNTOLD, str(error))
    if fact.masked:
        return Answer(UNTOLD, f"{fact.masked} of its texts were masked when it was exported")
    return Answer(DIFFERENT, "the recorded items do not give the recorded digest")


def _unreadable(store: EventStore, fact: ContextBuilt) -> str:
    """What a prompt needs to be rebuilt and is not there; empty where all is."""
    version = fact.code.get("rendering", "1")
    if not version.isdigit() or int(version) > rendering.VERSION:
        return f"it was rendered by version {version}, this is {rendering.VERSION}"
    texts = {f"the text of {one.node}": one.text for one in fact.items}
    for what, ref in {"its policy": fact.policy, **texts}.items():
        try:
            if ref is not None:
                store.get(ref)
        except (DamagedError, ValueError) as error:
            return f"{what}: {error}"
    return ""


def _derived(workshop: BuilderPool, step: ReplayStep, fact: ContextBuilt) -> Answer:
    if fact.stood_at is None or not (fact.profile and fact.tokenizer):
        return Answer(UNTOLD, "the log does not tell where it stood, or by which profile")
    try:
        builder = workshop.recorded(fact)
        counter = builder.counting.tokenizer
        if counter.id != fact.tokenizer:
            return Answer(UNTOLD, f"it was counted by {fact.tokenizer}, here is {counter.id}")
        context = builder.build(step.known.states, step.known.graph, step.request)
    except (BackcastError, ValueError) as error:
        return Answer(UNTOLD, str(error))
    if context.digest == fact.digest:
        return Answer(SAME)
    if fact.masked:
        return Answer(UNTOLD, f"{fact.masked} of its texts were masked when it was exported")
    return Answer(DIFFERENT, cause(fact), _first(workshop.store, fact, context, counter))


def cause(fact: ContextBuilt) -> str:
    """Why a prompt may be derived otherwise: the versions of the code that have moved since."""
    moved = [
        f"{name} {version} -> {CODE.get(name, 'none')}"
        for name, version in sorted(fact.code.items())
        if CODE.get(name) != version
    ]
    return ", ".join(moved) or "by the same code: --bisect names the event"


def _first(
    store: EventStore, fact: ContextBuilt, context: Context, counter: Tokenizer
) -> FirstDifference | None:
    """Where a recorded prompt and the derived one differ first; None where that cannot be read."""
    try:
        told = messages(fact, store.get)
    except (DamagedError, InputError, ValueError):
        return None
    before = pieces(fact.template or "", told)
    prefix = compared(before, pieces(fact.template or "", context.messages), counter)
    node, was, now = first_item(fact, context)
    return FirstDifference(prefix.section, node, prefix.tokens, was, now)


def first_item(fact: ContextBuilt, context: Context) -> tuple[str, str, str]:
    """The first item that is not shown alike, how it was shown, and how it is."""
    old = {one.node: (f"{one.level}, {one.tokens} tokens", one.text) for one in fact.items}
    new = {
        one.node: (
            f"{one.level}, {one.tokens} tokens", ref_of(one.text.encode(errors="surrogatepass")),
        )
        for one in context.items
    }  # fmt: skip
    reasons = {one.node: one.reason for one in context.omissions}
    for mine, theirs in zip([*old, ""], [*new, ""], strict=False):
        if mine == theirs and old.get(mine) == new.get(theirs):
            continue
        # What is gone is told before what came in its place.
        node = mine if mine and mine not in new else theirs or mine
        gone = f"out ({reasons[node]})" if node in reasons else "out"
        was, now = old.get(node, ("out", None)), new.get(node, (gone, None))
        if was[0] == now[0]:
            return node, was[0], "elsewhere" if was == now else f"{now[0]}, another text"
        return node, was[0], now[0]
    return "", "", ""
