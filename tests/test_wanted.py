"""What was asked to be seen is shown in full, or it is said that it is too large."""

from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.allocation import allocated
from backcast.domain.budget import PROFILES
from backcast.domain.context import Candidate, Context
from backcast.domain.errors import BudgetExceededError
from backcast.domain.events import TaskStarted
from backcast.domain.moment import NOW
from backcast.engine.context.recorded import context_at, record_context
from backcast.engine.context.request import Request
from backcast.engine.replay.verify import verified
from tests.candidates import candidates, one, rooms, shown
from tests.sources import Task

BOUND = PROFILES["mistral-7b-8k"]._replace(tokenizer="upper-bound")
TEST = "from new import f\n\n\ndef test_f():\n    assert f() == 1\n"
LARGE = "".join(f"def g{n}(x):\n    return x + {n}\n\n\n" for n in range(400))
SMALL = "def h(x):\n    return x\n"


def wanted(node: str, rank: int, *sizes: tuple[int, float]) -> Candidate:
    return one(node, *sizes, priority="CRITICAL")._replace(wanted=True, rank=rank)


def task_of(**sources: str) -> Task:
    """A task with modules, by their names."""
    task = Task()
    for name, source in sources.items():
        task.wrote(f"{name}.py", source)
    task.outlined()
    return task


def asked(*looked_at: str, needs: tuple[str, ...] = ()) -> Request:
    """What a run asks for: the module itself, its test, and what the model wants to see."""
    return Request("module:new.py", "Mend it.", ("module:new.py", "module:test_new.py", *looked_at),
                   needs)  # fmt: skip


def built(task: Task, request: Request, tokens: int = 3000) -> Context:
    return context_at(task.store, task.id, NOW, request, BOUND.with_context(tokens))


# What is lowered first


def test_the_last_ranked_is_lowered_first_whatever_its_name_and_score() -> None:
    offered = [wanted("a", 3, (50, 9.0), (5, 1.0)), wanted("b", 1, (50, 1.0), (5, 0.5)),
               wanted("c", 2, (50, 1.0), (5, 0.5))]  # fmt: skip
    assert shown(allocated(offered, {}, 110)[0]) == {"b": "full", "c": "full", "a": "summary"}
    assert shown(allocated(offered, {}, 60)[0]) == {"b": "full", "c": "summary", "a": "summary"}


def test_what_is_too_large_alone_lowers_nothing_else() -> None:
    offered = [wanted("a", 1, (500, 9.0), (20, 1.0)), wanted("b", 2, (50, 1.0), (5, 0.5)),
               wanted("c", 3, (50, 1.0), (5, 0.5))]  # fmt: skip
    assert shown(allocated(offered, {}, 120)[0]) == {"a": "summary", "b": "full", "c": "full"}


def test_of_one_rank_the_one_whose_lowering_is_enough_is_lowered_alone() -> None:
    offered = [wanted(n, 1, (20, 9.0), (5, 1.0)) for n in "bcde"]
    offered.append(wanted("a", 1, (90, 9.0), (60, 4.0), (5, 1.0)))
    items, _ = allocated(offered, {}, 140)
    assert shown(items) == {"a": "summary"} | dict.fromkeys("bcde", "full")


def test_what_is_wanted_goes_before_what_is_kept() -> None:
    offered = [wanted("a", 1, (60, 0.1), (5, 0.05)), one("f", (50, 9.0)), one("g", (40, 9.0))]
    items, _ = allocated(offered, {"a": 100}, 100, {"a": 1, "f": 0, "g": 0})
    assert shown(items) == {"a": "full", "g": "full"}


@given(offered=candidates(nested=True), whole=rooms, kept=st.booleans())
def test_no_wanted_thing_would_have_fitted_at_a_better_level(
    offered: list[Candidate], whole: int, *, kept: bool
) -> None:
    ranked = [each._replace(wanted=True, rank=n) for n, each in enumerate(offered)]
    must = [each for each in ranked if each.priority == "CRITICAL"]
    try:
        items, _ = allocated(ranked, {}, whole, {each.node: 0 for each in ranked} if kept else {})
    except BudgetExceededError:
        return
    by_node = {item.node: item for item in items}
    left = whole - sum(item.tokens for item in items if item.priority == "CRITICAL")
    for each in must:
        if item := by_node.get(each.node):
            more = [one.tokens - item.tokens for one in each.levels if one.tokens > item.tokens]
            assert all(tokens > left for tokens in more)


# In a prompt


def test_a_look_at_something_too_large_takes_nothing_else_out_of_the_prompt() -> None:
    task = task_of(a=LARGE, new="def f(): pass\n", test_new=TEST, b=SMALL)
    record_context(task.store, task.id, NOW, asked(), BOUND.with_context(3000))
    levels = shown(built(task, asked("module:a.py", "module:b.py", needs=("b.py",))).items)
    whole = ("module:new.py", "module:test_new.py", "module:b.py")
    assert {node: levels[node] for node in whole} == dict.fromkeys(whole, "full")
    assert levels["module:a.py"] != "full"


