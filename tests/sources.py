"""Modules by their source text, as the outliners see them, and tasks that brought them."""

from collections.abc import Mapping
from datetime import timedelta
from textwrap import dedent
from typing import NamedTuple

from immutables import Map

from backcast.domain.events import (
    Claim,
    Fact,
    ModuleDeleted,
    ModuleIteration,
    ModuleRenamed,
)
from backcast.domain.graph import Graph
from backcast.domain.outline import Facets, surface_of
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from backcast.engine.memory.outliner import outliner_of
from backcast.engine.memory.outlines import Outlining
from tests.strategies import NOON

SHOP = {
    "constants.py": '''
        """Numbers that all agree on."""
        LIMIT = 64
        ''',
    "utils.py": '''
        """Small things."""
        import re

        def normalise(text: str) -> str:
            """The text without blanks at its ends, in small letters."""
            return re.sub(" +", " ", text.strip().lower())
        ''',
    "validators.py": '''
        """Validation of what people type."""
        from constants import LIMIT
        from utils import normalise

        class InvalidError(ValueError):
            """It is not valid."""

        def validate_email(text: str) -> bool:
            """Whether a text is an address as RFC 5322 has it."""
            if len(text) > LIMIT:
                raise InvalidError(text)
            return "@" in normalise(text)
        ''',
    "test_validators.py": """
        from validators import validate_email

        def test_an_address_is_valid():
            assert validate_email("ann@example.org")
        """,
}
"The seeds' example, as a task's modules."


def facets_of(path: str, source: str) -> Facets:
    """The facets of a module."""
    outliner = outliner_of(path)
    return Map(outliner.outline(path, dedent(source).encode()).facets if outliner else {})


def modules_of(sources: Mapping[str, str]) -> dict[str, Facets]:
    """The facets of several modules, by path."""
    return {path: facets_of(path, source) for path, source in sources.items()}


class Known(NamedTuple):
    """A module as a graph is made of it."""

    facets: Facets
    outlined: str
    surface: str
    since: Mapping[str, int] = {}


def graph_of(sources: Mapping[str, str], before: Graph | None = None) -> Graph:
    """The graph of several modules."""
    known = {
        path: Known(facets, sources[path], surface_of(facets))
        for path, facets in modules_of(sources).items()
    }
    return Graph.of("shop", known, {}, before)


class Task:
    """A task in a store in memory; each thing that happens is a minute after the one before."""

    def __init__(self, task_id: str = "task", store: EventStore | None = None) -> None:
        self.store = store or EventStore.open("sqlite://", clock=lambda: NOON)
        self.id = task_id
        self.outlining = Outlining(self.store, task_id)
        self.minutes = 0
        self.iterations: dict[str, int] = {}

    def happened(self, fact: Fact, *blobs: Blob, writer: str = "ann") -> int:
        """Append a fact, and return its version."""
        self.minutes += 1
        claim = Claim(fact, NOON + timedelta(minutes=self.minutes), writer)
        version = self.store.version(self.id)
        [event] = self.store.append(self.id, [claim], after=version, blobs=blobs)
        return event.version

    def wrote(self, path: str, source: str | bytes) -> int:
        """A new iteration of a module."""
        body = source if isinstance(source, bytes) else dedent(source).encode()
        number = self.iterations[path] = self.iterations.get(path, 0) + 1
        blob = Blob(body)
        fact = ModuleIteration(module_name=path, iteration=number, source=blob.ref)
        return self.happened(fact, blob)

    def deleted(self, path: str) -> int:
        """A module went away."""
        return self.happened(ModuleDeleted(module_name=path))

    def renamed(self, path: str, previous: str, source: str) -> int:
        """A module went on under another name."""
        blob = Blob(dedent(source).encode())
        fact = ModuleRenamed(module_name=path, previous_name=previous, iteration=1, source=blob.ref)
        return self.happened(fact, blob)

    def outlined(self) -> int:
        """Outline what has come."""
        return self.outlining.catch_up()
