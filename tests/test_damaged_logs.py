"""Logs that a crash, an editor or another program spoilt: what is whole is kept, the rest named."""

import bz2
import gzip
import io
import json
import lzma
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backcast.domain.errors import InputError
from backcast.engine.log.importers import (
    Report,
    claude_code,
    cline,
    events,
    import_batches,
    inspect_ai,
    openhands,
    swe_agent,
)
from backcast.engine.log.importers.compressed import encoding_of
from backcast.engine.log.importers.documents import UNREAD, salvaged
from backcast.engine.log.importers.torn import MAX_TEARS, pieces
from backcast.engine.log.store import EventStore

FOREIGN = Path(__file__).parent.parent / "fixtures/foreign"
OWN = Path(__file__).parent.parent / "fixtures/logs/validators.jsonl"
FORMATS = [claude_code, openhands, cline, inspect_ai, swe_agent, events]
LINES = [
    (claude_code, FOREIGN / "claude-code.jsonl"),
    (openhands, FOREIGN / "openhands.jsonl"),
    (events, OWN),
]
DOCUMENTS = [
    (cline, "cline.json"), (inspect_ai, "inspect.json"), (swe_agent, "swe-agent.traj"),
    (swe_agent, "mini-swe-agent.traj.json"), (openhands, "openhands-request.json"),
]  # fmt: skip

Told = tuple[list[tuple[Any, ...]], Report]


def told(format: ModuleType, path: Path) -> Told:
    """What an import of a file tells, and its report."""
    report = Report()
    with EventStore.open("sqlite://") as opened:
        import_batches(opened, format.FORMAT, format.read(path, "t", report), report)
        found = [(e.fact, e.because, e.timestamp) for e in opened.read("t")]
    return found, report


def records(path: Path) -> list[Any]:
    """The records of a file of lines; of a foreign one those that are meant to be whole."""
    found = []
    for text in path.read_text().splitlines()[:30]:
        try:
            value = json.loads(text)
        except ValueError:
            continue
        found += [value] if isinstance(value, dict) and "note" not in value else []
    return found


def lines(values: Sequence[Any]) -> list[str]:
    return [json.dumps(value, ensure_ascii=False) for value in values]


def text_of(values: Sequence[Any]) -> str:
    return "".join(f"{line}\n" for line in lines(values))


def zstd(body: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(body)


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "utf-8 with a mark": lambda body: b"\xef\xbb\xbf" + body,
    "two marks": lambda body: b"\xef\xbb\xbf\xef\xbb\xbf" + body,
    "utf-16": lambda body: body.decode().encode("utf-16"),
    "utf-16-le": lambda body: body.decode().encode("utf-16-le"),
    "utf-16-be": lambda body: body.decode().encode("utf-16-be"),
    "utf-16-be with a mark": lambda body: b"\xfe\xff" + body.decode().encode("utf-16-be"),
    "utf-32": lambda body: body.decode().encode("utf-32"),
    "utf-32-be": lambda body: body.decode().encode("utf-32-be"),
    "utf-32-le": lambda body: body.decode().encode("utf-32-le"),
    "gzip": gzip.compress,
    "gzip padded": lambda body: gzip.compress(body) + b"\0" * 99,
    "two of gzip": lambda body: gzip.compress(body[:99]) + gzip.compress(body[99:]),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd,
    "gzip of utf-16": lambda body: gzip.compress(body.decode().encode("utf-16")),
    "crlf": lambda body: body.replace(b"\n", b"\r\n"),
    "cr": lambda body: body.replace(b"\n", b"\r"),
}
LAID_OUT: dict[str, Callable[[list[Any]], str]] = {
    "two on a line": lambda values: text_of(values).replace("}\n{", "}{", 1),
    "all on a line": lambda values: "".join(lines(values)),
    "with blanks": lambda values: "\n\n" + text_of(values).replace("\n", "\n \n\t\n"),
    "a list on one line": json.dumps,
    "a list on several lines": lambda values: json.dumps(values, indent=2),
    "a list, a line each": lambda values: "[\n" + ",\n".join(lines(values)) + "\n]\n",
    "each on several lines": lambda values: "\n".join(json.dumps(v, indent=2) for v in values),
    "as a sequence": lambda values: "".join(f"\x1e{line}\n" for line in lines(values)),
    "with marks within": lambda values: "\n\ufeff".join(lines(values)),
    "without an end": lambda values: text_of(values).rstrip("\n"),
}


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize(("format", "path"), LINES, ids=lambda v: getattr(v, "name", None))
def test_lines_in_any_encoding_or_compression_tell_the_same(
    format: ModuleType, path: Path, name: str, tmp_path: Path
) -> None:
    body = text_of(records(path)).encode()
    (tmp_path / "plain.jsonl").write_bytes(body)
    (tmp_path / "other.jsonl").write_bytes(PACKED[name](body))
    found, report = told(format, tmp_path / "other.jsonl")
    assert report.skipped == []
    assert found == told(format, tmp_path / "plain.jsonl")[0]
    assert len(found) > 5


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize(("format", "file"), DOCUMENTS, ids=[d[1] for d in DOCUMENTS])
def test_documents_in_any_encoding_or_compression_tell_the_same(
    format: ModuleType, file: str, name: str, tmp_path: Path
) -> None:
    body = (FOREIGN / file).read_bytes()
    (tmp_path / file).write_bytes(PACKED[name](body))
    found, report = told(format, tmp_path / file)
    assert report.skipped == []
    assert found == told(format, FOREIGN / file)[0]


