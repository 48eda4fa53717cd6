"""Caches a log's texts, token counts and symbols for all policies that build from it."""

from typing import NamedTuple

from backcast.domain.graph import Graph
from backcast.engine.context.briefs import Briefs
from backcast.engine.context.counting import Counting
from backcast.engine.context.evidence import Evidence, RequestEvidence
from backcast.engine.context.moment_texts import MomentTexts, OfferedForms
from backcast.engine.context.project_knowledge import ProjectKnowledge
from backcast.engine.context.recall.code import RecalledCode, RecallIndex, States
from backcast.engine.context.search.word_counts import WordCounts
from backcast.engine.context.sources import Read, SourceLines
from backcast.engine.context.symbol_texts import SPARE, TIMES, SymbolTexts, TextIndex
from backcast.engine.context.symbols import Symbols
from backcast.engine.history.task_states import TaskStates
from backcast.engine.models.tokenizers import Tokenizer
from backcast.projections import changes, dependency_graph


class BuildWords(NamedTuple):
    """Words that were counted before."""

    outlines: WordCounts | None = None
    sources: WordCounts | None = None


NOTHING_COUNTED = BuildWords()


class BuildCache:
    """Texts, counts, summaries and symbols: values of what was asked, so they may be shared."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        read: Read,
        words: BuildWords = NOTHING_COUNTED,
        legacies: States | None = None,
    ) -> None:
        """`legacies` gives the code that other tasks left; without it their code is not known."""
        self.read = read
        self.lines, self.counting, self.briefs = SourceLines(read), Counting(tokenizer), Briefs()
        self._offered: OfferedForms = {}
        self._moment: MomentTexts | None = None
        self.knowledge = ProjectKnowledge(self.lines)
        self._texts, self._words = TextIndex(self.lines, words.sources), words.outlines
        self.legacies, self._recall = legacies, RecallIndex(legacies, words.outlines)
        self._symbols: Symbols | None = None
        self._evidence: Evidence | None = None

    def symbols(self, state: dependency_graph.State, graph: Graph) -> Symbols:
        """Return the symbols of a moment, made of those of the moment asked for last."""
        if self._symbols is None or self._symbols.graph is not graph:
            self._symbols = Symbols.of(state, graph, self._symbols, self._words)
        return self._symbols

    def texts(self, states: TaskStates, symbols: Symbols) -> MomentTexts:
        """Return the texts of a moment; those of the last one are kept, for other policies."""
        if self._moment is None or not self._moment.are_of(states, symbols):
            if len(self._offered) > SPARE + TIMES * len(symbols.parts):
                self._offered = {}
            self._moment = MomentTexts(
                states, symbols, self.lines, self.briefs, self.counting, self._offered
            )
        return self._moment

    def recalled(self, states: TaskStates) -> RecalledCode:
        """Return the functions and classes of earlier work that are known at a moment."""
        return self._recall.at(states.graph, states.legacies)

    def evidence(
        self,
        symbols: Symbols,
        state: dependency_graph.State,
        history: changes.State,
        asked: RequestEvidence,
    ) -> Evidence:
        """Return the evidence for a request; that for the last one is kept, for other policies."""
        if self._evidence is None or not self._evidence.answers(symbols, history, asked):
            texts = SymbolTexts(self._texts, state, symbols)
            self._evidence = Evidence(symbols, history, asked, texts)
        return self._evidence
