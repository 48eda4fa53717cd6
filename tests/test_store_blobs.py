"""Large bodies, in memory, in a file and on PostgreSQL: kept once, and given back to the byte."""

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.errors import ConflictError, DamagedError
from backcast.domain.events import SourceRead, TaskStarted
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import MAX_DEPTH, Blob, Packed, ref_of
from backcast.engine.log.fsck import check
from backcast.engine.log.recorder import open_recorder


@pytest.fixture
def two(shared_url: str) -> Iterator[tuple[EventStore, EventStore]]:
    """One store, opened twice."""
    with EventStore.open(shared_url) as one, EventStore.open(shared_url) as other:
        yield one, other


def reopened(store: EventStore) -> EventStore:
    """The same store as one who remembers nothing of it sees it."""
    return EventStore(store.recorder)


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def lines(*changed: int) -> bytes:
    """Text that does not compress well by itself, with some lines changed."""
    rows = [noise(40, seed).hex() for seed in range(60)]
    for line in changed:
        rows[line % 60] = noise(40, 1000 + line).hex()
    return "\n".join(rows).encode()


def packed(store: EventStore, ref: str) -> Packed:
    return store.recorder.chain(bytes.fromhex(ref[5:]))[-1]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"text\n" * 1000,
        bytes(range(256)),
        b"\0" * 1_000_000,
        noise(100),
        noise(3_000_000),
        b"blob:" + b"0" * 64,
    ],
    ids=len,
)
def test_a_body_comes_back_to_the_byte(store: EventStore, body: bytes) -> None:
    ref = store.put(body)
    assert ref == ref_of(body)
    assert store.holds(ref)
    assert reopened(store).get(ref) == body
    assert list(check(store)) == []


def test_a_body_is_kept_once(store: EventStore) -> None:
    body = lines()
    store.append("a", [TaskStarted()], after=0, blobs=[Blob(body), Blob(body)])
    store.append("b", [TaskStarted()], after=0, blobs=[Blob(body, ref_of(b"other"))])
    reopened(store).put(body)
    assert [held.digest.hex() for held in store.recorder.blobs()] == [ref_of(body)[5:]]


def test_a_body_that_is_not_held_says_so(store: EventStore) -> None:
    ref = ref_of(b"never put")
    assert not store.holds(ref)
    with pytest.raises(DamagedError, match="is not in this store") as caught:
        store.get(ref)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "blob:", "blob:" + "g" * 64, "md5:" + "0" * 64])
def test_a_name_that_is_none_says_so(store: EventStore, name: str) -> None:
    with pytest.raises(ValueError, match=r"sha256|hexadecimal"):
        store.get(name)


def test_a_body_is_stored_as_the_difference_to_one_that_it_resembles(store: EventStore) -> None:
    first = store.put(lines())
    second = reopened(store).put(lines(7), base=first)
    whole, difference = packed(store, first), packed(store, second)
    assert (difference.base, difference.depth) == (whole.digest, 1)
    assert len(difference.packed) * 10 < len(whole.packed)
    assert reopened(store).get(second) == lines(7)


def test_a_body_that_resembles_nothing_is_stored_whole(store: EventStore) -> None:
    ref = store.put(noise(5000, 1), base=store.put(noise(5000, 2)))
    assert packed(store, ref).base is None
    assert store.put(b"", base=ref) == ref_of(b"")
    assert store.put(lines(), base=ref_of(b"")) == ref_of(lines())
    assert reopened(store).get(ref_of(lines())) == lines()


def test_a_base_that_is_not_held_is_no_obstacle(store: EventStore) -> None:
    ref = store.put(lines(), base=ref_of(b"never put"))
    assert reopened(store).get(ref) == lines()


