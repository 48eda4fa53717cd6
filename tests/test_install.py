"""Stories of `scripts/install`, where programs stand in for those that it starts."""

import subprocess
from pathlib import Path
from shutil import copy

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = """#!/bin/sh
echo "$*" >> asked.txt
case "$*" in
  *"import llama_cpp"*) test -e built ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the script, and programs in place of what it starts, which write what is asked
    of them."""
    for folder in ("scripts", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    copy(ROOT / "scripts/install", tmp_path / "scripts")
    for name in ("pyproject.toml", "scripts/constraints.txt"):
        copy(ROOT / name, tmp_path / name)
    _program(tmp_path / ".venv/bin/python", PYTHON)
    for name in ("links", "tiny-models"):
        _program(tmp_path / "scripts" / name, "#!/bin/sh\n")
    return tmp_path


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _installed(checkout: Path, llama: str) -> list[str]:
    """Return what Python was asked for, where llama.cpp is built by a script."""
    _program(checkout / "scripts/llama", f'#!/bin/sh\n[ "$1" != package ] || exit 0\n{llama}\n')
    subprocess.run(["scripts/install", "all"], cwd=checkout, check=True, capture_output=True)
    return (checkout / "asked.txt").read_text().splitlines()


def test_llama_cpp_stays_where_its_build_takes_longer_than_all_else(checkout: Path) -> None:
    asked = _installed(checkout, "sleep 1; touch built")
    assert (checkout / "built").exists(), "the build was waited for"
    assert not [line for line in asked if "uninstall" in line]


def test_llama_cpp_is_taken_away_where_it_could_not_be_built(checkout: Path) -> None:
    asked = _installed(checkout, "exit 1")
    assert any("uninstall -y llama-cpp-python" in line for line in asked)
