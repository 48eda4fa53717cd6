"""Candidates for a context: all that could be shown, each at up to four levels of detail."""

from collections.abc import Iterator, Mapping, Sequence, Set
from functools import lru_cache
from typing import NamedTuple, TypedDict

import numpy as np

from backcast.domain.allocation import DUPLICATE, LOWER, OVER
from backcast.domain.budget import ModelProfile
from backcast.domain.context import LEVELS, Candidate, Item, Level, Omission
from backcast.domain.node import kind_of, name_of, node_id, path_of
from backcast.domain.outline import Facet, names_in
from backcast.domain.policy import ADDED, MAP, Policy
from backcast.domain.staleness import Modules
from backcast.domain.texts import TEXTS, reworded
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.evidence import (
    DECIMALS,
    IDENTIFIER,
    Evidence,
    RequestEvidence,
    place_of,
    weighed,
)
from backcast.engine.context.excerpt import Excerpt, excerpt
from backcast.engine.context.loose_code import loose_code
from backcast.engine.context.maps import shown_map
from backcast.engine.context.parts import Parts
from backcast.engine.context.patterns import patterns
from backcast.engine.context.request import Request
from backcast.engine.context.search.vectors import Nearness
from backcast.engine.context.sources import SourcePiece, Sources
from backcast.engine.context.symbols import NONE, Floats, Symbols, last_name
from backcast.engine.context.work import failures, iterations, left_out
from backcast.engine.history.task_states import TaskStates
from backcast.projections import (
    dependency_graph,
    summaries,
)


LOOKED_AT = 30
"Functions that are looked through for parts."


class _ModuleSource(TypedDict):
    because: tuple[int, ...]
    version: int


class BuildSettings(NamedTuple):
    """The policy, profile and cache with which candidates are made, for any number of requests."""

    policy: Policy
    profile: ModelProfile
    cache: BuildCache
    nearness: Nearness | None = None


