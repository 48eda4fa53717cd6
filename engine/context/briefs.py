"""Extractive summaries, made again only where what they were made of has changed."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from backcast.domain.levels import Field, fitted
from backcast.domain.outline import Facet, part_of
from backcast.domain.reader import Reader
from backcast.domain.summary import NodeSummary, Tokens, entries_of, text_of
from backcast.domain.summary_fields import fields_of
from backcast.domain.written_fields import filled

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
    levelled: dict[tuple[int, tuple[tuple[str, str], ...]], str]
    "The summary shortened to so many tokens and filled in with what was written, by both."

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
        kept = self.brief(facets, node)
        text = kept.fitted.get(limit)
        if text is None:
            text = kept.fitted[limit] = kept.summary.fitted(limit, tokens)[0]
        return text

    def levelled(
        self,
        facets: Mapping[str, Module],
        node: str,
        limit: int,
        signed: Collection[str],
        written: Mapping[str, str],
        tokens: Tokens,
    ) -> str:
        """Return the summary of a node shortened part by part to a number of tokens, less the parts
        that its signature says, and filled in with what was written of it.

        `tokens` is always the same, and `signed` the same for a node.
        """
        kept = self.brief(facets, node)
        key = limit, tuple(written.items())
        text = kept.levelled.get(key)
        if text is None:
            text = kept.levelled[key] = _levelled(kept, node, limit, signed, written, tokens)
        return text

    def brief(self, facets: Mapping[str, Module], node: str) -> Brief:
        """Return the summary of a node, the same one as before where that stands."""
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
    return Brief(summary, reads, {}, [], {})


def _levelled(
    kept: Brief, node: str, limit: int, signed: Collection[str], written: Mapping[str, str],
    tokens: Tokens,
) -> str:  # fmt: skip
    if not written:
        whole = text_of([part for part in kept.summary.parts if part[0] not in signed])
        if not whole or tokens(whole) <= limit:
            return whole
    if not kept.fields:
        kept.fields.extend(fields_of(kept.summary))
    fields = [field for field in kept.fields if field.label not in signed]
    return fitted(filled(node, fields, written), limit, tokens).text
