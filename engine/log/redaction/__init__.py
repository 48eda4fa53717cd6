"""How can a log be shown to others? With its secrets and home paths masked.

A log is read twice: first to learn its secrets, then to mask them, so that a secret is also found
in places that do not announce it. A masked body has another content hash; its name is changed
wherever it stands. A secret that is split over two texts stays hidden, as does a secret in a body
that is no text.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydantic import BaseModel

from backcast.domain.context_events import ContextItem, ContextOmission
from backcast.domain.events import (
    BLOB_PREFIX,
    CheckFailure,
    EventType,
    PlannedModule,
)
from backcast.domain.fact_types import FACTS
from backcast.engine.log.blobs import Blob
from backcast.engine.log.importers.events import Part
from backcast.engine.log.redaction.commands import in_command
from backcast.engine.log.redaction.masks import Masks
from backcast.engine.log.redaction.names import is_secret_number, kind_of, named_by, within

Change = Callable[[str, str], str]
"From a text and the name of its field to its replacement."

_PARTS: tuple[type[BaseModel], ...] = (PlannedModule, ContextItem, ContextOmission, CheckFailure)
OURS = frozenset(field for model in (*FACTS.values(), *_PARTS) for field in model.model_fields)
"Keys by which facts are read: they reveal nothing about anybody."
DIGESTS = {"digest", "sha"}
DIGESTS_WITHIN = {"built_from", "set"}
RATINGS = "ratings"
"The numbers of a NODES_RATED, by the node that each is of."
_HEX = re.compile(r"[0-9a-f]{16,64}")
_REF = re.compile(BLOB_PREFIX + r"[0-9a-f]{64}")
LONGEST_COMMAND = 64
"Words of a command line."
LARGEST_POLICY = 2**20
_SHOWN = ("node", "section", "level", "text")
"The fields of an item that enter a prompt."


class Redaction:
    """The masking of one log."""

    def __init__(self, masks: Masks) -> None:
        self.masks = masks
        self.texts = 0
        "Masked texts: fields and bodies."
        self.kept = 0
        "Bodies that are no text, and were kept as they are."
        self._refs: dict[str, str] = {}
        "The new name of each masked body, by its old one."
        self._settings: set[str] = set()
        "Policies whose words to the model were masked."

    def learn(self, part: Part) -> None:
        """Learn the secrets of a part."""
        if isinstance(part, Blob):
            self.masks.learn(_text(part.body) or "")
        else:
            _event(part, self._noted)

    def masked(self, part: Part) -> Part:
        """Return a part without its secrets."""
        if isinstance(part, Blob):
            return self._body(part)
        line = _event(part, self._masked)
        if part["type"] == EventType.CONTEXT_BUILT and "schema" not in part:
            count = self._unlike(part["data"], line["data"])
            line["data"] |= {"masked": count} if count else {}
        return line

    def masked_text(self, text: str) -> str:
        """Return a text that was made of the log without the log's secrets."""
        return self._masked(text, "")

    def _noted(self, text: str, name: str) -> str:
        self.masks.learn(text, name)
        return text

    def _masked(self, text: str, name: str) -> str:
        if text in self._refs:
            return self._refs[text]
        masked = self.masks.mask(text, name)
        self.texts += masked != text
        return _REF.sub(lambda ref: self._refs.get(ref[0], ref[0]), masked)

    def _body(self, blob: Blob) -> Blob:
        text = _text(blob.body)
        if text is None:
            self.kept += 1
            return blob
        masked = self._masked(text, "")
        if masked == text:
            return blob
        changed = Blob(masked.encode(errors="surrogateescape"))
        self._refs[blob.ref] = changed.ref
        if _words(text) != _words(masked):
            self._settings.add(blob.ref)
        return changed

    def _unlike(self, before: dict[str, Any], after: dict[str, Any]) -> int:
        """Return how many texts of a prompt are masked, including those masked before."""
        items = zip(before.get("items", ()), after.get("items", ()), strict=True)
        count: int = sum(any(old.get(key) != new.get(key) for key in _SHOWN) for old, new in items)
        count += before.get("policy") in self._settings
        count += before.get("template") != after.get("template")
        asked, shown = (prompt.get("request") or {} for prompt in (before, after))
        parts = zip(asked.get("parts", ()), shown.get("parts", ()), strict=True)
        count += sum(bool(old != new) for old, new in parts)
        count += bool(asked.get("rest") != shown.get("rest"))
        return count + int(before.get("masked") or 0)


