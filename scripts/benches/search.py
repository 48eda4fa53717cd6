"""A search over the texts of a moment, beside faiss over all texts and a product of all vectors.

An index holds twice as many texts as are current. Vectors are random unit vectors, since their
meaning does not change the time; texts are sixty words drawn by a seed, the first of the lexicon
far more often than the last. Times begin after the query has been embedded.
"""

import time
from collections.abc import Callable
from functools import partial
from random import Random
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backcast.engine.context.search import Document
from backcast.engine.context.search.held_vectors import SPARE, UNITS, HeldVectors
from backcast.engine.context.search.index import NEAREST, Current, Index, by_words
from backcast.engine.context.search.vectors import hash_of
from scripts.benches.figures import Bench, Bound, Figure, percentile

GROUP = "search by meaning and words, 384 numbers and 60 words a text"
CURRENT, SOME, TIMES = 50_000, 10_000, 2
"Current texts in a full bench and by default, and how many texts there are for each."
ROUNDS, QUERIES, HITS = 5, 40, 10
DIMENSIONS, WORDS, ASKED = 384, 60, 5
_DRAWN = Random(1)
LEXICON = [
    "".join(_DRAWN.choices("abcdefghijklmnoprstuvw_", k=_DRAWN.randint(2, 11))) for _ in range(3000)
]
WEIGHTS = [1 / rank for rank in range(1, len(LEXICON) + 1)]

Floats = NDArray[np.float32]
Way = Callable[[str, Floats], Any]
Times = dict[str, list[list[float]]]
"Milliseconds, by way and round."


class Subject(NamedTuple):
    """An index that is searched, and its vectors for the controls."""

    texts: Index
    current: Current
    flat: Any
    "The same vectors in a plain index of faiss."
    matrix: Floats
    "The current vectors, as a copy without gaps."
    is_current: NDArray[np.bool_]


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    current = CURRENT if bench.full else SOME
    bench.say(f"{current:,} current of {current * TIMES:,} texts")
    subject = _built(current, current * TIMES)
    return _parts(subject)


def _built(current: int, texts: int) -> Subject:
    import faiss

    random = Random(2)
    vectors = _vectors(texts, 3)
    bodies = [_words(random, WORDS) for _ in range(texts)]
    rows = sorted(random.sample(range(texts), current))
    documents = [Document(f"function:package/m{n:07}.py::f", bodies[n]) for n in rows]
    index = Index(HeldVectors(DIMENSIONS))
    index.vectors.add([hash_of(body) for body in bodies], vectors)
    flat = faiss.IndexFlatIP(DIMENSIONS)
    flat.add(vectors)
    is_current = np.isin(np.arange(texts), rows)
    subject = Subject(index, index.current(documents), flat, vectors[rows], is_current)
    _check(subject)
    return subject


def _vectors(count: int, seed: int) -> Floats:
    drawn = np.random.default_rng(seed).standard_normal((count, DIMENSIONS), dtype=np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn


def _words(random: Random, count: int) -> str:
    return " ".join(random.choices(LEXICON, weights=WEIGHTS, k=count))


def _queries(seed: int) -> list[tuple[str, Floats]]:
    random = Random(seed)
    return [(_words(random, ASKED), vector) for vector in _vectors(QUERIES, 100 + seed)]


def _check(subject: Subject) -> None:
    """Fail where a search by meaning differs from the product of all vectors."""
    for _, vector in _queries(0)[:10]:
        exact = (subject.matrix.astype(np.float64) * vector.astype(np.float64)).sum(axis=1)
        places = np.lexsort((np.arange(len(exact)), -np.rint(exact * UNITS)))[:NEAREST]
        rows = subject.texts.by_meaning(vector, subject.current, NEAREST)
        if rows.tolist() != places.tolist():
            raise AssertionError("needed the product of all vectors, found another order")


def _parts(subject: Subject) -> list[Figure]:
    index, current = subject.texts, subject.current
    ours: dict[str, Way] = {
        "whole": lambda query, vector: index.search(query, vector, current, HITS),
        "meaning": lambda query, vector: index.by_meaning(vector, current, NEAREST),
        "faiss": lambda query, vector: index.vectors.by_faiss(
            vector, current.rows, NEAREST + SPARE
        ),
        "numpy": lambda query, vector: index.vectors.by_product(
            vector, current.rows, NEAREST + SPARE
        ),
        "words": lambda query, vector: by_words(query, current),
    }
    controls: dict[str, Way] = {
        "faiss over all, filtered, until enough": partial(_filtered, subject),
        "numpy product of a copy of the current": partial(_product, subject),
    }
    times = _taken(ours | controls)
    rows = [
        ("hybrid search", "whole", Bound("<=", 20)),
        ("of it by meaning (roughly, then scored exactly)", "meaning", None),
        ("of it roughly, where faiss does it", "faiss", None),
        ("of it roughly, where numpy does it", "numpy", None),
        ("of it by words (BM25 of the current)", "words", None),
    ]
    figures = []
    for what, name, aim in rows:
        figures += _figures(what, times[name], aim)
    for name in controls:
        figures += _figures(f"control: {name}", times[name], None)
    return figures


def _figures(what: str, rounds: list[list[float]], aim: Bound | None) -> list[Figure]:
    p99 = percentile([spent for taken in rounds for spent in taken], 99)
    p50s = [median(taken) for taken in rounds]
    return [Figure(GROUP, f"{what}: p50", p50s, "ms", ours=f"p99 {p99:.1f} ms", aim=aim)]


def _taken(ways: dict[str, Way]) -> Times:
    """Return the times of each way for the same queries, in turns; a first round is dropped."""
    times: Times = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name, way in ways.items():
            taken = []
            for query, vector in _queries(number):
                begin = time.perf_counter()
                way(query, vector)
                taken.append((time.perf_counter() - begin) * 1000)
            if number:
                times[name].append(taken)
    return times


def _filtered(subject: Subject, query: str, vector: Floats) -> NDArray[np.int64]:
    """Search all texts, for more and more of them, until enough are current."""
    asking = NEAREST
    while True:
        rows = _top(subject, vector, asking)
        if len(rows) >= NEAREST or asking >= len(subject.is_current):
            return rows[:NEAREST]
        asking = min(2 * asking, len(subject.is_current))


def _top(subject: Subject, vector: Floats, count: int) -> NDArray[np.int64]:
    """Return the current ones of the `count` nearest among all texts."""
    rows: NDArray[np.int64] = subject.flat.search(vector[None], count)[1][0]
    return rows[subject.is_current[rows]]


def _product(subject: Subject, query: str, vector: Floats) -> NDArray[np.int64]:
    scores = subject.matrix @ vector
    nearest = np.argpartition(-scores, NEAREST)[:NEAREST]
    return nearest[np.argsort(-scores[nearest])]
