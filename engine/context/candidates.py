"""What could be shown for a request, each thing at up to four levels of detail."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from domain.context import Candidate, Level
from domain.graph import NEEDS, Graph
from domain.node import SYMBOLS, kind_of, name_of, node_id, path_of
from domain.outline import Facet, names_in
from domain.staleness import Modules
from domain.summary import summary_of
from projections import dependency_graph, online_cache, progress, summaries

Count = Callable[[str], int]
Read = Callable[[str], bytes]


class States(NamedTuple):
    """What was known of a task at a moment."""

    progress: progress.State
    graph: dependency_graph.State
    summaries: summaries.State
    online: online_cache.State


class Sources:
    """The source lines of the modules of a moment."""

    def __init__(self, state: dependency_graph.State, read: Read) -> None:
        self._state, self._read = state, read
        self._lines: dict[str, list[str]] = {}

    def text(self, path: str, name: str = "") -> str:
        """The text of a module, or of a function or class; empty where it is not known."""
        module = self._state.modules.get(path)
        if module is None or module.deleted or module.source != module.outlined:
            return ""
        if path not in self._lines:
            text = self._read(module.source or "").decode(errors="replace")
            self._lines[path] = text.replace("\r\n", "\n").split("\n")
        lines = self._lines[path]
        if not name:
            return "\n".join(lines).strip("\n")
        first, last = dependency_graph.lines_of(self._state, path).get(name, (1, 0))
        return "\n".join(lines[first - 1 : last])

    def signature(self, path: str, name: str) -> str:
        """The source's own `def` or `class` line, all of it where it goes over several."""
        lines = self.text(path, name).split("\n")
        begin = next((n for n, line in enumerate(lines) if _opens(line)), None)
        if begin is None:
            return ""
        taken, depth = [], 0
        for line in lines[begin:]:
            taken.append(line)
            depth += sum(line.count(c) for c in "([{") - sum(line.count(c) for c in ")]}")
            if depth <= 0:
                break
        return "\n".join(taken)


def candidates(
    states: States, graph: Graph, target: str, read: Read, count: Count
) -> list[Candidate]:
    """What could be shown when a module or function is worked on, in no order of its own."""
    found = _Found(states, graph, target, read, count)
    return [one for one in found.all() if one.levels]


def _opens(line: str) -> bool:
    return line.lstrip().startswith(("def ", "async def ", "class "))


