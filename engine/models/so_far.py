"""An answer as far as it has come: what a call that is cut off has cost, and leaves.

A model that tells its answer piece by piece writes it down here; whoever asked may look at any
time, from any thread. What stands here is never used as an answer: nobody knows how it would end.
"""

from collections.abc import Callable
from typing import NamedTuple


class AnswerPart(NamedTuple):
    """What had come of an answer."""

    text: str = ""
    thinking: str = ""
    prompt_tokens: int | None = None
    "Of the prompt, those that were read by then; None where the model does not tell."
    tokens: int | None = None
    "Of the answer, thinking included, as the model counts; None where it does not tell."
    pieces: int = 0
    "The pieces in which it came: mostly each is a token."

    @property
    def came(self) -> bool:
        """Whether anything is known of it."""
        return bool(self.text or self.thinking or self.prompt_tokens or self.tokens)


class AnswerSoFar:
    """The answer to one call while it comes."""

    def __init__(self) -> None:
        self._look: Callable[[], AnswerPart] = AnswerPart
        self.earlier: list[AnswerPart] = []
        "What had come of it in tries that broke off, and were made again."

    def begin(self, look: Callable[[], AnswerPart]) -> None:
        """Begin an answer, of which `look` tells what has come; one that was begun broke off."""
        if (part := self.part).came:
            self.earlier.append(part)
        self._look = look

    @property
    def part(self) -> AnswerPart:
        """What has come by now."""
        return self._look()


class AnswersSoFar:
    """The answers that come at this moment, by their calls."""

    def __init__(self) -> None:
        self._open: dict[int, AnswerSoFar] = {}

    def open(self, call: int) -> AnswerSoFar:
        """Return where the answer to a call is written down as it comes."""
        return self._open.setdefault(call, AnswerSoFar())

    def close(self, call: int) -> AnswerSoFar:
        """Return the answer to a call that has ended as it stands now, whatever comes still."""
        ended, stands = self._open.pop(call, AnswerSoFar()), AnswerSoFar()
        part, stands.earlier = ended.part, list(ended.earlier)
        stands.begin(lambda: part)
        return stands

    @property
    def tokens(self) -> int:
        """The tokens that have come by now, of all open answers together."""
        parts = [one.part for one in list(self._open.values())]
        return sum(part.pieces if part.tokens is None else part.tokens for part in parts)