def test_a_long_history_is_cut_into_chains_that_stay_short(store: EventStore) -> None:
    refs: list[str] = []
    for n in range(3 * MAX_DEPTH):
        refs.append(store.put(lines(*range(n)), base=refs[-1] if refs else None))
    assert max(packed(store, ref).depth for ref in refs) == MAX_DEPTH
    assert sum(packed(store, ref).base is None for ref in refs) == 3
    fresh = reopened(store)
    for n in random.Random(0).sample(range(len(refs)), 20):
        assert fresh.get(refs[n]) == lines(*range(n))
    assert list(check(store)) == []


def test_the_bodies_of_one_batch_may_build_on_each_other(store: EventStore) -> None:
    blobs = [Blob(lines())]
    for n in range(5):
        blobs.append(Blob(lines(*range(n + 1)), blobs[-1].ref))
    facts = [SourceRead(path="a.py", source=blob.ref) for blob in blobs]
    store.append("task", facts, after=0, blobs=blobs)
    assert [packed(store, blob.ref).depth for blob in blobs] == [0, 1, 2, 3, 4, 5]
    assert [reopened(store).get(blob.ref) for blob in blobs] == [blob.body for blob in blobs]


def test_the_bodies_of_a_refused_batch_are_not_kept_and_nothing_builds_on_them(
    store: EventStore,
) -> None:
    store.append("task", [TaskStarted()], after=0)
    refused = Blob(lines())
    with pytest.raises(ConflictError):
        store.append("task", [TaskStarted(goal="x")], after=0, blobs=[refused])
    assert not store.holds(refused.ref)
    with pytest.raises(DamagedError):
        store.get(refused.ref)
    ref = store.put(lines(3), base=refused.ref)
    assert reopened(store).get(ref) == lines(3)


def test_a_retry_finds_its_events_and_its_bodies(store: EventStore) -> None:
    blob = Blob(lines())
    fact = SourceRead(path="a.py", source=blob.ref)
    events = store.append("task", [fact], after=0)
    assert store.append("task", [fact], after=0, blobs=[blob]) == events
    assert reopened(store).get(blob.ref) == lines()


def test_a_body_that_two_put_at_once_serves_both_as_a_base(
    two: tuple[EventStore, EventStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    base = one.put(lines())
    body = Blob(lines(1), base)
    one.put(body.body, base)
    with monkeypatch.context() as patched:  # it has looked just before
        patched.setattr(other, "holds", lambda ref: False)
        other.put(body.body)
    assert packed(one, body.ref).depth == 1
    last = other.put(lines(1, 2), base=body.ref)
    for store in two:
        assert reopened(store).get(last) == lines(1, 2)
        assert list(check(reopened(store))) == []


def test_what_is_at_hand_does_not_grow_without_end(
    store: EventStore,
) -> None:
    store.recent_bytes = 12_000
    refs = [store.put(noise(3000, n)) for n in range(10)] + [store.put(noise(20_000, 99))]
    refs += [store.put(noise(3000, n)) for n in range(10)]
    assert [len(store.get(ref)) for ref in refs] == [3000] * 10 + [20_000] + [3000] * 10
    assert 9000 <= sum(len(body) for _, body in store._recent.values()) <= store._recent_used
    assert store._recent_used <= 12_000
    for number in range(100):  # a small text takes more than its bytes
        store.put(b"%d" % number)
    assert len(store._recent) <= 20
    assert store._recent_used <= 12_000


@given(
    st.lists(
        st.tuples(st.binary(max_size=200), st.integers(1, 30), st.integers(0, 10)), max_size=10
    )
)
def test_whatever_bodies_are_put_upon_whatever_others_come_back(
    puts: list[tuple[bytes, int, int]],
) -> None:
    with EventStore(open_recorder("sqlite://")) as store:
        refs: list[str] = []
        for part, times, base in puts:
            body = part * times + (store.get(refs[base % len(refs)]) if refs else b"")
            refs.append(store.put(body, base=refs[base % len(refs)] if refs else None))
            assert store.get(refs[-1]) == body
        fresh = reopened(store)
        assert [fresh.get(ref) for ref in refs] == [store.get(ref) for ref in refs]
        assert [ref_of(fresh.get(ref)) for ref in refs] == refs
        assert list(check(store)) == []
