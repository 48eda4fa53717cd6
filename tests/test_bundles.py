"""Small bodies that are stored together: given back to the byte, wherever they came from."""

import json
import random
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.errors import ConflictError, DamagedError, InputError
from backcast.domain.events import Claim, MessageReceived, TaskStarted
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob, ref_of
from backcast.engine.log.bundles import LARGEST, bundled, members
from backcast.engine.log.bundling import LONGEST, unbundle
from backcast.engine.log.fsck import check
from backcast.engine.log.packing import condensed, plain

TEXTS = st.text(max_size=60)
STREAMS = st.lists(TEXTS, max_size=6).map(
    lambda texts: b"".join(
        b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"
        for text in texts
    )
)
PACES = st.lists(st.integers(0, 400), max_size=8).map(
    lambda numbers: json.dumps(numbers, separators=(",", ":")).encode()
)
BODIES = st.one_of(
    st.binary(max_size=80), TEXTS.map(lambda text: text.encode(errors="replace")), STREAMS, PACES,
    TEXTS.map(lambda text: json.dumps(text).encode()),
    TEXTS.map(lambda text: json.dumps(text, ensure_ascii=False).encode(errors="replace")),
    st.binary(max_size=40).map(lambda body: b'data: {"content": "' + body + b'"}'),
)  # fmt: skip


@given(st.lists(BODIES, max_size=12, unique=True))
def test_a_bundle_gives_the_bodies_that_it_was_made_of(bodies: list[bytes]) -> None:
    assert sorted(members(bundled(bodies))) == sorted(bodies)


@given(st.binary(max_size=200) | st.text(max_size=40).map(lambda text: f"[{text}]\n".encode()))
def test_what_is_no_bundle_is_refused_in_a_line(body: bytes) -> None:
    with suppress(DamagedError):
        for _ in members(body):
            pass


def test_a_quoted_text_and_the_texts_of_a_stream_take_no_place_of_their_own() -> None:
    text = "some lines\nof a text\n" * 40
    pieces = [text[at : at + 9] for at in range(0, len(text), 9)]
    events = [b'data: {"content": %s}\n\n' % json.dumps(piece).encode() for piece in pieces]
    stream = b"".join(events)
    pace = [number for event in events for number in (0, len(event))]
    alone = bundled([stream])
    both = bundled([stream, text.encode(), json.dumps(pace, separators=(",", ":")).encode()])
    assert text.encode() in members(both)
    assert len(both) - len(alone) < len(pieces) * 5


def write(store: EventStore, number: int, bodies: list[bytes], task: str = "task") -> None:
    claim = Claim(TaskStarted(), None, "", ())
    rows = [store.row(task, number, claim)]
    store.write_rows(rows, [Blob(body) for body in bodies], together=task)


def exchange(number: int) -> list[bytes]:
    words = " ".join(f"word{n}" for n in random.Random(number).sample(range(5000), 50))
    return [json.dumps(words + "\n").encode(), (words + "\n").encode(), b"x" * (LARGEST + number)]


@pytest.mark.parametrize("order", ["forward", "backward", "anyhow"])
def test_bodies_come_back_in_any_order_from_two_names(store: EventStore, order: str) -> None:
    written = []
    for number in range(1, LONGEST + 30):
        for task in ("task", "other"):
            bodies = exchange(number if task == "task" else 10_000 + number)
            write(store, number, bodies, task)
            written += bodies
    turned = written[:: -1 if order == "backward" else 1]
    if order == "anyhow":
        random.Random(1).shuffle(turned)
    reader = EventStore(store.recorder)
    assert all(reader.holds(ref_of(body)) and reader.get(ref_of(body)) == body for body in turned)
    assert list(check(reader)) == []
    for body in written:  # none is stored a second time, together or alone
        reader.put(body)
    write(reader, LONGEST + 30, written)
    assert len(store.recorder.bundled()) == 4 * (LONGEST + 29)
    assert len(list(store.recorder.blobs())) == len(set(written)) - 4 * (LONGEST + 29)


def test_what_could_not_be_written_takes_nothing_along(store: EventStore) -> None:
    write(store, 1, exchange(1))
    with pytest.raises(ConflictError):
        write(store, 3, exchange(3))
    write(store, 2, exchange(2))
    reader = EventStore(store.recorder)
    assert [reader.get(ref_of(body)) for n in (1, 2) for body in exchange(n)] == [
        body for n in (1, 2) for body in exchange(n)
    ]
    assert not reader.holds(ref_of(exchange(3)[0]))
    assert list(check(reader)) == []


