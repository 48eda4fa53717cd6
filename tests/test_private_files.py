"""What holds prompts is its owner's alone, and what is read of odd files has an end."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import InputError
from backcast.engine.context.recorded import messages
from backcast.engine.interfaces.cli import cli
from backcast.engine.log.importers.git_repository import opened
from tests.recordings import log_of


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_stores_and_exports_are_their_owners_alone_and_what_is_masked_is_for_others(
    tmp_path: Path,
) -> None:
    store = tmp_path / "a.db"
    url = f"sqlite:///{store}"

    def ran(*arguments: str) -> None:
        result = CliRunner().invoke(cli, [*arguments, "--store", url])
        assert result.exit_code == 0, result.output

    ran("import", "events", str(log_of("till")))
    assert mode(store) == 0o600
    plain, masked = tmp_path / "plain.jsonl", tmp_path / "masked.jsonl"
    ran("export", "till", str(plain))
    ran("export", "till", "--redact", str(masked))
    assert (mode(plain), mode(masked)) == (0o600, 0o644)
    plain.chmod(0o640)
    ran("export", "till", str(plain))
    assert mode(plain) == 0o640


def test_a_prompt_rendered_by_no_version_is_refused_in_a_line() -> None:
    fact = ContextBuilt(items=(), omissions=(), tokens=0, target="x", sections={}, tokenizer="t",
                        policy="blob:" + "0" * 64, code={"rendering": "x"})  # fmt: skip
    with pytest.raises(InputError, match="found 'x'"):
        messages(fact, lambda ref: b"{}")


@pytest.mark.parametrize("odd", ["pipe", "zero"])
def test_an_endless_file_in_a_git_folder_is_not_read(tmp_path: Path, odd: str) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    grafts = tmp_path / ".git" / "info" / "grafts"
    if odd == "pipe":
        os.mkfifo(grafts)
    else:
        grafts.symlink_to("/dev/zero")
    repository = opened(tmp_path)
    assert repository.notes({}) == []
    assert len(repository.head) == 40
