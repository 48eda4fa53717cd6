"""The verdict of a run: code that cheats its tests does not pass, and honest suites do."""

import pytest

from backcast.engine.workflow.sandbox.run import Outcome, SandboxLimits, run_checks

LIMITS = SandboxLimits(seconds=20)
TESTS = """import math
import unittest

import pytest

import n


def test_a():
    n.touch()
    assert n.value() == 4


def test_b():
    assert n.value() == 4


@pytest.mark.parametrize("number", [1, 2])
def test_c(number):
    assert n.double(number) == 2 * number


class TestD:
    def test_d(self):
        with pytest.raises(ValueError):
            n.refuse()


class E(unittest.TestCase):
    def test_e(self):
        self.assertEqual(n.value(), 4)
        self.assertTrue(math.isclose(n.half(), 0.5))
"""
WRONG = """
def touch():
    pass


def value():
    return 5


def double(number):
    return 0


def refuse():
    pass


def half():
    return 0.7
"""
RIGHT = """
def touch():
    pass


def value():
    return 4


def double(number):
    return 2 * number


def refuse():
    raise ValueError


def half():
    return 0.5
"""


def outcome(code: str, tests: str = TESTS, **more: str) -> Outcome:
    """What comes of a module `n` under its tests."""
    files = {"n.py": code, "test_n.py": tests} | {f"{k}.py": body for k, body in more.items()}
    bodies = {path: body.encode() for path, body in files.items()}
    names = [path for path in files if path.startswith("test_")]
    return run_checks(bodies, names, LIMITS)


def test_the_code_that_is_right_passes_all_its_tests() -> None:
    done = outcome(RIGHT)
    assert (done.passed, done.failures, done.skipped) == (6, (), 0)


