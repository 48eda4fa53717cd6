"""What could be shown for a request, each thing at up to four levels of detail."""

from collections.abc import Iterator, Mapping, Sequence, Set
from functools import lru_cache
from typing import NamedTuple, TypedDict

import numpy as np

from backcast.domain.allocation import LOWER
from backcast.domain.budget import ModelProfile
from backcast.domain.context import LEVELS, Candidate, Level, Omission
from backcast.domain.node import kind_of, name_of, node_id, path_of
from backcast.domain.outline import Facet, names_in
from backcast.domain.policy import ADDED, MAP, Policy
from backcast.domain.staleness import Modules
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.evidence import DECIMALS, IDENTIFIER, RequestEvidence, weighed
from backcast.engine.context.maps import shown_map
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


class _Told(TypedDict):
    because: tuple[int, ...]
    version: int


class BuildSettings(NamedTuple):
    """What candidates are made with, kept from moment to moment."""

    policy: Policy
    profile: ModelProfile
    kept: BuildCache
    nearness: Nearness | None = None


class Candidates:
    """All that could be shown for one request."""

    def __init__(
        self, states: TaskStates, symbols: Symbols, request: Request, means: BuildSettings
    ) -> None:
        self.states, self.symbols, self.request = states, symbols, request
        self.policy, self.profile = means.policy, means.profile
        self.kept = kept = means.kept
        self.counting, self.briefs, self.lines = kept.counting, kept.briefs, kept.lines
        self.nearness = means.nearness
        self.sources = Sources(states.graph, self.lines)
        self.details = self.policy.details(self.profile.window)
        self.path, self.name = path_of(request.target), name_of(request.target)
        self.facets: Mapping[str, Mapping[str, Facet]] = symbols.facets
        self.modules = Modules(dependency_graph.present(states.graph))
        self.target = self._target()
        places = {node: place for place, node in enumerate(dict.fromkeys(request.wanted), 1)}
        self.wanted = {node: n for node, n in places.items() if path_of(node) in self.facets}
        "Their places, counted from 1."
        own = {self.path, *map(path_of, self.wanted)}
        self.needed = [one for one in request.needs if one in self.facets and one not in own]
        whole = [path_of(node) for node in self.wanted if kind_of(node) == "module"]
        self.whole = {*whole, *self.needed}
        "The modules that may be shown in full."
        self.priorities = {one: self.policy.priority(one) for one in self.policy.order}
        self.worth = dict.fromkeys(LEVELS, 0.0) | self.policy.worth
        self._origins: dict[str, _Told] = {}
        self.stale: dict[str, int] = {}
        "Nodes of which something was written that no longer holds, and the version that wrote it."
        self.off_map: Sequence[Omission] = ()
        "Items of the map that are not shown."
        self.passed_over = 0
        "Functions and classes that are not even offered, since so many are likelier."

    def all(self) -> list[Candidate]:
        """Every candidate that has something to show, in no order of its own."""
        policy, details, online = self.policy, self.details, self.states.online
        found = [self._task(), *self._map(), *failures(online, policy, details, self._levels)]
        if self.path in self.facets:
            found.append(self._module())
            found += iterations(online, self.path, policy, details, self.lines, self._levels)
        found += map(self._file, sorted((*map(path_of, self._files()), *self.needed)))
        found += self._symbols()
        found += self._constants()
        found += self._tests()
        asked = f"{self.states.progress.goal or ''} {self.request.query} {self.path} {self.name}"
        found += patterns(
            self.symbols.graph, online, self.states.offline, self.target, asked, policy, details,
            self._levels,
        )  # fmt: skip
        return [one for one in found if one.levels]

    def left_out(self) -> list[Omission]:
        """What is not even offered, and why; to be asked after `all`."""
        found = [Omission(node, "recent errors", why)
                 for node, why in left_out(self.states.online, self.policy)]  # fmt: skip
        found += [
            Omission(node, "summaries", f"stale: its summary, written by event {self.stale[node]}")
            for node in sorted(self.stale)
        ]
        found += self.off_map
        if self.passed_over:
            many = f"{self.passed_over} functions and classes"
            found.append(Omission(many, "related modules", LOWER))
        return found

    def _target(self) -> str:
        """The request's node, in the kind that it has where it is there."""
        sig = self.facets.get(self.path, {}).get(f"sig:{self.name}") if self.name else None
        return node_id(sig[0], self.path, self.name) if sig else self.request.target

    def noted(self, offered: Sequence[Candidate], large: Set[str]) -> list[Candidate]:
        """The candidates, of which some have lost their full text, and the task says which."""
        names = ", ".join(sorted(large, key=lambda node: self.wanted[node]))
        task = self._task(f"Not shown in full, since too large: {names}.")
        less = (
            one._replace(levels=one.levels[1:]) if one.node in large else one
            for one in offered
        )  # fmt: skip
        return [task if one.node == task.node else one for one in less]

    def _task(self, note: str = "") -> Candidate:
        state = self.states.progress
        task, query = self.states.graph.task_id, self.request.query.strip()
        goal = " ".join((state.goal or "").split()) or task
        work = f"Work on {self.path}" + (f", {self.name}" if self.name else "")
        head = f"{work}." if self.path else ""
        told = [
            ("full", (f"Task: {goal}", head, note, query)),
            ("summary", (head, note, query)),
            ("summary", (head, query)),
            ("signature", (head, note, f"Task: {goal}")),
            ("signature", (head, f"Task: {goal}")),
            ("name", (head or f"Task: {task}",)),
        ]
        lines = [(level, "\n".join(filter(None, parts))) for level, parts in told]
        node = node_id("task", task)
        return Candidate(node, "task description", "CRITICAL", self._levels(lines, 1.0), 1.0)

    def _map(self) -> Iterator[Candidate]:
        """The context map, as much of it as fits its own row of the budget."""
        if MAP not in self.policy.order or not self.states.map.items:
            return
        tokens = self.profile.rows.get(MAP, 0)
        shown = shown_map(self.states.map, self.modules, self.policy.map, tokens, self.counting)
        self.off_map = shown.left_out
        if shown.text:
            levels = self._levels([("full", shown.text)], 1.0)
            priority = self.policy.priority(MAP)
            yield Candidate(f"map:{self.states.map.context}", MAP, priority, levels, 1.0,
                            (self.states.map.version,))  # fmt: skip

    def _module(self) -> Candidate:
        node = node_id("module", self.path)
        text = self._summary(node, self.details.module_tokens)
        told = [("summary", text), ("signature", self._lines(self.path)), ("name", self.path)]
        if node in self.wanted:
            told.insert(0, ("full", self.sources.text(self.path)))
        return Candidate(
            node, "current module", "CRITICAL", self._levels(told, 1.0), 1.0,
            wanted=node in self.wanted, rank=self.wanted.get(node, 0), **self._told(self.path),
        )  # fmt: skip

    def _files(self) -> list[str]:
        """The modules that are wanted, beside the target's own."""
        own = node_id("module", self.path)
        return [one for one in self.wanted if kind_of(one) == "module" and one != own]

    def _file(self, path: str) -> Candidate:
        """A whole module that is wanted, or needed."""
        node, names = node_id("module", path), names_in(self.facets[path])
        tests = any(self.facets[path][f"sig:{name}"][:1] == ("test",) for name in names)
        section = "test results" if tests else ADDED
        text = self._summary(node, self.details.module_tokens) if path in self.needed else ""
        told = [("full", self.sources.text(path)), ("signature", self._lines(path)),
                ("summary", text), ("name", path)]  # fmt: skip
        return Candidate(
            node, "dependencies" if path in self.needed else section, "CRITICAL",
            self._levels(told, 1.0), 1.0, wanted=path not in self.needed, rank=self._rank(node),
            **self._told(path),
        )  # fmt: skip

    def _lines(self, path: str) -> str:
        """The constants of a module, and the signatures of what stands in it."""
        names = (name for name in names_in(self.facets[path]) if "." not in name)
        own = (name_of(one) for one in self.symbols.constants(path) if path_of(one) == path)
        lines = [self.sources.constant(path, name).signature for name in own]
        lines += [self.sources.piece(path, name).signature for name in names]
        return "\n".join(filter(None, lines))

    def _symbols(self) -> Iterator[Candidate]:
        """Functions and classes, the likeliest until they would fill the context several times."""
        symbols, scores = self.symbols, self._scores()
        must = {node for node in self._must() if node in symbols.places}
        opened = {outer for node in must for outer in _around(node)}
        left, chances = dict.fromkeys(sorted(must)), scores.tolist()
        room = self.policy.offered * self.profile.context
        # The rows stand by path and name, and the sort is stable, so ties do too.
        for number, row in enumerate(np.argsort(-scores, kind="stable").tolist()):
            if room <= 0:
                self.passed_over = len(scores) - number - len(left)
                break
            one = self._symbol(row, chances[row], must, opened)
            if one.node in left:
                del left[one.node]
            if one.levels:
                room -= one.levels[-2 if len(one.levels) > 1 else -1].tokens
                yield one
        for node in left:
            row = symbols.places[node]
            yield self._symbol(row, chances[row], must, opened)

    def _scores(self) -> Floats:
        """The chance of each symbol to be needed."""
        text = self.request.query
        if self.target in self.symbols.places or kind_of(self.target) == "test":
            text += "\n" + self.sources.piece(self.path, self.name).text
        asked = RequestEvidence(self.target, text)
        meaning = None
        if self.nearness and self.policy.weights.get("meaning") and self.symbols.nodes:
            meaning = self.nearness.of(self.symbols.interfaces, text or self.path or "?")
        evidence = self.kept.evidence(self.symbols, self.states.changes, asked)
        scores = weighed(evidence, self.policy.weights, meaning)
        # A class is the line above its methods: it is worth nearly as much as the best of them.
        whole: Floats = np.round(self.symbols.with_classes(scores, 0.9), DECIMALS)
        return whole

    def _must(self) -> list[str]:
        """The target, and what it needs at once."""
        wanted = sorted(self.wanted)
        if not self.path:
            return wanted
        if self.name:
            return [self.target, *self.symbols.needs(self.target), *wanted]
        own = self.symbols.nodes[self.symbols.rows.get(self.path, NONE)]
        needed = [other for node in own for other in self.symbols.needs(node)]
        return [*(node for node in needed if path_of(node) != self.path), *wanted]

    def _symbol(self, row: int, score: float, must: Set[str], opened: Set[str]) -> Candidate:
        node, path, name, outer = self.symbols.named[row]
        critical = node in must
        section = self._section(node, path, critical)
        piece = self.sources.piece(path, name)
        # Of a class its methods that must be shown are items of their own.
        full = "" if node in opened and not critical else piece.text
        summed = critical or score >= self.policy.summarised
        told = [("full", full), ("summary", self._brief(node, piece) if summed else ""),
                ("signature", piece.signature), ("name", name)]  # fmt: skip
        told_by = self._told(path)
        # By place, since there are hundreds of these in every prompt.
        return Candidate(
            node, section, "CRITICAL" if critical else self.priorities[section],
            self._levels(told, score), score, told_by["because"], piece.place,
            f"module:{path}" if path in self.whole else outer, "", told_by["version"],
            node in self.wanted, self._rank(node) if critical else 0,
        )  # fmt: skip

    def _rank(self, node: str) -> int:
        """Where what must be shown stands: the target, what is wanted, what these need."""
        needed = 1 + len(self.request.wanted)
        return self.wanted.get(node, 0 if node == self.target else needed)

    def _within(self, node: str) -> str:
        """The node whose full text holds that of another one."""
        path = path_of(node)
        return node_id("module", path) if path in self.whole else ""

    def _told(self, path: str) -> "_Told":
        """By which event, and as which iteration, a module came to be as it is."""
        told = self._origins.get(path)
        if told is None:
            module = self.states.graph.modules[path]
            told = {"because": (module.version,), "version": module.iteration}
            self._origins[path] = told
        return told

    def _section(self, node: str, path: str, must: bool) -> str:
        if node == self.target:
            return "current module"
        if node in self.wanted:
            return ADDED
        if path == self.path:
            return "related functions"
        return "dependencies" if must else "related modules"

    def _brief(self, node: str, piece: SourcePiece) -> str:
        """A signature with its summary below, as comments; empty where there is no summary."""
        if not piece.signature:
            return ""
        return _commented(piece.signature, self._summary(node, self.details.function_tokens))

    def _summary(self, node: str, limit: int) -> str:
        """What was written if it still holds, else what is derived; never what is stale."""
        known = self.states.summaries
        for one in reversed(known.nodes.get(node, ())):
            late = summaries.outlived(one, known.last_at) or summaries.superseded(known, one)
            if not late and self.modules.holds(one.made_of):
                return one.text
            self.stale[node] = one.version
        return self.briefs.of(self.facets, node, limit, self.counting.count)

    def _constants(self) -> Iterator[Candidate]:
        """The constants of the module, and those that it imports, as their own lines."""
        words = set(IDENTIFIER.findall(self.request.query))
        needed = set(self.symbols.reads(self.target))
        for node in self.symbols.constants(self.path):
            path, name = path_of(node), name_of(node)
            piece = self.sources.constant(path, name)
            own = path == self.path
            why = "needed" if node in needed else "named" if name in words else \
                "own file" if own else "imported"  # fmt: skip
            score = self.policy.constants.get(why, 0.0)
            section = "related functions" if own else "related modules"
            levels = self._levels([("signature", piece.signature), ("name", name)], score)
            priority = self.policy.priority(section)
            yield Candidate(
                node, section, priority, levels, score, place=piece.place,
                within=self._within(node), **self._told(path),
            )  # fmt: skip

    def _tests(self) -> Iterator[Candidate]:
        """The tests of the target, or of what is in its module."""
        rows = self.symbols.rows.get(self.path, NONE)
        own = {self.target} if self.name else set(self.symbols.nodes[rows])
        tests = {test for test, tested in self.symbols.tests(self.path) if tested in own}
        tests |= {one for one in self.wanted if kind_of(one) == "test"}
        for number, node in enumerate(sorted(tests)):
            yield self._test(node, round(0.5 / (1 + number), DECIMALS))

    def _test(self, node: str, score: float) -> Candidate:
        path, wanted = path_of(node), node in self.wanted
        piece = self.sources.piece(path, name_of(node))
        told = {"full": piece.text, "signature": piece.signature, "name": last_name(node)}
        if self.details.tests == "signature" and not wanted:
            del told["full"]
        if self.details.tests == "name" and not wanted:
            told = {"name": told["name"]}
        priority = "CRITICAL" if wanted else self.policy.priority("test results")
        return Candidate(
            node, "test results", priority, self._levels(list(told.items()), score), score,
            place=piece.place, within=self._within(node), wanted=wanted,
            rank=self.wanted.get(node, 0), **self._told(path),
        )  # fmt: skip

    def _levels(self, told: Sequence[tuple[str, str]], score: float) -> tuple[Level, ...]:
        """The levels that say something, each shorter than the one before."""
        worth = self.worth
        return tuple(
            [
                Level(name, text, tokens, score * worth[name])
                for name, text, tokens in self.counting.fewer(tuple(told))
            ]
        )


HEADS = ("Function:", "Method:", "Class:", "Test:", "Inputs:", "Outputs:", "Inherits:")
"Of a summary's lines those that a signature tells."


def _around(node: str) -> Iterator[str]:
    """The classes that a node may stand in."""
    path, outer = path_of(node), name_of(node)
    while "." in outer:
        outer = outer.rpartition(".")[0]
        yield node_id("class", path, outer)


@lru_cache(maxsize=50_000)
def _commented(signature: str, summary: str) -> str:
    """A signature with what a summary tells beside it below, as comments; empty for nothing."""
    told = [line for line in summary.split("\n") if not line.startswith(HEADS)]
    if not any(told):
        return ""
    first = signature.split("\n")[0]
    margin = first[: len(first) - len(first.lstrip())] + "    "
    return "\n".join([signature, *(f"{margin}# {line}" for line in told)])
