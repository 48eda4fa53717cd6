"""The passages of a subject that answer some words: nodes, whole or in their best lines.

What the words name comes first, then lines that hold a name of theirs exactly, then what a search
finds. Each line is shown once, under the innermost node that holds it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from backcast.domain.node import node_id
from backcast.engine.context.search import Document, search_words
from backcast.engine.context.search.code_words import SearchWords
from backcast.engine.context.search.word_counts import WordCounts
from backcast.engine.workflow.ask.nodes import EVENT, NodeText, SubjectNodes
from backcast.engine.workflow.ask.proof import content
from backcast.projections import dependency_graph

CHUNK = 60
"Lines of a part of a file that is found by itself, as nothing names its parts."
AROUND, WINDOWS = 2, 2
"Lines that are shown around a best one, and best ones of one node."
WHOLE = 12
"Lines of a found node up to which it is shown whole."
NAMED, EXACT = 3, 4
"Nodes that a name shows, and lines that hold it."
WIDTH = 160
"Characters of a line that is not of a named node."
_NAME = re.compile(r"[A-Za-z_]\w*(?:[./-]\w+)*")
_PRECISE = re.compile(r"_|\d|\.|[a-z][A-Z]")
"What shows that a word is a name, and no word of a language."


class ShownPassage(NamedTuple):
    """Lines of a node that stand one after another."""

    node: str
    first: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The lines, under the one that tells where they stand."""
        last = self.first + len(self.lines) - 1
        return "\n".join([f"{self.node}, lines {self.first}-{last}:", *self.lines])


