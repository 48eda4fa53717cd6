"""What is printed on a terminal, whoever wrote the log: a terminal obeys nothing that is in it."""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from backcast.domain.context_events import ContextBuilt
from backcast.engine.context.search import embedders
from backcast.engine.interfaces import terminal
from backcast.engine.interfaces.cli import cli, main
from backcast.engine.interfaces.terminal import (
    escaped,
    escaped_lines,
    in_a_line,
    progress_bar,
    told_if_long,
)
from backcast.engine.log import EventStore
from tests.test_search import Drawn

RED, TITLE = "\x1b[31m", "\x1b]0;pwn\x07"
BAD = f"{RED}{TITLE}\r\x7f\x9b2J\u202e\u2066"
"What a terminal would obey, and what turns round the text behind it."
PATH = f"a{RED}b.py"
NODE = f"module:{PATH}"
FORGED = f"x\n      9  2026-11-20 10:00:00  good@1{RED}"
SOURCE = f'def f():\n\t"""It {RED}\x9b\u202e does."""\n'
SPEAKS = re.compile("(?!\r\n)[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
MADE = "WEIRD" + RED

POLICY = 'name = "\\u009b31m\\u202e\\u007f"\n'
ADDED = {
    "operation": "ADD", "section": "ERROR PATTERNS", "text": "It fails.",
    "nodes": [NODE], "built_from": {PATH: {f"sig:{RED}": "0"}},
}  # fmt: skip

Backcast = Callable[..., tuple[str, str]]


def log_lines() -> Iterator[str]:
    """A log in which all that is free to choose is chosen badly."""
    e2 = [
        ("TASK_STARTED", {"goal": f"g {BAD}"}),
        ("PLANNING_COMPLETE", {"modules": [PATH]}),
        ("MODULE_ITERATION", {"module_name": PATH, "iteration": 1, "score": 0.4, "source": SOURCE}),
        (MADE, {"x": 1}),
        ("MAP_EDITED", {"context": f"c{RED}", "run": RED, "distiller": BAD, "edits": [ADDED]}),
        ("TASK_FAILED", {"reason": f"r {BAD}"}),
    ]
    for task, type, data in [("e2", *one) for one in e2] + [(FORGED, "TASK_STARTED", {"goal": ""})]:
        when = "2026-11-20T10:00:00Z"
        yield json.dumps({"type": type, "task_id": task, "timestamp": when, "data": data}) + "\n"


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BACKCAST_STORE", f"sqlite:///{tmp_path}/store.db")
    # Tables are plain on such a terminal: whatever is no text comes from the log.
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(embedders, "sentence_embedder", lambda name: Drawn())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.jsonl").write_text("".join(log_lines()))
    (tmp_path / f"{RED}.toml").write_text(POLICY)
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def piped(url: str, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> Backcast:
    """A command whose output a program reads, over the hostile log."""

    def ran(*arguments: str) -> tuple[str, str]:
        with suppress(SystemExit):
            main(arguments)
        out, err = capsysbinary.readouterr()
        return out.decode(), err.decode()

    ran("import", "events", str(tmp_path / "log.jsonl"))
    ran("context", "e2", "--for", NODE, "--record", "--json")
    return ran


@pytest.fixture
def shown(piped: Backcast, monkeypatch: pytest.MonkeyPatch) -> Backcast:
    """A command on a terminal, over the hostile log."""

    def ran(*arguments: str) -> tuple[str, str]:
        for stream in (sys.stdout, sys.stderr):
            monkeypatch.setattr(stream, "isatty", lambda: True)
        monkeypatch.setenv("NO_COLOR", "1")  # the colours of ours are no text of a log
        return piped(*arguments)

    return ran


TASK = ("e2",)
COMMANDS = {
    "log": ["log"],
    "tasks": ["tasks"],
    "search": ["search", *TASK, "does"],
    "stale": ["stale", *TASK, "--since", "2026-11-20T10:00:00"],
    "audit": ["audit", *TASK, NODE],
    "context": ["context", *TASK, "--for", NODE],
    "context --query": ["context", *TASK, "--query", BAD + "w"],
    "context --text": ["context", *TASK, "--for", NODE, "--text"],
    "context --explain": ["context", *TASK, "--for", NODE, "--explain"],
    "context of an event": ["context", "e2@8"],
    "context of nothing": ["context", *TASK, "--for", f"module:{BAD}"],
    "cat": ["cat", f"storage://e2/{PATH}"],
    "blame": ["blame", *TASK, PATH],
    "diff": ["diff", *TASK, "--policy", "recorded", "--profile", "qwen3-8b-32k"],
    "diff of moments": ["diff", "e2@2", "e2@7", "--for", NODE],
    "verify": ["verify", *TASK],
    "regress": ["regress", *TASK, "--policy", "recorded"],
    "map update": ["map", "update", *TASK],
    "map show": ["map", "show", f"c{RED}", "--explain"],
    "map export": ["map", "export", f"c{RED}"],
    "no map": ["map", "show", BAD],
    "fork": ["fork", "e2@3", "--as", f"b{RED}"],
    "fsck": ["fsck"],
    "a policy": ["policy", "--policy", f"{RED}.toml"],
    "regress by a policy": ["regress", *TASK, "--policy", "recorded", "--policy", f"{RED}.toml"],
    "policy": ["policy", "--policy", f"{RED}no\nfile"],
    "import": ["import", "events", f"{RED}no\nfile"],
    "no store": ["tasks", "--store", f"sqlite:///a{RED}.db"],
    "no command": [f"a{RED}"],
    "wrong option": ["diff", *TASK, "--policy", BAD],
    "no task": ["log", BAD],
    **{
        f"show {what}": ["show", what, *TASK]
        for what in (
            "progress", "versions", "online", "changes", "graph", "summaries",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_a_terminal_obeys_nothing_that_is_in_a_log(shown: Backcast, name: str) -> None:
    out, err = shown(*COMMANDS[name])
    assert out or err
    assert not SPEAKS.findall(out + err)


def test_what_is_imported_is_told_and_does_not_speak(shown: Backcast, tmp_path: Path) -> None:
    (tmp_path / f"new{RED}.jsonl").write_text("".join(log_lines()) + BAD + "\n")
    out, err = shown(
        "import", "events", str(tmp_path / f"new{RED}.jsonl"), "--store", f"sqlite:///{tmp_path}/2"
    )
    assert "(6 to task e2, 1 to task x\\n " in out
    assert "skipped" in err
    assert not SPEAKS.findall(out + err)


@pytest.mark.parametrize("command", ["log", "tasks"])
def test_a_name_forges_no_line(piped: Backcast, command: str) -> None:
    out, _ = piped(command)
    assert len(out.splitlines()) == {"log": 9, "tasks": 2}[command]
    assert "x\\n " in out


def test_summaries_do_not_speak_through_a_pipe_either(piped: Backcast) -> None:
    out, _ = piped("show", "summaries", *TASK)
    assert "module:a\\x1b[31mb.py" in out
    assert not SPEAKS.findall(out)


def test_what_a_program_reads_is_exact(piped: Backcast, url: str) -> None:
    assert piped("cat", f"storage://e2/{PATH}")[0] == SOURCE
    request = ("context", *TASK, "--for", NODE)
    told = json.loads(piped(*request, "--json")[0])
    assert SOURCE.rstrip() in told["text"]
    assert piped(*request, "--text")[0] == told["text"] + "\n"
    blocks = "".join(f"[{one['role']}]\n{one['content']}\n\n" for one in told["messages"])
    assert piped(*request)[0] == blocks
    with EventStore.open(url) as store:
        [event] = [one for one in store.read("e2") if isinstance(one.fact, ContextBuilt)]
    assert piped("context", f"e2@{event.version}")[0] == blocks


def test_a_policy_that_is_printed_is_read_again_as_it_was(piped: Backcast, tmp_path: Path) -> None:
    printed, _ = piped("policy", "--policy", f"{RED}.toml")
    (tmp_path / "again.toml").write_text(printed)
    assert 'name = "\\u009b31m\\u202e\\u007f"' in printed
    assert piped("policy", "--policy", "again.toml")[0] == printed


def test_a_program_on_a_terminal_reads_exact_json(shown: Backcast) -> None:
    goal = next(json.loads(line)["data"]["goal"] for line in shown("log", "--json")[0].splitlines())
    assert goal == f"g {BAD}"


def test_a_terminal_shows_what_would_have_spoken(shown: Backcast) -> None:
    seen = 'def f():\n\t"""It \\x1b[31m\\x9b\\u202e does."""\n'
    assert shown("cat", f"storage://e2/{PATH}")[0] == seen
    assert seen in shown("context", *TASK, "--for", NODE, "--text")[0]
    assert "stale: a\\x1b[31mb.py" in " ".join(
        shown("map", "show", f"c{RED}", "--explain")[0].split()
    )
    assert f"{MADE[:-5]}\\x1b[31m" in shown("log")[0]
    assert shown("policy", "--policy", f"{RED}no\nfile")[1].endswith("'\\x1b[31mno\\nfile'\n")


def test_bytes_that_are_no_text_are_shown_on_a_terminal(shown: Backcast, url: str) -> None:
    with EventStore.open(url) as store:
        ref = store.put(b"\xff\x1b[31m\r\n\x00")
    assert shown("cat", ref)[0] == "\\xff\\x1b[31m\r\n\\x00"
    assert json.loads(shown("cat", ref, "--json")[0]) == {"blob": ref, "base64": "/xtbMzFtDQoA"}


def test_a_progress_bar_names_what_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bar(f"importing [red]{{0}}{BAD}", 1) as advance:
        advance(1)
    told = capsys.readouterr().err
    assert "importing [red]{0}\\x1b[31m\\x1b]0;pwn\\x07" in told
    assert not {TITLE, "\x9b", "\u202e"} & set(re.findall(f"{re.escape(TITLE)}|\x9b|\u202e", told))


def test_where_no_terminal_is_progress_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar("steps", 2_000) as advance:
        advance(1)
    assert capsys.readouterr().err == "", "the first line comes after a while"
    monkeypatch.setattr(terminal, "FIRST", 0.02)
    monkeypatch.setattr(terminal, "EVERY", 0.02)
    silent = progress_bar("trying", 2_000)  # no step comes for long: that is told, too
    with silent as advance, progress_bar(f"reading {RED}", 2_000) as other:
        other(1_200)
        told = _err_until(capsys, "reading", "trying")
        assert "backcast: reading \\x1b[31m: 1,200 of 2,000 after 0 s, about 1 s left\n" in told
        assert "backcast: trying: 0 of 2,000 after 0 s\n" in told
        advance(2_000)
        _err_until(capsys, "trying: 2,000 of 2,000 after 0 s\n")
    with progress_bar("steps", None):
        _err_until(capsys, "steps: 0 after 0 s\n")


def test_work_without_steps_says_why_it_takes_long_once_it_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with told_if_long("the prompt", "it is long"):
        pass
    monkeypatch.setattr(terminal, "SOON", 0.01)
    monkeypatch.setattr(terminal, "EVERY", 0.02)
    with told_if_long("the prompt", "it is long"):
        told = _err_until(capsys, "so far")
    first, second, *_ = told.splitlines()
    assert first == "backcast: the prompt takes a while: it is long"
    assert second == "backcast: the prompt: 0 s so far"


def _err_until(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What is printed on stderr until all words were."""
    told, end = "", time.monotonic() + 20
    while not all(word in told for word in words):
        assert time.monotonic() < end, told
        time.sleep(0.005)
        told += capsys.readouterr().err
    return told


def test_ends_of_lines_are_kept_where_they_are_meant() -> None:
    assert escaped("a\tb\r\nc\u2028") == "a\\tb\\r\\nc\\u2028"
    assert escaped_lines("a\tb\r\nc\rd\n\ud800") == "a\tb\r\nc\\rd\n\\ud800"
    assert in_a_line(f"a\n  b{RED}") == "a b\\x1b[31m"
    assert escaped_lines("zażółć 👩‍💻 \xa0") == "zażółć 👩‍💻 \xa0"


ROOT = Path(__file__).parent.parent


def test_every_command_prints_through_what_escapes() -> None:
    """So that no command can forget it: others than these would print as click or rich do."""
    for path in (ROOT / "engine" / "interfaces").rglob("*.py"):
        if path.name not in ("terminal.py", "safe_console.py"):
            raw = r"click\.(?:echo|secho)\(|\bConsole\((?!stderr=True)"
            assert not re.search(raw, path.read_text()), path


HOSTILE = "x\x1b]0;TITLE\x07\x1b[2J\u202ey\x85\u200bz"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069]")
SHOWN = ("progress", "versions", "graph", "spending", "summaries", "libraries", "errors")


def _hostile(value: object) -> object:
    """A value whose texts try to be more than texts, but for digests and times."""
    if isinstance(value, str):
        return value if value.startswith("blob:") or value[:4].isdigit() else value + HOSTILE
    if isinstance(value, list):
        return [_hostile(item) for item in value]
    if isinstance(value, dict):
        return {name: _hostile(item) for name, item in value.items()}
    return value


def test_no_command_prints_a_control_of_any_kind_of_event(tmp_path: Path) -> None:
    log, good = tmp_path / "log.jsonl", list[str]()
    kinds = [json.loads(line) for line in (ROOT / "fixtures/kinds.jsonl").read_text().splitlines()]
    for kind in kinds:
        event = {"task_id": "evil", "timestamp": "2026-11-20T12:00:00Z", **kind}
        line = json.dumps(event | {"data": _hostile(event["data"])})
        log.write_text(line + "\n")
        if CliRunner().invoke(cli, ["log", str(log)]).exit_code == 0:
            good.append(line)  # others have a text that must be of a form
    assert len(good) > len(kinds) / 2
    log.write_text("\n".join(good) + "\n")
    printed = 0
    commands = [["log"], ["log", "--json"], ["stats"], *(["show", name] for name in SHOWN)]
    for command in commands:
        result = CliRunner().invoke(cli, [*command, str(log)])
        printed += len(result.output)
        assert not OBEYED.search(result.output), (command, OBEYED.search(result.output))
    assert printed > 5_000
