"""Only what changed of a module is parsed again, and its outline is that of the whole."""

import argparse
import ast
import dataclasses
import inspect
import textwrap
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.engine.memory.outliner import python, python_parse, python_pieces

CLASS = '''
import os

def first(x):
    return x

class Cart:
    """What is bought."""

    def total(self):
        self.sum = Money()
        return self.sum

    @property
    def size(self):
        return 1

def last():
    import json
    return os.remove(json)
'''


@pytest.fixture
def parsing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the language's own parser was given."""
    given: list[str] = []

    def parse(source: str) -> ast.Module:
        given.append(source)
        return ast.parse(source)

    for module in (python_parse, python_pieces):
        monkeypatch.setattr(module, "ast", SimpleNamespace(**{**vars(ast), "parse": parse}))
    return given


def parsed_of(parsing: list[str], *versions: str) -> list[str]:
    """What is parsed of the last of a module's versions, whose outline is that of the whole."""
    memory = python.memory()
    for text in versions:
        parsing.clear()
        made = python.outline("tests/a.py", text.encode(), None, memory)
    given = list(parsing)
    assert made == python.outline("tests/a.py", versions[-1].encode())
    return given


@pytest.mark.parametrize(
    ("old", "new", "parsed"),
    [
        ("return x\n", "return x\n    more()\n", "\ndef first(x):\n    return x\n    more()\n"),
        ("\ndef first", "# moved\n\n\ndef first", None),
        (
            "        return 1\n",
            "        return 2\n",
            "class _:\n\n    @property\n    def size(self):\n        return 2\n",
        ),
        (
            "        return 1\n",
            "        return 1\n\n    def new(self): self.x = A()\n",
            "class _:\n\n    def new(self): self.x = A()\n",
        ),
        ("import os\n", "import os, re\n", "\nimport os, re\n"),
        ("\ndef first(x):\n    return x\n", "", None),
        (
            "def last",
            "def latest",
            "\ndef latest():\n    import json\n    return os.remove(json)\n",
        ),
    ],
)
def test_only_what_changed_is_parsed(
    parsing: list[str], old: str, new: str, parsed: str | None
) -> None:
    assert CLASS.count(old) == 1
    given = parsed_of(parsing, CLASS, CLASS.replace(old, new))
    assert given == ([] if parsed is None else [parsed])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import os\n", "import os\nfrom shutil import rmtree as first\n"),  # another meaning
        ("return x\n", 'return """\n'),  # a string that goes on behind what was a function
        ("\ndef first", "\n@thing\n"),
        ("import os\n", "from __future__ import barry_as_FLUFL\n"),
        ("def last", "type X = int\ndef last"),  # for a newer Python
    ],
)
def test_what_cannot_be_told_from_the_pieces_is_parsed_as_a_whole(
    parsing: list[str], old: str, new: str
) -> None:
    text = CLASS.replace("return x", "return open(x)")
    changed = text.replace("return x", "return open(x)").replace(old, new)
    parsed_of(parsing, text, changed)
    parsed_of(parsing, text, changed, text)


NASTY = (
    "x = 1\n", "x = 1; y = 2\n", "x = (1,\n", ")\n", "else:\n    z = 1\n", "if x:\n    y = 2\n",
    "try:\n    import a\nexcept E:\n", "    a = None\n", "    def m(self):\n        self.a = B()\n",
    "    @property\n    def p(self): return 1\n", "    @p.setter\n    def p(self, v): import os\n",
    "class A:\n", "class A(B,\n    C):\n", "@deco\n", "def f():\n", "def f(): return open(x)\n",
    "        return 1\n", "\n", "# comment\n", "    # comment\n", '"""\n', '    """Doc."""\n',
    "x = 1 \\\n", "\\\n", "from os import remove as open\n", "\topen()\n", "\tdef t(self): g()\n",
    "\x0c\n", "class A: x = 1\n", "if TYPE_CHECKING:\n    from a import f\n", "f = g(f)\n",
    "async def f():\n    import b.c\n", "__all__ = ['f']\n", "__all__ += ['A']\n", "x = '\\\n",
    "    if x:\n        def m(self): h()\n", "lambda: (x := 1)\n", "def f(x): pass", "\u00e4 = 1\n",
)  # fmt: skip


@given(st.lists(st.lists(st.sampled_from(NASTY), max_size=9), min_size=2, max_size=5))
def test_the_outline_of_any_text_after_any_others_is_that_of_the_text(
    versions: list[list[str]],
) -> None:
    memory = python.memory()
    for lines in versions:
        source = "".join(lines).encode()
        made = python.outline("a.py", source, None, memory)
        assert made == python.outline("a.py", source)


REAL = [inspect.getsource(module) for module in (argparse, dataclasses, textwrap)]
edits = st.tuples(
    st.sampled_from(["drop", "double", "move", "word", "indent", "put"]),
    st.integers(0, 10_000),
    st.integers(1, 30),
    st.integers(0, 10_000),
)


def edited(lines: list[str], edit: tuple[str, int, int, int]) -> list[str]:
    kind, at, count, to = edit
    at, to = at % len(lines), to % len(lines)
    some, rest = lines[at : at + count], [*lines[:at], *lines[at + count :]]
    match kind:
        case "drop":
            return rest or [""]
        case "double":
            return [*lines[:to], *some, *lines[to:]]
        case "move":
            return [*rest[:to], *some, *rest[to:]]
        case "word":
            return [*lines[:at], lines[at].replace("self", "other"), *lines[at + 1 :]]
        case "indent":
            return [*lines[:at], *("    " + line for line in some), *lines[at + count :]]
    return [*lines[:at], NASTY[to % len(NASTY)].rstrip("\n"), *lines[at:]]


@settings(max_examples=50)
@given(st.sampled_from(REAL), st.lists(edits, min_size=1, max_size=4))
def test_a_real_module_however_edited_has_the_outline_of_its_text(
    text: str, changes: list[tuple[str, int, int, int]]
) -> None:
    memory = python.memory()
    lines = text.split("\n")
    python.outline("a.py", text.encode(), None, memory)
    for edit in changes:
        after = edited(lines, edit)
        source = "\n".join(after).encode()
        made = python.outline("a.py", source, None, memory)
        assert made == python.outline("a.py", source)
        lines = lines if "error" in made.facets else after
