"""Python that is newer than the interpreter is outlined, and what it needs is said."""

import ast
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.outline import names_in
from backcast.engine.memory.outliner.python import outline
from backcast.engine.memory.outliner.python_newer import lowered

INSIDE = "quotes, backslashes or comments inside of f-strings"
NEWER: dict[str, tuple[str, ...]] = {
    "def f[T](x: T) -> T: return g(x)": ("3.12", "type parameter lists"),
    "async def f[T: (int, str), *Ts, **P](x): g(x)": ("3.12", "type parameter lists"),
    "def f[\n  T,  # one\n](x): g(x)": ("3.12", "type parameter lists"),
    "class f[T](Base[T]):\n  def m(self): g(1)": ("3.12", "type parameter lists"),
    "class f[T = int]: x = g(1)": ("3.13", "type parameter lists", "defaults of type parameters"),
    "type N = int\ndef f(): g()": ("3.12", "type statements"),
    "type N[T] = list[T]\ndef f(): g()": ("3.12", "type parameter lists", "type statements"),
    "def f(x): return f'{g(x['a'])}'": ("3.12", INSIDE),
    "def f(x): return f'{', '.join(g(y) for y in x)}'": ("3.12", INSIDE),
    "def f(x): return f'{'\\n'.join(g(x))}'": ("3.12", INSIDE),
    "def f(x): return f'{\n  g(x)  # why\n}'": ("3.12", INSIDE),
    "def f(x): return f'{f'{f'{g(x)}'}'}'": ("3.12", INSIDE),
    "def f(x): return t'{g(x)!r:>{w}}'": ("3.14", "t-strings"),
    "def f():\n  try: g()\n  except A, B: pass": ("3.14", "except without parentheses"),
    "def f():\n  try: g()\n  except* A, b.C: pass": ("3.14", "except without parentheses"),
    "lazy import json\nlazy from a import b\ndef f(): g()": ("3.15", "lazy imports"),
}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


@pytest.mark.parametrize("source", NEWER)
def test_newer_syntax_is_outlined_and_named(source: str) -> None:
    needs = NEWER[source]
    made = outline("a.py", f"import x\n{source}\ndef after(): h()\n".encode())
    assert "error" not in made.facets
    assert {"f", "after"} <= set(names_in(made.facets))
    assert made.facets["calls:after"] == ("h",)
    end = source.count("\n") + 3
    assert made.lines["after"] == (end, end)
    inside = [key for key in made.facets if key.startswith("calls:") and key != "calls:after"]
    assert any("g" in made.facets[key] for key in inside)
    if sys.version_info < _version(needs[0]):
        assert made.facets["newer"] == needs
    else:
        assert "newer" not in made.facets


@pytest.mark.parametrize(
    ("source", "line", "told"),
    [
        ("x = 1\nprint 'a'", "2", "Python 2: "),
        ("try: pass\nexcept E, e: pass", "2", "Python 2: "),
        ("raise E, 'text'", "1", "Python 2: "),
        ("exec code in space", "1", "Python 2: "),
        ("x = 0777", "1", "Python 2: "),
        ("if a <> b: pass", "1", "Python 2: "),
        ("x = [*y for y in z]", "1", "needs Python 3.15 or newer (unpacking in comprehensions): "),
        ("def f(:\n  pass", "1", "invalid syntax"),
        ("def f[T](x: T): pass\ndef g(:", "1", ""),
    ],
)
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="messages are those of Python 3.11")
def test_what_no_newer_python_reads_says_why(source: str, line: str, told: str) -> None:
    error = outline("a.py", source.encode()).facets["error"]
    assert error[0] == line
    assert error[1].startswith(told)


def test_a_later_version_that_parses_is_whole_again() -> None:
    first = outline("a.py", b"def f(): pass")
    broken = outline("a.py", b"def f(:", first)
    assert "error" in broken.facets
    newer = outline("a.py", b"def f[T](): pass", broken)
    assert "error" not in newer.facets
    last = outline("a.py", b"def f(): pass", newer)
    assert last.facets.keys() == first.facets.keys()


def test_python_that_parses_is_left_as_it_is() -> None:
    for source in ("type = 1\ntype(x)\ntype[0]", "lazy = 1", "match = 2"):
        assert lowered(source) is None


PIECES = st.sampled_from(
    ["def f[T", "](x):", " pass\n", "f'{", "}'", "f\"\"\"{", "t'", "'", '"', "{", "}", "[", "]",
     "(", ")", ":", "!r", "=", "\\", "\\N{", "#", "\n", "type X", " = 1", "except A, B:",
     "class C[", "lazy import x", ",", "as", "\\\n", "a", "é", "\x0c", "rf'{", "b'", '"""']
)  # fmt: skip


@given(st.lists(PIECES, max_size=25).map("".join))
def test_any_text_keeps_its_lines_or_is_given_up(source: str) -> None:
    made = lowered(source)
    if made is not None:
        assert made.needs
        try:
            tree = ast.parse(made.text)
        except (SyntaxError, ValueError):
            return
        assert all(node.lineno <= source.count("\n") + 1 for node in tree.body)
        assert made.text.count("\n") == source.count("\n")