class _Found:
    """The candidates of one request."""

    def __init__(self, states: States, graph: Graph, target: str, read: Read, count: Count) -> None:
        self.states, self.graph, self.target, self.count = states, graph, target, count
        self.path, self.name = path_of(target), name_of(target)
        self.facets: Mapping[str, Mapping[str, Facet]] = dependency_graph.present(states.graph)
        self.modules = Modules(self.facets)
        self.sources = Sources(states.graph, read)

    def all(self) -> Iterator[Candidate]:
        yield self._task()
        yield from self._failure()
        if self.path in self.facets:
            yield self._module(self.path, "current module", "CRITICAL")
        near = self._needed()
        for node in near:
            yield self._symbol(node, "dependencies", "CRITICAL", 1.0)
        inside = [node for node in self._inside(self.path) if node not in near]
        for node in inside:
            own = node == self.target
            priority = "CRITICAL" if own else "HIGH"
            score = 2.0 if own else self._closeness(node)
            yield self._symbol(node, "related functions", priority, score)
        for node in self._tests():
            yield self._symbol(node, "test results", "MEDIUM", self._closeness(node))

    def _task(self) -> Candidate:
        state = self.states.progress
        goal = " ".join((state.goal or "").split())
        task = state_id = self.states.graph.task_id
        node = node_id("task", state_id)
        work = f"Work on {self.path}" + (f", {self.name}" if self.name else "")
        told = [f"{work}.\nTask: {goal or task}\nStatus: {state.status}", f"{work}. {goal}".strip()]
        levels = self._levels([("summary", told[0]), ("name", told[1]), ("name", f"{work}.")])
        return Candidate(node, "task description", "CRITICAL", levels, 9.0)

    def _failure(self) -> Iterator[Candidate]:
        failures = [one for one in self.states.online.failures if not one.over]
        for number, failure in enumerate(failures):
            head = ": ".join(part for part in (failure.at, failure.name) if part)
            first = failure.message.split("\n")[0]
            whole = ": ".join(part for part in (head, failure.message) if part)
            short = ": ".join(part for part in (head, first) if part)
            levels = self._levels(
                [("full", whole), ("signature", short), ("name", head or failure.kind)]
            )
            node = f"failure:{failure.version}.{failure.number}"
            priority = "CRITICAL" if number == 0 else "LOW"
            yield Candidate(
                node, "recent errors", priority, levels, -float(number), (failure.version,)
            )

    def _module(self, path: str, section: str, priority: str) -> Candidate:
        node = node_id("module", path)
        defined = [
            self.sources.signature(path, name) for name in names_in(self.facets[path])
            if "." not in name
        ]  # fmt: skip
        lines = "\n".join(line for line in defined if line)
        levels = self._levels(
            [("summary", self._summary(node)), ("signature", lines), ("name", path)]
        )
        version = self.states.graph.modules[path].version
        return Candidate(node, section, priority, levels, 1.0, (version,))

    def _symbol(self, node: str, section: str, priority: str, score: float) -> Candidate:
        path, name = path_of(node), name_of(node)
        levels = self._levels(
            [
                ("full", self.sources.text(path, name)),
                ("summary", self._summary(node)),
                ("signature", self.sources.signature(path, name)),
                ("name", name),
            ]
        )
        version = self.states.graph.modules[path].version
        return Candidate(node, section, priority, levels, score, (version,))

    def _summary(self, node: str) -> str:
        """What was written if it still holds, else what is derived; never what is stale."""
        for one in reversed(self.states.summaries.nodes.get(node, ())):
            known = self.states.summaries
            late = summaries.outlived(one, known.last_at) or summaries.superseded(known, one)
            if not late and self.modules.holds(one.made_of):
                return one.text
        summary = summary_of(self.facets, node)
        return summary.text if summary else ""

    def _levels(self, told: Sequence[tuple[str, str]]) -> tuple[Level, ...]:
        """The levels that say something, each shorter than the one before."""
        levels: list[Level] = []
        for name, text in told:
            # What stands between two items belongs to the first.
            tokens = self.count(f"{text}\n\n") if text else 0
            if text and (not levels or tokens < levels[-1].tokens):
                levels.append(Level(name, text, tokens))
        return tuple(levels)

    def _inside(self, path: str) -> list[str]:
        facets = self.facets.get(path, {})
        kinds = {name: (facets[f"sig:{name}"] or ("function",))[0] for name in names_in(facets)}
        return [node_id(kind, path, name) for name, kind in kinds.items() if kind != "class"]

    def _needed(self) -> list[str]:
        """The functions and classes elsewhere that the target needs at once."""
        starts = [self.target] if self.name else self._inside(self.path)
        found = {
            edge.target
            for start in starts
            for edge in self.graph.out.get(start, ())
            if edge.kind in NEEDS and kind_of(edge.target) in SYMBOLS
        }
        return sorted(node for node in found if path_of(node) != self.path)

    def _tests(self) -> list[str]:
        inside = set(self._inside(self.path))
        edges = (edge for node in sorted(inside) for edge in self.graph.into.get(node, ()))
        found = {edge.source for edge in edges if edge.kind == "tests"}
        return sorted(found - inside)

    def _closeness(self, node: str) -> float:
        """1 for what the target needs or is needed by, else 0."""
        around = (*self.graph.out.get(node, ()), *self.graph.into.get(node, ()))
        return float(any(self.target in (edge.source, edge.target) for edge in around))
