"""Reads one file of tests: which must pass, and which its own text may leave out."""

import ast
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

SKIPPING = frozenset({
    "skip", "skipif", "skipIf", "skipUnless", "skipTest", "SkipTest", "Skipped", "xfail",
    "expectedFailure", "importorskip", "skip_unless", "skip_if",
})  # fmt: skip
"Names by which a text leaves out a test, or expects it to fail."
SUITES = frozenset({"TestCase", "IsolatedAsyncioTestCase"})
PLAIN_BASES = frozenset({"object", "ABC", "Generic", *SUITES})
KNOWN = frozenset({"pytest", "hypothesis", "freezegun", *sys.stdlib_module_names})
"Libraries whose decorators leave out no test, unless their name says so."
Defined = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class GivenText:
    """One file of the task, as far as its text tells about tests."""

    path: str
    required: dict[str, bool] = field(default_factory=dict)
    "Tests that must be seen, such as `TestA.test_b`; True where no decorator replaces them."
    excused: set[str] = field(default_factory=set)
    "Tests that a mark in the text may leave out or expect to fail."
    skipping: list[tuple[int, int]] = field(default_factory=list)
    "First and last lines of statements that leave out a test."
    outward: set[int] = field(default_factory=set)
    "Lines that call something else than the code under test."
    names: frozenset[str] = frozenset()
    "All names in the text."
    replaced: frozenset[str] = frozenset()
    "Names of attributes and keys that the text sets, or passes to a call as text."
    star: bool = False
    "Whether it imports `*`, so that other names may be its own too."
    imports: tuple[str, ...] = ()
    "Modules that it imports unconditionally."


def names_of(node: ast.AST) -> Iterator[str]:
    """Yield the names and attributes in a piece of text."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr


def targets_of(statement: ast.Assign | ast.AnnAssign | ast.AugAssign) -> Iterator[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    for target in targets:
        yield from (part.id for part in ast.walk(target) if isinstance(part, ast.Name))


def _sources(tree: ast.Module, foreign: Collection[str]) -> dict[str, str]:
    """Return the library from which each imported name comes, but not the code under test's."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                of = node.module if isinstance(node, ast.ImportFrom) else alias.name
                name = alias.asname or alias.name.partition(".")[0]
                if name not in foreign:
                    found[name] = (of or "").partition(".")[0]
    return found


