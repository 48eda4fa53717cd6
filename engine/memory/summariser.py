"""Summarisers of nodes: the Protocol, its inputs, and the extractive one.

Extractive summaries are derived: they are made on demand and never stored. Summaries by a model
(`model_summariser.py`) are recorded.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from backcast.domain.levels import fitted
from backcast.domain.node import kind_of
from backcast.domain.summary import EXTRACTIVE, LIMITS, BuiltFrom, NodeSummary
from backcast.domain.summary_fields import fields_of
from backcast.engine.models.tokenizers import Tokenizer


class NodeFacts(NamedTuple):
    """The input of a summariser: a node in the state of one moment."""

    outlined: NodeSummary
    "The summary of its outline, with its sources."
    source: str = ""
    "The text of the node; empty where it has none."
    history: str = ""
    "Its number of iterations, and its last test results."
    read: Mapping[str, Mapping[str, str]] = {}
    "Sources of this input beyond those of `outlined`."
    raised: frozenset[str] = frozenset()
    "Exceptions that any function of the task raises."


class Made(NamedTuple):
    """A summary, with its sources."""

    text: str
    tokens: int | None
    "Tokens of the text; None where they were only bounded."
    built_from: BuiltFrom
    fields: Mapping[str, str | tuple[str, ...]] = {}
    "The parts of a model's form."
    answer: str | None = None
    "A model's raw answer."
    left_out: Sequence[str] = ()
    "Labels of the lines that exceed the limit."
    refused: Sequence[str] = ()
    "Fields that were left out since the code contradicts them, with the reasons."


class Summariser(Protocol):
    """A writer of summaries of nodes."""

    @property
    def id(self) -> str:
        """Name and version, as facts state them: `qwen3-8b 1`."""

    @property
    def derived(self) -> bool:
        """Whether its summaries follow from the state alone, so that none is ever stored."""

    def summarise(
        self, asked: NodeFacts, limits: Mapping[str, int], tokenizer: Tokenizer
    ) -> Made | str:
        """Return a node's summary within the limit of its kind, or the reason why there is none."""


class Extractive:
    """A summariser that takes what fits of an outline: shortened parts before left-out ones."""

    id = EXTRACTIVE
    derived = True

    def summarise(self, asked: NodeFacts, limits: Mapping[str, int], tokenizer: Tokenizer) -> Made:
        """Return the summary of a node within the limit of its kind."""
        full = asked.outlined
        found = fitted(fields_of(full), limit_of(limits, full.node), tokenizer.count)
        tokens = exactly(tokenizer, found.text)
        return Made(found.text, tokens, full.built_from, left_out=found.left_out)


def limit_of(limits: Mapping[str, int], node: str) -> int:
    """Return the most tokens of a node's summary."""
    kind = kind_of(node)
    return limits.get(kind, LIMITS.get(kind, LIMITS["function"]))


def exactly(tokenizer: Tokenizer, text: str) -> int | None:
    """Return the tokens of a text; None where the tokenizer only knows a bound."""
    return tokenizer.count(text) if tokenizer.exact else None
