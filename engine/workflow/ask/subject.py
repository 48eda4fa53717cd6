"""What a question is about: a repository, a task or a log as of a moment, as actions see it.

Equal moments give equal results, whatever was asked before: what is kept only saves time.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

from backcast.domain.errors import BackcastError, InputError
from backcast.domain.graph import Graph
from backcast.domain.node import SYMBOLS, kind_of, node_id, path_of
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.builder import ContextBuilder
from backcast.engine.context.request import Request
from backcast.engine.context.search import Document, search_words
from backcast.engine.context.search.words import WordCounts, words
from backcast.engine.context.strategies import STRATEGIES
from backcast.engine.history.kept_graph import graph_at
from backcast.engine.history.moments import asked_at
from backcast.engine.history.task_states import TaskStates, states_at
from backcast.engine.workflow.ask.nodes import EVENT, SubjectNodes, parted
from backcast.projections import dependency_graph

HITS, FIRST_HITS = 8, 4
"Nodes that a search finds, and that are shown at the beginning."
APART = 16
"Tokens that the two may take more together."
CHUNK = 60
"Lines of a part of a file that is found by itself, as nothing names its parts."
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z_0-9]{3,}")
LOOK = STRATEGIES["no-cache"].model_copy(
    update={"name": "look", "recalled": 0.0, "news": 0, "plans": "off", "keep": False}
)
"The policy of what is shown at the beginning: the subject's own code alone."


class Subject(SubjectNodes):
    """A view of one task's log as of a moment, and what can be looked at in it."""

    def list(self, under: str) -> str:
        """Return what is below a path: folders and modules; of a module what is in it."""
        asked = under.strip()
        if asked.startswith(f"{EVENT}:") or asked == EVENT:
            return self._listed_events(asked)
        path = parted(asked)[0].strip("/").removeprefix("./")
        if path in self.paths:
            return self._outlined(path)
        prefix = f"{path}/" if path and path != "." else ""
        below = [one for one in self.paths if one.startswith(prefix)]
        if not below:
            if self.paths:
                raise InputError(f"there is nothing under {asked!r} here{self._near(asked)}")
            return self._listed_events("")
        folders, files = dict[str, int](), list[str]()
        for place in below:
            folder, mark, _ = place[len(prefix) :].partition("/")
            if mark:
                folders[folder] = folders.get(folder, 0) + 1
            else:
                files.append(place)
        lines = [f"{prefix}{name}/ ({count} files)" for name, count in sorted(folders.items())]
        lines += [f"module:{one}{self._names(one)}" for one in files]
        return "\n".join(lines)

    def _names(self, path: str) -> str:
        known = sorted(dependency_graph.lines_of(self.state, path))
        names = [name for name in known if "." not in name]
        more = ", ..." if len(names) > 6 else ""
        return f": {', '.join(names[:6])}{more}" if names else ""

    def _outlined(self, path: str) -> str:
        lines = dependency_graph.lines_of(self.state, path)
        count = len(self.text(path).splitlines())
        head = [f"module:{path} ({count} lines)"]
        for name, (first, last) in sorted(lines.items(), key=lambda pair: (pair[1], pair[0])):
            kind, *rest = self.state.modules[path].facets.get(f"sig:{name}") or ("function",)
            head.append(f"{node_id(kind, path, name)}{''.join(rest[:1])} lines {first}-{last}")
        return "\n".join(head)

    def _listed_events(self, asked: str) -> str:
        begin = asked.removeprefix(EVENT).removeprefix(":")
        first = int(begin) if begin.isdecimal() and len(begin) < 12 else 1
        lines = [
            f"event:{version} {' '.join(text.split())[:100]}"
            for version, text in self.events.items()
            if version >= first
        ]
        return "\n".join(lines) or "nothing is here"

    def search(self, query: str, count: int = HITS) -> str:
        """Return the nodes that answer some words best, each with the line that holds most."""
        asked = set(words(query))
        if not asked:
            raise InputError("needed words to search for, found none")
        hits = search_words(self._documents, query, count, self._counted)
        nodes = dict.fromkeys([*self._named(query)[: count // 2], *(hit.id for hit in hits)])
        found = (self._found(node, asked) for node in list(nodes)[:count])
        return "\n".join(dict.fromkeys(found)) or "nothing holds these words"

    def _named(self, query: str) -> Sequence[str]:
        """Return the nodes whose own name some words have, those of the rarest name first."""
        wanted = dict.fromkeys(IDENTIFIER.findall(query))
        found = [self._definitions[name] for name in wanted if name in self._definitions]
        return [node for nodes in sorted(found, key=len) for node in nodes]

    @cached_property
    def _definitions(self) -> Mapping[str, Sequence[str]]:
        """The nodes of each name, without what it belongs to."""
        known = dict[str, list[str]]()
        for path in self.paths:
            for name in sorted(dependency_graph.lines_of(self.state, path)):
                kind = (self.state.modules[path].facets.get(f"sig:{name}") or ("function",))[0]
                known.setdefault(name.rpartition(".")[2], []).append(node_id(kind, path, name))
        return known

    @cached_property
    def _counted(self) -> WordCounts:
        return WordCounts()

    @cached_property
    def _documents(self) -> Sequence[Document]:
        return [*self._parts(), *(Document(f"{EVENT}:{n}", t) for n, t in self.events.items())]

    def _parts(self) -> Iterator[Document]:
        """Yield the texts of functions and classes, and of what is around them."""
        for path in self.paths:
            text, inner = self.text(path).splitlines(), set[int]()
            for name, (first, last) in sorted(dependency_graph.lines_of(self.state, path).items()):
                kind = (self.state.modules[path].facets.get(f"sig:{name}") or ("function",))[0]
                if kind != "class":
                    inner |= set(range(first, last + 1))
                body = text[first - 1 : last if kind != "class" else min(last, first + 20)]
                yield Document(node_id(kind, path, name), f"{path} {name}\n" + "\n".join(body))
            outer = [line for number, line in enumerate(text, 1) if number not in inner]
            for begin in range(0, len(outer), CHUNK):
                node = node_id("module", path) + (f"#{begin // CHUNK}" if begin else "")
                yield Document(node, f"{path}\n" + "\n".join(outer[begin : begin + CHUNK]))

    def _found(self, id: str, asked: set[str]) -> str:
        node = id.partition("#")[0] if id.startswith("module:") else id
        found = self.node(node)
        lines = found.text.splitlines() or [""]
        best = max(
            range(len(lines)), key=lambda place: (len(asked & set(words(lines[place]))), -place)
        )
        return f"{node} line {found.first + best}: {lines[best].strip()[:160]}"

    def read(self, named: str, first: int = 0, last: int = 0) -> tuple[str, str]:
        """Return a node, and the lines of it that were asked for, under a line that tells which.

        Lines are numbered as in the module.
        """
        found = self.node(named)
        lines = found.text.splitlines()
        end = found.first + len(lines) - 1
        begin, stop = max(first or found.first, found.first), min(last or end, end)
        if begin > stop:
            raise InputError(
                f"{found.node} has lines {found.first} to {end}, found {first} to {last or end}"
            )
        shown = lines[begin - found.first : stop - found.first + 1]
        what = "" if (begin, stop) == (found.first, end) else f" of {found.first}-{end}"
        return found.node, f"{found.node} lines {begin}-{stop}{what}\n" + "\n".join(shown)

    def look(self, question: str, about: str, tokens: int) -> str:
        """Return what may be near a question: what a search finds for its words, and what the
        ContextBuilder shows for it, of about so many tokens."""
        key = question, about, tokens
        if key not in self._looks:
            self._looks[key] = self._looked(*key)
        return self._looks[key]

    @cached_property
    def _looks(self) -> dict[tuple[str, str, int], str]:
        return {}

    def _looked(self, question: str, about: str, tokens: int) -> str:
        if about.startswith(f"{EVENT}:"):
            return self.read(about)[1]
        found = self.search(question, FIRST_HITS) if words(question) and not about else ""
        # The best stands next to the question: small models hold to what they have read last.
        found = "\n".join(_under_path(line) for line in reversed(found.splitlines()))
        if not self.paths:
            return found
        target = about if kind_of(about) in ("module", *SYMBOLS) else ""
        tokens = max(1, tokens - self.counter.count(found) - APART)
        request = Request(target, question, (target,) if target else ())
        try:
            profile = self.profile.with_context(max(1, min(tokens, self.profile.context)))
            states, graph, cache = self._known
            shown = ContextBuilder(profile, cache, LOOK).build(states, graph, request).text
        except BackcastError:  # the window is too small for the builder's own frame
            shown = ""
        return "\n\n".join(filter(None, [shown, found]))

    @cached_property
    def _known(self) -> tuple[TaskStates, Graph, BuildCache]:
        """What the ContextBuilder needs of the moment, read once."""
        store, task, moment = self.store, self.task, self.moment
        states = states_at(store, task, moment)
        states = states._replace(at=asked_at(store, moment, states.summaries.last_at))
        graph = graph_at(store, task, moment, states.graph)
        return states, graph, BuildCache(self.counter, store.get)


SubjectOf = Callable[[str], Subject]
"Returns what a question is about, by its name."


def _under_path(hit: str) -> str:
    """Return what a search found with the path above it, as code is shown."""
    node, mark, line = hit.partition(": ")
    is_event = node.startswith(f"{EVENT}:")
    return (
        hit
        if is_event or not mark
        else f"## {path_of(node.partition(' line ')[0])}\n{line}  [{node}]"
    )
