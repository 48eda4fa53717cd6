"""The wheel holds the package and nothing else, and takes no name from who installs it."""

import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from zipfile import ZipFile

import pytest

from backcast.domain.errors import InputError
from backcast.engine.interfaces.installed import VERSION, check_installation

ROOT = Path(__file__).parents[1]
SOURCES = ("domain", "projections", "engine")
OWN = (*SOURCES, "tests", "scripts")
"Top-level packages that a project of somebody else has itself."
PROBE = f"""
import sys
from importlib.metadata import distributions

import backcast
import {", ".join(OWN)}


def test_all_names_are_our_own():
    assert [module.MINE for module in ({", ".join(OWN)})] == {list(OWN)}


def test_the_plugin_comes_from_the_wheel_once(pytestconfig):
    assert pytestconfig.pluginmanager.has_plugin("backcast")
    points = [point for one in distributions() for point in one.entry_points]
    [plugin] = [point for point in points if (point.group, point.name) == ("pytest11", "backcast")]
    files = [backcast.__file__, plugin.load().__file__, str(plugin.dist.locate_file(""))]
    assert [file for file in files if not file.startswith(sys.prefix)] == []
"""


def clean_environment() -> dict[str, str]:
    """The environment without what leads Python or pytest elsewhere."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYT"))
    }


def run_python(*arguments: str | Path, python: str | Path = sys.executable, cwd: Path) -> str:
    """Run Python, which must succeed, and return what it prints."""
    done = subprocess.run(
        [python, *arguments], cwd=cwd, env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from a copy of the sources that no earlier build has left anything in."""
    folder, to = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, folder)
    for top in SOURCES:
        shutil.copytree(ROOT / top, folder / top, ignore=shutil.ignore_patterns("__pycache__"))
    try:
        can_build = int(version("setuptools").partition(".")[0]) >= 77
    except PackageNotFoundError:
        can_build = False
    if can_build:
        build = f"from setuptools.build_meta import build_wheel as build; build({str(to)!r})"
        run_python("-c", build, cwd=folder)
    else:
        run_python("-m", "pip", "wheel", "-q", "--no-deps", "-w", to, folder, cwd=folder)
    [built] = to.iterdir()
    return built


def packaged(file: Path) -> str:
    """Return the name that a file of the sources has in the wheel."""
    parts = file.relative_to(ROOT).parts
    return "/".join(("backcast", *(parts[2:] if parts[:2] == ("engine", "api") else parts)))


def test_the_wheel_holds_every_file_of_the_package_and_its_metadata(wheel: Path) -> None:
    assert wheel.name == f"backcast-{VERSION}-py3-none-any.whl"
    names = ZipFile(wheel).namelist()
    inside = sorted(name for name in names if name.startswith("backcast/"))
    files = [file for top in SOURCES for file in (ROOT / top).rglob("*") if file.is_file()]
    assert inside == sorted(packaged(file) for file in files if "__pycache__" not in file.parts)
    assert "backcast/py.typed" in inside
    others = {name.partition("/")[0] for name in names} - {"backcast"}
    assert others == {f"backcast-{VERSION}.dist-info"}


def test_a_project_with_the_same_folders_keeps_its_names(wheel: Path, tmp_path: Path) -> None:
    environment, project = tmp_path / "environment", tmp_path / "project"
    venv.create(environment, symlinks=True)
    [packages] = environment.glob("lib/python*/site-packages")
    ZipFile(wheel).extractall(packages)
    for place in filter(os.path.isdir, sys.path):
        if Path(place).name == "site-packages":
            for library in Path(place).iterdir():
                ours = "backcast" in library.name or library.suffix == ".pth"
                if not ours and not (packages / library.name).exists():
                    (packages / library.name).symlink_to(library)
    for name in OWN:
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").write_text(f"MINE = {name!r}\n")
    (project / "tests/test_probe.py").write_text(PROBE)
    python = environment / "bin/python"
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert "2 passed" in run_python(*arguments, python=python, cwd=project)


# What is installed, beside what runs


def test_an_old_installation_that_imports_engine_is_told_what_to_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "engine"],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.endswith("run scripts/install in it")


@pytest.mark.parametrize(
    ("checkout", "command"),
    [(ROOT, "scripts/install"), (Path("/"), "pip install --upgrade --force-reinstall backcast")],
)
def test_metadata_of_another_version_is_told_with_what_to_run(
    tmp_path: Path, checkout: Path, command: str
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    (first / "backcast-0.1.0.dist-info").mkdir(parents=True)
    (second / f"backcast-{VERSION}.dist-info").mkdir(parents=True)
    absent = str(tmp_path / "absent")
    with pytest.raises(InputError, match=rf"{VERSION} .*, found 0\.1\.0: run {command}$"):
        check_installation([absent, str(first), str(second)], checkout)
    check_installation([absent, str(second), str(first)], checkout)
    check_installation([absent], checkout)
