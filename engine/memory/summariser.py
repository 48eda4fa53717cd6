"""What sums up nodes: two kinds behind one Protocol, and what they are given.

The extractive one is here. It is derived, so its summaries are made when somebody asks for them
and are stored nowhere. What a model writes (`model_summariser.py`) is recorded.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from backcast.domain.node import kind_of
from backcast.domain.summary import EXTRACTIVE, LIMITS, BuiltFrom, NodeSummary
from backcast.engine.models.tokenizers import Tokenizer


class NodeFacts(NamedTuple):
    """What a summariser is given of a node: what the state of one moment says of it."""

    told: NodeSummary
    "What its outline tells, and what that was made of."
    source: str = ""
    "Its text; empty where it has none."
    history: str = ""
    "How often it was written, and what passed at last."
    read: Mapping[str, Mapping[str, str]] = {}
    "What whoever was shown all of this has seen beyond what `told` was made of."


class Made(NamedTuple):
    """A summary, and what it was made of."""

    text: str
    tokens: int | None
    "Of the text; None where they were not counted, but bounded."
    built_from: BuiltFrom
    fields: Mapping[str, str | tuple[str, ...]] = {}
    "The parts that it was asked for in, where it was."
    answer: str | None = None
    "What a model answered, as it came."
    left_out: Sequence[str] = ()
    "The lines, by their labels, that the limit has no room for."


class Summariser(Protocol):
    """Something that sums up nodes."""

    @property
    def id(self) -> str:
        """Name and version, as facts state them: `qwen3-8b 1`."""

    @property
    def derived(self) -> bool:
        """Whether its summaries follow from the state alone: then none is ever stored."""

    def summarise(
        self, asked: NodeFacts, limits: Mapping[str, int], tokenizer: Tokenizer
    ) -> Made | str:
        """The summary of a node within the limit of its kind; or, in words, why there is none."""


class Extractive:
    """Summaries made of outlines: as many whole lines as fit, the most important first."""

    id = EXTRACTIVE
    derived = True

    def summarise(self, asked: NodeFacts, limits: Mapping[str, int], tokenizer: Tokenizer) -> Made:
        """The summary of a node within the limit of its kind."""
        told = asked.told
        text, left_out = told.fitted(limit_of(limits, told.node), tokenizer.count)
        return Made(text, exactly(tokenizer, text), told.built_from, left_out=left_out)


def limit_of(limits: Mapping[str, int], node: str) -> int:
    """How many tokens the summary of a node may have."""
    kind = kind_of(node)
    return limits.get(kind, LIMITS.get(kind, LIMITS["function"]))


def exactly(tokenizer: Tokenizer, text: str) -> int | None:
    """How many tokens a text has; None where the tokenizer only knows a bound."""
    return tokenizer.count(text) if tokenizer.exact else None
