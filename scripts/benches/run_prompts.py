"""The prompts of a run, as its log has them, and what a model says of them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from backcast.domain.budget import MISTRAL_7B_8K, ModelProfile
from backcast.domain.events import ContextBuilt
from backcast.domain.policy import DEFAULT, Policy
from backcast.engine.context.recorded import messages
from backcast.engine.context.rendering import RenderItem, messages_of
from backcast.engine.log.importers import Report, import_batches
from backcast.engine.log.importers.events import read
from backcast.engine.log.store import EventStore
from backcast.engine.models import Limits, Message, Model
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.runtime import Runtime
from scripts.benches.run_parts import Parts
from scripts.benches.run_steps import Outside
from scripts.benches.run_workload import Project
from tests.models import FOLDER

TINY = FOLDER / "tiny-mistral.gguf"
ANSWER = Limits(max_tokens=2)
CHANGES = ("current module", "recent errors", "task description")
"The sections of what another iteration changes."
Prompt = tuple[Message, ...]


class Asked(NamedTuple):
    """A recorded prompt."""

    target: str
    predicted: int | None
    "Tokens that it shares with the one before; None for the first."
    parted: str
    "The section in which it differs from that first."
    tokens: int
    changes: int
    "Of these, tokens of what another iteration changes."
    prompt: Prompt
    naive: Prompt
    "The same items, what changes most first."


class Told(NamedTuple):
    """What a model says of a prompt."""

    cached: int
    tokens: int


def prompts(
    path: Path, project: Project, policy: Policy = DEFAULT, profile: ModelProfile = MISTRAL_7B_8K
) -> list[Asked]:
    """The prompts of a run of a project, as its log has them."""
    with EventStore.open(f"sqlite:///{path}", fsync="normal") as store:
        start(store, project.spec())
        outside = Outside(store, Parts(), project.checks)
        work(store, "project", Runtime(outside, "double", profile, policy), checks=outside.checks)
        return list(_recorded(store, "project"))


def of_log(path: Path) -> list[Asked]:
    """The prompts of a recorded run."""
    report = Report()
    with EventStore.open("sqlite://") as store:
        import_batches(store, "events", read(path, None, report), report)
        [task] = store.tasks()
        return list(_recorded(store, task))


def told(model: Model, asked: Sequence[Prompt]) -> list[Told]:
    """What a model that has read nothing yet says of some prompts, in their order."""
    answers = [model.complete(prompt, ANSWER) for prompt in asked]
    return [Told(one.cached_tokens or 0, one.prompt_tokens or 0) for one in answers]


def foretold(asked: Sequence[Asked]) -> list[Told]:
    """What a model would say of some prompts, by what was predicted."""
    return [Told(one.predicted or 0, one.tokens) for one in asked]


def _recorded(store: EventStore, task: str) -> Iterator[Asked]:
    for event in store.read(task, types=["CONTEXT_BUILT"]):
        if isinstance(fact := event.fact, ContextBuilt):
            yield Asked(
                fact.target or "", fact.shared_prefix, fact.parted_in or "", fact.tokens or 0,
                sum(fact.sections.get(one, 0) for one in CHANGES),
                _turns(messages(fact, store.get)), _naive(fact, store.get),
            )  # fmt: skip


def _naive(fact: ContextBuilt, get: Callable[[str], bytes]) -> Prompt:
    shown = [
        RenderItem(one.node, one.section, get(one.text or "").decode(errors="replace"), one.level)
        for one in fact.items
    ]
    return _turns(messages_of(shown, DEFAULT.system, DEFAULT.order[::-1]))


def _turns(messages: Sequence[tuple[str, str]]) -> Prompt:
    return tuple(Message(role, text) for role, text in messages)
