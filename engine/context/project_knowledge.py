"""What a project's code shows of its habits, and of its use of libraries, as of a moment.

Modules are counted one by one, and again only when they change: from one commit to the next a few
are. The texts say shares and orders that a single commit rarely moves, since they stand where a
prompt's beginning is kept.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from backcast.domain.errors import DamagedError
from backcast.domain.gathered import Fix
from backcast.domain.graph import Graph
from backcast.domain.library_use import NAMED, LibraryUses, places_of, ranked, uses_of
from backcast.domain.node import node_id
from backcast.domain.outline import Facets
from backcast.domain.paths import is_own
from backcast.domain.project_file import ProjectFile, is_requirements, project_file
from backcast.domain.project_patterns import ProjectPattern, counts_of, patterns_of
from backcast.engine.context.library_users import LibraryUsers
from backcast.engine.context.sources import SourceLines
from backcast.engine.history.task_states import TaskStates
from backcast.projections import dependency_graph, offline_cache

Count = Callable[[str], int]
WIDEST = 100
"Columns of a line of code that is shown as an example."
ISSUES, ELSEWHERE = 3, 3
LONGEST_ISSUE = 160


class Tally(NamedTuple):
    """What was counted in one module."""

    facets: Facets
    habits: Counter[str]
    libraries: LibraryUses


class KnownLibrary(NamedTuple):
    """A third-party library, and what is known of its use."""

    name: str
    required: str | None
    "The versions that the project requires; empty for any, None where it does not say."
    summary: str
    "What was written of it, by the task itself or by an earlier one; empty for nothing."
    modules: int
    "Modules of the project that import it."
    uses: tuple[tuple[str, int], ...]
    "What is used of it, and in how many functions, the most used first."
    alias: str
    "How most modules import it where not by its name: `import numpy as np`."
    line: str
    "A line of the project that uses it."
    place: str
    "Where that stands: `shop/cart.py#L12`."
    issues: tuple[str, ...]
    "Failures of earlier tasks that name it, and what mended them."
    elsewhere: tuple[str, ...]
    "References to modules of finished tasks that use it, the latest first."

    def short(self, use: str) -> str:
        """Return a use under the name by which the project knows the library, or without it."""
        inner = use.removeprefix(f"{self.name}.")
        return f"{self.alias.rpartition(' ')[2]}.{inner}" if self.alias else inner


class ProjectKnowledge:
    """What is known of a project's code, from moment to moment."""

    def __init__(self, lines: SourceLines) -> None:
        self._lines = lines
        self._tallies: dict[str, Tally] = {}
        self._habits, self._aliases = Counter[str](), Counter[str]()
        self._uses: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
        "Uses of libraries in the project's own code, and in its tests and beside it."
        self._of: object = None
        "The modules that were counted last."
        self._habitual = False
        "Whether habits were ever asked for, and are counted too."
        self._users = LibraryUsers()
        self._uses_of: dict[str, dict[str, int]] = {}
        self._file: tuple[tuple[str, ...], ProjectFile] | None = None
        self._said: tuple[object, object] = (None, None)
        "What earlier tasks left, and what was written, as the texts were made last."
        self._left: dict[str, offline_cache.Library] = {}
        "What earlier tasks left of each library."
        self._texts: dict[tuple[str, str, int], str] = {}

    def habits(self, state: dependency_graph.State) -> list[ProjectPattern]:
        """Return how the project writes its code, the most telling first."""
        self._count_habits(state)
        return patterns_of(self._habits)

    def habits_within(self, state: dependency_graph.State, tokens: int, count: Count) -> str:
        """Return that in a line of at most so many tokens; empty for nothing."""
        self._count_habits(state)
        key = "habits", "", tokens
        if key not in self._texts:
            parts = (f"{one.subject}: {one.brief}" for one in patterns_of(self._habits))
            self._texts[key] = _within("This project writes. ", parts, ". ", tokens, count)
        return self._texts[key]

    def libraries(self, states: TaskStates, graph: Graph, path: str) -> list[str]:
        """Return the third-party libraries that a module imports, those that it uses most first;
        all of the project's without a path."""
        self._users.follow(graph)
        names = self._users.names(path)
        if not names:
            return names  # before anything is counted
        self._count(states.graph)
        tally = self._tallies.get(path)
        worth = dict[str, int]()
        for name in names:
            uses = tally.libraries.uses if tally else self._used(name)
            worth[name] = sum(uses[use] for use in ranked(uses, name))
        return sorted(names, key=lambda name: (-worth[name].bit_length(), name))

    def _used(self, name: str) -> dict[str, int]:
        """Return what the project's own code uses of a library, else what its tests use."""
        if name not in self._uses_of:
            both = (self._uses[where] for where in (True, False))
            found = ({use: counts[use] for use in ranked(counts, name)} for counts in both)
            self._uses_of[name] = next(filter(None, found), {})
        return self._uses_of[name]

    def library(self, states: TaskStates, graph: Graph, name: str) -> KnownLibrary:
        """Return what is known of a library."""
        self._count(states.graph)
        self._users.follow(graph)
        self._know(states)
        used = self._used(name)
        own = [one.text for one in states.summaries.nodes.get(node_id("library", name), ())]
        earlier = self._left.get(name)
        users = self._users.of(name)
        aliases = {
            text: count
            for text, count in self._aliases.items()
            if text.startswith(f"import {name} as ") and 2 * count >= len(users)
        }
        line, place = self._line(states.graph, users, [*used][:NAMED])
        return KnownLibrary(
            name, self._project(states.graph).version_of(name),
            summary=own[-1] if own else earlier.text if earlier else "",
            modules=len(users), uses=tuple(used.items()),
            alias=min(aliases, key=lambda text: (-aliases[text], text), default=""),
            line=line, place=place, issues=tuple(_issues(states, name)),
            elsewhere=earlier.users[:ELSEWHERE] if earlier else (),
        )  # fmt: skip

    def library_within(
        self, states: TaskStates, graph: Graph, name: str, tokens: int, count: Count
    ) -> str:
        """Return what is known of a library in at most so many tokens; empty for nothing."""
        self._count(states.graph)
        self._know(states)
        key = "library", name, tokens
        if key not in self._texts:
            found = self.library(states, graph, name)
            head = f"{name} {found.required}" if found.required else name
            names = ", ".join(found.short(use) for use, _ in found.uses[:NAMED])
            parts = [
                " ".join(found.summary.split()), found.alias,
                f"used here: {names}" if names else "", found.line,
                *(f"failed before: {issue}" for issue in found.issues[:1]),
            ]  # fmt: skip
            self._texts[key] = _within(head, filter(None, parts), "\n", tokens, count)
        return self._texts[key]

    def _count(self, state: dependency_graph.State) -> None:
        """Count the modules that have changed since the last moment."""
        if self._of is state.modules:
            return
        self._of, self._texts, self._uses_of = state.modules, {}, {}
        gone = dict(self._tallies)
        for path, module in state.modules.items():
            if module.deleted or not path.endswith(".py"):
                continue
            before = gone.pop(path, None)
            if before is None or before.facets is not module.facets:
                habits = counts_of(path, module.facets) if self._habitual else Counter[str]()
                tally = Tally(module.facets, habits, uses_of(module.facets))
                self._add(path, before, -1)
                self._add(path, tally, 1)
                self._tallies[path] = tally
        for path, tally in gone.items():
            self._add(path, tally, -1)
            del self._tallies[path]

    def _count_habits(self, state: dependency_graph.State) -> None:
        """Count the modules for their habits too, which few policies show."""
        if not self._habitual:
            for path, tally in self._tallies.items():
                self._add(path, tally, -1)
            self._habitual, self._tallies, self._of = True, {}, None
        self._count(state)

    def _know(self, states: TaskStates) -> None:
        """Note what earlier tasks left, if that or a summary is another than before."""
        if self._said[0] is not states.offline or self._said[1] is not states.summaries.nodes:
            known = offline_cache.library_knowledge(states.offline)
            self._left = {library.name: library for library in known}
            self._said, self._texts = (states.offline, states.summaries.nodes), {}

    def _add(self, path: str, tally: Tally | None, sign: int) -> None:
        if tally is not None:
            libraries = tally.libraries
            pairs = ((self._habits, tally.habits), (self._uses[is_own(path)], libraries.uses),
                     (self._aliases, libraries.aliases))  # fmt: skip
            for total, counts in pairs:
                for name, number in counts.items():
                    total[name] += sign * number

    def _project(self, state: dependency_graph.State) -> ProjectFile:
        """Return what the project requires; read again only when a file of it has changed."""
        modules = {path: module for path, module in state.modules.items()
                   if is_requirements(path) and module.source and not module.deleted}  # fmt: skip
        refs = tuple(f"{path} {modules[path].source}" for path in sorted(modules))
        if self._file is None or self._file[0] != refs:
            found = project_file(modules, lambda path: self._text(modules[path].source or ""))
            self._file = refs, found
        return self._file[1]

    def _text(self, ref: str) -> str | None:
        try:
            return "\n".join(self._lines.of(ref))
        except DamagedError:
            return None

    def _line(
        self, state: dependency_graph.State, users: Iterable[str], uses: Sequence[str]
    ) -> tuple[str, str]:
        """Return a line of the project with one of some uses, and where it stands."""
        known = [path for path in users if path in self._tallies]
        own = [path for path in known if is_own(path)]
        for paths, use in ((paths, use) for paths in (own, known) for use in uses):
            found = [path for path in paths if self._tallies[path].libraries.uses[use]]
            for path in found[:NAMED]:
                if line := self._line_in(state, path, use):
                    return line
        return "", ""

    def _line_in(
        self, state: dependency_graph.State, path: str, use: str
    ) -> tuple[str, str] | None:
        module, places = state.modules[path], dependency_graph.lines_of(state, path)
        text = (self._text(module.source) if module.source else None) or ""
        lines = text.split("\n")
        for where in places_of(module.facets, use):
            first, last = places.get(where.function, (1, 0))
            called = re.compile(rf"(?<![\w.]){re.escape(where.written)}\(")
            for number in range(first, min(last, len(lines)) + 1):
                line = lines[number - 1].strip()
                if called.search(line) and _is_whole(line):
                    return line, f"{path}#L{number}"
        return None


