"""The texts of one moment, as they can be shown: made once for all requests and policies."""

from typing import NamedTuple, TypedDict

from backcast.domain.node import name_of, path_of
from backcast.domain.staleness import Modules
from backcast.domain.written_fields import TEXT, holding
from backcast.engine.context.briefs import Brief, Briefs
from backcast.engine.context.counting import Counting, Fewer
from backcast.engine.context.interfaces import implemented, interface
from backcast.engine.context.sources import SourceLines, SourcePiece, Sources
from backcast.engine.context.symbols import Symbols
from backcast.engine.history.task_states import TaskStates
from backcast.projections import dependency_graph, summaries

HEADS = ("Function:", "Method:", "Class:", "Test:", "Inputs:", "Outputs:", "Inherits:")
"How lines of a summary begin that repeat the signature."
SIGNED = tuple(head.removesuffix(":") for head in HEADS)
"The labels of these lines."


class ModuleSource(TypedDict):
    """Where a module's present text came from, as the fields of a candidate."""

    because: tuple[int, ...]
    version: int


class FoundSummary(NamedTuple):
    """The summary of a node that holds."""

    text: str
    stale: int
    "The version that wrote a summary which no longer holds; 0 where none was written."


class SymbolForms(NamedTuple):
    """A function or class in the forms in which it can be shown."""

    counted: tuple[Fewer, ...]
    piece: SourcePiece
    stale: int
    "As in `FoundSummary`."


class ModuleForms(NamedTuple):
    """What was made of a version of a module; all of it stands as long as that does."""

    module: dependency_graph.ModuleNode
    used: dict[str, SourcePiece]
    "See `MomentTexts.used`, by name."
    forms: dict[tuple[str, bool, int, bool, bool], tuple[Brief | None, SymbolForms]]
    "Of symbols of which nothing was written, with the summary that they were made of."


OfferedForms = dict[str, ModuleForms]
"By path, of each module's last version that was asked for."


