"""Models: messages in, a completion out. The double of a model is a recording of one."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class Message(NamedTuple):
    """One turn of a prompt."""

    role: str
    "system, user or assistant."
    content: str


class Completion(NamedTuple):
    """What a model answered."""

    text: str
    prompt_tokens: int | None = None
    tokens: int | None = None
    "Of the answer, as the model counts them; None where it does not say."


class Model(Protocol):
    """Something that answers a prompt."""

    id: str
    "A name that tells it from every other model whose answers could differ."

    def complete(
        self, messages: Sequence[Message], *, max_tokens: int, schema: Mapping[str, Any] | None
    ) -> Completion:
        """The answer to some messages; `UnavailableError` where there is none.

        With `schema`, a JSON schema, the answer is JSON of that form, as far as the model can be
        held to it.
        """
