"""`scripts/bench search`: one search over the texts of a moment, beside other ways to do it.

An index holds twice as many texts as are current. Vectors are random unit vectors, since what
they mean does not change how long it takes; texts are sixty words drawn by a seed, the first of
the lexicon far more often than the last. Times begin after the query has been embedded.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from statistics import mean, median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from backcast.engine.context.search import Document
from backcast.engine.context.search.index import NEAREST, SPARE, UNITS, Current, Index, by_words
from scripts.benches.figures import Bench, Bound, Figure, percentile, ratios, save, seconds, show

GROUP = "search by meaning and words, 384 numbers and 60 words a text"
CURRENT, TIMES = 50_000, 2
GROWTH = (12_500, 50_000, 200_000)
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
    """What is searched."""

    texts: Index
    current: Current
    flat: Any
    "The same vectors in an index of faiss of its own, as the controls would have it."
    matrix: Floats
    "The current vectors, as a copy without gaps."
    is_current: NDArray[np.bool_]
    seconds: tuple[float, float]
    "To take all texts with their vectors into the index, and to prepare the moment."


def measure(bench: Bench) -> list[Figure]:
    """The rows of the table."""
    bench.say(f"{CURRENT:,} current of {CURRENT * TIMES:,} texts")
    subject = _built(CURRENT, CURRENT * TIMES)
    figures = [*_parts(subject), *_short(subject), *_once(subject)]
    del subject
    return figures + _growth(bench)


def _built(current: int, texts: int) -> Subject:
    import faiss

    random = Random(2)
    vectors = _vectors(texts, 3)
    bodies = [_words(random, WORDS) for _ in range(texts)]
    rows = sorted(random.sample(range(texts), current))
    documents = [Document(f"function:package/m{n:07}.py::f", bodies[n]) for n in rows]
    index, moments = Index(DIMENSIONS), list[Current]()
    add = seconds(lambda: index.add(bodies, vectors))
    index.current(documents[:1])  # the words are put in order once
    prepare = seconds(lambda: moments.append(index.current(documents)))
    flat = faiss.IndexFlatIP(DIMENSIONS)
    flat.add(vectors)
    is_current = np.isin(np.arange(texts), rows)
    times = add, prepare
    subject = Subject(index, moments[0], flat, vectors[rows], is_current, times)
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
    """Stop where a search by meaning is not what the product of all vectors says."""
    for _, vector in _queries(0)[:10]:
        exact = (subject.matrix.astype(np.float64) * vector.astype(np.float64)).sum(axis=1)
        places = np.lexsort((np.arange(len(exact)), -np.rint(exact * UNITS)))[:NEAREST]
        found = subject.texts.by_meaning(vector, subject.current, NEAREST)
        if found.tolist() != places.tolist():
            raise AssertionError("a search by meaning is not what the product of vectors gives")


def _parts(subject: Subject) -> list[Figure]:
    index, current = subject.texts, subject.current
    ours: dict[str, Way] = {
        "whole": lambda query, vector: index.search(query, vector, current, HITS),
        "meaning": lambda query, vector: index.by_meaning(vector, current, NEAREST),
        "faiss": lambda query, vector: index.nearest(vector, current.rows, NEAREST + SPARE),
        "words": lambda query, vector: by_words(query, current),
    }
    controls: dict[str, Way] = {
        "faiss over all, filtered, until enough": partial(_filtered, subject),
        "numpy product of a copy of the current": partial(_product, subject),
    }
    times = _taken(ours | controls)
    rows = [
        ("hybrid search", "whole", Bound("<=", 20)),
        ("of it by meaning (faiss, then scored exactly)", "meaning", None),
        ("of it faiss", "faiss", None),
        ("of it by words (BM25 of the current)", "words", None),
    ]
    figures = []
    for what, name, aim in rows:
        figures += _figures(what, times[name], aim)
    for name in controls:
        figures += _figures(f"control: {name}", times[name], None)
    return figures


def _figures(what: str, rounds: list[list[float]], aim: Bound | None) -> list[Figure]:
    p99 = percentile([one for taken in rounds for one in taken], 99)
    p50s = [median(taken) for taken in rounds]
    return [Figure(GROUP, f"{what}: p50", p50s, "ms", ours=f"p99 {p99:.1f} ms", aim=aim)]


def _taken(ways: dict[str, Way]) -> Times:
    """How long each way takes for the same queries; they take turns, and one round is dropped."""
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
    """The nearest of all texts, as many as it takes until enough of them are current."""
    asking = NEAREST
    while True:
        found = _top(subject, vector, asking)
        if len(found) >= NEAREST or asking >= len(subject.is_current):
            return found[:NEAREST]
        asking = min(2 * asking, len(subject.is_current))


def _top(subject: Subject, vector: Floats, count: int) -> NDArray[np.int64]:
    """Those of the nearest among all texts that are current."""
    found: NDArray[np.int64] = subject.flat.search(vector[None], count)[1][0]
    return found[subject.is_current[found]]


def _product(subject: Subject, query: str, vector: Floats) -> NDArray[np.int64]:
    scores = subject.matrix @ vector
    nearest = np.argpartition(-scores, NEAREST)[:NEAREST]
    return nearest[np.argsort(-scores[nearest])]


def _short(subject: Subject) -> list[Figure]:
    """How often a filter after the search leaves fewer than were asked for."""
    figures = []
    for count in (HITS, NEAREST):
        left = [
            [len(_top(subject, vector, count)) for _, vector in _queries(number)]
            for number in range(ROUNDS)
        ]
        shares = [100 * mean(found < count for found in found_by) for found_by in left]
        told = f"{mean(map(mean, left)):.1f} of {count} are left"
        what = f"control: top {count} of all, then filtered: comes back short"
        figures.append(Figure(GROUP, what, shares, "%", control=told))
    return figures


def _once(subject: Subject) -> list[Figure]:
    """What is done before the first search, and what before the first of another moment."""
    add, prepare = subject.seconds
    return [
        Figure(GROUP, f"once: {len(subject.texts):,} texts into the index", [add], "s"),
        Figure(GROUP, f"once a moment: {len(subject.current.ids):,} documents", [prepare], "s"),
    ]


def _growth(bench: Bench) -> list[Figure]:
    sizes = [(size, TIMES * size) for size in GROWTH] + [(GROWTH[1], TIMES * GROWTH[2])]
    p50s: dict[tuple[int, int], list[float]] = {}
    for size in sizes:
        bench.say(f"{size[0]:,} current of {size[1]:,} texts")
        index, current, *_ = _built(*size)
        search = partial(_hybrid, index, current)
        p50s[size] = [median(taken) for taken in _taken({"": search})[""]]
    return [
        Figure(
            GROUP,
            f"{current:,} of {texts:,} texts, beside {beside[0]:,} of {beside[1]:,}: p50",
            ratios(p50s[current, texts], p50s[beside]),
            ours=f"{median(p50s[current, texts]):.2f} ms",
            control=f"{median(p50s[beside]):.2f} ms",
        )
        for (current, texts), beside in zip(sizes[1:], (sizes[0], sizes[0], sizes[1]), strict=True)
    ]


def _hybrid(index: Index, current: Current, query: str, vector: Floats) -> object:
    return index.search(query, vector, current, HITS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(prog="scripts/bench search", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds to a file")
    asked = parser.parse_args(arguments)
    figures = measure(Bench(Path(), False, ()))
    console = Console()
    show(figures, console if console.is_terminal else Console(width=190))
    if asked.json:
        save(figures, asked.json)


if __name__ == "__main__":
    main()
