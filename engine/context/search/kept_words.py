"""Words that were counted once are kept beside the log, by the digests of their texts."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from backcast.domain.moment import Moment
from backcast.engine.context.search.words import MEMORY, Numbers, WordCounts, WordMemory
from backcast.engine.history.kept import code_of, keep, kept
from backcast.engine.log.store import EventStore

FILES = ("engine/context/search/kept_words.py", "engine/context/search/words.py")
DIGEST = 16
"Bytes of a text's digest."
NEW, SHARE = 200, 0.05
"Texts that are counted before all are kept anew: so many, and such a share of all."


@contextmanager
def words_kept(store: EventStore, name: str, task_id: str, moment: Moment) -> Iterator[None]:
    """Count words in this block by what was kept under a name, and keep what was new in it."""
    last, code = store.version_at(task_id, moment), code_of(*FILES)
    found = kept(store, name, code, task_id, store.version(task_id), load)
    memory = found[1] if found else load(dump([]))
    token = MEMORY.set(memory)
    try:
        yield
    finally:
        MEMORY.reset(token)
    texts = sum(len(made.digests) for made in memory.made)
    is_last = moment.at is None and last == store.version(task_id)
    if is_last and memory.missed > max(NEW, SHARE * texts):
        keep(store, name, code, task_id, last, dump(memory.made))


def dump(made: list[WordCounts]) -> bytes:
    """Return the words of all texts that were counted: a line of JSON, then numbers of 32 bits."""
    numbers: dict[str, int] = {}
    digests, sizes, entries = list[bytes](), list[Numbers](), list[Numbers]()
    for counted in made:
        words, own, rows, counts = counted.entries
        held = np.flatnonzero(np.bincount(own))
        common = np.zeros(len(words), np.int64)
        for number in held.tolist():
            common[number] = numbers.setdefault(words[number], len(numbers))
        digests += counted.digests
        sizes.append(np.bincount(rows, minlength=len(counted.digests)))
        entries.append(np.stack([common[own], counts]))
    parts = [np.concatenate([np.zeros(0, np.int64), *sizes])]
    parts += [np.concatenate([np.zeros((2, 0), np.int64), *entries], axis=1)]
    head = json.dumps([list(numbers), len(digests), parts[1].shape[1]]).encode()
    body = b"".join(part.astype("<u4").tobytes() for part in parts)
    return head + b"\n" + b"".join(digests) + body


def load(body: bytes) -> WordMemory:
    """Return what was dumped. `ValueError` or `TypeError` where it is none."""
    head, _, rest = body.partition(b"\n")
    words, texts, entries = json.loads(head)
    numbers = np.frombuffer(rest, "<u4", offset=texts * DIGEST).astype(np.int64)
    sizes, columns = numbers[:texts], numbers[texts:].reshape(2, entries)
    if sizes.sum() != entries or columns[0].max(initial=-1) >= len(words):
        raise ValueError(f"needed {entries} entries of {len(words)} words, found others")
    digests = [rest[at : at + DIGEST] for at in range(0, texts * DIGEST, DIGEST)]
    return WordMemory(words, digests, sizes, columns)
