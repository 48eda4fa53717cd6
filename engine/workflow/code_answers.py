"""Parses answers that hold code, or ask to see nodes or something else first.

Models err, and may be hostile: an answer that is not one whole file raises `RefusedError` with one
line for the model, and no part of it is used.
"""

import ast
import html
import re
import textwrap
import warnings
from collections.abc import Sequence
from typing import NamedTuple

from backcast.domain.errors import InputError
from backcast.engine.workflow.ask.actions import NAMES, WORDS
from backcast.engine.workflow.fences import (
    PYTHON,
    FencedBlock,
    blocks_of,
    quote_after,
    without_strings,
)
from backcast.engine.workflow.refusals import RefusedError
from backcast.engine.workflow.sandbox.box import safe_path
from backcast.projections.progress import SHOW

LONGEST = 2_000_000
"Characters of an answer that are read."
ASK, ABOUT = "ask", "about:"
"What a block with a question is labelled, and what its line with a node begins with."
PARSED = 200_000
"Characters of a file that are parsed to see what is wrong with it."
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|apos|#39|#x27);")
_OMITTED = (
    r"[(\[]?(?:\.\.\.|…).*\b(?:rest|existing|remaining|unchanged|same|before|previous|omitted)\b.*",
    r"[(\[]?(?:the )?(?:rest|remainder) of (?:the |this |your )?(?:file|code|module|class"
    r"|function|implementation|program)(?: (?:goes |stays |is |remains )?(?:here|the same|same"
    r"|as before|as is|above)\W*|\b.*(?:unchanged|omitted|\.\.\.|…)\W*)",
    r".*\b(?:existing|remaining|previous|other|rest of the) (?:\w+ )?(?:code|functions|methods"
    r"|imports|classes|implementation)\b.*(?:\.\.\.|…)\W*",
    r"(?:the )?(?:rest|existing code|other code|everything else|all else|code)"
    r"(?: is| remains| stays)? (?:unchanged|omitted|the same|as before)\W*",
)
"How comments say that a part of a file was left out."
_GAP = re.compile(rf"\s*#+\s*(?:{'|'.join(_OMITTED)})", re.IGNORECASE)
_CALL = re.compile(
    r"<tool_call>|\[TOOL_CALLS\]|<function[=_]|<\|tool_call|<\|python_tag\|>|^\s*\{\"(?:name|tool)\":"
    r"|<invoke\b|<execute"
)
_EDITS = re.compile(r"^(?:@@ .*@@|(?:---|\+\+\+) \S.*|<{5,9} ?(?:SEARCH|HEAD|ORIGINAL)\b.*)$", re.M)


class Code(NamedTuple):
    """An answer with code, or with a request to see nodes or to have a question answered first."""

    files: dict[str, str]
    "Text by path, the module itself first."
    show: tuple[str, ...] = ()
    "Nodes that the model asks to see in full; there are no files then."
    question: str = ""
    "What the model asks; there are no files then."
    about: str = ""
    "The node that the question is about; empty for none."


def code_of(text: str, path: str, most: int, *, asks: bool = False) -> Code:
    """Return the file of an answer, the first `most` nodes that it asks to see or, where it may ask
    questions, its question.

    The file is the one fenced block with `path` on its fence, after the language, or the only block
    of Python where no fence names a path. A block with another path is refused.
    """
    if "\0" in text or len(text) > LONGEST:
        raise RefusedError("needed text with one fenced block, found binary or far too much")
    check_encodable(text)
    blocks = blocks_of(text)
    asked = [block.body for block in blocks if block.label.split()[:1] == [SHOW]]
    if asked:
        names = [line.strip().strip("`-* ") for body in asked for line in body.splitlines()]
        nodes = tuple(dict.fromkeys(filter(None, names)))
        if not nodes:
            raise RefusedError("needed a name on each line of the show block, found none")
        return Code({}, tuple(node[:300] for node in nodes[:most]))
    questions = [block.body for block in blocks if block.label.split()[:1] == [ASK]]
    if asks and questions:
        return _question(questions[0])
    block = _chosen(blocks, path, text)
    if block.doubt:
        raise RefusedError(block.doubt)
    return Code({path: _whole(block.body, path)})


def _question(body: str) -> Code:
    """Return the question of a block: its words, and the node that a line of its own names."""
    lines = [line.strip() for line in body.splitlines()]
    about = [line for line in lines if line.startswith(ABOUT)]
    words = " ".join(line for line in lines if line and line not in about)
    if not words:
        raise RefusedError("needed a question in the ask block, found none")
    named = about[0].removeprefix(ABOUT).strip("`* ") if about else ""
    return Code({}, question=words[:WORDS], about=named[:NAMES])


