"""`backcast run --concurrency` as a person starts it: what is printed, kept, and ended."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from backcast.domain.call_events import CallSettled
from backcast.domain.errors import UnavailableError
from backcast.domain.events import ModelReplied, StepStarted
from backcast.engine.interfaces.call_tree import calls_of, tree
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.models.server import ServerModel
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.recorded_run import RecordedRun
from tests.recordings import FIXTURES, Log, log_of
from tests.servers import FINE, Handler, hostile

Ran = tuple[int, str, str]
Backcast = Callable[..., Ran]
NAMES = "abc"
SPEC = """
task = "parts"
goal = "Write three parts"
[limits]
seconds = 30
"""
MODULE = '''
[[modules]]
path = "{name}_part.py"
purpose = "part {name}"
tests = ["test_{name}.py"]
[[tests]]
path = "test_{name}.py"
source = """
from {name}_part import {name}


def test_it() -> None:
    assert {name}() == 1
"""
'''


@pytest.fixture
def backcast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Backcast:
    """Runs a command in a folder with a specification; gives its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    Path("parts.toml").write_text(SPEC + "".join(MODULE.format(name=name) for name in NAMES))

    def run(*arguments: object) -> Ran:
        with pytest.raises(SystemExit) as end:
            main([str(one) for one in arguments])
        return (int(end.value.code or 0), *capsys.readouterr())

    return run


class Parts:
    """What answers a prompt with the function of its module, once so many ask at once."""

    def __init__(self, together: int = 1) -> None:
        self.gate = threading.Barrier(together, timeout=20)
        self.asked: list[str] = []
        self.held: Callable[[Handler, str], bool] = lambda handler, name: False
        "Handles a request in another way, where it does."

    def __call__(self, handler: Handler) -> None:
        prompt = handler.body["messages"][-1]["content"]
        [name] = set(re.findall(r"(?:Write|Mend) (\w)_part\.py", prompt))
        self.asked.append(name)
        if self.held(handler, name):
            return
        self.gate.wait()
        message = {"role": "assistant", "content": f"```python\ndef {name}() -> int:\n"
                   "    return 1\n```"}  # fmt: skip
        handler.say(FINE | {"choices": [{"message": message, "finish_reason": "stop"}]})


@contextmanager
def server(parts: Parts) -> Iterator[str]:
    with hostile(parts) as found:
        yield found.url


def model(url: str) -> list[str]:
    return ["--model", url, "--profile", "mistral-7b-8k"]


@contextmanager
def started(url: str, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    """The command in a process of its own, which is ended with the block."""
    command = [sys.executable, "-c", "from backcast.engine.interfaces.cli import main; main()",
               "run", "parts.toml", *model(url), "--concurrency", "4"]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **settings},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def events(*types: str) -> list[object]:
    with EventStore.open(create=False) as store:
        return [event.fact for event in store.read("parts", types=types)]


def written(kind: str) -> list[object]:
    """What another process has written by now: its store may be a file without tables still."""
    try:
        return events(kind) if Path("backcast.db").exists() else []
    except UnavailableError:
        return []


def test_modules_with_no_path_between_them_are_made_side_by_side(backcast: Backcast) -> None:
    parts = Parts(together=3)  # none is answered before all have asked
    with server(parts) as url:
        code, out, err = backcast("run", "parts.toml", *model(url), "--concurrency", 4)
    assert (code, sorted(parts.asked)) == (0, [*NAMES])
    assert out.splitlines()[-1] == "complete after 3 answers; the code is in out/parts"
    told = [line.split()[:5] for line in err.splitlines() if "of 1 passed" in line]
    assert told == [[f"{name}_part.py", "#1", "1", "of", "1"] for name in NAMES]
    code, out, _ = backcast("log", "parts", "--tree")
    lines = out.splitlines()
    assert re.fullmatch(r"parts  3 calls, 33 tokens, [\d.]+ s", lines[0])
    assert re.match(r"└── 3 calls side by side, prompts as of event \d+  3 calls, 33 tok", lines[1])
    for name, line in zip(NAMES, lines[2:], strict=True):
        assert re.match(rf"    [├└]── code {name}_part.py #1 +9 \+ 2 tokens, [\d.]+ s  answered",
                        line)  # fmt: skip
    code, out, _ = backcast("log", "parts", "--tree", "--json")
    assert [one["outcome"] for one in json.loads(out)["calls"]] == ["answered"] * 3
    code, out, _ = backcast("show", "spending", "parts")
    assert (code, "settled calls: 3 answered" in out) == (0, True)


