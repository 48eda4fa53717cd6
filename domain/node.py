"""What are things called? Ids of the graph's nodes, and references to stored text.

>>> node_id("function", "pkg/validators.py", "validate_email")
'function:pkg/validators.py::validate_email'
>>> kind_of("function:a.py::f"), path_of("function:a.py::f"), name_of("function:a.py::f")
('function', 'a.py', 'f')
>>> parse_reference("storage://task-1/pkg/validators.py#L45-L67")
Reference(task_id='task-1', path='pkg/validators.py', lines=(45, 67), name=None)
>>> str(Reference("task-1", "C#/100%.py", (4, 4)))
'storage://task-1/C%23/100%25.py#L4'
"""

import re
from typing import NamedTuple

from backcast.domain.errors import InputError

SYMBOLS = ("function", "method", "class", "test")
"The kinds of node that a module contains."
KINDS = ("task", "module", *SYMBOLS, "attribute", "library", "setting", "concept")

_LINES = re.compile(r"L([1-9]\d{0,8})(?:-L([1-9]\d{0,8}))?")


class Edge(NamedTuple):
    """One node needs, holds or names another."""

    source: str
    kind: str
    "contains, imports, calls, inherits, uses_attribute, reads_config, tests or references."
    target: str


class Reference(NamedTuple):
    """The place of a node's full text: a module of a task, or a part of one."""

    task_id: str
    path: str
    lines: tuple[int, int] | None = None
    "First and last line, counted from 1."
    name: str | None = None
    "A qualified name instead of lines; it is stable under edits above it."

    def __str__(self) -> str:
        part = ""
        if self.lines:
            first, last = self.lines
            part = f"#L{first}" if first == last else f"#L{first}-L{last}"
        elif self.name:
            part = f"#{self.name}"
        path = self.path.replace("%", "%25").replace("#", "%23")
        return f"storage://{self.task_id}/{path}{part}"


def node_id(kind: str, path: str, name: str = "") -> str:
    """Return the id of a node, qualified by its path if it has one."""
    return f"{kind}:{path}::{name}" if name else f"{kind}:{path}"


def kind_of(node: str) -> str:
    """Return the kind of a node."""
    return node.partition(":")[0]


def path_of(node: str) -> str:
    """Return the path of a node's module; for other nodes, the text after the kind."""
    return node.partition(":")[2].partition("::")[0]


def name_of(node: str) -> str:
    """Return the qualified name of a node in its module; empty for a module."""
    return node.partition(":")[2].partition("::")[2]


def plain_name(name: str) -> str:
    """Return a qualified name as it is written: several definitions of a name have numbers.

    >>> plain_name("Shape.area#2")
    'Shape.area'
    """
    return name.partition("#")[0] if "#" in name else name


def parse_reference(text: str) -> Reference:
    """Parse a text such as `storage://task/validators.py#L45-L67`; `InputError` if it is none.

    Task ids may not hold slashes, and paths may not begin with one. In a path `%23` stands for `#`
    and `%25` for `%`; all else stands for itself.
    """
    scheme, _, rest = text.partition("://")
    task_id, _, place = rest.partition("/")
    path, _, part = place.partition("#")
    path = path.replace("%23", "#").replace("%25", "%")
    if scheme != "storage" or not task_id or not path:
        raise InputError(f"needed storage://TASK/PATH or .../PATH#L1-L9, found {text!r}")
    if not part:
        return Reference(task_id, path)
    found = _LINES.fullmatch(part)
    if not found:
        return Reference(task_id, path, name=part)
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise InputError(f"needed lines that rise, found #{part}")
    return Reference(task_id, path, (first, last))
