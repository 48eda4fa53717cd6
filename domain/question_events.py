"""The facts of questions that a model was asked about a history, a task or a log, and of its
answers with what they rest on.
"""

from pydantic import BaseModel, ConfigDict, Field

from backcast.domain.events import EventType, Fact


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
    "Whether the node is there as of the moment that was asked about, and holds the text."
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
