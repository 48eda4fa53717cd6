"""Outlines Python modules, with the language's own parser.

Of a module's next version only what changed is parsed and walked (`python_pieces`).

A text that does not parse, for example since its nesting is too deep, has the reason in `error`.
"""

from backcast.domain.outline import NEWER, Facet, Outline
from backcast.engine.memory.outliner.python_module import ForgottenError, is_test_file, outlined
from backcast.engine.memory.outliner.python_parse import decoded, other_encoding, parsed, reason_of
from backcast.engine.memory.outliner.python_pieces import REFUSED, Pieces
from backcast.engine.memory.outliner.texts import broken, stood_in, unread

NAME = "python"
VERSION = 2
SUFFIXES: tuple[str, ...] = (".py", ".pyi")


def outline(
    path: str, source: bytes, before: Outline | None = None, memory: Pieces | None = None
) -> Outline:
    """Return the outline of a module; the last good one, with the error, if it does not parse.

    `memory` has the module's version before, which makes it quicker, and no different.
    """
    memory = memory or Pieces()
    if reason := unread(source) or other_encoding(source):
        return broken(before, None, reason)
    try:
        text = decoded(source.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
    except REFUSED as error:
        return broken(before, *_refusal(error))
    body = memory.body(text)
    newer: Facet = ()
    if body is None:
        try:
            tree, newer = parsed(text)
        except REFUSED as error:
            return broken(before, *_refusal(error))
        memory.take(tree, text)
        body = tree.body
    try:
        made, memory.names = outlined(path, text, body, memory.names)
    except ForgottenError:
        tree, newer = parsed(text)  # which it does, since all of its pieces do
        memory.take(tree, text)
        made, memory.names = outlined(path, text, tree.body)
    memory.forget()
    if newer:
        memory.drop()
        made = Outline({**made.facets, NEWER: newer}, made.lines)
    return after(made, before) if before else made


def memory() -> Pieces:
    """Return a memory for the versions of one module."""
    return Pieces()


def _refusal(error: Exception) -> tuple[int | None, str]:
    """Return the line and the reason for which a text is not read."""
    match error:
        case SyntaxError():
            return error.lineno, reason_of(error)
        case UnicodeDecodeError():
            line = error.object[: error.start].count(b"\n") + 1
            return line, f"bytes that are not {error.encoding}: {error.reason}"
        case RecursionError() | MemoryError():
            return None, "needed a module that can be parsed, found too deep nesting"
    return None, str(error)


def place_of(path: str) -> str:
    """Return the part of a path that outlines depend on: whether it holds tests."""
    return "tests" if is_test_file(path) else ""


def after(outline: Outline, before: Outline | None) -> Outline:
    """Return the outline of the same text after another previous version, with new body counts."""
    if error := outline.facets.get("error"):
        return stood_in(before, error)
    facets = before.facets if before else {}
    counted = dict(outline.facets)
    for name in outline.lines:
        key = f"body:{name}"
        counted[key] = _counted(counted[key][0], facets.get(key, ()))
    return Outline(counted, outline.lines)


def _counted(digest: str, before: Facet) -> Facet:
    """Return the facet of a body: its digest, and the number of versions that changed it.

    `before` is the same facet in the previous version.

    >>> _counted("a1", ()), _counted("a1", ("a1", "3")), _counted("b2", ("a1", "3"))
    (('a1', '1'), ('a1', '3'), ('b2', '4'))
    """
    match before:
        case (last, count) if count.isascii() and count.isdigit() and len(count) < 10:
            return digest, str(max(int(count), 1) if digest == last else int(count) + 1)
    return digest, "1"
