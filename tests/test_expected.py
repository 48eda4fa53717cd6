"""What the text of tests tells: which must be seen, and which it may leave out itself."""

import pytest

from backcast.engine.workflow.sandbox.expected import GivenTexts, read_texts

HEAD = "import unittest, pytest, n, library\nfrom unittest import TestCase\n"
Told = tuple[str, set[str], set[str]]
"A text, the tests that must be seen, and those that it may leave out."
TEXTS: dict[str, Told] = {
    "functions": ("def test_a(): 0\nasync def test_b(): 0\ndef check(): 0\n",
                  {"test_a", "test_b"}, set()),
    "the prefix alone": ("def tested(): 0\ndef testing(): 0\n", {"tested", "testing"}, set()),
    "fixtures": ("@pytest.fixture\ndef test_a(): 0\n@pytest.fixture()\ndef test_b(): 0\n",
                 set(), set()),
    "nested": ("def outer():\n  def test_a(): 0\n", set(), set()),
    "classes": ("class TestA:\n  def test_a(self): 0\n  class TestB:\n    def test_b(self): 0\n"
                "class Other:\n  def test_c(self): 0\n", {"TestA.test_a", "TestA.TestB.test_b"},
                set()),
    "suites": ("class A(unittest.TestCase):\n  def test_a(self): 0\n"
               "class B(A):\n  def test_b(self): 0\nclass C(TestCase):\n  def testC(self): 0\n",
               {"A.test_a", "B.test_a", "B.test_b", "C.testC"}, set()),
    "an inherited test that is taken away": ("class A(TestCase):\n  def test_a(self): 0\n"
                                             "class B(A):\n  test_a = None\n", {"A.test_a"}, set()),
    "a base of the code": (
        "class TestA(n.Base):\n  def test_a(self): 0\n", {"TestA.test_a"}, set()),
    "a base of a library": ("class TestA(library.Base):\n  def test_a(self): 0\n", set(), set()),
    "made classes": (
        "class TestA:\n  def __init__(self): 0\n  def test_a(self): 0\n", set(), set()),
    "no tests": ("class TestA:\n  __test__ = False\n  def test_a(self): 0\n"
                 "def test_b(): 0\ntest_b.__test__ = False\ndef test_c(): 0\ndel test_c\n",
                 set(), set()),
    "no tests at all": ("__test__ = False\ndef test_a(): 0\n", set(), set()),
    "conditions": ("if n.x:\n  def test_a(): 0\ntry:\n  def test_b(): 0\nexcept Exception: 0\n",
                   set(), set()),
    "marks": ("@pytest.mark.skip\ndef test_a(): 0\n@pytest.mark.slow\ndef test_b(): 0\n"
              "later = pytest.mark.xfail(reason='x')\n@later\ndef test_c(): 0\n"
              "def on(x): return pytest.mark.skipif(x, reason='x')\n@on(1)\ndef test_d(): 0\n",
              {"test_a", "test_b", "test_c", "test_d"}, {"test_a", "test_c", "test_d"}),
    "marks of the code": ("@n.skip\ndef test_a(): 0\n@n.other\ndef test_b(): 0\n",
                          {"test_a", "test_b"}, {"test_a"}),
    "marks of a library": ("@library.network\ndef test_a(): 0\n", {"test_a"}, {"test_a"}),
    "parameters": ("@pytest.mark.parametrize('x', [1])\ndef test_a(x): 0\n"
                   "@pytest.mark.parametrize('x', [])\ndef test_b(x): 0\n"
                   "@pytest.mark.parametrize('x', n.CASES)\ndef test_c(x): 0\n"
                   "CASES = list(n.CASES)\n@pytest.mark.parametrize('x', CASES)\ndef test_d(x): 0\n"
                   "@pytest.mark.parametrize('x', [pytest.param(1, marks=pytest.mark.skip)])\n"
                   "def test_e(x): 0\n", {f"test_{c}" for c in "abcde"}, {"test_b", "test_e"}),
    "a marked class": ("@pytest.mark.skip\nclass TestA:\n  def test_a(self): 0\n"
                       "class TestB:\n  pytestmark = [pytest.mark.xfail]\n  def test_b(self): 0\n",
                       {"TestA.test_a", "TestB.test_b"}, {"TestA.test_a", "TestB.test_b"}),
}  # fmt: skip


def read(text: str, **more: str) -> GivenTexts:
    files = {"test_it.py": text, **{f"{name}.py": body for name, body in more.items()}}
    bodies = {path: body.encode() for path, body in files.items()}
    return read_texts(bodies | {"n.py": b""}, ["test_it.py"], [*files])


@pytest.mark.parametrize("kind", TEXTS)
def test_the_text_tells_which_tests_there_must_be(kind: str) -> None:
    text, required, excused = TEXTS[kind]
    found = read(HEAD + text)
    assert set(found.by_path["test_it.py"].required) == required
    assert {test for test in required if found.excuses("test_it.py", test)} == excused


@pytest.mark.parametrize(
    ("line", "leaves"),
    [
        ("pytest.skip('x')", True),
        ("self.skipTest('x')", True),
        ("raise unittest.SkipTest('x')", True),
        ("pytest.importorskip('numpy')", True),
        ("pytest.importorskip('n')", False),
        ("pytest.importorskip('n.inner')", False),
        ("need('x')", True),
        ("n.skip('x')", False),
        ("n.value()", False),
        ("assert n.value() == 4", False),
    ],
)
def test_the_text_tells_which_lines_leave_out_a_test(line: str, leaves: bool) -> None:
    text = f"{HEAD}def need(x): pytest.skip(x)\ndef test_a():\n    {line}\n"
    assert read(text).leaves_out("test_it.py", 5, outside=False) == leaves


def test_a_module_mark_leaves_out_the_file() -> None:
    assert read(f"{HEAD}pytestmark = pytest.mark.skip\ndef test_a(): 0\n").excuses(
        "test_it.py", "test_a"
    )
    assert not read(f"{HEAD}pytestmark = pytest.mark.slow\ndef test_a(): 0\n").excuses(
        "test_it.py", "test_a"
    )


def test_a_conftest_that_chooses_is_told_from_one_that_does_not() -> None:
    assert read("", conftest="def pytest_collection_modifyitems(items): 0\n").chosen
    assert not read("", conftest="import pytest\n@pytest.fixture\ndef x(): 0\n").chosen
    assert not read("", helper="def pytest_collection_modifyitems(items): 0\n").chosen


def test_a_text_that_is_no_python_tells_nothing() -> None:
    assert read("def test_a(:\n").by_path == {}
