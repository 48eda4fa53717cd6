"""What a question is about: a repository, a task or a log as of a moment, as actions see it.

Equal moments give equal results, whatever was asked before: what is kept only saves time.
"""

from collections.abc import Callable, Sequence
from functools import cached_property

from backcast.domain.errors import InputError
from backcast.domain.node import node_id
from backcast.engine.context.search.words import words
from backcast.engine.workflow.ask.nodes import EVENT, parted
from backcast.engine.workflow.ask.passages import ShownPassage, SubjectPassages
from backcast.projections import dependency_graph

HITS, FIRST_HITS, SEARCHED = 8, 5, 1_200
"Nodes that a search shows, and a beginning, and tokens of what is shown of those of a search."


class Subject(SubjectPassages):
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
            head.append(f"{node_id(kind, path, name)}{''.join(rest[:1])}, lines {first}-{last}")
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

    def search(self, query: str, tokens: int = SEARCHED) -> str:
        """Return what answers some words best, each node's lines under its name."""
        if not words(query):
            raise InputError("needed words to search for, found none")
        found = self.passages(query, HITS, tokens)
        return _written(found) or "nothing holds these words"

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
        return found.node, f"{found.node}, lines {begin}-{stop}{what}:\n" + "\n".join(shown)

    def look(self, question: str, about: str, tokens: int) -> str:
        """Return what may be near a question, of so many tokens or fewer: the nodes that it names
        or is about, lines that hold such a name, and what a search finds for its words."""
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
        if not words(question) and not about:
            return ""
        # The best stands next to the question: small models hold to what they have read last.
        return _written(self.passages(question, FIRST_HITS, tokens, about)[::-1])


SubjectOf = Callable[[str], Subject]
"Returns what a question is about, by its name."


def _written(found: Sequence[Sequence[ShownPassage]]) -> str:
    return "\n\n".join(one.text for passages in found for one in passages)
