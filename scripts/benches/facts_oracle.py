"""What a repository itself says of a fact: `git show` and Python's own parser, nothing of ours."""

import ast
import hashlib
import html
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

Checked = Callable[[str, str], bool]


class GitOracle:
    """A reader of the files of a repository as of its commits."""

    def __init__(self, repository: Path) -> None:
        self.repository = repository
        self.text = lru_cache(4096)(self._text)
        self.tree = lru_cache(1024)(self._tree)

    def _text(self, commit: str, path: str) -> bytes | None:
        done = subprocess.run(
            ["git", "-C", str(self.repository), "show", f"{commit}:{path}"], capture_output=True
        )
        return done.stdout if done.returncode == 0 else None

    def _tree(self, commit: str, path: str) -> ast.Module | None:
        body = self.text(commit, path)
        try:
            return None if body is None else ast.parse(body)
        except (SyntaxError, ValueError):
            return None

    def holds(self, commit: str, subject: str, relation: str, object: str) -> bool | None:
        """Return whether a fact holds at a commit; None where nothing here can tell."""
        _, _, place = subject.partition(":")
        path, _, name = place.partition("::")
        if relation == "text":
            return self._has_text(commit, path, object)
        if relation == "does not parse":
            return self.text(commit, path) is not None and self.tree(commit, path) is None
        if relation == "doc" and not path.endswith((".py", ".pyi")):
            body = self.text(commit, path)
            text = html.unescape((body or b"").decode(errors="replace"))
            without = re.sub(r"\]\([^)]*\)", "", text)  # of a link the words
            return _letters(object) in _letters(without)
        if relation not in CHECKS:
            return None
        tree = self.tree(commit, path)
        return tree is not None and CHECKS[relation](tree, name, object)

    def _has_text(self, commit: str, path: str, object: str) -> bool:
        body = self.text(commit, path)
        if object.startswith(("deleted", "renamed to")):
            return body is None
        digest = object.partition("sha256 ")[2].partition(",")[0]
        return (
            body is not None
            and hashlib.sha256(body).hexdigest().startswith(digest)
            and bool(digest)
        )


def imports_of(tree: ast.Module) -> set[str]:
    """Return every module that is imported, as written."""
    found = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


def definitions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield every function and class with its qualified name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + node.name, node
            yield from definitions(node, f"{prefix}{node.name}.")
        else:
            yield from definitions(node, prefix)


def _named(tree: ast.Module, name: str) -> list[ast.AST]:
    plain = ".".join(part.partition("#")[0] for part in name.split("."))
    return [node for own, node in definitions(tree) if own == plain]


def _imports(tree: ast.Module, name: str, written: str) -> bool:
    return written in imports_of(tree)


def _signature(tree: ast.Module, name: str, written: str) -> bool:
    for node in _named(tree, name):
        if isinstance(node, ast.ClassDef):
            if written == "class":
                return True
            continue
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        text = written.removeprefix("async ")
        if text.endswith("…"):  # a long one is cut, and says so
            returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
            whole = f"({ast.unparse(node.args)}){returns}"
            if _letters(whole).startswith(_letters(text)):
                return True
            continue
        try:
            [own] = ast.parse(f"def f{text}: pass").body
        except SyntaxError:
            return False
        assert isinstance(own, ast.FunctionDef)
        same = ast.dump(own.args) == ast.dump(node.args)
        if same and _dump(own.returns) == _dump(node.returns):
            return True
    return False


def _letters(text: str) -> str:
    """Return the letters and digits of a text: marks of Markdown and blanks say nothing."""
    return "".join(letter for letter in text if letter.isalnum())


def _dump(node: ast.AST | None) -> str:
    return "" if node is None else ast.dump(node)


def _inherits(tree: ast.Module, name: str, written: str) -> bool:
    wanted = ast.dump(ast.parse(written, mode="eval").body)
    return any(wanted == ast.dump(base) for node in _named(tree, name)
               if isinstance(node, ast.ClassDef) for base in node.bases)  # fmt: skip


def _value(tree: ast.Module, name: str, written: str) -> bool:
    wanted = ast.dump(ast.parse(written, mode="eval").body)
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else (
            [node.target] if isinstance(node, ast.AnnAssign | ast.NamedExpr) else [])  # fmt: skip
        bound = any(isinstance(target, ast.Name) and target.id == name for target in targets)
        if bound and _dump(getattr(node, "value", None)) == wanted:
            return True
    return False


def _doc(tree: ast.Module, name: str, written: str) -> bool:
    nodes = _named(tree, name) if name else [tree]
    texts = (ast.get_docstring(node) for node in nodes)  # type: ignore[arg-type]
    return any(
        text and " ".join(text.split()).startswith(written.removesuffix("…")) for text in texts
    )


def _raises(tree: ast.Module, name: str, written: str) -> bool:
    last = written.rpartition(".")[2]
    for node in _named(tree, name):
        for inner in ast.walk(node):
            if isinstance(inner, ast.Raise) and inner.exc is not None:
                names = {one.id for one in ast.walk(inner.exc) if isinstance(one, ast.Name)}
                names |= {one.attr for one in ast.walk(inner.exc) if isinstance(one, ast.Attribute)}
                if last in names:
                    return True
    return False


def _reads(tree: ast.Module, name: str, written: str) -> bool:
    return any(isinstance(inner, ast.Constant) and inner.value == written
               for node in _named(tree, name) for inner in ast.walk(node))  # fmt: skip


CHECKS: dict[str, Callable[[ast.Module, str, str], bool]] = {
    "imports": _imports, "signature": _signature, "inherits": _inherits, "value": _value,
    "doc": _doc, "raises": _raises, "reads setting": _reads,
}  # fmt: skip
