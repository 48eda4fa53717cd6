"""What of a module's text is shown: whole functions, their own opening lines, whole constants."""

import pytest

from backcast.domain.budget import PROFILES
from backcast.domain.moment import NOW
from backcast.domain.policy import COVERAGE
from backcast.engine.context.recorded import context_at
from backcast.engine.context.request import Request
from backcast.engine.context.sources import NOTHING, SourceLines, Sources
from backcast.engine.history.snapshots import state_at
from backcast.projections import dependency_graph
from tests.candidates import shown
from tests.sources import Task

BOUND = PROFILES["mistral-7b-8k"]._replace(tokenizer="upper-bound")


def sources(text: str | bytes, *, outlined: bool = True) -> Sources:
    """The sources of a task whose only module has a text."""
    task = Task()
    task.wrote("a.py", text)
    if outlined:
        task.outlined()
    return Sources(state_at(task.store, dependency_graph, task.id), SourceLines(task.store.get))


# Functions and classes


@pytest.mark.parametrize(
    ("text", "signature"),
    [
        ("def f(x):\n    return x\n", "def f(x):"),
        ("async def f(x): return x\n", "async def f(x): return x"),
        ('def f(): """Told."""\n', 'def f(): """Told."""'),
        ('class f(E): """Raised (rarely)."""\n', 'class f(E): """Raised (rarely)."""'),
        ("class f: pass\nX = 1\n", "class f: pass"),
        ("def f(\n    x=')',\n    y=\"(\",  # (\n):\n    pass\n", None),
        ("def f(x='''(\n:\n''') -> int:\n    pass\n", None),
        ("def f(x=[\n    1, {'a': (2)},\n]) -> dict[\n    str, int\n]:\n    pass\n", None),
        ("def f(x=r'\\''): # don't\n    pass\n", "def f(x=r'\\''): # don't"),
        ("def f(x=1): # C:\\\n    pass\n", "def f(x=1): # C:\\"),
        ("def f \\\n  (x):\n    pass\n", "def f \\\n  (x):"),
        ("@wraps('def g(')\n@other\ndef f(x):\n    pass\n", "def f(x):"),
        ('@doc("""\ndef g():\n    pass\n""")\ndef f(x):\n    pass\n', "def f(x):"),
        ("@(\n  lambda f: f\n)\nclass f:\n    x = 1\n", "class f:"),
        ("\x0cdef f(x):\n    pass\n", "def f(x):"),
        ("def f(x): # 🌍 字\n    pass\n", "def f(x): # 🌍 字"),
    ],
)
def test_a_signature_goes_from_its_def_to_where_all_is_closed(
    text: str, signature: str | None
) -> None:
    expected = signature or text.removesuffix("\n    pass\n")
    piece = sources(text).piece("a.py", "f")
    assert piece.signature.strip("\x0c") == expected
    assert piece.text.strip("\x0c") in text


@pytest.mark.parametrize("ends", ["\r\n", "\r"])
def test_line_ends_of_any_kind_end_a_line(ends: str) -> None:
    text = 'X = """a\n"""\n\ndef f(\n    x,\n):\n    return x\n'
    found = sources(text.replace("\n", ends).encode())
    assert found.piece("a.py", "f") == sources(text).piece("a.py", "f")
    assert found.piece("a.py", "f").place == 4
    assert found.constant("a.py", "X").text == 'X = """a\n"""'


def test_a_form_feed_ends_no_line() -> None:
    found = sources("def f():\n    pass\n\x0c\ndef g():\n    return '\x0b\x85\u2028'\n")
    assert found.piece("a.py", "g") == ("def g():\n    return '\x0b\x85\u2028'", "def g():", 4)


def test_a_method_is_shown_from_its_decorators_with_its_margin() -> None:
    piece = sources("class C:\n    @property\n    def f(self):\n        pass\n").piece(
        "a.py", "C.f"
    )
    signature = "    @property\n    def f(self):"
    assert piece == (f"{signature}\n        pass", signature, 2)


@pytest.mark.parametrize("text", ["def f(:\n", "def f():\n  pass\n def g(): pass\n", b"\xff\xfe"])
def test_of_what_does_not_parse_no_function_is_shown(text: str | bytes) -> None:
    assert sources(text).piece("a.py", "f") == NOTHING