def test_a_target_too_large_leaves_its_test_and_what_was_looked_at_in_full() -> None:
    task = task_of(new=LARGE, test_new=TEST, b=SMALL)
    levels = shown(built(task, asked("function:b.py::h")).items)
    assert levels["module:new.py"] != "full"
    assert (levels["module:test_new.py"], levels["function:b.py::h"]) == ("full", "full")


def test_what_is_only_needed_is_lowered_before_what_was_looked_at() -> None:
    some = "".join(f"def s{n}(x):\n    return x + {n}\n\n\n" for n in range(40))
    task = task_of(new="def f(): pass\n", test_new=TEST, a=some, z=some)
    for request in (asked("module:z.py", needs=("a.py",)), asked("module:z.py", "module:a.py")):
        levels = shown(built(task, request, 2200).items)
        assert levels["module:z.py"] == "full"
        assert levels["module:a.py"] != "full"


def test_what_was_shown_by_its_signature_is_shown_in_full_once_it_is_looked_at() -> None:
    task = task_of(a=LARGE, new="def f(): pass\n", test_new=TEST)
    before = record_context(task.store, task.id, NOW, asked(), BOUND.with_context(3000))
    node = next(node for node, level in shown(before.items).items() if level == "signature")
    [item] = [item for item in built(task, asked(node)).items if item.node == node]
    assert (item.level, item.section) == ("full", "added")


# What is said


def test_what_is_wanted_but_too_large_is_said_in_the_prompt_and_among_what_is_left_out() -> None:
    task = task_of(a=LARGE, new=LARGE, test_new=TEST)
    found = built(task, asked("module:a.py"))
    reason = "too large to be shown in full"
    assert sorted(omission[:3] for omission in found.omissions[:2]) == [
        ("module:a.py", "added", reason), ("module:new.py", "current module", reason),
    ]  # fmt: skip
    task_item = found.messages[-1][1].partition("# Task\n")[2]
    assert "\nToo large to show: module:new.py, module:a.py.\n" in task_item


def test_where_all_that_is_wanted_is_shown_in_full_nothing_is_said() -> None:
    found = built(task_of(a=SMALL, new=SMALL, test_new=TEST), asked("module:a.py", "module:no.py"))
    assert "Too large" not in found.messages[-1][1]
    assert not [one for one in found.omissions if "too large" in one.reason]


def test_what_is_said_is_given_up_before_the_words_of_the_request() -> None:
    task, said = task_of(a=LARGE, new=SMALL, test_new=TEST), set()
    for size in range(1300, 1900, 10):
        words = "x" * size
        plain, found = (
            built(task, request._replace(query=words), 400)
            for request in (asked(), asked("module:a.py"))
        )
        assert (words in plain.messages[-1][1]) == (words in found.messages[-1][1])
        assert "module:a.py" in {one.node for one in found.omissions if "large" in one.reason}
        said.add((words in found.messages[-1][1], "Too large" in found.messages[-1][1]))
    assert {(True, True), (True, False)} <= said


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=4, max_size=4), tokens=st.integers(20, 3000),
    looked_at=st.lists(st.sampled_from(["module:a.py", "module:b.py", "function:a.py::g0",
                                        "function:b.py::g3", "test:test_new.py::test_f"])),
    needs=st.sampled_from([(), ("a.py",), ("a.py", "b.py")]), goal=st.text(max_size=600),
)  # fmt: skip
def test_each_prompt_fits_says_what_is_not_in_full_and_is_derived_again(
    sizes: list[int], tokens: int, looked_at: list[str], needs: tuple[str, ...], goal: str
) -> None:
    each = dict(zip(("a", "b", "new", "test_new"), sizes, strict=True))
    task = Task()
    task.happened(TaskStarted(goal=goal))
    for name, size in each.items():
        task.wrote(f"{name}.py", TEST * (name == "test_new") + "".join(
            f"def g{n}(x):\n    return x + {n}\n\n\n" for n in range(size)
        ))  # fmt: skip
    task.outlined()
    profile = BOUND.with_context(tokens)
    for request in (asked(needs=needs), asked(*looked_at, needs=needs)):
        try:
            found = record_context(task.store, task.id, NOW, request, profile)
        except BudgetExceededError:
            continue
        assert found.tokens + found.reserve <= found.window
        levels = shown(found.items)
        large = {one.node for one in found.omissions if "too large" in one.reason}
        assert large == {node for node in request.wanted if levels.get(node, "full") != "full"}
    assert all(verdict.holds for verdict in verified(task.store, task.id))
