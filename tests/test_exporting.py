"""Exporting as a command: what it prints, what it refuses, and what stands in the file."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import SourceRead
from backcast.engine.context.recorded import rebuilt
from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.commands.export import write
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob

LOGS = Path(__file__).parents[1] / "fixtures/logs"
KEY = "AKIAIOSFODNN7EXAMPLE"
Backcast = Callable[..., tuple[str, str, int]]


@pytest.fixture
def backcast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Backcast:
    monkeypatch.setenv("BACKCAST_STORE", f"sqlite:///{tmp_path}/store.db")

    def run(*arguments: object) -> tuple[str, str, int]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        return *capsys.readouterr(), int(end.value.code or 0)

    return run


def plant(tmp_path: Path, task: str, source: str = f'KEY = "{KEY}"\n') -> None:
    with EventStore.open(f"sqlite:///{tmp_path}/store.db") as store:
        blob = Blob(source.encode())
        fact = SourceRead(path="settings.py", source=blob.ref)
        store.append(task, [fact], after=store.version(task), blobs=[blob])


def contexts(url: str) -> list[tuple[ContextBuilt, bool]]:
    """The contexts in a store, and whether each is rebuilt to its digest."""
    with EventStore.open(url) as store:
        facts = [event.fact for event in store.read(types=["CONTEXT_BUILT"])]
        return [
            (fact, rebuilt(fact, store.get) == fact.digest)
            for fact in facts
            if isinstance(fact, ContextBuilt)
        ]


@pytest.mark.parametrize("task", ["till", "validators"])
def test_a_secret_in_a_source_leaves_every_other_context_as_it_was(
    task: str, backcast: Backcast, tmp_path: Path
) -> None:
    backcast("import", "events", LOGS / f"{task}.jsonl")
    plant(tmp_path, task)
    assert backcast("context", task, "--for", "module:settings.py", "--record")[2] == 0
    file, other = tmp_path / "shown.jsonl.zst", f"sqlite:///{tmp_path}/other.db"
    out, err, code = backcast("export", task, "--redact", file)
    assert (out, err, code) == ("", "masked 3 aws_key in 3 texts\n", 0)
    assert backcast("import", "events", file, "--store", other)[2] == 0
    *before, (last, same) = contexts(other)
    assert before == contexts(f"sqlite:///{tmp_path}/store.db")[:-1]
    assert all(fact.masked is None and held for fact, held in before)
    assert (last.masked, same) == (1, False)


def test_a_context_tells_how_many_of_its_texts_were_masked(
    backcast: Backcast, tmp_path: Path
) -> None:
    backcast("import", "events", LOGS / "validators.jsonl")
    file, other = tmp_path / "shown.jsonl", f"sqlite:///{tmp_path}/other.db"
    # A word of the policy, and one of some sources.
    patterns = ["--pattern", "Use what it already", "--pattern", r"\bMOST_DIGITS\b"]
    assert backcast("export", "validators", "--redact", *patterns, file)[2] == 0
    backcast("import", "events", file, "--store", other)
    told = contexts(other)
    whole = contexts(f"sqlite:///{tmp_path}/store.db")
    assert [fact.masked for fact, _ in told] == [
        1 + sum(new.text != old.text for new, old in zip(fact.items, was.items, strict=True))
        for (fact, _), (was, _) in zip(told, whole, strict=True)
    ]
    assert {fact.masked for fact, _ in told} > {1}
    again = tmp_path / "again.jsonl"
    assert backcast("export", "validators", "--redact", "--store", other, again)[2] == 0
    assert again.read_bytes() == file.read_bytes()


@pytest.mark.parametrize("options", [[], ["--redact"]])
def test_a_body_that_the_store_lacks_is_told_and_the_rest_is_written(
    options: list[str], backcast: Backcast, tmp_path: Path
) -> None:
    line = {"type": "SOURCE_READ", "task_id": "task", "timestamp": "2026-11-20T10:00:00Z"}
    lines = [line | {"data": {"path": path, "source": Blob(b"gone").ref}} for path in "ab"]
    (tmp_path / "log.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    backcast("import", "events", tmp_path / "log.jsonl")
    _, err, code = backcast("export", "task", *options, tmp_path / "out.jsonl")
    assert code == 1
    assert err.splitlines()[-2:] == [
        f"backcast: event 1 (task 'task'): points at {Blob(b'gone').ref[:17]}…, which is missing",
        "backcast: the log is written without 1 body that the store lacks",
    ]
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2


def test_what_was_masked_is_told_as_json_and_never_shown(
    backcast: Backcast, tmp_path: Path
) -> None:
    plant(tmp_path, "/home/ann/app", f"a = {KEY!r}; b = {KEY!r}")
    plant(tmp_path, "/home/ann/app", "ACME-123456 /home/ann")
    (tmp_path / "mine.txt").write_text("# ours\n\nACME-[0-9]{6}\n")
    arguments = ["/home/ann/app", "--redact", "--patterns", tmp_path / "mine.txt"]
    out, err, code = backcast("export", *arguments, "--json", "-")
    counts = {"aws_key": 2, "home_path": 3, "pattern": 1}
    assert (json.loads(err), code) == ({"masked": counts, "texts": 4, "kept": 0}, 0)
    assert [json.loads(line).get("task_id") for line in out.splitlines()] == [
        None, "/home/user/app", None, "/home/user/app",
    ]  # fmt: skip
    assert not any(secret in out + err for secret in (KEY, "ann", "ACME"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--redact", "--pattern", "hunter2("],
            "--pattern 1: needed a regular expression, found: ",
        ),
        (["--redact", "--pattern", "x", "--pattern", "y*"], "--pattern 1: needed a pattern of a"),
        (["--redact", "--patterns", "nowhere"], "nowhere: needed a file of patterns, found: No su"),
        (["--redact", "--patterns", "{file}"], "{file}, line 2: needed a pattern of a secret, fou"),
        (["--pattern", "abc"], "--pattern, --patterns and --json go with --redact"),
        (["--json"], "--pattern, --patterns and --json go with --redact"),
    ],
)
def test_what_cannot_be_a_pattern_is_a_clear_error_and_nothing_is_written(
    arguments: list[str], message: str, backcast: Backcast, tmp_path: Path
) -> None:
    plant(tmp_path, "t")
    (tmp_path / "file").write_text("# ours\n.*\n")
    arguments = [one.format(file=tmp_path / "file") for one in arguments]
    _, err, code = backcast("export", "t", *arguments, tmp_path / "log.jsonl")
    assert code == 2
    assert message.format(file=tmp_path / "file") in err
    assert "hunter2" not in err
    assert not (tmp_path / "log.jsonl").exists()


def test_an_export_that_fails_leaves_what_stood_there(backcast: Backcast, tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl.zst"
    file.write_text("before")

    def lines() -> Iterator[str]:
        yield "{}"
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write(file, lines())
    assert file.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    _, err, code = backcast("import", "events", LOGS / "addresses.jsonl")
    out, err, code = backcast("export", "task-abc123", tmp_path / "no/log.jsonl")
    assert (out, code) == ("", 2)
    assert (
        err == f"backcast: {tmp_path}/no/log.jsonl: cannot be written: No such file or directory\n"
    )


def test_a_file_is_replaced_where_it_is_and_keeps_who_may_read_it(tmp_path: Path) -> None:
    file, link = tmp_path / "log.jsonl", tmp_path / "link.jsonl"
    file.write_text("before")
    file.chmod(0o600)
    link.symlink_to(file)
    write(link, ["{}"])
    assert link.is_symlink()
    assert file.read_text() == "{}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    write(Path(os.devnull), ["{}"])
    assert not Path(os.devnull).is_file()


def test_an_export_to_zst_is_the_same_log(backcast: Backcast, tmp_path: Path) -> None:
    backcast("import", "events", LOGS / "shop.jsonl")
    plain, packed = tmp_path / "log.jsonl", tmp_path / "log.jsonl.zst"
    for file in (plain, packed):
        assert backcast("export", "task-def456", file) == ("", "", 0)
    body = zstandard.ZstdDecompressor().decompressobj().decompress(packed.read_bytes())
    assert body == plain.read_bytes()
    out, _, code = backcast("import", "events", packed)
    assert (out, code) == ("added 0 events, 39 known already, 0 skipped\n", 0)
    cut = tmp_path / "cut.jsonl.zst"
    cut.write_bytes(packed.read_bytes()[:-9])
    _, err, code = backcast("import", "events", cut, "--store", f"sqlite:///{tmp_path}/other.db")
    assert code == 2
    assert "found a zstd file that is cut off" in err


def strict(text: str) -> list[Any]:
    """The values of lines that must be JSON, which has no NaN."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


