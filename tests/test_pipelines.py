"""A program's own pipeline is recorded as a run is: prompts hold what came before, and verify."""

from pathlib import Path
from typing import Any

import pytest

import backcast
from backcast.domain.errors import ConflictError, InputError
from backcast.domain.events import (
    ChecksRan,
    ModelReplied,
    ModuleIteration,
    StepStarted,
    TaskStarted,
)
from backcast.engine.context.recorded import record_context
from backcast.engine.context.request import Request

TESTS = {
    "test_money.py": "from money import cents\n\n\ndef test():\n    assert cents('1.50') == 150\n",
    "test_cart.py": "from cart import total\n\n\ndef test():\n    assert total(['1', '2']) == 300",
}
MONEY = "def cents(text):\n    return int(float(text) * 100)\n"
CART = "from money import cents\n\n\ndef total(prices):\n    return cents(prices[0])\n"
MENDED = CART.replace("cents(prices[0])", "sum(map(cents, prices))")
PLAN = [
    {"path": "money.py", "tests": ["test_money.py"]},
    {"path": "cart.py", "dependencies": ["money.py"], "tests": ["test_cart.py"]},
]


@pytest.fixture
def store() -> backcast.Store:
    return backcast.open("sqlite://")


def words(prompt: backcast.Prompt) -> str:
    return "\n".join(message.content for message in prompt.messages)


def step(
    shop: backcast.Pipeline, path: str, text: str, failures: list[tuple[str, str]] | None = None
) -> backcast.Prompt:
    """Ask for a module, and record an answer and what its checks said."""
    prompt = shop.ask(path, f"Write {path}.")
    shop.answered(text)
    shop.wrote(path, text)
    shop.checked(path, passed=0 if failures else 1, failures=failures or [])
    return prompt


def run_whole(store: backcast.Store, name: str) -> backcast.Pipeline:
    shop = store.start(name, "A till", files=TESTS, model="canned")
    shop.plan(PLAN)
    step(shop, "money.py", MONEY)
    step(shop, "cart.py", CART, [("test_cart.py::test", "assert 100 == 300")])
    step(shop, "cart.py", MENDED)
    shop.done()
    return shop


def test_a_prompt_holds_the_code_the_tests_and_the_failure_that_came_before(
    store: backcast.Store,
) -> None:
    shop = run_whole(store, "shop")
    first, second, third = shop.prompts()
    assert "cents('1.50') == 150" in words(first)
    assert "def cents(text)" in words(second)
    assert "total(['1', '2']) == 300" in words(second)
    assert "assert 100 == 300" in words(third)
    assert "return cents(prices[0])" in words(third)
    assert [prompt.name for prompt in shop.prompts()][1:] == ["code cart.py #1", "code cart.py #2"]
    assert all(verdict.holds for verdict in shop.verify())
    assert (shop.at().progress.status, shop.at().progress.modules["cart.py"].status) == (
        "complete", "complete",
    )  # fmt: skip


def test_its_facts_are_those_of_a_run_in_their_order(store: backcast.Store) -> None:
    shop = run_whole(store, "shop")
    with backcast.open_log("fixtures/logs/validators.jsonl") as log:
        kinds = [event.type for event in log.task("validators").events()]
    own = [event.type for event in shop.events()]
    assert set(own) == set(kinds)
    # Outlines follow from texts, and come sooner or later; the order of all else is the same.
    started, ended = own.index("POLICY_USED"), own.index("MODULE_OUTLINED")
    assert own[: started + 1] == [
        "TASK_STARTED", "SOURCE_READ", "SOURCE_READ", "REQUIREMENTS_COMPLETE", "PLANNING_STARTED",
        "POLICY_USED",
    ]  # fmt: skip
    assert ended == started + 1
    module = [kind for kind in own[own.index("MODULE_STARTED") :] if kind != "MODULE_OUTLINED"]
    assert (
        module[:7]
        == [kind for kind in kinds[kinds.index("MODULE_STARTED") :] if kind != "MODULE_OUTLINED"][
            :7
        ]
    )
    assert own[-3:] == kinds[-3:] == ["GENERATION_COMPLETE", "SUMMARY_WRITTEN", "TASK_COMPLETE"]
    replies = [event for event in shop.events() if isinstance(event.fact, ModelReplied)]
    texts = [event for event in shop.events() if isinstance(event.fact, ModuleIteration)]
    assert {event.writer for event in (*replies, *texts)} == {"canned"}


