"""A node's life is told from the log: what became of it, and by which events."""

from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import pytest

from backcast.domain.context_events import ContextItem
from backcast.domain.events import StepStarted, ToolReturned
from backcast.domain.memory_events import SummaryWritten
from backcast.domain.moment import Moment
from backcast.engine.log import EventStore
from backcast.engine.memory.import_log import run
from backcast.engine.replay.audit import life_of
from tests.lives import CART, CLEAN, at, imported, life, shown, told
from tests.sources import Task
from tests.strategies import NOON
from tests.test_git import Repository

TO_CENTS = "function:money.py::to_cents"


def test_a_function_is_written_summed_up_fails_is_changed_and_summed_up_anew() -> None:
    store = imported("till")
    assert told(store, TO_CENTS) == [
        (27, "recorded"),
        (41, "summarised"),
        (162, "failed"),
        (166, "changed"),
        (166, "stale"),
        (176, "summarised"),
        (182, "mended"),
    ]
    found = life(store, TO_CENTS)
    assert [key.partition(":")[0] for key in at(found, 166, "changed").facets] == [
        "body", "calls", "doc", "sig",
    ]  # fmt: skip
    assert at(found, 166, "stale").of == 41
    assert at(found, 166, "stale").details == "stale since event 166: money.py=2, path money.py"
    assert "money.py:10" in at(found, 162, "failed").details
    assert (at(found, 176, "summarised").of, at(found, 176, "summarised").tokens) == (41, 27)
    assert found.standing[1:5] == ("there", 2, 2, 1)


def test_a_prompt_says_at_which_level_it_showed_a_node_for_what_and_what_it_had_against_it() -> (
    None
):
    found = life(imported("till"), TO_CENTS)
    prompt = at(found, 174, "shown")
    assert (prompt.level, prompt.section, prompt.tokens) == ("full", "current module", 91)
    assert (prompt.asked, prompt.target, prompt.found) == ("summary", TO_CENTS, "online")
    assert prompt.details == "stale: its summary, written by event 41"


def test_a_function_in_a_module_that_is_shown_in_full_is_within_it() -> None:
    prompt = at(life(imported("till"), TO_CENTS), 164, "within")
    assert (prompt.within, prompt.level, prompt.details) == ("module:money.py", "full", "")


def test_a_function_whose_module_was_rewritten_around_it_is_not_changed_by_that() -> None:
    store = imported("till")
    assert told(store, "function:money.py::share") == [(27, "recorded"), (37, "summarised")]
    assert [event for event, what in told(store, "module:money.py") if what == "changed"] == [166]


def test_a_failure_is_over_when_the_same_is_tried_again() -> None:
    store = imported("till")
    assert told(store, "failure:162.1") == [(162, "recorded"), (182, "mended")]
    assert life(store, "failure:162.1").standing.state == "over"
    assert life(store, "failure:162.1", Moment(position=181)).standing.state == "there"


def test_an_iteration_lives_until_the_next() -> None:
    store = imported("till")
    assert told(store, "iteration:money.py@1") == [
        (27, "recorded"),
        (28, "passed"),
        (166, "superseded"),
    ]
    assert life(store, "iteration:money.py@2").standing.state == "there"


def test_a_task_is_shown_in_every_prompt_and_ends() -> None:
    found = life(imported("till"), "task:till")
    assert (found.standing.state, found.standing.shown, found.standing.not_offered) == (
        "complete",
        34,
        0,
    )


def test_a_test_fails_by_its_name_and_code_by_its_lines() -> None:
    store = imported("till")
    node = "test:test_till.py::test_an_order_becomes_a_receipt"
    assert told(store, node) == [(6, "recorded"), (162, "failed"), (182, "mended")]
    # The next function of that module begins two lines below.
    assert (162, "failed") not in told(store, "function:money.py::to_text")


