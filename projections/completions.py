"""Which answers does the log have, to be used again where the same is asked?

A question is known by its digest, in which the model and its sampling are counted. An answer that
was cut by a limit is none, and one that was used again points to the first.
"""

from typing import Literal, NamedTuple

from immutables import Map

from backcast.domain.events import AnswerOrigin, ModelReplied, WorkflowEvent

NAME = "completions"
VERSION = 1
SCOPE: Literal["task", "store"] = "store"


class KnownAnswer(NamedTuple):
    """An answer that a model gave."""

    origin: AnswerOrigin
    fact: ModelReplied


class CompletionsState(NamedTuple):
    """The answers of a log."""

    answers: Map[str, KnownAnswer] = Map()
    "The latest answer by the digest of its question."


State = CompletionsState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """Return the state after one more event."""
    match event.fact:
        case ModelReplied(question=str(question), answer_of=None, finish="stop") as fact if (
            fact.text
        ):
            origin = AnswerOrigin(task=event.task_id, version=event.version)
            return State(state.answers.set(question, KnownAnswer(origin, fact)))
    return state
