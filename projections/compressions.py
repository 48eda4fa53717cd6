"""How much was taken out of long texts, in prompts and elsewhere?

Of a prompt each item that shows extracts counts, under its section; of other texts, results of
tools and answers of sub-calls, each is a fact of its own.
"""

from typing import Literal, NamedTuple

from immutables import Map

from backcast.domain.context_events import CompressedItem, ContextBuilt, TextCompressed
from backcast.domain.events import WorkflowEvent

NAME = "compressions"
VERSION = 1
SCOPE: Literal["task", "store"] = "task"


class CompressedTexts(NamedTuple):
    """Long texts of a kind that were shown in fewer tokens."""

    texts: int = 0
    offloaded: int = 0
    "Of these, texts for which a preview stands."
    before: int = 0
    "Tokens of the wholes."
    after: int = 0
    exceeded: int = 0
    "Texts of which what had to stay was more than the target."

    @property
    def ratio(self) -> float | None:
        """How many times fewer tokens are shown; None where nothing is."""
        return self.before / self.after if self.after else None


class State(NamedTuple):
    """How much was taken out so far."""

    kinds: Map[str, CompressedTexts] = Map()
    "By the section of a prompt, or by what the text was."


initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """Return the state after one more event."""
    match event.fact:
        case ContextBuilt() as fact:
            for item in fact.items or ():
                if item.compressed is not None:
                    state = _more(state, item.section or "prompts", item.compressed)
            return state
        case TextCompressed(compressed=CompressedItem() as item, about=about):
            return _more(state, about or "texts", item)
        case _:
            return state


def _more(state: State, kind: str, item: CompressedItem) -> State:
    known = state.kinds.get(kind, CompressedTexts())
    texts = CompressedTexts(
        known.texts + 1, known.offloaded + (item.state == "offloaded"),
        known.before + max(0, item.before), known.after + max(0, item.tokens),
        known.exceeded + (item.protected > item.target),
    )  # fmt: skip
    return State(state.kinds.set(kind, texts))
