"""What does a name in a module stand for? Resolved through imports, aliases and classes.

A name is followed as the language would: through imports, relative ones too, aliases, re-exports
and star imports, `self` and `super`, attributes of classes whose type is written, and base classes.
A name that cannot be followed is unresolved; nothing is guessed. The reader records every facet
that it is asked for, missing ones too: the answer holds as long as they do.
"""

import re
from collections.abc import Iterator, Mapping
from posixpath import dirname, join
from typing import NamedTuple

from backcast.domain.outline import EXISTS, LINK, Facet, part_of
from backcast.domain.paths import is_aside, is_test
from backcast.domain.tree import (
    FOLDER,
    KINDS,
    MODULE,
    PACKAGE,
    SOURCES,
    TOP,
    TREE,
    Root,
    Tree,
    root_of,
    tree_of,
)

MAX_STEPS = 64
"The most bindings followed for one name; a longer chain is a circle, or not worth it."
MAX_LINKS = 8
"The most symbolic links followed for one module."
LONGEST_LIST = 1_400
"Characters of an `__all__` that is surely written out whole."
_MORE = re.compile(r"[*+]")
UNSHADOWED = frozenset(
    (
        *("abc", "atexit", "builtins", "codecs", "errno", "faulthandler", "gc", "genericpath"),
        *("importlib", "io", "itertools", "marshal", "ntpath", "os", "posix", "posixpath", "pwd"),
        *("site", "stat", "sys", "time"),
    )
)
"Modules of the language that Python holds in itself, and finds before any file."


class Target(NamedTuple):
    """The thing that a name stands for."""

    kind: str
    "module, symbol, attribute or library."
    path: str
    "The module's path; a library's dotted name."
    name: str = ""
    "The qualified name within the module."


class Reader:
    """The facets of the modules of one moment, with a record of the ones read."""

    def __init__(
        self, modules: Mapping[str, Mapping[str, Facet]], tree: Tree | None = None
    ) -> None:
        self.modules = modules
        self._tree = tree
        self.seen: dict[tuple[str, str], Facet | None] = {}
        "Facets read, existing or not, by path and key."
        self.paths: dict[tuple[str, str], str | None] = {}
        "Results of `module_path`, by importer and name as written."
        self.names: dict[tuple[str, str], Target | None] = {}
        "Targets of names in namespaces, by module and name."
        self.resolved: dict[tuple[str, str, str], Target | None] = {}
        "Results of `resolve`, by module, dotted name, and the class of `self`."

    def facet(self, path: str, key: str) -> Facet | None:
        """Return a facet of a module, or a part of one; None for none."""
        place = path, key
        if place not in self.seen:
            if path == TREE:
                self.seen[place] = self.tree.facets.get(key)
            else:
                module = self.modules.get(path)
                self.seen[place] = None if module is None else part_of(module, key)
        return self.seen[place]

    @property
    def tree(self) -> Tree:
        """The tree of the modules."""
        if self._tree is None:
            self._tree = tree_of(self.modules)
        return self._tree

    def roots(self, name: str) -> tuple[Root, ...]:
        """Return the folders in which a name stands at the top."""
        return tuple(map(root_of, self.facet(TREE, TOP + name) or ()))

    def exists(self, path: str) -> bool:
        """Return whether a module exists."""
        return self.facet(path, EXISTS) is not None


class PastReader(Reader):
    """A reader that also finds removed modules.

    Its reads are recorded in the reader that it is made of.
    """

    def __init__(self, reader: Reader, gone: Mapping[str, int], tree: Tree | None = None) -> None:
        super().__init__(reader.modules, tree)
        self.seen, self.gone = reader.seen, gone

    def exists(self, path: str) -> bool:
        """Return whether a module exists, or did once."""
        return super().exists(path) or path in self.gone

    @property
    def tree(self) -> Tree:
        """The tree of the modules and of the removed ones."""
        if self._tree is None:
            self._tree = past_tree(self.modules, self.gone)
        return self._tree

    def roots(self, name: str) -> tuple[Root, ...]:
        """Return the folders in which a name stands or stood; the reader itself reads the name."""
        return tuple(map(root_of, self.tree.facets.get(TOP + name) or ()))


