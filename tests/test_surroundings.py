"""What stands around the place of a function, and parts of functions too large to be shown."""

import pytest

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.context import Context, Item
from backcast.domain.events import TaskStarted
from backcast.domain.moment import NOW
from backcast.domain.policy import DEFAULT, Policy
from backcast.engine.context.evidence import TOP
from backcast.engine.context.recorded import context_at
from backcast.engine.context.request import Request
from backcast.engine.context.surroundings import around
from tests.sources import Task

BOUND = MISTRAL_7B_8K._replace(tokenizer="upper-bound")
HEAD = '"""A till."""\nimport money\n\nRATE = 7\n\n\n'
STEPS = ("scan", "weigh", "price", "total", "receipt", "close")
ONE = '''def {0}(till, item):
    """What is done to {0} an item."""
    found = till.find(item)
    return money.{0}(found)
'''
TILL = HEAD + "\n\n".join(ONE.format(step) for step in STEPS)
CLASS = HEAD + "class Till:\n    kind = 1\n\n" + "\n".join(
    "".join(f"    {line}\n" for line in ONE.format(step).splitlines()) for step in STEPS
)  # fmt: skip
LOOP = (
    "    for row in rows:\n        if row.kind == {0}:\n            done.append({0} * row.size)\n"
)
LARGE = (
    "def settle(rows):\n    done = []\n" + "".join(LOOP.format(n) for n in range(40))
    + "\n    # What is owed stays open until the courier signs the parcel label.\n"
    "    for parcel in courier.parcels(label=True):\n        parcel.sign(courier.owed)\n\n"
    + "".join(LOOP.format(n) for n in range(40, 80)) + "    return done\n"
)  # fmt: skip
SIGN = Request("function:till.py::sign_parcels", "def sign_parcels(courier, label):")


def task_of(**modules: str) -> Task:
    task = Task()
    task.happened(TaskStarted(goal="a till"))
    for name, text in {**modules, "money": "def price(item):\n    return item\n"}.items():
        task.wrote(f"{name}.py", text)
    task.outlined()
    return task


def built(task: Task, request: Request, tokens: int = 1_200, policy: Policy = DEFAULT) -> Context:
    profile = BOUND.with_context(tokens, 12_200)
    return context_at(task.store, task.id, NOW, request, profile, policy)


def module_of(context: Context) -> Item:
    """The item of the target's module."""
    [item] = [item for item in context.items if item.node == "module:till.py"]
    return item


def lines_of(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip()]


def test_a_new_function_is_preceded_by_what_it_will_stand_behind() -> None:
    request = Request("function:till.py::refund", "def refund(till, item):", behind="weigh")
    item = module_of(built(task_of(till=TILL), request, 900))
    assert item.level == "part"
    text = item.text
    assert "def weigh(till, item):" in text
    assert text.index("import money") < text.index("RATE = 7") < text.index("def weigh")


@pytest.mark.parametrize(("behind", "near", "far"), [
    (TOP, "scan", "close"), ("", "close", "scan"), ("price", "price", "close"),
])  # fmt: skip
def test_what_is_shown_of_a_module_is_what_stands_near(behind: str, near: str, far: str) -> None:
    policy = DEFAULT.model_copy(update={"around": 0.2})
    request = Request("function:till.py::refund", "def refund(till, item):", behind=behind)
    text = module_of(built(task_of(till=TILL), request, 900, policy)).text
    assert f"def {near}(till, item):" in text
    assert f"def {far}(till, item):" not in text


def test_the_function_that_is_changed_is_no_part_of_what_stands_around_it() -> None:
    request = Request("function:till.py::price", "Round the price.")
    context = built(task_of(till=TILL), request)
    assert "def price(till" not in module_of(context).text
    [target] = [item for item in context.items if item.node == "function:till.py::price"]
    assert target.text == ONE.format("price").strip()
    assert context.text.count("def price(till, item):") == 1


@pytest.mark.parametrize("tokens", range(500, 1_800, 100))
def test_lines_around_begin_and_end_with_statements_and_no_function_stands_there_twice(
    tokens: int,
) -> None:
    request = Request("function:till.py::refund", "def refund(till, item):", behind="price")
    context = built(task_of(till=TILL), request, tokens)
    for step in STEPS:
        assert context.text.count(f"return money.{step}(found)") <= 1, step
    held = module_of(context)
    if held.level == "part":
        assert not lines_of(held.text)[-1].endswith('"""')
        assert held.text.count('"""') % 2 == 0


