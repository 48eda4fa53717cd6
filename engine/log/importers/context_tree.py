"""The contexts of a log whose entries form a tree: each entry names the one that it follows.

A person may go back and begin another branch. All entries stand in the log, in the order of the
file; the context of a call follows from its own branch. So a file that grows changes nothing of
what was said of it before.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple

from backcast.engine.log.importers.formed_contexts import FormedContexts

Entry = dict[str, Any]


class ContextStep(NamedTuple):
    """What an entry does to the context of its branch."""

    messages: Sequence[Mapping[str, Any]] = ()
    compacts: bool = False
    "Whether the messages stand in the place of those before."
    kept: str | None = None
    "The id of the first entry whose messages a compaction keeps, behind its own."


class ContextTree:
    """The branch to the entry at hand, and the context that it makes."""

    def __init__(
        self,
        contexts: FormedContexts,
        step: Callable[[Entry], ContextStep],
        again: Callable[[Set[str]], Iterator[tuple[str, Entry]]],
    ) -> None:
        """`again` reads some entries of the log once more, for a branch that was left."""
        self.contexts, self.step, self.again = contexts, step, again
        self.parents: dict[str, str | None] = {}
        self.last: str | None = None
        "The entry at which the context stands."
        self._followed: set[str | None] = set()
        self.branches: list[str] = []
        "The entries at which another branch begins."
        self._held: list[tuple[str, Mapping[str, Any]]] = []
        "The messages of the context, each with its entry."
        self._places: dict[str, int] = {}
        "How many of them stood at each entry since the last compaction."

    def __contains__(self, id: object) -> bool:
        return id in self.parents

    def go_to(self, parent: str | None) -> None:
        """Go to the entry that the next one follows; None for the root."""
        if parent == self.last:
            return
        if parent in self._places:
            count = self._places[parent]
            self.contexts.cut(count)
            del self._held[count:]
            self._places = {id: n for id, n in self._places.items() if n <= count}
        else:
            self._begin()
            for id, entry in self._branch(parent):
                self._apply(id, self.step(entry))
        self.last = parent

    def add(self, id: str, entry: Entry) -> None:
        """Add an entry behind the one that was gone to."""
        if self.last in self._followed:
            self.branches.append(id)
        self._followed.add(self.last)
        self.parents[id] = self.last
        self._apply(id, self.step(entry))
        self.last = id

    def _begin(self) -> None:
        self.contexts.replace(())
        self._held, self._places = [], {}

    def _branch(self, end: str | None) -> Iterator[tuple[str, Entry]]:
        """Yield the entries from the root to one."""
        path: list[str] = []
        while end is not None:
            path.append(end)
            end = self.parents[end]
        found = dict(self.again(set(path)))
        yield from ((id, found[id]) for id in reversed(path) if id in found)

    def _apply(self, id: str, step: ContextStep) -> None:
        if step.compacts:
            ids = [held for held, _ in self._held]
            kept = self._held[ids.index(step.kept) :] if step.kept in ids else []
            self._held = [*((id, message) for message in step.messages), *kept]
            self._places = {}
            self.contexts.replace(message for _, message in self._held)
        else:
            for message in step.messages:
                self.contexts.say(message)
                self._held.append((id, message))
        self._places[id] = len(self._held)
