"""Messages as a chat template in Jinja renders them, control tokens apart from text."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from backcast.domain.errors import InputError, ModelError
from backcast.engine.models import Message
from backcast.engine.models.templates import merged

PROBE = (Message("system", "You are S."), Message("user", "U"))


class RenderedRun(NamedTuple):
    """A part of a rendered prompt."""

    text: str
    control: bool = False
    "Whether it is one control token of the template."


class Chat:
    """A chat template. What messages hold never becomes a control token."""

    def __init__(self, template: str, bos: str, eos: str, controls: Iterable[str]) -> None:
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        try:
            self._render: Any = Jinja2ChatFormatter(template, eos_token=eos, bos_token=bos)
        except Exception as error:  # Jinja's own, or of what a template calls
            raise InputError(f"needed a chat template in Jinja: {error}") from None
        longest = sorted(filter(None, controls), key=lambda text: (-len(text), text))
        controls = "|".join(map(re.escape, longest)) or r"(?!)"
        self._split = re.compile(f"({controls})").split
        self._guard = re.compile(f"(?s)(?={controls})(.)").sub
        self._system = self._takes_system()

    def runs(self, messages: Sequence[Message], thinking: bool = False) -> list[RenderedRun]:
        """Return the prompt up to where the answer begins; `ModelError` for what it refuses."""
        accepted = list(messages) if self._system else merged(messages)
        mark = _unused("".join(message.content for message in accepted))
        guarded = [Message(one.role, self._guard(rf"\1{mark}", one.content)) for one in accepted]
        try:
            prompt = self._prompt(guarded, thinking)
        except Exception as error:
            raise ModelError(
                f"its chat template takes no such messages: {error}", "refused"
            ) from None
        parts = enumerate(self._split(prompt))
        runs = [RenderedRun(text.replace(mark, ""), bool(number % 2)) for number, text in parts]
        return [run for run in runs if run.text]

    def _prompt(self, messages: Sequence[Message], thinking: bool) -> str:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        prompt: str = self._render(messages=turns, enable_thinking=thinking).prompt
        return prompt

    def _takes_system(self) -> bool:
        try:
            return PROBE[0].content in self._prompt(PROBE, False)
        except Exception:  # Mistral's raises one
            return False


def _unused(text: str) -> str:
    """Return a character of none of the messages, that no template means anything by."""
    return next(mark for mark in map(chr, range(0xE000, 0xF900)) if mark not in text)