def _chosen(blocks: Sequence[FencedBlock], path: str, text: str) -> FencedBlock:
    """Return the block of a module among those of an answer."""
    named = [(path_of_label(block.label), block) for block in blocks]
    for name, _ in named:
        if name and checked(name) != path:
            raise RefusedError(f"needed the file {path} only, found one for {name!r}")
    # Blocks that name no file may show how it is used, or what is to be installed.
    unnamed = [block for name, block in named if not name and block.language in ("", *PYTHON)]
    headed = [block for block in unnamed if _is_heading(block.before, block.body, path)]
    found = [block for name, block in named if name] or unnamed
    if len(found) > 1 and found == unnamed and len(headed) == 1:
        found = headed
    if len(found) != 1:
        several = f"{len(found)}" if found else f"none{_instead(blocks, path, text)}"
        raise RefusedError(
            f"needed exactly one fenced block with the whole of {path}, found {several}"
        )
    return found[0]


def _is_heading(before: str, body: str, path: str) -> bool:
    """Return whether the line before a block, or its first comment, is the path of a module."""
    lines = (before, body.partition("\n")[0] if body.startswith("#") else "")
    return any(
        re.sub(r"(?i)^(?:file(?:name)?|path)\s*:?\s*", "", line.strip("*`#: \t")).strip("*`: ")
        == path
        for line in lines
    )


def _instead(blocks: Sequence[FencedBlock], path: str, text: str) -> str:
    """Return what an answer without a block of Python holds instead, and what to do."""
    advice = f"begin the answer with ```python {path} and put the whole file behind it"
    if not text.strip():
        return f": the answer was empty; {advice}"
    if _CALL.search(text[:5_000]):
        return f": the answer calls a tool, and there are no tools; {advice}"
    languages = sorted({block.language for block in blocks} - {""})
    if "diff" in languages or "patch" in languages or _EDITS.search(text[:20_000]):
        return f": the answer is a change of a file; {advice}, not only what changes"
    if languages:
        return f": its blocks are {', '.join(languages)[:80]}; {advice}"
    if text.lstrip()[:1] in "{[" and text.rstrip()[-1:] in "}]":
        return f": the answer is JSON; {advice}, not in a string"
    if "```" in text:
        return ": a fence of three backticks begins and ends a block only on a line of its own"
    if _holds_code(text):
        return f": the answer has no fence; {advice}"
    return f": the answer has only text; {advice}"


def _whole(body: str, path: str) -> str:
    """Return the text of a module, as it was meant where that can be told."""
    if not body.strip():
        raise RefusedError(f"needed the whole of {path}, found an empty block")
    if _EDITS.search(body) and _parsed(body) is None:
        raise RefusedError(f"needed the whole of {path}, every line of it, found a change of it")
    for number, line in _outside_strings(body) if "#" in body else ():
        if "#" in line and _GAP.fullmatch(line[:500]):
            raise RefusedError(
                f"needed the whole of {path}, every line of it, found a gap at line {number}:"
                f" {line.strip()[:60]!r}"
            )
    first = next(line for line in body.split("\n") if line.strip())
    if first[0] in " \t" and _parsed(textwrap.dedent(body)) is not None:
        body = textwrap.dedent(body)
    if _ENTITY.search(body) and _ENTITY.search(_bare(body)):
        meant = html.unescape(body)
        if _parsed(meant) is None:
            raise RefusedError(
                f"needed the text of {path} as it is, found signs written as in HTML, such as &lt;"
            )
        body = meant
    if "\\n" in body and "\n" not in body.strip() and _parsed(body) is None:
        raise RefusedError(f"needed each line of {path} on a line of its own, found \\n between")
    return body


def _parsed(text: str) -> ast.Module | None:
    """Return the tree of a text; None where it is no Python, or too long to look."""
    if len(text) > PARSED:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _holds_code(text: str) -> bool:
    """Return whether a text is Python with a statement that is more than words."""
    tree = _parsed(text)
    return tree is not None and any(not isinstance(node, ast.Expr) for node in tree.body)


def _outside_strings(body: str) -> list[tuple[int, str]]:
    """Return the lines of Python that begin outside strings, by their number."""
    lines, quote = list[tuple[int, str]](), ""
    for number, line in enumerate(body.split("\n"), 1):
        if not quote:
            lines.append((number, line))
        quote = quote_after(line, quote)
    return lines


def _bare(body: str) -> str:
    """Return Python without its strings and comments."""
    lines, quote = list[str](), ""
    for line in body.split("\n"):
        code, quote = without_strings(line, quote)
        lines.append(code)
    return "\n".join(lines)


def path_of_label(label: str) -> str:
    """Return the path on a fence: `python a.py`, `python path=a.py`, `a.py`; empty for none."""
    words = [word.strip("{}").rpartition("=")[2].strip("\"'{},") for word in label.split()]
    words = [word.removeprefix("python:").removeprefix("./") for word in words]
    named = [word for word in words if word.endswith(".py") or set(word) & set("/\\")]
    return named[-1] if named else ""


def check_encodable(text: str) -> None:
    """Refuse a text that UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RefusedError("needed whole characters, found halves of some") from None


def checked(path: str) -> str:
    """Return a path that is safe; `RefusedError` for any other."""
    try:
        return safe_path(path)
    except InputError as error:
        raise RefusedError(str(error)) from None
