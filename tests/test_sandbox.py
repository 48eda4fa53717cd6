"""The sandbox: real runs of code that behaves and of code that does not."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from backcast.domain.errors import InputError
from backcast.engine.workflow.sandbox.run import Outcome, SandboxLimits, run_checks, safe_path

PROJECT = Path(__file__).parents[1]
VALIDATORS = b'''"""Validators."""


def validate_age(age):
    """Whether it is an age."""
    if age < 0:
        raise ValueError(f"no age: {age}")
    return age < 150
'''
HANG = 60.0
"Seconds: what ends in half of them has not waited for what hangs, on however busy a machine."
QUICK = SandboxLimits(seconds=HANG)
SHORT = SandboxLimits(seconds=4)


def checks(code: str, limits: SandboxLimits = QUICK, **files: str) -> Outcome:
    """What comes of one file of tests, beside some modules."""
    bodies = {f"{name}.py": body.encode() for name, body in files.items()}
    return run_checks(bodies | {"test_it.py": code.encode()}, ["test_it.py"], limits)


@pytest.fixture(autouse=True)
def nothing_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Nothing of a run is left: no directory and no process."""
    tmp_path_factory.getbasetemp()  # is made where temporary files were before
    boxes = Path(tempfile.mkdtemp(prefix="sandboxes-"))
    boxes.chmod(0o755)  # another user must be able to pass
    monkeypatch.setattr(tempfile, "tempdir", str(boxes))
    yield
    assert list(boxes.iterdir()) == []
    assert not _running(str(boxes))
    boxes.rmdir()


def _running(mark: str) -> bool:
    lines = (process.info["cmdline"] or () for process in psutil.process_iter(["cmdline"]))
    return any(mark in " ".join(line) for line in lines)


def test_failures_are_told_with_message_and_place() -> None:
    tests = b"""from validators import validate_age

def test_young():
    assert validate_age(3)

def test_unborn():
    assert not validate_age(-1)

class TestOld:
    def test_old(self):
        assert validate_age(150), "too strict"
"""
    outcome = run_checks({"validators.py": VALIDATORS, "test_it.py": tests}, ["test_it.py"], QUICK)
    assert (outcome.passed, outcome.failed, outcome.errors) == (1, 2, 0)
    assert [(f.name, f.message, f.at, f.kind) for f in outcome.failures] == [
        ("test_it.py::test_unborn", "ValueError: no age: -1", "validators.py:7", "failure"),
        (
            "test_it.py::TestOld::test_old",
            "AssertionError: too strict\nassert False\n +  where False = validate_age(150)",
            "test_it.py:11",
            "failure",
        ),
    ]
    assert outcome.contained == ()
    assert set(outcome.isolation) == {"network", "files", "processes", "user"}
    assert b"backcast-" not in outcome.output  # the same code prints the same
    assert 0 < outcome.seconds < QUICK.seconds


def test_a_module_that_cannot_be_read_is_an_error_at_its_line() -> None:
    outcome = checks("import broken\n", broken="def f():\n    return\n\ndef g(:\n")
    [failure] = outcome.failures
    assert (outcome.passed, outcome.errors, failure.kind) == (0, 1, "error")
    assert (failure.at, failure.name) == ("broken.py:4", "test_it.py")
    assert "SyntaxError" in failure.message


def test_without_tests_every_module_must_be_importable() -> None:
    files = {
        "pkg/__init__.py": b"",
        "pkg/one.py": b"from .two import thing\n",
        "pkg/two.py": b"thing = 1\n\nraise RuntimeError('no')\n",
        "json.py": b"mine = True\n",
        "README.md": b"# no module",
    }
    outcome = run_checks(files, [], QUICK)
    assert (outcome.passed, outcome.failed, outcome.errors) == (2, 0, 2)
    assert {(f.name, f.message, f.at) for f in outcome.failures} == {
        ("pkg/one.py", "RuntimeError: no", "pkg/two.py:3"),
        ("pkg/two.py", "RuntimeError: no", "pkg/two.py:3"),
    }


