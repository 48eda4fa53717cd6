"""The recorded prompts of dispatches: found by their moment, rebuilt, and built again.

*Rebuilt*: the recorded parts, at their levels, give the recorded prompt. *Derived*: today's ledger,
folded from the log as it was then, and today's levels choose the same.
"""

from collections.abc import Iterator
from typing import NamedTuple

from backcast.domain.dispatch_events import BuiltParts, DispatchStarted
from backcast.domain.dispatch_prompt import LEDGER, VERSION, ledger_texts
from backcast.domain.errors import BackcastError, InputError, MomentError
from backcast.domain.prompt_sections import PromptSection, compacted, joined
from backcast.engine.history.ledgers import ledger_of, ledger_states
from backcast.engine.history.moments import LAST, near_numbers
from backcast.engine.log.blobs import ref_of
from backcast.engine.log.store import EventStore
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.replay.find import last_by


class DispatchedPrompt(NamedTuple):
    """The prompt of a dispatch, by the version of its event."""

    version: int
    started: DispatchStarted

    @property
    def name(self) -> str:
        """The request in a few words."""
        started = self.started
        return f"{started.role} {started.agent} {started.item} #{started.attempt or 1}"


class PromptCheck(NamedTuple):
    """Why a prompt is not the same again; empty where it is."""

    rebuilt: str = ""
    derived: str = ""
    unknown: str = ""
    "Why nobody can tell."


def dispatched_prompts(store: EventStore, task_id: str) -> Iterator[DispatchedPrompt]:
    """Yield the dispatches of a task that recorded a prompt."""
    for event in store.read(task_id, types=["DISPATCH_STARTED"]):
        if isinstance(event.fact, DispatchStarted) and event.fact.prompt:
            yield DispatchedPrompt(event.version, event.fact)


def dispatched_at(store: EventStore, task_id: str, when: str = LAST) -> DispatchedPrompt:
    """Return the dispatch at a moment: that event, or the last by that time."""
    found = list(dispatched_prompts(store, task_id))
    if not found:
        raise InputError(f"task {task_id!r}: needed a dispatch with a prompt, found none")
    versions = [prompt.version for prompt in found]
    if not when.isdecimal():
        return last_by(store, task_id, when, found, versions)
    if int(when) in versions:
        return found[versions.index(int(when))]
    near = " and ".join(f"{task_id}@{number}" for number in near_numbers(int(when), versions, 2))
    raise MomentError(f"{task_id}@{when}: needed the event of a dispatch: the nearest are {near}")


def text_of(store: EventStore, ref: str) -> str:
    """Return a recorded text."""
    return store.get(ref).decode(errors="surrogatepass")


def sections_in(store: EventStore, built: BuiltParts) -> list[PromptSection]:
    """Return the recorded sections of a prompt with all of their levels."""
    return [
        PromptSection(part.name, tuple(text_of(store, ref) for ref in part.levels), part.group)
        for part in built.parts
    ]


def prompt_check(store: EventStore, task_id: str, found: DispatchedPrompt) -> PromptCheck:
    """Rebuild the prompt of a dispatch, and build it again."""
    built = found.started.built
    assert built is not None
    try:
        sections = sections_in(store, built)
        text = joined(sections, [part.level for part in built.parts])
        counter = tokenizer_of(built.tokenizer if built.tokenizer != BOUND else "upper-bound")
    except (BackcastError, ValueError, IndexError) as error:
        return PromptCheck(unknown=str(error))
    same = ref_of(text.encode(errors="surrogatepass")) == found.started.prompt
    rebuilt = "" if same else "the recorded parts do not give the recorded prompt"
    if counter.id != built.tokenizer:
        return PromptCheck(rebuilt, unknown=f"it was counted by {built.tokenizer}")
    again = compacted(sections, built.room, counter.count)
    chosen = tuple(part.level for part in built.parts)
    if again.levels != chosen:
        names = [part.name for part, level in zip(built.parts, again.levels, strict=True)
                 if part.level != level]  # fmt: skip
        return PromptCheck(rebuilt, f"at another level: {', '.join(names)}")
    states = ledger_states(store, task_id, last=built.stood_at)
    ledger = ledger_of(task_id, states, version=built.version)
    texts = ledger_texts(ledger, found.started.item or "")
    old = [section.texts for section in sections if section.name == LEDGER]
    if old and old != [texts]:
        by = f"sections {built.version} -> {VERSION}" if built.version != VERSION else "same code"
        return PromptCheck(rebuilt, f"the ledger tells otherwise ({by})")
    return PromptCheck(rebuilt)


BOUND = "upper bound 1"
"The id of the bound, which its name does not tell."
