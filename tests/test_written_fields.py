"""Written summaries: they fill the derived ones while they hold, and are held against the code."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from backcast.domain.contradictions import contradictions
from backcast.domain.events import ChecksRan, PlanningComplete, TaskStarted
from backcast.domain.memory_events import SummaryWritten
from backcast.domain.moment import NOW
from backcast.domain.policy import COVERAGE, DEFAULT
from backcast.domain.summary import LIMITS_BY_WINDOW, summary_of
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.history.task_states import states_at
from backcast.engine.interfaces.summaries import NodeSummaries, documents, node_summaries
from backcast.engine.memory.model_summariser import ModelSummariser
from backcast.engine.memory.resummarise import resummarise
from backcast.engine.models import NOTHING, Call, Completion, Limits, Message
from backcast.engine.models.tokenizers import UpperBound
from backcast.projections import dependency_graph
from tests.sources import Task, modules_of

TILL = {
    "till.py": '''
        """Sells."""
        from money import total

        def pay(cents: int, cash: int) -> int:
            if cash < cents:
                raise ValueError(cash)
            return cash - total([cents])

        def close(till):
            """Closes the till."""
            print(till)
        ''',
    "money.py": '''
        """Adds amounts."""

        def total(amounts: list[int]) -> int:
            """The sum."""
            return sum(amounts)
        ''',
    "test_till.py": """
        from till import close, pay

        def test_change_is_given():
            assert pay(3, 5) == 2

        def test_too_little_is_refused():
            pay(5, 3)

        def test_it_closes():
            close(1)
        """,
}
PAY, TOTAL = "function:till.py::pay", "function:money.py::total"
FORM = {
    "purpose": "Gives change.", "inputs": "cents: what is due", "outputs": "int, the change",
    "workflow": "compares, then subtracts", "side_effects": "none", "summary": "Gives change.",
}  # fmt: skip


class Scribe:
    """A model that answers with the forms that it is given, the last one again and again."""

    id = "scribe"

    def __init__(self, *forms: Mapping[str, Any]) -> None:
        self.forms, self.asked = list(forms), list[str]()

    def complete(
        self, messages: Sequence[Message], limits: Limits, *,
        schema: Mapping[str, Any] | None = None, stop: Sequence[str] = (), call: Call = NOTHING,
    ) -> Completion:  # fmt: skip
        self.asked.append(messages[-1].content)
        form = self.forms.pop(0) if len(self.forms) > 1 else self.forms[0]
        return Completion(json.dumps(form))


def sold() -> Task:
    task = Task()
    task.happened(TaskStarted(goal="sell"))
    for path, source in TILL.items():
        task.wrote(path, source)
    task.outlined()
    return task


def derived(task: Task, node: str, window: str = "32k") -> NodeSummaries:
    *_, last = node_summaries(task.store, task.id, NOW, node, LIMITS_BY_WINDOW[window], Letters())
    return last


class Letters(UpperBound):
    """Counts words, as a tokenizer of words would."""

    def count(self, text: str) -> int:
        return len(text.split())


def write(task: Task, *forms: Mapping[str, Any], node: str = PAY) -> tuple[list[str], list[str]]:
    """Ask a scribe for a node, and return what it was asked and which fields were left out."""
    scribe, refused = Scribe(*forms), list[str]()
    resummarise(
        task.store, task.id, ModelSummariser(scribe), [node], NOW, UpperBound(),
        refused=lambda node, reason: refused.append(reason),
    )  # fmt: skip
    return scribe.asked, refused


def test_written_fields_fill_a_summary_where_the_code_says_nothing() -> None:
    task = sold()
    assert write(task, FORM)[1] == []
    lines = derived(task, PAY).text.splitlines()
    assert lines[1:4] == [
        "Purpose: Gives change.",
        "Inputs: (cents: int, cash: int): cents: what is due",
        "Outputs: int: int, the change",
    ]
    assert "Workflow: compares, then subtracts" in lines
    assert derived(task, PAY).summariser == "extractive 1, filled in by scribe 1"
    module = derived(task, "module:till.py").text
    assert "pay(cents: int, cash: int) -> int: Gives change" in module
    text = next(one.text for one in documents(task.store, task.id, NOW) if one.id == PAY)
    assert "compares, then subtracts" in text
    assert "Raises: ValueError" in text


def test_each_field_fills_it_only_while_it_holds() -> None:
    task = sold()
    write(task, FORM)
    task.wrote("till.py", TILL["till.py"].replace("cash - total([cents])", "max(0, cash - cents)"))
    task.outlined()
    text = derived(task, PAY).text
    assert "what is due" in text, "the signature is the same"
    assert "subtracts" not in text
    assert "Purpose" not in text
    task.wrote(
        "till.py", TILL["till.py"].replace("cash: int", "coins: int").replace("cash", "coins")
    )
    task.outlined()
    assert "what is due" not in derived(task, PAY).text


def test_a_written_summary_of_many_words_is_cut_to_whole_sentences() -> None:
    task = sold()
    text = " ".join(f"It has a sentence number {number}." for number in range(180))
    task.happened(SummaryWritten(node=TOTAL, text=text, summariser="scribe 1"))
    first, _ = node_summaries(task.store, task.id, NOW, TOTAL, {"function": 50}, Letters())
    assert first.text == " ".join(f"It has a sentence number {number}." for number in range(8))
    assert (first.shortened, first.tokens, first.limit) == (("its text",), 48, 50)
    assert "48 of 50 tokens; shortened: its text; see --whole" in str(first)


@pytest.mark.parametrize(
    ("field", "text", "reason"),
    [
        ("inputs", "amount: what is due", "names the parameter amount, the code has cash, cents"),
        ("outputs", "a string", "says it returns str, the code says int"),
        ("side_effects", "raises KeyError", "names the exception KeyError, which is not in"),
        ("workflow", "calls `round_up` first", "names round_up, which is not in the code"),
        ("workflow", "100% (3/3 tests passed)", "tells of tests or iterations, and nothing of"),
        ("workflow", "pay", "only names what it is about"),
        ("workflow", "total(amounts: list[int])", "only copies the line Uses"),
        ("purpose", "Wraps make_change().", "names make_change, which is not in the code"),
    ],
)
def test_a_field_that_the_code_contradicts_is_left_out_and_the_reason_is_told(
    field: str, text: str, reason: str
) -> None:
    task = sold()
    _, refused = write(task, FORM | {field: text})
    assert len(refused) == 1
    assert refused[0].startswith(f"the field {field} {reason}")
    [event] = task.store.read(task.id, types=["SUMMARY_WRITTEN"])
    assert set(event.fact.data["fields"]) == set(FORM) - {field, "summary"}
    lines = derived(task, PAY).text.splitlines()[1:]
    assert not any(line.endswith(f": {text}") for line in lines)


def test_a_summary_that_the_code_contradicts_is_asked_for_again_then_the_derived_one_stays() -> (
    None
):
    task, wrong = sold(), FORM | {"summary": "Calls give_coins and raises TillError."}
    asked, _ = write(task, wrong, FORM)
    assert "names the exception TillError, which is not in the code" in asked[1]
    again = sold()
    before = derived(again, PAY)
    assert write(again, wrong)[1] == []
    assert derived(again, PAY) == before
    assert list(again.store.read(again.id, types=["SUMMARY_WRITTEN"])) == []


def test_a_module_names_its_own_functions_and_dependencies_and_a_task_its_own_end() -> None:
    modules = modules_of(TILL)
    module = summary_of(modules, "module:till.py")
    assert module is not None
    form = {"dependencies": ["money", "cents"], "functions": ["pay(cents)", "close"]}
    [found] = contradictions(module, TILL["till.py"], form)
    assert found == ("dependencies", "names the dependency cents, which is not in the code")
    task = sold()
    told = {"goal": "sell", "status": "failed", "modules": [], "success_rate": "", "summary": "x"}
    task.happened(ChecksRan(passed=1, failed=1))
    _, refused = write(task, told | {"success_rate": "99%"}, node=f"task:{task.id}")
    assert refused == [
        "the field status says 'failed', the task is generating",
        "the field success_rate says 99%, the checks say 50% (1/2 tests passed)",
    ]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("inputs", "what is due, and the cash"), ("inputs", "cents, cash"),
        ("outputs", "the change in cents"), ("workflow", "compares `cash` with cents"),
        ("side_effects", "raises ValueError if cash is too little"),
        ("purpose", "Uses money.total of JSON, e.g. for shops."),
    ],
)  # fmt: skip
def test_what_the_code_does_not_contradict_stands(field: str, text: str) -> None:
    summary = summary_of(modules_of(TILL), PAY)
    assert summary is not None
    assert contradictions(summary, TILL["till.py"], {field: text}) == []


def test_tests_have_verdicts_by_name_only_where_a_run_tells_them() -> None:
    task = sold()
    assert "Tests: test_change_is_given, test_too_little_is_refused" in derived(task, PAY).text
    task.happened(ChecksRan(passed=2, failed=1, module_name="till.py"), writer="sandbox")
    assert "(passed)" not in derived(task, PAY).text, "it is known by count alone"
    failure = {"name": "test_till.py::test_too_little_is_refused", "message": "ValueError: 3"}
    some = ChecksRan(passed=2, failed=1, module_name="till.py", failures=[failure])
    task.happened(some, writer="somebody")
    text = derived(task, PAY).text
    assert "Tests: test_too_little_is_refused (failed), test_change_is_given\n" in f"{text}\n"
    planned = {"path": "till.py", "tests": ["test_till.py"]}
    task.happened(PlanningComplete(planned=[planned]))
    task.happened(some, writer="sandbox")
    text = derived(task, PAY).text
    assert "test_too_little_is_refused (failed), test_change_is_given (passed)" in text


def test_a_refinement_has_the_reason_that_was_recorded() -> None:
    task = sold()
    failure = {"name": "test_till.py::test_too_little_is_refused", "message": "ValueError: 3"}
    task.happened(ChecksRan(passed=2, failed=1, module_name="till.py", failures=[failure]))
    task.wrote("till.py", TILL["till.py"].replace("cash < cents", "cash <= cents"))
    task.outlined()
    text = derived(task, PAY).text
    assert "Refined: 2 versions: after test_too_little_is_refused failed" in text
    assert "Refined" not in derived(task, "function:till.py::close").text
    task.wrote("till.py", TILL["till.py"].replace("cash < cents", "cash < cents - 1"))
    task.outlined()
    assert "Refined: 3 versions: after" in derived(task, PAY).text


def test_a_prompt_shows_a_written_summary_within_its_row_where_the_policy_says_so() -> None:
    task = sold()
    text = " ".join(f"It has a sentence number {number}." for number in range(180))
    task.happened(SummaryWritten(node="module:money.py", text=text, summariser="scribe 1"))
    write(task, FORM)
    states = states_at(task.store, task.id, NOW)
    cache = BuildCache(Letters(), task.store.get)
    symbols = cache.symbols(states.graph, dependency_graph.graph_of(states.graph))
    texts = cache.texts(states, symbols)
    assert texts.summary("module:money.py", 200).text == text, "as recorded policies show it"
    shown = texts.summary("module:money.py", 200, levels=True).text
    assert len(shown.split()) <= 200
    assert "Purpose: Adds amounts." in shown
    lines = texts.summary(PAY, 50, levels=True).text.splitlines()
    assert lines[:3] == [
        "Purpose: Gives change.", "Inputs: cents: what is due", "Outputs: int, the change",
    ]  # fmt: skip
    assert (COVERAGE.levels, DEFAULT.levels) == (False, True)


def test_what_is_raised_by_what_is_called_is_no_contradiction() -> None:
    task = sold()
    task.wrote("shop.py", "from till import pay\n\ndef sell(cents):\n    return pay(cents, 5)\n")
    task.outlined()
    form = FORM | {"inputs": "cents", "outputs": "what pay gives"}
    node = "function:shop.py::sell"
    assert write(task, form | {"side_effects": "raises ValueError"}, node=node)[1] == []