def test_the_code_brings_its_own_conftest_and_no_other_is_taken() -> None:
    files = {
        "tests/conftest.py": b"import pytest\n\n@pytest.fixture\ndef three():\n    return 3\n",
        "tests/test_a.py": b"from lib.a import two\n\ndef test_it(three):\n    assert two < three",
        "more/test_a.py": b"def test_it():\n    pass\n",
        "lib/a.py": b"two = 2\n",
        "pyproject.toml": b"[tool.pytest.ini_options]\naddopts = '--no-such-option'\n",
    }
    outcome = run_checks(files, ["tests/test_a.py", "more/test_a.py"], QUICK)
    assert (outcome.passed, outcome.failed, outcome.errors) == (2, 0, 0)


@pytest.mark.parametrize(
    "code",
    [
        "import os\n\ndef test_it():\n    os._exit(0)\n",
        "import os\n\ndef test_a():\n    assert 0\n\ndef test_it():\n    os._exit(0)\n",
        "import sys\nsys.exit(0)\n",
        "import pytest\n\ndef test_it():\n    pytest.exit('enough', returncode=0)\n",
        "import glob, os, atexit\n\ndef test_it():\n"
        "    open('../junit.xml', 'w').write('<testsuite><testcase/></testsuite>')\n"
        "    os._exit(0)\n",
        "x = 1\n",
    ],
)
def test_who_ends_before_its_tests_has_not_passed_them(code: str) -> None:
    outcome = checks(code)
    assert (outcome.passed, outcome.errors) == (0, 1)


def test_a_forged_file_of_results_is_not_followed_nor_expanded(tmp_path: Path) -> None:
    secret = tmp_path / "junit.xml"
    secret.write_text("<testsuite><testcase name='forged'/></testsuite>")
    forge = "import os\n\ndef pytest_unconfigure():\n    os.unlink('../junit.xml')\n    {}\n"
    bomb = '<!DOCTYPE a [<!ENTITY b "bb">]><testsuite>&b;</testsuite>'
    for trick in (
        f"os.symlink({str(secret)!r}, '../junit.xml')",
        "os.mkfifo('../junit.xml')",
        f"open('../junit.xml', 'w').write({bomb!r})",
        "open('../junit.xml', 'w').write('<a>' * 3_000_000)",
    ):
        outcome = checks("def test_it():\n    pass\n", conftest=forge.format(trick))
        assert (outcome.passed, outcome.errors) == (0, 1), trick
        assert "results" in outcome.failures[0].message


def test_an_endless_loop_is_stopped_at_the_time_limit() -> None:
    outcome = checks("print('so far')\n\ndef test_it():\n    while True:\n        pass\n", SHORT)
    assert outcome.contained == ("time limit",)
    assert (outcome.passed, outcome.errors) == (0, 1)
    assert "time limit" in outcome.failures[0].message
    assert outcome.output.startswith(b"so far")
    assert outcome.seconds < HANG / 2


def test_processor_time_is_limited() -> None:
    limits = SandboxLimits(seconds=HANG, cpu_seconds=1)
    outcome = checks("def test_it():\n    while True:\n        pass\n", limits)
    assert outcome.contained == ("cpu time",)
    assert outcome.errors == 1


def test_endless_output_is_stopped_and_cut() -> None:
    limits = SandboxLimits(seconds=HANG, output_bytes=10_000)
    outcome = checks("def test_it():\n    while True:\n        print('more' * 100)\n", limits)
    assert outcome.contained == ("output",)
    assert len(outcome.output) == 10_000
    assert outcome.errors == 1


def test_memory_is_limited() -> None:
    limits = SandboxLimits(seconds=HANG, memory=2**28)
    outcome = checks("def test_it():\n    assert bytearray(2**30)\n", limits)
    assert outcome.contained == ("memory",)
    assert outcome.failed == 1


