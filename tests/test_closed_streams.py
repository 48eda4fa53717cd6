"""Streams that are closed, and streams whose encoding cannot spell what is printed."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

PROGRAM = shlex.join(
    [sys.executable, "-c", "from backcast.engine.interfaces.start import main; main()"]
)


def shell(command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program by a shell, which closes streams as it is told to."""
    return subprocess.run(
        ["sh", "-c", f"{PROGRAM} {command}"], cwd=cwd, env=os.environ | variables,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def history(folder: Path) -> Path:
    """Make a repository whose author's name is not ASCII."""
    repository = folder / "shop"
    repository.mkdir()
    (repository / "till.py").write_text("def total():\n    return 1\n")
    for command in (
        "init -q .", "add .", "-c user.name=Zoë -c user.email=zoe@localhost commit -q -m first",
    ):  # fmt: skip
        subprocess.run(["git", *command.split()], cwd=repository, check=True)
    return repository


def test_a_closed_stdout_is_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    assert shell(f"import git {history(tmp_path)}", tmp_path).returncode == 0
    ended = shell("tasks >&-", tmp_path)
    assert ended.returncode == 2
    assert ended.stderr == "backcast: the output cannot be written: Bad file descriptor\n"


def test_a_closed_stderr_keeps_nothing_from_its_work(tmp_path: Path) -> None:
    imported = shell(f"import git {history(tmp_path)} 2>&-", tmp_path)
    assert (imported.returncode, imported.stdout[:6]) == (0, "added ")
    assert shell("fsck", tmp_path).stderr == "clean\n"


def test_what_an_encoding_cannot_spell_is_escaped(tmp_path: Path) -> None:
    shell(f"import git {history(tmp_path)}", tmp_path)
    printed = shell("show versions shop", tmp_path, PYTHONIOENCODING="ascii")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert "Zo\\xeb" in printed.stdout


def test_lines_of_a_table_in_a_pipe_end_where_their_text_does(tmp_path: Path) -> None:
    shell(f"import git {history(tmp_path)}", tmp_path)
    lines = shell("show versions shop", tmp_path).stdout.splitlines()
    assert len(lines) == 2
    assert lines == [line.rstrip() for line in lines]
