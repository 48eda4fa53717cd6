"""What was asked to be seen is shown in full, or it is said that it is too large."""

from hypothesis import given
from hypothesis import strategies as st

from domain.allocation import allocated
from domain.budget import PROFILES
from domain.context import Candidate, Context
from domain.errors import BudgetExceededError
from domain.moment import NOW
from engine.context.builder import Request
from engine.context.recorded import context_at, record_context
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
