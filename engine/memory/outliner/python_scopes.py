"""Scopes of a Python function or class, and the meanings of names in them."""

import builtins
from collections.abc import Mapping, Sequence
from typing import Any

from backcast.domain.outline import Facet
from backcast.engine.memory.outliner.python_effects import SETTINGS, effect_of
from backcast.engine.memory.outliner.texts import fit

# An interactive session adds `_` to the language's own names, and `site` adds a few more.
BUILTINS = frozenset(dir(builtins)) - {"_"} | {
    *("__file__", "__path__", "__class__"),
    *("copyright", "credits", "exit", "help", "license", "quit"),
}


class Scope:
    """A function, lambda, comprehension or class, with the names that occur in it."""

    __slots__ = (
        "bound", "called", "declared", "imports", "is_class", "loaded", "members", "own", "parent",
        "raised", "settings", "stack", "upward",
    )  # fmt: skip

    def __init__(self, parent: "Scope | None", nodes: Sequence[Any], own: str = "") -> None:
        self.parent = parent
        self.stack = list(nodes)
        "Nodes that are still to be walked."
        self.own = own
        "The parameter that holds a method's own object."
        self.is_class = False
        self.members = False
        "Whether functions and classes in it are symbols of their own."
        self.upward = False
        "Whether `:=` binds in the scope around it."
        self.bound: set[str] = set()
        self.called: set[str] = set()
        self.loaded: set[str] = set()
        self.raised: list[str] = []
        self.settings: list[tuple[str, str]] = []
        "Calls with a literal text as first argument, and that text."
        self.imports: dict[str, str] = {}
        "Names bound by imports, with their absolute dotted names."
        self.declared: dict[str, bool] = {}
        "Names declared as bound elsewhere, with whether by `global`."

    def settle(self) -> None:
        """Separate local names from the others, once all scopes are walked."""
        self.bound.difference_update(self.declared, self.imports)

    def root(self, name: str, context: Mapping[str, str]) -> tuple[str, str]:
        """Return the written form of a dotted name's first part, and its absolute dotted name.

        The written form of the language's own names is empty, and so is the absolute name of local
        ones.
        """
        place: Scope | None = self
        while place is not None:
            if name in place.imports:
                return name, place.imports[name]
            if place.declared.get(name):
                break
            if name in place.bound and (place is self or not place.is_class):
                return place.written(name), ""
            place = place.parent
        if name in context:
            return name, context[name]
        return "" if name in BUILTINS else name, name

    def written(self, name: str) -> str:
        """Return the written form of a name that is bound here."""
        if self.members:
            return f"self.{name}"
        return "self" if name == self.own else f"?{name}"


def context_of(bound: Mapping[str, Facet], roots: frozenset[str]) -> dict[str, str]:
    """Return a module's names with another meaning than usual, with their absolute names.

    These are the language's own names that the module binds, and aliases of known modules. A
    function's own text decides everything else.
    """
    context = {}
    for name, binding in bound.items():
        lead = lead_of(binding)
        known = name in roots or lead.partition(".")[0] in roots
        if name in BUILTINS or (known and lead != name):
            context[name] = lead
    return context


def lead_of(binding: Facet) -> str:
    """Return the absolute dotted name that an import binds; empty for every other binding."""
    match binding:
        case ("import", module):
            return module
        case ("from", module, name) if not module.startswith("."):
            return f"{module}.{name}"
    return ""


def collect(scope: Scope, context: Mapping[str, str], facets: dict[str, set[str]]) -> None:
    """Add the names of a scope to the facets of its function or class."""
    for dotted in scope.called:
        name, dot, rest = dotted.partition(".")
        written, lead = scope.root(name, context)
        if effect := effect_of(lead + dot + rest):
            facets["effects"].add(effect)
        if written or (name == "super" and rest):
            facets["calls"].add((written or name) + dot + rest)
    for dotted in scope.loaded if scope.members else scope.loaded - scope.bound:
        name, dot, rest = dotted.partition(".")
        written, _ = scope.root(name, context)
        if written and written[0] != "?" and (rest or written != "self"):
            facets["uses"].add(written + dot + rest)
    for dotted in scope.raised:
        name, dot, rest = dotted.partition(".")
        written = scope.root(name, context)[0] or name
        if written[0] != "?" and (rest or written != "self"):
            facets["raises"].add(written + dot + rest)
    for dotted, literal in scope.settings:
        name, dot, rest = dotted.partition(".")
        if scope.root(name, context)[1] + dot + rest in SETTINGS:
            facets["config"].add(fit(literal))
