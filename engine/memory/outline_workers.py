"""Outlines the versions of modules, each module's by one process that remembers the last of them.

What is remembered of a version makes the outline of the next one quicker, and no different.
"""

import gc
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from backcast.domain.outline import Outline
from backcast.engine.log.workers import pool_of
from backcast.engine.memory.outliner import outliner_of

REMEMBERED = 12 * 2**20
"Bytes of texts that a process remembers, each as the latest version of its module."
UNEVEN = 4 * 2**20
"Bytes of texts that a process may be given beyond another one before a module moves to that."

Outlines = Future[list[Outline]]


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the collector of cycles from many values that have none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Work(Protocol):
    """Whoever makes outlines."""

    def submit(self, path: str, bodies: Sequence[bytes]) -> Outlines:
        """Have the successive contents of a module outlined."""


class Here:
    """The outlines made by this process, at once."""

    def __init__(self) -> None:
        self._memories: dict[str, tuple[Any, int]] = {}
        "What is remembered of a module, with its size; the latest last."
        self._held = 0

    def submit(self, path: str, bodies: Sequence[bytes]) -> Outlines:
        """Outline the successive contents of a module."""
        made = Outlines()
        made.set_result(self.outlines(path, bodies))
        return made

    def outlines(self, path: str, bodies: Sequence[bytes]) -> list[Outline]:
        """Return the outlines of contents; only the error where one does not parse."""
        outliner = outliner_of(path)
        outlines: list[Outline] = []
        if outliner is None:
            return outlines
        memory, size = self._memories.pop(path, (None, 0))
        memory = memory or outliner.memory()
        with uncollected():
            for body in bodies:
                outline = outliner.outline(path, body, None, memory)
                error = outline.facets.get("error")
                outlines.append(Outline({"error": error}, {}) if error else outline)
        self._memories[path] = memory, len(bodies[-1])
        self._held += len(bodies[-1]) - size
        while self._held > REMEMBERED and len(self._memories) > 1:
            self._held -= self._memories.pop(next(iter(self._memories)))[1]
        return outlines


class Elsewhere:
    """The outlines made by several processes; a module stays with one of them."""

    def __init__(self, pools: Sequence[Executor]) -> None:
        self._pools = pools
        self._given = [0] * len(pools)
        "Bytes of texts that each process was given."
        self._homes: dict[str, int] = {}

    def submit(self, path: str, bodies: Sequence[bytes]) -> Outlines:
        """Have the successive contents of a module outlined."""
        idlest = min(range(len(self._pools)), key=self._given.__getitem__)
        home = self._homes.get(path, idlest)
        if self._given[home] > self._given[idlest] + UNEVEN:
            home = idlest
        self._homes[path] = home
        self._given[home] += sum(map(len, bodies))
        return self._pools[home].submit(outlines_here, path, bodies)


@contextmanager
def workers(processes: int) -> Iterator[Elsewhere]:
    """Open so many processes that outline texts."""
    with ExitStack() as stack:
        yield Elsewhere([stack.enter_context(pool_of(1)) for _ in range(processes)])


_HERE = Here()


def outlines_here(path: str, bodies: Sequence[bytes]) -> list[Outline]:
    """Return the outlines of contents, as a process of its own makes them."""
    gc.disable()  # trees have no cycles, and what is remembered of them is large
    return _HERE.outlines(path, bodies)
