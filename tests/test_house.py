"""The rules of the house: packages, names of classes and variables, rooms, one import root."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("domain", "projections", "engine")
API = ROOT / "engine/api"
"The folder whose modules are those of `backcast` itself."
VAGUE = frozenset({"told", "one", "those", "left", "there", "many"})
"Names that say nothing of the thing; in a comprehension of one line the thing is in sight."
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def modules() -> Iterator[Path]:
    """Yield the files of the package."""
    for top in SOURCES:
        yield from sorted((ROOT / top).rglob("*.py"))


def named(file: Path, line: int) -> str:
    return f"{file.relative_to(ROOT)}:{line}"


def test_each_folder_of_modules_is_packaged_once() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {file.parent for file in modules()}
    assert {folder for folder in folders if not (folder / "__init__.py").is_file()} == set()
    inner = [".".join(("backcast", *folder.relative_to(ROOT).parts)) for folder in folders - {API}]
    assert sorted(settings["packages"]) == sorted(["backcast", *inner])
    tops = {f"backcast.{top}": top for top in SOURCES}
    assert settings["package-dir"] == {"backcast": API.relative_to(ROOT).as_posix(), **tops}


def test_nothing_else_stands_at_the_top() -> None:
    command = ["git", "-C", str(ROOT), "ls-tree", "--name-only", "HEAD"]
    listed = subprocess.run(command, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip(f"no git checkout: {listed.stderr.strip()}")
    seen = {name for name in listed.stdout.splitlines() if not name.startswith(".")}
    assert seen == {"README.md", "fixtures", "pyproject.toml", "scripts", "tests", *SOURCES}


def test_each_class_has_a_name_of_its_own() -> None:
    places = defaultdict[str, list[str]](list)
    for file in modules():
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(named(file, node.lineno))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


# Names of variables


def vague_names(source: str | bytes) -> list[tuple[int, str]]:
    """Return the line and name of each binding that is vague, by line."""
    nodes = list(ast.walk(ast.parse(source)))
    exempt = {
        id(node)
        for comprehension in nodes
        if isinstance(comprehension, COMPREHENSIONS) and _on_one_line(comprehension)
        for part in comprehension.generators
        for node in ast.walk(part.target)
    }
    bound = [pair for node in nodes if id(node) not in exempt for pair in _bound_names(node)]
    return sorted((line, name) for line, name in bound if name in VAGUE)


def _on_one_line(
    comprehension: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp,
) -> bool:
    """Return whether all between the brackets stands on one line."""
    first = comprehension.key if isinstance(comprehension, ast.DictComp) else comprehension.elt
    last = comprehension.generators[-1]
    return first.lineno == (last.ifs or [last.iter])[-1].end_lineno


def _bound_names(node: ast.AST) -> Iterator[tuple[int, str]]:
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
            yield node.lineno, name
        case (
            ast.ExceptHandler(name=str(name))
            | ast.MatchAs(name=str(name))
            | ast.MatchStar(name=str(name))
            | ast.MatchMapping(rest=str(name))
            | ast.alias(asname=str(name))
        ):
            yield node.lineno, name


@pytest.mark.parametrize(
    "source",
    [
        "one = 1",
        "one: int",
        "a, (*one, b) = c",
        "one += 1",
        "def f(one): ...",
        "def f(*one): ...",
        "async def f(*, one=1): ...",
        "f = lambda one: 1",
        "for one in a: ...",
        "with a as (one, b): ...",
        "if (one := a): ...",
        "class C:\n    one: int = 1",
        "try: ...\nexcept E as one: ...",
        "match a:\n    case [1, *one]: ...",
        "match a:\n    case C(b=one): ...",
        "match a:\n    case {**one}: ...",
        "import a as one",
        "[one\n for one in a]",
        "{a: one for a,\n one in b}",
        "f(one for one in a\n if b)",
        "[[1 for a in one\n] for one in b]",
        "[(one := a) for a in b]",
    ],
)
def test_a_vague_name_is_found_wherever_it_is_bound(source: str) -> None:
    lines = [n for n, line in enumerate(source.split("\n"), 1) if "one" in line.split("#")[0]]
    [(line, name)] = vague_names(source)
    assert (line in lines, name) == (True, "one")


@pytest.mark.parametrize(
    "source",
    [
        "[one for one in a]",
        "f(\n    one for one in a\n)",
        "{\n    one: 1 for one, b in a if one\n}",
        "{one for a in b for one in a}",
        "a.one = 1",
        "print(one)",
        "f(one=1)",
        "def one(): ...",
        "ones = one_more = 1",
    ],
)
def test_other_names_and_comprehensions_of_one_line_are_no_vague_names(source: str) -> None:
    assert vague_names(source) == []


def test_no_variable_of_the_package_has_a_vague_name() -> None:
    found = [
        f"{named(file, line)} {name}"
        for file in modules()
        for line, name in vague_names(file.read_bytes())
    ]
    assert not found, "\n".join(found)


# Rooms


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package."""
    folder = tmp_path_factory.mktemp("house")
    shutil.copy(ROOT / "pyproject.toml", folder)
    omitted = shutil.ignore_patterns("__pycache__")
    shutil.copytree(API, folder / "backcast", ignore=omitted)
    for top in SOURCES:
        shutil.copytree(ROOT / top, folder / "backcast" / top, ignore=omitted)
    return folder


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("engine/attic.py", "", r"^- backcast\.engine\.attic$"),
        (
            "engine/log/planted.py",
            "import backcast.engine.interfaces.cli",
            r"backcast\.engine\.log is not allowed to import backcast\.engine\.interfaces",
        ),
    ],
)
def test_a_module_outside_the_rooms_or_an_import_upwards_is_refused(
    copied: Path, file: str, text: str, message: str
) -> None:
    planted = copied / "backcast" / file
    planted.write_text(text)
    linter = "from importlinter.cli import lint_imports_command as run; run()"
    try:
        done = subprocess.run(
            [sys.executable, "-c", linter, "--no-logo"],
            cwd=copied, env={**os.environ, "PYTHONPATH": str(copied)},
            capture_output=True, text=True,
        )  # fmt: skip
    finally:
        planted.unlink()
    assert done.returncode == 1, done.stderr
    assert re.search(message, done.stdout, re.MULTILINE), done.stdout