def test_a_constant_among_lines_that_did_not_fit_is_told_to_be_out_for_its_size() -> None:
    request = Request("function:till.py::refund", "def refund(till, item):", behind=TOP)
    policy = DEFAULT.model_copy(update={"around": 1.0})
    for tokens in range(60, 900, 20):
        context = built(task_of(till=TILL), request, tokens, policy)
        [rate] = [one for one in context.omissions if one.node == "attribute:till.py::RATE"]
        shown = "RATE = 7" in lines_of(module_of(context).text)
        assert rate.reason == ("duplicate" if shown else "over budget"), tokens


def test_lines_within_a_class_stand_below_its_head() -> None:
    request = Request("method:till.py::Till.price", "Round the price.")
    text = module_of(built(task_of(till=CLASS), request, 900)).text
    assert text.index("class Till:") < text.index("def weigh(till, item):")
    assert text.count("class Till:") == 1


def test_what_begins_within_a_large_function_stands_below_its_head() -> None:
    rows = "".join(f"    row_{n} = rows[{n}]\n" for n in range(300))
    till = f"{HEAD}def read(rows):\n{rows}    return row_1\n"
    request = Request("function:till.py::refund", "def refund(till, item):", behind="read")
    text = module_of(built(task_of(till=till), request)).text
    assert "def read(rows):\n    ...\n    row_" in text
    assert text.endswith("return row_1")


def test_a_function_that_is_too_large_is_shown_by_the_part_that_is_like_what_is_asked() -> None:
    context = built(task_of(till=HEAD, courier=LARGE), SIGN)
    [item] = [item for item in context.items if item.node == "function:courier.py::settle"]
    assert item.level == "part"
    assert item.text.startswith("def settle(rows):\n    ...\n")
    assert item.text.endswith("\n    ...")
    assert "parcel.sign(courier.owed)" in item.text
    assert "row.kind == 0:" not in item.text


def test_the_head_of_a_decorated_function_stands_above_its_part_once() -> None:
    sign = "    for parcel in courier.parcels(label=True):\n        parcel.sign(courier.owed)\n"
    loops = "".join(LOOP.format(n) for n in range(80))
    courier = "import functools\n\n\n@functools.cache\n@functools.wraps(print)\ndef settle(rows):\n"
    context = built(task_of(till=HEAD, courier=f"{courier}{sign}{loops}"), SIGN)
    [item] = [item for item in context.items if item.node == "function:courier.py::settle"]
    assert (item.level, item.text.count("def settle(rows):")) == ("part", 1)
    assert "parcel.sign(courier.owed)" in item.text


def test_a_policy_that_gives_a_signature_no_worth_can_show_parts() -> None:
    policy = DEFAULT.model_copy(update={"worth": {"full": 1.0}})
    assert "parcel.sign" in built(task_of(till=HEAD, courier=LARGE), SIGN, policy=policy).text


def test_without_parts_it_is_shown_by_its_head_or_not_at_all() -> None:
    policy = DEFAULT.model_copy(update={"parts": 0.0})
    assert "parcel.sign" not in built(task_of(till=HEAD, courier=LARGE), SIGN, policy=policy).text


def test_with_room_for_all_of_it_it_is_shown_whole() -> None:
    context = built(task_of(till=HEAD, courier=LARGE), SIGN, 8_000)
    [item] = [item for item in context.items if item.node == "function:courier.py::settle"]
    assert (item.level, item.text) == ("full", LARGE.strip())


@pytest.mark.parametrize(("above", "below", "shown"), [
    (0, 1, "abc"), (4, 5, "cde"), (8, 9, "fgh"), (3, 5, "bce"),
])  # fmt: skip
def test_two_lines_above_for_one_below(above: int, below: int, shown: str) -> None:
    lines = "abcdefgh"
    found = around(lines, above, below, 3, lambda place: 1)
    assert found.text(lines).replace("\n", "") == shown


def test_a_request_behind_nothing_is_as_good_as_one_that_does_not_say() -> None:
    known, unknown = (
        built(task_of(till=HEAD), SIGN._replace(behind=behind)).text for behind in (TOP, "")
    )
    assert known == unknown


def test_a_module_that_is_small_is_shown_whole_but_for_the_function_that_is_changed() -> None:
    request = Request("function:till.py::price", "Round the price.")
    small = 2 * len(TILL)
    policy = DEFAULT.model_copy(update={"whole": 0.0})
    whole, near = (module_of(built(task_of(till=TILL), request, small, one)).text
                   for one in (DEFAULT, policy))  # fmt: skip
    others = [ONE.format(step).strip() for step in STEPS if step != "price"]
    assert all(other in whole for other in others)
    assert whole.startswith('"""A till."""\nimport money\n\nRATE = 7')
    assert not all(other in near for other in others)
