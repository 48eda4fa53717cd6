"""Extractive summaries, made again only where what they were made of has changed."""

from collections.abc import Mapping
from typing import NamedTuple

from backcast.domain.levels import Field
from backcast.domain.outline import Facet, part_of
from backcast.domain.reader import Reader
from backcast.domain.summary import NodeSummary, Tokens, entries_of
from backcast.domain.summary_fields import fields_of

KEPT = 50_000
"Nodes whose summaries are kept; then all are made anew."

Module = Mapping[str, Facet]


class Brief(NamedTuple):
    """The summary of a node, and what it was made of."""

    summary: NodeSummary
    "Without the digests of that, which nobody asks for here."
    reads: dict[str, tuple[Module | None, dict[str, Facet | None]]]
    "Of each module that was read, its facets when they were last compared, and those read."
    fitted: dict[int, str]
    "The summary within so many tokens."
    fields: list[Field]
    "Its parts as fields that can be shortened; made when they are first asked for."

    def stands(self, facets: Mapping[str, Module]) -> bool:
        """Whether all that was read is as it was; what is equal is the next one to be compared."""
        for path, (before, read) in self.reads.items():
            current = facets.get(path)
            if current is before:
                continue
            for key, facet in read.items():
                if facet != (None if current is None else part_of(current, key)):
                    return False
            self.reads[path] = current, read
        return True


class Briefs:
    """The summaries of nodes, kept from moment to moment."""

    def __init__(self) -> None:
        self._kept: dict[str, Brief] = {}

    def of(self, facets: Mapping[str, Module], node: str, limit: int, tokens: Tokens) -> str:
        """Return the summary of a node within a number of tokens; empty where there is none.

        `tokens` is always the same.
        """
        kept = self._brief(facets, node)
        text = kept.fitted.get(limit)
        if text is None:
            text = kept.fitted[limit] = kept.summary.fitted(limit, tokens)[0]
        return text

    def parts(self, facets: Mapping[str, Module], node: str) -> tuple[tuple[str, str], ...]:
        """Return label and text of each part of a node's summary."""
        return self._brief(facets, node).summary.parts

    def fields(self, facets: Mapping[str, Module], node: str) -> list[Field]:
        """Return the parts of a node's summary as fields that can be shortened."""
        kept = self._brief(facets, node)
        if not kept.fields:
            kept.fields.extend(fields_of(kept.summary))
        return kept.fields

    def _brief(self, facets: Mapping[str, Module], node: str) -> Brief:
        kept = self._kept.get(node)
        if kept is None or not kept.stands(facets):
            if len(self._kept) >= KEPT:
                self._kept.clear()
            kept = self._kept[node] = _made(facets, node)
        return kept


def _made(facets: Mapping[str, Module], node: str) -> Brief:
    reader = Reader(facets)
    summary = NodeSummary(node, entries_of(reader, node), {})
    reads: dict[str, tuple[Module | None, dict[str, Facet | None]]] = {}
    for (path, key), facet in reader.seen.items():
        if path not in reads:
            reads[path] = facets.get(path), {}
        reads[path][1][key] = facet
    return Brief(summary, reads, {}, [])