def past_tree(modules: Mapping[str, object], gone: Mapping[str, int]) -> Tree:
    """Return the tree of some modules and removed ones."""
    return tree_of(dict.fromkeys(sorted({*modules, *gone})))


def resolve(reader: Reader, path: str, dotted: str, scope: str = "") -> Target | None:
    """Return the target of a dotted name in a module, or inside a function or class of it.

    `scope` is the qualified name of that function or class. None if the name is unresolved.
    """
    return _Names(reader).kept(path, dotted, scope)


def module_path(reader: Reader, importer: str, written: str) -> str | None:
    """Return the path of the task's own module that an import names; None for none.

    `written` is as in the source: `pkg.mod`, `.mod`, `..`. Absolute names are looked for beside the
    importer's outermost package, in the folders above it and their folders of sources, at the tops
    of other projects of the repository, and at last wherever there is one package of that name. A
    name of the language's own library is the task's own only where a program stands beside it.
    """
    key = importer, written
    if key not in reader.paths:
        reader.paths[key] = _module_path(reader, importer, written)
    return reader.paths[key]


def _module_path(reader: Reader, importer: str, written: str) -> str | None:
    name = written.lstrip(".")
    level = len(written) - len(name)
    parts = [part for part in name.split(".") if part]
    if level:
        folder = dirname(importer)
        for _ in range(level - 1):
            if not folder:
                return None
            folder = dirname(folder)
        return _module_at(reader, folder, parts)
    for folder, kind in _places(reader, importer, parts[0]) if parts else ():
        if len(parts) > 1 and kind == MODULE:
            continue  # nothing is inside a module
        if found := _module_at(reader, folder, parts, is_module=kind == MODULE):
            return found
    return None


def _places(reader: Reader, importer: str, top: str) -> Iterator[tuple[str, str]]:
    """Yield the folders in which Python would find a name, with what stands there, in order.

    Packages and modules go before folders that are no packages, as they do in Python.
    """
    if top in UNSHADOWED or not (roots := reader.roots(top)):
        return
    home = _home(reader, importer)
    beside = [(one.folder, one.kind) for one in reversed(roots) if one.kind != FOLDER]
    yield from (place for place in beside if place[0] == home)
    # A name of the language's own library is another one only beside a program.
    if reader.facet(importer, f"standard:{top}"):
        yield from (place for place in beside if place[0] == "" != home)
    else:
        yield from _all_places(top, roots, home)


def _all_places(top: str, roots: tuple[Root, ...], home: str) -> list[tuple[str, str]]:
    above: dict[str, int] = {}
    for folder in _upwards(home):
        for place in (folder, *(join(folder, name) for name in SOURCES)):
            above.setdefault(place, len(above))
    ranked = []
    for root in roots:
        kind, folder = KINDS.index(root.kind), root.folder
        is_folder = root.kind == FOLDER
        if folder in above:
            ranked.append((is_folder, 0, above[folder], folder, kind))
        elif _is_elsewhere(root, top, roots):
            far = -len(_common(folder, home))
            ranked.append((is_folder, 2 - root.declared, far, folder, kind))
    return [(folder, KINDS[kind]) for *_, folder, kind in sorted(ranked)]


def _home(reader: Reader, importer: str) -> str:
    """Return the folder of the importer's outermost package, or of the importer itself."""
    folder = dirname(importer)
    while folder and reader.exists(join(folder, "__init__.py")):
        folder = dirname(folder)
    return folder


def _upwards(folder: str) -> Iterator[str]:
    while folder:
        yield folder
        folder = dirname(folder)
    yield ""


def _is_elsewhere(root: Root, top: str, roots: tuple[Root, ...]) -> bool:
    """Return whether a root that is not above an importer may be on its path all the same."""
    if is_test(f"{top}/x.py") or is_test(f"{top}.py") or is_aside(f"{top}/"):
        return False
    if root.declared:
        return True
    if root.kind != PACKAGE or is_aside(f"{root.folder}/x") or is_test(f"{root.folder}/x.py"):
        return False
    return sum(one.kind == PACKAGE for one in roots) == 1