TOUCHED = {  # what the first test lets the code do, before the others run
    "no call of functions": "import _pytest.python as p\n"
    "    p.Function.runtest = lambda self: None",
    "no call of the hook": "import _pytest.python as p\n    p.pytest_pyfunc_call = print",
    "no report of failures": "import _pytest.runner as r\n"
    "    real = r.CallInfo.from_call.__func__\n"
    "    def quiet(cls, func, when, reraise=None):\n"
    "        call = real(cls, func, when, reraise)\n"
    "        call.excinfo = None\n"
    "        return call\n"
    "    r.CallInfo.from_call = classmethod(quiet)",
    "reports that passed": "import _pytest.reports as r\n"
    "    r.TestReport.outcome = property(lambda self: 'passed', lambda self, value: None)",
    "suites that do not run": "import unittest\n"
    "    unittest.TestCase.run = unittest.TestCase.__call__ = lambda self, result=None: None",
    "equal to everything": "import unittest\n"
    "    unittest.TestCase.assertEqual = lambda self, *values: None",
    "assertions that are skips": "import builtins, pytest\n"
    "    builtins.AssertionError = pytest.skip.Exception",
    "the comparison that always holds": "import math\n    math.isclose = lambda *values: True",
    "raises that accepts": "import _pytest.raises as r\n"
    "    r.RaisesExc.__exit__ = lambda *values: True",
    "functions of the test file": "import sys\n"
    "    test = sys.modules['test_n']\n"
    "    for one in (test.test_b, test.test_c, test.TestD.test_d, test.E.test_e):\n"
    "        one.__code__ = (lambda *values, **more: None).__code__",
    "the items of the session": "import gc, pytest\n"
    "    for one in gc.get_objects():\n"
    "        if isinstance(one, pytest.Function) and one.name != 'test_a':\n"
    "            one.obj = lambda **more: None",
    "no items at all": "import gc, pytest\n"
    "    for one in gc.get_objects():\n"
    "        if isinstance(one, pytest.Session):\n"
    "            del one.items[1:]",
    "a mark on each": "import gc, pytest\n"
    "    for one in gc.get_objects():\n"
    "        if isinstance(one, pytest.Function):\n"
    "            one.add_marker(pytest.mark.xfail(strict=False))",
    "a walk through the frames": "import pytest, sys\n"
    "    frame = sys._getframe()\n"
    "    while 'item' not in frame.f_locals:\n"
    "        frame = frame.f_back\n"
    "    for one in frame.f_locals['item'].session.items:\n"
    "        one.add_marker(pytest.mark.skip(reason='later'))",
    "a plugin of its own": "import gc, pytest\n"
    "    class Kind:\n"
    "        @pytest.hookimpl(tryfirst=True)\n"
    "        def pytest_runtest_makereport(self, item, call):\n"
    "            call.excinfo = None\n"
    "    for one in gc.get_objects():\n"
    "        if isinstance(one, pytest.PytestPluginManager):\n"
    "            one.register(Kind())",
    "without the witness": "import gc, pytest\n"
    "    for one in gc.get_objects():\n"
    "        if isinstance(one, pytest.PytestPluginManager):\n"
    "            for plugin in list(one.get_plugins()):\n"
    "                if type(plugin).__name__ in ('Witness', 'Progress'):\n"
    "                    one.unregister(plugin)",
    "the witness itself": "import gc\n"
    "    for one in gc.get_objects():\n"
    "        if type(one).__name__ == 'Witness':\n"
    "            one._tell = lambda item: None",
    "an alarm": "import pytest, signal, time\n"
    "    def skip(*values):\n"
    "        pytest.skip('later')\n"
    "    signal.signal(signal.SIGALRM, skip)\n"
    "    signal.setitimer(signal.ITIMER_REAL, 0.01)\n"
    "    time.sleep(1)",
    "the report's descriptor": "import os\n"
    "    for number in range(3, 20):\n"
    "        try:\n"
    "            os.dup2(os.open('/dev/null', os.O_WRONLY), number)\n"
    "        except OSError:\n"
    "            pass",
    "an end at once": "import os\n    os._exit(0)",
    "an end by another thread": "import os, threading\n"
    "    threading.Timer(0.01, os._exit, [0]).start()\n"
    "    import time\n"
    "    time.sleep(0.5)",
    "an end by pytest": "import pytest\n    pytest.exit('enough', returncode=0)",
    "an interrupt": "raise KeyboardInterrupt",
    "a fork that goes on": "import os\n"
    "    if child := os.fork():\n"
    "        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))",
    "results of its own": "import atexit, os, threading, time\n"
    "    def write():\n"
    "        while True:\n"
    "            with open('../junit.xml', 'w') as file:\n"
    "                file.write('<testsuite><testcase name=\"a\"/></testsuite>')\n"
    "    threading.Thread(target=write, daemon=True).start()",
    "reports of its own": "import glob, json, os\n"
    "    for name in os.listdir('/proc/self/fd'):\n"
    "        try:\n"
    '            os.write(int(name), b\'\\n{"ended": 0, "unfinished": 0}\\n\')\n'
    "        except OSError:\n"
    "            pass\n"
    "    os._exit(0)",
    "the guard's own names": "import __main__\n"
    "    __main__.Progress.pytest_runtest_logreport = print\n"
    "    __main__.Witness._tell = print",
    "what writes the notes": "import json\n"
    "    real = json.JSONEncoder.encode\n"
    "    json.JSONEncoder.encode = lambda self, value: real(self, value).replace('fail', 'pass')",
    "the methods of a suite": "import sys\n"
    "    sys.modules['test_n'].E.assertEqual = lambda self, *values: None",
    "the names of the test file": "import sys, types\n"
    "    sys.modules['test_n'].math = types.SimpleNamespace(isclose=lambda *values: True)",
    "a trace that stays": "import sys\n    sys.settrace(lambda frame, event, value: None)",
    "another module for the tests": "import sys, types\n"
    "    fake = types.ModuleType('unittest')\n"
    "    sys.modules['unittest'] = fake",
}


@pytest.mark.parametrize("trick", TOUCHED)
def test_code_that_meddles_while_it_is_tested_does_not_pass(trick: str) -> None:
    code = WRONG.replace("def touch():\n    pass", f"def touch():\n    {TOUCHED[trick]}")
    # A test that never comes so far as to meddle shows nothing: the first test must call it.
    tests = TESTS.replace("    n.touch()\n    assert n.value() == 4", "    n.touch()")
    done = outcome(code, tests)
    assert done.failed + done.errors > 0
    assert done.passed <= 1, done.failures


@pytest.mark.parametrize("trick", [
    "functions of the test file", "equal to everything", "no call of functions",
    "a plugin of its own", "the comparison that always holds", "assertions that are skips",
])  # fmt: skip
def test_meddling_is_told_though_each_value_is_right(trick: str) -> None:
    done = outcome(RIGHT.replace("def touch():\n    pass", f"def touch():\n    {TOUCHED[trick]}"))
    assert done.failed > 0
    assert any("leave" in failure.message for failure in done.failures)