UNKNOWN = "backcast: note: 1 event of an unknown type: NEW_KIND\n"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_stand_as_texts_in_all_that_is_printed(
    number: str, backcast: Backcast, tmp_path: Path
) -> None:
    stated = {"module_name": "a.py", "iteration": 1, "score": number, "source": "x = 1"}
    facts = [
        ("MODULE_ITERATION", stated | {"more": number}),
        ("CHECKS_RAN", {"passed": 1, "failed": 0, "seconds": number, "coverage": {"a": number}}),
        ("TOOL_CALLED", {"tool": "t", "arguments": {"deep": [number, -1e99]}}),
        ("MAP_EDITED", {"answers": [{"role": "draw", "seconds": number, "more": number}]}),
        ("NEW_KIND", {"score": number}),
    ]
    lines = [
        json.dumps(
            {"type": kind, "task_id": "t", "timestamp": "2026-11-20T10:00:00Z", "data": data}
        )
        for kind, data in facts
    ]
    first, again = tmp_path / "first.jsonl", tmp_path / "again.jsonl"
    # So large a number is infinite, too, and that is how it is stored.
    first.write_text("\n".join(lines).replace("-1e+99", "-1e999"))
    assert backcast("import", "events", first)[2] == 0
    assert backcast("export", "t", first) == ("", "", 0)
    told = strict(first.read_text())
    [iteration, checks, call, edited, new] = [one["data"] for one in told if "data" in one]
    assert (iteration["score"], iteration["more"], new["score"]) == (number, number, number)
    assert (checks["seconds"], checks["coverage"]) == (number, {"a": number})
    assert call["arguments"] == {"deep": [number, "-Infinity"]}
    assert edited["answers"] == [{"role": "draw", "seconds": number, "more": number}]
    [state] = strict(backcast("show", "progress", "t", "--json")[0])
    assert state["modules"]["a.py"]["score"] == number
    logged = strict(backcast("log", "t", "--json")[0])
    assert [one["data"] for one in logged] == [iteration, checks, call, edited, new]
    assert backcast("import", "events", first)[:2] == (
        "added 0 events, 5 known already, 0 skipped\n", UNKNOWN
    )  # fmt: skip
    other = ("--store", f"sqlite:///{tmp_path}/other.db")
    assert backcast("import", "events", first, *other)[1:] == (UNKNOWN, 0)
    assert backcast("export", "t", again, *other)[2] == 0
    assert again.read_bytes() == first.read_bytes()


