"""What a project's code shows of its habits and libraries: by command, and as rows of prompts."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from backcast.domain.budget import PROFILES
from backcast.domain.context import Context
from backcast.domain.events import (
    CheckFailure,
    ChecksRan,
    TaskComplete,
    TaskStarted,
)
from backcast.domain.library_use import uses_of
from backcast.domain.memory_events import SummaryWritten
from backcast.domain.moment import NOW
from backcast.domain.policy import COVERAGE, DEFAULT, Policy
from backcast.domain.project_patterns import counts_of, patterns_of, project_patterns
from backcast.engine.context.project_knowledge import ProjectKnowledge
from backcast.engine.context.recorded import context_at, record_context
from backcast.engine.context.request import Request
from backcast.engine.context.sources import SourceLines
from backcast.engine.history.snapshots import state_at
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.replay.verify import verified
from backcast.projections import dependency_graph
from tests.sources import Task, facets_of, modules_of

QWEN = PROFILES["qwen3-8b-32k"]._replace(tokenizer="upper-bound")
Backcast = Callable[..., tuple[str, str, int]]


def shop(number: int) -> str:
    """A module of ten functions that are all written alike."""
    refusal = "raise ValueError(of)" if number == 3 else "pass"
    functions = "\n".join(
        f'''
def price_{number}_{n}(of: str) -> int:
    """What it costs."""
    {refusal}
    if not of:
        raise PriceError(of)
    return len(np.array([of]))
'''
        for n in range(10)
    )
    return f"import numpy as np\nfrom .errors import PriceError\n{functions}"


SHOP = {
    "shop/errors.py": "class PriceError(Exception):\n    'No price.'\n",
    "shop/a.py": shop(1),
    "shop/b.py": shop(2),
    "shop/c.py": shop(3),
    "pyproject.toml": '[project]\nname = "shop"\ndependencies = ["numpy>=2,<3"]\n',
    "tests/test_a.py": "import pytest\nfrom shop.a import price_1_1\n\n"
    + "\n\n".join(
        f"def test_{n}():\n    with pytest.raises(ValueError):\n        price_1_1(1)"
        for n in range(10)
    ),
}
ROWS = Policy(**{**DEFAULT.model_dump(), "habits": 400, "libraries": 2, "library_tokens": 400})
REQUEST = Request("function:shop/a.py::price_1_1")


def at_work(store: EventStore | None = None) -> Task:
    task = Task("shop", store)
    task.happened(TaskStarted(goal="Tell prices."))
    for path, source in SHOP.items():
        task.wrote(path, source)
    task.outlined()
    return task


def built(task: Task, policy: Policy) -> Context:
    return context_at(task.store, task.id, NOW, REQUEST, QWEN, policy)


def row(context: Context, node: str) -> str:
    return next((item.text for item in context.items if item.node == node), "")


def test_a_habit_is_told_with_the_counts_that_show_it_and_briefly_without() -> None:
    told = {one.subject: one for one in project_patterns(modules_of(SHOP))}
    assert told["Types"].said() == "Types: results annotated in 30 of 30 functions"
    assert told["Types"].brief == "results annotated in 100 % of functions"
    assert told["Errors"].said() == "Errors: own PriceError 30; else ValueError 10"
    assert told["Imports"].brief == "import numpy as np"
    assert told["Tests"].said() == (
        "Tests: functions test_*, 10 of 10 tests in tests/; pytest.raises in 10"
    )
    assert told["Data and checks"].said() == "Data and checks: bad input raises ValueError 10"
    assert told["Docstrings"].exact == "on 31 of 31 public functions and classes"


def test_what_the_counts_do_not_show_clearly_is_not_told() -> None:
    ends = (" -> int: 1", ": 'What it does.'")
    half = "\n".join(f"def f{n}(){ends[n % 2]}" for n in range(20))
    assert project_patterns(modules_of({"a.py": half, "docs/b.py": shop(1)})) == []


def test_one_module_more_or_less_is_counted_as_if_all_were_counted_anew() -> None:
    task, known = at_work(), ProjectKnowledge(SourceLines(lambda ref: b""))
    chance = random.Random(7)
    for step in range(12):
        path = f"shop/{chance.choice('abcd')}.py"
        if chance.random() < 0.3 and path in dependency_graph.present(state_of(task)):
            task.deleted(path)
        else:
            task.wrote(path, shop(step) if chance.random() < 0.7 else "x = 1")
        task.outlined()
        anew = ProjectKnowledge(SourceLines(lambda ref: b"")).habits(state_of(task))
        assert known.habits(state_of(task)) == anew
        assert anew == project_patterns(dependency_graph.present(state_of(task)))


def state_of(task: Task) -> dependency_graph.State:
    state: dependency_graph.State = state_at(task.store, dependency_graph, task.id)
    return state


def test_a_use_of_a_library_is_told_by_the_librarys_own_name() -> None:
    found = uses_of(
        facets_of(
            "a.py",
            """
            import numpy as np
            from click import echo as say
            from .own import thing

            class C(np.ndarray): pass
            def f(x):
                from rich.table import Table
                say(np.linalg.norm(x)); thing(); Table().row(x)
            """,
        )
    )
    assert found.uses == {
        "numpy.ndarray": 1, "numpy.linalg.norm": 1, "click.echo": 1, "rich.table.Table": 1,
    }  # fmt: skip
    assert found.aliases == {"import numpy as np": 1}


def test_a_prompt_has_the_rows_only_where_its_policy_asks_for_them() -> None:
    task = at_work()
    assert not any(item.section == "historical patterns" for item in built(task, COVERAGE).items)
    assert row(built(task, DEFAULT), "library:numpy") != ""
    told = built(task, ROWS)
    assert row(told, "habits:").startswith("This project writes. Types: results annotated in 100 %")
    assert row(told, "library:numpy") == (
        "numpy >=2,<3\nimport numpy as np\nused here: np.array\nreturn len(np.array([of]))"
    )
    few = ROWS.model_copy(update={"habits": 100, "library_tokens": 20})
    assert 0 < len(row(built(task, few), "habits:")) <= 100
    assert row(built(task, few), "library:numpy") == ""


def test_the_record_names_the_events_that_the_rows_came_from_and_the_prompt_is_rebuilt() -> None:
    task = at_work()
    record_context(task.store, task.id, NOW, REQUEST, QWEN, ROWS)
    [verdict] = verified(task.store, task.id)
    assert (verdict.rebuilt.verdict, verdict.derived.verdict) == ("same", "same")
    because = {item.node: item.because for item in built(task, ROWS).items}
    [*_, last] = (e.version for e in task.store.read(task.id, types=["MODULE_ITERATION"]))
    assert because["habits:"] == (last,)
    assert because["library:numpy"] == (3,)


def test_one_more_function_leaves_the_rows_as_they_were() -> None:
    task = at_work()
    before = built(task, ROWS)
    task.wrote("shop/d.py", "def more(of) -> int:\n    'Give more.'\n    return of\n")
    task.outlined()
    after = built(task, ROWS)
    for node in ("habits:", "library:numpy"):
        assert row(before, node) == row(after, node) != ""


def test_what_failed_with_a_library_and_what_was_written_of_it_come_from_earlier_tasks() -> None:
    earlier = Task("earlier")
    earlier.happened(TaskStarted(goal="Weigh."))
    earlier.wrote("scales.py", "import numpy\ndef weigh(): return numpy.float(1)\n")
    message = "AttributeError: module 'numpy' has no attribute 'float'"
    failure = CheckFailure(name="test_w", message=message)
    earlier.happened(ChecksRan(passed=1, failed=1, module_name="scales.py", failures=(failure,)))
    earlier.wrote("scales.py", "import numpy\ndef weigh(): return float(1)\n")
    earlier.happened(ChecksRan(passed=2, failed=0, module_name="scales.py"))
    earlier.happened(SummaryWritten(node="library:numpy", text="Arrays of numbers."))
    earlier.outlined()
    earlier.happened(TaskComplete())
    told = row(built(at_work(earlier.store), ROWS), "library:numpy").split("\n")
    assert told[:2] == ["numpy >=2,<3", "Arrays of numbers."]
    assert told[-1] == (
        f"failed before: {message}; mended by iteration 2 of scales.py, task earlier"
    )


@pytest.fixture
def backcast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Backcast:
    url = f"sqlite:///{tmp_path}/store.db"
    monkeypatch.setenv("BACKCAST_STORE", url)
    with EventStore.open(url, create=True) as store:
        at_work(store)

    def run(*arguments: str) -> tuple[str, str, int]:
        with pytest.raises(SystemExit) as end:
            main(["show", *arguments])
        return *capsys.readouterr(), int(end.value.code or 0)

    return run


def test_both_are_shown_by_command_as_of_a_moment(backcast: Backcast) -> None:
    out, _, code = backcast("patterns", "shop")
    assert (code, out.split("\n")[0]) == (0, "Types: results annotated in 30 of 30 functions")
    assert json.loads(backcast("patterns", "shop", "--json")[0])[0]["subject"] == "Types"
    assert backcast("libraries", "shop", "--module", "shop/a.py")[0] == (
        "numpy: required >=2,<3; imported by 3 modules\n  import numpy as np\n"
        "  used, with the functions that do: numpy.array 30\n"
        "  return len(np.array([of]))    # shop/a.py#L9\n"
    )
    assert json.loads(backcast("libraries", "shop", "--json")[0])[0]["uses"] == {"numpy.array": 30}
    out, err, code = backcast("libraries", "shop@1")
    assert (out, "no third-party library" in err, code) == ("", True, 0)


def test_a_library_or_module_that_is_not_there_is_told_in_a_line(backcast: Backcast) -> None:
    for arguments in (["--library", "nix"], ["--module", "no.py"]):
        out, err, code = backcast("libraries", "shop", *arguments)
        assert (out, err.count("\n"), code) == ("", 1, 2)
        assert f"found '{arguments[1]}'" in err


def test_files_that_are_beside_the_code_do_not_count() -> None:
    counts = patterns_of(counts_of("examples/a.py", facets_of("examples/a.py", shop(1))))
    assert counts == []
