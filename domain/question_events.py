"""The facts of questions that a model was asked about a history, a task or a log, and of its
answers with what they rest on.

A question that somebody asks is named `q`, one that a step of a run asks before it writes `q1`,
`q2` and so on.
"""

import re

from pydantic import BaseModel, ConfigDict, Field

from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import (
    AnswerRefused,
    EventType,
    Fact,
    ModelFailed,
    ModelReplied,
    StepStarted,
    ToolCalled,
    ToolReturned,
)

ANSWER = "answer:"
"What the node of an answer begins with, which a step's next prompt shows; its question follows."
_OF_STEP = re.compile(r"q[1-9]\d{0,8}(?:\.\d{1,9}[a-z])*")


class AskedSubject(BaseModel):
    """The log that a question is about, as of a moment."""

    model_config = ConfigDict(frozen=True, extra="allow")

    task: str
    log: str = ""
    "The file of the log; empty where it is in the store of the question."
    when: str = ""
    "The moment as the asker named it."
    version: int = 0
    "The version of the last event that it holds."
    at: str = ""
    "The time that limits it, in ISO 8601; empty where none does."


class QuestionAsked(Fact):
    """A question was asked, by somebody or on the way to the answer of another one."""

    type = EventType.QUESTION_ASKED
    name: str
    """The first one's is `q`; of the others it is their asker's, the number of the asker's action,
    and a letter: `q.2a`."""
    text: str | None = None
    about: str | None = None
    "The node that it is about; None for the whole subject."
    parent: str | None = None
    "The name of the question that it helps to answer."
    call: int | None = None
    "The version of the STEP_STARTED in which it was asked."
    allowed: dict[str, float] = Field(default_factory=dict)
    "What its calls and those of its own questions may cost together, by amount."
    limits: dict[str, int] = Field(default_factory=dict)
    "Of the first one: depth, iterations, repeats, and tokens of prompts, answers and results."
    subject: AskedSubject | None = None
    "Of the first one."


class AnswerQuote(BaseModel):
    """A text that an answer rests on."""

    model_config = ConfigDict(frozen=True, extra="allow")

    node: str
    text: str = ""
    proven: bool = False
    """Whether the node is there as of the moment that was asked about, and holds the text, which
    says more than the question."""
    version: int | None = None
    "The version, in the subject's log, of the event that brought the node's text."
    digest: str = ""
    "SHA-256 of the node's whole text then."
    reason: str = ""
    "Why it is not proven."


class AnswerGiven(Fact):
    """A question is done with: by an answer, or cut short with what there is of one."""

    type = EventType.ANSWER_GIVEN
    name: str
    "The name of the question."
    text: str | None = None
    quotes: tuple[AnswerQuote, ...] = ()
    complete: bool = True
    "Whether nothing failed or was cut short on its way; else it is a best effort."
    reason: str | None = None
    "Why it is no more than that."
    call: int | None = None
    "The version of the STEP_STARTED whose reply it is."
    unproven: str = ""
    "Why its quotes do not prove it; empty where they do, and of an answer before that was told."


def step_question(fact: Fact) -> str:
    """Return the question, of those that steps of a run ask, in whose course a fact stands; empty
    for any other.

    >>> step_question(AnswerGiven(name="q2.1b")), step_question(AnswerGiven(name="q"))
    ('q2.1b', '')
    """
    named = ""
    match fact:
        case QuestionAsked(name=str(named)) | AnswerGiven(name=str(named)):
            pass
        case StepStarted(kind="ask", module_name=str(named)):
            pass
        case ContextBuilt(target=str(target)) if target.startswith("question:"):
            named = target.partition(":")[2]
        case (
            ModelReplied(module_name=str(named))
            | ModelFailed(module_name=str(named))
            | AnswerRefused(module_name=str(named))
        ):
            pass
        case ToolCalled(call_id=str(id)) | ToolReturned(call_id=str(id)):
            named = id.rpartition("#")[0]
    return named if named[:1] == "q" and _OF_STEP.fullmatch(named) else ""
