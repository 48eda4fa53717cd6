"""What a model answers is used as a whole or not at all."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.errors import InputError
from backcast.engine.log import EventStore
from backcast.engine.workflow.code_answers import code_of
from backcast.engine.workflow.contracts import plan_of, plan_schema
from backcast.engine.workflow.loop import start
from backcast.engine.workflow.refusals import RefusedError
from backcast.engine.workflow.spec import Spec, SpecModule, Test, spec_of

SPEC = Spec(task="t", goal="g", tests=(Test(path="test_a.py", source="import a"),))
NAMED = SPEC.model_copy(update={"modules": (SpecModule(path="a.py"), SpecModule(path="b.py"))})


def planned(*modules: dict[str, Any], spec: Spec = SPEC) -> list[str]:
    return [one.path for one in plan_of(json.dumps({"modules": modules}), spec)]


def module(path: str = "a.py", *needs: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "purpose": "p", "dependencies": list(needs), "tests": [], **more}


def test_a_plan_is_put_in_the_order_in_which_it_can_be_written() -> None:
    assert planned(module("a.py", "b.py"), module("b.py")) == ["b.py", "a.py"]


@pytest.mark.parametrize(
    ("modules", "complaint"),
    [
        ([], "needed 1 to 20 modules, found 0"),
        ([module(f"m{n}.py") for n in range(21)], "found 21"),
        ([module("../a.py")], "../a.py"),
        ([module("/etc/a.py")], "/etc/a.py"),
        ([module("a.sh")], "needed Python modules"),
        ([module("test_a.py")], "is a given test file"),
        ([module(), module()], "needed each path once"),
        ([module("a.py"), module("A.py")], "found 'a.py' and 'A.py'"),
        ([module("Test_A.py")], "found 'test_a.py' and 'Test_A.py'"),
        ([module("a.py"), module("a.py/b.py")], "'a.py' cannot be a file and hold 'a.py/b.py'"),
        ([module("conftest.py")], "found 'conftest.py'"),
        ([module("pkg/conftest.py")], "found 'pkg/conftest.py'"),
        ([module("pytest/a.py")], "found 'pytest/a.py'"),
        ([module(purpose="x" * 201)], "modules.0.purpose"),
        ([module(colour="red")], "modules.0.colour"),
        ([module(purpose="\ud800")], "modules"),
        ([module(tests=["test_b.py"])], "found 'test_b.py'"),
        ([module("a.py", "c.py")], "found 'c.py'"),
        ([module("a.py", "b.py"), module("b.py", "a.py")], "a.py -> b.py -> a.py"),
        ([{"path": 3}], "modules.0.path"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(
    modules: list[dict[str, Any]], complaint: str
) -> None:
    with pytest.raises(RefusedError, match=None) as caught:
        planned(*modules)
    assert complaint in str(caught.value)


STRANGE = {
    "a module of Python's own": (["random.py"], "a module random of its own, which is imported in"),
    "a package of Python's own": (
        ["json/more.py"],
        "take another name, or a package, such as shop/",
    ),
    "a built-in module": (["sys.py"], "Python has a module sys of its own"),
    "a module of pytest's": (["py.py"], "pytest has a module py, which is imported in its"),
    "a file of tests": (["test_b.py"], "pytest takes it for a file of tests"),
    "a file of tests in a folder": (["tests/b_test.py"], "pytest takes it for a file of tests"),
    "a dash": (["shop-cart.py"], "shop-cart is no name in Python; name it shop_cart, for instance"),
    "a dash in a folder": (["my-shop/cart.py"], "my-shop is no name in Python; name it my_shop"),
    "a digit": (["2fa.py"], "2fa is no name in Python; name it _2fa, for instance"),
    "a dot": (["a.b.py"], "a.b is no name in Python; name it a_b, for instance"),
    "a word of the grammar": (["class.py"], "class is a word of Python's grammar"),
    "one in a folder": (["import/a.py"], "import is a word of Python's grammar"),
    "a module and a package": (["a.py", "a/__init__.py"], "found 'a.py' and 'a/__init__.py'"),
    "a module and a folder": (["pkg/a.py", "pkg/a/b.py"], "found 'pkg/a.py' and 'pkg/a/b.py'"),
    "in capitals": (["A.py", "a/b.py"], "found 'A.py' and 'a/b.py': of a module and a package"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_module_that_tests_cannot_import_is_refused_before_it_is_written(name: str) -> None:
    paths, complaint = STRANGE[name]
    with pytest.raises(RefusedError) as caught:
        planned(*map(module, paths))
    assert complaint in str(caught.value)
    named = SPEC.model_copy(update={"modules": tuple(SpecModule(path=one) for one in paths)})
    with EventStore.open("sqlite://") as store, pytest.raises(InputError) as told:
        start(store, named)
    assert complaint in str(told.value)
    assert spec_of(named.model_dump_json().encode()) == named  # a log may hold it


@pytest.mark.parametrize(
    "path",
    ["shop/random.py", "shop/types.py", "src/queue.py", "match.py", "type.py", "a/__main__.py",
     "randoms.py", "contest.py", "tests/helpers.py", "größe.py", "_a.py"],
)  # fmt: skip
def test_a_module_that_tests_can_import_may_have_any_name(path: str) -> None:
    assert planned(module(path)) == [path]


def test_a_file_that_tests_run_by_its_path_may_have_any_name() -> None:
    source = "import runpy\n\nrunpy.run_path('bin/shop-cart.py')\n"
    tests = (Test(path="test_a.py", source=source),)
    spec = SPEC.model_copy(update={"tests": tests})
    assert planned(module("bin/shop-cart.py"), spec=spec) == ["bin/shop-cart.py"]


@pytest.mark.parametrize("text", ["", "no", "[1]", '{"modules": 3}', "[" * 100_000, '{"a": 1}'])
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(RefusedError):
        plan_of(text, SPEC)


def test_named_modules_are_all_planned_and_no_other() -> None:
    assert planned(module("b.py"), module("a.py"), spec=NAMED) == ["b.py", "a.py"]
    with pytest.raises(RefusedError, match=r"needed a plan with b\.py"):
        planned(module("a.py"), spec=NAMED)
    with pytest.raises(RefusedError, match=r"found 'c\.py'"):
        planned(module("a.py"), module("b.py"), module("c.py"), spec=NAMED)


def test_the_schema_of_a_plan_is_closed_and_bounded_everywhere() -> None:
    def bounded(part: dict[str, Any]) -> bool:
        match part.get("type"):
            case "object":
                closed = part["additionalProperties"] is False
                return closed and all(map(bounded, part["properties"].values()))
            case "array":
                return "maxItems" in part and bounded(part["items"])
            case "string":
                return "maxLength" in part
        return "enum" in part

    assert bounded(plan_schema(SPEC))
    assert bounded(plan_schema(NAMED))
    items = plan_schema(NAMED)["properties"]["modules"]["items"]
    assert items["properties"]["path"] == {"enum": ["a.py", "b.py"]}


# Code

CODE = "x = 1\n"


def block(label: str, body: str = CODE, fence: str = "```") -> str:
    return f"{fence}{label}\n{body}{fence}\n"


@pytest.mark.parametrize(
    "text",
    [
        block("python a.py"),
        block("python path=a.py"),
        block('python title="a.py"'),
        block("a.py"),
        block("python"),
        block(""),
        f"Here it is.\n\n{block('python a.py')}\nThat is all.",
        block("python a.py", fence="````"),
        block("python a.py", fence="~~~"),
        block("python a.py").replace("\n", "\r\n"),
        block("python ./a.py"),
        block("python:a.py"),
        "\ufeff" + block("python a.py"),
        "   ```python a.py\n" + CODE + "   ```\n",
        block("bash", "pip install a\n") + block("python a.py") + block("python", "a.f()\n"),
    ],
)
def test_one_block_is_the_file(text: str) -> None:
    assert code_of(text, "a.py", 4).files == {"a.py": CODE}


def test_a_longer_fence_may_hold_shorter_ones() -> None:
    body = '"""\n```python\nf()\n```\n"""\n'
    assert code_of(block("python a.py", body, "````"), "a.py", 4).files == {"a.py": body}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "found none"),
        ("x = 1", "found none"),
        (
            block("python a.py") * 2,
            "needed exactly one fenced block with the whole of a.py, found 2",
        ),
        (block("python") * 2, "found 2"),
        (block("bash", "pip install a\n"), "found none"),
        (block("json", "{}\n"), "found none"),
        (block("python ../../a.py"), "../../a.py"),
        (block("python /etc/a.py"), "/etc/a.py"),
        (block("python b.py"), "found one for 'b.py'"),
        (block("python a.py") + block("python test_a.py"), "found one for 'test_a.py'"),
        (block("python a.py", " \n"), "found an empty block"),
        ("```python a.py\nx = 1\n", "never closed"),
        ("a\0b", "found binary"),
        (block("python a.py", "'\ud800'"), "found halves of some"),
        (block("show", ""), "needed a name on each line"),
    ],
)
def test_an_answer_that_is_not_one_whole_file_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(RefusedError) as caught:
        code_of(text, "a.py", 4)
    assert complaint in str(caught.value)


def test_an_answer_may_ask_to_see_so_many_nodes() -> None:
    names = "function:b.py::f\n- `g`\n\ng\nh\ni\nj\n"
    code = code_of(block("show", names), "a.py", 4)
    assert code.show == ("function:b.py::f", "g", "h", "i")
    assert not code.files


@given(st.text() | st.lists(st.sampled_from(["```", "````", "~~~", "\n", " ", "a.py", "show"]))
       .map("".join))  # fmt: skip
def test_any_text_is_used_as_a_whole_or_refused(text: str) -> None:
    with suppress(RefusedError):
        code = code_of(text, "a.py", 4)
        assert bool(code.show) != (list(code.files) == ["a.py"])


@pytest.mark.parametrize("text", ["`" * 1_500_000, "```\n" * 300_000, "~~~ a" + " " * 1_500_000])
def test_no_answer_takes_long_to_read(text: str) -> None:
    with pytest.raises(RefusedError):
        code_of(text, "a.py", 4)  # what grows faster than the text would not end
