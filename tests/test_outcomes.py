"""What came of a step, as a text to read: what stands before it, and which of it is new."""

from pathlib import Path
from textwrap import dedent

import pytest

from backcast.domain.errors import InputError
from backcast.domain.events import Committed, ModuleIteration
from backcast.engine.log.blobs import Blob
from backcast.engine.log.open_logs import opened
from backcast.engine.replay.changes import requests
from backcast.engine.replay.outcomes import KnownOutcome, new_lines, outcome_of
from backcast.engine.replay.steps import steps
from tests.sources import Task

NOON = "2026-11-20T12:00:00+00:00"
TILL = Path(__file__).parents[1] / "fixtures/logs/till.jsonl"


def committed(*sources: str | bytes, message: str = "Count again\n\nIt was wrong.") -> Task:
    """A history of one module, a commit for each text of it."""
    task = Task("history")
    for number, source in enumerate(sources, 1):
        task.happened(
            Committed(sha=f"{number:040x}", message=message, authored_at=NOON, committed_at=NOON)
        )
        body = source if isinstance(source, bytes) else dedent(source).encode()
        blob = Blob(body)
        task.happened(ModuleIteration(module_name="a.py", iteration=number, source=blob.ref), blob)
        task.outlined()
    return task


def outcome(*sources: str, message: str = "Count again\n\nIt was wrong.") -> KnownOutcome:
    task = committed(*sources, message=message)
    *_, last = requests(task.store, task.id)
    found = outcome_of(last, task.store.get)
    assert found is not None
    return found


CLASS = '''
class Cart:
    """A cart."""

    @property
    def total(self) -> int:
        """Sum up.

        All of it.
        """
        # each once
        return sum(self.prices)
'''


def test_a_function_is_read_behind_its_path_title_class_signature_and_docstring() -> None:
    found = outcome(CLASS)
    assert found.header == (
        "```python a.py\n# Count again\nclass Cart:\n    @property\n    def total(self) -> int:\n"
        '        """Sum up.\n\n        All of it.\n        """\n'
    )
    assert found.text == "        # each once\n        return sum(self.prices)"
    assert found.new == (True, True)


def test_of_a_function_that_was_there_only_its_other_lines_are_new() -> None:
    found = outcome(CLASS, CLASS.replace("each once", "once").replace("_sum", ""))
    assert found.text == "        # once\n        return sum(self.prices)"
    assert found.new == (True, False)
    asked = outcome("def f():\n    return 1\n", "def f():\n    return 2\n", message="use return 2")
    assert asked.new == (True,)
    asked = outcome("def f():\n    return 1\n", "def f():\n    return 2\n", message="x\n\nreturn 2")
    assert asked.new == (False,), "the request holds it"


@pytest.mark.parametrize(
    ("source", "header", "text"),
    [
        ("def f(): return 1\n", "def f(): ", "return 1"),
        ('def f(): "It."; return 1\n', 'def f(): "It."; ', "return 1"),
        (
            "def f(\n    a,\n):\n\n    # so\n    return a\n",
            "def f(\n    a,\n):\n\n    # so\n",
            "    return a",
        ),
        (
            "async def f():\n    @g\n    def h():\n        return 1\n    return h\n",
            "async def f():\n",
            "    @g\n    def h():\n        return 1\n    return h",
        ),
        ("def f():\n    'é'; return 'é'\n", "def f():\n    'é'; ", "return 'é'"),
        ("\ufeffdef f():\n    return 1\n", "def f():\n", "    return 1"),
    ],
)  # fmt: skip
def test_a_body_begins_where_the_docstring_or_signature_ends(
    source: str, header: str, text: str
) -> None:
    found = outcome(source, message="")
    assert (found.header, found.text) == (f"```python a.py\n{header}", text)


@pytest.mark.parametrize(
    ("source", "needed"),
    [
        (b"def f():\n    '''Nothing else.'''\n", "needed a text to read, found an empty one"),
        (
            b"# coding: latin-1\ndef f():\n    return '\xe9'\n",
            "a.py: needed UTF-8, found byte 0xe9",
        ),
    ],
)
def test_an_outcome_that_cannot_be_read_is_told(source: bytes, needed: str) -> None:
    task = committed(b"x = 1\n", source)
    *_, last = requests(task.store, task.id)
    with pytest.raises(InputError, match=needed):
        outcome_of(last, task.store.get)


def test_an_outcome_that_is_not_of_the_file_of_its_step_is_told() -> None:
    task = committed("def f():\n    return 1\n")
    [step] = requests(task.store, task.id)
    other = step._replace(request=step.request._replace(target="function:a.py::g"))
    with pytest.raises(InputError, match=r"needed g in a\.py, found no such function in its text"):
        outcome_of(other, task.store.get)
    other = step._replace(request=step.request._replace(target="function:b.py::f"))
    assert outcome_of(other, task.store.get) is None
    assert outcome_of(step._replace(after=step.known), task.store.get) is None


def test_of_a_run_it_is_the_module_that_was_accepted() -> None:
    with opened(str(TILL)) as log:
        found = {
            step.name: outcome_of(step, log.store.get)
            for step in steps(log.store, "till", outcomes=True)
        }
    read = {name: outcome for name, outcome in found.items() if outcome}
    assert all(name.startswith("code ") for name in read)
    first, second = read["code orders.py #1"], read["code orders.py #2"]
    assert first.header == second.header == "```python orders.py\n"
    assert first.text == second.text, "the outcome of both is what was accepted in the end"
    assert sum(second.new) == 3 < sum(first.new) == 15
    lines = first.text.split("\n")
    assert [line for line, new in zip(lines, first.new, strict=True) if new and not line] == []


def test_a_line_is_new_where_nothing_known_holds_it() -> None:
    text = "a = 1\n\n    b = 2\nc = 3\r"
    assert new_lines(text, ("b = 2\nc = 3", "x")) == (True, False, False, False)
    assert new_lines(text, ()) == (True, False, True, True)


def test_a_request_names_nobody_who_signed_the_commit() -> None:
    message = (
        "Count again\n\n* Signed-off-by: is asked for\n\n* lint\n\n"
        "Co-authored-by: Ann <ann@example.org>\n\n* Update\n\nSigned-off-by: Bo <bo@example.org>\n"
        "Change-Id: I1\n"
    )
    task = committed("x = 1\n", "def f():\n    return 1\n", message=message)
    *_, last = requests(task.store, task.id)
    assert "Signed-off-by: is asked for" in last.request.query
    assert "lint" in last.request.query
    assert last.request.query.endswith("* Update")
    assert not {"<", "Change-Id"} & {*last.request.query.split()}
    assert "@" not in last.request.query
