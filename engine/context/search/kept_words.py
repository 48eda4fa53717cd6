"""Words that were counted once are kept beside the log, by the digests of their texts."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate, pairwise, starmap

import numpy as np

from backcast.domain.moment import Moment
from backcast.engine.context.search.word_counts import CountedTexts, CountedWords, WordCounts
from backcast.engine.history.kept import code_of, keep, kept
from backcast.engine.log.store import EventStore

FILES = (
    "engine/context/search/kept_words.py", "engine/context/search/words.py",
    "engine/context/search/code_words.py", "engine/context/symbol_texts.py",
    "engine/context/sources.py",
)  # fmt: skip
DIGEST = 16
"Bytes of a digest."
NEW, SHARE = 200, 0.05
"Texts that are counted before all are kept anew: so many, and such a share of all."


@contextmanager
def words_kept(store: EventStore, name: str, task_id: str, moment: Moment) -> Iterator[WordCounts]:
    """Give the words that were kept under a name, and keep in the end what was asked of them."""
    last, code = store.version_at(task_id, moment), code_of(*FILES)
    found = kept(store, name, code, task_id, store.version(task_id), load)
    counts = found[1] if found else WordCounts()
    yield counts
    is_last = moment.at is None and last == store.version(task_id)
    if is_last and counts.new > max(NEW, SHARE * len(counts)):
        keep(store, name, code, task_id, last, dump(counts.asked()))


def dump(texts: CountedTexts) -> bytes:
    """Return words as bytes: a line of JSON, then digests, then numbers of 32 bits."""
    groups, entries = texts.groups.values(), texts.entries
    sizes = np.array([len(group) for group in groups], np.int64)
    columns = [texts.lengths, *entries, sizes, np.concatenate([sizes[:0], *groups])]
    head = json.dumps([texts.words, len(texts.groups), [len(column) for column in columns]])
    body = b"".join(column.astype("<u4").tobytes() for column in columns)
    return b"".join([head.encode(), b"\n", *texts.digests, *texts.groups, body])


def load(body: bytes) -> WordCounts:
    """Return words that were dumped. `ValueError` or `TypeError` where they are none."""
    head, _, rest = body.partition(b"\n")
    known, keys, sizes = json.loads(head)
    digests = [rest[at : at + DIGEST] for at in range(0, DIGEST * (sizes[0] + keys), DIGEST)]
    numbers = np.frombuffer(rest, "<u4", offset=DIGEST * len(digests)).astype(np.int64)
    if len(numbers) != sum(sizes):
        raise ValueError(f"needed {sum(sizes)} numbers, found {len(numbers)}")
    cuts = starmap(slice, pairwise(accumulate(sizes, initial=0)))
    lengths, words, texts, counts, widths, grouped = (numbers[cut] for cut in cuts)
    for column, end in ((words, len(known)), (texts, len(lengths)), (grouped, len(lengths))):
        if column.max(initial=-1) >= end:
            raise ValueError(f"needed numbers below {end}, found {column.max()}")
    ends = pairwise(accumulate(widths.tolist(), initial=0))
    groups = zip(digests[sizes[0] :], [grouped[cut] for cut in starmap(slice, ends)], strict=True)
    return WordCounts.of(
        CountedTexts(
            known,
            digests[: sizes[0]],
            lengths,
            CountedWords(words, texts, counts.astype(np.float64)),
            dict(groups),
        )
    )
