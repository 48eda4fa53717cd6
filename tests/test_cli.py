"""The command line: data on stdout, messages on stderr, exit codes 0, 1 and 2."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.events import ModuleIteration, ToolCalled
from backcast.domain.node import Reference, parse_reference
from backcast.engine.interfaces import terminal
from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.commands.show import command as show_command
from backcast.engine.interfaces.commands.verify import print_verdict
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from backcast.engine.replay.verify import Answer, Verdict
from backcast.projections import BY_NAME

LOG = Path(__file__).parents[1] / "fixtures/logs/addresses.jsonl"
HERE = Path(__file__).parents[1]


class Ran(NamedTuple):
    """What a command printed, and its exit code."""

    out: str
    err: str
    code: int

    @property
    def objects(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def backcast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ran]:
    monkeypatch.setenv("BACKCAST_STORE", f"sqlite:///{tmp_path}/store.db")

    def run(*arguments: str) -> Ran:
        try:
            main(arguments)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return Ran(out, err, code)

    return run


@pytest.fixture
def imported(backcast: Callable[..., Ran]) -> Callable[..., Ran]:
    assert backcast("import", "events", str(LOG)).code == 0
    return backcast


def test_an_import_tells_what_it_added_and_a_second_one_adds_nothing(
    backcast: Callable[..., Ran],
) -> None:
    first, second = (backcast("import", "events", str(LOG)) for _ in range(2))
    assert first.out == "added 14 events (14 to task task-abc123), 0 known already, 0 skipped\n"
    assert second.out == "added 0 events, 14 known already, 0 skipped\n"
    assert (first.code, second.code, first.err) == (0, 0, "")


@pytest.mark.parametrize("text", ["", "\n\n"])
@pytest.mark.parametrize("format", ["events", "claude-code"])
def test_an_empty_file_is_no_log_of_any_format(
    imported: Callable[..., Ran], tmp_path: Path, format: str, text: str
) -> None:
    file = tmp_path / "empty.jsonl"
    file.write_text(text)
    out, err, code = imported("import", format, str(file))
    assert (out, code) == ("", 2)
    assert "needed " in err
    assert err.endswith(f"found {'a file of white space' if text else 'an empty file'}\n")


def test_an_import_that_finds_nothing_says_so_and_fails(
    imported: Callable[..., Ran], tmp_path: Path
) -> None:
    file = tmp_path / "empty.jsonl"
    file.write_text('{"note": "for people"}\n')
    out, err, code = imported("import", "events", str(file))
    assert out == "added 0 events, 0 known already, 0 skipped\n"
    assert (err, code) == (f"backcast: nothing was found in {file}\n", 1)
    assert len(imported("log").out.splitlines()) == 14


@pytest.mark.parametrize(
    ("format", "name"), [("events", "none.jsonl"), ("cline", "none.json"), ("git", ".")]
)
def test_an_import_of_what_is_not_there_makes_no_store_and_leaves_one_that_is(
    backcast: Callable[..., Ran], tmp_path: Path, format: str, name: str
) -> None:
    missing, store = str(tmp_path / name), tmp_path / "store.db"
    out, err, code = backcast("import", format, missing)
    assert (out, code, err.count("\n")) == ("", 2, 1)
    assert err.startswith(f"backcast: {missing}: ")
    assert list(tmp_path.iterdir()) == []
    assert backcast("import", "events", str(LOG)).code == 0
    before = store.read_bytes()
    assert backcast("import", format, missing).code == 2
    assert store.read_bytes() == before


def test_an_import_reports_as_json(backcast: Callable[..., Ran]) -> None:
    [report] = backcast("import", "events", str(LOG), "--json").objects
    assert (report["added"], report["tasks"]) == (14, {"task-abc123": 14})


def test_log_prints_a_line_an_event_up_to_a_moment(imported: Callable[..., Ran]) -> None:
    lines = imported("log", "@2026-11-20T10:02:20").out.splitlines()
    assert len(lines) == 6
    assert lines[-1].split() == [
        "6", "2026-11-20", "10:02:20", "task-abc123@6", "MODULE_ITERATION", "validators.py", "#1",
        "score", "0.4",
    ]  # fmt: skip


def test_log_filters_by_type_and_position(imported: Callable[..., Ran]) -> None:
    ran = imported("log", "@9", "--type", "module_iteration", "--json")
    assert [event["position"] for event in ran.objects] == [6, 7, 9]


def test_log_prints_the_last_events_alone(imported: Callable[..., Ran]) -> None:
    whole = imported("log", "@9").out.splitlines()
    assert imported("log", "@9", "-n", "2").out.splitlines() == whole[-2:]
    assert imported("log", "@9", "--last", "99").out.splitlines() == whole
    last = imported("log", "--type", "module_iteration", "--last", "1", "--json")
    every = imported("log", "--type", "module_iteration", "--json")
    assert last.objects == every.objects[-1:]
    for more in ("--follow", "--tree"):
        ran = imported("log", "task-abc123", "-n", "2", more)
        assert (ran.code, "no --follow, no --tree" in ran.err) == (2, True)


def test_recorded_is_the_time_of_recording_not_of_the_event(imported: Callable[..., Ran]) -> None:
    assert imported("log", "@recorded:2000-01-01").out == ""
    assert len(imported("log", "@recorded:2100-01-01").out.splitlines()) == 14


def test_show_progress_prints_the_state_then(imported: Callable[..., Ran]) -> None:
    moment = "task-abc123@2026-11-20T10:03:50"
    [state] = imported("show", "progress", moment, "--json").objects
    assert (state["status"], state["modules"]["validators.py"]["iteration"]) == ("generating", 2)
    assert "validators.py  2" in imported("show", "progress", moment).out


def test_a_moment_before_a_task_began_is_said_to_be_one(imported: Callable[..., Ran]) -> None:
    ran = imported("show", "progress", "task-abc123@2026-11-20T09")
    assert ran.err == (
        "backcast: note: no progress: nothing had happened in task 'task-abc123' by then; its first"
        " event is of 2026-11-20T10:00:00+00:00\n"
    )
    assert imported("show", "progress", "task-abc123@2026-11-20T11").err == ""


def test_show_versions_prints_who_and_when(imported: Callable[..., Ran]) -> None:
    ran = imported("show", "versions", "task-abc123")
    assert "validators.py  3" in ran.out
    assert "2026-11-20T10:06:00Z" in ran.out


def test_a_table_in_a_pipe_is_not_cut(backcast: Callable[..., Ran], tmp_path: Path) -> None:
    line = {"type": "MODULE_ITERATION", "task_id": "t", "timestamp": "2026-11-20T10:00:00Z"}
    name = "package/with/a/long/path/" + "x" * 30 + ".py"
    data = {"module_name": name, "iteration": 1}
    file = tmp_path / "long.jsonl"
    file.write_text(json.dumps(line | {"writer": "somebody with a long name", "data": data}))
    backcast("import", "events", str(file))
    [_, row] = backcast("show", "versions", "t").out.splitlines()
    assert row.split("  ")[0] == name
    assert "somebody with a long name" in row


def test_every_projection_has_its_command() -> None:
    short = {name.removeprefix("dependency_").removesuffix("_cache") for name in BY_NAME}
    # A prompt is shown by `context`, a map by `map show`, calls and answers that are used again by
    # `stats`, questions by `show answer`. Other views are of several projections, or of some that
    # are folded only for them.
    elsewhere = {"prompts", "context_map", "calls", "completions", "questions"}
    missing = short - elsewhere - set(show_command.commands)
    assert not missing, f"SHOWN of engine/interfaces/commands/show.py lacks {sorted(missing)}"
    assert elsewhere.isdisjoint(show_command.commands)


def test_tasks_are_listed(imported: Callable[..., Ran]) -> None:
    assert imported("tasks").out.split()[:3] == ["14", "task-abc123", "complete:"]
    [row] = imported("tasks", "--json").objects
    assert (row["task_id"], row["events"], row["status"]) == ("task-abc123", 14, "complete")


def test_an_exported_log_gives_the_same_events_and_blobs_elsewhere(
    imported: Callable[..., Ran], tmp_path: Path
) -> None:
    file, other = str(tmp_path / "out.jsonl"), f"sqlite:///{tmp_path}/other.db"
    assert imported("export", "task-abc123", file).code == 0
    assert imported("import", "events", file, "--store", other).code == 0
    assert imported("export", "task-abc123", "-", "--store", other).out == Path(file).read_text(
        encoding="utf-8"
    )
    assert imported("fsck", "--store", other).code == 0
    again = imported("import", "events", file)
    assert again.out == "added 0 events, 14 known already, 0 skipped\n"


def test_a_blob_is_printed_as_it_is(imported: Callable[..., Ran]) -> None:
    ref = imported("log", "--type", "MODULE_ITERATION", "--json").objects[0]["data"]["source"]
    assert imported("cat", ref).out.startswith('"""Validation of what people type."""\n')


def test_a_sound_store_is_clean(imported: Callable[..., Ran]) -> None:
    ran = imported("fsck")
    assert (ran.out, ran.err, ran.code) == ("", "clean\n", 0)


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["show", "progress", "nobody"], "no task 'nobody' in this store", 2),
        (["log", "nobody"], "no task 'nobody' in this store", 2),
        (["log", "@2026-13-01"], "needed a time such as 2026-11-20T10:31", 2),
        (["log", "@commit:4fd36e1"], "needed TASK@commit:SHA", 2),
        (["log", "@1,recorded:2026-01-01"], "needed at most one time, and one event", 2),
        (["log", "--follow", "@1"], "it takes no moment", 2),
        (["log", "--store", "mysql://x"], "needed FILE.db, sqlite:///FILE or postgresql://", 2),
        (["log", "--store", "sqlite:///nowhere/x.db"], "no such store", 2),
        (["import", "events", "nowhere.jsonl"], "found nothing", 2),
        (["import", "git", "nowhere"], "found no such folder", 2),
        (["cat", "md5:1"], "needed blob:<64 hexadecimal digits>", 2),
        (["cat", "blob:" + "0" * 64], "is not in this store", 2),
        (["nonsense"], "no command 'nonsense'", 2),
        (["veryfy"], "near it: verify", 2),
    ],
)
def test_bad_input_is_one_clear_line_and_an_exit_code(
    imported: Callable[..., Ran], arguments: list[str], message: str, code: int
) -> None:
    ran = imported(*arguments)
    assert (ran.out, ran.code) == ("", code)
    assert message in ran.err
    if ran.err.startswith("backcast:"):
        assert ran.err.count("\n") == 1


def test_control_characters_in_a_log_do_not_reach_the_terminal(
    backcast: Callable[..., Ran], tmp_path: Path
) -> None:
    line = {"type": "TASK_STARTED", "task_id": "t", "timestamp": "2026-11-20T10:00:00Z"}
    file = tmp_path / "odd.jsonl"
    file.write_text(json.dumps(line | {"data": {"goal": "\x1b[2Jgone\nforged line"}}))
    backcast("import", "events", str(file))
    for ran in (backcast("log"), backcast("show", "progress", "t")):
        assert "\x1b" not in ran.out
        assert "\\x1b[2Jgone" in ran.out
        assert "\nforged line" not in ran.out


def test_help_comes_without_the_slow_imports_and_shows_examples() -> None:
    script = (
        "import sys\nfrom backcast.engine.interfaces.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "slow = {'pydantic', 'eventsourcing', 'rich', 'torch', 'llama_cpp', 'sqlite3'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE).stdout
    assert "backcast import git ." in told
    assert told.endswith("[]\n")


def test_a_log_needs_none_of_the_heavy_packages(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom backcast.engine.interfaces.cli import main\n"
        f"try: main(['import', 'events', {str(LOG)!r}])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'llama_cpp', 'faiss', 'sentence_transformers', 'psycopg', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, check=True, cwd=HERE,
        env={**os.environ, "BACKCAST_STORE": f"sqlite:///{tmp_path}/s.db"},
    ).stdout  # fmt: skip
    assert told.endswith("[]\n")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("--nope",), "No such option '--nope'"),
        (("regress", "--nope"), "('backcast regress --help')"),
        (("import", "nothing", "x"), "No such command 'nothing'. ('backcast import --help')"),
        (("context",), "Missing argument"),
        (("regress", str(LOG), "--policy", "no.toml"), "no.toml: needed a policy file, found no"),
    ],
)
def test_what_cannot_be_begun_is_told_in_one_line(
    backcast: Callable[..., Ran], command: tuple[str, ...], words: str
) -> None:
    ran = backcast(*command)
    assert (ran.code, ran.out) == (2, "")
    assert (words in ran.err, ran.err.count("\n")) == (True, 1)


def test_a_command_of_several_without_one_shows_its_help(backcast: Callable[..., Ran]) -> None:
    ran = backcast("import")
    assert ran.code == 2
    assert "Commands:\n  atif " in ran.err


def test_ctrl_c_in_the_midst_of_the_imports_ends_in_a_line() -> None:
    script = (
        "import sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'click': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from backcast.engine.interfaces.start import main\n"
        "main()"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=HERE)
    assert (ran.returncode, ran.stderr) == (130, "backcast: interrupted by Ctrl-C\n")


@pytest.mark.parametrize(
    ("command", "module", "kept"),
    [
        (
            "regress X --policy coverage",
            "backcast.engine.replay.regress",
            "; nothing of it is kept: with",
        ),
        ("view X --html x.html", "backcast.engine.interfaces.view.file", "; nothing was written\n"),
        ("search X word", "backcast.engine.interfaces.summaries", "; what was stored stays\n"),
        ("stats X", "backcast.engine.interfaces.run_stats", "\n"),
    ],
)
def test_ctrl_c_says_what_is_kept(command: str, module: str, kept: str, tmp_path: Path) -> None:
    arguments = command.replace("X", str(HERE / "fixtures/logs/shop.jsonl")).split()
    script = (
        "import sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == '{module}': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from backcast.engine.interfaces.cli import main\n"
        f"main({arguments!r})"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path
    )
    assert ran.returncode == 130
    assert f"backcast: interrupted by Ctrl-C{kept}" in ran.stderr


def test_a_reader_that_stops_early_is_left_without_a_complaint(
    imported: Callable[..., Ran],
) -> None:
    program = "from backcast.engine.interfaces.cli import main; main()"
    command = f"{sys.executable} -c '{program}' log | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=HERE, check=True)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_follow_prints_what_another_process_appends(
    imported: Callable[..., Ran], tmp_path: Path
) -> None:
    script = "from backcast.engine.interfaces.cli import main; main(['log', '--follow', '--json'])"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=HERE
    ) as following:
        assert following.stdout is not None
        seen = [json.loads(following.stdout.readline())["position"] for _ in range(14)]
        late = tmp_path / "late.jsonl"
        late.write_text(LOG.read_text().replace("task-abc123", "task-late"))
        imported("import", "events", str(late))
        seen += [json.loads(following.stdout.readline())["position"] for _ in range(14)]
        following.terminate()
    assert seen == list(range(1, 29))


def test_a_bad_line_fails_an_import_of_our_own_lines_but_not_of_a_foreign_log(
    backcast: Callable[..., Ran], tmp_path: Path
) -> None:
    ours = tmp_path / "ours.jsonl"
    ours.write_text(LOG.read_text() + "{cut off")
    session = tmp_path / "session.jsonl"
    session.write_text((HERE / "fixtures/foreign/claude-code.jsonl").read_text() + "{cut off")
    own, foreign = (
        backcast("import", "events", str(ours)),
        backcast("import", "claude-code", str(session)),
    )
    assert (own.code, foreign.code) == (1, 0)
    for ran in (own, foreign):
        assert "backcast: skipped line" in ran.err
        assert "not JSON" in ran.err


def test_a_log_that_is_cut_is_told_by_log_and_is_no_pass_of_regress(
    backcast: Callable[..., Ran], tmp_path: Path
) -> None:
    whole = (HERE / "fixtures/logs/validators.jsonl").read_text()
    cut = tmp_path / "cut.jsonl"
    cut.write_text(whole[: len(whole) // 2])
    shown = backcast("log", str(cut))
    tried = backcast("regress", str(cut), "--policy", "no-cache")
    assert (shown.code, tried.code) == (0, 1)
    assert all("skipped" in ran.err and "not JSON" in ran.err for ran in (shown, tried))
    assert "no regression under no-cache" in tried.out
    assert "1 of 1 logs is not whole: their missing events were not tried" in tried.err


@pytest.mark.parametrize(
    "command",
    [
        ("log",),
        ("log", "--json"),
        ("show", "progress", "task-abc123"),
        ("export", "task-abc123", "-"),
        ("tasks",),
    ],
)
def test_a_command_ends_quietly_where_nobody_reads_on(
    imported: Callable[..., Ran], command: tuple[str, ...]
) -> None:
    ran = subprocess.Popen(
        [sys.executable, "-c", "from backcast.engine.interfaces.cli import main; main()", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=HERE,
    )
    assert ran.stdout is not None
    assert ran.stderr is not None
    ran.stdout.close()
    assert ran.stderr.read() == b""
    ran.stderr.close()
    assert ran.wait() == 141


def test_an_import_that_another_writer_comes_before_says_what_to_do(
    backcast: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def meanwhile(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
        def another(done: int) -> None:
            with EventStore.open(os.environ["BACKCAST_STORE"]) as store:
                version = store.version("task-abc123")
                store.append("task-abc123", [ToolCalled(tool="other")], after=version)

        yield another

    monkeypatch.setattr(terminal, "progress_bar", meanwhile)
    ran = backcast("import", "events", str(LOG))
    assert ran.err == (
        "backcast: task 'task-abc123': another process wrote to it at the same time, so this"
        " command stopped; run it again when the other has ended (events that are written"
        " already are not written twice)\n"
    )
    assert ran.code == 1


def test_a_path_with_a_hash_in_it_can_be_named(
    backcast: Callable[..., Ran], tmp_path: Path
) -> None:
    with EventStore.open(os.environ["BACKCAST_STORE"]) as store:
        blob = Blob(b"def f(): pass\n\ndef g(): pass\n")
        fact = ModuleIteration(module_name="C#/100%23.py", iteration=1, source=blob.ref)
        store.append("t", [fact], after=0, blobs=[blob])
    [told] = backcast(
        "show", "summaries", "t", "--node", "function:C#/100%23.py::g", "--json"
    ).objects
    assert told["beside"]["Full code"] == "storage://t/C%23/100%2523.py#L3"
    ran = subprocess.run(
        [sys.executable, "-c", "from backcast.engine.interfaces.cli import main; main()", "cat",
         told["beside"]["Full code"]],
        capture_output=True, cwd=HERE, check=True,
    )  # fmt: skip
    assert ran.stdout == b"def g(): pass\n"


@given(st.text("%#25/ab3 ", min_size=1), st.sampled_from([None, "f", "C.f#"]))
def test_every_reference_can_be_written_and_read(path: str, name: str | None) -> None:
    reference = Reference("t", path, name=name)
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "nope.toml"), "nope.toml: needed a specification: No such file or directory"),
        (("run", "FOLDER"), "needed a specification, a TOML file, found a folder"),
        (("view", "FOLDER"), "needed a task, or a log whose name ends in .jsonl, found a folder"),
        (("context", str(LOG), "--query", "x", "--policy", "POLICY"), "; did you mean errors?"),
        (("help", "modnts"), "no topic 'modnts'; near it: moments, "),
    ],
)
def test_a_slip_is_told_by_what_is_wrong_first(
    backcast: Callable[..., Ran], tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "slip.toml").write_text("erors = 0\n")
    named = {"FOLDER": str(tmp_path), "POLICY": str(tmp_path / "slip.toml")}
    out, err, code = backcast(*(named.get(argument, argument) for argument in arguments))
    assert (out, code) == ("", 2)
    assert words in err
    assert err.startswith("backcast: ")


def test_a_reason_why_nothing_can_be_told_is_printed_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer, reasons = Answer("cannot be told", f"it was counted by {'another ' * 10}"), set[str]()
    verdict = Verdict("till", 8, "plan", Answer("same"), answer)
    for each in (verdict, verdict._replace(version=13)):
        print_verdict(each, None, reasons, as_json=False)
    first, second = capsys.readouterr().out.splitlines()
    assert "derived: cannot be told: it was counted by another" in first
    assert second.endswith("plan  rebuilt: same; derived: cannot be told: as above")
