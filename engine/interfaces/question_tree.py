"""Draws who asked whom on the way to an answer: each action with its cost, and each end."""

from collections.abc import Iterator, Sequence
from typing import Any

from backcast.domain.events import StepStarted, WorkflowEvent
from backcast.domain.question_events import AnswerGiven, QuestionAsked
from backcast.engine.interfaces.call_tree import WIDTH, TracedCall, calls_of, total, tree
from backcast.engine.interfaces.views import one_line
from backcast.engine.workflow.ask.words import said
from backcast.projections import fold, questions
from backcast.projections.questions import FIRST, OpenQuestion


class QuestionTree:
    """The questions of a task with the calls that were made for each."""

    def __init__(self, task: str, events: Sequence[WorkflowEvent]) -> None:
        self.task = task
        self.state: questions.State = fold(questions, events)
        self.calls: dict[str, list[tuple[int, TracedCall]]] = {}
        "By question: the number of the action that the call was made for, and the call."
        self.ends: set[int] = set()
        "The calls whose reply was an answer."
        self.asked: dict[int, list[str]] = {}
        "The questions that a step's call has asked, by its version."
        self.traced = traced = {call.version: call for call in calls_of(events)}
        for event in events:
            match event.fact:
                case StepStarted(module_name=str(name), iteration=number) if name in self._names:
                    call = number or 0, traced[event.version]
                    self.calls.setdefault(name, []).append(call)
                case AnswerGiven(call=int(call)):
                    self.ends.add(call)
                case QuestionAsked(name=name, parent=None, call=int(call)):
                    self.asked.setdefault(call, []).append(name)

    @property
    def _names(self) -> Any:
        return self.state.questions

    def lines(self) -> Iterator[str]:
        """Yield the tree, its root first."""
        everything = [call for calls in self.calls.values() for _, call in calls]
        if FIRST not in self.state.questions:  # steps of a run have asked
            own = {call.version for call in everything}
            calls = list(self.traced.values())
            of_steps = [call for call in calls if call.version not in own]
            yield from tree(self.task, of_steps, calls, self._below)
            return
        yield f"{one_line(self.task, 80)}  {total(everything)}"
        yield from self._question(self.state.questions[FIRST], "", last=True)

    def _below(self, call: TracedCall, indent: str) -> Iterator[str]:
        names = self.asked.get(call.version, [])
        for place, name in enumerate(names):
            last = place + 1 == len(names)
            yield from self._question(self.state.questions[name], indent, last=last)

    def _question(self, question: OpenQuestion, indent: str, *, last: bool) -> Iterator[str]:
        about = f" (about {question.about})" if question.about else ""
        cost = total([call for _, call in self.calls.get(question.name, ())])
        head = f"{question.name}  {question.text}{about}  {cost}: {_end(question)}"
        yield one_line(f"{indent}{'└── ' if last else '├── '}{head}", WIDTH + len(indent) + 80)
        inner = indent + ("    " if last else "│   ")
        calls = self.calls.get(question.name, [])
        for place, (number, call) in enumerate(calls):
            is_last = place + 1 == len(calls)
            line = f"{inner}{'└── ' if is_last else '├── '}{self._call(question, number, call)}"
            yield one_line(line, WIDTH + len(inner))
            if call.outcome == "answered" and call.version not in self.ends:
                below = inner + ("    " if is_last else "│   ")
                yield from self._children(question, number, below)

    def _call(self, question: OpenQuestion, number: int, call: TracedCall) -> str:
        turn = next((turn for turn in question.turns if turn.number == number), None)
        what = f"{number}."
        if call.version in self.ends:
            what += " answer" if question.answer and not question.answer.reason else " its last"
        elif call.outcome == "answered" and turn:
            what += f" {said(turn)}"
        parts = [what, call.cost, call.outcome]
        why = call.reason or (turn.message.partition("\n")[0] if turn and turn.failed else "")
        line = "  ".join(part for part in parts if part)
        return f"{line}: {why}" if why and call.version not in self.ends else line

    def _children(self, question: OpenQuestion, number: int, indent: str) -> Iterator[str]:
        mine = [
            self.state.questions[child]
            for child in question.children
            if child[len(question.name) + 1 :].rstrip("abcdefghijklmnopqrstuvwxyz") == str(number)
        ]
        for place, child in enumerate(mine):
            yield from self._question(child, indent, last=place + 1 == len(mine))


def _end(question: OpenQuestion) -> str:
    answer = question.answer
    if answer is None:
        return "no answer yet"
    cut = "" if answer.complete else f" [{answer.reason}]"
    proven = ""
    if answer.quotes:
        proven = f" ({len(answer.shown)} of {len(answer.quotes)} quotes proven)"
    if answer.unproven:
        proven += f" (unproven: {answer.unproven})"
    return f"{answer.text}{proven}{cut}" if answer.text else f"no answer{cut}"