def _common(folder: str, other: str) -> list[str]:
    """Return the parts that two folders have in common at their beginning."""
    found: list[str] = []
    for part, own in zip(folder.split("/"), other.split("/"), strict=False):
        if part != own:
            break
        found.append(part)
    return found


def _module_at(
    reader: Reader, folder: str, parts: list[str], *, is_module: bool = False
) -> str | None:
    """Return the module of a dotted name below a folder: a package goes before a module."""
    for _ in range(MAX_LINKS):
        place = "/".join([folder, *parts] if folder else parts)
        package = f"{place}/__init__.py" if place else "__init__.py"
        files = (package, f"{place}.py", f"{place}.pyi") if parts else (package,)
        for path in files[is_module:]:
            if found := _linked(reader, path):
                return found
        if is_module or not (within := _linked_folder(reader, folder, parts)):
            return None
        folder, parts = within
    return None


def _linked_folder(reader: Reader, folder: str, parts: list[str]) -> tuple[str, list[str]] | None:
    """Return where a dotted name goes on if one of its folders is a symbolic link."""
    for end in range(1, len(parts) + 1):
        found = reader.facet("/".join([folder, *parts[:end]] if folder else parts[:end]), EXISTS)
        if found and found[0] == LINK:
            return found[1], parts[end:]
    return None


def _linked(reader: Reader, path: str) -> str | None:
    """Return an existing module, or the one that it is a symbolic link to."""
    for _ in range(MAX_LINKS):
        if not reader.exists(path):
            return None
        found = reader.facet(path, EXISTS) or ()
        if found[:1] != (LINK,) or not reader.exists(found[1]):
            break
        path = found[1]
    return path


