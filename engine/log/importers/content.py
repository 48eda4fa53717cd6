"""Fields of foreign records in the types that they should have, with defaults for all others.

>>> parted([{"type": "text", "text": "hello", "cache": True}])
('hello', [{'type': 'text', 'cache': True}])
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from backcast.domain.errors import InputError
from backcast.engine.log.importers.json_values import parse

_ID = re.compile(r"[^\x00-\x1f\x7f#]{1,200}")
"The form of an id: it goes into an index, and `#` separates the facts of one record."
_MILLISECONDS = 1e11
"Larger times are no seconds since 1970: they would be past the year 5000."


def mapping(value: object) -> dict[str, Any]:
    """Return the object, or an empty one for any other value."""
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> list[Any]:
    """Return the list, or an empty one for any other value."""
    return value if isinstance(value, list) else []


def string(value: object) -> str | None:
    """Return the string, or None for an empty one or any other value."""
    return value if isinstance(value, str) and value else None


def without(record: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the fields of a record without some."""
    return {name: value for name, value in record.items() if name not in names}


def replaced(record: Mapping[str, Any], name: str, remaining: object) -> dict[str, Any]:
    """Return a record with only the rest of one of its fields, if there is any."""
    kept = without(record, name)
    return kept if remaining is None else {**kept, name: remaining}


def parted(content: object) -> tuple[str | None, object]:
    """Return the text of a message's content, and the rest once that text is stored elsewhere.

    The content is a string, or a list of blocks. The texts of several blocks are joined by line
    breaks; the blocks then remain as they are, since the joined text does not show their bounds.
    """
    if isinstance(content, str):
        return content, None
    blocks = sequence(content)
    texts = [text for block in blocks if (text := _text(block)) is not None]
    if len(texts) != 1:
        return ("\n".join(texts) if texts else None), content
    return texts[0], [
        block if _text(block) is None else without(mapping(block), "text") for block in blocks
    ]


def _text(block: object) -> str | None:
    if isinstance(block, str):
        return block
    text = mapping(block).get("text")
    return text if isinstance(text, str) and mapping(block).get("type", "text") == "text" else None


def is_block(block: object, type: str, name: str) -> bool:
    """Return whether a block of a content has a type, and a string under a name."""
    return mapping(block).get("type") == type and string(mapping(block).get(name)) is not None


def arguments_of(value: object) -> object:
    """Return the arguments of a call: the object in a string of JSON, else the value itself."""
    if not isinstance(value, str) or not value.lstrip().startswith("{"):
        return value
    try:
        arguments = parse(value.encode())
        from_json(to_json([[arguments]]))  # it will be nested more deeply
    except (InputError, ValueError):
        return value
    return arguments


def time_of(value: object) -> datetime | None:
    """Return the time in UTC of an ISO text, or of seconds or milliseconds since 1970; else None.

    A text without a zone gives a time without one.
    """
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value)
            return time.astimezone(UTC) if time.tzinfo else time
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            seconds = value / 1000 if value > _MILLISECONDS else value
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        pass
    return None


def id_of(value: object, default: str) -> str:
    """Return a log's id; its hash if it is invalid, the default if it is missing."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 10**100 else None
    if not isinstance(value, str) or not value:
        return default
    return value if _ID.fullmatch(value) else hashed("id", value.encode())


def hashed(name: str, record: bytes) -> str:
    """Return an id made of a record's own bytes, for a record without one that may come again."""
    return f"{name}:{hashlib.sha256(record).hexdigest()[:32]}"


def task_of(value: object, path: Path) -> str:
    """Return the task name for a log: its own name, else the path's name."""
    return name_of(value) or name_of(stem_of(path)) or "unnamed"


def name_of(value: object) -> str | None:
    """Return the string if it can name a task, else None."""
    return value if isinstance(value, str) and _ID.fullmatch(value) and value.strip() else None


def stem_of(path: Path) -> str:
    """Return a path's name without the suffixes of its kind of file."""
    name = path.name if path.is_dir() else path.name.removesuffix(".traj.json")
    stem = name if name != path.name or path.is_dir() else path.stem
    return re.sub(r"[\x00-\x1f\x7f#]", "_", stem.encode("utf-8", "replace").decode())[:200]
