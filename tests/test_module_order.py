"""What is shown of a module stands as it does there: in order, below its classes, with its header.

The default policy asks for it; a policy of before does not, and its prompts stay as they were.
"""

import pytest

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.context import Context
from backcast.domain.events import TaskStarted
from backcast.domain.moment import NOW
from backcast.domain.policy import COVERAGE, DEFAULT, Policy
from backcast.engine.context.recorded import context_at, record_context
from backcast.engine.context.request import Request
from backcast.engine.replay.verify import verified
from tests.sources import Task

BOUND = MISTRAL_7B_8K._replace(tokenizer="upper-bound")
BEFORE = DEFAULT.model_copy(update={"in_order": False, "version": 4})
TILL = '''from __future__ import annotations
import typing as t
from gettext import gettext as _
from editors import Editor, WIN

V = t.TypeVar("V")
PRICES = {"tea": 2, "milk": 1}


def price_of(item):
    return PRICES[item]


def edit(text):
    """Let the user edit a text."""
    made = Editor(text)
    return made.open_files([text])


def edit_total(items):
    return sum(map(price_of, items))
'''
EDITORS = '''import sys

WIN = sys.platform == "win32"


class Pager:
    """Shows a text, page by page."""

    def page(self, text):
        for line in text.split("\\n"):
            print(line)


class Editor:
    """Edits a text in the editor that the user likes best."""

    kind = "plain"

    def __init__(self, text):
        self.text = text

    def edit_text(self, text):
        return self.open_files([text])

    def open_files(self, names):
        for name in names:
            print("opened", name)


if WIN:

    def edit_char(text):
        return text
else:

    def edit_char(text):
        return text[:1]
'''
TESTS = "import till\n\n\n" + "\n".join(
    f"def test_{name}():\n    found = till.{called}\n    assert found == {number}, 'of {name}'\n\n"
    for number, (name, called) in enumerate([
        ("price_of_tea", "price_of('tea')"), ("price_of_milk", "price_of('milk')"),
        *((f"edit_{n}", f"edit('{n}')") for n in range(9)),
    ])
)  # fmt: skip


def shop(**more: str) -> Task:
    task = Task()
    task.happened(TaskStarted(goal="a till"))
    modules = {"till.py": TILL, "editors.py": EDITORS, "test_till.py": TESTS}
    for path, text in (modules | {f"{name}.py": text for name, text in more.items()}).items():
        task.wrote(path, text)
    task.outlined()
    return task


def built(task: Task, request: Request, tokens: int, policy: Policy = DEFAULT) -> Context:
    profile = BOUND.with_context(tokens, 12_200)
    return context_at(task.store, task.id, NOW, request, profile, policy)


def owners(text: str) -> dict[str, str]:
    """The line without indentation that stands last above each indented `def`."""
    found, above = dict[str, str](), ""
    for line in text.split("\n"):
        if line.lstrip().startswith("def ") and line[:1] == " ":
            found[line.split("(")[0].split()[-1]] = above
        elif line and line[:1] not in " #@)":
            above = line
    return found


@pytest.mark.parametrize("tokens", [700, 1_000, 1_500, 2_500])
def test_a_method_stands_below_its_class_and_a_function_below_its_block(tokens: int) -> None:
    context = built(shop(), Request("function:till.py::edit", "Edit a char of a text"), tokens)
    found = owners(context.text)
    assert {found[name] for name in ("open_files", "edit_text") if name in found} <= {
        "class Editor:"
    }
    assert found.get("page", "class Pager:") == "class Pager:"
    assert found.get("edit_char", "else:") in ("else:", "if WIN:")
    assert context.text.count("## editors.py") <= 1
    assert found  # something indented is shown at each of these sizes


def test_what_the_target_calls_is_shown_with_its_body() -> None:
    request = Request("function:till.py::edit", "Let edit take a path")
    assert 'print("opened", name)' in built(shop(), request, 1_200).text


def test_the_header_is_whole_and_has_what_the_target_reads() -> None:
    request = Request("function:till.py::price_of", "Tell of an unknown item")
    text = built(shop(), request, 1_500).text
    header = [text.index(line) for line in TILL.split("\n")[:6] if line]
    assert header == sorted(header)
    assert text.index('PRICES = {"tea": 2') < text.index("def price_of")