@pytest.mark.parametrize("way", ["f.write(bytes(10**6))", "f.truncate(10**9)"])
def test_the_size_of_files_is_limited(way: str) -> None:
    limits = SandboxLimits(seconds=HANG, file_bytes=10**6)
    code = f"def test_it():\n    with open('f', 'wb', 0) as f:\n        f.write(b'0'); {way}\n"
    outcome = checks(code + "        f.write(bytes(10**6))\n", limits)
    assert outcome.contained == ("file size",)


@pytest.mark.parametrize("handled", ["raise", "pass"])
def test_a_fork_bomb_is_contained(handled: str) -> None:
    code = f"""import os

def test_it():
    while True:
        try:
            os.fork()
        except OSError:
            {handled}
"""
    outcome = checks(code, SandboxLimits(seconds=3, processes=16))
    assert "processes" in outcome.contained
    assert outcome.passed == 0
    assert checks("def test_it():\n    pass\n").passed == 1


def test_a_process_that_is_left_behind_is_dead_afterwards() -> None:
    mark = f"{os.getpid()}{time.monotonic_ns()}"
    code = f"""import subprocess, sys
INNER = "import os, time, sys; os.fork() and sys.exit(); os.setsid(); os.fork() and sys.exit();"

def test_it():
    subprocess.run([sys.executable, "-c", INNER + "time.sleep(120) #{mark}"], check=True)
"""
    outcome = checks(code)
    if outcome.isolation["files"] != "guard":  # else no programs can be started
        assert outcome.passed == 1
    assert not _running(mark)
    assert outcome.seconds < HANG / 2


def test_nothing_is_written_outside_and_each_try_is_named() -> None:
    home, folder = Path.home(), Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o777)
    paths = [folder / "a", home / "leak-a", PROJECT / "leak-a", Path("/etc/leak-a")]
    code = "import os, pathlib, subprocess\nimport pytest\n"
    for number, path in enumerate(paths):
        code += f"""
def test_open_{number}():
    with pytest.raises(OSError):
        open({str(path)!r}, "w")

def test_program_{number}():
    try:
        subprocess.run(["/bin/sh", "-c", "echo x > {path}-b"], check=True)
    except (OSError, subprocess.CalledProcessError):
        return
    assert False
"""
    code += f"""
def test_link():
    os.symlink({str(folder)!r}, "link")
    with pytest.raises(OSError):
        open("link/c", "w")
    with pytest.raises(OSError):
        os.rename("test_it.py", "link/d")

def test_in_its_own_place(tmp_path):
    (tmp_path / "f").write_text("x")
    pathlib.Path("sub").mkdir()
    pathlib.Path("sub/f").write_text("x")
    pathlib.Path.home().joinpath("f").write_text("x")
"""
    outcome = checks(code)
    assert outcome.failures == ()
    assert {f"write outside: {path}" for path in [*paths, folder / "c", folder / "d"]} <= {
        *outcome.contained
    }
    assert [path for path in paths if path.exists() or Path(f"{path}-b").exists()] == []
    assert list(folder.iterdir()) == []
    folder.rmdir()


def test_the_environment_of_others_is_not_seen() -> None:
    code = """import glob, os, subprocess

def test_it():
    print(dict(os.environ))
    for path in [f"/proc/{os.getppid()}/environ", *glob.glob("/proc/[0-9]*/environ")]:
        for read in (lambda: open(path).read(), lambda: os.listdir(path[:-7] + "fd"),
                     lambda: subprocess.run(["/bin/cat", path], capture_output=True).stdout):
            try:
                print(read())
            except OSError:
                pass
    assert set(os.environ) <= {"PATH", "HOME", "TMPDIR", "PYTHONDONTWRITEBYTECODE", "LC_CTYPE",
        "PYTHONHASHSEED", "PYTEST_DISABLE_PLUGIN_AUTOLOAD", "PYTEST_VERSION",
        "PYTEST_CURRENT_TEST"}
"""
    parent = (  # the secret is in what a process was started with, which is what /proc shows
        "import sys; from backcast.engine.workflow.sandbox.run import run_checks;"
        " outcome = run_checks({'test_it.py': sys.stdin.buffer.read()}, ['test_it.py']);"
        " print(outcome.passed, flush=True); sys.stdout.buffer.write(outcome.output)"
    )
    environment = {"SECRET_TOKEN": "hunter2", "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", parent], input=code.encode(), env=environment, capture_output=True
    )
    assert b"hunter2" not in done.stdout
    assert done.stdout.startswith(b"1\n")


