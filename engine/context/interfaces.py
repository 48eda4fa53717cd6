"""How a function or class is used, in few lines: by the last of several `def` lines; a class by its
first fields and how it is made."""

import re
from collections.abc import Iterator, Sequence

from backcast.engine.context.enclosing_lines import margin
from backcast.engine.context.sources import SourcePiece, signature_of

FIELDS, WIDTH = 6, 88
"The most fields of a class that are shown, and their characters."
_FIELD = re.compile(r"[A-Za-z]\w*\s*(:\s*\S|=\s*[^=\s])")
_OVERLOAD = re.compile(r"@(\w+\.)*overload\b")
_DEF = re.compile(r"(async )?def ")
_QUOTES = re.compile(r"[rRuUbB]*(\"{3}|'{3})")
PAIRS = ("()", "[]", "{}")


def implemented(piece: SourcePiece) -> SourcePiece:
    """Return a function whose signature is that of its implementation, not of an overload.

    >>> text = "@overload\\ndef f(a: int) -> int: ...\\n@overload\\ndef f() -> str: ...\\n"
    >>> implemented(SourcePiece(text + "def f(a=0):\\n    return a", "", 1)).signature
    'def f(a=0):'
    """
    if not _OVERLOAD.match(piece.text.lstrip()):
        return piece
    lines = piece.text.split("\n")
    depth = margin(lines[0])
    starts = [
        n for n, line in enumerate(lines) if margin(line) == depth and _DEF.match(line[depth:])
    ]
    signature = signature_of(lines[starts[-1] :]) if starts else ""
    return piece._replace(signature=signature) if signature else piece


def interface(piece: SourcePiece, made: str) -> str:
    """Return the `class` line, its first fields, and the signature `made` of its `__init__`."""
    return "\n".join(
        [piece.signature, *_fields(piece.text.split("\n"), piece.signature), made]
    ).rstrip()


def _fields(lines: Sequence[str], signature: str) -> Iterator[str]:
    """Yield the fields of a class that stand on a line each, above its first method."""
    begin = 1 + max(
        (n for n, line in enumerate(lines) if line == signature.rpartition("\n")[2]), default=0
    )
    depth, found, quotes = 0, 0, ""
    for line in lines[begin:]:
        text = line.strip()
        if quotes:
            quotes = "" if text.endswith(quotes) else quotes
            continue
        if text and not depth:
            depth = margin(line)
        if opened := _QUOTES.match(text):
            rest = text[opened.end() :]
            quotes = "" if opened[1] in rest else opened[1]
            continue
        if not text or margin(line) != depth:
            continue
        if found == FIELDS or text.startswith(("def ", "async ", "class ", "@", "if ")):
            return
        closed = all(text.count(pair[0]) == text.count(pair[1]) for pair in PAIRS)
        if _FIELD.match(text) and closed and len(line) <= WIDTH:
            found += 1
            yield line
