"""Finds what a Python function or class calls, reads and raises, in one pass without recursion.

First all scopes are walked, which shows the bindings of each. Then each name is written as it
stands, as `self`, as `?name` if it is local, or not at all if it is the language's own.
"""

import ast
from ast import Assign, Attribute, Call, Constant, Expr, If, Load, Name
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import Any

from backcast.domain.outline import Facet
from backcast.engine.memory.outliner.python_attributes import first_parameter
from backcast.engine.memory.outliner.python_names import imported, modules_of
from backcast.engine.memory.outliner.python_scopes import Scope, collect, lead_of
from backcast.engine.memory.outliner.python_symbols import is_accessor
from backcast.engine.memory.outliner.python_texts import chain_of, dotted_of
from backcast.engine.memory.outliner.python_types import DOTTED
from backcast.engine.memory.outliner.texts import LONGEST, listed

ATOMS = {"arg", "attr", "ctx", "id", "is_async", "kind", "kwd_attrs", "op", "ops", "type_comment"}
"Fields of a tree that hold no expressions or statements."


class Walk:
    """The calls, reads, raised names and imports of one symbol's definitions."""

    def __init__(
        self, nodes: Sequence[Any], context: Mapping[str, str] | None = None, in_class: bool = False
    ) -> None:
        """Walk the definitions of a symbol; see `context_of` for the context."""
        self.in_class = in_class
        self.imports: set[str] = set()
        self.found: dict[str, set[str]] = {
            key: set() for key in ("calls", "locals", "raises", "effects", "uses", "config")
        }
        self.root = self.scope = Scope(None, nodes)
        self.scopes = [self.root]
        for scope in self.scopes:  # which grows on the way
            self.scope = scope
            _walk(scope, self)
        for scope in self.scopes:
            scope.settle()
        for scope in self.scopes:
            collect(scope, context or {}, self.found)

    def facets(self) -> dict[str, Facet]:
        """Return the facets that are not empty, by the first part of the key."""
        return {key: listed(texts) for key, texts in self.found.items() if texts}

    def open(self, nodes: Sequence[Any], own: str = "") -> Scope:
        """Return a new scope inside the current one, to be walked later."""
        scope = Scope(self.scope, nodes, own)
        self.scopes.append(scope)
        return scope


def _walk(scope: Scope, walk: Walk) -> None:
    """Walk one scope, without the scopes inside it."""
    stack, loaded, bound = scope.stack, scope.loaded, scope.bound
    while stack:
        node = stack.pop()
        kind = node.__class__
        # These are most of every tree.
        if kind is Name:
            (loaded if node.ctx.__class__ is Load else bound).add(node.id)
        elif kind is Attribute:
            if node.ctx.__class__ is Load:
                loaded.add(chain_of(node, stack))
            else:
                stack.append(node.value)
        elif kind is Call:
            _call(node, scope)
        elif kind is Expr:
            stack.append(node.value)
        elif kind is Assign:
            stack += node.targets
            stack.append(node.value)
        elif kind is If:
            stack.append(node.test)
            stack += node.body
            stack += node.orelse
        elif kind is not Constant:
            _STEPS.get(kind, _children)(node, walk)


def _call(node: Any, scope: Scope) -> None:
    stack, called, arguments = scope.stack, node.func, node.args
    if called.__class__ is Name:
        name = called.id
    elif called.__class__ is Attribute:
        name = chain_of(called, stack)
    else:
        name = ""
        stack.append(called)
    if name:
        scope.called.add(name)
    if arguments:
        first = arguments[0]
        if first.__class__ is Constant and first.value.__class__ is str:
            scope.settings.append((name, first.value))
        stack.extend(arguments)
    for keyword in node.keywords:
        stack.append(keyword.value)


def _children(node: Any, walk: Walk) -> None:
    stack = walk.scope.stack
    for value in _reader_of(node.__class__)(node):
        if value.__class__ is list:
            stack += value
        elif value is not None:
            stack.append(value)


@cache
def _reader_of(kind: type) -> Callable[[Any], Iterable[Any]]:
    """Return a function from a node of a kind to its children: nodes, lists or None."""
    names = [name for name in getattr(kind, "_fields", ()) if name not in ATOMS]
    if len(names) > 1:
        return attrgetter(*names)
    return lambda node: [getattr(node, name) for name in names]


def _function(node: Any, walk: Walk) -> None:
    scope, own, decorators = walk.scope, "", node.decorator_list
    if scope is walk.root:
        own = first_parameter(node) if walk.in_class else ""
        decorators = [] if decorators and is_accessor(node) else decorators
    else:
        scope.bound.add(node.name)
        if scope.members:
            return
    scope.stack.extend(decorators)
    _annotation(node.returns, scope)
    _type_parameters(node, scope)
    _parameters(node.args, scope, walk.open(node.body, own))


