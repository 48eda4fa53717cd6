"""Outlines of source: what one version of a module holds, in facets (`backcast.domain.outline`).

One file a language, and one entry in `ALL`. An outliner is a module, or any object, with these
names; its `outline` gives an outline for any bytes and never raises.
"""

from collections.abc import Sequence
from typing import Protocol

from backcast.domain.outline import Outline
from backcast.engine.memory.outliner import markdown, python

__all__ = ["ALL", "Outliner", "markdown", "outliner_name", "outliner_of", "python"]


class Outliner(Protocol):
    """The reader of one language."""

    NAME: str
    VERSION: int
    "Grows when outlines of the same source would change."
    SUFFIXES: tuple[str, ...]
    "Ends of the paths that it reads, in lower case: `.py`."

    def outline(self, path: str, source: bytes, before: Outline | None = None, /) -> Outline:
        """The outline of one version of a module.

        `before` is what the same version of the same outliner gave for the module's last version.
        """

    def place_of(self, path: str, /) -> str:
        """All of a path that outlines depend on: equal ones make equal outlines of equal texts."""

    def after(self, outline: Outline, before: Outline | None, /) -> Outline:
        """The outline that the same text has after another version than the one it was made after.

        Of a text that does not parse only `error` is needed.
        """


ALL: Sequence[Outliner] = (python, markdown)


def outliner_of(path: str) -> Outliner | None:
    """The outliner for a path, by its suffix in any case; None where nobody reads it."""
    lowered = path.lower()
    return next((outliner for outliner in ALL if lowered.endswith(outliner.SUFFIXES)), None)


def outliner_name(path: str) -> str:
    """The name and version of the outliner for a path; empty where there is none."""
    outliner = outliner_of(path)
    return f"{outliner.NAME} {outliner.VERSION}" if outliner else ""
