"""What a pipeline hands over is recorded as it is, or refused in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import backcast
from backcast.domain.errors import InputError
from backcast.domain.events import CheckFailure, ToolCalled, ToolReturned
from backcast.engine.interfaces.cli import main

Call = Callable[[Any], Any]


@pytest.fixture
def shop() -> backcast.Pipeline:
    """A pipeline that has asked for a module, and waits for the answer."""
    shop = backcast.open("sqlite://").start("shop", "A till", files={"test_money.py": "x"})
    shop.ask("money.py", "Write money.py.")
    return shop


@pytest.fixture
def written(shop: backcast.Pipeline) -> backcast.Pipeline:
    """A pipeline that has written a module, whose checks are awaited."""
    shop.answered("PRICE = 3")
    shop.wrote("money.py", "PRICE = 3")
    return shop


def refused(shop: backcast.Pipeline, call: Call, message: str) -> None:
    before = shop.version
    with pytest.raises(InputError) as found:
        call(shop)
    assert str(found.value) == message
    assert shop.version == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"passed": 0, "failures": ["t"]},
            "failures: needed a pair of a name and a message, or a CheckFailure, found str 't'",
        ),
        (
            {"passed": 0, "failures": "test_x"},
            "failures: needed a list of failures, found str 'test_x'",
        ),
        (
            {"passed": 0, "failures": [{"name": "t"}]},
            "failures: needed a pair of a name and a"
            " message, or a CheckFailure, found dict {'name': 't'}",
        ),
        (
            {"passed": 0, "failures": [("", "m")]},
            "failures: name: needed a text that is not empty, found ''",
        ),
        (
            {"passed": 0, "failures": [("t", None)]},
            "failures: message: needed a text, found NoneType None",
        ),
        ({"passed": -1}, "passed: needed a whole number from 0, found int -1"),
        ({"passed": "1"}, "passed: needed a whole number from 0, found str '1'"),
        ({"passed": 1, "skipped": 0.5}, "skipped: needed a whole number from 0, found float 0.5"),
        ({"passed": 1, "seconds": float("nan")}, "seconds: needed seconds from 0, found float nan"),
        ({"passed": 1, "output": b"x"}, "output: needed a text, found bytes b'x'"),
    ],
)
def test_checks_that_make_no_sense_are_refused_and_complete_no_module(
    written: backcast.Pipeline, given: dict[str, Any], message: str
) -> None:
    refused(written, lambda shop: shop.checked("money.py", **given), message)
    assert written.at().progress.modules["money.py"].status != "complete"


def test_checks_that_make_sense_are_recorded(written: backcast.Pipeline) -> None:
    failures: list[Any] = [
        ("test_a", "no"),
        ["test_b", ""],
        CheckFailure(name="test_c", kind="error"),
    ]
    written.checked("money.py", passed=True, failures=failures)
    [ran] = (event.fact.data for event in written.events(types=["CHECKS_RAN"]))
    assert (ran["passed"], ran["failed"], ran["errors"]) == (1, 2, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.answered(None), "answered: needed a text, found NoneType None"),
        (
            lambda s: s.answered("x", tokens=-1),
            "tokens: needed a whole number from 0, found int -1",
        ),
        (
            lambda s: s.answered("x", seconds="1"),
            "seconds: needed seconds as a number, found str '1'",
        ),
        (lambda s: s.answered("x", finish=None), "finish: needed a text, found NoneType None"),
        (
            lambda s: s.unanswered("x", kind="gone"),
            "unanswered: needed a kind of unavailable,"
            " timeout, overflow, refused, garbled, cancelled, found 'gone'",
        ),
        (lambda s: s.unanswered(""), "unanswered: needed a text that is not empty, found ''"),
        (lambda s: s.failed(None), "failed: needed a text, found NoneType None"),
        (lambda s: s.ask("a.py", None), "query: needed a text, found NoneType None"),
        (lambda s: s.ask("", ""), "query: needed a text that is not empty, found ''"),
        (lambda s: s.ask(3, "x"), "target: needed a text, found int 3"),
        (
            lambda s: s.ask("a.py", "x", wanted="test_money.py"),
            "wanted: needed a list of texts, found str 'test_money.py'",
        ),
        (lambda s: s.plan("money.py"), "plan: needed a list of modules, found str 'money.py'"),
        (
            lambda s: s.plan([{"path": "a.py"}, {"path": "a.py"}]),
            "plan: needed each path once, found 'a.py' twice",
        ),
        (
            lambda s: s.plan([{"path": "../a.py"}]),
            "needed a relative path without '.', '..' or empty parts, found '../a.py'",
        ),
        (
            lambda s: s.plan([{"path": "a.py", "tests": "test_money.py"}]),
            "plan: a.py: tests: needed a list of texts, found str 'test_money.py'",
        ),
        (lambda s: s.called(""), "called: needed a text that is not empty, found ''"),
        (lambda s: s.called("look", 3), "output: needed a text, found int 3"),
    ],
)
def test_what_is_not_what_is_needed_is_one_line_and_adds_nothing(
    shop: backcast.Pipeline, call: Call, message: str
) -> None:
    refused(shop, call, message)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"id": 1}, "task: needed a text, found int 1"),
        ({"goal": None}, "goal: needed a text, found NoneType None"),
        ({"requirements": "fast"}, "requirements: needed a list of texts, found str 'fast'"),
        (
            {"files": ["a.py"]},
            "files: needed texts by path, such as {'test_a.py': '...'}, found list ['a.py']",
        ),
        ({"model": None}, "model: needed a text, found NoneType None"),
        ({"profile": 3}, "profile: needed a text, found int 3"),
    ],
)
def test_a_task_that_cannot_begin_leaves_the_store_empty(
    given: dict[str, Any], message: str
) -> None:
    store = backcast.open("sqlite://")
    with pytest.raises(InputError) as found:
        store.start(**{"id": "shop", "goal": "A till", **given})
    assert (str(found.value), store.tasks()) == (message, [])


def test_a_call_of_a_tool_is_recorded_and_its_failure_is_shown(shop: backcast.Pipeline) -> None:
    shop.answered("I must see the tests.")
    shop.called("read_file", "assert cents('1') == 100\n", arguments={"path": "test_money.py"})
    shop.called("run_tests", "no such command: pytset", failed=True)
    called, returned, _, failed = (
        event for event in shop.events() if isinstance(event.fact, ToolCalled | ToolReturned)
    )
    assert called.fact.data["arguments"] == {"path": "test_money.py"}
    assert (returned.because, returned.writer) == ((called.version,), "tool:read_file")
    prompt = shop.ask("money.py", "The tests say assert cents('1') == 100. Write money.py.")
    text = "\n".join(message.content for message in prompt.messages)
    assert "run_tests: no such command: pytset" in text
    assert failed.fact.data["failed"]
    assert all(verdict.holds for verdict in shop.verify())


def test_cat_prints_the_output_of_a_tool_and_of_checks_short_or_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    long = "".join(f"line {number}\n" for number in range(2_000))
    with backcast.open(url) as store:
        shop = store.start("shop", "A till")
        shop.ask("money.py", "Write money.py.")
        shop.answered("PRICE = 3")
        shop.called("look", "nothing is there\n")
        shop.wrote("money.py", "PRICE = 3")
        shop.checked("money.py", passed=0, failures=[("test_a", "no")], output="1 failed\n")
        shop.checked("money.py", passed=1, output=long)
        places = [event.version for event in shop.events(types=["TOOL_RETURNED", "CHECKS_RAN"])]
    printed = []
    for version in places:
        with pytest.raises(SystemExit):
            main(["cat", f"shop@{version}", "--store", url])
        printed.append(capsys.readouterr().out)
    assert printed == ["nothing is there\n", "1 failed\n", long]
