"""The sandbox has every layer that the machine allows, whatever the checked code does."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from backcast.domain.errors import SandboxError
from backcast.domain.events import ChecksRan
from backcast.domain.missing_layers import missing_layers, without_layers
from backcast.engine.interfaces.run_progress import RunProgress
from backcast.engine.workflow.sandbox import layers
from backcast.engine.workflow.sandbox.box import new_box
from backcast.engine.workflow.sandbox.run import SandboxLimits, run_checks
from backcast.engine.workflow.sandbox.watch import PACKAGES
from tests.upstreams import BACKCAST

PROJECT = Path(__file__).parents[1]
ESCAPE = """import ctypes

def test_it():
    ctypes.CDLL(None).system(b"echo out > {}/leak")
"""


def open_folder(folder: Path) -> Path:
    """A folder in which every user may write, as far as this one can be reached."""
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def environment(folder: Path, name: str, *linked: str) -> Path:
    """Make an environment whose libraries are those of this one, without some or linked."""
    made = folder / name
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    target = made / "lib" / version / "site-packages"
    for name in linked:
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = os.path.realpath(spec.origin)
        if os.path.basename(origin) == "__init__.py":
            origin = os.path.dirname(origin)
        os.symlink(origin, target / os.path.basename(origin))
    return made / "bin/python"


def held(python: Path, leak: Path) -> subprocess.CompletedProcess[str]:
    """Let a Python run tests that write outside, and print how they were held.

    It knows its own libraries before it is shown those that our own modules need.
    """
    code = (
        "import sys; sys.path.insert(1, sys.argv[1]);"
        " from backcast.engine.workflow.sandbox.box import readable; readable();"
        " sys.path += sys.argv[2].split('|');"
        " from backcast.engine.workflow.sandbox.run import run_checks;"
        " outcome = run_checks({'test_it.py': sys.argv[3].encode()}, ['test_it.py']);"
        " print(outcome.passed, outcome.isolation['files'])"
    )
    paths = "|".join(part for part in sys.path if part)
    return subprocess.run(
        [python, "-c", code, PACKAGES, paths, ESCAPE.format(leak)], capture_output=True, text=True
    )


def full_or_skip() -> None:
    """Skip where this machine has no layer that holds files."""
    if "closed files" in missing_layers(layers.tried(layers.skipped(())).held):
        pytest.skip("neither namespaces nor Landlock are allowed here")


def test_what_cannot_be_imported_does_not_weaken_the_sandbox(tmp_path: Path) -> None:
    leak = open_folder(tmp_path / "outside")
    python = environment(tmp_path, "bare")
    done = held(python, leak)
    assert list(leak.iterdir()) == []
    assert done.stdout == ""
    assert "cannot import pytest in it, so no test was run" in done.stderr


def test_libraries_that_are_links_to_folders_are_read_through_them(tmp_path: Path) -> None:
    full_or_skip()
    leak = open_folder(tmp_path / "outside")
    linked = environment(tmp_path, "linked", "pytest", "_pytest", "pluggy", "iniconfig",
                         "packaging", "pygments", "py")  # fmt: skip
    done = held(linked, leak)
    assert done.stdout.startswith("1 "), done.stderr
    assert "guard" not in done.stdout
    assert list(leak.iterdir()) == []


def test_a_run_that_does_not_start_keeps_its_layers(tmp_path: Path) -> None:
    full_or_skip()
    leak = open_folder(tmp_path / "outside")
    body = ESCAPE.format(leak).encode()
    tight = SandboxLimits(memory=2**26)  # too little for the interpreter and pytest
    outcome = run_checks({"test_it.py": body}, ["test_it.py"], tight)
    assert list(leak.iterdir()) == []
    assert outcome.passed + outcome.errors == 1
    assert "closed files" not in missing_layers(outcome.isolation)


def test_code_that_calls_the_system_itself_writes_nothing_outside(tmp_path: Path) -> None:
    full_or_skip()
    leak = open_folder(tmp_path / "outside")
    outcome = run_checks({"test_it.py": ESCAPE.format(leak).encode()}, ["test_it.py"])
    assert (outcome.passed, list(leak.iterdir())) == (1, [])


def test_who_wants_all_layers_gets_no_run_with_fewer() -> None:
    full = SandboxLimits(full=True)
    files = {"test_it.py": b"def test_it(): pass\n"}
    with pytest.raises(SandboxError, match="needed all its layers"):
        run_checks(files, ["test_it.py"], full, ("user", "root", "landlock", "namespaces"))
    if not missing_layers(layers.tried(()).held) and layers.tried(()).started:
        assert run_checks(files, ["test_it.py"], full).passed == 1


def test_what_checks_were_run_without_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    fact = ChecksRan(passed=1, failed=0, errors=0, isolation={"files": "guard", "user": "root"})
    progress = RunProgress(1000)
    for _ in range(2):
        progress._tell_lacking(fact)
    said = capsys.readouterr().err
    assert said.count("checks run without closed files, a user of their own") == 1


def test_a_run_that_had_all_layers_says_nothing_of_them() -> None:
    whole = {"network": "namespace", "files": "landlock, namespace, user",
             "processes": "namespace", "user": "spare"}  # fmt: skip
    assert without_layers(whole) == without_layers({}) == ""


def test_show_checks_says_what_they_were_run_without() -> None:
    done = subprocess.run(
        [*BACKCAST, "show", "checks", PROJECT / "fixtures/recorded/bill.jsonl"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0
    assert "note: checks run without closed files, a user of their own" in done.stderr


def test_the_code_of_a_run_does_not_go_through_a_link_that_lay_there(tmp_path: Path) -> None:
    victim, here = tmp_path / "victim", tmp_path / "here"
    victim.mkdir()
    (here / "out").mkdir(parents=True)
    (here / "out/validators").symlink_to(victim)
    spec = PROJECT / "fixtures/specs/validators.toml"
    answers = f"answers:{PROJECT}/fixtures/logs/validators.jsonl"
    command: list[str | Path] = [*BACKCAST, "run", spec, "--model", answers]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True)
    assert (done.returncode, list(victim.iterdir())) == (2, [])
    assert "found a link out of it" in done.stderr
    done = subprocess.run([*command, "--out", victim], cwd=here, capture_output=True, text=True)
    assert (done.returncode, bool(list(victim.iterdir()))) == (0, True)


@pytest.mark.parametrize("away", ["/no/such/python", "/bin/false"])
def test_a_layer_is_left_out_only_where_it_failed_twice(
    monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    usual, real, boxes = new_box, sys.executable, list[int]()

    def failing_once() -> object:
        boxes.append(1)
        monkeypatch.setattr(sys, "executable", away if len(boxes) == 1 else real)
        return usual()

    before = layers.skipped(())
    monkeypatch.setattr(layers, "new_box", failing_once)
    layers.tried.cache_clear()
    assert layers.skipped(()) == before
    assert len(boxes) >= 2
    layers.tried.cache_clear()
