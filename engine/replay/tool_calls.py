"""Calls of tools as texts: whole, as a model reads them, and in a line.

>>> argument_line({"command": "pytest -q"}), argument_line({"path": "a.py", "line": 3})
('pytest -q', 'path=a.py line=3')
>>> called("bash", "command: ls")
'bash\\ncommand: ls'
"""

from collections.abc import Mapping
from typing import Any

from backcast.domain.errors import DamagedError
from backcast.domain.events import BLOB_PREFIX
from backcast.domain.json_text import json_text
from backcast.engine.log.store import EventStore

LINE = 300
"Characters of the arguments that a line holds."


def called(tool: str, arguments: str) -> str:
    """Return a call as a text."""
    return f"{tool}\n{arguments}" if arguments else tool


def argument_text(arguments: object, store: EventStore | None = None) -> str:
    """Return arguments as lines, `name: value`, with the texts of their blobs."""
    match whole(arguments, store):
        case None:
            return ""
        case Mapping() as fields:
            return "\n".join(f"{name}: {_plain(value)}" for name, value in fields.items())
        case other:
            return _plain(other)


def argument_line(arguments: Any) -> str:
    """Return arguments in a line: a command or a lone value as it is."""
    match arguments:
        case None:
            return ""
        case Mapping() as fields if isinstance(command := fields.get("command"), str):
            more = (_plain(value) for name, value in fields.items() if name == "path")
            line = " ".join((command, *more))
        case {"files": [Mapping() as only]} if len(arguments) == 1:
            return argument_line(only)
        case Mapping() as fields if len(fields) == 1:
            line = _plain(next(iter(fields.values())))
        case Mapping() as fields:
            line = " ".join(f"{name}={_plain(value)}" for name, value in fields.items())
        case other:
            line = _plain(other)
    return " ".join(line[: 4 * LINE].split())[:LINE]


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json_text(value)


def whole(value: Any, store: EventStore | None) -> Any:
    """Return a value with the bodies of the blobs that stand for its long texts."""
    match value:
        case str() if store and value.startswith(BLOB_PREFIX):
            try:
                return store.get(value).decode(errors="replace")
            except (DamagedError, ValueError, LookupError):
                return value
        case Mapping():
            return {name: whole(inner, store) for name, inner in value.items()}
        case list():
            return [whole(inner, store) for inner in value]
    return value