def _issues(states: TaskStates, name: str) -> list[str]:
    """Return failures of earlier tasks that name a library and what mended them, the latest first.

    What fails now stands among a prompt's errors, and is no knowledge yet.
    """
    # As a name: quoted, or before a dot. Libraries are called click, requests, rich.
    plain = re.escape(name)
    named = re.compile(rf"(?<![\w.])(?:{plain}\.\w|['\"]{plain}(?:\.\w+)*['\"])")
    known = [
        f"{_first(fix)}; mended by iteration {fix.iteration} of {fix.module}, task {fix.task}"
        for fix in offline_cache.fixes(states.offline)
        if named.search(fix.message)
    ]
    return [*dict.fromkeys(known)][:ISSUES]


def _is_whole(line: str) -> bool:
    """Return whether a line of code says something for itself."""
    pairs = all(line.count(one) == line.count(other) for one, other in ("()", "[]", "{}"))
    return pairs and len(line) <= WIDEST and line[0] not in "#\"'"


def _first(fix: Fix) -> str:
    return fix.message.split("\n")[0][:LONGEST_ISSUE]


def _within(head: str, parts: Iterable[str], joint: str, tokens: int, count: Count) -> str:
    """Return a head and as many parts as fit, each whole or not at all; empty if none fits."""
    text, between = head, "" if head.endswith(" ") else joint
    for part in parts:
        more = f"{text}{between}{part}"
        if count(more) <= tokens:
            text, between = more, joint
    return text if text != head else ""
