"""One question to a model about a code base: it looks around step by step, then it answers.

All of it is recorded as the events of a task, so that a map can be made of it, and so that anybody
can look at it later.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from backcast.domain.context_map import Tokens
from backcast.domain.events import (
    Fact,
    MessageReceived,
    ModelReplied,
    TaskComplete,
    TaskStarted,
    ToolCalled,
    ToolReturned,
    WorkflowEvent,
)
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from backcast.engine.models import Call, Limits, Message, Model
from scripts.benches.trial_world import Question, World

STEPS = 6
"The most turns for a question, the answer among them."
ANSWER = 400
"The most tokens of a turn."
SYSTEM = """\
You answer questions about a code base that you do not see. In each turn do one thing, in JSON: \
find, with words, names parts of the code; show, with PATH or PATH::NAME, shows one; answer gives \
the answer, as a list of exact paths or names. Notes may be old or wrong: look before you answer."""


@dataclass
class Cost:
    """The tokens of some calls."""

    prompt: int = 0
    answer: int = 0

    @property
    def tokens(self) -> int:
        """The tokens of prompts and answers."""
        return self.prompt + self.answer

    def add(self, prompt: int, answer: int) -> None:
        """Add the tokens of one more call."""
        self.prompt += prompt
        self.answer += answer


class Outcome(NamedTuple):
    """The outcome of a question."""

    question: Question
    answers: tuple[str, ...]
    steps: int
    cost: Cost
    events: Sequence[WorkflowEvent]

    @property
    def score(self) -> float:
        """The F1 of the named and the right answers, by whole names; between 0 and 1."""
        given = {one.strip().removeprefix("./") for one in self.answers if one.strip()}
        right = len(given & set(self.question.answers))
        return 2 * right / (len(given) + len(self.question.answers)) if right else 0.0


@dataclass
class Asking:
    """A model, the code base that it is asked about, and the log of its answers."""

    world: World
    model: Model
    count: Tokens
    room: int
    "The most tokens of a prompt."
    log: EventStore
    seen: list[str] = field(default_factory=list)

    def ask(self, task: str, question: Question, notes: str) -> Outcome:
        """Ask one question with notes above it."""
        cost, self.seen, answers, step = Cost(), [], (), 0
        facts: list[Fact] = [TaskStarted(goal=question.text, context=self.world.task)]
        blobs: list[Blob] = []
        for step in range(1, STEPS + 1):
            turn, more, bodies = self._turn(question, notes, cost, last=step == STEPS)
            blobs += bodies
            facts += more
            if turn["do"] == "answer":
                answers = tuple(turn["answer"])
                break
            looked, shown = self._looked(turn)
            facts += looked
            blobs.append(shown)
        outcome = Outcome(question, answers, step, cost, ())
        facts.append(TaskComplete(answers=answers, score=outcome.score))
        events = self.log.append(task, facts, after=0, writer=self.model.id, blobs=blobs)
        # The prompts are no part of the run.
        own = [event for event in events if not isinstance(event.fact, MessageReceived)]
        return outcome._replace(events=own)

    def _turn(
        self, question: Question, notes: str, cost: Cost, *, last: bool
    ) -> tuple[dict[str, Any], list[Fact], list[Blob]]:
        """Return a model's next turn, with its prompt and answer as facts and their bodies.

        A turn that cannot be read is an empty answer.
        """
        messages = self._messages(question, notes, last=last)
        call = Call(kind="question", module=question.text, iteration=len(self.seen))
        schema = _schema(last=last)
        given = self.model.complete(messages, Limits(ANSWER), schema=schema, call=call)
        asked = sum(self.count(one.content) for one in messages)
        paid = given.prompt_tokens or asked, given.tokens or self.count(given.text)
        cost.add(*paid)
        shown = [Blob(one.content.encode(errors="replace")) for one in messages]
        said = Blob(given.text.encode(errors="surrogatepass"))
        facts: list[Fact] = [
            MessageReceived(role=one.role, text=body.ref)
            for one, body in zip(messages, shown, strict=True)
        ]
        facts.append(
            ModelReplied(
                text=said.ref,
                model=self.model.id,
                prompt_tokens=paid[0],
                tokens=paid[1],
                seconds=given.seconds,
            )
        )
        return _turn_in(given.text), facts, [*shown, said]

    def _messages(self, question: Question, notes: str, *, last: bool) -> list[Message]:
        parts = [f"# Notes\n\n{notes}"] if notes else []
        parts.append(f"# Question\n\n{question.text}")
        room = self.room - self.count(SYSTEM) - sum(map(self.count, parts)) - ANSWER
        seen = list[str]()
        for text in reversed(self.seen):
            room -= self.count(text)
            if room < 0:
                break
            seen.insert(0, text)
        parts += ["# Seen so far", *seen] if seen else []
        parts += ["This is your last turn: answer."] if last else []
        return [Message("system", SYSTEM), Message("user", "\n\n".join(parts))]

    def _looked(self, turn: dict[str, Any]) -> tuple[list[Fact], Blob]:
        """Look at the code base; return the look as facts, and its text."""
        tool = "show" if turn["do"] == "show" else "find"
        text, nodes = (self.world.show if tool == "show" else self.world.find)(turn["what"])
        self.seen.append(f"## {tool} {turn['what']}\n{text}")
        shown = Blob(text.encode(errors="replace"))
        called = ToolCalled(tool=tool, arguments={"what": turn["what"]})
        return [called, ToolReturned(tool=tool, nodes=nodes, output=shown.ref)], shown


def _turn_in(text: str) -> dict[str, Any]:
    """Return the turn in an answer; an empty answer where it cannot be read."""
    try:
        turn = json.loads(text)
        answers = [str(one) for one in turn["answer"]]
        return {"do": turn["do"], "what": str(turn["what"]), "answer": answers}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {"do": "answer", "what": "", "answer": []}


def _schema(*, last: bool) -> dict[str, Any]:
    text = {"type": "string", "maxLength": 120}
    properties = {
        "do": {"enum": ["answer"] if last else ["find", "show", "answer"]},
        "what": text,
        "answer": {"type": "array", "items": text, "maxItems": 6},
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
