"""What proves an answer, what is told where nothing does, and what stands near a question."""

from collections.abc import Iterator
from typing import Any

import pytest

from backcast.domain.events import AnswerRefused, ModuleIteration
from backcast.domain.question_events import AnswerGiven, AnswerQuote
from backcast.domain.spending import Allowance
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from backcast.engine.memory.outlines import Outlining
from backcast.engine.models import Call
from backcast.engine.workflow.ask.actions import schema_of
from backcast.engine.workflow.ask.proof import (
    ASKED_ONLY,
    NONE_GIVEN,
    NONE_PROVEN,
    NOT_BORNE_OUT,
    NOT_OF_IT,
    NOTHING_NEW,
    unproven,
)
from backcast.engine.workflow.ask.subject import Subject
from backcast.projections import questions
from tests.asked import LIMITS, REPOSITORY, TASK, Planner, answer, asking, subject_of

SHOP = '''"""The shop."""

OldCart = Cart = object


class Basket:
    """What is bought."""

    def __init__(self) -> None:
        self.parts = []

    def discard(self, part: str) -> None:
        """Take a part out."""
        if part not in self.parts:
            raise LookupError(part)
        self.parts.remove(part)


class Till:
    """What is paid."""

    def __init__(self) -> None:
        self.coins = 0

    def total(self, rate: int = 19) -> int:
        """Return what is due.

        Nothing is due
        of an empty basket.
        """
        return self.coins * (100 + rate)
'''
SETTINGS = "[project]\nname = 'shop'\nrequires-python = '>=3.10'\n"
OTHER = "def paint(colour: str) -> str:\n    return colour\n"
TOTAL = "method:shop.py::Till.total"


@pytest.fixture(scope="module")
def shop() -> Iterator[Subject]:
    with EventStore.open("sqlite://") as store:
        for path, text in (("shop.py", SHOP), ("pyproject.toml", SETTINGS), ("other.py", OTHER)):
            blob = Blob(text.encode())
            fact = ModuleIteration(module_name=path, iteration=1, source=blob.ref)
            store.append(REPOSITORY, [fact], after=store.version(REPOSITORY), blobs=[blob])
        Outlining(store, REPOSITORY).catch_up()
        yield subject_of(store)


# What proves


def quote(text: str, *, proven: bool = True) -> AnswerQuote:
    return AnswerQuote(node="class:src/shop.py::Basket", text=text, proven=proven)


@pytest.mark.parametrize(
    ("text", "quotes", "why"),
    [
        ("Which rate has Till.total?", [], NOTHING_NEW),
        ("The rate is the total.", [quote("rate: int = 19")], NOTHING_NEW),
        ("19", [], NONE_GIVEN),
        ("19", [quote("rate: int = 18", proven=False)], NONE_PROVEN),
        ("18", [quote("rate: int = 19")], NOT_BORNE_OUT),
        ("an int of 18", [quote("rate: int = 19")], NOT_BORNE_OUT),
        ("Yes.", [quote("rate: int = 19")], NOT_BORNE_OUT),
        ("It is 19.", [quote("rate: int = 19")], ""),
        ("In src/shop.py", [quote("rate: int = 19")], ""),
        ("19", [quote("19")], NOT_OF_IT),
        ("", [], ""),
    ],
)
def test_an_answer_is_proven_by_quotes_that_hold_what_it_says(
    text: str, quotes: list[AnswerQuote], why: str
) -> None:
    assert unproven("Which rate has Till.total?", text, quotes) == why


def test_a_quote_that_stands_elsewhere_than_what_is_asked_about_proves_nothing() -> None:
    asked = "Which module defines HookCaller?"
    here = AnswerQuote(node="class:src/_hooks.py::HookCaller", text="A caller", proven=True)
    other = AnswerQuote(node="module:src/__init__.py", text="HookImpl", proven=True)
    assert unproven(asked, "HookImpl", [other]) == NOT_OF_IT
    assert unproven(asked, "src/_hooks.py", [here]) == ""


def test_a_quote_that_says_no_more_than_the_question_proves_nothing(shop: Subject) -> None:
    model = Planner(lambda call: answer("The Basket of it", ("class:shop.py::Basket", "Basket")))
    found = asking(shop, model, text="Where is Basket?").work().questions["q"].answer
    assert found
    assert [(one.proven, one.reason) for one in found.quotes] == [(False, ASKED_ONLY)]
    assert (found.unproven, found.complete) == (NOTHING_NEW, True)


# What is told, and asked again


def test_an_answer_without_a_quote_is_asked_for_once_more_and_then_told_as_unproven(
    shop: Subject,
) -> None:
    asked = asking(shop, model := Planner(lambda call: answer("18")), text="Which rate?")
    found = asked.work().questions["q"].answer
    assert len(model.asked) == 2
    assert "it gives no quote: quote a line that shows the answer.\n" in model.prompts["q", 1, 2]
    assert found
    assert (found.text, found.unproven, found.complete) == ("18", NONE_GIVEN, True)
    [given] = (event.fact for event in asked.task.store.read(TASK, types=["ANSWER_GIVEN"]))
    assert isinstance(given, AnswerGiven)
    assert given.unproven == NONE_GIVEN


