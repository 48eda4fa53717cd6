"""The known outcome of a step as a text to read: what stands before it, and which of it is new.

Of a recorded prompt it is the module as it was accepted; of a change of a history the body of the
function that the change is about, behind its path, the title of the commit, its signature and its
docstring; of an imported agent the action that it sent. What stands before it is the same under
every policy.
"""

import ast
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

from backcast.domain.errors import InputError
from backcast.domain.node import name_of, path_of
from backcast.engine.replay.steps import KnownState, ReplayStep
from backcast.projections import dependency_graph

Function = ast.FunctionDef | ast.AsyncFunctionDef
ACTION = "```\n"
"How an action begins: the form alone, which tells nothing of it."


class KnownOutcome(NamedTuple):
    """What came of a step."""

    header: str
    "How the answer begins: not read for its likelihood, but before it."
    text: str
    new: tuple[bool, ...]
    "Of each line whether neither the old text nor the request holds it."


def outcome_of(step: ReplayStep, read: Callable[[str], bytes]) -> KnownOutcome | None:
    """Return what came of a step; None where it is not known.

    `read` returns the body of a blob. `InputError` says why an outcome cannot be read: it is no
    UTF-8, empty, or not to be found in the step's file.
    """
    if step.action is not None:
        if not step.action.text.strip():
            raise InputError("the action: needed a text to read, found an empty one")
        return KnownOutcome(ACTION, step.action.text, step.action.new)
    path, name = path_of(step.request.target), name_of(step.request.target)
    if step.after is step.known or not path:
        return None
    old, text = (_text(state, path, read) for state in (step.known, step.after))
    if text is None:
        return None
    fence = f"```python {path}\n"
    if not name:
        return None if text == old else _known(path, fence, text, old or "", step)
    lines = dependency_graph.lines_of(step.after.states.graph, path).get(name)
    if lines is None:
        raise InputError(f"needed {name} in {path}, found no such function in its text")
    header, body = parted(text, lines, path)
    title = f"# {_title(step.request.query)}\n" if step.request.query.strip() else ""
    before = dependency_graph.lines_of(step.known.states.graph, path).get(name)
    was = "" if before is None or old is None else "\n".join(_cut(old, before))
    return _known(f"the body of {name} in {path}", f"{fence}{title}{header}", body, was, step)


def _known(what: str, header: str, text: str, old: str, step: ReplayStep) -> KnownOutcome:
    text = text.rstrip()
    if not text:
        raise InputError(f"{what}, as it was written: needed a text to read, found an empty one")
    return KnownOutcome(header, text, new_lines(text, (old, header, step.request.query)))


def new_lines(text: str, known: tuple[str, ...]) -> tuple[bool, ...]:
    r"""Return of each line of a text whether none of some known texts holds it.

    Spaces around a line do not count, and an empty line is never new.

    >>> new_lines("a = 1\n\n  b = 2", ("b = 2\n",))
    (True, False, False)
    """
    held = {line.strip() for part in known for line in part.split("\n")} | {""}
    return tuple(line.strip() not in held for line in text.split("\n"))


def _text(state: KnownState, path: str, read: Callable[[str], bytes]) -> str | None:
    """Return the text of a module in a state; None where there is none."""
    module = state.states.graph.modules.get(path)
    if module is None or module.deleted or module.source is None:
        return None
    try:
        return read(module.source).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: needed UTF-8, found byte {error.object[error.start]:#x}"
        ) from None


def _title(words: str) -> str:
    return words.strip().split("\n")[0].strip()


def _cut(text: str, lines: tuple[int, int]) -> list[str]:
    return text.split("\n")[lines[0] - 1 : lines[1]]


def parted(text: str, lines: tuple[int, int], path: str) -> tuple[str, str]:
    """Return a function's head, behind those of the classes around it, and its body.

    `lines` are its first, where its decorators begin, and its last; `InputError` where there is
    none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"needed {path} as Python, found that it cannot be parsed") from None
    for outer, function in _functions(tree, ()):
        if _first(function) == lines[0] or function.lineno == lines[0]:
            head, body = _at_body(text.split("\n"), function)
            heads = [f"{' ' * part.col_offset}class {part.name}:\n" for part in outer]
            return "".join(heads) + head, body
    raise InputError(f"needed a function at line {lines[0]} of {path}, found none")


def _functions(
    node: ast.AST, outer: tuple[ast.ClassDef, ...]
) -> Iterator[tuple[tuple[ast.ClassDef, ...], Function]]:
    """Yield every function with the classes around it, outer ones first."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield outer, child
        inside = (*outer, child) if isinstance(child, ast.ClassDef) else outer
        yield from _functions(child, inside)


def _first(function: Function) -> int:
    return min([function.lineno, *(part.lineno for part in function.decorator_list)])


def _at_body(lines: list[str], function: Function) -> tuple[str, str]:
    """Return a function's text up to its body, the docstring with it, and the body."""
    begin, end = _first(function) - 1, function.end_lineno or function.lineno
    first, *rest = function.body
    described = ast.get_docstring(function, clean=False) is not None
    if described:
        after = first.end_lineno or first.lineno
        if rest and rest[0].lineno == after:  # on the line of the docstring
            return _at_column(lines, begin, rest[0], end)
        return "".join(f"{line}\n" for line in lines[begin:after]), "\n".join(lines[after:end])
    return _at_column(lines, begin, first, end)


def _at_column(lines: list[str], begin: int, first: ast.stmt, end: int) -> tuple[str, str]:
    """Return some lines up to a statement, and from it on."""
    decorators = getattr(first, "decorator_list", [])
    number = min([first.lineno, *(part.lineno for part in decorators)]) - 1
    line = lines[number]
    before = line.encode()[: first.col_offset].decode() if number == first.lineno - 1 else ""
    above = "".join(f"{text}\n" for text in lines[begin:number])
    if before.strip():
        return above + before, "\n".join([line[len(before) :], *lines[number + 1 : end]])
    return above, "\n".join(lines[number:end])