def test_two_that_store_the_same_body_at_once_both_have_it(store: EventStore) -> None:
    other = EventStore(store.recorder)
    write(store, 1, [b'"first"'])
    assert other.get(ref_of(b'"first"'))
    body = exchange(1)[1]
    new = other._new([Blob(body)])  # it has looked already when the first one writes
    write(store, 2, [body])
    bundles, _ = other._bundler.bundles("other", new.values())
    with pytest.raises(ConflictError):
        store.recorder.append([store.row("other", 1, Claim(TaskStarted(), None, "", ()))],
                              store._now_us, bundles=bundles)  # fmt: skip
    write(other, 1, [body], "other")
    assert EventStore(store.recorder).get(ref_of(body)) == body


def damage(store: EventStore, sql: str, *parameters: object) -> None:
    with store.recorder.transact(write=True) as cursor:
        cursor.execute(sql, parameters)


def gives(store: EventStore, body: bytes) -> bool:
    """Whether a store that remembers nothing has a body, which then is the right one."""
    with suppress(DamagedError):
        assert EventStore(store.recorder).get(ref_of(body)) == body
        return True
    return False


def test_a_damaged_bundle_is_named_and_nothing_of_it_given_out(store: EventStore) -> None:
    for number in range(1, 6):
        write(store, number, exchange(number)[:2])
    [packed] = [bundle.packed for bundle in store.recorder.bundles() if bundle.id == 3]
    named = 0
    for place in range(0, len(packed), 7):
        changed = packed[:place] + bytes([packed[place] ^ 4]) + packed[place + 1 :]
        damage(store, "UPDATE bundles SET packed=? WHERE id=3", changed)
        lines = list(check(EventStore(store.recorder)))
        whole = all(gives(store, body) for body in exchange(3)[:2])
        assert whole or any(line.startswith("bundle 3 of blobs") for line in lines)
        assert all(gives(store, body) for body in exchange(2)[:2])
        named += not whole
    assert named > len(packed) / 10
    damage(store, "UPDATE bundles SET packed=? WHERE id=3", packed)
    assert list(check(EventStore(store.recorder))) == []
    damage(store, "DELETE FROM bundles WHERE id=3")
    assert "bundle 3 of blobs: missing" in list(check(EventStore(store.recorder)))
    assert not gives(store, exchange(4)[0])


def test_an_event_that_points_at_a_lost_bundle_is_named(store: EventStore) -> None:
    body = exchange(1)[0]
    fact = MessageReceived(role="user", text=ref_of(body))
    row = store.row("task", 1, Claim(fact, None, "", ()))
    store.write_rows([(*row[:-1], condensed(row[-1]))], [Blob(body)], together="task")
    assert list(check(EventStore(store.recorder))) == []
    damage(store, "DELETE FROM bundles")
    damage(store, "DELETE FROM bundled")
    lines = list(check(EventStore(store.recorder)))
    assert lines == [f"event 1 (task 'task'): points at {ref_of(body)[:17]}…, which is missing"]


def test_bodies_can_be_taken_out_of_their_bundles(store: EventStore) -> None:
    for number in range(1, 4):
        write(store, number, exchange(number))
    unbundle(store.recorder)
    assert all(gives(store, body) for number in range(1, 4) for body in exchange(number))
    assert len(list(store.recorder.blobs())) == 9
    assert not list(store.recorder.bundles())
    assert list(check(EventStore(store.recorder))) == []


FACTS = st.recursive(
    st.none() | st.integers() | st.text(max_size=20)
    | st.binary(min_size=32, max_size=32).map(lambda digest: f"blob:{digest.hex()}"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(TEXTS, FACTS, max_size=5), st.booleans())
def test_a_condensed_fact_is_the_fact(fact: dict[str, object], ascii: bool) -> None:
    body = json.dumps(fact, ensure_ascii=ascii).encode(errors="replace")
    assert plain(condensed(body)) == body
    assert len(condensed(body)) <= len(body)


def test_a_damaged_condensed_fact_is_read_or_refused(store: EventStore) -> None:
    body = condensed(b'{"text":"blob:%s","role":"user","call_id":"call_12345"}' % (b"0a" * 32))
    refused = 0
    for place in range(len(body)):
        changed = body[:place] + bytes([body[place] ^ 4]) + body[place + 1 :]
        try:
            store.codec.decode("MESSAGE_RECEIVED:1", changed)
        except (ValueError, InputError):
            refused += 1
    assert refused > len(body) / 10