def test_what_a_summary_was_built_from_may_stand_in_another_module() -> None:
    found = life(imported("shop"), "function:validators.py::validate_email")
    assert at(found, 34, "stale").details == (
        "stale since event 34: utils.py=8, path validators.py -> utils.py"
    )
    assert (found.standing.state, found.standing.holding) == ("stale", 0)


def test_a_module_is_deleted_comes_back_and_goes_on_under_another_name() -> None:
    task = Task()
    first = task.wrote("cart.py", CART)
    gone = task.deleted("cart.py")
    back = task.wrote("cart.py", CART)
    moved = task.renamed("basket.py", "cart.py", CART)
    task.outlined()
    clean = [(first, "recorded"), (gone, "deleted"), (back, "back"), (moved, "deleted")]
    assert told(task.store, "function:cart.py::clean") == clean
    assert told(task.store, "module:cart.py") == clean
    assert told(task.store, "function:basket.py::clean") == [(moved, "renamed")]
    found = life(task.store, "module:basket.py")
    assert at(found, moved, "renamed").details == "from cart.py"
    assert life(task.store, "module:cart.py").standing.state == "deleted"


def test_a_function_that_is_taken_out_of_its_module_is_deleted_by_that() -> None:
    task = Task()
    task.wrote("cart.py", CART)
    out = task.wrote("cart.py", CART.replace("clean", "cleaned"))
    task.outlined()
    assert told(task.store, "function:cart.py::clean")[1:] == [(out, "deleted")]
    assert told(task.store, "function:cart.py::cleaned") == [(out, "recorded")]


def test_a_module_that_is_written_again_as_it_was_is_told_to_be_unchanged() -> None:
    task = Task()
    first, again = task.wrote("cart.py", CART), task.wrote("cart.py", CART)
    task.outlined()
    assert told(task.store, "module:cart.py") == [(first, "recorded"), (again, "unchanged")]
    assert told(task.store, "class:cart.py::Cart") == [(first, "recorded")]
    assert life(task.store, "module:cart.py").standing.versions == 1


@pytest.mark.parametrize(
    ("node", "before", "after", "facets"),
    [
        ("attribute:cart.py::LIMIT", "LIMIT = 3", "LIMIT = 4", ("name:LIMIT",)),
        ("attribute:cart.py::Cart.size", "int = 0", "str = 0", ("attribute:Cart.size",)),
        ("method:cart.py::Cart.total", "(self)", "(self, x)", ("body", "sig")),
        ("class:cart.py::Cart", "class Cart", "class Cart(list)", ("bases", "body")),
    ],
)
def test_each_kind_of_node_is_changed_by_its_own_text(
    node: str, before: str, after: str, facets: tuple[str, ...]
) -> None:
    task = Task()
    task.wrote("cart.py", CART)
    task.wrote("cart.py", f"X = 1\n{CART.replace('strip', 'lower')}".replace("\n    ", "\n"))
    changed = task.wrote("cart.py", CART.replace(before, after))
    task.outlined()
    name = node.partition("::")[2]
    keys = tuple(key if ":" in key else f"{key}:{name}" for key in facets)
    assert at(life(task.store, node), changed, "changed").facets == keys
    assert len(told(task.store, node)) == 2


def test_a_method_is_within_its_class_only_where_it_was_there_already() -> None:
    task = Task()
    task.wrote("cart.py", "class Cart:\n    pass\n")
    task.outlined()
    item = ContextItem(node="class:cart.py::Cart", level="full", section="related", tokens=9)
    shown(task, item)
    task.wrote("cart.py", CART)
    task.outlined()
    within = shown(task, item)
    shown(task, item.model_copy(update={"level": "signature"}))
    found = life(task.store, "method:cart.py::Cart.total")
    assert at(found, within, "within").within == "class:cart.py::Cart"
    assert found.standing[5:] == (0, 1, 0, 2)


