"""The share of a run's prompts that a model need not read again, as they begin like those before.

A run's prompts are given to a real llama.cpp, in their order, with a model of random weights and a
real vocabulary, which reports what it had in its cache. The control is the same items with the
sections reversed, so that what changes most comes first. The prefix that was predicted when a
prompt was built is compared with what llama.cpp reports.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.context_events import ContextBuilt
from backcast.domain.policy import DEFAULT
from backcast.engine.context.recorded import messages
from backcast.engine.context.rendering import RenderItem, messages_of
from backcast.engine.log.store import EventStore
from backcast.engine.models import Limits, Message
from backcast.engine.models.llama import LlamaModel
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.runtime import Runtime
from scripts.benches.figures import Bench, Bound, Figure
from scripts.benches.run_parts import Parts
from scripts.benches.run_steps import Outside
from scripts.benches.run_workload import Project
from tests.models import FOLDER

TINY = FOLDER / "tiny-mistral.gguf"
ANSWER = Limits(max_tokens=2)
MODULES, SOME, ITERATIONS = 12, 3, 5
"Modules of a full bench and by default, and iterations of each."
Prompt = tuple[Message, ...]


class Recorded(NamedTuple):
    """A prompt in the log of a run."""

    target: str
    predicted: int | None
    "Tokens shared with the prompt before; None for the first."
    tokens: int
    prompt: Prompt
    reverse: Prompt
    "The same items with the sections reversed."


class Read(NamedTuple):
    """A prompt's tokens, and those of them that were in the cache."""

    cached: int
    tokens: int


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    project = Project(MODULES if bench.full else SOME, ITERATIONS)
    bench.say(f"a run of {project.steps} prompts")
    recorded = _recorded(bench.folder / "prompts.db", project)
    bench.say("its prompts for llama.cpp, as they are and reversed")
    ours = _read([one.prompt for one in recorded])
    reverse = _read([one.reverse for one in recorded])
    group = f"tokens that llama.cpp had in its cache, {len(recorded)} prompts"
    return [
        *_shares(group, recorded, ours, reverse),
        _predicted(group, recorded, ours),
    ]


def _recorded(path: Path, project: Project) -> list[Recorded]:
    """Run a project and return its prompts, as its log has them."""
    with EventStore.open(f"sqlite:///{path}", fsync="normal") as store:
        start(store, project.spec())
        outside = Outside(Parts(), project.checks)
        runtime = Runtime(outside, "double", MISTRAL_7B_8K)
        work(store, "project", runtime, checks=outside.checks)
        facts = [event.fact for event in store.read("project", types=["CONTEXT_BUILT"])]
        return [_prompt(store, fact) for fact in facts if isinstance(fact, ContextBuilt)]


def _prompt(store: EventStore, fact: ContextBuilt) -> Recorded:
    shown = [
        RenderItem(
            item.node,
            item.section,
            store.get(item.text or "").decode(errors="replace"),
            item.level,
        )
        for item in fact.items
    ]
    prompt, reverse = (
        tuple(Message(role, text) for role, text in parts)
        for parts in (
            messages(fact, store.get),
            messages_of(shown, DEFAULT.system, DEFAULT.order[::-1]),
        )
    )
    return Recorded(fact.target or "", fact.shared_prefix, fact.tokens or 0, prompt, reverse)


def _read(prompts: Sequence[Prompt]) -> list[Read]:
    """Give prompts to a model that has read nothing yet, in their order."""
    model = LlamaModel(TINY, MISTRAL_7B_8K.window, template="mistral")
    answers = [model.complete(prompt, ANSWER) for prompt in prompts]
    return [Read(one.cached_tokens or 0, one.prompt_tokens or 0) for one in answers]


def _numbers(recorded: Sequence[Recorded], same: bool = True) -> list[int]:
    """Return the prompts about the same module as the one before, or about another."""
    later = range(1, len(recorded))
    return [n for n in later if (recorded[n].target == recorded[n - 1].target) == same]


def _share(reads: Sequence[Read]) -> float:
    """Return the percentage of all tokens that were in the cache."""
    return 100 * sum(one.cached for one in reads) / max(1, sum(one.tokens for one in reads))


def _shares(
    group: str, recorded: Sequence[Recorded], ours: Sequence[Read], reverse: Sequence[Read]
) -> Iterator[Figure]:
    same, other = _numbers(recorded), _numbers(recorded, same=False)
    for what, numbers, aim in (
        ("all but the first", sorted(same + other), None),
        ("about the module of the one before", same, Bound(">=", 80)),
        ("about another module", other, None),
    ):
        mine, theirs = ([reads[n] for n in numbers] for reads in (ours, reverse))
        sizes = f"{len(mine)} prompts of {median(one.tokens for one in mine):,.0f} tokens"
        control = f"the sections reversed {_share(theirs):.1f} %"
        yield Figure(group, f"{what}, pooled", [_share(mine)], "%", sizes, control, aim=aim)


def _predicted(group: str, recorded: Sequence[Recorded], ours: Sequence[Read]) -> Figure:
    """Return how often the prediction equals what llama.cpp had.

    A prompt that wholly equals the one before has one token less: its last is read again.
    """
    equal = [
        min(one.predicted, one.tokens - 1) == read.cached
        for one, read in zip(recorded, ours, strict=True)
        if one.predicted is not None
    ]
    share, of = 100 * sum(equal) / max(1, len(equal)), f"{sum(equal)} of {len(equal)}"
    return Figure(group, "foretold to the token", [share], "%", of, must=Bound(">=", 100))
