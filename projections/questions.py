"""Which questions were asked on the way to an answer, and how far is each?

A question is known by its name, and holds places in the log only while it waits for one: so the
questions that were asked side by side come to the same state in whatever order they were answered.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from immutables import Map

from backcast.domain.call_events import BudgetGranted, CallSettled
from backcast.domain.events import (
    AnswerRefused,
    CallCost,
    ModelFailed,
    ModelReplied,
    StepStarted,
    ToolCalled,
    ToolReturned,
    WorkflowEvent,
)
from backcast.domain.json_text import json_text
from backcast.domain.question_events import AnswerGiven, QuestionAsked
from backcast.domain.spending import Allowance, Amounts, amounts_of, counted, remaining

NAME = "questions"
VERSION = 2
SCOPE: Literal["task", "store"] = "task"
FIRST = "q"
"The name of the question that somebody asked."
KIND = "ask"
"The kind of the steps that lead to an answer."


class QuestionTurn(NamedTuple):
    """One action on the way to an answer, and its result."""

    number: int
    "Counted from 1; 0 for what is shown at the beginning."
    tool: str
    arguments: str = "{}"
    "As JSON."
    output: str | None = None
    "The blob of the result; None while there is none."
    failed: bool = False
    message: str = ""
    "Why it failed."
    closed: bool = False


class ShownQuote(NamedTuple):
    """A quote that an answer rests on."""

    node: str
    text: str
    proven: bool
    reason: str
    version: int
    digest: str


class FoundAnswer(NamedTuple):
    """The end of a question."""

    text: str = ""
    complete: bool = True
    reason: str = ""
    quotes: tuple[ShownQuote, ...] = ()
    doubt: str = ""
    "Why its quotes do not prove it, as far as the log tells."

    @property
    def unproven(self) -> str:
        """Why nothing proves it; empty where its quotes do, or there is no text."""
        if self.doubt or not self.text or self.shown:
            return self.doubt
        return "none of its quotes is proven" if self.quotes else "it gives no quote"

    @property
    def shown(self) -> list[ShownQuote]:
        """The quotes that are proven."""
        return [quote for quote in self.quotes if quote.proven]


class OpenQuestion(NamedTuple):
    """One question, and all that was done for its answer."""

    name: str
    text: str = ""
    about: str = ""
    parent: str = ""
    allowed: Allowance = Allowance()
    children: tuple[str, ...] = ()
    turns: tuple[QuestionTurn, ...] = ()
    call: int = 0
    "The version of the STEP_STARTED that is not settled; 0 for none."
    context: int = 0
    "The version of the prompt that has no answer yet; 0 for none."
    actions: tuple[str, ...] = ()
    "The actions that the answer to that prompt may take."
    reply: str | None = None
    "The blob of an answer of the model that nothing was made of yet."
    replied: int = 0
    "The version of the STEP_STARTED of that answer."
    cut: bool = False
    "Whether that answer was cut by a limit."
    refused: int = 0
    "Answers of the model since the last action that could not be used."
    refusal: str = ""
    refusals: int = 0
    "All answers of the model that were not used."
    doubted: str = ""
    "The blob of the last of them."
    failure: str = ""
    "Why the last call failed; empty where it did not."
    spent: Amounts = Amounts()
    "Its own calls."
    aside: Amounts = Amounts()
    "What is set aside for its open call."
    answer: FoundAnswer | None = None

    @property
    def depth(self) -> int:
        """How many questions it is away from the first."""
        return self.name.count(".")

    @property
    def iteration(self) -> int:
        """The number of the action that is next, counted from 1."""
        return sum(turn.number > 0 for turn in self.turns) + 1


class QuestionsState(NamedTuple):
    """The questions of a task."""

    questions: Map[str, OpenQuestion] = Map()
    "By name."
    steps: Map[int, str] = Map()
    "The name of the question of each open call, by the version of its STEP_STARTED."
    limits: Map[str, int] = Map()


State = QuestionsState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """Return the state after one more event."""
    match event.fact:
        case QuestionAsked() as fact:
            return _asked(state, fact)
        case StepStarted(kind="ask", module_name=str(name)) as fact if name in state.questions:
            question = state.questions[name]._replace(
                call=event.version, context=fact.again or event.version + 1, failure="",
                actions=fact.actions,
                aside=amounts_of(fact.reserved or CallCost()),
            )  # fmt: skip
            return _with(state, question)._replace(steps=state.steps.set(event.version, name))
        case ModelReplied(call=int(call)) as fact if call in state.steps:
            return _with(
                state,
                state.questions[state.steps[call]]._replace(
                    reply=fact.text, replied=call, cut=fact.finish == "length", context=0
                ),
            )
        case ModelFailed(call=int(call), kind=kind) as fact if call in state.steps:
            if kind == "answer":
                return state
            question = state.questions[state.steps[call]]
            return _with(state, question._replace(failure=fact.reason or "it failed"))
        case CallSettled(call=call, cost=cost) if call in state.steps:
            question = state.questions[state.steps[call]]
            question = question._replace(
                call=0, spent=question.spent.plus(amounts_of(cost)), aside=Amounts()
            )
            return _with(state, question)._replace(steps=state.steps.delete(call))
        case BudgetGranted() as fact if FIRST in state.questions:
            granted = Allowance(fact.calls, fact.tokens, fact.seconds, fact.money)
            return _with(state, state.questions[FIRST]._replace(allowed=granted))
        case AnswerRefused(module_name=str(name)) as fact if name in state.questions:
            question = state.questions[name]
            return _with(
                state,
                question._replace(
                    reply=None,
                    replied=0,
                    refused=question.refused + 1,
                    refusal=fact.reason or "",
                    refusals=question.refusals + 1,
                    doubted=question.reply or question.doubted,
                ),
            )
        case ToolCalled() as fact:
            return _called(state, fact)
        case ToolReturned() as fact:
            return _returned(state, fact)
        case AnswerGiven(name=name) as fact if name in state.questions:
            quotes = (
                ShownQuote(q.node, q.text, q.proven, q.reason, q.version or 0, q.digest)
                for q in fact.quotes
            )
            answer = FoundAnswer(
                fact.text or "", fact.complete, fact.reason or "", tuple(quotes), fact.unproven
            )
            question = state.questions[name]._replace(
                answer=answer, reply=None, replied=0, context=0, actions=()
            )
            return _with(state, question)
    return state


def _with(state: State, question: OpenQuestion) -> State:
    return state._replace(questions=state.questions.set(question.name, question))


def _asked(state: State, fact: QuestionAsked) -> State:
    if fact.name in state.questions:
        return state  # a name is given once
    parent = state.questions.get(fact.parent or "")
    if parent is not None:
        state = _with(state, parent._replace(children=(*parent.children, fact.name)))
    if fact.limits and not state.limits:
        state = state._replace(limits=Map(fact.limits))
    question = OpenQuestion(
        fact.name, fact.text or "", fact.about or "", fact.parent or "", allowance(fact.allowed)
    )
    return _with(state, question)


def _called(state: State, fact: ToolCalled) -> State:
    name, number = turn_of(fact.call_id)
    if name not in state.questions:
        return state
    question = state.questions[name]
    turn = QuestionTurn(number, fact.tool, json_text(fact.arguments or {}))
    return _with(
        state,
        question._replace(
            turns=(*question.turns, turn), reply=None, replied=0, cut=False, refused=0, refusal=""
        ),
    )


def _returned(state: State, fact: ToolReturned) -> State:
    name, number = turn_of(fact.call_id)
    if name not in state.questions:
        return state
    question = state.questions[name]
    turns = tuple(
        turn._replace(
            output=fact.output, failed=fact.failed, message=fact.message or "", closed=True
        )
        if turn.number == number
        else turn
        for turn in question.turns
    )
    return _with(state, question._replace(turns=turns))


def turn_of(call_id: str | None) -> tuple[str, int]:
    """Return the question and the number of an action; an empty name where it is of none.

    >>> turn_of("q.2a#3"), turn_of("call_7")
    (('q.2a', 3), ('', 0))
    """
    name, mark, number = (call_id or "").rpartition("#")
    if not (mark and number.isdecimal() and number.isascii() and len(number) < 9):
        return "", 0
    return name, int(number)


def allowance(amounts: Mapping[str, float]) -> Allowance:
    """Return the budget that amounts by name state."""
    found = {name: counted(amounts[name]) for name in Allowance._fields if name in amounts}
    whole = {name: int(found[name]) for name in ("calls", "tokens") if name in found}
    return Allowance(**(found | whole))  # type: ignore[arg-type]


def used(state: State, name: str) -> Amounts:
    """Return what a question has spent and set aside, for itself and for those that it asked.

    Of one that has no answer yet that is all that it may spend.
    """
    question = state.questions[name]
    total = question.spent.plus(question.aside)
    for child in question.children:
        own = used(state, child)
        if state.questions[child].answer is None:
            pairs = zip(state.questions[child].allowed, own, strict=True)
            own = Amounts._make(amount if most is None else most for most, amount in pairs)
        total = total.plus(own)
    return total


def unspent(state: State, name: str) -> Allowance:
    """Return what is left for a question."""
    return remaining(state.questions[name].allowed, used(state, name))


def waiting(state: State, name: str) -> list[str]:
    """Return the questions without an answer that a question waits for."""
    children = state.questions[name].children
    return [child for child in children if state.questions[child].answer is None]


def unanswered(state: State) -> list[str]:
    """Return the questions that wait for a call: without an answer, and for no other question."""
    return [
        name
        for name in sorted(state.questions)
        if state.questions[name].answer is None
        and not state.questions[name].call
        and not waiting(state, name)
    ]
