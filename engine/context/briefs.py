"""Extractive summaries, made again only where what they were made of has changed."""

from collections.abc import Mapping

from domain.outline import Facet
from domain.summary import Summary, Tokens, summary_of

KEPT = 50_000
"Nodes whose summaries are kept; then all are made anew."

Reads = tuple[tuple[str, Mapping[str, Facet] | None], ...]


class Briefs:
    """The summaries of nodes, kept from moment to moment."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Reads, Summary, dict[int, str]]] = {}
        "By node: the facets of every module that was read, the summary, and it by tokens."

    def of(
        self, facets: Mapping[str, Mapping[str, Facet]], node: str, limit: int, tokens: Tokens
    ) -> str:
        """The summary of a node within a number of tokens; empty where there is none.

        `tokens` is always the same.
        """
        kept = self._kept.get(node)
        if kept is None or not all(facets.get(path) is read for path, read in kept[0]):
            summary = summary_of(facets, node)
            if summary is None:
                return ""
            if len(self._kept) >= KEPT:
                self._kept.clear()
            reads = tuple((path, facets.get(path)) for path in summary.built_from)
            kept = self._kept[node] = reads, summary, {}
        if limit not in kept[2]:
            kept[2][limit] = kept[1].fitted(limit, tokens)[0]
        return kept[2][limit]