@pytest.mark.parametrize("name", LAID_OUT)
@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
@pytest.mark.parametrize(("format", "path"), LINES, ids=lambda v: getattr(v, "name", None))
def test_records_laid_out_otherwise_tell_the_same(
    format: ModuleType, path: Path, suffix: str, name: str, tmp_path: Path
) -> None:
    values = records(path)
    plain, other = tmp_path / "plain.jsonl", tmp_path / f"other{suffix}"
    plain.write_text(text_of(values))
    other.write_text(LAID_OUT[name](values))
    found, report = told(format, other)
    assert report.skipped == []
    assert found == told(format, plain)[0]


SAMPLES = {format.FORMAT: records(path) for format, path in LINES}
ODD = {"text": 'ä{"}\\ 🦜', "list": [{}, [1.5, None]], "type": "x", "é": True}


@settings(max_examples=150, deadline=None, derandomize=True,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(data=st.data())
def test_behind_a_record_that_was_cut_off_the_next_is_found(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    format = data.draw(st.sampled_from([claude_code, openhands, events]))
    values = [value | {"odd": ODD} for value in SAMPLES[format.FORMAT][:6]]
    if format is events:  # ours state versions, which a lost line would break
        about = {"task_id": "t", "timestamp": "2026-11-20T10:00:00Z", "data": ODD}
        values = [about | {"type": f"ODD_{number}"} for number in range(6)]
    place = data.draw(st.integers(1, len(values) - 2))
    texts = [line.encode() for line in lines(values)]
    at = data.draw(st.integers(1, len(texts[place]) - 1))
    between = data.draw(st.sampled_from([b"", b" ", b"\0\0\0", b"\xef\xbb\xbf"]))
    glued = texts[place][:at] + between + texts[place + 1]
    folder = tmp_path_factory.mktemp("glued")
    (folder / "a.jsonl").write_bytes(b"\n".join([*texts[:place], glued, *texts[place + 2 :]]))
    (folder / "b.jsonl").write_bytes(b"\n".join([*texts[:place], *texts[place + 1 :]]))
    found, report = told(format, folder / "a.jsonl")
    assert found == told(format, folder / "b.jsonl")[0]
    [reason] = report.skipped
    assert reason.startswith(f"line {place + 1}: ")
    assert "are no whole record" in reason


@settings(max_examples=100, deadline=None, derandomize=True,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(data=st.data())
def test_of_a_file_cut_anywhere_the_whole_records_are_read(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    format, _ = data.draw(st.sampled_from(LINES))
    texts = [line.encode() for line in lines(SAMPLES[format.FORMAT])]
    body = b"\n".join(texts)
    at = data.draw(st.integers(len(texts[0]) + len(texts[1]) + 2, len(body)))
    whole = body[: body.rfind(b"\n", 0, at) + 1]
    whole = body[:at] if at == len(body) or body[at : at + 1] == b"\n" else whole
    folder = tmp_path_factory.mktemp("cut")
    (folder / "a.jsonl").write_bytes(body[:at])
    (folder / "b.jsonl").write_bytes(whole)
    found, report = told(format, folder / "a.jsonl")
    assert found == told(format, folder / "b.jsonl")[0]
    assert len(report.skipped) == (whole.strip() != body[:at].strip())
    assert all("not JSON" in reason for reason in report.skipped)


MESSAGES = [
    {"role": ("user", "assistant")[n % 2], "content": [{"type": "text", "text": f"Nr. {n} ü"}]}
    for n in range(5)
]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("head", ["", '{"sessionId": "s", "messages": '])
def test_of_a_list_cut_anywhere_the_whole_messages_are_read(
    head: str, indent: int | None, tmp_path: Path
) -> None:
    body = (head + json.dumps(MESSAGES, indent=indent, ensure_ascii=False)).encode()
    ends = [body.index(f"Nr. {n} ü".encode()) for n in range(5)]
    path = tmp_path / "cut.json"
    for at in range(ends[1], len(body), 7):
        path.write_bytes(body[:at])
        found, report = told(cline, path)
        texts = sum(fact.type in ("MODEL_REPLIED", "MESSAGE_RECEIVED") for fact, _, _ in found)
        assert texts in (sum(end < at for end in ends), sum(end < at for end in ends) - 1)
        assert [reason[:5] for reason in report.skipped] in ([], ["line "])
        assert texts == 5 or report.skipped


def test_a_bad_element_of_a_list_does_not_move_the_others(tmp_path: Path) -> None:
    body = json.dumps(MESSAGES, indent=1)
    path = tmp_path / "bad.json"
    path.write_text(body.replace('"Nr. 1 \\u00fc"', "Nr. 1"))
    before, report = told(cline, path)
    assert [reason.split(":")[:2] for reason in report.skipped] == [["line 10", " element 2"]]
    assert len(before) == 5
    path.write_text(body)
    with EventStore.open("sqlite://") as opened:
        for text in (body.replace('"Nr. 1 \\u00fc"', "Nr. 1"), body):
            path.write_text(text)
            report = Report()
            import_batches(opened, "cline", cline.read(path, "t", report), report)
        assert (report.added, report.known, report.skipped) == (1, 5, [])


def test_an_event_that_was_cut_off_is_not_imported_in_part(tmp_path: Path) -> None:
    first, second = records(FOREIGN / "openhands.jsonl")[1:3]
    for number, text in enumerate([json.dumps(first), json.dumps(second)[:200], ""]):
        (tmp_path / f"event-{number}.json").write_text(text)
    found, report = told(openhands, tmp_path)
    assert len(found) == 2  # the start of the task, and the first event
    [cut, empty] = report.skipped
    assert "found text that is not JSON: EOF" in cut
    assert "found an empty file" in empty


def test_a_document_behind_which_other_text_stands_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.traj"
    path.write_bytes((FOREIGN / "swe-agent.traj").read_bytes() + b'"}]}\n')
    found, report = told(swe_agent, path)
    assert found == told(swe_agent, FOREIGN / "swe-agent.traj")[0]
    [reason] = report.skipped
    assert "4 bytes behind the end are not JSON" in reason


def test_zeros_are_named_and_the_records_beside_them_read(tmp_path: Path) -> None:
    texts = lines(records(FOREIGN / "openhands.jsonl"))
    path = tmp_path / "zeros.jsonl"
    zeros = "\0" * 4096
    path.write_text(f"{texts[0]}\n{zeros}{texts[1]}\n{zeros}\n{texts[2]}\n{zeros}")
    found, report = told(openhands, path)
    assert len(found) == len(told(openhands, FOREIGN / "openhands.jsonl")[0][:5])
    assert [reason.partition(" NUL")[0] for reason in report.skipped] == [
        f"line {number}: 4,096" for number in (2, 3, 5)
    ]
    document = tmp_path / "zeros.json"
    document.write_bytes((FOREIGN / "cline.json").read_bytes() + zeros.encode())
    found, report = told(cline, document)
    assert found == told(cline, FOREIGN / "cline.json")[0]
    assert report.skipped == ["line 14: 4,096 NUL bytes, as a crash leaves them"]


@pytest.mark.parametrize(("format", "name"), [(claude_code, "a.jsonl"), (cline, "a.json")])
def test_bytes_that_are_no_utf8_stay_readable_and_are_noted(
    format: ModuleType, name: str, tmp_path: Path
) -> None:
    message = {"role": "user", "content": "Caf\xe9 und \x93mehr\x94"}
    value: Any = {"type": "user", "uuid": "u", "sessionId": "s", "message": message}
    value = value if format is claude_code else {"sessionId": "s", "messages": [message]}
    path = tmp_path / name
    path.write_bytes(json.dumps(value, ensure_ascii=False).encode("latin-1"))
    found, report = told(format, path)
    assert found[0][0].data["goal"] == r"Caf\xe9 und \x93mehr\x94"
    assert report.skipped == []
    assert report.notes == [
        r"bytes that are not UTF-8 were read as \xNN (Latin-1? iconv converts), first in line 1"
    ]


NAN = [float("nan"), float("inf"), float("-inf")]


def test_numbers_that_json_lacks_are_kept_as_texts_in_every_format(tmp_path: Path) -> None:
    def with_nan(value: Any) -> Any:
        return value | {"score": NAN, "deep": {"large": [NAN] * 3000, "x": float("inf")}}

    documents = [(format, FOREIGN / name) for format, name in DOCUMENTS]
    for format, source in (*documents, *LINES):
        path = tmp_path / source.name
        if source.suffix == ".jsonl":
            path.write_text(text_of([with_nan(value) for value in records(source)]))
        else:
            path.write_text(json.dumps(with_nan(json.loads(source.read_text()))))
        with EventStore.open("sqlite://") as opened:
            for added in (True, False):  # imported again, NaN equals NaN
                report = Report()
                import_batches(opened, format.FORMAT, format.read(path, "t", report), report)
                assert (report.added > 0, report.skipped) == (added, [])
            found = json.dumps([e.fact.data for e in opened.read("t")], allow_nan=False)
        if format is not swe_agent and "request" not in source.name:
            assert '["NaN", "Infinity", "-Infinity"]' in found


def test_a_huge_number_or_a_repeated_key_spoils_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    head = '{"type": "user", "sessionId": "s", "message": {"role": "user", "content": "Hi"}'
    odd = ["1e400", "-1e400", "9" * 4000, "1E-999", '1, "n": 2', "0.1e1", '"\\ud800"']
    texts = [f'{head}, "uuid": "u{n}", "n": {value}}}' for n, value in enumerate(odd)]
    path.write_text("\n".join([*texts, f'{head}, "uuid": "u9", "n": {"9" * 5000}}}']))
    found, report = told(claude_code, path)
    assert [f.data.get("n") for f, _, _ in found[1:]] == [
        "Infinity", "-Infinity", int("9" * 4000), 0, 2, 1, "\\ud800",
    ]  # fmt: skip
    [reason] = report.skipped
    assert reason.startswith("line 8: not JSON: number out of range")


def zipped(**members: bytes) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_json", ".json"), content)
    return body.getvalue()


def evaluation(**more: bytes) -> bytes:
    log = json.loads((FOREIGN / "inspect.json").read_text())
    [sample] = log.pop("samples")
    first = sample | {"id": 2, "uuid": "sample-2"}
    members = {
        "_journal__start_json": b"{}", "samples__10_epoch_1_json": json.dumps(first).encode(),
        "samples__2_epoch_1_json": json.dumps(sample).encode(),
        "header_json": json.dumps(log).encode(),
    }  # fmt: skip
    return zipped(**(members | more))


def test_an_evaluation_in_an_archive_tells_what_the_same_in_json_does(tmp_path: Path) -> None:
    log = json.loads((FOREIGN / "inspect.json").read_text())
    log["samples"] += [log["samples"][0] | {"id": 2, "uuid": "sample-2"}]
    (tmp_path / "a.json").write_text(json.dumps(log))
    (tmp_path / "a.eval").write_bytes(evaluation())
    (tmp_path / "named-otherwise.json").write_bytes(evaluation())
    plain = told(inspect_ai, tmp_path / "a.json")[0]
    for name in ("a.eval", "named-otherwise.json"):
        found, report = told(inspect_ai, tmp_path / name)
        assert (found, report.skipped) == (plain, [])


def test_an_archive_packed_by_zstd_is_read(tmp_path: Path) -> None:
    body = bytearray(evaluation())
    plain = told_bytes(tmp_path, bytes(body))[0]
    out, directory = io.BytesIO(), b""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        infos = archive.infolist()
        for info in infos:
            content = archive.read(info)
            packed, name = zstd(content), info.filename.encode()
            sizes = struct.pack("<III", zlib.crc32(content), len(packed), len(content))
            about = struct.pack("<HHHHH", 63, 0, 93, 0, 33) + sizes
            directory += b"PK\1\2" + struct.pack("<H", 63) + about + struct.pack(
                "<HHHHHII", len(name), 0, 0, 0, 0, 0, out.tell()
            ) + name  # fmt: skip
            out.write(b"PK\3\4" + about + struct.pack("<HH", len(name), 0) + name + packed)
    at = out.tell()
    out.write(directory + b"PK\5\6" + struct.pack(
        "<HHHHIIH", 0, 0, len(infos), len(infos), len(directory), at, 0
    ))  # fmt: skip
    assert told_bytes(tmp_path, out.getvalue())[0] == plain


def told_bytes(folder: Path, body: bytes) -> Told:
    path = folder / "log.eval"
    path.write_bytes(body)
    return told(inspect_ai, path)


def test_of_a_damaged_archive_the_whole_samples_are_read(tmp_path: Path) -> None:
    whole = len(told_bytes(tmp_path, evaluation())[0])
    for bad in (b'{"id": 2, "cut', b"\0\1\2", b""):
        found, report = told_bytes(tmp_path, evaluation(samples__10_epoch_1_json=bad))
        assert 0 < len(found) < whole
        [reason] = report.skipped
        assert reason.startswith("samples/10_epoch_1.json: ")


def test_an_evaluation_that_was_not_finished_is_read_from_its_journal(tmp_path: Path) -> None:
    sample = json.dumps({"id": 1, "input": "Greet.", "events": []}).encode()
    journal = json.dumps({"version": 2, "eval": {"eval_id": "e"}}).encode()
    body = zipped(_journal__start_json=journal, samples__1_epoch_1_json=sample)
    found, report = told_bytes(tmp_path, body)
    assert len(found) == 3
    assert report.notes == ["the evaluation was not finished: its archive has no header"]


def test_a_bomb_in_an_archive_takes_no_memory(tmp_path: Path) -> None:
    body = evaluation(samples__10_epoch_1_json=b" " * 2**28)
    assert len(body) < 2**20
    tracemalloc.start()
    _, report = told_bytes(tmp_path, body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.skipped == ["samples/10_epoch_1.json: needed a JSON object, found other bytes"]
    assert peak < 2**25


@pytest.mark.parametrize("cut", [40, 200, -30])
def test_an_archive_that_is_cut_off_is_refused_in_one_line(cut: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found a ZIP archive that is cut off or damaged"):
        told_bytes(tmp_path, evaluation()[:cut])


def test_a_list_of_messages_is_named_after_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "1772000000000"
    folder.mkdir()
    path = folder / "api_conversation_history.json"
    path.write_text(json.dumps(MESSAGES))
    with EventStore.open("sqlite://") as opened:
        import_batches(opened, "cline", cline.read(path, None, Report()), Report())
        assert opened.tasks() == ["1772000000000"]


@given(st.binary(max_size=200))
def test_the_parts_of_any_text_are_in_order_and_end_at_its_end(text: bytes) -> None:
    found = list(pieces(text, lambda value: True))
    assert [part.start for part in found] == sorted(part.start for part in found)
    assert all(0 <= part.start < part.end <= len(text) for part in found)
    salvaged(text)
    encoding_of(text)


TEARS = [
    b'{"a":', b"[{", b'"', b'{"a', b'{"type":"u","uuid":"x', b"\0{", b"\xff{", b"[{},",
    b'{"a":{"type":"u","sessionId":"u"}',
]  # fmt: skip


@pytest.mark.parametrize("piece", TEARS)
def test_a_text_of_tears_is_read_in_time(piece: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tears.json"
    path.write_bytes(piece * (20 * MAX_TEARS))
    for format in (claude_code, cline):
        try:
            _, report = told(format, path)
        except InputError:
            continue
        assert report.skipped


def test_an_unread_element_is_no_value_of_json() -> None:
    value, problems = salvaged(b'[1, nul, {"a": }, "x"]')
    assert (value, [p.at for p in problems]) == ([1, UNREAD, UNREAD, "x"], [3, 8])
