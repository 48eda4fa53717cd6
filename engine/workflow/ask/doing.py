"""Does what a reply says, and states it as facts: a look at the subject, a question, an answer."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from backcast.domain.compression_settings import share_of
from backcast.domain.errors import InputError
from backcast.domain.events import (
    Fact,
    TaskComplete,
    TaskFailed,
    ToolCalled,
    ToolReturned,
)
from backcast.domain.json_text import json_text
from backcast.domain.question_events import AnswerGiven, AnswerQuote, QuestionAsked
from backcast.domain.spending import Allowance
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from backcast.engine.models.tokenizers import Tokenizer
from backcast.engine.workflow.ask.actions import (
    AnswerAction,
    AskAction,
    AskManyAction,
    ListAction,
    ReadAction,
    SearchAction,
    TakenAction,
    answer_in,
    unlooped,
)
from backcast.engine.workflow.ask.proof import unproven
from backcast.engine.workflow.ask.quoting import doubt, quotes_of
from backcast.engine.workflow.ask.shortening import ShortResult, bounded, shortened
from backcast.engine.workflow.ask.subject import Subject, SubjectOf
from backcast.engine.workflow.ask.words import LOOK, REPEATED, turns_in_circles
from backcast.engine.workflow.runtime import Runtime
from backcast.projections import questions
from backcast.projections.questions import OpenQuestion

ITSELF = "this is the question that is being answered: take it apart, or look and read"
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class DoneAction(NamedTuple):
    """What an action came to: facts, and the bodies that they name."""

    facts: Sequence[Fact]
    blobs: Sequence[Blob] = ()


class ActionDoer:
    """What carries out the actions of questions."""

    def __init__(
        self, store: EventStore, subject_of: SubjectOf, tokenizer: Tokenizer, runtime: Runtime
    ) -> None:
        self.store, self.subject_of, self.tokenizer = store, subject_of, tokenizer
        self.price, self.share = runtime.price, share_of(runtime.profile.template)

    def look(self, state: questions.State, name: str, tokens: int) -> DoneAction:
        """Return what a question is shown at the beginning."""
        question = state.questions[name]
        arguments = {"question": question.text, "about": question.about}
        shown = self.subject_of(name).look(question.text, question.about, tokens)
        short = ShortResult(bounded(shown, tokens, self.tokenizer))
        return self._result(f"{name}#0", LOOK, arguments, short)

    def do(self, state: questions.State, name: str, taken: TakenAction) -> DoneAction:
        """Return what an action of a question comes to."""
        question = state.questions[name]
        if isinstance(taken.action, AnswerAction):
            return self._answer(state, question, taken.action)
        call_id, arguments = f"{name}#{question.iteration}", taken.arguments
        called = ToolCalled(tool=taken.tool, call_id=call_id, arguments=arguments)
        said = taken.tool, json_text(arguments)
        if any((turn.tool, turn.arguments) == said for turn in question.turns):
            return DoneAction([called, _failed(called, REPEATED)])
        try:
            if isinstance(taken.action, AskAction | AskManyAction):
                asked = (
                    [taken.action]
                    if isinstance(taken.action, AskAction)
                    else taken.action.questions
                )
                return DoneAction([called, *self._asked(state, question, asked)])
            node, shown = self._seen(taken, self.subject_of(name))
        except InputError as error:
            return DoneAction([called, _failed(called, str(error))])
        tokens = state.limits.get("result", 0)
        if node:  # a text; lists have their best lines first
            short = self._short(state, question.text, shown, tokens, node)
        else:
            short = ShortResult(bounded(shown, tokens, self.tokenizer))
        return self._result(call_id, taken.tool, arguments, short, node)

    def _seen(self, taken: TakenAction, subject: Subject) -> tuple[str, str]:
        """Return what a look at the subject shows, and the node that it is of."""
        match taken.action:
            case ListAction(under=under):
                return "", subject.list(under)
            case SearchAction(words=words):
                return "", subject.search(words)
            case ReadAction(node=node, first=first, last=last):
                return subject.read(node, first, last)
        raise InputError(f"there is no action {taken.tool!r}")

    def _result(
        self, call_id: str, tool: str, arguments: dict[str, Any], short: ShortResult, node: str = ""
    ) -> DoneAction:
        body = Blob(short.text.encode(errors="surrogatepass"))
        nodes = {"nodes": (node,)} if node else {}
        return DoneAction(
            [
                ToolCalled(tool=tool, call_id=call_id, arguments=arguments),
                *short.facts,
                ToolReturned(tool=tool, call_id=call_id, output=body.ref, **nodes),
            ],
            [body, *short.blobs],
        )

    def _short(
        self, state: questions.State, question: str, text: str, tokens: int, about: str
    ) -> ShortResult:
        most = max(tokens, state.limits.get("prompt", 0) // 2)
        return shortened(text, question, tokens, most, self.tokenizer, self.share, about)

    # Asking

    def _asked(
        self, state: questions.State, question: OpenQuestion, asked: Sequence[AskAction]
    ) -> list[Fact]:
        """Return smaller questions as facts, each with its share of what is left."""
        above = [question]
        while above[-1].parent:
            above.append(state.questions[above[-1].parent])
        known = {(_plain(one.text), one.about) for one in above}
        named, subject = list[tuple[str, str]](), self.subject_of(question.name)
        for action in asked:
            about = subject.node(action.about).node if action.about.strip() else ""
            if not _plain(action.question):
                raise InputError("needed a question, found no words")
            if (_plain(action.question), about) in known:
                raise InputError(ITSELF)
            known.add((_plain(action.question), about))
            named.append((action.question, about))
        share = self._share(state, question, len(named))
        stated = {key: most for key, most in share._asdict().items() if most is not None}
        return [
            QuestionAsked(
                name=f"{question.name}.{question.iteration}{letter}", text=text,
                parent=question.name, call=question.replied, allowed=stated,
                **({"about": about} if about else {}),
            )
            for letter, (text, about) in zip(LETTERS, named, strict=False)
        ]  # fmt: skip

    def _share(self, state: questions.State, question: OpenQuestion, count: int) -> Allowance:
        """Return the share of each of some questions: what is left beside their asker's own end."""
        rest, limits = questions.unspent(state, question.name), state.limits
        prompt, answer = limits.get("prompt", 0), limits.get("answer", 0)
        calls = None if rest.calls is None else (rest.calls - 1) // count
        tokens = None if rest.tokens is None else (rest.tokens - prompt - answer) // count
        if (calls is not None and calls < 1) or (tokens is not None and tokens < answer):
            raise InputError("too little of the budget is left for that: look, read or answer")
        seconds = None if rest.seconds is None else round(rest.seconds / (count + 1), 3)
        money = None
        if rest.money is not None:
            own = self.price.of(prompt, answer)
            money = round(max(0.0, rest.money - own) / count, 6)
        return Allowance(calls, tokens, seconds, money)

    def close(self, state: questions.State, name: str) -> DoneAction:
        """Return what came of the questions that a question asked last."""
        question = state.questions[name]
        turn = question.turns[-1]
        mine = [
            child for child in question.children if child[len(name) + 1 : -1] == str(turn.number)
        ]
        tokens = state.limits.get("result", 0) // max(1, len(mine))
        shown, facts, blobs, found = list[str](), list[Fact](), list[Blob](), 0
        for name_of_child in mine:
            child, answer = state.questions[name_of_child], state.questions[name_of_child].answer
            assert answer is not None
            found += bool(answer.text)
            about = f" (about {child.about})" if child.about else ""
            best = "" if answer.complete else f" (no more than a best effort: {answer.reason})"
            best += f" (unproven: {answer.unproven})" if answer.unproven else ""
            said = f"{answer.text}{best}" if answer.text else f"no answer: {answer.reason}"
            quotes = "".join(f'\n{quote.node}: "{quote.text}"' for quote in answer.shown)
            whole = f"{child.text}{about}\n-> {said}{quotes}"
            short = self._short(state, question.text, whole, tokens, f"the answer to {child.name}")
            shown.append(short.text)
            facts += short.facts
            blobs += short.blobs
        text = "\n\n".join(shown)
        body = Blob(text.encode(errors="surrogatepass"))
        call_id = f"{name}#{turn.number}"
        failed = {} if found else {"failed": True, "message": text}
        fact = ToolReturned(tool=turn.tool, call_id=call_id, output=body.ref, **failed)
        return DoneAction([*facts, fact], [body, *blobs])

    # Answers

    def _answer(
        self, state: questions.State, question: OpenQuestion, action: AnswerAction
    ) -> DoneAction:
        quotes = quotes_of(self.subject_of(question.name), question.text, action)
        cut = [child for child in question.children if not _is_whole(state, child)]
        reason = ""
        if turns_in_circles(state, question.name):
            reason = "it took the same actions again and again, and had to end"
        elif cut:
            count = len(question.children)
            reason = f"of {count} questions that it asked {len(cut)} came to no whole answer"
        return self._ended(question, unlooped(action.text), reason, quotes)

    def doubted(self, question: OpenQuestion, action: AnswerAction) -> str:
        """Return why an answer is to be given again; empty where it is not."""
        return doubt(self.subject_of(question.name), question.text, action)

    def end(self, state: questions.State, name: str, reason: str, text: str = "") -> DoneAction:
        """Return the end of a question that is cut short, with what there is of an answer: an
        earlier one that was not proven, else `text`."""
        question = state.questions[name]
        body = self.store.get(question.doubted) if question.doubted else b""
        earlier = answer_in(body.decode(errors="replace"))
        if earlier is None or not isinstance(earlier.action, AnswerAction):
            return self._ended(question, unlooped(text), reason, ())
        quotes = quotes_of(self.subject_of(name), question.text, earlier.action)
        return self._ended(question, unlooped(earlier.action.text), reason, quotes)

    def _ended(
        self, question: OpenQuestion, text: str, reason: str, quotes: Sequence[AnswerQuote]
    ) -> DoneAction:
        stated: dict[str, Any] = {"call": question.replied} if question.replied else {}
        if reason:
            stated |= {"complete": False, "reason": reason}
        if why := unproven(question.text, text, quotes):
            stated["unproven"] = why
        facts: list[Fact] = [
            AnswerGiven(name=question.name, text=text, quotes=tuple(quotes), **stated)
        ]
        if question.name == questions.FIRST:
            facts.append(TaskComplete() if text else TaskFailed(reason=f"no answer: {reason}"))
        return DoneAction(facts)


def _failed(called: ToolCalled, message: str) -> ToolReturned:
    return ToolReturned(tool=called.tool, call_id=called.call_id, failed=True, message=message)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _is_whole(state: questions.State, name: str) -> bool:
    answer = state.questions[name].answer
    return answer is not None and answer.complete
