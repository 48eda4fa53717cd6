"""A code base at one moment that a model may look into, and questions that its graph can answer."""

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from backcast.domain.context_map import Tokens
from backcast.domain.errors import InputError
from backcast.domain.graph import Graph
from backcast.domain.moment import NOW
from backcast.domain.node import Reference, kind_of, name_of, node_id, path_of
from backcast.domain.outline import Facets, names_in
from backcast.domain.paths import is_code
from backcast.domain.summary import summary_of
from backcast.engine.context.search import Document, search_words
from backcast.engine.history.snapshots import state_at
from backcast.engine.history.source_text import text_in
from backcast.engine.log.store import EventStore
from backcast.projections import dependency_graph

FOUND, SHOWN = 8, 600
"The most nodes of a search, and the most tokens of a shown text."
MOST = 5
"The most answers of a question."
KINDS = ("function", "class")


class Question(NamedTuple):
    """A question about a code base."""

    text: str
    answers: tuple[str, ...]
    "All names of a complete answer."


class World:
    """A task's code in its latest state."""

    def __init__(self, store: EventStore, task: str, count: Tokens) -> None:
        self.store, self.task, self._count = store, task, count
        self.state: dependency_graph.State = state_at(store, dependency_graph, task, NOW)
        self.graph: Graph = dependency_graph.graph_of(self.state)
        self.facets: Mapping[str, Facets] = dependency_graph.present(self.state)

    @cached_property
    def documents(self) -> list[Document]:
        """The modules, functions and classes, each with its summary."""
        summaries = {node: summary_of(self.facets, node) for node in self._nodes()}
        return [Document(node, one.text if one else node) for node, one in summaries.items()]

    def _nodes(self) -> Iterator[str]:
        for path, facets in self.facets.items():
            if is_code(path):
                yield node_id("module", path)
                for name in names_in(facets):
                    yield node_id((facets[f"sig:{name}"] or ("function",))[0], path, name)

    def find(self, words: str) -> tuple[str, tuple[str, ...]]:
        """Return the nodes that a search for words finds."""
        if not words.strip():
            return "Nothing: needed words.", ()
        hits = [hit.id for hit in search_words(self.documents, words, FOUND)]
        return "\n".join(hits) or "Nothing is found.", ()

    def show(self, what: str) -> tuple[str, tuple[str, ...]]:
        """Return the text of a module or a function in it (`PATH`, `PATH::NAME`), and its node."""
        kind, colon, rest = what.strip().partition(":")
        named = rest if colon and kind.isalpha() and not rest.startswith(":") else what.strip()
        path, _, name = named.partition("::")
        try:
            reference = Reference(self.task, path, name=name or None)
            body = text_in(self.store, self.state, reference).decode(errors="replace")
        except (InputError, ValueError):
            return "There is no such thing.", ()
        facets = self.facets.get(path)
        sig = (facets.get(f"sig:{name}") if facets else None) or ("function",)
        node = node_id(sig[0], path, name) if name else node_id("module", path)
        return cut(body, SHOWN, self._count), (node,)


def cut(text: str, tokens: int, count: Callable[[str], int]) -> str:
    """Return the first lines of a text that fit a number of tokens."""
    kept, room = list[str](), tokens
    for line in text.split("\n"):
        room -= count(f"{line}\n")
        if room < 0:
            return "\n".join([*kept, "..."])
        kept.append(line)
    return text


def questions_in(path: Path) -> list[Question]:
    """Read questions from JSON lines: an object with `question` and `answers` each."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except ValueError:
        raise InputError(f"{path}: needed questions in UTF-8") from None
    questions = []
    for number, line in enumerate(lines, 1):
        try:
            if line.strip():
                questions.append(_question(json.loads(line)))
        except (ValueError, KeyError, TypeError, RecursionError):
            needed = "needed an object with question, a text, and answers, a list of texts"
            raise InputError(f"{path}, line {number}: {needed}") from None
    return questions


def _question(fields: Mapping[str, object]) -> Question:
    """Return a question from its JSON; `ValueError` where it is none."""
    text, answers = fields["question"], fields["answers"]
    if not isinstance(answers, list) or not answers or set(map(type, (text, *answers))) != {str}:
        raise ValueError
    question = Question(str(text), tuple(map(str, answers)))
    if not all(one.strip() for one in (question.text, *question.answers)):
        raise ValueError
    "".join((question.text, *question.answers)).encode()  # halves of surrogate pairs cannot be kept
    return question


def questions_about(world: World, count: int, seed: int) -> list[Question]:
    """Return at most `count` questions whose answers the graph knows."""
    all = [*_defined(world), *_called(world)]
    dice = random.Random(seed)
    return sorted(dice.sample(all, min(count, len(all))))


def _defined(world: World) -> Iterator[Question]:
    """Yield questions about the file of a name that is defined once."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for document in world.documents:
        if kind_of(document.id) in KINDS:
            places[name_of(document.id)].append(path_of(document.id))
    for name in sorted(places):
        if len(places[name]) == 1:
            yield Question(f"In which file is {name} defined? Answer its path.", (places[name][0],))


def _called(world: World) -> Iterator[Question]:
    """Yield questions about the callers of a function that has few."""
    callers: defaultdict[str, set[str]] = defaultdict(set)
    for links in world.graph.links.values():
        for edge in links.edges:
            if edge.kind == "calls" and kind_of(edge.target) in KINDS and name_of(edge.source):
                callers[edge.target].add(name_of(edge.source))
    for node in sorted(callers):
        names: Sequence[str] = sorted(callers[node] - {name_of(node)})
        if 0 < len(names) <= MOST:
            asked = f"Which functions call {name_of(node)} of {path_of(node)}? Answer their names."
            yield Question(asked, tuple(names))