def test_a_budget_holds_for_the_task_and_a_larger_one_goes_on(backcast: Backcast) -> None:
    with server(Parts()) as url:
        options = [*model(url), "--concurrency", 4, "--calls", 2, "--price", "1000/2000"]
        code, out, err = backcast("run", "parts.toml", *options)
        assert (code, out.splitlines()[-1][:25]) == (1, "generating after 2 answer")
        assert (
            "stopped: the budget does not suffice: needed 1 call for the next call, found 0" in err
        )
        code, _, err = backcast("resume", "parts")
        assert (code, "found 0 left of 2" in err) == (1, True)
        code, out, _ = backcast("log", "parts", "--tree")
        assert "0.026 money" in out.splitlines()[0]
        code, out, _ = backcast("resume", "parts", "--calls", 3)
        assert (code, out.splitlines()[-1][:24]) == (0, "complete after 3 answers")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--calls", 0), "--calls: needed a budget above 0, found 0: without the option"),
        (("--tokens", 0), "--tokens: needed a budget above 0, found 0"),
        (("--seconds", -1), "--seconds: needed a budget above 0, found -1"),
        (("--money", "nan"), "--money: needed a budget above 0, found nan"),
        (("--money", 3), "--money: needed --price too, which tells what tokens cost, found none"),
        (("--price", "cheap"), "--price: needed two numbers such as 0.2/0.6, found 'cheap'"),
        (("--concurrency", 0), "0 is not in the range 1<=x<=256"),
    ],
)
def test_a_budget_with_which_nothing_can_be_asked_is_told_in_a_line(
    backcast: Backcast, options: tuple[object, ...], complaint: str
) -> None:
    with server(Parts()) as url:
        code, out, err = backcast("run", "parts.toml", *model(url), *options)
    assert (code, out) == (2, "")
    assert complaint in err.splitlines()[-1]
    assert not Path("backcast.db").exists() or events() == []


def test_a_server_with_one_slot_is_asked_one_thing_after_the_other(
    backcast: Backcast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ServerModel, "_look", lambda self, seconds: setattr(self, "slots", 1))
    with server(Parts()) as url:
        code, _, _ = backcast("run", "parts.toml", *model(url), "--concurrency", 4)
    assert code == 0
    assert f"--concurrency 4: {url} answers 1 call at once, so no more are made" in caplog.text
    assert not any("wave" in fact.data for fact in events() if isinstance(fact, StepStarted))


def test_an_alternative_at_another_temperature_wins_where_the_first_is_slow(
    backcast: Backcast,
) -> None:
    parts, temperatures, over = Parts(), list[float](), threading.Event()

    def holds(handler: Handler, name: str) -> bool:
        temperatures.append(handler.body["temperature"])
        return handler.body["temperature"] == 0 and over.wait(60)

    parts.held = holds
    with server(parts) as url:
        code, _, err = backcast("run", "parts.toml", *model(url), "--alternative", "0.7",
                                "--concurrency", 6)  # fmt: skip
        over.set()
        wrong = backcast("resume", "parts", "--alternative", "9")
    assert code == 0, err
    assert sorted(temperatures) == [0, 0, 0, 0.7, 0.7, 0.7]
    code, out, _ = backcast("log", "parts", "--tree")
    assert len(re.findall(r"alternative 1 .* won$", out, re.MULTILINE)) == 3
    assert len(re.findall(r"#1 .* cancelled: the call was cancelled$", out, re.MULTILINE)) == 3
    assert wrong[0] == 2
    assert (
        "needed a model, policy:NAME, or of a server a temperature above 0 and up to 2" in wrong[2]
    )


def test_a_server_that_is_restarted_in_the_middle_loses_no_call(backcast: Backcast) -> None:
    parts, dropped = Parts(), set[str]()

    def drops(handler: Handler, name: str) -> bool:
        if name in dropped:
            return False
        dropped.add(name)
        handler.close_connection = True
        handler.connection.close()
        return True

    parts.held = drops
    with server(parts) as url:
        code, out, _ = backcast("run", "parts.toml", *model(url), "--concurrency", 4)
    assert (code, sorted(parts.asked)) == (0, sorted(2 * NAMES))
    assert out.splitlines()[-1].startswith("complete after 3 answers")