class MomentTexts:
    """The texts of the modules of a moment, and summaries of what is in them."""

    def __init__(
        self,
        states: TaskStates,
        symbols: Symbols,
        lines: SourceLines,
        briefs: Briefs,
        counting: Counting,
        offered: OfferedForms,
    ) -> None:
        """`offered` serves the next moment, in which most symbols are the same."""
        self.graph, self.written, self.symbols = states.graph, states.summaries, symbols
        self.at = states.asked_at
        self.sources = Sources(states.graph, lines)
        self.modules = Modules(dependency_graph.present(states.graph))
        self._briefs, self._counting, self._offered = briefs, counting, offered
        self._origins: dict[str, ModuleSource] = {}
        self._summaries: dict[tuple[str, int, float | None, bool], FoundSummary] = {}
        self._forms: dict[tuple[int, bool, int, float | None, bool, bool], SymbolForms] = {}

    def are_of(self, states: TaskStates, symbols: Symbols) -> bool:
        """Tell whether these are the texts of some states."""
        return (
            self.symbols is symbols
            and self.graph is states.graph
            and self.written is states.summaries
            and self.at == states.asked_at
        )

    def source(self, path: str) -> ModuleSource:
        """Return the event, and the iteration, that a module's present text came from."""
        source = self._origins.get(path)
        if source is None:
            module = self.graph.modules[path]
            source = {"because": (module.version,), "version": module.iteration}
            self._origins[path] = source
        return source

    def summary(
        self, node: str, limit: int, lives: float | None = None, *, levels: bool = False
    ) -> FoundSummary:
        """Return the written summary if it still holds, else the extractive one.

        Written ones hold for `lives` seconds, where they are given. With `levels` it is the
        extractive one, shortened part by part and filled in with what was written and holds. What a
        signature says of a symbol is then not said again.
        """
        found = self._summaries.get((node, limit, lives, levels))
        if found is None:
            made = self._filled if levels else self._summary
            found = self._summaries[node, limit, lives, levels] = made(node, limit, lives)
        return found

    def stale_by(self, node: str, version: int, lives: float | None) -> str:
        """Return what the summary that a version wrote is stale by."""
        written = next(one for one in self.written.nodes[node] if one.version == version)
        return summaries.stale_by(self.written, written, self.modules, self.at, lives)

    def _summary(self, node: str, limit: int, lives: float | None) -> FoundSummary:
        known, stale = self.written, 0
        for written in reversed(known.nodes.get(node, ())):
            if not summaries.stale_by(known, written, self.modules, self.at, lives):
                return FoundSummary(written.text, stale)
            stale = written.version
        text = self._briefs.of(self.symbols.facets, node, limit, self._counting.count)
        return FoundSummary(text, stale)

    def _filled(self, node: str, limit: int, lives: float | None) -> FoundSummary:
        written_fields, stale, holds = dict[str, str](), 0, False
        for written in reversed(self.written.nodes.get(node, ())):
            by = summaries.stale_by(self.written, written, self.modules, self.at, lives)
            holds = holds or not by
            stale = stale if holds else written.version
            if by not in (summaries.TIME, summaries.SUMMARISER):
                named = {**dict(written.fields), TEXT: written.text}
                found = holding(node, named, written.made_of, self.modules.holds)
                written_fields = found | written_fields
        facets, signed = self.symbols.facets, SIGNED if name_of(node) else ()
        if signed:
            # The signature above says the rest, and takes its part of the limit.
            limit -= self._counting.count(
                self.sources.piece(path_of(node), name_of(node)).signature
            )
        if limit <= 0:
            return FoundSummary("", stale)
        count = self._counting.count
        text = self._briefs.levelled(facets, node, limit, signed, written_fields, count)
        return FoundSummary(text, stale)

    def forms(
        self,
        row: int,
        *,
        whole: bool,
        summary: int,
        lives: float | None = None,
        levels: bool = False,
        used: bool = False,
    ) -> SymbolForms:
        """Return the forms of a symbol, by its row: `whole` with its full text, and with its
        summary within so many tokens, if any; `lives` and `levels` are as in `summary`.

        With `used` its signature is what it is used by: see `interfaces`.
        """
        asked = row, whole, summary, lives, levels, used
        found = self._forms.get(asked)
        if found is None:
            found = self._forms[asked] = self._kept(*asked)
        return found

    def _kept(
        self, row: int, whole: bool, summary: int, lives: float | None, levels: bool, used: bool
    ) -> SymbolForms:
        """Return the forms of a symbol: those of the moment before, where they still stand."""
        node, path, name, _ = self.symbols.named[row]
        if summary and self.written.nodes.get(node):
            return self._made(row, whole, summary, lives, levels, used)
        brief = self._briefs.brief(self.symbols.facets, node) if summary else None
        kept, asked = self._of(path).forms, (name, whole, summary, levels, used)
        found = kept.get(asked)
        if found is None or found[0] is not brief:
            found = kept[asked] = brief, self._made(row, whole, summary, lives, levels, used)
        return found[1]

    def used(self, path: str, name: str) -> SourcePiece:
        """Return a function or class with a signature that tells how it is used."""
        kept = self._of(path).used
        if name not in kept:
            piece = implemented(self.sources.piece(path, name))
            if piece.signature.lstrip().startswith("class "):
                made = implemented(self.sources.piece(path, f"{name}.__init__"))
                piece = piece._replace(signature=interface(piece, made.signature))
            kept[name] = piece
        return kept[name]

    def _of(self, path: str) -> ModuleForms:
        """Return what was made of the present version of a module."""
        module, kept = self.graph.modules[path], self._offered.get(path)
        if kept is None or kept.module is not module:
            kept = self._offered[path] = ModuleForms(module, {}, {})
        return kept

    def _made(
        self, row: int, whole: bool, limit: int, lives: float | None, levels: bool, used: bool
    ) -> SymbolForms:
        node, path, name, _ = self.symbols.named[row]
        piece, found = self.sources.piece(path, name), FoundSummary("", 0)
        if used and piece.signature:
            piece = self.used(path, name)
        if limit and piece.signature:
            found = self.summary(node, limit, lives, levels=levels)
        texts = (
            ("full", piece.text if whole else ""),
            ("summary", _commented(piece.signature, found.text, () if levels else HEADS)),
            ("signature", piece.signature), ("name", name),
        )  # fmt: skip
        return SymbolForms(self._counting.fewer(texts), piece, found.stale)


def _commented(signature: str, summary: str, heads: tuple[str, ...]) -> str:
    """Return a signature, and below it, as comments, what a summary adds; empty for nothing."""
    lines = [line for line in summary.split("\n") if not line.startswith(heads)]
    if not any(lines):
        return ""
    first = signature.split("\n")[0]
    margin = first[: len(first) - len(first.lstrip())] + "    "
    return "\n".join([signature, *(f"{margin}# {line}" for line in lines)])