def test_the_network_is_out_of_reach_and_each_try_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        code = f"""import socket, subprocess, sys
import pytest

def test_connect():
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", {port}), 1)

def test_look_up():
    with pytest.raises(OSError):
        socket.getaddrinfo("example.com", 80)

def test_datagram():
    with pytest.raises(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(b"x", ("127.0.0.1", {port}))

def test_program():
    inner = "import socket; socket.create_connection(('127.0.0.1', {port}), 1)"
    try:
        assert subprocess.run([sys.executable, "-c", inner], stderr=subprocess.DEVNULL).returncode
    except OSError:
        pass
"""
        outcome = checks(code)
        with pytest.raises(TimeoutError):
            server.accept()
    assert outcome.failures == ()
    assert "network: look up example.com" in outcome.contained
    if outcome.isolation["network"] == "seccomp":  # which leaves no socket to connect
        assert "network: socket" in outcome.contained
    else:
        assert f"network: connect 127.0.0.1:{port}" in outcome.contained


@pytest.mark.parametrize(
    "without",
    [
        ("landlock",),
        ("user",),
        ("user", "root"),
        ("namespaces", "user"),
        ("namespaces", "user", "landlock"),
        ("namespaces", "user", "landlock", "seccomp"),
    ],
    ids="+".join,
)
def test_each_layer_holds_without_the_others(without: tuple[str, ...]) -> None:
    mark = f"{os.getpid()}{time.monotonic_ns()}"
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o777)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        code = f"""import os, subprocess, sys

def tried(*command):
    try:
        return subprocess.run(command, stdout=-3, stderr=-3).returncode
    except PermissionError:  # no programs where nothing else holds them
        return 1

def test_it():
    assert tried("/bin/sh", "-c", "echo x > {folder}/leak")
    assert tried(sys.executable, "-c", "import socket;"
                 "socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 1)")
    assert tried("/bin/sh", "-c", "kill -9 {os.getpid()}")
    tried(sys.executable, "-c", "import os, time; os.fork() and os._exit(0); os.setsid();"
          "os.fork() and os._exit(0); time.sleep(60) #{mark}")
"""
        outcome = run_checks({"test_it.py": code.encode()}, ["test_it.py"], QUICK, without)
        with pytest.raises(TimeoutError):
            server.accept()
    assert (outcome.passed, outcome.failures) == (1, ())
    assert list(folder.iterdir()) == []
    folder.rmdir()
    assert not _running(mark)


def test_a_root_that_stays_root_has_no_more_processes_than_others() -> None:
    code = b"import os\n\ndef test_it():\n    while True:\n        os.fork()\n"
    limits = SandboxLimits(seconds=3, processes=16)
    outcome = run_checks({"test_it.py": code}, ["test_it.py"], limits, ("user", "root"))
    assert "processes" in outcome.contained
    assert outcome.passed == 0


def test_coverage_is_the_share_of_lines_that_were_run() -> None:
    pytest.importorskip("coverage", reason="coverage is not installed")
    tests = b"from validators import validate_age\n\ndef test_it():\n    validate_age(3)\n"
    files = {"validators.py": VALIDATORS, "test_it.py": tests, "unused.py": b"x = 1\n"}
    outcome = run_checks(files, ["test_it.py"], SandboxLimits(seconds=HANG, coverage=True))
    assert outcome.passed == 1
    assert outcome.coverage == {"test_it.py": 1.0, "validators.py": pytest.approx(3 / 4)}


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../a.py", "a/../b.py", "./a.py", "a//b.py", "a/", "C:/a.py", "C:a.py",
     "a\\b.py", "..\\a.py", "a\0.py", "a\n.py", "a\u202e.py", "a" * 200, "a/" * 300 + "b",
     ".git/hooks/pre-commit", "a /b.py", "a./b.py", "\ud800.py"],
)  # fmt: skip
def test_an_unsafe_path_is_refused_before_anything_is_written(path: str) -> None:
    with pytest.raises(InputError):
        safe_path(path)
    with pytest.raises(InputError):
        run_checks({"a.py": b"", path: b""}, [])


