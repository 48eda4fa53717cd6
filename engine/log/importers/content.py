"""Values of foreign records taken as what they should be, where they are that.

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
from backcast.engine.log.importers.lines import parse

_ID = re.compile(r"[^\x00-\x1f\x7f#]{1,200}")
"What an id may be: it goes into an index, and `#` sets apart the facts of one record."
_MILLISECONDS = 1e11
"Times from here on are no seconds since 1970: they would be past the year 5000."


def mapping(value: object) -> dict[str, Any]:
    """The object, or an empty one for any other value."""
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> list[Any]:
    """The list, or an empty one for any other value."""
    return value if isinstance(value, list) else []


def string(value: object) -> str | None:
    """The string, if it is one and not empty."""
    return value if isinstance(value, str) and value else None


def without(record: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The fields of a record but for some."""
    return {name: value for name, value in record.items() if name not in names}


def replaced(record: Mapping[str, Any], name: str, left: object) -> dict[str, Any]:
    """A record with what is left of one of its fields, if anything is."""
    kept = without(record, name)
    return kept if left is None else {**kept, name: left}


def parted(content: object) -> tuple[str | None, object]:
    """The text of a message's content, and what remains when that text has gone elsewhere.

    The content is a string, or a list of blocks. The texts of several blocks are joined by line
    breaks; the blocks then remain as they are, since they cannot be told from the joined text.
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


def arguments_of(value: object) -> object:
    """The arguments of a call: the object in a string of JSON, else the value itself."""
    if not isinstance(value, str) or not value.lstrip().startswith("{"):
        return value
    try:
        arguments = parse(value.encode())
        from_json(to_json([[arguments]]))  # it will stand deeper than it did
    except (InputError, ValueError):
        return value
    return arguments


def time_of(value: object) -> datetime | None:
    """The time in UTC of an ISO text, or of seconds or milliseconds since 1970, if it is one.

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
    """The id that a log gives; its hash where it is no fit name, the default where it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 10**100 else None
    if not isinstance(value, str) or not value:
        return default
    return value if _ID.fullmatch(value) else hashed("id", value.encode())


def hashed(name: str, record: bytes) -> str:
    """An id made of a record's own bytes, for one that has no id and may come again."""
    return f"{name}:{hashlib.sha256(record).hexdigest()[:32]}"


def task_of(value: object, path: Path) -> str:
    """The task that a log is imported as: what it calls itself, else the path's name."""
    return name_of(value) or name_of(stem_of(path)) or "unnamed"


def name_of(value: object) -> str | None:
    """The string, if it can name a task."""
    return value if isinstance(value, str) and _ID.fullmatch(value) and value.strip() else None


def stem_of(path: Path) -> str:
    """A path's name without what says only that it is a file of its kind."""
    name = path.name if path.is_dir() else path.name.removesuffix(".traj.json")
    stem = name if name != path.name or path.is_dir() else path.stem
    return re.sub(r"[\x00-\x1f\x7f#]", "_", stem.encode("utf-8", "replace").decode())[:200]
