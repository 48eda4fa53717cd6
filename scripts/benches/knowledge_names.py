"""Names, beside jedi: where does each say that a call goes? On the latest sources of a repository.

A sample of the calls in functions is drawn by a seed. Jedi infers types as well, which we do not,
so it knows more; what both know has to be the same.
"""

import ast
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from random import Random
from typing import NamedTuple

import jedi

from backcast.domain.names import Reader, resolve
from backcast.domain.outline import Facet
from backcast.engine.memory.outliner import outliner_of
from backcast.engine.memory.outliner.python import outline
from scripts.benches.figures import Bench, Figure

SAMPLE = 400


class Call(NamedTuple):
    """A call in a function, by a dotted name."""

    path: str
    scope: str
    dotted: str
    line: int
    column: int
    "Of the last part of the name, counted from 0."


def measure(bench: Bench) -> list[Figure]:
    """The rows of the table, for each repository."""
    return [figure for repository in bench.repositories for figure in _figures(bench, repository)]


def _figures(bench: Bench, repository: Path) -> Iterator[Figure]:
    bench.say(f"names in {repository}, asked of jedi too")
    folder = bench.folder / "names"
    sources = _sources(repository, folder)
    modules = {path: outline(path, body).facets for path, body in sources.items()}
    calls = [call for path, body in sources.items() for call in _calls(path, body)]
    sample = Random(1).sample(calls, min(SAMPLE, len(calls)))
    project = jedi.Project(folder, added_sys_path=[str(folder / "src")])
    same = other = only_ours = only_jedi = neither = 0
    odd = []
    for call in sample:
        ours, theirs = _ours(modules, call), _theirs(project, folder, call)
        if ours and theirs:
            same += ours in theirs
            other += ours not in theirs
            if ours not in theirs:
                odd.append(f"{call.path}:{call.line} {call.dotted}: {ours}, jedi {sorted(theirs)}")
        else:
            only_ours += bool(ours)
            only_jedi += bool(theirs)
            neither += not ours and not theirs
    for line in odd[:10]:
        bench.say(line)
    group = f"names in {'/'.join(repository.resolve().parts[-2:])}, {len(sample)} calls"
    known = same + other
    yield Figure(
        group,
        "calls that both follow to the task's own code: to the same place",
        [100 * same / known] if known else [],
        "%",
        ours=f"{same} of {known}",
        control=f"jedi alone {only_jedi}, ours alone {only_ours}, neither {neither}",
        why="" if known else "no call in the sample that both follow",
    )


def _sources(repository: Path, folder: Path) -> dict[str, bytes]:
    """The Python sources of the latest commit, laid out in a folder too."""
    command = ["git", "-C", str(repository), "archive", "HEAD"]
    packed = subprocess.run(command, capture_output=True, check=True).stdout
    found = {}
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
        for member in archive.getmembers():
            if member.isfile() and outliner_of(member.name) and member.name.endswith(".py"):
                found[member.name] = (folder / member.name).read_bytes()
    return dict(sorted(found.items()))


def _calls(path: str, body: bytes) -> Iterator[Call]:
    try:
        tree = ast.parse(body)
    except (SyntaxError, ValueError):
        return
    waiting: list[tuple[ast.AST, str, bool]] = [(tree, "", False)]
    while waiting:
        node, scope, inside = waiting.pop()
        for child in ast.iter_child_nodes(node):
            if (
                isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                and not inside
            ):
                name = f"{scope}.{child.name}" if scope else child.name
                waiting.append((child, name, not isinstance(child, ast.ClassDef)))
                continue
            if inside and isinstance(child, ast.Call) and (dotted := _dotted(child.func)):
                end = child.func
                width = len(dotted.rpartition(".")[2])
                column = (end.end_col_offset or 0) - width
                yield Call(path, scope, dotted, end.end_lineno or 0, column)
            waiting.append((child, scope, inside))


def _dotted(node: ast.expr) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _ours(modules: Mapping[str, Mapping[str, Facet]], call: Call) -> tuple[str, str] | None:
    calls = modules[call.path].get(f"calls:{call.scope}", ())
    if call.dotted not in calls:
        return None
    found = resolve(Reader(modules), call.path, call.dotted, call.scope)
    return (found.path, found.name) if found and found.kind == "symbol" else None


def _theirs(project: jedi.Project, folder: Path, call: Call) -> set[tuple[str, str]]:
    script = jedi.Script(path=folder / call.path, project=project)
    try:
        names = script.goto(call.line, call.column, follow_imports=True)
    except Exception:  # jedi fails in many ways on odd code; then it tells nothing
        return set()
    found = set()
    for name in names:
        if name.module_path is None or name.type not in ("function", "class"):
            continue
        path = Path(name.module_path)
        if not path.is_relative_to(folder):
            continue
        module = script_module(name)
        full = (name.full_name or "").removeprefix(f"{module}.")
        found.add((path.relative_to(folder).as_posix(), full))
    return found


def script_module(name: "jedi.api.classes.BaseName") -> str:
    """The dotted name of the module that a name of jedi's is in."""
    return str(name.module_name)