def test_a_prompt_that_stood_before_a_node_cannot_have_held_it() -> None:
    task = Task()
    stood_at = task.wrote("cart.py", "class Cart:\n    pass\n")
    task.wrote("cart.py", CART)
    task.outlined()
    item = ContextItem(node="module:cart.py", level="full")
    late = shown(task, item, stood_at=stood_at)
    held = shown(task, item, stood_at=stood_at + 1)
    found = life(task.store, CLEAN)
    assert [one.event for one in found.occurrences if one.what == "within"] == [held]
    assert found.standing.not_offered == 1 == held - late


def test_a_function_beside_a_class_is_not_within_it() -> None:
    task = Task()
    task.wrote("cart.py", CART)
    task.outlined()
    shown(task, ContextItem(node="class:cart.py::Cart", level="full"))
    assert life(task.store, CLEAN).standing[5:] == (0, 0, 0, 1)


def test_what_a_step_was_for_is_told_of_its_own_prompt_alone() -> None:
    task = Task()
    item = ContextItem(node=CLEAN, level="full")
    task.happened(StepStarted(kind="code", module_name="cart.py"))
    shown(task, item, target="module:cart.py")
    shown(task, item)
    asked = [(one.asked, one.target) for one in life(task.store, CLEAN).occurrences]
    assert asked == [("code", "module:cart.py"), ("", "")]


def test_a_commit_is_named_where_a_version_came_with_one(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "shop")
    repository.write("cart.py", dedent(CART))
    sha = repository.commit()
    with EventStore.open("sqlite://") as store:
        run(store, "git", repository.path)
        [first] = life(store, CLEAN).occurrences
    assert first.details == f"iteration 1, commit:{sha[:10]}"


def test_what_is_left_out_has_its_reason_and_what_the_model_asked_to_see_is_told() -> None:
    task = Task()
    task.wrote("cart.py", CART)
    task.outlined()
    node = "function:cart.py::clean"
    out = shown(task, left=(node, "over budget"), target="module:cart.py")
    wish = task.happened(ToolReturned(tool="show", nodes=(node,)))
    found = life(task.store, node)
    assert (at(found, out, "omitted").details, at(found, out, "omitted").section) == (
        "over budget",
        "related",
    )
    assert at(found, wish, "asked for").details == "by show"
    assert found.standing[5:] == (0, 0, 1, 0)


def test_a_summary_is_superseded_where_its_summariser_moves_on_and_ends_with_its_time() -> None:
    task = Task()
    task.wrote("cart.py", CART)
    task.outlined()
    node = "module:cart.py"
    task.happened(SummaryWritten(node=node, text="old", summariser="small 1"))
    timed = task.happened(SummaryWritten(node=node, text="x", summariser="by-hand 1", lives=60))
    later = task.happened(SummaryWritten(node="module:b.py", text="new", summariser="small 2"))
    found = life(task.store, node)
    assert at(found, later, "superseded").details == "its summariser small moved on from 1 to 2"
    assert (found.standing.summaries, found.standing.holding, found.standing.state) == (
        2, 1, "there",
    )  # fmt: skip
    task.minutes += 5
    task.happened(ToolReturned())
    ended = life(task.store, node).standing
    assert (ended.holding, ended.state) == (0, "stale")
    then = Moment(at=NOON + timedelta(minutes=timed))
    assert life_of(task.store, task.id, node, then).standing.holding == 1


def test_a_summary_that_was_stale_holds_again_where_the_code_comes_back() -> None:
    task = Task()
    task.wrote("cart.py", CART)
    task.outlined()
    node = "function:cart.py::clean"
    task.happened(SummaryWritten(node=node, text="x", built_from={"cart.py": {"doc:clean": ""}}))
    documented = CART.replace("(text):", '(text):\n        "Strip it."')
    stale, fresh = task.wrote("cart.py", documented), task.wrote("cart.py", CART)
    task.outlined()
    turns = [one for one in told(task.store, node) if one[1] in ("stale", "holds again")]
    assert turns == [(stale, "stale"), (fresh, "holds again")]
    assert life(task.store, node).standing.holding == 1
