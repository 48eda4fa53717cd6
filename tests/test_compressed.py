"""A log that is compressed by zstd is read like any other, and tells where it is cut or damaged."""

import json
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from backcast.engine.log import EventStore
from backcast.engine.log.importers import Report
from backcast.engine.log.importers.lines import MAX_LINE, read_lines
from backcast.engine.memory.import_log import run

LOG = Path(__file__).parents[1] / "fixtures/logs/shop.jsonl"
LINES = [b'{"n": %d, "of": "%064x"}' % (n, n * 7919**9) for n in range(2000)]
WHOLE = b"".join(line + b"\n" for line in LINES)


def packed(body: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(body)


def read(path: Path, body: bytes, longest: int = 1000) -> tuple[list[bytes], list[str]]:
    path.write_bytes(body)
    report = Report()
    return [line for _, line in read_lines(path, report, longest)], report.skipped


@pytest.mark.parametrize("name", ["log.jsonl.zst", "log.jsonl"])
def test_a_compressed_log_gives_the_same_events(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(packed(LOG.read_bytes()))
    with EventStore.open("sqlite://") as plain, EventStore.open("sqlite://") as store:
        run(plain, "events", LOG)
        assert run(store, "events", file).skipped == []
        assert [e.fact for e in store.read()] == [e.fact for e in plain.read()]


def test_frames_that_follow_each_other_are_one_log(tmp_path: Path) -> None:
    half = WHOLE.index(b"\n", len(WHOLE) // 2) + 1
    both = packed(WHOLE[:half]) + packed(b"") + packed(WHOLE[half:])
    assert read(tmp_path / "log.zst", both) == (LINES, [])


@given(share=st.floats(0, 1, exclude_max=True))
def test_of_a_log_that_is_cut_off_all_that_came_before_is_read(
    share: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    body = packed(WHOLE)
    cut = body[: int(len(body) * share)]
    lines, skipped = read(tmp_path_factory.mktemp("cut") / "log.zst", cut)
    assert lines == LINES[: len(lines)]
    assert [line.split(": ", 1)[1] for line in skipped] == (
        ["needed a whole zstd file, found one that is cut off; what follows is not read"]
        if cut
        else []
    )
    # A block is given only whole; there are several in it.
    given = zstandard.ZstdDecompressor().decompressobj().decompress(cut)
    assert len(lines) >= given.count(b"\n")


def test_what_is_no_zstd_is_told_in_one_line(tmp_path: Path) -> None:
    lines, [told] = read(tmp_path / "log.zst", b'{"plain": 1}\n')
    assert lines == []
    assert told.startswith("line 1: needed a whole zstd file, found: ")
    spoilt = bytearray(packed(WHOLE))
    spoilt[-2000] ^= 255
    lines, [told] = read(tmp_path / "log.zst", bytes(spoilt))
    assert lines == LINES[: len(lines)]
    assert lines
    assert told.startswith(f"line {len(lines) + 1}: needed a whole zstd file")


def test_what_swells_to_far_more_than_memory_is_passed_over_in_pieces(tmp_path: Path) -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(b"\0" * 2**28)
    assert len(bomb) < 2**16
    tracemalloc.start()
    lines, skipped = read(tmp_path / "bomb.zst", packed(b"{}\n") + bomb + packed(b"\n[]\n"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (lines, skipped) == ([b"{}", b"[]"], ["line 2: needed at most 1,000 bytes, found more"])
    assert peak < 100 * 2**20


def test_a_body_that_is_larger_than_a_foreign_line_may_be_is_imported(tmp_path: Path) -> None:
    body = "\\\n" * 2**24
    file = tmp_path / "large.jsonl"
    with file.open("w") as out:
        line = {"type": "SOURCE_READ", "task_id": "t", "timestamp": "2026-11-20T10:00:00Z"}
        out.write(json.dumps(line | {"data": {"path": "a.py", "source": body}}))
    assert file.stat().st_size > MAX_LINE
    with EventStore.open("sqlite://") as store:
        assert run(store, "events", file).skipped == []
        [event] = store.read()
        assert store.get(event.fact.source) == body.encode()  # type: ignore[attr-defined]