# The import root

TOPS = "|".join(SOURCES)
ROOMS = "|".join(sorted(folder.name for folder in (ROOT / "engine").iterdir() if folder.is_dir()))
OLD_ROOT = re.compile(
    rf"(?:^|[\n\"'`;>]) *(?:from +(?:{TOPS})[ .]|import +(?:{TOPS})\b)"
    rf"|(?<![\w.])engine\.(?:{ROOMS})\."
)


def test_nothing_names_the_import_roots_of_before() -> None:
    files = [ROOT / "README.md", ROOT / "pyproject.toml"]
    for folder in (*SOURCES, "tests", "scripts"):
        files += [file for file in (ROOT / folder).rglob("*") if file.is_file()]
    places = []
    for file in sorted(files):
        if "__pycache__" not in file.parts:
            text = file.read_text()
            places += [
                named(file, text.count("\n", 0, match.start()) + 1)
                for match in OLD_ROOT.finditer(text)
            ]
    assert places == []


@pytest.mark.parametrize(
    ("text", "old"),
    [
        ("from {} import log", True),
        ("x = 1\n    import {}\n", True),
        ('run("import {}.log")', True),
        ("{}.interfaces.cli:main", True),
        ("from backcast.{} import log", False),
        ("`backcast.{}.interfaces.cli`", False),
        ("from {}s import log", False),
        ("the {}. Log", False),
    ],
)
def test_a_root_of_before_is_known_from_the_root_of_today(text: str, old: bool) -> None:
    assert bool(OLD_ROOT.search(text.format("engine"))) is old
