"""Caches outlines by content, so that each content is parsed once, wherever it comes back.

Reverts, copies under other paths and branches bring back earlier contents. An outline depends on
the content, the outliner and the kind of place that the path is. Only its counts of versions, and
the last good outline in place of one that does not parse, belong to the module: `Outliner.after`
adds them.
"""

import gc
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import NamedTuple

from backcast.domain.outline import Outline
from backcast.engine.memory.outliner import outliner_name, outliner_of
from backcast.engine.memory.outliner.texts import linked

KEPT_BYTES = 16 * 2**20
"Bytes of contents whose outlines stay cached between calls."

Key = tuple[str, str, str]
"Outliner, kind of place, and name of the content's blob."
Job = tuple[str, Outline | None, list[bytes]]


class Versions(NamedTuple):
    """Successive versions of one module."""

    path: str
    before: Outline | None
    "The same outliner's outline of the version before them."
    texts: Sequence[tuple[str, bytes | None]]
    "Name and body of each content; None for a missing body."
    links: frozenset[str] = frozenset()
    "Names of the contents that are no texts, but targets of symbolic links."
    counted: Outline | None = None
    "Another version's outline of the version before them, whose counts go on."


class Contents:
    """A cache of the outlines of recent contents."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[Outline, int]] = {}
        "Outlines with the size of their content in bytes, the most recent last."
        self.held = 0
        "Bytes of the contents."

    def outlines(
        self, modules: Sequence[Versions], pool: Executor | None
    ) -> list[list[Outline | None]]:
        """Return the outlines of each module's versions; None where a text is missing."""
        new: dict[Key, int] = {}
        jobs: list[Job] = []
        for module in modules:
            if bodies := self._register(module, new):
                jobs.append((module.path, module.before, bodies))
        made = pool.map(parsed, jobs, chunksize=2) if pool else map(parsed, jobs)
        flat = (outline for outlines in made for outline in outlines)
        for (key, size), outline in zip(new.items(), flat, strict=True):
            self._known[key] = outline, size
            self.held += size
        result = [self._in_order(module) for module in modules]
        while self.held > KEPT_BYTES:
            self.held -= self._known.pop(next(iter(self._known)))[1]
        return result

    def _register(self, module: Versions, new: dict[Key, int]) -> list[bytes]:
        """Return a module's contents that have no outline yet, and note them in `new`."""
        bodies = []
        for ref, body in module.texts:
            key = _key(module, ref)
            if body is None or key in self._known or key in new:
                continue
            if ref in module.links:
                self._known[key] = linked(module.path, body), 0
            else:
                new[key] = len(body)
                bodies.append(body)
        return bodies

    def _in_order(self, module: Versions) -> list[Outline | None]:
        """Return the outlines of a module's versions, each as the successor of the one before."""
        before, outliner = module.before, outliner_of(module.path)
        outlines: list[Outline | None] = []
        for ref, body in module.texts:
            if body is None or not (outliner or ref in module.links):
                outlines.append(None)
                continue
            key = _key(module, ref)
            known = self._known[key] = self._known.pop(key)
            last = before
            if before is None and "error" not in known[0].facets:
                last = module.counted
            before = outliner.after(known[0], last) if outliner else known[0]
            outlines.append(before)
        return outlines


def parsed(job: Job) -> list[Outline]:
    """Return the outlines of contents under one path; only the error where one does not parse.

    The outline before each content makes its own quicker, and no different.
    """
    path, before, bodies = job
    outliner = outliner_of(path)
    outlines: list[Outline] = []
    with _uncollected():
        for body in bodies if outliner else ():
            assert outliner is not None
            before = outliner.outline(path, body, before)
            error = before.facets.get("error")
            outlines.append(Outline({"error": error}, {}) if error else before)
    return outlines


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the collector of cycles from trees of syntax, which are large and have none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _key(module: Versions, ref: str) -> Key:
    path = module.path
    if ref in module.links:
        return outliner_name(path), f"link at {path}", ref
    outliner = outliner_of(path)
    return outliner_name(path), outliner.place_of(path) if outliner else "", ref