def test_a_wrong_quote_is_answered_by_lines_of_its_node_and_not_repeated(shop: Subject) -> None:
    def quotes(call: Call) -> Any:
        said = "rate: float = 18" if call.attempt == 1 else "rate: int = 19"
        return answer("19", (TOTAL, said))

    asked = asking(shop, model := Planner(quotes), text="Which rate has Till.total?")
    found = asked.work().questions["q"].answer
    assert found
    assert (found.unproven, [one.proven for one in found.quotes]) == ("", [True])
    again = model.prompts["q", 1, 2].partition("Your last reply was not used: ")[2]
    assert again.startswith(f"{TOTAL} does not show that; it has\n\n{TOTAL}, lines ")
    assert "def total(self, rate: int = 19)" in again
    assert "18" not in again
    [refused] = (event.fact for event in asked.task.store.read(TASK, types=["ANSWER_REFUSED"]))
    assert isinstance(refused, AnswerRefused)


def test_where_nothing_is_left_an_unproven_answer_is_not_asked_for_again(shop: Subject) -> None:
    model = Planner(lambda call: answer("18"))
    found = asking(shop, model, budget=Allowance(calls=1)).work().questions["q"].answer
    assert len(model.asked) == 1
    assert found
    assert found.unproven == NONE_GIVEN


def test_where_the_second_reply_is_none_the_first_answer_stays(shop: Subject) -> None:
    model = Planner(lambda call: answer("18") if call.attempt == 1 else "{")
    found = asking(shop, model).work().questions["q"].answer
    assert found
    assert (found.text, found.complete, found.unproven) == ("18", False, NONE_GIVEN)


def test_an_answer_that_was_stored_before_tells_what_its_quotes_tell() -> None:
    assert questions.FoundAnswer("yes").unproven == NONE_GIVEN
    shown = questions.ShownQuote("module:a.py", "a", True, "", 1, "")
    assert questions.FoundAnswer("yes", quotes=(shown,)).unproven == ""
    wrong = questions.FoundAnswer("yes", quotes=(shown._replace(proven=False),))
    assert wrong.unproven == NONE_PROVEN


def test_equal_quotes_count_once_and_the_form_has_them_behind_the_text(shop: Subject) -> None:
    model = Planner(lambda call: answer("19", (TOTAL, "rate: int = 19"), (TOTAL, "rate: int = 19")))
    found = asking(shop, model, text="Which rate?").work().questions["q"].answer
    assert found
    assert len(found.quotes) == 1
    form = schema_of(("answer",))["properties"]
    assert list(form) == ["action", "text", "quotes"]
    assert form["quotes"]["maxItems"] == 2
    assert form["quotes"]["items"]["properties"]["text"]["maxLength"] <= 160


# What is shown


def test_what_a_question_names_is_shown_whole_and_nothing_that_shares_no_word(
    shop: Subject,
) -> None:
    shown = shop.look("What does Till.total return?", "", 2_000)
    whole = SHOP[SHOP.index("    def total") :].rstrip()
    assert shown.endswith(f"{TOTAL}, lines 25-31:\n{whole}")
    assert "paint" not in shown
    assert "discard" not in shown


def test_a_method_is_shown_under_its_class_and_a_line_once_with_two_around(shop: Subject) -> None:
    shown = shop.look("Where are the coins set to 0?", "", 2_000)
    assert "method:shop.py::Till.__init__, lines 22-23:\n" in shown
    assert shown.count("self.coins = 0") == 1
    found = shop.search("nothing is due of an empty basket")
    assert "Nothing is due\n        of an empty basket." in found
    assert found.count("Nothing is due") == 1


def test_names_and_files_that_are_meant_exactly_come_first(shop: Subject) -> None:
    assert shop.look("What is OldCart an alias of?", "", 2_000).endswith("OldCart = Cart = object")
    shown = shop.look("Which Python does pyproject.toml require?", "", 2_000)
    assert "module:pyproject.toml, lines 1-3:" in shown
    assert "requires-python = '>=3.10'" in shown


def test_the_prompts_of_a_question_begin_alike_whatever_may_be_done_next(shop: Subject) -> None:
    def reads(call: Call) -> Any:
        return {"action": "read", "node": TOTAL} if call.iteration == 1 else answer("19")

    model = Planner(reads)
    asking(shop, model, limits=LIMITS._replace(iterations=2), text="Which rate?").work()
    first, last = model.prompts["q", 1, 1], model.prompts["q", 2, 1]
    kept = first.partition("\n\n# Actions\n")[0]
    assert last.startswith(kept)
    assert "# Actions" not in last
