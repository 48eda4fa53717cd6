"""Reads from the tests' own text which tests must pass, and which may leave themselves out.

The code under test shares an interpreter with its tests, so how many tests there are is not taken
from the run. The text is parsed before any of that code runs. Where the text cannot tell (tests
under a condition, bases from a library, a conftest.py that chooses), a test is not demanded; it
still counts when it was seen.
"""

import ast
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from backcast.engine.workflow.sandbox.given_text import (
    SKIPPING,
    Defined,
    GivenText,
    TextReader,
    names_of,
    targets_of,
)

CHOOSING = frozenset({
    "pytest_collection_modifyitems", "pytest_ignore_collect", "pytest_pycollect_makeitem",
    "pytest_pycollect_makemodule", "pytest_collect_file", "pytest_collection",
    "pytest_collection_finish", "pytest_itemcollected", "pytest_runtest_makereport",
    "pytest_runtest_protocol", "pytest_pyfunc_call", "pytest_runtest_setup", "pytest_runtest_call",
    "pytest_configure", "pytest_sessionstart", "pytest_report_teststatus", "collect_ignore",
    "collect_ignore_glob",
})  # fmt: skip
"Names by which a conftest.py chooses what is run, or how its outcome is told."


class GivenTexts(NamedTuple):
    """All that the text of a task's files tells about its tests."""

    by_path: Mapping[str, GivenText]
    chosen: bool
    "Whether a conftest.py chooses what is run, or how it is told."

    def excuses(self, path: str, test: str) -> bool:
        """Return whether a mark in the text may leave out a test."""
        text = self.by_path.get(path)
        return self.chosen or bool(text and (test in text.excused or "" in text.excused))

    def leaves_out(self, path: str, line: int, outside: bool) -> bool:
        """Return whether a line of the text leaves out a test.

        `outside` says that a library raised it, which the line called.
        """
        text = self.by_path.get(path)
        if text is None:
            return False
        called = outside and line in text.outward
        return called or any(first <= line <= last for first, last in text.skipping)

    def names(self, name: str) -> bool:
        """Return whether a text speaks of a name."""
        return any(name in text.names for text in self.by_path.values())

    def replaces(self, name: str) -> bool:
        """Return whether a text may set an attribute or key of this name, for good too."""
        return any(name in text.replaced for text in self.by_path.values())


def read_texts(
    files: Mapping[str, bytes], tests: Sequence[str], given: Collection[str]
) -> GivenTexts:
    """Return what the texts of the files `given` tell; only those among `tests` hold tests."""
    trees = {path: tree for path in given if (tree := _tree(path, files))}
    written = {
        path.removesuffix(".py").removesuffix("/__init__").partition("/")[0]
        for path in files
        if path.endswith(".py") and path not in given
    }
    foreign = {path: _foreign(tree, written) for path, tree in trees.items()}
    words = _leaving(trees)
    texts = {}
    for path in sorted(trees):
        reader = TextReader(trees[path], words, foreign[path], written)
        texts[path] = reader.text(path, path in tests)
    settings = [path for path in trees if path.rpartition("/")[2] == "conftest.py"]
    chosen = any(texts[path].names & CHOOSING or texts[path].star for path in settings)
    return GivenTexts(texts, chosen)


def _tree(path: str, files: Mapping[str, bytes]) -> ast.Module | None:
    if not path.endswith(".py") or path not in files:
        return None
    try:
        return ast.parse(files[path])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _leaving(trees: Mapping[str, ast.Module]) -> set[str]:
    """Return the names by which the texts leave out tests, their own helpers among them."""
    defined: dict[str, set[str]] = {}
    for tree in trees.values():
        for statement in ast.walk(tree):
            if isinstance(statement, Defined) and not statement.name.startswith("test"):
                defined.setdefault(statement.name, set()).update(names_of(statement))
            elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value:
                for name in targets_of(statement):
                    defined.setdefault(name, set()).update(names_of(statement.value))
    return _closure(defined, set(SKIPPING))


def _closure(uses: Mapping[str, set[str]], found: set[str]) -> set[str]:
    """Return the names that use one of `found`, directly or not, and these."""
    while more := {name for name in uses if name not in found and uses[name] & found}:
        found |= more
    return found


def _foreign(tree: ast.Module, written: Collection[str]) -> set[str]:
    """Return the names in a text that come from the code under test, directly or not."""
    found, uses = set[str](), dict[str, set[str]]()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if node.level or (node.module or "").partition(".")[0] in written:
                found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in written:
                    found.add(alias.asname or alias.name.partition(".")[0])
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and node.value:
            for name in targets_of(node):
                uses.setdefault(name, set()).update(names_of(node.value))
    return _closure(uses, found)