class _Names:
    """One question, with a bound on how many bindings are followed for it."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.steps = reader, 0

    def kept(self, path: str, dotted: str, scope: str) -> Target | None:
        """Return a dotted name's target; remembered unless a local name may hide it."""
        owner = ""
        if scope and dotted.partition(".")[0] in ("self", "super"):
            owner = self._owner(path, scope)
        elif scope and self.reader.facet(path, f"locals:{scope}"):
            return self.dotted(path, dotted, scope)
        key, found = (path, dotted, owner), self.reader.resolved
        if key not in found:
            found[key] = self.dotted(path, dotted, scope)
        return found[key]

    def dotted(self, path: str, dotted: str, scope: str) -> Target | None:
        root, *rest = dotted.split(".")
        if root[:1] in ("", "?"):
            return None
        if root in ("self", "super") and scope:
            return self._of_self(path, scope, root, rest)
        return self._rest(self._root(path, root, scope), rest, path)

    def _root(self, path: str, name: str, scope: str) -> Target | None:
        """Return the target of a name's first part; remembered if it is a question's first step."""
        if self.steps or (scope and self.reader.facet(path, f"locals:{scope}")):
            return self._in_scope(path, name, scope)
        key = path, name
        if key not in self.reader.names:
            self.reader.names[key] = self._name(path, name)
            self.steps = 0
        return self.reader.names[key]

    def _of_self(self, path: str, scope: str, root: str, rest: list[str]) -> Target | None:
        """Return the target of `self.x.y` or `super.x` in a method."""
        owner = self._owner(path, scope)
        if not owner or not rest:
            return None
        first = self._member(path, owner, rest[0], own=root == "self")
        return self._rest(first, rest[1:], path)

    def _owner(self, path: str, scope: str) -> str:
        """Return the class of a method, or the scope itself if it is a class."""
        is_class = self.reader.facet(path, f"kind:{scope}") == ("class",)
        return scope if is_class else scope.rpartition(".")[0]

    def _in_scope(self, path: str, name: str, scope: str) -> Target | None:
        for bound in (self.reader.facet(path, f"locals:{scope}") or ()) if scope else ():
            local, _, binding = bound.partition("=")
            if local == name:
                return self._bound(path, name, tuple(binding.split(" ")))
        return self._name(path, name)

    def _name(self, path: str, name: str) -> Target | None:
        """Return the target of a name in a module's namespace."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            return None
        if binding := self.reader.facet(path, f"name:{name}"):
            return self._bound(path, name, binding) or self._otherwise(path, name)
        for written in reversed(self.reader.facet(path, "stars") or ()):
            module = module_path(self.reader, path, written)
            if not module or module == path or not self._exports(module, name):
                continue
            if found := self._name(module, name):
                return found
        return None

    def _otherwise(self, path: str, name: str) -> Target | None:
        """Return the target of a name by its other bindings, where the first one leads nowhere."""
        for text in self.reader.facet(path, f"other:{name}") or ():
            if found := self._bound(path, name, tuple(text.split(" "))):
                return found
        return None

    def _exports(self, module: str, name: str) -> bool:
        """Return whether `from module import *` may bring a name."""
        match self.reader.facet(module, "name:__all__"):
            case None:
                return name[:1] != "_"
            case ("value", text) if 2 < len(text) < LONGEST_LIST and text.isprintable():
                is_whole = text[0] == "[" and text[-1] == "]" and not _MORE.search(text)
                return not is_whole or repr(name) in text
        return True

    def _bound(self, path: str, name: str, binding: Facet) -> Target | None:
        match binding:
            case ("def",):
                return Target("symbol", path, name)
            case ("import", written):
                # A folder of own modules without `__init__.py` looks like a library here.
                module = module_path(self.reader, path, written)
                return Target("module", module) if module else Target("library", written)
            case ("from", written, original):
                return self._imported(path, written, original)
            case ("alias", dotted):
                self.steps += 1
                return self.dotted(path, dotted, "") if self.steps <= MAX_STEPS else None
            case ("value", *_):
                return Target("attribute", path, name)
        return None

    def _imported(self, path: str, written: str, original: str) -> Target | None:
        """Return the target of `from written import original`."""
        inner = f"{written}{original}" if written.endswith(".") else f"{written}.{original}"
        module = module_path(self.reader, path, written)
        # A package may import from itself while it is initialised: only submodules exist then.
        if module and module != path and (found := self._name(module, original)):
            return found
        if submodule := module_path(self.reader, path, inner):
            return Target("module", submodule)
        if module or written.startswith("."):
            return None
        return Target("library", inner)

    def _rest(self, target: Target | None, rest: list[str], importer: str) -> Target | None:
        """Return the target of a target's attribute, and so on to the end of the name."""
        for part in rest:
            target = self._typed(target) if target and target.kind == "attribute" else target
            if target is None:
                return None
            match target.kind:
                case "module":
                    target = self._name(target.path, part) or self._submodule(target.path, part)
                case "library":
                    dotted = f"{target.path}.{part}"
                    own = module_path(self.reader, importer, dotted)
                    target = Target("module", own) if own else Target("library", dotted)
                case _:
                    target = self._member(target.path, target.name, part)
        return target

    def _typed(self, attribute: Target) -> Target | None:
        """Return the type of an attribute, if it is written."""
        kind = "attribute" if "." in attribute.name else "type"
        typed = self.reader.facet(attribute.path, f"{kind}:{attribute.name}")
        return self.dotted(attribute.path, typed[0], "") if typed and typed[0] else None

    def _submodule(self, package: str, name: str) -> Target | None:
        if not package.endswith("__init__.py"):
            return None
        found = _module_at(self.reader, dirname(package), [name])
        return Target("module", found) if found else None

    def _member(self, path: str, owner: str, name: str, *, own: bool = True) -> Target | None:
        """Return a method or attribute of a class or of its base classes."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            return None
        if own:
            if self.reader.facet(path, f"kind:{owner}.{name}"):
                return Target("symbol", path, f"{owner}.{name}")
            if self.reader.facet(path, f"attribute:{owner}.{name}"):
                return Target("attribute", path, f"{owner}.{name}")
        for written in self.reader.facet(path, f"bases:{owner}") or ():
            parent = self.dotted(path, written.partition("[")[0], "")
            if parent is None or parent.kind != "symbol" or parent[1:] == (path, owner):
                continue
            if found := self._member(parent.path, parent.name, name):
                return found
        return None
