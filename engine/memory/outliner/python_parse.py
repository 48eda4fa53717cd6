"""Decodes and parses Python, and says why it cannot be parsed."""

import ast
import codecs
import io
import re
import tokenize
import warnings
from collections.abc import Sequence

from backcast.domain.outline import Facet
from backcast.engine.memory.outliner.python_newer import UNPACKED, lowered

PRINTABLE = bytes(range(32, 127))
ENCODINGS = (
    (codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"),
)  # fmt: skip
UNPACKING = ("unpacking cannot be used in comprehension", "unpacking cannot be used in dict compr")
OF_PYTHON_2 = ("in call to 'print'", "in call to 'exec'", "leading zeros in decimal")
"Parts of the parser's messages about what a newer or an older Python knows."


def other_encoding(source: bytes) -> str:
    """Return the error message for a text whose byte order mark Python does not read."""
    for mark, name in ENCODINGS:
        if source.startswith(mark):
            return f"{name}, which Python does not read"
    return ""


def decoded(source: bytes) -> str:
    """Return the text of a module, by its coding cookie and byte order mark."""
    encoding = tokenize.detect_encoding(io.BytesIO(source).readline)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if PRINTABLE.decode(encoding) != PRINTABLE.decode():
            raise LookupError(f"needed an encoding that has ASCII in it, found {encoding}")
        return source.decode(encoding)


def parsed(text: str) -> tuple[ast.Module, Facet]:
    """Return the tree of a module, and what of it is newer than this Python: version, constructs.

    Newer syntax is parsed in the older spelling.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text), ()
        except SyntaxError as error:
            older = lowered(text)
            if older is None:
                raise
            try:
                tree = ast.parse(older.text)
            except (SyntaxError, ValueError):
                raise error from None
        versions = [version for version, _ in older.needs]
        return tree, (max(versions, key=_numbers), *(what for _, what in older.needs))


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def reason_of(error: SyntaxError) -> str:
    """Return what a syntax error says, with the version of Python that the text is for."""
    message = error.msg or "invalid syntax"
    if any(part in message for part in UNPACKING):
        version, construct = UNPACKED
        return f"needs Python {version} or newer ({construct}): {message}"
    words = (error.text or "").split()
    if any(part in message for part in OF_PYTHON_2) or _is_of_python_2(words):
        return f"Python 2: {message}"
    return message


def _is_of_python_2(words: Sequence[str]) -> bool:
    """Return whether the line of an error is one that Python 2 knows, by its words."""
    line = " ".join(words)
    return bool(re.match(r"(except\b[^:]*, *[a-z_]\w* *:|raise [\w.]+, |exec \w)|.*(`|<>)", line))
