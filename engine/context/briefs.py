"""Extractive summaries, made again only where what they were made of has changed."""

from collections.abc import Mapping
from typing import Any

from domain.outline import Facet
from domain.summary import Summary, Tokens, summary_of

KEPT = 50_000
"Nodes whose summaries are kept; then all are made anew."


class Briefs:
    """The summaries of nodes, kept from moment to moment."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[tuple[tuple[str, Any], ...], Summary]] = {}
        "By node: the facets of every module that was read, and the summary."

    def of(
        self, facets: Mapping[str, Mapping[str, Facet]], node: str, limit: int, tokens: Tokens
    ) -> str:
        """The summary of a node within a number of tokens; empty where there is none."""
        kept = self._kept.get(node)
        if kept and all(_there(facets, path) is read for path, read in kept[0]):
            return kept[1].fitted(limit, tokens)[0]
        summary = summary_of(facets, node)
        if summary is None:
            return ""
        reads = tuple((path, _there(facets, path)) for path in summary.built_from)
        if len(self._kept) >= KEPT:
            self._kept.clear()
        self._kept[node] = reads, summary
        return summary.fitted(limit, tokens)[0]


def _there(facets: Mapping[str, Mapping[str, Facet]], path: str) -> Any:
    return facets.get(path)
