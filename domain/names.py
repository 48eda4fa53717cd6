"""What does a name in a module stand for? Resolved through imports, aliases and classes.

A name is followed as the language would: through imports, relative ones too, aliases, re-exports
and star imports, `self` and `super`, attributes of classes whose type is written, and base classes.
A name that cannot be followed is unresolved; nothing is guessed. The reader records every facet
that it is asked for, missing ones too: the answer holds as long as they do.
"""

import re
from posixpath import dirname

from backcast.domain.imports import module_at, module_path
from backcast.domain.outline import Facet
from backcast.domain.reader import Reader, Target

VERSION = 2
"Grows when a name may lead elsewhere than before, by the same outlines."
MAX_STEPS = 64
"The most bindings followed for one name; a longer chain is a circle, or not worth it."
LONGEST_LIST = 1_400
"Characters of an `__all__` that is surely written out whole."
_MORE = re.compile(r"[*+]")


def resolve(reader: Reader, path: str, dotted: str, scope: str = "") -> Target | None:
    """Return the target of a dotted name in a module, or inside a function or class of it.

    `scope` is the qualified name of that function or class. None if the name is unresolved.
    """
    return _Names(reader).kept(path, dotted, scope)


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
            case ("value", text) if 2 <= len(text) < LONGEST_LIST and text.isprintable():
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
        found = module_at(self.reader, dirname(package), [name])
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
