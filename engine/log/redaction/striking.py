"""Strike secrets out of a store itself: bodies, events, sources; caches of them go as a whole.

A body without its secret has another name, which changes wherever it stands. Every task that shares
the body is changed with it, and its log says so.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from backcast.domain.events import (
    BLOB_PREFIX,
    Claim,
    EventType,
    UnknownFact,
)
from backcast.engine.log.blobs import Packed, pack, unpack
from backcast.engine.log.bundling import unbundle
from backcast.engine.log.importers.events import parts
from backcast.engine.log.packing import PACKED_FROM, packed, plain
from backcast.engine.log.recorder import Row, checksum_of
from backcast.engine.log.recorder.rewriting import RewritingRecorder
from backcast.engine.log.redaction import Redaction
from backcast.engine.log.redaction.masks import Masks
from backcast.engine.log.redaction.patterns import Patterns
from backcast.engine.log.redaction.places import HOME
from backcast.engine.log.redaction.words import NamedSecrets, SecretWords
from backcast.engine.log.store import EventStore
from backcast.engine.log.unknown_types import REDACTED

WRITER = "redact"
HELD = 1000
"Bodies at hand, since the next is often the difference to one of them."
_REF = re.compile(BLOB_PREFIX + r"([0-9a-f]{64})")
_READ = ("", "identity", "gzip", "x-gzip", "zstd")
"Encodings of content that are looked into."


class Struck(NamedTuple):
    """What was struck out of a store."""

    masks: Mapping[str, int]
    "Places by mask."
    bodies: int
    events: Mapping[str, tuple[int, ...]]
    "Versions of the events that were changed, by task."
    unread: int
    "Bodies that are compressed in a way that is not looked into."


class Found(NamedTuple):
    """Secrets to strike, with their kinds, and the highest numbers of the masks that stand."""

    secrets: list[tuple[str, str]]
    taken: Counter[str]


def secrets_of(store: EventStore, task: str, patterns: Patterns | None) -> Found:
    """Return the secrets in a task: what patterns match, or else what shows to be one."""
    masks = Masks() if patterns is None else NamedSecrets(patterns)
    redaction = Redaction(masks)
    for part in parts(store, task):
        redaction.learn(part)
    for event in store.read(types=[REDACTED]):
        masks.learn_masks(" ".join(event.fact.data.get("masks", ())))
    known = sorted((text, kind) for text, kind in masks.known.items() if kind != HOME)
    return Found(known, masks.last)


def strike(
    recorder: RewritingRecorder, found: Found, advance: Callable[[int], None] = lambda done: None
) -> Struck:
    """Strike secrets out of all tasks of a store, and tell each that was changed."""
    return _Striking(recorder, found, advance).run()


class _Striking:
    """The striking of one store."""

    def __init__(
        self, recorder: RewritingRecorder, found: Found, advance: Callable[[int], None]
    ) -> None:
        self.recorder, self.advance = recorder, advance
        self.store = EventStore(recorder)
        self.words = SecretWords(found.secrets, found.taken)
        self.moved: dict[bytes, bytes] = {}
        "The new hash of each body with a secret, by its old one."
        self.order: list[bytes] = []
        "The bodies with a secret, and those that are kept as the difference to one."
        self.held: dict[bytes, int] = {}
        "How many bodies will have a hash."
        self.events: dict[str, list[int]] = {}
        self.unread = set[str]()

    def run(self) -> Struck:
        """Rewrite what holds a secret."""
        unbundle(self.recorder)
        self._find_bodies()
        counts = Counter(self.words.counts)
        for digest in reversed(self.order):
            self._rewrite_body(digest)
        self.words.counts = counts
        after = 0
        while rows := self.recorder.rows(None, after):
            for row in rows:
                self._rewrite_event(row)
            after = rows[-1][0]
            self.advance(len(rows))
        self._rest()
        self._tell()
        events = {task: tuple(versions) for task, versions in self.events.items()}
        return Struck(dict(self.words.counts), len(self.moved), events, len(self.unread))

    def _find_bodies(self) -> None:
        """Find the bodies with a secret, and those that need them to be read."""
        bodies: dict[bytes, bytes] = {}
        for row in self.recorder.blobs():
            body = self._body(row, bodies)
            bodies[row.digest] = body
            if len(bodies) > HELD:
                del bodies[next(iter(bodies))]
            changed = self.words.struck(body)
            digest = row.digest
            if changed != body:
                digest = self.moved[row.digest] = hashlib.sha256(changed).digest()
            if changed != body or row.base in self.moved:
                self.order.append(row.digest)
            self.held[digest] = self.held.get(digest, 0) + 1
            self.advance(1)

    def _body(self, row: Packed, bodies: Mapping[bytes, bytes]) -> bytes:
        if row.base is None:
            return unpack([row])
        if row.base in bodies:
            return unpack([Packed(row.base, None, -1, 0, bodies[row.base]), row])
        return unpack([*self.recorder.chain(row.base), row])

    def _rewrite_body(self, old: bytes) -> None:
        """Write a body anew. Those that build on it were written before, so it can be read."""
        chain = self.recorder.chain(old)
        row, body = chain[-1], self.words.struck(unpack(chain))
        digest, base = self.moved.get(old, old), None
        # Where two bodies come to be one, a chain of differences could end in itself.
        if row.base is not None and self.held[digest] == 1:
            new = self.moved.get(row.base, row.base)
            if self.held[new] == 1:
                below = self.words.struck(unpack(chain[:-1]))
                base = Packed(new, None, chain[-2].depth, len(below), b""), below
        made = pack(body, digest, base)
        with self.recorder.transact(write=True) as cursor:
            cursor.execute("SELECT id FROM blobs WHERE hash=?", (old,))
            [id] = cursor.fetchone()
            cursor.execute("SELECT id FROM blobs WHERE hash=? AND id<>?", (digest, id))
            if cursor.fetchone() is not None:
                cursor.execute("DELETE FROM blobs WHERE id=?", (id,))
                return
            cursor.execute(
                "UPDATE blobs SET hash=?, base=?, depth=?, size=?, packed=? WHERE id=?",
                (*made, id),
            )

    def _rewrite_event(self, row: Row) -> None:
        """Write an event anew whose texts hold a secret, or the name of a body that did."""
        position, task, version, topic, *_, writer, because, _, body = row
        data = json.loads(plain(body))
        self._note_unread(data)
        changed = self._changed(data)
        if topic.startswith(f"{EventType.CONTEXT_BUILT}:") and changed != data:
            # `verify` tells from this that the prompt cannot be built as it was.
            count = self._unlike(data, changed)
            changed |= {"masked": int(data.get("masked") or 0) + count}
        new_task, new_writer = self.words.text(task), self.words.text(writer)
        if (changed, new_task, new_writer) == (data, task, writer):
            return
        text = json.dumps(changed, ensure_ascii=False, separators=(",", ":")).encode()
        stored = packed(text) if len(text) >= PACKED_FROM else text
        unsealed: Row = (position, new_task, version, *row[3:6], new_writer, because, 0, stored)
        with self.recorder.transact(write=True) as cursor:
            cursor.execute(
                "UPDATE events SET task_id=?, writer=?, checksum=?, body=? WHERE position=?",
                (new_task, new_writer, checksum_of(unsealed), stored, position),
            )
        self.events.setdefault(new_task, []).append(version)

    def _changed(self, value: Any) -> Any:
        match value:
            case str():
                return self.words.text(_REF.sub(self._ref, value))
            case list():
                return [self._changed(item) for item in value]
            case dict():
                return {self.words.text(key): self._changed(item) for key, item in value.items()}
        return value

    def _ref(self, match: re.Match[str]) -> str:
        old = bytes.fromhex(match[1])
        return f"{BLOB_PREFIX}{self.moved.get(old, old).hex()}"

    def _unlike(self, before: Any, after: Any) -> int:
        """Return how many texts of a value are others."""
        if isinstance(before, dict) and isinstance(after, dict):
            values = zip(before.values(), after.values(), strict=True)
            return sum(self._unlike(*pair) for pair in values)
        if isinstance(before, list) and isinstance(after, list):
            return sum(self._unlike(*pair) for pair in zip(before, after, strict=True))
        return int(before != after)

    def _note_unread(self, data: Any) -> None:
        """Note an answer whose encoding is not looked into."""
        came = data.get("http_answer") if isinstance(data, dict) else None
        headers = came.get("headers") if isinstance(came, dict) else None
        encoding = headers.get("content-encoding") if isinstance(headers, dict) else None
        if encoding is not None and str(encoding).strip().lower() not in _READ:
            self.unread.add(str(came and came.get("body")))

    def _rest(self) -> None:
        """Change the ids of foreign logs, and throw away what is only a cache."""
        with self.recorder.transact(write=True) as cursor:
            cursor.execute("SELECT source, id FROM sources")
            for source, id in cursor.fetchall():
                if (changed := self.words.text(id)) != id:
                    cursor.execute(
                        "UPDATE OR REPLACE sources SET id=? WHERE source=? AND id=?",
                        (changed, source, id),
                    )
            cursor.execute("DELETE FROM snapshots")
            cursor.execute(self.recorder.has_vectors)
            if cursor.fetchone() is not None:
                cursor.execute("DELETE FROM vectors")

    def _tell(self) -> None:
        """Append to each task that was changed what was struck, and where."""
        for task, versions in self.events.items():
            payload = {"masks": dict(self.words.counts), "events": versions}
            fact = UnknownFact(kind=REDACTED, payload=payload)
            after = self.store.version(task)
            self.store.write([(task, after + 1, Claim(fact, None, WRITER, ()))])
