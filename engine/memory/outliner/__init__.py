"""Outlines source text: the contents of one version of a module (`backcast.domain.outline`).

Each language has one file and one entry in `ALL`. An outliner is a module, or any object, with the
names of `Outliner`; its `outline` returns an outline for any bytes and never raises.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from backcast.domain.outline import Outline
from backcast.engine.memory.outliner import markdown, python

__all__ = ["ALL", "Outliner", "markdown", "outliner_name", "outliner_of", "python"]


class Outliner(Protocol):
    """The reader of one language."""

    NAME: str
    VERSION: int
    "Grows with each change of the outlines of the same source."
    SUFFIXES: tuple[str, ...]
    "Suffixes of the paths that it reads, in lower case: `.py`."

    def outline(
        self, path: str, source: bytes, before: Outline | None = None, memory: Any = None, /
    ) -> Outline:
        """Return the outline of one version of a module.

        `before` is the outline of the module's previous version, by the same outliner and version.
        `memory` is that of the module's versions so far: it saves time, and changes nothing.
        """

    def memory(self) -> Any:
        """Return an empty memory for the versions of one module."""

    def place_of(self, path: str, /) -> str:
        """Return the part of a path that outlines depend on: texts and this decide an outline."""

    def after(self, outline: Outline, before: Outline | None, /) -> Outline:
        """Return the outline that the same text has after another previous version.

        The outline of a text that does not parse needs only `error`.
        """


ALL: Sequence[Outliner] = (python, markdown)


def outliner_of(path: str) -> Outliner | None:
    """Return the outliner for a path, by its suffix in any case; None where there is none."""
    lowered = path.lower()
    return next((outliner for outliner in ALL if lowered.endswith(outliner.SUFFIXES)), None)


def outliner_name(path: str) -> str:
    """Return name and version of the outliner for a path; empty where there is none."""
    outliner = outliner_of(path)
    return f"{outliner.NAME} {outliner.VERSION}" if outliner else ""