def test_nothing_is_shown_of_a_text_that_is_not_outlined() -> None:
    early = sources("X = 1\ndef f(): pass\n", outlined=False)
    assert early.piece("a.py", "f") == early.constant("a.py", "X") == NOTHING
    assert sources("X = 1\n").piece("gone.py", "f") == NOTHING
    assert sources("X = 1\n").piece("a.py", "f") == NOTHING


def test_a_text_that_came_after_its_outline_is_not_read_by_it() -> None:
    task = Task()
    task.wrote("a.py", "def f():\n    return 1\n")
    task.wrote("b.py", "from a import f\ndef g(): return f()\n")
    task.outlined()
    task.wrote("a.py", "# now\ndef f():\n    return 2\n")
    found = context_at(task.store, task.id, NOW, Request("module:b.py"), BOUND)
    assert "return 1" not in found.text
    assert "return 2" not in found.text
    assert "# now" not in found.text


# Constants


@pytest.mark.parametrize(
    ("text", "constant"),
    [
        ("X = 1\nY = 2\n", "X = 1"),
        ("X: dict[str, int] = {}\n", "X: dict[str, int] = {}"),
        ("XY = 0\nX = 1 # ([\n", "X = 1 # (["),
        ("X = (\n    1,\n    ')',\n)\nY = 2\n", "X = (\n    1,\n    ')',\n)"),
        ('X = """a"""\nY = 2\n', 'X = """a"""'),
        ('X = """\na (\n"""\nY = 2\n', 'X = """\na (\n"""'),
        ("X = '''\na\n\n'''.split()\nY = 2\n", "X = '''\na\n\n'''.split()"),
        ("X = 1 + \\\n    2\nY = 2\n", "X = 1 + \\\n    2"),
        ("X = 'a\\\nb'\nY = 2\n", "X = 'a\\\nb'"),
        ("X = r'\\d[(' # it's\nY = 2\n", "X = r'\\d[(' # it's"),
        ('"""Told:\n\nX = 1\n"""\nX = 2\n', "X = 2"),
        ('# It\'s """ and no more\nX = 1\n', "X = 1"),
        ("if Y:\n    X = 1\n", ""),
        ("X, Y = 1, 2\n", ""),
        ("X = [\n" + "    1,\n" * 20 + "]\n", ""),
        ('X = """\n' + "a\n" * 20 + '"""\n', ""),
        ("X += 1\nX == 2\n", ""),
    ],
)
def test_a_constant_is_its_whole_lines_or_nothing(text: str, constant: str) -> None:
    piece = sources(text).constant("a.py", "X")
    assert piece.text == piece.signature == constant


def test_constants_are_shown_as_their_own_lines() -> None:
    task = Task()
    task.wrote("limits.py", "MOST = (\n    64,\n)\nLEAST = 1\nODD, EVEN = 1, 2\n")
    task.wrote("a.py", "from limits import MOST, ODD\nOWN = 3\n\ndef f():\n    return MOST\n")
    task.outlined()
    found = context_at(task.store, task.id, NOW, Request("function:a.py::f"), BOUND, COVERAGE)
    assert shown(found.items).items() >= {
        ("attribute:limits.py::MOST", "signature"), ("attribute:a.py::OWN", "signature"),
        ("attribute:limits.py::ODD", "name"),
    }  # fmt: skip
    assert "MOST = (\n    64,\n)\n" in found.text
    assert "LEAST" not in found.text
    scores = {item.node: item.score for item in found.items}
    assert scores["attribute:limits.py::MOST"] > scores["attribute:limits.py::ODD"]


def test_a_constant_that_a_query_names_is_likelier() -> None:
    task = Task()
    task.wrote("a.py", "OWN = 3\nOTHER = 4\ndef f(): pass\n")
    task.outlined()
    request = Request("module:a.py", "make OWN larger")
    found = context_at(task.store, task.id, NOW, request, BOUND, COVERAGE)
    scores = {item.node: item.score for item in found.items}
    assert scores["attribute:a.py::OWN"] > scores["attribute:a.py::OTHER"]


def test_a_signature_keeps_the_decorators_that_change_what_it_means() -> None:
    task = Task()
    body = "class C:\n    @property\n    @wraps\n    def f(self):\n        return 1\n"
    task.wrote("a.py", body)
    task.outlined()
    sources = Sources(state_at(task.store, dependency_graph, task.id), SourceLines(task.store.get))
    assert sources.piece("a.py", "C.f").signature == "    @property\n    def f(self):"
