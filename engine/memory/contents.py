"""Outlines of contents: each is parsed once, however often and wherever it comes back.

A revert, a copy under another path, a branch that goes to and fro bring contents that were met
before. What an outline tells follows from the content, from the outliner and from what kind of
place the path is; only its counts of versions, and the last good outline that stands in for what
does not parse, are the module's own. Those are told afterwards (`Outliner.after`).
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import NamedTuple

from backcast.domain.outline import Outline
from backcast.engine.memory.outliner import outliner_name, outliner_of

KEPT_BYTES = 16 * 2**20
"Bytes of the contents whose outlines stay at hand, beyond those that were asked for together."

Key = tuple[str, str, str]
"Outliner, kind of place, and the name of the content's blob."
Job = tuple[str, Outline | None, list[bytes]]


class Versions(NamedTuple):
    """Versions of one module, one after the other."""

    path: str
    before: Outline | None
    "The outline of the version before them, by the same outliner."
    texts: Sequence[tuple[str, bytes | None]]
    "The name of each content, and the content; None where it is missing."


class Contents:
    """The outlines of contents that were met, those met last."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[Outline, int]] = {}
        "With the bytes of the content; what was met last stands last."
        self.held = 0
        "Bytes of those contents."

    def outlines(
        self, modules: Sequence[Versions], pool: Executor | None
    ) -> list[list[Outline | None]]:
        """The outlines of versions of modules; None where a text is missing."""
        new: dict[Key, int] = {}
        jobs: list[Job] = []
        for module in modules:
            if bodies := self._unmet(module, new):
                jobs.append((module.path, module.before, bodies))
        made = pool.map(parsed, jobs, chunksize=2) if pool else map(parsed, jobs)
        found = (outline for some in made for outline in some)
        for (key, size), outline in zip(new.items(), found, strict=True):
            self._known[key] = outline, size
            self.held += size
        told = [self._told(module) for module in modules]
        while self.held > KEPT_BYTES:
            self.held -= self._known.pop(next(iter(self._known)))[1]
        return told

    def _unmet(self, module: Versions, new: dict[Key, int]) -> list[bytes]:
        """The contents of a module that have no outline yet, which they will have from now on."""
        bodies = []
        for ref, body in module.texts:
            key = _key(module.path, ref)
            if body is not None and key not in self._known and key not in new:
                new[key] = len(body)
                bodies.append(body)
        return bodies

    def _told(self, module: Versions) -> list[Outline | None]:
        """The outlines of a module's versions, each as the one after that before it."""
        path, before, texts = module
        outliner = outliner_of(path)
        found: list[Outline | None] = []
        for ref, body in texts:
            if body is None or outliner is None:
                found.append(None)
                continue
            key = _key(path, ref)
            known = self._known[key] = self._known.pop(key)
            before = outliner.after(known[0], before)
            found.append(before)
        return found


def parsed(job: Job) -> list[Outline]:
    """The outlines of contents that stand under one path; of what does not parse, only why.

    Each resembles the one before it, which makes its outline quicker and no different.
    """
    path, before, bodies = job
    outliner = outliner_of(path)
    found: list[Outline] = []
    for body in bodies if outliner else ():
        assert outliner is not None
        before = outliner.outline(path, body, before)
        error = before.facets.get("error")
        found.append(Outline({"error": error}, {}) if error else before)
    return found


def _key(path: str, ref: str) -> Key:
    outliner = outliner_of(path)
    return outliner_name(path), outliner.place_of(path) if outliner else "", ref
