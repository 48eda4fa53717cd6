"""Caches outlines by content, so that each content is parsed once, wherever it comes back.

Reverts, copies under other paths and branches bring back earlier contents. An outline depends on
the content, the outliner and the kind of place that the path is. Only its counts of versions, and
the last good outline in place of one that does not parse, belong to the module: `Outliner.after`
adds them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from backcast.domain.outline import Outline
from backcast.engine.memory.outline_workers import Here, Outlines, Work
from backcast.engine.memory.outliner import outliner_name, outliner_of
from backcast.engine.memory.outliner.texts import linked

KEPT_BYTES = 16 * 2**20
"Bytes of contents whose outlines stay cached between calls."

Key = tuple[str, str, str]
"Outliner, kind of place, and name of the content's blob."


class Versions(NamedTuple):
    """Successive versions of one module."""

    path: str
    texts: Sequence[tuple[str, bytes | None]]
    "Name and body of each content; None for a missing body."
    links: frozenset[str] = frozenset()
    "Names of the contents that are no texts, but targets of symbolic links."


class Preceding(NamedTuple):
    """What a module's versions follow on."""

    outline: Outline | None = None
    "The same outliner's outline of the version before them."
    counted: Outline | None = None
    "Another version's outline of the version before them, whose counts go on."


class AwaitedOutline(NamedTuple):
    """The outline of a content, which may still be on its way."""

    outlines: Outlines
    place: int
    size: int
    "Bytes of the content."

    @property
    def outline(self) -> Outline:
        """The outline, once it is made."""
        return self.outlines.result()[self.place]


class Begun(NamedTuple):
    """Modules whose outlines are being made."""

    modules: Sequence[Versions]
    outlines: Mapping[Key, AwaitedOutline]


class Contents:
    """A cache of the outlines of recent contents."""

    def __init__(self) -> None:
        self._known: dict[Key, AwaitedOutline] = {}
        "The most recent last."
        self._here = Here()
        self.held = 0
        "Bytes of the contents."

    def outlines(
        self, modules: Sequence[Versions], before: Sequence[Preceding], work: Work | None = None
    ) -> list[list[Outline | None]]:
        """Return the outlines of each module's versions; None where a text is missing."""
        return self.finished(self.begun(modules, work), before)

    def begun(self, modules: Sequence[Versions], work: Work | None = None) -> Begun:
        """Have those outlines made that are not known; `finished` waits for them."""
        needed: dict[Key, AwaitedOutline] = {}
        for module in modules:
            self._begin(module, needed, work or self._here)
        return Begun(modules, needed)

    def finished(self, begun: Begun, before: Sequence[Preceding]) -> list[list[Outline | None]]:
        """Return the outlines of each module's versions; None where a text is missing."""
        result = [
            _in_order(module, begun.outlines, *own)
            for module, own in zip(begun.modules, before, strict=True)
        ]
        for key in begun.outlines:
            if key in self._known:
                self._known[key] = self._known.pop(key)
        while self.held > KEPT_BYTES:
            self.held -= self._known.pop(next(iter(self._known))).size
        return result

    def _begin(self, module: Versions, needed: dict[Key, AwaitedOutline], work: Work) -> None:
        """Note where a module's outlines come from, and have the new ones made."""
        new: dict[Key, bytes] = {}
        for ref, body in module.texts:
            key = _key(module, ref)
            if key in self._known:
                needed[key] = self._known[key]
            elif body is not None and ref in module.links:
                self._know(key, _at_once(linked(module.path, body)), needed)
            elif body is not None:
                new[key] = body
        if new:
            made = work.submit(module.path, list(new.values()))
            for place, (key, body) in enumerate(new.items()):
                self._know(key, AwaitedOutline(made, place, len(body)), needed)

    def _know(self, key: Key, made: AwaitedOutline, needed: dict[Key, AwaitedOutline]) -> None:
        self._known[key] = needed[key] = made
        self.held += made.size


def _at_once(outline: Outline) -> AwaitedOutline:
    made = Outlines()
    made.set_result([outline])
    return AwaitedOutline(made, 0, 0)


def _in_order(
    module: Versions,
    made: Mapping[Key, AwaitedOutline],
    before: Outline | None,
    counted: Outline | None,
) -> list[Outline | None]:
    """Return the outlines of a module's versions, each as the successor of the one before."""
    outliner = outliner_of(module.path)
    outlines: list[Outline | None] = []
    for ref, body in module.texts:
        if body is None or not (outliner or ref in module.links):
            outlines.append(None)
            continue
        outline = made[_key(module, ref)].outline
        last = before
        if before is None and "error" not in outline.facets:
            last = counted
        before = outliner.after(outline, last) if outliner else outline
        outlines.append(before)
    return outlines


def _key(module: Versions, ref: str) -> Key:
    path = module.path
    if ref in module.links:
        return outliner_name(path), f"link at {path}", ref
    outliner = outliner_of(path)
    return outliner_name(path), outliner.place_of(path) if outliner else "", ref