def test_its_run_is_regressed_and_its_outcomes_are_known(store: backcast.Store) -> None:
    shop = run_whole(store, "shop")
    blind = backcast.policy(name="blind", errors=0, verdicts=False)
    [found] = backcast.regress([shop], policies=[blind])
    assert (found.before.prompts, found.after.prompts) == (3, 3)
    assert found.before.recall is not None
    assert found.before.used > 0


def test_an_answer_of_no_use_is_told_to_the_model(store: backcast.Store) -> None:
    shop = store.start("shop", "A till", files=TESTS)
    shop.ask("money.py", "Write money.py.", wanted=["test_money.py"])
    shop.answered("I will not.", model="gemma", tokens=4, seconds=0.5)
    shop.refused("it held no code")
    prompt = shop.ask("money.py", "Write money.py.", wanted=["test_money.py"])
    assert "Your last answer was not used: it held no code" in words(prompt)
    steps = [event.fact for event in shop.events() if isinstance(event.fact, StepStarted)]
    assert [fact.attempt for fact in steps] == [1, 2]
    shop.unanswered("the server is gone")
    shop.failed("no model is there")
    assert shop.at().progress.reason == "no model is there"
    with pytest.raises(InputError, match="has ended: needed another name"):
        shop.ask("money.py", "Write money.py.")
    before = shop.version
    with pytest.raises(InputError, match="'shop' has ended: needed another name"):
        store.resume("shop", model="another")
    assert shop.version == before


def test_after_a_crash_it_goes_on_under_the_same_settings(tmp_path: Path) -> None:
    profile = backcast.profile(prompt_tokens=2_000)
    with backcast.open(tmp_path / "a.db") as store:
        shop = store.start(
            "shop", "A till", files=TESTS, model="m", profile=profile, policy="coverage"
        )
        step(shop, "money.py", MONEY)
        shop.ask("cart.py", "Write cart.py.", needs=["money.py"])
    with backcast.open(tmp_path / "a.db") as store:
        with pytest.raises(InputError, match=r"in this store already: resume\('shop'\) goes on"):
            store.start("shop", "A till")
        again = store.resume("shop")
        assert again.model == "m"
        again.answered(CART)  # the question that was open
        again.wrote("cart.py", CART)
        prompt = again.ask("cart.py", "Mend cart.py.")
        assert "return cents(prices[0])" in words(prompt)
        assert len(list(again.events(types=["POLICY_USED"]))) == 1
        assert all(verdict.holds for verdict in again.verify())


