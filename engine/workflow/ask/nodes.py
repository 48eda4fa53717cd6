"""The nodes of a log as of a moment: modules, what is in them, and events that have a text."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

from backcast.domain.budget import ModelProfile
from backcast.domain.errors import DamagedError, InputError
from backcast.domain.events import (
    ChecksRan,
    Committed,
    MessageReceived,
    ModelReplied,
    TaskStarted,
    ToolCalled,
    ToolReturned,
    WorkflowEvent,
)
from backcast.domain.json_text import json_text
from backcast.domain.moment import Moment
from backcast.domain.node import SYMBOLS, kind_of, name_of, node_id, path_of
from backcast.engine.history.snapshots import state_at
from backcast.engine.log.store import EventStore
from backcast.engine.models.tokenizers import Tokenizer
from backcast.projections import dependency_graph

EVENT = "event"
"The kind of a node that is an event of the log with a text."
NEAR = 3
"Names that an error about a wrong one tells."


class NodeText(NamedTuple):
    """The text of a node as of the moment."""

    node: str
    text: str
    version: int
    "The version of the event that brought it."
    first: int = 1
    "The number of its first line in its module."

    @property
    def digest(self) -> str:
        """SHA-256 of the text."""
        return sha256(self.text.encode(errors="surrogatepass")).hexdigest()


class SubjectNodes:
    """What can be named in a view of one task's log as of a moment."""

    def __init__(
        self,
        store: EventStore,
        task: str,
        moment: Moment,
        profile: ModelProfile,
        counter: Tokenizer,
    ) -> None:
        self.store, self.task, self.moment = store, task, moment
        self.profile, self.counter = profile, counter
        self._texts: dict[str, str] = {}

    # What is there

    @cached_property
    def state(self) -> dependency_graph.State:
        """The modules as of the moment."""
        found: dependency_graph.State = state_at(
            self.store, dependency_graph, self.task, self.moment
        )
        return found

    @cached_property
    def paths(self) -> Sequence[str]:
        """The paths of the modules whose text is known, sorted."""
        modules = self.state.modules
        return [
            path
            for path in sorted(modules)
            if not modules[path].deleted and modules[path].source is not None
        ]

    @cached_property
    def events(self) -> dict[int, str]:
        """The texts of the events that have one, by version."""
        found = dict[int, str]()
        for event in self.store.read(self.task, moment=self.moment):
            if text := self._said(event):
                found[event.version] = text
        return found

    def _said(self, event: WorkflowEvent) -> str:
        """Return what an event tells in words; empty where that is nothing."""
        match event.fact:
            case Committed(sha=sha, message=message):
                return f"commit {sha[:10]}: {message}"
            case TaskStarted(goal=str(goal)):
                return f"goal: {goal}"
            case MessageReceived(role=role, text=str(ref)):
                return f"{role}: {self._body(ref)}"
            case ModelReplied(text=str(ref)):
                return f"model: {self._body(ref)}"
            case ToolCalled(tool=tool, arguments=arguments):
                return f"call of {tool}: {json_text(arguments)}"
            case ToolReturned() as fact if fact.output or fact.message:
                output = self._body(fact.output) if fact.output else fact.message or ""
                return f"result of {fact.tool or 'a tool'}: {output}"
            case ChecksRan() as fact:
                return f"checks: {fact.passed} passed, {fact.failed} failed\n{fact.preview or ''}"
        return ""

    def _body(self, ref: str) -> str:
        try:
            return self.store.get(ref).decode(errors="replace")
        except (DamagedError, ValueError):
            return ""

    def text(self, path: str) -> str:
        """Return the text of a module that is there."""
        if path not in self._texts:
            self._texts[path] = self._body(self.state.modules[path].source or "")
        return self._texts[path]

    # Nodes

    def node(self, named: str) -> NodeText:
        """Return a node's text; `InputError` where there is none such, with those that are near.

        A bare path, or a wrong kind before a right name, is understood.
        """
        named = named.strip()
        if named.startswith(f"{EVENT}:"):
            return self._event(named)
        path, name = parted(named)
        if path not in self.paths:
            raise InputError(f"there is no {named!r} here{self._near(named)}")
        version = self.state.modules[path].version
        if not name:
            return NodeText(node_id("module", path), self.text(path), version)
        lines = dependency_graph.lines_of(self.state, path).get(name)
        if lines is None:
            raise InputError(f"{path} has no {name!r}{self._near(named)}")
        kind = (self.state.modules[path].facets.get(f"sig:{name}") or ("function",))[0]
        cut = self.text(path).splitlines(keepends=True)[lines[0] - 1 : lines[1]]
        return NodeText(node_id(kind, path, name), "".join(cut), version, lines[0])

    def _event(self, named: str) -> NodeText:
        number = named.removeprefix(f"{EVENT}:")
        version = int(number) if number.isdecimal() and len(number) < 12 else 0
        if version not in self.events:
            near = sorted(self.events, key=lambda other: (abs(other - version), other))[:NEAR]
            hint = f"; near it: {', '.join(f'event:{n}' for n in sorted(near))}" if near else ""
            raise InputError(f"there is no {named!r} with a text here{hint}")
        return NodeText(f"{EVENT}:{version}", self.events[version], version)

    def _near(self, named: str) -> str:
        path, name = parted(named)
        if path in self.paths:
            names = sorted(dependency_graph.lines_of(self.state, path))
            last = name.rpartition(".")[2]
            near = [one for one in names if one.rpartition(".")[2] == last]
            near += get_close_matches(name, names, NEAR, 0.4)
            found = [node_id("function", path, one) for one in dict.fromkeys(near)]
        else:
            base = path.rpartition("/")[2]
            near = [one for one in self.paths if one.rpartition("/")[2] == base]
            near += get_close_matches(path, self.paths, NEAR, 0.4)
            found = [node_id("module", one) for one in dict.fromkeys(near)]
        if not found:
            return ": list or search shows what is there"
        return f"; near it: {', '.join(found[:NEAR])}"

    # Quotes

    def quoted(self, named: str, text: str) -> tuple[NodeText | None, str]:
        """Return a quote's node, and why the quote is not proven; empty where it is.

        White space may differ; it begins and ends where words do.
        """
        try:
            found = self.node(named)
        except InputError as error:
            return None, str(error)
        wanted = " ".join(text.split())
        if not wanted:
            return found, "it quotes nothing"
        begin, end = (r"\b" if re.match(r"\w", edge) else "" for edge in (wanted[0], wanted[-1]))
        if re.search(f"{begin}{re.escape(wanted)}{end}", " ".join(found.text.split())):
            return found, ""
        return found, f"{found.node} does not hold this text"


def parted(named: str) -> tuple[str, str]:
    """Return the path and the name of a node, whatever its kind; of a bare path too."""
    known = ("module", *SYMBOLS, "attribute")
    node = named if kind_of(named) in known and ":" in named else f"module:{named}"
    return path_of(node), name_of(node)