def test_a_new_test_is_placed_beside_those_with_the_likest_names() -> None:
    request = Request("function:test_till.py::test_price_of_beer", "Write a test of a price")
    text = built(shop(), request, 900).text
    assert "assert found == 0, 'of price_of_tea'" in text
    assert "assert found == 1, 'of price_of_milk'" in text
    before = built(shop(), request, 900, BEFORE).text
    assert "assert found == 1, 'of price_of_milk'" not in before


def test_the_test_of_a_function_is_shown_whole() -> None:
    task = shop(test_style="from till import edit_total\n\n\ndef test_edit_total():\n"
                "    assert edit_total(['tea', 'milk']) == 3\n")  # fmt: skip
    request = Request("function:till.py::edit_total", "Count what is unknown as nothing")
    assert "assert edit_total(['tea', 'milk']) == 3" in built(task, request, 1_500).text


def test_of_overloads_the_implementation_is_the_signature_and_no_name_stands_alone() -> None:
    over = "".join(f"@t.overload\ndef weigh(item: {of}) -> {of}: ...\n" for of in ("int", "str"))
    body = "def weigh(item):\n" + "".join(f"    item = item + {n}\n" for n in range(80))
    names = "".join(f"{name} = [\n" + "    1,\n" * 20 + "]\n" for name in ("WEIGHTS", "SCALES"))
    task = shop(scales=f"import typing as t\n\n{names}\n\n{over}{body}    return item\n")
    request = Request("function:scales.py::weigh_all", "Weigh with weigh, SCALES and WEIGHTS")
    for tokens in (500, 700, 900):
        lines = built(task, request, tokens).text.split("\n")
        assert not {"WEIGHTS", "SCALES", "weigh"} & set(lines)
        assert "def weigh(item: int) -> int: ..." not in lines or "def weigh(item):" in lines


def test_no_part_of_a_function_is_shown_without_its_head() -> None:
    params = "".join(f"    parameter_{n}: int = {n},\n" for n in range(30))
    steps = "".join(f"    total += parameter_{n}\n" for n in range(30))
    large = f"def large(\n{params}) -> int:\n    total = 0\n{steps}    return total\n"
    after = "\n\ndef small():\n    return 1\n\n\ndef asked():\n    return 2\n"
    task, request = shop(sums=large + after), Request("function:sums.py::asked", "Ask")
    for tokens in (500, 700, 900, 1_100):
        text = built(task, request, tokens).text
        if "    total += parameter_29" in text:
            assert "def large(" in text


def test_a_class_is_told_by_its_fields_and_how_it_is_made() -> None:
    others = "".join(
        f"class Edit{n}(Exception):\n    code = {n}\n\n    def __init__(self, text):\n"
        f"        self.text = text + '{n}'\n\n    def edit(self, text):\n"
        + "        print(text)\n" * 30 + "\n\n" for n in range(8)
    )  # fmt: skip
    text = built(shop(others=others), Request("function:till.py::edit", "Edit"), 1_200).text
    lines = [*text.split("\n"), ""]
    for number, line in enumerate(lines):
        if line.startswith("class Edit") and "Exception" in line:
            assert lines[number + 1].startswith("    ")


def test_values_that_the_request_for_a_new_module_names_are_shown_with_who_reads_them() -> None:
    parser = (
        "_NO_VALUE_YET = object()\n\n\ndef parsed(text):\n"
        "    return _NO_VALUE_YET if not text else text\n"
    )
    request = Request("module:sentinels.py", "A module with NO_VALUE_YET as an enum")
    text = built(shop(parser=parser), request, 900).text
    assert "_NO_VALUE_YET = object()" in text
    assert "return _NO_VALUE_YET if not text else text" in text


def test_a_prompt_in_order_is_rebuilt_derived_and_kept_by_the_next() -> None:
    task, profile = shop(), BOUND.with_context(1_500, 12_200)
    request = Request("function:till.py::edit", "Edit a char of a text")
    first = record_context(task.store, task.id, NOW, request, profile)
    again = record_context(task.store, task.id, NOW, request, profile)
    assert again.text == first.text
    assert [item.section for item in again.items] == [item.section for item in first.items]
    answers = list(verified(task.store, task.id))
    assert len(answers) == 2
    assert all(answer.holds for answer in answers)


def test_a_policy_of_before_keeps_its_bytes() -> None:
    assert b"in_order" not in COVERAGE.body
    assert b"in_order" not in BEFORE.body
    assert b'"in_order": true' in DEFAULT.body
