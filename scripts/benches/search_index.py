"""Exact search beside indexes that only come near it: what they take to build, to ask, and to miss.

For times vectors are random unit vectors, since what they mean does not change how long it takes;
an index of cells is trained on them as on any. What an index misses is measured on real texts: the
functions of this project as a search knows them, embedded by the default model, where their first
lines of documentation ask. Ways take turns.
"""

import ast
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast.domain.errors import InputError
from backcast.engine.context.search.held_vectors import SPARE, HeldVectors
from backcast.engine.context.search.index import NEAREST
from scripts.benches.figures import ROOT, Bench, Figure

GROUP = "nearest of N vectors of 384 numbers"
RECALL = "recall@10 of real texts"
SIZES, MORE = (1_000, 4_000, 16_000), (100_000, 400_000)
SHARE = 4
"Of so many functions one is embedded, which takes longer than all else."
LINKED = 100_000
"Beyond these no graph is built: its time is told by what comes before."
DIMENSIONS, ROUNDS, QUERIES, HITS = 384, 5, 20, 10
COUNT = NEAREST + SPARE
LINKS, BUILDING, ASKING, PROBES = 32, 80, 128, 16

Floats = NDArray[np.float32]
Ask = Callable[[Floats], Any]


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    figures = []
    for size in SIZES + (MORE if bench.full else ()):
        bench.say(f"{size:,} vectors")
        figures += _times(size)
    return figures + _recall(bench)


def _vectors(count: int, seed: int) -> Floats:
    drawn = np.random.default_rng(seed).standard_normal((count, DIMENSIONS), dtype=np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn


def _held(vectors: Floats) -> HeldVectors:
    held = HeldVectors(DIMENSIONS)
    held.add([number.to_bytes(8) for number in range(len(vectors))], vectors)
    return held


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.perf_counter()
    made = work()
    return made, 1000 * (time.perf_counter() - begin)


def _linked(vectors: Floats) -> Any:
    import faiss

    index = faiss.IndexHNSWFlat(DIMENSIONS, LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = BUILDING, ASKING
    index.add(vectors)
    return index


def _celled(vectors: Floats) -> Any:
    import faiss

    cells = max(1, int(2 * len(vectors) ** 0.5))
    index = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(DIMENSIONS), DIMENSIONS, cells, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.min_points_per_centroid = 1
    index.train(vectors)
    index.add(vectors)
    index.nprobe = PROBES
    return index


def _times(size: int) -> list[Figure]:
    vectors = _vectors(size, size)
    held, rows = _held(vectors), np.arange(size)
    _, added = _timed(lambda: held.by_faiss(vectors[0], rows, COUNT))
    ways: dict[str, Ask] = {
        "exact by numpy": lambda asked: held.by_product(asked, rows, COUNT),
        "exact by faiss": lambda asked: held.by_faiss(asked, rows, COUNT),
    }
    built = {"exact by faiss": added}
    if size <= LINKED:
        linked, built["graph (HNSW)"] = _timed(lambda: _linked(vectors))
        ways["graph (HNSW)"] = lambda asked: linked.search(asked[None], COUNT)
    celled, built["cells (IVF)"] = _timed(lambda: _celled(vectors))
    ways["cells (IVF)"] = lambda asked: celled.search(asked[None], COUNT)
    times = _asked(ways)
    exact = median(times["exact by numpy"])
    figures = []
    for name, taken in times.items():
        ours, control = "", ""
        if name in built:
            ours = f"built in {built[name]:,.0f} ms"
            saved = exact - median(taken)
            if saved > 0:
                control = f"exact by numpy {exact:.2f} ms: pays after {built[name] / saved:,.0f}"
            else:
                control = f"exact by numpy {exact:.2f} ms: never pays"
        figures.append(Figure(GROUP, f"{size:,}: {name}", taken, "ms", ours, control))
    return figures


def _asked(ways: Mapping[str, Ask]) -> dict[str, list[float]]:
    """Return the median milliseconds of each round, by way; a first round is dropped."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name, way in ways.items():
            spent = [_timed(lambda way=way, one=one: way(one))[1]  # type: ignore[misc]
                     for one in _vectors(QUERIES, number)]  # fmt: skip
            if number:
                times[name].append(median(spent))
    return times


def _recall(bench: Bench) -> list[Figure]:
    """How many of the ten nearest real texts each index finds; ours are all ten, by its test."""
    from backcast.engine.context.search import sentence_embedder
    from backcast.engine.context.search.vectors import embedded

    functions = list(_functions())[::SHARE]
    texts, asked = ([text[place] for text in functions] for place in (0, 1))
    try:
        model = sentence_embedder()
    except InputError as error:
        return [Figure(RECALL, "not measured", why=str(error))]
    bench.say(f"{len(texts):,} functions")
    vectors, queries = embedded(model, texts), embedded(model, asked)
    exact = np.argsort(-(queries.astype(float) @ vectors.T.astype(float)), kind="stable")[:, :HITS]
    figures = []
    for name, make in (("graph (HNSW)", _linked), ("cells (IVF)", _celled)):
        values, answers = list[float](), list[list[set[int]]]()
        for seed in range(ROUNDS):
            order = np.random.default_rng(seed).permutation(len(texts))
            found = order[make(vectors[order]).search(queries, HITS)[1]].tolist()
            answers.append([set(answer) for answer in found])
            right = sum(len(a & {*b}) for a, b in zip(answers[-1], exact.tolist(), strict=True))
            values.append(100 * right / exact.size)
        pairs = [pair for two in pairwise(answers) for pair in zip(*two, strict=True)]
        differ = sum(one != other for one, other in pairs)
        share = 100 * differ / len(pairs)
        ours = f"{share:.1f} % of the answers differ where texts came in another order"
        figures.append(
            Figure(RECALL, name, values, "%", ours, f"{len(texts):,} texts, exact 100 %")
        )
    return figures


def _functions() -> Iterator[tuple[str, str]]:
    """Yield the text of each documented function of this project, and its first line as a query."""
    for room in ("domain", "projections", "engine"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef) and (told := ast.get_docstring(node)):
                    body = ast.unparse(node).replace(told, "")
                    yield f"{path.name} {body[:600]}", told.partition("\n")[0]
