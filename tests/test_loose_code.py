"""What stands in no function is read alike, whether functions are cut out before or not."""

import ast
import random
from bisect import bisect_left, bisect_right
from pathlib import Path

import pytest

from backcast.engine.context.loose_code import Functions, starts, statements

ROOT = Path(__file__).parents[1]
FILES = sorted((*(ROOT / "engine/context").glob("*.py"), *(ROOT / "tests").glob("test_[a-e]*.py")))
ODD = {
    "a function in a branch": "if 1:\n    def f():\n        import a\n\nx = 1\n",
    "a function in a class in a branch": "try:\n  class A:\n    @b\n    def f(self):\n"
    "      import c\nfinally:\n  y = 2\n",
    "a head of several lines": "@d(\n  1)\nasync def f(\n  a,\n  b,\n):\n  return 1\nz = 3\n",
    "one line": "def f(): return 1\nclass A: x = 1\n\n\ndef g():\n    pass  # the end\n",
    "strings that look like code": "def f():\n    return '''\ndef g():\n'''\nx = (\n1)\n",
}


def functions_in(text: str) -> Functions:
    """Return the lines of the outermost functions, decorators included."""
    found, end = list[tuple[int, int]](), 0
    nodes = [node for node in ast.walk(ast.parse(text))
             if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]  # fmt: skip
    lines = ((min([node.lineno, *(one.lineno for one in node.decorator_list)]), node.end_lineno)
             for node in nodes)  # fmt: skip
    for first, last in sorted((first, last or first) for first, last in lines):
        if first > end:
            found.append((first, last))
            end = last
    return tuple(found)


def assert_read_alike(text: str) -> None:
    functions, size = functions_in(text), text.count("\n") + 1
    assert statements(text, functions) == statements(text)
    whole, randomly = [*starts(text), size + 1], random.Random(len(text))
    for _ in range(20):
        first = randomly.randint(1, size)
        last = randomly.randint(first, size + 1)
        some = [*starts(text, functions, (first, last)), size + 1]
        assert some[bisect_left(some, first)] == whole[bisect_left(whole, first)]
        assert some[bisect_right(some, last) - 1] == whole[bisect_right(whole, last) - 1]


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_our_own_files_are_read_alike(path: Path) -> None:
    assert_read_alike(path.read_text(encoding="utf-8").strip("\n"))


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_odd_places_of_functions_are_read_alike(text: str) -> None:
    assert_read_alike(text.strip("\n"))


def test_functions_are_not_read() -> None:
    text = "import a\n\n\ndef f():\n    return (\n\n\nb = 1\n"  # not to be parsed as it is
    assert [part.first for part in statements(text, ((4, 5),))] == [1, 8]
    assert statements(text) == ()