def test_ctrl_c_ends_the_command_at_once_and_keeps_what_was_answered(backcast: Backcast) -> None:
    parts, waiting, over = Parts(), threading.Semaphore(0), threading.Event()

    def holds(handler: Handler, name: str) -> bool:
        if name == "a":
            return False
        waiting.release()
        over.wait(60)
        return True

    parts.held = holds
    with server(parts) as url, ExitStack() as stack:
        process = stack.enter_context(started(url))
        for _ in range(2):
            assert waiting.acquire(timeout=60)
        while not written("MODEL_REPLIED"):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        over.set()
        assert (process.returncode, "generating after 1 answer" in out) == (130, True), err
        assert err.splitlines()[-1] == "backcast: 'backcast resume parts' goes on from here"
        settled = [one.outcome for one in events("CALL_SETTLED") if isinstance(one, CallSettled)]
        assert sorted(settled, key=str) == ["answered", "cancelled", "cancelled"]
        parts.held = lambda handler, name: False
        parts.asked.clear()
        assert backcast("resume", "parts", "--concurrency", 4)[0] == 0
        assert sorted(parts.asked) == ["b", "c"]
        assert len([one for one in events() if isinstance(one, ModelReplied)]) == 3


def test_the_tree_of_an_older_run_tells_its_calls_in_a_line_each() -> None:
    with EventStore.open("sqlite://") as store:
        from backcast.engine.memory.import_log import run

        run(store, "events", Path(__file__).parents[1] / "fixtures/logs/validators.jsonl")
        lines = list(tree("validators", calls_of(store.read("validators"))))
    assert lines[0].startswith("validators  5 calls, ")
    assert [line.split()[1:4] for line in lines[1:]] == [
        ["plan", *lines[1].split()[2:4]], ["code", "constants.py", "#1"],
        *(["code", "validators.py", f"#{number}"] for number in (1, 2, 3)),
    ]  # fmt: skip


def test_a_recorded_run_gives_the_same_code_in_waves_and_those_are_replayed_strictly(
    backcast: Backcast,
) -> None:
    run = ("run", FIXTURES / "specs/till.toml", "--concurrency", 4, "--model")
    code, out, _ = backcast(*run, f"answers:{log_of('till')}")
    assert (code, out.splitlines()[-1]) == (0, "complete after 34 answers; the code is in out/till")
    recorded = RecordedRun(log_of("till"))
    with EventStore.open(create=False) as store:
        log = Log(store, "till")
        assert log.code() == Log(recorded.store, "till").code()
        assert all(verdict.holds for verdict in verified(store, "till"))
        waves = {fact.wave for fact in log.facts("STEP_STARTED") if fact.wave}
        assert len(waves) > 8
        digests = [fact.digest for fact in log.facts("CONTEXT_BUILT")]
    assert backcast("export", "till", "till.jsonl")[0] == 0
    again = ("--strict", "--store", "sqlite:///again.db", "--out", "again")
    assert backcast(*run, "answers:till.jsonl", *again)[0] == 0
    with EventStore.open("sqlite:///again.db", create=False) as store:
        assert [fact.digest for fact in Log(store, "till").facts("CONTEXT_BUILT")] == digests


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs Linux's /proc")
def test_ctrl_c_while_checks_run_side_by_side_ends_them_too(
    backcast: Backcast, tmp_path: Path
) -> None:
    text = Path("parts.toml").read_text()
    Path("parts.toml").write_text(text.replace("\n\n\ndef test_it", "\nimport time\n\n"
                                               "time.sleep(50)\n\n\ndef test_it"))  # fmt: skip
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    with server(Parts()) as url, started(url, TMPDIR=str(boxes)) as process:
        while len(written("MODEL_REPLIED")) < 3:
            time.sleep(0.05)
        while not inside(boxes):  # their checks have begun
            time.sleep(0.05)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=40)
        assert time.monotonic() - began < 10
        assert process.returncode == 130, err
        assert events("MODULE_ITERATION") == []
        for _ in range(300):  # one that was starting ends once it looks for its parent
            if not inside(boxes):
                break
            time.sleep(0.05)
        assert inside(boxes) == []


def inside(folder: Path) -> list[str]:
    """The processes that run in a box of a folder, as their command says."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if f"{folder}/".encode() in path.read_bytes():
                found.append(path.parent.name)
    return found