class SubjectPassages(SubjectNodes):
    """What in a view of a log answers some words."""

    def passages(
        self, query: str, count: int, tokens: int, about: str = ""
    ) -> list[list[ShownPassage]]:
        """Return what answers some words, the best first: of `count` nodes or fewer, and of so many
        tokens together. What shares few words with them is left out, or none where all is."""
        least = 1 if len(content(query)) < 3 else 2
        found = self._passages(query, count, tokens, about, least)
        return found or self._passages(query, count, tokens, about, 1)

    def _passages(
        self, query: str, count: int, tokens: int, about: str, least: int
    ) -> list[list[ShownPassage]]:
        asked, seen = content(query), dict[str, set[int]]()
        shown, room = list[list[ShownPassage]](), tokens
        for node, line in self._ranked(query, about):
            is_named = line < 0
            node, place = self._inner(node, asked) if line == 0 else node, self._place(node)
            for lines in self._choices(
                self.node(node), asked, line, whole=tokens // 2, least=least
            ):
                new = [one for one in lines if one not in seen.setdefault(place, set())]
                if not new or (not is_named and 2 * len(new) < len(lines)):
                    break
                found = list(self._runs(node, new, cut=not is_named))
                cost = sum(self.counter.count(f"{one.text}\n\n") for one in found)
                if cost <= room:
                    seen[place].update(new)
                    shown.append(found)
                    room -= cost
                    break
            if len(shown) >= count:
                break
        return shown

    def best_lines(self, named: str, words: str) -> str:
        """Return the lines of a node that answer some words best, and those around them."""
        lines = self._windows(self.node(named), content(words))
        return "\n\n".join(one.text for one in self._runs(named, lines, cut=True))

    # Which

    def _ranked(self, query: str, about: str) -> Iterator[tuple[str, int]]:
        """Yield nodes, with -1 for those that are named, the line that was found, or 0."""
        if about:
            yield about, -1
        names = [name.rstrip("./-") for name in dict.fromkeys(_NAME.findall(query))]
        precise = [name for name in names if _PRECISE.search(name)]
        plain = [name for name in names if name not in precise and len(name) > 3]
        for name in precise:
            yield from ((node, -1) for node in self._defined(name)[:NAMED])
        for name in precise:
            files = [one for one in self.paths if f"/{one}".endswith(f"/{name}")]
            yield from ((node_id("module", path), 0) for path in files[:NAMED])
        for name in precise:
            last = name.rpartition(".")[2]
            if _PRECISE.search(last) and not last.startswith("__"):
                yield from self._exact(last)
        for name in plain:
            if len(found := self._defined(name)) <= NAMED:
                yield from ((node, 0) for node in found)
        hits = search_words(self._documents, query, 2 * (NAMED + EXACT), self._counted)
        for hit in hits:
            yield hit.id.partition("#")[0] if hit.id.startswith("module:") else hit.id, 0

    def _defined(self, name: str) -> Sequence[str]:
        """Return the nodes of a name, which may be `Class.method`."""
        found = self._definitions.get(name.rpartition(".")[2], ())
        return [node for node in found if f".{node.rpartition('::')[2]}".endswith(f".{name}")]

    def _exact(self, name: str) -> Iterator[tuple[str, int]]:
        """Yield the lines that hold a name, those first that assign it."""
        assigned = re.compile(rf"^[ \t]*{re.escape(name)}\b[^=\n(]*=(?!=)", re.MULTILINE)
        anywhere = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
        places = list[tuple[bool, bool, str, int]]()
        for path in self.paths:
            text = self.text(path)
            is_prose = not dependency_graph.lines_of(self.state, path)
            for match in anywhere.finditer(text):
                begin = text.rfind("\n", 0, match.start()) + 1
                assigns = assigned.match(text, begin) is not None
                places.append((not assigns, is_prose, path, text.count("\n", 0, begin) + 1))
        for _, _, path, line in sorted(set(places))[:EXACT]:
            yield self.innermost(path, line).node, line

    @cached_property
    def _definitions(self) -> Mapping[str, Sequence[str]]:
        """The nodes of each name, without what it belongs to."""
        known = dict[str, list[str]]()
        for path in self.paths:
            for name in sorted(dependency_graph.lines_of(self.state, path)):
                known.setdefault(name.rpartition(".")[2], []).append(
                    node_id(self.kind(path, name), path, name)
                )
        return known

    @cached_property
    def _counted(self) -> SearchWords:
        return SearchWords(WordCounts())

    @cached_property
    def _documents(self) -> Sequence[Document]:
        return [*self._parts(), *(Document(f"{EVENT}:{n}", t) for n, t in self.events.items())]

    def _parts(self) -> Iterator[Document]:
        """Yield the texts of functions and classes, and of what is around them."""
        for path in self.paths:
            text, inner = self.text(path).splitlines(), set[int]()
            for name, (first, last) in sorted(dependency_graph.lines_of(self.state, path).items()):
                kind = self.kind(path, name)
                if kind != "class":
                    inner |= set(range(first, last + 1))
                body = text[first - 1 : last if kind != "class" else min(last, first + 20)]
                yield Document(node_id(kind, path, name), f"{path} {name}\n" + "\n".join(body))
            outer = [line for number, line in enumerate(text, 1) if number not in inner]
            for begin in range(0, len(outer), CHUNK):
                node = node_id("module", path) + (f"#{begin // CHUNK}" if begin else "")
                yield Document(node, f"{path}\n" + "\n".join(outer[begin : begin + CHUNK]))

    # What of them

    def _inner(self, node: str, asked: set[str]) -> str:
        """Return the innermost node that holds the best line of one that a search found."""
        found = self.node(node)
        if found.node.startswith(f"{EVENT}:"):
            return node
        held = [len(asked & content(line)) for line in found.text.splitlines()]
        best = max(range(len(held)), key=lambda place: (held[place], -place), default=0)
        return self.innermost(self._place(node), found.first + best).node

    def _place(self, node: str) -> str:
        return node if node.startswith(f"{EVENT}:") else node.partition(":")[2].partition("::")[0]

    def _choices(
        self, found: NodeText, asked: set[str], line: int, *, whole: int, least: int
    ) -> Iterator[list[int]]:
        """Yield lines of a node that may be shown, most of all what is rather shown."""
        count = len(found.text.splitlines())
        everything = list(range(found.first, found.first + count))
        if line < 0 and self.counter.count(found.text) <= whole:
            yield everything
        if line < 0:  # its own name tells nothing within it
            asked = asked - content(found.node) or asked
        windows = self._windows(found, asked, least if line == 0 else 1)
        if line > 0:
            windows = [one for one in everything if abs(one - line) <= AROUND]
        elif 0 < count <= WHOLE and windows and not found.node.startswith("module:"):
            yield everything
        if line < 0:
            yield sorted({*everything[: AROUND + 1], *windows})
        if windows:
            yield windows

    def _windows(self, found: NodeText, asked: set[str], least: int = 1) -> list[int]:
        """Return the lines of a node that hold most of some words, `least` of them or more, with
        those around them."""
        lines = found.text.splitlines()
        held = [len(asked & content(line)) for line in lines]
        chosen, begun = set[int](), 0
        for much, place in sorted((-much, place) for place, much in enumerate(held) if much):
            if place in chosen:
                continue
            if begun == WINDOWS or -much < max(least, max(held) // 2):
                break
            begun += 1
            chosen |= set(range(max(0, place - AROUND), min(len(lines), place + AROUND + 1)))
        return [found.first + place for place in sorted(chosen)]

    def _runs(self, node: str, lines: Sequence[int], *, cut: bool) -> Iterator[ShownPassage]:
        """Yield lines as passages, each under the innermost node that holds its first line."""
        found = self.node(node)
        texts = found.text.splitlines()
        run = list[int]()
        for number in [*sorted(lines), 0]:
            if run and number != run[-1] + 1:
                while run and not texts[run[-1] - found.first].strip():
                    run.pop()
                while run and not texts[run[0] - found.first].strip():
                    run.pop(0)
                if run:
                    yield self._run(found, texts, run, cut=cut)
                run = []
            run.append(number)

    def _run(
        self, found: NodeText, texts: Sequence[str], run: Sequence[int], *, cut: bool
    ) -> ShownPassage:
        lines = tuple(texts[number - found.first] for number in run)
        shown = tuple(line[:WIDTH] for line in lines) if cut else lines
        node = found.node
        if not node.startswith(f"{EVENT}:"):
            path = self._place(node)
            holders = [self.innermost(path, run[0]), self.innermost(path, run[-1])]
            if holders[0].node == holders[1].node:
                node = holders[0].node
        return ShownPassage(node, run[0], shown)

    def innermost(self, path: str, line: int) -> NodeText:
        """Return the smallest node of a module that holds a line."""
        known = dependency_graph.lines_of(self.state, path).items()
        within = [(last - first, name) for name, (first, last) in known if first <= line <= last]
        if not within:
            return self.node(node_id("module", path))
        name = min(within)[1]
        return self.node(node_id(self.kind(path, name), path, name))

    def kind(self, path: str, name: str) -> str:
        """Return the kind of what a module holds."""
        return (self.state.modules[path].facets.get(f"sig:{name}") or ("function",))[0]
