"""The README is true: its Python runs, and its commands print what it shows."""

import doctest
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from backcast.engine.interfaces.cli import main
from backcast.engine.workflow.sandbox.run import SandboxLimits
from backcast.engine.workflow.spec import RunLimits, spec_at

HERE = Path(__file__).parents[1]
README = (HERE / "README.md").read_text(encoding="utf-8")


def test_its_python_runs_and_prints_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    failed, tried = doctest.testfile(str(HERE / "README.md"), module_relative=False)
    assert tried >= 10
    assert failed == 0


def test_its_commands_print_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(HERE)
    monkeypatch.setenv("BACKCAST_STORE", f"sqlite:///{tmp_path}/store.db")
    shown = "".join(re.findall(r"```console\n(.*?)```", README, re.DOTALL))
    commands = re.findall(r"^\$ backcast (.*)\n((?:(?!\$ ).*\n)*)", shown, re.MULTILINE)
    assert len(commands) == shown.count("$ ") >= 4
    for command, expected in commands:
        with pytest.raises(SystemExit) as end:
            main(shlex.split(command))
        printed = "".join(capsys.readouterr())
        assert [line.rstrip() for line in printed.splitlines()] == expected.splitlines(), command
        assert end.value.code == 0


def test_every_file_of_its_layout_is_there() -> None:
    layout = README.split("## The layout")[1].split("```")[1]
    paths = re.findall(r"^(\S+)  ", layout, re.MULTILINE)
    assert len(paths) > 10
    assert [path for path in paths if not (HERE / path).exists()] == []


def test_its_specification_is_one_and_shows_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "task.toml").write_text(README.split("```toml\n")[1].split("```")[0])
    (tmp_path / "test_validators.py").write_text("def test(): pass")
    spec = spec_at(tmp_path / "task.toml")
    assert (spec.limits, spec.checks, spec.summaries) == (RunLimits(), SandboxLimits(), "derived")
    shown = tomllib.loads((tmp_path / "task.toml").read_text())
    assert list(shown["limits"]) == list(RunLimits.model_fields)
    assert list(shown["checks"]) == list(SandboxLimits.model_fields)