def redacted(
    read: Callable[[], Iterable[Part]],
    redaction: Redaction,
    advance: Callable[[int], None] = lambda parts: None,
) -> Iterator[Part]:
    """Yield the parts of a log without its secrets. `read` returns the same parts each time, and is
    called twice; `advance` is called with 1 for each part that was read.

    Raises `PatternError` if a pattern of the user's takes too long for a text.
    """
    for part in read():
        redaction.learn(part)
        advance(1)
    yielded: set[str] = set()
    for part in read():
        masked = redaction.masked(part)
        advance(1)
        # Two bodies may be equal after masking.
        if not isinstance(masked, Blob) or masked.ref not in yielded:
            yield masked
        if isinstance(masked, Blob):
            yielded.add(masked.ref)


def _event(line: dict[str, Any], change: Change) -> dict[str, Any]:
    """Return an event's public form with its texts changed, and a foreign type too."""
    named = ("task_id", "writer") if line["type"] in FACTS else ("task_id", "writer", "type")
    return line | {
        "data": _object(line["data"], change, "", False),
        **{key: change(line[key], "") for key in named},
    }


def _value(value: Any, change: Change, key: str, digests: bool) -> Any:
    """Return a value with its texts and keys changed; with `digests`, some are digests."""
    match value:
        case str():
            digest = (digests or key in DIGESTS) and not kind_of(key) and _HEX.fullmatch(value)
            return value if digest else change(value, key)
        case bool():
            return value
        case int() | float() if key not in OURS and is_secret_number(key, str(value)):
            return change(str(value), key)
        case list():
            return list(_items(value, change, key, digests))
        case dict():
            return _object(value, change, key, digests)
    return value


def _items(values: list[Any], change: Change, key: str, digests: bool) -> Iterator[Any]:
    """Yield the items of a list; in a pair, or in a command line, an item before says of one that
    it is a secret."""
    texts = [item for item in values if isinstance(item, str)]
    secrets: dict[int, tuple[int, int]] = {}
    if len(texts) == len(values) <= LONGEST_COMMAND:
        secrets = {index: (start, end) for index, start, end in in_command(texts)}
        if kind_of(key) == "auth" and len(texts) == 2:  # a name and a password
            secrets[1] = 0, len(texts[1])
    before = ""
    for index, item in enumerate(values):
        if index in secrets:
            start, end = secrets[index]
            item = item[:start] + change(item[start:end], "password") + item[end:]
        name = named_by(before, item) if isinstance(item, str) and not kind_of(key) else ""
        yield _value(item, change, name or key, digests)
        before = item if isinstance(item, str) else ""


def _object(value: dict[str, Any], change: Change, name: str, digests: bool) -> dict[str, Any]:
    # A common form of variables: {"name": "API_KEY", "value": "..."}.
    named = str(value.get("name", value.get("key", "")))
    named = named if kind_of(named) else name
    found: dict[str, Any] = {}
    for key, item in value.items():
        changed = _key(key, change)
        # Two keys, such as names of people, may be equal after masking.
        while changed in found:
            changed += "_"
        about = within(named, key) if name != RATINGS else name  # of a function, not of a field
        found[changed] = _value(item, change, about, digests or key in DIGESTS_WITHIN)
    return found


def _key(key: str, change: Change) -> str:
    return key if key in OURS else change(key, "")


def _text(body: bytes) -> str | None:
    """Return a body as a text, with odd bytes escaped; None for a binary body."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None if b"\0" in body else body.decode(errors="surrogateescape")


def _words(text: str) -> object:
    """Return a policy's words to the model and its order; None for other texts."""
    try:
        policy = json.loads(text) if len(text) < LARGEST_POLICY else {}
        return policy["system"], policy["order"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