def test_paths_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be a file and hold"):
        run_checks({"a": b"", "a/b.py": b""}, [])
    with pytest.raises(InputError, match="among the files"):
        run_checks({"a.py": b""}, ["test_a.py"])


def test_a_directory_that_resists_is_removed_all_the_same() -> None:
    code = """import os

def test_it():
    open("f", "w").close()
    folder = os.open(".", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=folder)
        folder, above = os.open("d", os.O_RDONLY, dir_fd=folder), folder
        os.close(above)
    os.mkdir("e", dir_fd=folder)
    os.chmod(folder, 0)
    os.chmod(os.environ["HOME"], 0)
"""
    assert checks(code).passed == 1


def test_a_run_ends_with_who_asked_for_it(tmp_path: Path) -> None:
    with _asking(tmp_path) as asking:
        _until(lambda: [*tmp_path.glob("backcast-*/files/begun")] != [])
        asking.kill()
    _until(lambda: not _running(f"{tmp_path}/backcast-"))


SLEEPER = b"import time\n\ndef test_it():\n    open('begun', 'w').close(); time.sleep(60)\n"


def _asking(folder: Path, code: bytes = SLEEPER) -> "subprocess.Popen[bytes]":
    """A process that runs a test, with its temporary files in a folder."""
    parent = (
        "from backcast.engine.workflow.sandbox.run import run_checks;"
        f" run_checks({{'test_it.py': {code!r}}}, ['test_it.py'])"
    )
    environment = {"PYTHONPATH": str(PROJECT), "TMPDIR": str(folder)}
    return subprocess.Popen([sys.executable, "-c", parent], env=environment)


def _until_there(folder: Path, pattern: str, before: set[Path]) -> None:
    """Wait for a path in none of the folders that were there before."""
    _until(lambda: any(not before & {*path.parents, path} for path in folder.glob(pattern)))


def test_what_killed_runs_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    left = set[Path]()
    for moment in ("*", "*/files/test_it.py", "*/files/begun", "*", "*/files/begun"):
        with _asking(tmp_path) as asking:
            _until_there(tmp_path, moment, left)
            asking.kill()
        left = {*tmp_path.iterdir()}
        assert len(left) == 1, "what the last one left is gone, and its own is there"
    with _asking(tmp_path) as living:
        _until_there(tmp_path, "*/files/begun", left)
        [box] = tmp_path.iterdir()
        with _asking(tmp_path, b"def test_it():\n    pass\n"):
            pass
        assert [*tmp_path.iterdir()] == [box], "what another run needs was removed"
        living.kill()
    with _asking(tmp_path, b"def test_it():\n    pass\n"):
        pass
    assert [*tmp_path.iterdir()] == []


def test_nothing_else_is_removed_than_what_runs_have_left(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_text("mine")
    (tmp_path / "backcast-box-link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "backcast-box-file").write_text("mine")
    (tmp_path / "backcast-other").mkdir()
    if os.geteuid() == 0:
        (tmp_path / "backcast-box-foreign").mkdir()
        os.chown(tmp_path / "backcast-box-foreign", 12345, 12345)
    before = sorted(tmp_path.rglob("*"))
    with _asking(tmp_path, b"def test_it():\n    pass\n"):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HANG / 2
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_packages_below_src_are_imported_from_there() -> None:
    # An installed package of that name goes after what is below src.
    files = {
        "src/click/__init__.py": b"ours = 1\n",
        "tests/test_it.py": b"import click\n\ndef test_it():\n    assert click.ours == 1\n",
    }
    outcome = run_checks(files, ["tests/test_it.py"], QUICK)
    assert (outcome.passed, outcome.failures) == (1, ())
