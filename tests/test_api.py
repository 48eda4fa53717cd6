"""`import backcast` is the library: an exact face, each name of it with an example that runs."""

import doctest
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

import backcast
from backcast.domain.context_events import ContextItem, ContextOmission
from backcast.domain.moment import Moment
from backcast.engine.history.task_states import TaskStates
from backcast.engine.interfaces.view.notebook import BudgetParts, prompt_html
from backcast.engine.memory.import_log import run
from tests.hostile_log import ALL

TILL = Path(__file__).parents[1] / "fixtures/logs/till.jsonl"


def test_the_face_is_exact() -> None:
    import backcast.library as library

    assert sorted(library.__all__) == sorted(backcast.__all__)
    assert sorted(set(dir(backcast)) - {"__version__"}) == sorted(backcast.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        backcast.nothing  # noqa: B018


@pytest.mark.parametrize("name", backcast.__all__)
def test_each_name_says_what_it_is_with_an_example(name: str) -> None:
    found = getattr(backcast, name)
    finder = doctest.DocTestFinder(recurse=False)
    examples = [test for test in finder.find(found, name, globs={}) if test.examples]
    assert examples, f"{name} has no example"
    runner = doctest.DocTestRunner()
    for test in examples:
        test.globs.update(vars(sys.modules[found.__module__]))
        assert runner.run(test).failed == 0


def test_stores_and_moments_say_which_they_are() -> None:
    with backcast.open_log(TILL) as store:
        till = store.task("till")
        assert repr(store) == f"<store {TILL}>"
        shown = [repr(till.at(when)) for when in (100, "2026-11-20", "last", Moment(position=7))]
        assert shown == [
            "<known till@100>", "<known till@2026-11-20>", "<known till@last>",
            "<known till@position 7>",
        ]  # fmt: skip
        assert repr(till.at()) == "<known till@last>"
    secret = backcast.Store(store.events, "postgresql://ann:hunter2@host/runs")
    assert repr(secret) == "<store postgresql://...@host/runs>"


def test_what_is_known_at_a_moment_has_types_for_whoever_calls() -> None:
    with backcast.open_log(TILL) as store:
        then = store.task("till").at(100)
        for name in (*(field for field in TaskStates._fields[:10]), "versions"):
            found = get_type_hints(getattr(backcast.Known, name).fget)["return"]
            assert isinstance(getattr(then, name), found), name
    with pytest.raises(AttributeError, match="no 'progres' is known; there are"):
        then.progres  # type: ignore[attr-defined]  # noqa: B018


def test_nothing_slow_is_imported_before_it_is_asked_for() -> None:
    slow = {"pydantic", "numpy", "rich", "eventsourcing", "scipy", "sqlite3"}
    script = f"import sys, backcast; print(sorted({slow} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_a_task_of_an_open_store_is_regressed_as_its_log_is(tmp_path: Path) -> None:
    forgetful = backcast.Policy(name="forgetful", errors=0)
    with backcast.open(tmp_path / "runs.db") as store:
        run(store.events, "events", TILL)
        [of_store] = backcast.regress([store.task("till")], policies=[forgetful])
    [of_file] = backcast.regress([TILL], policies=[forgetful])
    assert of_store.broken == of_file.broken
    assert of_store.recall == of_file.recall
    assert of_store.after.sections == of_file.after.sections


def test_what_was_known_can_be_asked_and_built_from(tmp_path: Path) -> None:
    with backcast.open_log(TILL) as store:
        till = store.task("till")
        then = till.at(100)
        assert then.versions.modules
        assert then.graph.modules
        assert then.stale() == []
        context = then.build("module:money.py", policy="default")
        assert context.tokens <= context.window - context.reserve
        backcast.assert_contains(context, "money.py")
        assert all(verdict.holds for verdict in till.verify())
        with pytest.raises(AttributeError, match="no 'weather' is known"):
            then.weather  # type: ignore[attr-defined]  # noqa: B018
        with pytest.raises(backcast.BackcastError, match="near it: till"):
            store.task("tell")


def test_notebooks_show_contexts_and_differences_with_the_bar_of_the_page() -> None:
    with backcast.open_log("fixtures/logs/till.jsonl") as store:
        till = store.task("till")
        built = till.at(100).build("module:money.py")
        for shown in (till.prompt(79)._repr_html_(), built._repr_html_()):
            assert "kept for the answer: 2,500 tokens" in shown
            assert 'class="bar"' in shown
            assert "<script" not in shown
        found = backcast.diff(till.prompt(73), till.prompt(79))
        shown = found._repr_html_()
        assert "the first 708 tokens are the same, 666 must be read again" in shown
        assert "rect.again{fill:#d55e00}" in shown
        assert repr(built).startswith("NotebookContext(")


def test_what_a_notebook_shows_is_escaped() -> None:
    items = [ContextItem(node=ALL, section=ALL, level=ALL, tokens=3)]
    lacks = [ContextOmission(node=ALL, section=ALL, reason=ALL)]
    shown = prompt_html(ALL, BudgetParts(9, 90, 9, [(ALL, 3)]), items, lacks)
    assert "<script" not in shown
    assert "<img" not in shown
    assert "\u202e" not in shown
    assert "onerror=" in shown  # as words
