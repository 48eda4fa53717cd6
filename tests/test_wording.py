"""A failure says what the code did, where, and what to do, and names no place of this machine."""

import os
import sys
import sysconfig
from pathlib import Path

import pytest

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.events import CheckFailure
from backcast.engine.log import EventStore
from backcast.engine.models import Completion
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.sandbox.evidence import RunEvidence, printable
from backcast.engine.workflow.sandbox.hosts import without_places
from backcast.engine.workflow.sandbox.outcome import LONGEST_MESSAGE, Results
from backcast.engine.workflow.sandbox.run import Outcome, SandboxLimits, run_checks
from backcast.engine.workflow.sandbox.wording import worded
from backcast.engine.workflow.spec import RunLimits, Spec, SpecModule, Test
from tests.test_answers_read import Double, block

TESTED = "from m import ok\n\n\ndef test_ok():\n    assert ok()\n"
MAIN = 'put it under `if __name__ == "__main__":`'
LIMITS = SandboxLimits(seconds=20, memory=2**29, processes=16)


def ran(code: str, limits: SandboxLimits = LIMITS) -> Outcome:
    files = {"m.py": code.encode(), "test_m.py": TESTED.encode()}
    return run_checks(files, ["test_m.py"], limits)


RUNS = {
    "an exit at import": (
        "import sys\n\nsys.exit(0)\n",
        f"m.py ended the interpreter at import: sys.exit(0) at line 3; {MAIN}", "m.py:3",
    ),
    "an exit further in": (
        "def main():\n    raise SystemExit('usage')\n\n\nmain()\n",
        f"m.py ended the interpreter at import: raise SystemExit('usage') at line 2; {MAIN}",
        "m.py:2",
    ),
    "arguments read at import": (
        "import argparse\n\np = argparse.ArgumentParser()\np.add_argument('f')\nA = p.parse_args()",
        "m.py ended the interpreter at import: A = p.parse_args() at line 5 reads the arguments of"
        f" the program that runs the tests; {MAIN}, or give it a list of arguments", "m.py:5",
    ),
    "an exit in a test": (
        "def ok():\n    raise SystemExit\n",
        "SystemExit: m.py ended the interpreter in a test: raise SystemExit at line 2; return a"
        " value, or raise an exception that the test expects", "m.py:2",
    ),
    "the process ended": (
        "import os\n\nos._exit(0)\n",
        "m.py ended the interpreter before its tests did, with status 0: os._exit(0) at line 3;"
        " return, or raise an exception, so that tests can go on", "m.py:3",
    ),
    "a crash": (
        "import ctypes\n\n\ndef ok():\n    return ctypes.string_at(0)\n",
        "m.py crashed the interpreter at line 5 (return ctypes.string_at(0)): signal 11 SIGSEGV:"
        " code outside Python, such as ctypes, read memory that is not its own", "m.py:5",
    ),
    "input": (
        "NAME = input()\n",
        "EOFError: EOF when reading a line; in a test there is no input: take the value as an"
        ' argument, and read it only under `if __name__ == "__main__":`', "m.py:1",
    ),
    "an interrupt": (
        "raise KeyboardInterrupt\n",
        "KeyboardInterrupt was raised at line 1 of m.py, which ends all tests; raise another"
        " exception", "",
    ),
    "the end of pytest": (
        "import pytest\n\n\ndef ok():\n    pytest.exit('done', 0)\n",
        "m.py called pytest.exit('done', 0) at line 5, which ends all tests; return, or raise",
        "m.py:5",
    ),
    "a server at import": (
        "import socket\n\nS = socket.create_server(('127.0.0.1', 8080))\n",
        f"a server is started at import: {MAIN}", "m.py:3",
    ),
    "places of this machine": (
        "import os, sys, tempfile\n\nraise ValueError(f'{__file__} {os.getcwd()} {os.__file__}"
        " {sys.executable} {sys.path} {tempfile.mkdtemp()}')\n", "ValueError: ", "m.py:3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_what_code_did_is_told_with_its_place_and_what_to_do(name: str) -> None:
    code, words, place = RUNS[name]
    outcome = ran(code)
    assert (outcome.passed, bool(outcome.failures)) == (0, True)
    failure = outcome.failures[0]
    assert words in failure.message
    assert failure.at == place
    texts = [failure.message, outcome.output.decode()]
    places = [sys.prefix, sys.base_prefix, sysconfig.get_path("purelib"), str(Path.home()),
              os.path.realpath(sys.executable), "/tmp/backcast"]  # fmt: skip
    assert [(path, text) for text in texts for path in places if path in text] == []


@pytest.mark.parametrize(
    ("code", "place"),
    [("import time\n\ntime.sleep(99)\n", "m.py:3"), ("def ok():\n    while 1: pass\n", "m.py:2")],
)
def test_where_a_run_stood_when_its_time_was_out_is_told(code: str, place: str) -> None:
    [failure] = ran(code, SandboxLimits(seconds=3)).failures
    assert failure.at == place
    number = place.partition(":")[2]
    assert failure.message.startswith(
        "stopped before its tests ended: time limit: after 3 seconds it was still at line"
        f" {number} of m.py ("
    )


def said(message: str, *, name: str = "test_m.py", output: str = "", **files: str) -> CheckFailure:
    """What becomes of an error in a run with these modules."""
    bodies = {f"{path}.py": text.encode() for path, text in files.items()}
    failure = CheckFailure(name=name, message=message, at="m.py:1", kind="error")
    run = RunEvidence(
        {"m.py": b"import n\n", **bodies}, "/tmp/box", 0, output, 5.0, 2**29, 1_000,
        frozenset({"test_m.py"}),
    )  # fmt: skip
    [found] = worded(Results(0, 0, 1, (failure,)), run).failures
    return found


NO_MODULE = "ModuleNotFoundError: No module named 'n'"
SAID = {
    "a library": (
        NO_MODULE, {},
        f"{NO_MODULE}: it is not installed, and no file here bears that name (m.py); use Python's"
        " standard library or write what is needed into the module itself",
    ),
    "a module of a package": (NO_MODULE, {"shop/n": ""}, f"{NO_MODULE}: it is shop.n here"),
    "a name that is not there": (
        "ImportError: cannot import name 'x' from 'n' (n.py)", {"n": "y = 1\ndef z(): ...\n"},
        "ImportError: cannot import name 'x' from 'n' (n.py): n.py has no x at its top level, it"
        " has y, z",
    ),
    "an empty module": (
        "ImportError: cannot import name 'x' from 'n' (n.py)", {"n": ""},
        "ImportError: cannot import name 'x' from 'n' (n.py): n.py has no x at its top level, it"
        " has none at all",
    ),
    "a circle": (
        "ImportError: cannot import name 'x' from partially initialized module 'n' (most likely due"
        " to a circular import) (n.py)", {"n": "import m\n"},
        "two modules import each other: import inside the function that needs it, or move what both"
        " need into one of them",
    ),
    "a name of Python's own": (
        "ImportError: cannot import name 'x' from 'random' (/usr/lib/python3.11/random.py)",
        {"random": "x = 1\n"},
        "ImportError: cannot import name 'x' from 'random': that is Python's own random, imported"
        " in place of random.py; only another name helps",
    ),
    "an attribute of Python's own": (
        "AttributeError: module 'types' has no attribute 'x'", {"types": "x = 1\n"},
        "AttributeError: module 'types' has no attribute 'x': that is Python's own types, imported"
        " in place of types.py; only another name helps",
    ),
    "an attribute that is a slip": (
        "AttributeError: module 'types' has no attribute 'x'", {},
        "AttributeError: module 'types' has no attribute 'x'",
    ),
    "a relative import": (
        "ImportError: attempted relative import with no known parent package", {},
        "the module is in no package: import it by its name, without a dot",
    ),
    "memory": ("MemoryError", {}, "MemoryError: more than 512 MiB of memory were asked for"),
    "recursion": (
        "RecursionError: maximum recursion depth exceeded", {},
        "a function calls itself without end",
    ),
    "output": (
        "stopped before its tests ended: output", {}, "output: it printed more than 1,000 bytes",
    ),
    "a signal": (
        "ended before its tests did, with exit status 137", {},
        "the code crashed the interpreter: signal 9 SIGKILL: it killed itself, or needed too much",
    ),
    "another ending": (
        "ended before its tests did, with exit status 3", {},
        "the code ended the interpreter before its tests did, with status 3: the last line",
    ),
    "characters that steer a terminal": ("E: \x1b[31m\x9b\u202e", {}, r"E: \x1b[31m\x9b\u202e"),
    "what says enough": ("KeyError: 'y'", {}, "KeyError: 'y'"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_a_message_says_what_to_do(name: str) -> None:
    message, files, words = SAID[name]
    found = said(message, output="a line\nthe last line\n", **files)
    assert words in found.message
    assert len(found.message) <= LONGEST_MESSAGE
    assert printable(found.message) == found.message


def test_an_exit_in_a_fixture_is_none_at_import() -> None:
    assert "at import" in said("SystemExit: 0").message
    assert "in a test" in said("SystemExit: 0", name="test_m.py::test_ok").message


def test_what_ended_pytest_itself_is_told_by_its_last_lines() -> None:
    trace = (
        'Traceback (most recent call last):\n  File "/opt/pytest/main.py", line 9, in run\n'
        '  File "/tmp/box/files/test_m.py", line 1, in <module>\n    import m\n'
        '  File "/tmp/box/files/m.py", line 1, in <module>\n    import n\nGeneratorExit: x\n'
    )
    output = "".join(f"INTERNALERROR> {line}\n" for line in trace.splitlines())
    failure = CheckFailure(name="::pytest::internal", message="internal error", kind="error")
    run = RunEvidence(
        {"m.py": b"import n\n", "test_m.py": b"import m\n"}, "/tmp/box", 0, output, 5.0, 2**29,
        1_000, frozenset({"test_m.py"}),
    )  # fmt: skip
    [found] = worded(Results(0, 0, 1, (failure,)), run).failures
    assert (found.name, found.at, found.message) == ("test_m.py", "m.py:1", "GeneratorExit: x")


def test_places_that_code_names_itself_stay() -> None:
    for text in (
        "/usr/share/dict/words",
        "/tmp/x",
        "/etc/shadow",
        "https://example.org/a...",
        "a...",
    ):
        assert without_places(text, "/tmp/backcast-1") == text
    cut = sys.prefix[:-1]
    assert without_places(f"at {cut}... and /tmp/backc...", "/tmp/backcast-1") == "at ... and ..."


def test_the_next_prompt_shows_the_model_what_happened() -> None:
    spec = Spec(
        task="t", goal="g", tests=(Test(path="test_m.py", source=TESTED),),
        modules=(SpecModule(path="m.py", purpose="p", tests=("test_m.py",)),),
        limits=RunLimits(iterations=2), checks=LIMITS,
    )  # fmt: skip
    model = Double(
        Completion(block("import sys\n\nsys.exit(0)\n", "python m.py")),
        Completion(block("def ok():\n    return True\n", "python m.py")),
    )
    with EventStore.open("sqlite://") as store:
        start(store, spec)
        assert work(store, "t", Runtime(model, "double", MISTRAL_7B_8K)).status == "complete"
    words = f"m.py ended the interpreter at import: sys.exit(0) at line 3; {MAIN}"
    assert words in model.asked[1]
    assert "internal error" not in model.asked[1]
