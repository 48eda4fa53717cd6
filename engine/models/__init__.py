"""Models: messages in, a completion out. The double of a model is a recording of one."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from backcast.engine.models.cancelling import Cancellation
from backcast.engine.models.so_far import AnswerSoFar


class Message(NamedTuple):
    """One turn of a prompt."""

    role: str
    "system, user or assistant."
    content: str


class Limits(NamedTuple):
    """How much a model may answer."""

    max_tokens: int
    "Of the answer, thinking included."
    thinking: int = 0
    "Of these, how many may be thought before the answer; 0 where it shall not think."
    seconds: float = 600.0
    "For the whole answer, tries together."
    cancellation: Cancellation | None = None
    "By which somebody ends the call before it has an answer; None where nobody can."
    silence: float | None = None
    "Seconds for which an answer that has begun may bring nothing more; None for no such limit."
    so_far: AnswerSoFar | None = None
    "Where the model tells what has come of the answer; None where nobody looks."
    slot: int | None = None
    "The slot of a llama-server that reads the prompt; None where the server chooses one."


class Call(NamedTuple):
    """What a model is asked about: by this a recorded run finds the answer again."""

    task: str = ""
    kind: str = ""
    "plan, code or summary."
    module: str = ""
    "The path, or the node that is summed up."
    iteration: int = 0
    attempt: int = 1
    "Counts the repairs of an answer that could not be used."
    digest: str = ""
    "Of the rendered prompt, as CONTEXT_BUILT has it."


class Completion(NamedTuple):
    """What a model answered."""

    text: str
    "Without what it thought."
    prompt_tokens: int | None = None
    "As the model counts them, and so are the others; None where it does not say."
    tokens: int | None = None
    "Of the answer, thinking included."
    finish: str = "stop"
    "stop, or length where it was cut by a limit: then it is not whole."
    cached_tokens: int | None = None
    "Of the prompt, those that were in the model's cache and not read again."
    thinking: str = ""
    "What it thought before it answered."
    seconds: float | None = None
    model: str = ""
    "Which model says that it answered, where that is not the `id`."


NOTHING = Call()


class Model(Protocol):
    """Something that answers a prompt."""

    id: str
    "A name that tells it from every other model whose answers could differ."

    def complete(
        self,
        messages: Sequence[Message],
        limits: Limits,
        *,
        schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        call: Call = NOTHING,
    ) -> Completion:
        """Return the answer to some messages; `ModelError` where there is none.

        With `schema`, a closed JSON schema, the answer is JSON of that form, as far as the model
        can be held to it. It ends before any text of `stop`.
        """