IMPORTED = {  # what the code does when it is imported
    "brings another pytest": "import contextlib, sys, types, pytest\n"
    "sys.modules['test_n'].pytest = types.SimpleNamespace(mark=pytest.mark, raises=contextlib."
    "suppress)",
    "names an exception": "import sys, pytest\n"
    "sys.modules['test_n'].AssertionError = pytest.skip.Exception",
    "brings other built-in functions": "import builtins, sys\n"
    "sys.modules['test_n'].__builtins__ = dict(vars(builtins), AssertionError=None)",
    "brings other test files": "import importlib.machinery, sys\n"
    "class Finder:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name == 'test_z':\n"
    "            return importlib.machinery.ModuleSpec(name, self, origin='test_z.py')\n"
    "    def create_module(self, spec):\n"
    "        return None\n"
    "    def exec_module(self, module):\n"
    "        import os\n"
    "        module.__file__ = os.path.abspath('test_z.py')\n"
    "        module.test_z = lambda: None\n"
    "sys.meta_path.insert(0, Finder())",
    "is of another system": "import sys\nsys.platform = 'win32'",
    "skips the file": "import pytest\npytest.skip('later', allow_module_level=True)",
    "raises SkipTest": "import unittest\nraise unittest.SkipTest('later')",
    "marks the test file": "import sys, pytest\n"
    "sys.modules['test_n'].pytestmark = [pytest.mark.skip(reason='later')]",
    "is no test": "import sys\nsys.modules['test_n'].__test__ = False",
    "brings a conftest": "open('conftest.py', 'w').write('def pytest_collection_modifyitems(items):"
    " items.clear()')",
    "brings plugins": "import sys\n"
    "open('evil.py', 'w').write('def pytest_runtest_makereport(item, call): call.excinfo = None')\n"
    "sys.modules['test_n'].pytest_plugins = ['evil']",
    "changes the tests on disk": "for name in ('test_n.py', 'test_z.py'):\n"
    "    open(name, 'w').write('def test_z():\\n    pass\\n')",
    "sets options": "import os, sys\nos.environ['PYTEST_ADDOPTS'] = '-k nothing'\n"
    "sys.argv[1:] = ['-k', 'nothing']",
    "exits": "import sys\nsys.exit(0)",
    "ends": "import os\nos._exit(0)",
    "ends later": "import atexit, os\natexit.register(os._exit, 0)",
    "builds other classes": "import builtins\nreal = builtins.isinstance\n"
    "builtins.isinstance = lambda value, kind: True if kind is None else real(value, kind)",
}


@pytest.mark.parametrize("trick", IMPORTED)
def test_code_that_meddles_when_it_is_imported_does_not_pass(trick: str) -> None:
    tests = "from n import value\n\n\ndef test_z():\n    assert value() == 4\n"
    code = f"{IMPORTED[trick]}\n{WRONG}"
    alone = outcome(code, test_z=tests)
    assert alone.failed + alone.errors > 0
    assert alone.passed == 0, alone.failures


@pytest.mark.parametrize("trick", [
    "brings another pytest", "names an exception", "brings other built-in functions",
    "brings other test files", "is of another system", "brings plugins", "builds other classes",
    "changes the tests on disk",
])  # fmt: skip
def test_meddling_at_import_is_told_though_each_value_is_right(trick: str) -> None:
    tests = "from n import value\n\n\ndef test_z():\n    assert value() == 4\n"
    done = outcome(f"{IMPORTED[trick]}\n{RIGHT}", test_z=tests)
    assert done.failed > 0
    assert any("leave" in failure.message for failure in done.failures)


CALLED = {  # what the code does instead of the asked
    "import pytest\n    pytest.skip('later')": "skipped this test (later)",
    "import pytest\n    pytest.xfail('later')": "marked this test as expected to fail (later)",
    "import pytest\n    pytest.importorskip('no_such_module')": "skipped this test (could not",
    "import unittest\n    raise unittest.SkipTest('later')": "skipped this test (later)",
    "import pytest\n"
    "    class Mine(pytest.skip.Exception):\n        pass\n"
    "    raise Mine('later')": "skipped this test (later)",
    "exec(compile('import pytest; pytest.skip(\"1\")', 'x', 'exec'))": "x:1 skipped this test (1)",
    "raise SystemExit(0)": "SystemExit",
}


