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

_CODE = re.compile(r"%(20|23|25|2F|[01][0-9A-F]|7F|C2%[89][0-9A-F]|E2%80%A[89])")
"What stands for another character in the written form of a reference."
_UNPRINTED = re.compile("[\x00-\x20\x7f-\x9f\u2028\u2029]")
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
        # Task ids in which nothing looks like a code are written as they always were.
        task = _coded(self.task_id, "%#/" if _CODE.search(self.task_id) else "#/")
        return f"storage://{task}/{_coded(self.path, '%#')}{part}"


def _coded(text: str, letters: str) -> str:
    """Return a text with codes for some letters, and for what cannot be printed in a line."""
    for letter in letters:
        text = text.replace(letter, f"%{ord(letter):02X}")
    return _UNPRINTED.sub(lambda found: "".join(f"%{b:02X}" for b in found[0].encode()), text)


def _decoded(text: str) -> str:
    def letter(found: re.Match[str]) -> str:
        return bytes.fromhex(found[1].replace("%", "")).decode()

    return _CODE.sub(letter, text)


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

    `%23` stands for `#`, `%25` for `%` and, in a task's id, `%2F` for `/`; so does a code for each
    character that cannot be printed in a line, and for blanks. All else stands for itself.

    >>> parse_reference(str(Reference("ann/app#1", "odd\\nname.py"))).path
    'odd\\nname.py'
    """
    scheme, _, rest = text.partition("://")
    task_id, _, place = rest.partition("/")
    path, _, part = place.partition("#")
    task_id, path = _decoded(task_id), _decoded(path)
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
