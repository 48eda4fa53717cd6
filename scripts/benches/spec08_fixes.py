"""Failing suites before real fixes: what pytest printed, and the lines that the fix then wrote.

The tests of a commit are run on the code before it, with the interpreter that has what the
repository needs; its message is the request, and the lines that it adds are what came next.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MOST_LINES = 60
"Lines of code that a fix adds at most."
SECONDS = 60.0


class Fix(NamedTuple):
    """A commit that makes tests pass, with their output before."""

    name: str
    request: str
    output: str
    written: str


def fixes(repository: Path, python: Path, kept: Path, most: int) -> Iterator[Fix]:
    """Yield the newest fixes of a repository whose own tests fail before them."""
    known = kept / f"fixes-{repository.name}.json"
    if not known.is_file():
        found = list(_found(repository, python, most))
        known.write_text(json.dumps([fix._asdict() for fix in found]))
    yield from (Fix(**fields) for fields in json.loads(known.read_text()))


def _found(repository: Path, python: Path, most: int) -> Iterator[Fix]:
    with tempfile.TemporaryDirectory(prefix="fixes-") as folder:
        tree = Path(folder) / repository.name
        _git(repository, "clone", "-q", "--shared", ".", str(tree))
        count = 0
        for sha in _git(tree, "log", "--no-merges", "--format=%H", "-n", "600").split():
            fix = _tried(tree, sha, python)
            if fix is not None:
                yield fix
                count += 1
            if count == most:
                return


def _tried(tree: Path, sha: str, python: Path) -> Fix | None:
    changed = _git(tree, "show", "--format=", "--name-only", "--diff-filter=AM", sha).split("\n")
    python_files = [path for path in changed if path.endswith(".py")]
    tests = [path for path in python_files if "test" in path]
    code = [path for path in python_files if path not in tests and not path.startswith("docs")]
    if not tests or not code or len(python_files) > 8:
        return None
    diff = _git(tree, "show", "--format=", "-U0", sha, "--", *code)
    added = [line[1:] for line in diff.split("\n") if line.startswith("+") and line[:3] != "+++"]
    written = "\n".join(line for line in added if line.strip())
    if not 2 <= written.count("\n") + 1 <= MOST_LINES:
        return None
    _git(tree, "checkout", "-q", "-f", f"{sha}~1")
    _git(tree, "checkout", "-q", sha, "--", *tests)
    paths = os.pathsep.join(str(tree / part) for part in ("src", "", "lib"))
    env = {"PATH": os.environ["PATH"], "HOME": str(tree.parent), "PYTHONPATH": paths}
    command = [str(python), "-m", "pytest", "-v", "-p", "no:cacheprovider", *tests]
    try:
        ran = subprocess.run(command, cwd=tree, env=env, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return None
    output = ran.stdout.decode(errors="replace").replace(str(tree.parent), "")
    if ran.returncode != 1 or " failed" not in output:
        return None
    message = _git(tree, "show", "-s", "--format=%B", sha).strip()
    return Fix(f"{tree.name} {sha[:10]}", message, output, written)


def _git(folder: Path, *words: str) -> str:
    ran = subprocess.run(["git", *words], cwd=folder, capture_output=True, check=False)
    return ran.stdout.decode(errors="replace")