@pytest.mark.parametrize("way", CALLED)
def test_a_test_that_the_code_leaves_out_has_failed_and_its_place_is_told(way: str) -> None:
    done = outcome(RIGHT.replace("def value():\n    return 4", f"def value():\n    {way}"))
    assert (done.passed, done.failed, done.skipped) == (3, 3, 0)
    [first, *_] = done.failures
    assert first.name == "test_n.py::test_a"
    assert CALLED[way] in first.message
    assert first.at.startswith(("n.py:", "x:"))


def test_a_fixture_of_the_code_that_skips_is_told_too() -> None:
    code = "import pytest\n\n\n@pytest.fixture\ndef ready():\n    pytest.skip('later')\n"
    done = outcome(code, "from n import ready\n\n\ndef test_a(ready):\n    assert 0\n")
    assert (done.passed, done.failed) == (0, 1)
    assert "n.py:6 skipped this test (later)" in done.failures[0].message


def test_no_module_is_imported_that_leaves_itself_out() -> None:
    files = {"a.py": b"import pytest\n\npytest.skip('x', allow_module_level=True)\n", "b.py": b""}
    done = run_checks(files, [], LIMITS)
    assert (done.passed, done.failed, done.errors) == (1, 0, 1)
    assert [(one.name, one.at, one.kind) for one in done.failures] == [("a.py", "a.py:3", "error")]


def test_parameters_that_the_code_takes_away_are_missed() -> None:
    tests = "import pytest\nfrom n import CASES\n\n\n@pytest.mark.parametrize('x', CASES)\n"
    done = outcome("CASES = []\n", tests + "def test_a(x):\n    assert 0\n")
    assert (done.passed, done.failed, done.skipped) == (0, 1, 0)


OWN_SKIPS = """import sys
import unittest

import pytest

needs_luck = pytest.mark.skipif(sys.platform != "luck", reason="no luck")
np = None


def need(name):
    pytest.skip(f"there is no {name}")


@pytest.fixture
def absent():
    pytest.skip("absent")


@pytest.mark.skip(reason="not yet")
def test_mark():
    assert 0


@needs_luck
def test_alias():
    assert 0


@pytest.mark.xfail(reason="known")
def test_known():
    assert 0


def test_call():
    need("network")


def test_fixture(absent):
    assert 0


@pytest.mark.parametrize("x", [1, pytest.param(2, marks=pytest.mark.skip)])
def test_parameter(x):
    assert x == 1


class TestAll:
    pytestmark = pytest.mark.skip

    def test_one(self):
        assert 0


class Suite(unittest.TestCase):
    @unittest.skip("no")
    def test_skip(self):
        self.fail()

    @unittest.expectedFailure
    def test_expected(self):
        self.fail()

    def test_inside(self):
        self.skipTest("no")

    def test_runs(self):
        self.assertEqual(1, 1)
"""


def test_what_the_text_itself_leaves_out_is_told_apart() -> None:
    done = outcome("", OWN_SKIPS, test_whole="import pytest\npytest.importorskip('no_such')\n")
    assert done.failures == ()
    assert (done.passed, done.skipped) == (2, 11)


def test_whether_the_module_can_be_imported_is_no_reason_to_skip() -> None:
    done = outcome("import no_such\n", "import pytest\n\nn = pytest.importorskip('n')\n")
    assert (done.passed, done.failed, done.skipped) == (0, 1, 0)
    assert "skipped this test" in done.failures[0].message


