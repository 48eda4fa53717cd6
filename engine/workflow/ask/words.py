"""The prompt of a question's next step: a function of what stands in the log, and of nothing else.

What stays comes first, so that a server has read it already: how to answer, what a search for the
question's words finds, then each action with its result, in order. What changes stands behind: the
actions that are allowed, unless only an answer is, and the question, last, as what is read last is
answered. A prompt never has more tokens than its limit: where not all results fit, the oldest are
only named.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from backcast.domain.budget import ModelProfile
from backcast.domain.context import Context, Item
from backcast.domain.errors import BudgetExceededError
from backcast.domain.policy import Policy
from backcast.engine.context.builder import TASK, count
from backcast.engine.context.rendering import messages_of
from backcast.engine.models.templates import digest_of, pieces
from backcast.engine.models.tokenizers import Tokenizer
from backcast.engine.workflow.ask.actions import ACTIONS, ASKING
from backcast.projections import questions
from backcast.projections.questions import OpenQuestion, QuestionTurn

VERSION = 4
"Grows when the same questions would give another prompt."
LOOK = "look"
REPEATED = "you have asked this already; its result stands above"
"The tool of what is shown at the beginning."
SYSTEM = (
    "Answer the question about the project below. Reply with one JSON object. As an answer it has"
    " a text: one short sentence; then quotes: lines that show it, word for word, each with the"
    " node that stands over it."
)
FORMS: Mapping[str, str] = {
    "answer": (
        '{"action": "answer", "text": ..., "quotes": [{"text": ..., "node": ...}]} as soon as what'
        " is shown answers the question."
    ),
    "search": '{"action": "search", "words": ...} finds functions, classes and modules.',
    "read": (
        '{"action": "read", "node": ...} shows a node whole; with "first": 10, "last": 90 such'
        " lines of its module."
    ),
    "list": '{"action": "list", "under": ...} shows what a folder or a module holds.',
    "ask": (
        '{"action": "ask", "question": ..., "about": ...} has somebody else answer a smaller'
        " question, about a node or about nothing particular."
    ),
    "ask_many": (
        '{"action": "ask_many", "questions": [{"question": ..., "about": ...}]} has several'
        " answered at once."
    ),
}  # fmt: skip
"How each action is written, and what it is for."
POLICY = Policy(name="ask", version=VERSION, system=SYSTEM, texts={TASK: ""})
"The policy that a question's prompts record: the words around them."


class QuestionStep(NamedTuple):
    """What a question is asked next: its prompt, and the actions that are allowed."""

    context: Context
    allowed: tuple[str, ...]
    number: int
    "The number of the action, counted from 1."
    attempt: int


class StepBuilder:
    """The builder of the prompts of questions, for one profile."""

    def __init__(
        self, profile: ModelProfile, tokenizer: Tokenizer, read: Callable[[str], bytes]
    ) -> None:
        self.profile, self.tokenizer, self.read = profile, tokenizer, read

    def build(self, state: questions.State, name: str) -> QuestionStep:
        """Return a question's next step; `BudgetExceededError` where its own words do not fit."""
        question = state.questions[name]
        allowed = allowed_actions(state, name)
        context = self._context(state, question, allowed)
        if allowed != ("answer",) and self._is_last(state, name, context.tokens):
            allowed = ("answer",)
            context = self._context(state, question, allowed)
        return QuestionStep(context, allowed, question.iteration, question.refused + 1)

    def _is_last(self, state: questions.State, name: str, tokens: int) -> bool:
        """Return whether too little is left for another step behind this one."""
        rest, limits = questions.unspent(state, name), state.limits
        answer, result = limits.get("answer", 0), limits.get("result", 0)
        if rest.calls is not None and rest.calls < 2:
            return True
        return rest.tokens is not None and rest.tokens < 2 * (tokens + answer) + result

    def _context(
        self, state: questions.State, question: OpenQuestion, allowed: tuple[str, ...]
    ) -> Context:
        limit = min(state.limits.get("prompt", self.profile.prompt), self.profile.prompt)
        turns, only = question.turns, allowed == ("answer",)
        tail = [] if only else [self._item("actions:", _forms(allowed))]
        tail.append(self._item(f"question:{question.name}", _asked(question)))
        if only:
            turns = tuple(turn for turn in turns if turn.message != REPEATED)
        shown = [self._turn(question, turn) for turn in turns]
        context = self._of([*shown, *tail])
        for place, turn in enumerate(turns):  # the oldest give way first
            if context.tokens <= limit:
                break
            shown[place] = self._turn(question, turn, whole=False)
            context = self._of([*shown, *tail])
        first = 0
        while context.tokens > limit and first < len(shown):
            first += 1
            context = self._of([*shown[first:], *tail])
        if context.tokens > limit:
            raise BudgetExceededError(context.tokens, limit, ("the words of the question",))
        return context

    def _turn(self, question: OpenQuestion, turn: QuestionTurn, *, whole: bool = True) -> Item:
        node = f"action:{question.name}#{turn.number}"
        what = f"{turn.number}. {said(turn)}"
        title = "# What may be near it" if turn.tool == LOOK else f"# {what}"
        if not whole:
            return self._item(node, f"{title}\n\n(its result is not shown any more)", "name")
        result = turn.message if turn.failed or turn.output is None else self._result(turn.output)
        return self._item(node, f"{title}\n\n{result}")

    def _result(self, ref: str) -> str:
        return self.read(ref).decode(errors="surrogatepass")

    def _item(self, node: str, text: str, level: str = "full") -> Item:
        return Item(node, TASK, "CRITICAL", level, text, self.tokenizer.count(text), 0.0, ())

    def _of(self, items: Sequence[Item]) -> Context:
        messages = messages_of(items, POLICY.system, POLICY.order, texts=POLICY.words)
        prompt = pieces(self.profile.template, messages)
        return Context(
            messages=messages, text="", items=tuple(items), omissions=(),
            tokens=count(prompt, self.tokenizer), window=self.profile.window,
            reserve=self.profile.generation,
            sections=((TASK, 0, sum(item.tokens for item in items)),), digest=digest_of(prompt),
        )  # fmt: skip