class Candidates:
    """All candidates of one request."""

    def __init__(
        self, states: TaskStates, symbols: Symbols, request: Request, settings: BuildSettings
    ) -> None:
        self.states, self.symbols, self.request = states, symbols, request
        self.policy, self.profile = settings.policy, settings.profile
        self.cache = cache = settings.cache
        self.counting, self.briefs, self.lines = cache.counting, cache.briefs, cache.lines
        self.nearness = settings.nearness
        self.sources = Sources(states.graph, self.lines)
        self.details = self.policy.details(self.profile.window)
        self.path, self.name = path_of(request.target), name_of(request.target)
        self.facets: Mapping[str, Mapping[str, Facet]] = symbols.facets
        self.modules = Modules(dependency_graph.present(states.graph))
        self.target = self._target()
        places = {node: place for place, node in enumerate(dict.fromkeys(request.wanted), 1)}
        self.wanted = {node: n for node, n in places.items() if path_of(node) in self.facets}
        "Places in `request.wanted`, counted from 1."
        own = {self.path, *map(path_of, self.wanted)}
        self.needed = [path for path in request.needs if path in self.facets and path not in own]
        whole = [path_of(node) for node in self.wanted if kind_of(node) == "module"]
        self.whole = {*whole, *self.needed}
        "The modules that may be shown in full."
        self.priorities = {name: self.policy.priority(name) for name in self.policy.order}
        self.worth = dict.fromkeys(LEVELS, 0.0) | self.policy.worth
        self._origins: dict[str, _ModuleSource] = {}
        self.stale: dict[str, int] = {}
        "Nodes whose written summary no longer holds, and the version that wrote it."
        self.off_map: Sequence[Omission] = ()
        "Items of the map that are not shown."
        self.opening = ""
        "The lines of the target's module that stand for its summary."
        self.opened: list[str] = []
        "Constants that these lines hold."
        self.lines_here = (
            dependency_graph.lines_of(states.graph, self.path) if self.path in self.facets else {}
        )
        "The first and last line of each function and class of the target's module."
        self.excerpt = self._excerpt()
        "The lines around the target's place that are shown."
        self.passed_over = 0
        "How many functions and classes are not offered, since enough likelier ones are."

    def all(self) -> list[Candidate]:
        """Return every candidate that has something to show, in no particular order."""
        policy, details, online = self.policy, self.details, self.states.online
        candidates = [self._task(), *self._map(), *failures(online, policy, details, self._levels)]
        if self.path in self.facets:
            candidates.append(self._module())
            candidates += iterations(online, self.path, policy, details, self.lines, self._levels)
        candidates += map(self._file, sorted((*map(path_of, self._files()), *self.needed)))
        candidates += self._symbols()
        candidates += self._constants()
        candidates += self._tests()
        asked = f"{self.states.progress.goal or ''} {self.request.query} {self.path} {self.name}"
        candidates += patterns(
            self.symbols.graph, online, self.states.offline, self.target, asked, policy, details,
            self._levels,
        )  # fmt: skip
        return [candidate for candidate in candidates if candidate.levels]

    def left_out(self, items: Sequence[Item]) -> list[Omission]:
        """Return what is no candidate of a context of some items, and why; call it after `all`."""
        omissions = [Omission(node, "recent errors", why)
                 for node, why in left_out(self.states.online, self.policy)]  # fmt: skip
        omissions += [
            Omission(node, "summaries", f"stale: its summary, written by event {self.stale[node]}")
            for node in sorted(self.stale)
        ]
        module = node_id("module", self.path)
        held = any(item.node == module and item.level != "name" for item in items)
        why = DUPLICATE if held else OVER
        omissions += (Omission(node, "related functions", why) for node in self.opened)
        omissions += self.off_map
        if self.passed_over:
            count = f"{self.passed_over} functions and classes"
            omissions.append(Omission(count, "related modules", LOWER))
        return omissions

    def _target(self) -> str:
        """Return the request's node, by the kind that it has in the code where it exists."""
        sig = self.facets.get(self.path, {}).get(f"sig:{self.name}") if self.name else None
        return node_id(sig[0], self.path, self.name) if sig else self.request.target

    def noted(self, offered: Sequence[Candidate], large: Set[str]) -> list[Candidate]:
        """Return the candidates with the `large` ones less their full text, as the task notes."""
        names = ", ".join(sorted(large, key=lambda node: self.wanted[node]))
        task = self._task(self.policy.words["large"].format(names=names))
        less = (
            item._replace(levels=item.levels[1:]) if item.node in large else item
            for item in offered
        )  # fmt: skip
        return [task if candidate.node == task.node else candidate for candidate in less]

    def _task(self, note: str = "") -> Candidate:
        state, texts = self.states.progress, self.policy.words
        query = reworded(self.request.query.strip(), TEXTS, texts)
        task = self.states.graph.task_id
        goal = texts["goal"].format(goal=" ".join((state.goal or "").split()) or task)
        work = texts["work on" if self.name else "work"]
        head = work.format(path=self.path, name=self.name) if self.path else ""
        levels = [
            ("full", (goal, head, note, query)),
            ("summary", (head, note, query)),
            ("summary", (head, query)),
            ("signature", (head, note, goal)),
            ("signature", (head, goal)),
            ("name", (head or texts["goal"].format(goal=task),)),
        ]
        lines = [(level, "\n".join(filter(None, parts))) for level, parts in levels]
        node = node_id("task", task)
        return Candidate(node, "task description", "CRITICAL", self._levels(lines, 1.0), 1.0)

    def _map(self) -> Iterator[Candidate]:
        """Yield the context map, as much of it as fits its own row of the budget."""
        if MAP not in self.policy.order or not self.states.map.items:
            return
        tokens = self.profile.rows.get(MAP, 0)
        shown = shown_map(
            self.states.map, self.modules, self.policy.map, tokens, self.counting,
            self.policy.words[MAP],
        )  # fmt: skip
        self.off_map = shown.left_out
        if shown.text:
            levels = self._levels([("full", shown.text)], 1.0)
            priority = self.policy.priority(MAP)
            yield Candidate(f"map:{self.states.map.context}", MAP, priority, levels, 1.0,
                            (self.states.map.version,))  # fmt: skip

    def _module(self) -> Candidate:
        node = node_id("module", self.path)
        limit = self.details.module_tokens
        if self.policy.opening:
            self.opening = self._opening(limit)
        text = self.opening if self.policy.opening else self._summary(node, limit)
        levels = [("summary", text), ("signature", self._lines(self.path)), ("name", self.path)]
        if node in self.wanted:
            levels.insert(0, ("full", self.sources.text(self.path)))
        elif self.excerpt:
            around = self.excerpt.text(self.sources.text(self.path).split("\n"))
            self.opening = self._opening(limit, self.excerpt)
            levels.insert(0, ("part", "\n\n".join(filter(None, (self.opening, around)))))
            self.opening += around
        return Candidate(
            node, "current module", "CRITICAL", self._levels(levels, 1.0), 1.0,
            wanted=node in self.wanted, rank=self.wanted.get(node, 0), **self._source(self.path),
        )  # fmt: skip

    def _opening(self, limit: int, shown: Excerpt | None = None) -> str:
        """Return the lines of the target's module outside of functions, within some tokens.

        What binds nothing of the project goes first, then what is farthest from the place.
        """
        place = place_of(self.name, self.request.behind, self.lines_here)
        return loose_code(
            self.sources.text(self.path), self.name.rpartition(".")[0], place, self.symbols.tops,
            lambda part: self.counting.item("summary", part) <= limit, shown,
        )  # fmt: skip

    def _excerpt(self) -> Excerpt | None:
        """Return the lines around the place of a function, if any are to be shown."""
        shown = self.policy.around
        if not (shown and self.name and self.lines_here) or self.path in self.whole:
            return None
        lines = self.sources.text(self.path).split("\n")
        above = place_of(self.name, self.request.behind, self.lines_here)
        below = above + 1
        room = self.profile.context
        if self.name in self.lines_here:
            above, below = above - 1, self.lines_here[self.name][1] + 1
            room -= self.counting.count(self.sources.piece(self.path, self.name).text)
        limit = int(shown * room)
        if limit <= 0:
            return None
        return excerpt(lines, above, below, limit, self._line_tokens)

    def _line_tokens(self, line: str) -> int:
        return self.counting.count(line) + 1

    def _files(self) -> list[str]:
        """Return the wanted modules other than the target's own."""
        own = node_id("module", self.path)
        return [node for node in self.wanted if kind_of(node) == "module" and node != own]

    def _file(self, path: str) -> Candidate:
        """Return a module that is wanted, or needed, as a whole."""
        node, names = node_id("module", path), names_in(self.facets[path])
        tests = any(self.facets[path][f"sig:{name}"][:1] == ("test",) for name in names)
        section = "test results" if tests else ADDED
        text = self._summary(node, self.details.module_tokens) if path in self.needed else ""
        levels = [("full", self.sources.text(path)), ("signature", self._lines(path)),
                ("summary", text), ("name", path)]  # fmt: skip
        return Candidate(
            node, "dependencies" if path in self.needed else section, "CRITICAL",
            self._levels(levels, 1.0), 1.0, wanted=path not in self.needed, rank=self._rank(node),
            **self._source(path),
        )  # fmt: skip

    def _lines(self, path: str) -> str:
        """Return the constants of a module, and its top-level signatures, as lines."""
        names = (name for name in names_in(self.facets[path]) if "." not in name)
        own = (name_of(node) for node in self.symbols.constants(path) if path_of(node) == path)
        lines = [self.sources.constant(path, name).signature for name in own]
        lines += [self.sources.piece(path, name).signature for name in names]
        return "\n".join(filter(None, lines))

    def _symbols(self) -> Iterator[Candidate]:
        """Yield functions and classes, the likeliest first, until they fill several contexts."""
        symbols, (scores, alike) = self.symbols, self._scores()
        must = {node for node in self._must() if node in symbols.places}
        opened = {outer for node in must for outer in _around(node)}
        remaining, chances, likeness = dict.fromkeys(sorted(must)), scores.tolist(), alike.tolist()
        room = self.policy.offered * self.profile.context
        # The rows stand by path and name, and the sort is stable, so ties do too.
        best = np.maximum(scores, np.round(self.policy.pattern * alike, DECIMALS))
        looked, cutter = LOOKED_AT if self.policy.parts else 0, None
        if looked:
            cutter = Parts(self.evidence(), self.policy.likeness, self._line_tokens)
        large = int(self.policy.parts * self.profile.context)
        for number, row in enumerate(np.argsort(-best, kind="stable").tolist()):
            if room <= 0:
                self.passed_over = len(scores) - number - len(remaining)
                break
            candidate = self._symbol(row, chances[row], likeness[row], must, opened)
            remaining.pop(candidate.node, None)
            if cutter and number < LOOKED_AT and (candidate.levels and candidate.levels[0].name == "full"
                    and candidate.levels[0].tokens > large and candidate.node != self.target
                    and not candidate.node.startswith("class:")):
                path, name = path_of(candidate.node), name_of(candidate.node)
                found = [
                    (text, alike) for text, alike in cutter.of(
                        row, self.sources.piece(path, name), likeness[row],
                        candidate.levels[0].tokens * 2 // 3, path == self.path)]
                more = [self._part(text, alike, chances[row]) for text, alike in found]
                least = max([level.tokens for level in candidate.levels[1:]], default=0)
                candidate = candidate._replace(levels=(
                    candidate.levels[0], *[m for m in more if least < m.tokens < candidate.levels[0].tokens],
                    *candidate.levels[1:]))
            if levels := candidate.levels:
                room -= levels[-2 if len(levels) > 1 else -1].tokens
                yield candidate
        for node in remaining:
            row = symbols.places[node]
            yield self._symbol(row, chances[row], likeness[row], must, opened)

    def _scores(self) -> tuple[Floats, Floats]:
        """Return the chance of each symbol to be needed, and that its text is like what will be
        written; both of (symbols)."""
        evidence = self.evidence()
        meaning = None
        if self.nearness and self.policy.weights.get("meaning") and self.symbols.nodes:
            text = evidence.asked.text
            meaning = self.nearness.of(self.symbols.interfaces, text or self.path or "?")
        scores = weighed(evidence, self.policy.weights, meaning)
        # A class is the line above its methods, so it is worth nearly as much as the best of them.
        whole: Floats = np.round(self.symbols.with_classes(scores, 0.9), DECIMALS)
        if not self.policy.pattern:
            return whole, np.zeros(len(whole))
        alike = weighed(evidence, self.policy.likeness, meaning)
        lines = np.round(self.symbols.with_classes(np.zeros(len(alike)), 0.9, of=alike), DECIMALS)
        return np.maximum(whole, np.round(self.policy.pattern * lines, DECIMALS)), alike

    def evidence(self) -> Evidence:
        """Return the evidence for the request, as far as it is gathered."""
        text = self.request.query
        if self.target in self.symbols.places or kind_of(self.target) == "test":
            text += "\n" + self.sources.piece(self.path, self.name).text
        asked = RequestEvidence(self.target, text, self.request.behind)
        return self.cache.evidence(self.symbols, self.states.graph, self.states.changes, asked)

    def _must(self) -> list[str]:
        """Return the nodes that must be shown: the target, its direct needs, what is wanted."""
        wanted = sorted(self.wanted)
        if not self.path:
            return wanted
        if self.name:
            return [self.target, *self.symbols.needs(self.target), *wanted]
        own = self.symbols.nodes[self.symbols.rows.get(self.path, NONE)]
        needed = [other for node in own for other in self.symbols.needs(node)]
        return [*(node for node in needed if path_of(node) != self.path), *wanted]

    def _symbol(
        self, row: int, score: float, alike: float, must: Set[str], opened: Set[str]
    ) -> Candidate:
        node, path, name, outer = self.symbols.named[row]
        critical = node in must
        section = self._section(node, path, critical)
        piece = self.sources.piece(path, name)
        # Methods that must be shown are items of their own, so their class is not shown in full.
        full = "" if node in opened and not critical else piece.text
        summed = critical or score >= self.policy.summarised
        levels = [("full", full), ("summary", self._brief(node, piece) if summed else ""),
                ("signature", piece.signature), ("name", name)]  # fmt: skip
        source = self._source(path)
        # Positional, since every prompt has hundreds of these: keywords take longer.
        return Candidate(
            node, section, "CRITICAL" if critical else self.priorities[section],
            self._levels(levels, score, alike), score, source["because"], piece.place,
            self._held(path, name) or outer, "", source["version"],
            node in self.wanted, self._rank(node) if critical else 0,
        )  # fmt: skip

    def _held(self, path: str, name: str) -> str:
        """Return the module that holds a function or class, if that may be shown with it."""
        held = path in self.whole
        if path == self.path and self.excerpt and name in self.lines_here:
            held = self.excerpt.holds(*self.lines_here[name])
        return f"module:{path}" if held else ""

    def _rank(self, node: str) -> int:
        """Return the rank of a node that must be shown: target, what is wanted, what these need."""
        needed = 1 + len(self.request.wanted)
        return self.wanted.get(node, 0 if node == self.target else needed)

    def _within(self, node: str) -> str:
        """Return the whole module whose full text holds a node's; empty where none may be shown."""
        path = path_of(node)
        return node_id("module", path) if path in self.whole else ""

    def _source(self, path: str) -> "_ModuleSource":
        """Return the event, and the iteration, that a module's present text came from."""
        source = self._origins.get(path)
        if source is None:
            module = self.states.graph.modules[path]
            source = {"because": (module.version,), "version": module.iteration}
            self._origins[path] = source
        return source

    def _section(self, node: str, path: str, must: bool) -> str:
        if node == self.target:
            return "current module"
        if node in self.wanted:
            return ADDED
        if path == self.path:
            return "related functions"
        return "dependencies" if must else "related modules"

    def _brief(self, node: str, piece: SourcePiece) -> str:
        """Return a signature with the summary below it as comments; empty without a summary."""
        if not piece.signature:
            return ""
        return _commented(piece.signature, self._summary(node, self.details.function_tokens))

    def _summary(self, node: str, limit: int) -> str:
        """Return the written summary if it still holds, else the extractive one."""
        known = self.states.summaries
        for written in reversed(known.nodes.get(node, ())):
            late = summaries.outlived(written, known.last_at)
            late = late or summaries.superseded(known, written)
            if not late and self.modules.holds(written.made_of):
                return written.text
            self.stale[node] = written.version
        return self.briefs.of(self.facets, node, limit, self.counting.count)

    def _constants(self) -> Iterator[Candidate]:
        """Yield the module's constants, own and imported, each as its own line."""
        words = set(IDENTIFIER.findall(self.request.query))
        needed = set(self.symbols.reads(self.target))
        for node in self.symbols.constants(self.path):
            path, name = path_of(node), name_of(node)
            piece = self.sources.constant(path, name)
            own = path == self.path
            if own and piece.signature and f"\n{piece.signature}\n" in f"\n{self.opening}\n":
                self.opened.append(node)
                continue
            why = "needed" if node in needed else "named" if name in words else \
                "own file" if own else "imported"  # fmt: skip
            score = self.policy.constants.get(why, 0.0)
            section = "related functions" if own else "related modules"
            levels = self._levels([("signature", piece.signature), ("name", name)], score)
            priority = self.policy.priority(section)
            yield Candidate(
                node, section, priority, levels, score, place=piece.place,
                within=self._within(node), **self._source(path),
            )  # fmt: skip

    def _tests(self) -> Iterator[Candidate]:
        """Yield the tests of the target, or of its module, and the wanted tests."""
        rows = self.symbols.rows.get(self.path, NONE)
        own = {self.target} if self.name else set(self.symbols.nodes[rows])
        tests = {test for test, tested in self.symbols.tests(self.path) if tested in own}
        tests |= {node for node in self.wanted if kind_of(node) == "test"}
        for number, node in enumerate(sorted(tests)):
            yield self._test(node, round(0.5 / (1 + number), DECIMALS))

    def _test(self, node: str, score: float) -> Candidate:
        path, wanted = path_of(node), node in self.wanted
        piece = self.sources.piece(path, name_of(node))
        levels = {"full": piece.text, "signature": piece.signature, "name": last_name(node)}
        if self.details.tests == "signature" and not wanted:
            del levels["full"]
        if self.details.tests == "name" and not wanted:
            levels = {"name": levels["name"]}
        priority = "CRITICAL" if wanted else self.policy.priority("test results")
        return Candidate(
            node, "test results", priority, self._levels(list(levels.items()), score), score,
            place=piece.place, within=self._within(node), wanted=wanted,
            rank=self.wanted.get(node, 0), **self._source(path),
        )  # fmt: skip

    def _part(self, text: str, alike: float, score: float) -> Level:
        tokens = self.counting.item("part", text)
        gain = score * self.worth["signature"]
        gain += self.policy.pattern * alike * tokens**self.policy.longer
        return Level("part", text, tokens, round(gain, DECIMALS))

    def _levels(
        self, texts: Sequence[tuple[str, str]], score: float, alike: float = 0.0
    ) -> tuple[Level, ...]:
        """Return the levels with a text, each of fewer tokens than the one before.

        The full text is worth more where it is like what will be written.
        """
        worth = self.worth
        levels = [
            Level(name, text, tokens, score * worth[name])
            for name, text, tokens in self.counting.fewer(tuple(texts))
        ]
        if alike and levels and levels[0].name == "full":
            first = levels[0]
            more = self.policy.pattern * alike * first.tokens**self.policy.longer
            levels[0] = first._replace(gain=round(first.gain + more, DECIMALS))
        return tuple(levels)


HEADS = ("Function:", "Method:", "Class:", "Test:", "Inputs:", "Outputs:", "Inherits:")
"How lines of a summary begin that repeat the signature."


def _around(node: str) -> Iterator[str]:
    """Yield the classes that a node may be in."""
    path, outer = path_of(node), name_of(node)
    while "." in outer:
        outer = outer.rpartition(".")[0]
        yield node_id("class", path, outer)


@lru_cache(maxsize=50_000)
def _commented(signature: str, summary: str) -> str:
    """Return a signature, and below it, as comments, what a summary adds; empty for nothing."""
    lines = [line for line in summary.split("\n") if not line.startswith(HEADS)]
    if not any(lines):
        return ""
    first = signature.split("\n")[0]
    margin = first[: len(first) - len(first.lstrip())] + "    "
    return "\n".join([signature, *(f"{margin}# {line}" for line in lines)])