def _lambda(node: Any, walk: Walk) -> None:
    _parameters(node.args, walk.scope, walk.open([node.body]))


def _parameters(arguments: Any, scope: Scope, inner: Scope) -> None:
    """Bind parameters in the inner scope; read their annotations and defaults in the outer."""
    scope.stack += arguments.defaults
    scope.stack += arguments.kw_defaults
    stars = (arguments.vararg, arguments.kwarg)
    for argument in chain(arguments.posonlyargs, arguments.args, arguments.kwonlyargs, stars):
        if argument is not None:
            inner.bound.add(argument.arg)
            if argument.annotation is not None:
                _annotation(argument.annotation, scope)


def _annotation(node: Any, scope: Scope) -> None:
    """Read an annotation; a quoted one counts by the names in its text."""
    if node.__class__ is Constant and node.value.__class__ is str:
        scope.loaded.update(DOTTED.findall(node.value[:LONGEST]))
    elif node is not None:
        scope.stack.append(node)


def _type_parameters(node: Any, scope: Scope) -> None:
    for parameter in getattr(node, "type_params", ()):  # not before Python 3.12
        scope.bound.add(parameter.name)
        scope.stack.append(parameter)


def _class(node: Any, walk: Walk) -> None:
    scope = walk.scope
    if scope is not walk.root:
        scope.bound.add(node.name)
        if scope.members:
            return
    scope.stack.extend(node.decorator_list + node.bases + node.keywords)
    _type_parameters(node, scope)
    inner = walk.open(node.body)
    inner.is_class, inner.members = True, scope is walk.root


def _comprehension(node: Any, walk: Walk) -> None:
    first, *others = node.generators
    inside = [node.key, node.value] if node.__class__ is ast.DictComp else [node.elt]
    inside += [first.target, *first.ifs]
    walk.scope.stack.append(first.iter)
    walk.open(inside + others).upward = True


def _walrus(node: Any, walk: Walk) -> None:
    scope = walk.scope
    while scope.upward and scope.parent is not None:
        scope = scope.parent
    scope.bound.add(node.target.id)
    walk.scope.stack.append(node.value)


def _import(node: Any, walk: Walk) -> None:
    walk.imports.update(modules_of(node))
    for name, binding in imported(node):
        if name != "*":
            walk.scope.imports[name] = lead_of(binding)
            walk.found["locals"].add(f"{name}={' '.join(binding)}")


def _global(node: Any, walk: Walk) -> None:
    walk.scope.declared |= dict.fromkeys(node.names, True)
    walk.found["effects"].add("globals")


def _nonlocal(node: Any, walk: Walk) -> None:
    walk.scope.declared |= dict.fromkeys(node.names, False)


def _binding(node: Any, walk: Walk) -> None:
    """Take a node that binds a name given as plain text."""
    name = getattr(node, "name", None) or getattr(node, "rest", None)
    if name:
        walk.scope.bound.add(name)
    _children(node, walk)


def _augmented(node: Any, walk: Walk) -> None:
    scope, target = walk.scope, node.target
    if target.__class__ is Attribute:
        scope.loaded.add(chain_of(target, scope.stack))
    else:
        scope.stack.append(target)
        if target.__class__ is Name:
            scope.loaded.add(target.id)
    scope.stack.append(node.value)


def _annotated(node: Any, walk: Walk) -> None:
    walk.scope.stack.append(node.target)
    _annotation(node.annotation, walk.scope)
    if node.value is not None:
        walk.scope.stack.append(node.value)


def _raise(node: Any, walk: Walk) -> None:
    raised = node.exc.func if node.exc.__class__ is Call else node.exc
    if dotted := dotted_of(raised):
        walk.scope.raised.append(dotted)
    _children(node, walk)


def _subscript(node: Any, walk: Walk) -> None:
    is_text = node.slice.__class__ is Constant and node.slice.value.__class__ is str
    if is_text and node.ctx.__class__ is Load and (dotted := dotted_of(node.value)):
        walk.scope.settings.append((f"{dotted}.get", node.slice.value))
    walk.scope.stack += (node.value, node.slice)


_STEPS: dict[type, Callable[[Any, Walk], None]] = {
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.Lambda: _lambda,
    ast.ClassDef: _class,
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp), _comprehension),
    ast.NamedExpr: _walrus,
    ast.Import: _import,
    ast.ImportFrom: _import,
    ast.Global: _global,
    ast.Nonlocal: _nonlocal,
    **dict.fromkeys((ast.ExceptHandler, ast.MatchAs, ast.MatchStar, ast.MatchMapping), _binding),
    ast.AugAssign: _augmented,
    ast.AnnAssign: _annotated,
    ast.Raise: _raise,
    ast.Subscript: _subscript,
}