def _root(node: ast.AST) -> str:
    """Return the first name of a call, an attribute or a subscript."""
    while isinstance(node, ast.Call | ast.Attribute | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _last(node: ast.AST) -> str:
    """Return the last name of a call, an attribute or a subscript."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _replaced(node: ast.AST) -> Iterator[str]:
    """Yield the names that a piece of text may replace."""
    if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
        yield node.attr
    values: Sequence[ast.AST] = ()
    if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        values = [node.slice]
    elif isinstance(node, ast.Global):
        yield from node.names
    elif isinstance(node, ast.Call):
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield from re.findall(r"\w+", value.value[:500])


def _is_mark(node: ast.expr) -> bool:
    return bool(re.match(r"(pytest\.)?mark\.\w+", ast.unparse(node)))


class TextReader:
    """A reader of one file."""

    def __init__(
        self, tree: ast.Module, words: set[str], foreign: set[str], written: Collection[str]
    ) -> None:
        self.tree, self.words, self.foreign, self.written = tree, words, foreign, written
        self.classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        self.sources = _sources(tree, foreign)

    def text(self, path: str, tested: bool) -> GivenText:
        """Return what the file tells."""
        text = GivenText(path)
        self._scan(text)
        if tested and not self._settles(self.tree.body, "__test__"):
            if self._marks_itself(self.tree.body):
                text.excused.add("")
            self._tests(self.tree.body, "", text, suite=False)
            for lost in self._unsettled():
                text.required.pop(lost, None)
        return text

    def _scan(self, text: GivenText) -> None:
        """Note what stands anywhere in the file."""
        names, replaced, imports = set[str](), set[str](), list[str]()
        for node in ast.walk(self.tree):
            replaced.update(_replaced(node))
            match node:
                case ast.Call() | ast.Raise():
                    last = node.end_lineno or node.lineno
                    if self._leaves(node):
                        text.skipping.append((node.lineno, last))
                    if isinstance(node, ast.Call) and _root(node) not in self.foreign:
                        text.outward.update(range(node.lineno, last + 1))
                case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                    names.add(name)
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    names.add(name)
                case ast.alias(name=name, asname=other):
                    names.add(other or name)
                    text.star |= name == "*"
        for node in self.tree.body:
            if isinstance(node, ast.Import):
                imports += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imports.append(node.module)
        text.names, text.replaced = frozenset(names), frozenset(replaced)
        text.imports = tuple(dict.fromkeys(imports))

    def _leaves(self, node: ast.Call | ast.Raise) -> bool:
        """Return whether a call or `raise` leaves out a test by the will of the text itself."""
        if isinstance(node, ast.Raise):
            return node.exc is not None and _last(node.exc) in SKIPPING
        if _last(node) == "importorskip" and node.args:
            # Whether the code under test can be imported is what is tested.
            name = node.args[0]
            text = name.value if isinstance(name, ast.Constant) else None
            return not (isinstance(text, str) and text.partition(".")[0] in self.written)
        return _last(node) in self.words and _root(node) not in self.foreign

    def _settles(self, body: Sequence[ast.stmt], name: str) -> bool:
        """Return whether a body assigns a name."""
        return any(
            name in targets_of(node)
            for node in body
            if isinstance(node, ast.Assign | ast.AnnAssign)
        )

    def _marks_itself(self, body: Sequence[ast.stmt]) -> bool:
        """Return whether a body's `pytestmark` may leave it out."""
        return any(
            "pytestmark" in targets_of(node) and self._excusing(node.value)
            for node in body
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and node.value
        )

    def _excusing(self, node: ast.expr) -> bool:
        """Return whether a mark or decorator may leave out a test by the text's own will."""
        if set(names_of(node)) & self.words:
            return True
        if _last(node) == "parametrize" and isinstance(node, ast.Call):
            values = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "argvalues")]
            return not any(set(names_of(value)) & self.foreign for value in values) and any(
                not isinstance(value, ast.List | ast.Tuple) or not value.elts for value in values
            )
        return self.sources.get(_root(node), "pytest") not in KNOWN

    def _keeps(self, node: ast.expr) -> bool:
        """Return whether one can see through a decorator to the function in the text."""
        root = _root(node)
        return root not in self.foreign and self.sources.get(root, "pytest") in KNOWN

    def _unsettled(self) -> Iterator[str]:
        """Yield the names of tests that the file itself replaces or takes away."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Delete):
                targets: Sequence[ast.expr] = node.targets
            elif isinstance(node, ast.Assign):
                targets = node.targets
            else:
                continue
            for target in targets:
                attribute = isinstance(target, ast.Attribute) and target.attr == "__test__"
                name = _root(target) if attribute else getattr(target, "id", "")
                yield from self._below(name)

    def _below(self, name: str) -> list[str]:
        if not name:
            return []
        node = self.classes.get(name)
        return [name] if node is None else [f"{name}.{method}" for method in self._all_names(node)]

    def _all_names(self, node: ast.ClassDef) -> list[str]:
        """Return the names of a class's methods, with those of its nested classes and bases."""
        found = list[str]()
        for member in self._family(node):
            for part in member.body:
                if isinstance(part, Defined):
                    found.append(part.name)
                elif isinstance(part, ast.ClassDef):
                    found += [f"{part.name}.{name}" for name in self._all_names(part)]
        return found

    def _family(self, node: ast.ClassDef) -> list[ast.ClassDef]:
        """Return a class and its bases in the same file."""
        family = [node]
        for member in family:  # which grows on the way
            for base in member.bases:
                known = self.classes.get(_root(base))
                if known is not None and known not in family:
                    family.append(known)
        return family

    def _tests(self, body: Sequence[ast.stmt], prefix: str, text: GivenText, suite: bool) -> None:
        """Note the tests of a module or a class."""
        for node in body:
            if isinstance(node, Defined) and node.name.startswith("test"):
                self._test(node, prefix, text)
            elif isinstance(node, ast.ClassDef) and not suite:
                self._class(node, prefix, text)
            elif isinstance(node, ast.Assign | ast.AnnAssign) and prefix:
                for name in targets_of(node):  # `test_x = None` takes an inherited test away
                    text.required.pop(prefix + name, None)

    def _test(self, node: Defined, prefix: str, text: GivenText) -> None:
        names = [set(names_of(mark)) for mark in node.decorator_list]
        if any(found & {"fixture", "property", "cached_property", "overload"} for found in names):
            text.required.pop(prefix + node.name, None)
            return
        name = prefix + node.name
        text.required[name] = all(map(self._keeps, node.decorator_list))
        text.excused.discard(name)
        if any(map(self._excusing, node.decorator_list)):
            text.excused.add(name)

    def _class(self, node: ast.ClassDef, prefix: str, text: GivenText) -> None:
        family = self._family(node)
        bases = [base for member in family for base in member.bases]
        suite = any(_last(base) in SUITES for base in bases)
        if not suite and not node.name.startswith("Test"):
            return
        own = GivenText(text.path)
        for member in reversed(family):
            self._tests(member.body, f"{prefix}{node.name}.", own, suite)
        text.excused |= own.excused
        if any(self._marks_class(member) for member in family):
            text.excused |= own.required.keys()
        if self._is_collected(family, bases, suite):
            text.required |= own.required

    def _marks_class(self, node: ast.ClassDef) -> bool:
        return self._marks_itself(node.body) or any(map(self._excusing, node.decorator_list))

    def _is_collected(
        self, family: Sequence[ast.ClassDef], bases: Sequence[ast.expr], suite: bool
    ) -> bool:
        """Return whether pytest is bound to collect a class, as far as its text tells."""
        for member in family:
            made = {part.name for part in member.body if isinstance(part, Defined)}
            if self._settles(member.body, "__test__") or (
                made & {"__init__", "__new__"} and not suite
            ):
                return False
            for mark in member.decorator_list:
                plain = _is_mark(mark) or set(names_of(mark)) & self.words
                if not plain and _root(mark) not in self.foreign:
                    return False
            if any(
                key.arg == "metaclass" and _last(key.value) != "ABCMeta" for key in member.keywords
            ):
                return False
        return suite or all(
            _last(base) in PLAIN_BASES or _root(base) in self.classes or _root(base) in self.foreign
            for base in bases
        )