def test_of_two_programs_one_appends(tmp_path: Path) -> None:
    with backcast.open(tmp_path / "a.db") as store:
        store.start("shop", "A till", files=TESTS)
        first, second = store.resume("shop"), store.resume("shop")
        first.ask("money.py", "Write money.py.")
        second.ask("cart.py", "Write cart.py.")  # a step begins by reading what has come
        with pytest.raises(ConflictError):
            first.answered(MONEY)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.ask("a.py", "Write.", wanted=["nonsense"]),
         "wanted: needed what task 'shop' holds, found 'nonsense'"),
        (lambda s: s.ask("a.py", "Write.", wanted=["module:test_mony.py"]),
         "wanted: .* near it: 'module:test_money.py'"),
        (lambda s: s.ask("a.py", "Write.", needs=["b.py"]), "needs: needed what task 'shop' holds"),
        (lambda s: s.ask("../a.py", "Write."), "needed a relative path"),
        (lambda s: s.answered("x"), "needed a prompt without an answer, found none"),
        (lambda s: s.refused("x"), "needed an answer to the last prompt, found none"),
        (lambda s: s.checked("a.py", passed=1), "checked: needed what task 'shop' holds"),
        (lambda s: s.plan([{"pth": "a.py"}]), "plan: needed modules with path, .*, found 'pth'"),
        (lambda s: s.plan([{"purpose": "a"}]), "plan: path: needed a text, found NoneType"),
        (lambda s: s.read("a.py", b"x"), "needed a text, found bytes"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(store: backcast.Store, call: object, message: str) -> None:
    shop = store.start("shop", "A till", files=TESTS)
    with pytest.raises(backcast.BackcastError, match=message) as found:
        call(shop)  # type: ignore[operator]
    assert "\n" not in str(found.value)


def test_a_budget_of_a_prompt_is_kept(store: backcast.Store) -> None:
    profile = backcast.profile(prompt_tokens=600)
    assert (profile.prompt, sum(profile.rows.values())) == (600, profile.window)
    shop = store.start("shop", "A till", files=TESTS, profile=profile)
    for number in range(8):
        path = f"part{number}.py"
        shop.read(path, f"def part{number}(text):\n" + "    text = text.strip()\n" * 30)
    prompt = shop.ask("all.py", "Write all.py, which calls part1 to part7.", needs=["part3.py"])
    assert 0 < prompt.tokens <= 600
    with pytest.raises(InputError, match="needed a prompt of 1 to 5,692 tokens, found 6,000"):
        backcast.profile(prompt_tokens=6_000)


def test_a_setting_is_laid_over_the_default_and_checked() -> None:
    default = backcast.policy()
    changed = backcast.policy(errors=0, small={"patterns": 1})
    assert changed == default.model_copy(
        update={"name": changed.name, "errors": 0,
                "small": default.small.model_copy(update={"patterns": 1})}
    )  # fmt: skip
    assert changed.name == "reader with errors, small"
    with pytest.raises(InputError, match="found 'eror'; did you mean errors"):
        backcast.policy(eror=1)
    with pytest.raises(InputError, match=r"needed a new name, or policy\('no-cache'\)"):
        backcast.policy(name="no-cache")


def test_facts_that_do_not_fit_are_refused_in_one_line(store: backcast.Store) -> None:
    with pytest.raises(InputError, match=r"MODEL_REPLIED: text: .*found 'hello'; put\(text\) of"):
        ModelReplied(text="hello")
    odd: dict[str, Any] = {"failed": 0, "pased": 1}
    with pytest.raises(InputError, match="needed 'passed', found 'pased'"):
        store.append("t", [ChecksRan.model_construct(**odd)])
    with pytest.raises(InputError, match="needed a text of this store, found blob:0000"):
        store.append("t", [ModelReplied(text="blob:" + "0" * 64)])
    [event] = store.append("t", [ModelReplied(text=store.put("hello"))], after=0)
    assert event.version == 1
    with pytest.raises(ConflictError):
        store.append("t", [ModelReplied()], after=0)


def unoutlined(store: backcast.Store) -> backcast.Task:
    """Return a task whose texts were appended without outlines, behind each of which it goes on."""
    store.append("till", [TaskStarted(goal="A till")])
    money, cart = store.put(MONEY), store.put(CART)
    store.append("till", [
        ModuleIteration(module_name="money.py", iteration=1, source=money),
        ModuleIteration(module_name="cart.py", iteration=1, source=cart),
        ChecksRan(passed=1, failed=0, module_name="cart.py"),
    ])  # fmt: skip
    return store.task("till")


@pytest.mark.parametrize("when", ["last", "4", 4, ""])
def test_the_same_question_has_the_same_answer_twice(store: backcast.Store, when: str) -> None:
    till = unoutlined(store)
    first = till.at(when).build("module:cart.py", "Mend cart.py.")
    assert "cents(prices[0])" in first.messages[-1][1]
    again = till.at(when).build("module:cart.py", "Mend cart.py.")
    assert first.digest == again.digest
    assert till.at(4).build("module:cart.py", "Mend cart.py.").digest == first.digest


def test_as_of_a_check_the_text_that_it_checked_is_known() -> None:
    with backcast.open_log("fixtures/logs/validators.jsonl") as store:
        run = store.task("validators")
        checked, outlined = (run.at(at).build("module:validators.py") for at in (24, 25))
        assert (checked.digest, checked.tokens) == (outlined.digest, outlined.tokens)
        # What came later stays unknown: as of the text itself nothing was checked.
        assert run.at(23).build("module:validators.py").tokens < checked.tokens


def test_a_prompt_that_is_recorded_without_outlines_says_so(
    store: backcast.Store, caplog: pytest.LogCaptureFixture
) -> None:
    till, request = unoutlined(store), Request("module:cart.py", "Mend cart.py.")
    record_context(store.events, "till", till.moment("4"), request, backcast.profile())
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("task till: as of event 4 the log has no outline of 2 modules")
    caplog.clear()
    fresh = unoutlined(backcast.open("sqlite://"))
    moment = fresh.moment("4")
    fresh.at("last").build("module:cart.py")
    context = record_context(fresh.store, "till", moment, request, backcast.profile())
    assert "cents(prices[0])" in context.messages[-1][1]
    assert caplog.records == []
    assert all(verdict.holds for verdict in fresh.verify())


def test_a_recorded_prompt_stands_beside_what_another_policy_makes_of_it() -> None:
    with backcast.open_log("fixtures/logs/till.jsonl") as store:
        prompt = store.task("till").prompt(79)
        blind = prompt.under(backcast.policy("coverage", errors=0))
        assert "failure:76.1" not in [item.node for item in blind.items]
        found = backcast.diff(prompt, blind)
        assert ("failure:76.1", "out") in [(change.node, change.kind) for change in found.changes]
        assert found.tokens == (prompt.tokens, blind.tokens)
        assert prompt.under("coverage").digest == prompt.digest