def allowed_actions(state: questions.State, name: str) -> tuple[str, ...]:
    """Return the actions that a question's next reply may take."""
    question, limits = state.questions[name], state.limits
    if question.iteration >= limits.get("iterations", 1) or turns_in_circles(state, name):
        return ("answer",)
    rest = questions.unspent(state, name)
    deep = question.depth >= limits.get("depth", 0)
    if deep or (rest.calls is not None and rest.calls < len(("it", "another", "answer"))):
        return tuple(one for one in ACTIONS if one not in ASKING)
    return tuple(ACTIONS)


def turns_in_circles(state: questions.State, name: str) -> bool:
    """Return whether a question has taken the same action again as often as it may."""
    again = sum(turn.message == REPEATED for turn in state.questions[name].turns)
    return again >= state.limits.get("repeats", 1)


def said(turn: QuestionTurn) -> str:
    """Return an action in a line."""
    try:
        arguments = json.loads(turn.arguments)
    except ValueError:
        arguments = {}
    if not isinstance(arguments, dict):
        return turn.tool
    stated = [f"{one}" for one in arguments.values() if one and not isinstance(one, list)]
    asked = arguments.get("questions")
    for part in asked if isinstance(asked, list) else ():
        stated.append(f"{part.get('question', '')}" if isinstance(part, dict) else "")
    return " ".join([turn.tool, *(" ".join(text.split()) for text in stated)])[:200]


def _forms(allowed: tuple[str, ...]) -> str:
    return "\n".join(["# Actions", "", *(FORMS[name] for name in allowed)])


def _asked(question: OpenQuestion) -> str:
    lines = list[str]()
    if question.refused:
        end = "" if "\n" in question.refusal else "."
        lines.append(f"Your last reply was not used: {question.refusal}{end}")
    about = f" (It is about {question.about}.)" if question.about else ""
    lines.append(f"Question: {question.text}{about}")
    return "\n\n".join(lines)