STORES = ["store.db", "link.db", "hard.db", "other.db", "store.db-wal", "store.db-journal"]


@pytest.mark.parametrize("redact", [[], ["--redact"]], ids=["plain", "redacted"])
@pytest.mark.parametrize("name", STORES)
def test_a_store_is_never_replaced_by_a_log(
    name: str, redact: list[str], backcast: Backcast, tmp_path: Path
) -> None:
    plant(tmp_path, "t")
    EventStore.open(f"sqlite:///{tmp_path}/other.db").close()
    (tmp_path / "link.db").symlink_to("store.db")
    os.link(tmp_path / "store.db", tmp_path / "hard.db")
    for end in ("-wal", "-journal"):
        (tmp_path / f"store.db{end}").touch()
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.db")}
    out, err, code = backcast("export", "t", *redact, tmp_path / name)
    assert (out, code) == ("", 2)
    assert "needed a file for a log, found a database, which would be lost" in err
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.db")} == before


@pytest.mark.parametrize("redact", [[], ["--redact"]], ids=["plain", "redacted"])
def test_a_closed_output_is_told(redact: list[str], tmp_path: Path) -> None:
    plant(tmp_path, "t")
    words = ["export", "t", *redact, "--store", f"sqlite:///{tmp_path}/store.db", "-"]
    start = "from backcast.engine.interfaces.cli import main; main()"
    command = [sys.executable, "-c", start, *words]
    shell = " ".join(map(shlex.quote, command))
    ended = subprocess.run(
        ["sh", "-c", f"{shell} >&-"], stderr=subprocess.PIPE, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (
        2, "backcast: -: cannot be written: the output is closed\n",
    )  # fmt: skip


def test_a_log_of_before_is_replaced(backcast: Backcast, tmp_path: Path) -> None:
    plant(tmp_path, "t")
    (tmp_path / "log.jsonl").write_text("old")
    assert backcast("export", "t", tmp_path / "log.jsonl")[2] == 0
    assert (tmp_path / "log.jsonl").read_text().startswith('{"blob"')