HONEST = {
    "test_patches": """import builtins
import random
import time
from unittest import mock

import pytest


def test_sleep(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr("random.random", lambda: 4)
    time.sleep(100)
    assert random.random() == 4


def test_builtins(monkeypatch):
    monkeypatch.setattr(builtins, "len", lambda value: 7)
    assert len([]) == 7


@mock.patch("time.time", return_value=3)
@mock.patch.object(random, "choice")
def test_mock(choice, now):
    assert time.time() == 3


def test_for_good():
    time.monotonic = lambda: 5
    assert time.monotonic() == 5
""",
    "test_kinds": """import asyncio
import dataclasses
import enum
import unittest

import pytest

import n


def setup_module():
    pass


class TestNested:
    class TestInner:
        @staticmethod
        def test_static():
            assert True

        @pytest.mark.parametrize("x", ["a::b", "[c]", "d[e::f]"])
        @pytest.mark.parametrize("y", [1, 2])
        def test_odd_names(self, x, y):
            assert x


class Base(unittest.TestCase):
    def test_shared(self):
        self.assertTrue(self.yes())

    def yes(self):
        return True

    @classmethod
    def setUpClass(cls):
        pass


class Derived(Base):
    def test_own(self):
        for i in range(3):
            with self.subTest(i=i):
                self.assertLess(i, 3)


class Asynchronous(unittest.IsolatedAsyncioTestCase):
    async def test_later(self):
        await asyncio.sleep(0)
        self.assertTrue(n.yes())


class TestKind(enum.Enum):
    ONE = 1

    def test_nothing(self):
        pass


@dataclasses.dataclass
class TestData:
    x: int

    def test_none(self):
        pass


class TestHelper:
    __test__ = False

    def test_nothing(self):
        assert 0


class TestMade:
    def __init__(self, x):
        self.x = x

    def test_nothing(self):
        assert 0


def test_taken():
    assert 0


del test_taken


@pytest.fixture
def test_value():
    return 3


def test_with(test_value, subtests, tmp_path, capsys):
    for i in range(2):
        with subtests.test(i=i):
            assert i < test_value
    print("x")
    assert capsys.readouterr().out == "x\\n"


def test_maker():
    def test_inner():
        assert 0

    assert test_inner


if n.yes():
    def test_when():
        pass
else:
    def test_never():
        assert 0


for name in "xy":
    exec(f"def test_made_{name}():\\n    assert 1")


def test_raises():
    with pytest.raises(ZeroDivisionError, match="division"):
        1 / 0
    with pytest.warns(UserWarning):
        import warnings
        warnings.warn("x")
    assert 0.1 + 0.2 == pytest.approx(0.3)


def testing():
    assert n.yes()
""",
    "test_traces": """import contextlib
import functools
import io
import os
import sys
import threading

import n


def wrapped(function):
    def inner(*args, **kwargs):
        return function(*args, **kwargs)
    return inner


@wrapped
def test_bare_wrapper():
    assert n.yes()


@functools.lru_cache
def test_cached():
    assert n.yes()


def test_trace():
    seen = []
    before = sys.gettrace()
    sys.settrace(lambda frame, event, value: seen.append(event))
    n.yes()
    sys.settrace(before)
    assert seen


def test_child():
    child = os.fork()
    if not child:
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3


def test_thread():
    done = []
    thread = threading.Thread(target=lambda: done.append(1))
    thread.start()
    thread.join()
    assert done


def test_output():
    with contextlib.redirect_stdout(io.StringIO()) as out:
        print("x")
    assert out.getvalue() == "x\\n"
""",
    "test_runner": """import pytest
from n import Plugin

pytest_plugins = ["n"]


def test_plugin(pytestconfig):
    pytestconfig.pluginmanager.register(Plugin(), "mine")
    assert pytestconfig.pluginmanager.get_plugin("mine")


def test_value(from_plugin):
    assert from_plugin == 5
""",
}


def test_honest_suites_pass() -> None:
    code = """import gettext

import pytest

gettext.install("n")


def yes():
    return True


class Plugin:
    def pytest_report_header(self):
        return "mine"


@pytest.fixture
def from_plugin():
    return 5


def pytest_report_header():
    return "n"
"""
    bodies = {f"{name}.py": text.encode() for name, text in HONEST.items()}
    done = run_checks(bodies | {"n.py": code.encode()}, [*bodies], LIMITS)
    assert done.failures == ()
    assert done.skipped == 0
    assert done.passed >= 30


def test_a_conftest_of_the_task_may_choose_and_mark() -> None:
    conftest = """import pytest
from n import yes


def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if "slow" not in item.name]
    for item in items:
        if "odd" in item.name:
            item.add_marker(pytest.mark.skip(reason="odd"))


@pytest.fixture(autouse=True)
def ready():
    yield yes()
"""
    tests = "def test_slow():\n    assert 0\n\n\ndef test_odd():\n    assert 0\n\n\n"
    code = "def yes():\n    return True\n"
    done = outcome(code, tests + "def test_a():\n    pass\n", conftest=conftest)
    assert (done.passed, done.failures, done.skipped) == (1, (), 1)
