"""Does a log still hold what it held? Digests of its events, the same whoever keeps them."""

from contextlib import suppress
from hashlib import sha256
from typing import Any

from backcast.engine.log.packing import plain
from backcast.engine.log.store import EventStore

SHOWN = 12
"Digits of a digest that are shown."
SCORED = "SCORED:"
"How rows of scores begin. No prompt knows them, and they come while others read the log."


def stamps_of(store: EventStore) -> dict[str, str]:
    """Return of each task its last version and a digest of the log up to there, as `57-3f2a...`.

    Prompts of a task know other tasks of their store, but nothing that is recorded after it. Times
    of recording do not count: a file has others each time that it is opened. Neither do scores.
    """
    digest, last = sha256(), 0
    found: dict[str, Any] = {}
    while rows := store.recorder.rows(None, last):
        for position, task, version, topic, time_us, _, writer, because, _, body in rows:
            last = position
            if str(topic).startswith(SCORED):
                found.setdefault(task, (0, digest.copy()))
                continue
            head = f"{task}\0{version}\0{topic}\0{time_us}\0{writer}\0{because}\0"
            digest.update(head.encode(errors="surrogatepass") + _json(body))
            found[task] = version, digest.copy()
    return {task: f"{version}-{sum_.hexdigest()}" for task, (version, sum_) in found.items()}


def _json(body: object) -> bytes:
    """Return a stored body as it was before it was packed, which other versions do otherwise."""
    if not isinstance(body, bytes):
        return repr(body).encode()  # a broken file can give anything
    with suppress(ValueError):
        return plain(body)
    return body


def shown_stamp(stamp: str) -> str:
    """Return a stamp as people read it.

    >>> shown_stamp("57-" + "3f2a" * 16)
    '57 events, 3f2a3f2a3f2a'
    """
    version, _, digest = stamp.partition("-")
    return f"{version} events, {digest[:SHOWN]}"
