r"""Form the contexts of a run again from the messages that its log holds.

A log that holds what was said, but no request, still tells what the model was shown at each call:
the messages so far, or what a compaction put in their place. Each call becomes a CONTEXT_BUILT
whose request is made of parts as one that a proxy recorded; but its body is ours, so it says
`fidelity`, and no digest. A context copies the parts of the one before it.

A format says each message in the form of a dialect, and forms a context in front of each reply.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from pydantic_core import to_json

from backcast.domain.context_events import ContextBuilt, ForeignRequest, RequestPart
from backcast.engine.log.blobs import Blob, ref_of
from backcast.engine.log.exchanges.bodies import RESPONSES, BodyPart, part_text, split_body
from backcast.engine.log.exchanges.requests import shortened
from backcast.engine.log.importers import ContextBase
from backcast.engine.log.importers.call_counts import NONE, PARTS
from backcast.engine.log.importers.records import ForeignRecord


class FormedContexts:
    """The context of a run as it grows, and the calls that were made with it."""

    def __init__(self, calls: dict[str, int], dialect: str, fidelity: str = PARTS) -> None:
        """`calls` counts the calls by their fidelity: that of the import's report."""
        self.calls, self.dialect, self.fidelity = calls, dialect, fidelity
        self._key = "input" if dialect == RESPONSES else "messages"
        self._head: tuple[list[BodyPart], str] = [], f'{{"{self._key}":['
        self._parts: list[RequestPart] = []
        self._size = 0
        "Bytes of the parts with what stands before them."
        self._behind = self._head[1]
        "What stands behind the last part, as far as the body is known."
        self._new: list[Blob] = []
        self._marks: list[tuple[int, int, str]] = []
        "Of each message: how many parts stand before it, their size, and what is behind them."
        self._hash = sha256()
        "Of all parts."
        self._last: tuple[str, bytes, list[RequestPart] | int] | None = None
        """The id of the context before, its digest, and its parts: how many, while they stand as
        they were."""

    def set_head(self, fields: Mapping[str, Any]) -> None:
        """Set what stands before the messages: `instructions` or `system`, `tools`, `model`.

        Say it before the first message, or in front of `replace`.
        """
        body = to_json({**fields, self._key: []})
        split = split_body(body, self.dialect)
        self._head = list(split.parts), split.rest.removesuffix("]}")
        if not self._marks:
            self.replace(())

    def say(self, message: Mapping[str, Any]) -> None:
        """Add a message, in the form of the dialect."""
        self._marks.append((len(self._parts), self._size, self._behind))
        parts, behind = self._split(message)
        comma = "," if len(self._marks) > 1 else ""
        for part in parts:
            self._add(part, self._behind + comma)
            self._behind = comma = ""
        self._behind += comma + behind

    def replace(self, messages: Iterable[Mapping[str, Any]]) -> None:
        """Put other messages in the place of all, as a compaction does."""
        self._part_ways()
        parts, behind = self._head
        self._parts, self._size, self._marks, self._behind = [], 0, [], ""
        self._hash = sha256()
        for part in parts:
            self._add(part, "")
        self._behind = behind
        for message in messages:
            self.say(message)

    def cut(self, count: int) -> None:
        """Leave out all messages behind the first `count`, as when a person takes words back."""
        if count < len(self._marks):
            self._part_ways()
            place, self._size, self._behind = self._marks[count]
            self._parts = self._parts[:place]
            self._hash = sha256()
            for part in self._parts:
                self._hash.update(_line(part))
            del self._marks[count:]

    @property
    def said(self) -> int:
        """How many messages stand in the context."""
        return len(self._marks)

    def _part_ways(self) -> None:
        """Keep the parts of the context before, since those at hand change."""
        if self._last and isinstance(self._last[2], int):
            self._last = *self._last[:2], self._parts[: self._last[2]]

    def form(self, record: ForeignRecord, because: Iterable[object] = ()) -> str | None:
        """Add the context to a record, in front of the reply that it is the cause of.

        Returns its foreign id; None where nothing was said, and the call has no content.
        """
        if not self._marks:
            self.calls[NONE] = self.calls.get(NONE, 0) + 1
            return None
        self.calls[self.fidelity] = self.calls.get(self.fidelity, 0) + 1
        own, runs = self._shortened()
        rest = f"{self._behind}]}}"
        request = ForeignRequest(
            path="", dialect=self.dialect, fidelity=self.fidelity, parts=own, copied=runs,
            rest=rest, size=self._size + len(rest.encode()),
        )  # fmt: skip
        base = ContextBase(*self._last[:2], tuple(self._parts)) if self._last else None
        digest = self._hash.digest()
        id = record.context(ContextBuilt(request=request), digest, base, because, self._new)
        self._last, self._new = (id, digest, len(self._parts)), []
        return id

    def _shortened(self) -> tuple[tuple[RequestPart, ...], tuple[tuple[int, int, int], ...]]:
        """Return the parts that the context before does not have, and the runs copied from it."""
        if self._last is None:
            return tuple(self._parts), ()
        if isinstance(before := self._last[2], int):
            return tuple(self._parts[before:]), ((0, 0, before),) if before else ()
        return shortened(self._parts, before)

    def _add(self, part: BodyPart, before: str) -> None:
        before += part.before
        # The log's own text of it differs by quotes and escapes alone.
        blob = Blob(part.text, ref_of(part_text(part.text).encode()))
        self._new.append(blob)
        given = {"before": before, "role": part.role, "name": part.name}
        named = {name: value for name, value in given.items() if value}
        self._parts.append(RequestPart(kind=part.kind, text=blob.ref, **named))
        self._hash.update(_line(self._parts[-1]))
        self._size += len(before.encode()) + len(part.text)

    def _split(self, message: Mapping[str, Any]) -> tuple[list[BodyPart], str]:
        """Return the parts of a message, and what stands behind the last of them."""
        text, opening = to_json(message), f'{{"{self._key}":['
        split = split_body(opening.encode() + text + b"]}", self.dialect)
        if not split.parts and split.rest:
            return [], text.decode()
        first = split.parts[0]
        if not (first.before.startswith(opening) and split.rest.endswith("]}")):
            role = message.get("role")
            return [BodyPart("message", role if isinstance(role, str) else "", "", "", text)], ""
        first = first._replace(before=first.before.removeprefix(opening))
        return [first, *split.parts[1:]], split.rest.removesuffix("]}")


def _line(part: RequestPart) -> bytes:
    return f"{part.kind}\0{part.role}\0{part.name}\0{part.before}\0{part.text}\n".encode()
