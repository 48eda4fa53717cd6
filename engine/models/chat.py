"""Messages as a chat template in Jinja renders them, control tokens apart from text.

A template that a model brings is recorded whole, with the tokens that it uses: of this text alone
prompts are counted, and built again without the model.
"""

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from backcast.domain.errors import InputError, ModelError
from backcast.engine.models import Message
from backcast.engine.models.jinja import ChatTemplate
from backcast.engine.models.templates import PromptPiece, merged

PROBE = (Message("system", "You are S."), Message("user", "U"))
SHAPES = (
    PROBE,
    (Message("system", ""), Message("user", "U")),
    (Message("system", "\n S \n"), Message("user", "\n\t U {{ x }}\n\n")),
)
"Messages of the roles that prompts have, in whose blanks templates differ."
TURNS = (*PROBE, Message("assistant", "A"), Message("user", "V"))
PLAIN = "{% for message in messages %}{{ message.content + '\\n\\n' }}{% endfor %}"
"For a base model, which was trained on no roles: the texts, one after the other."
_MARK = '{"begins":'


class RenderedRun(NamedTuple):
    """A part of a rendered prompt."""

    text: str
    control: bool = False
    "Whether it is one control token of the template."


class OwnTemplate(NamedTuple):
    """A model's own chat template, with all of the model that it takes to render it."""

    source: str
    "In Jinja."
    bos: str = ""
    eos: str = ""
    controls: tuple[str, ...] = ()
    "The control tokens that it makes."
    begins: str = ""
    "The token that the tokenizer puts in front, where the template does not."
    thinks: bool = False
    "Whether the model may think before it answers."

    @property
    def text(self) -> str:
        """All of it in JSON: what profiles and logs hold."""
        return json.dumps(dict(sorted(self._asdict().items())), ensure_ascii=False)


def is_own(template: str) -> bool:
    """Tell whether a profile's template is a model's own, and no name."""
    return template.startswith(_MARK)


@lru_cache(maxsize=32)
def own_of(text: str) -> OwnTemplate:
    """Return the template that a profile or a log holds."""
    try:
        found = OwnTemplate(**json.loads(text))
        texts = (found.source, found.bos, found.eos, found.begins, *found.controls)
        if not all(isinstance(one, str) for one in texts):
            raise TypeError("texts")
        return found._replace(controls=tuple(found.controls))
    except (ValueError, TypeError) as error:
        raise InputError(f"needed a recorded chat template, found {str(error)[:80]}") from None


def chosen(template: OwnTemplate, controls: Iterable[str]) -> OwnTemplate:
    """Return a template with those of the control tokens that it can make."""
    shown = renders(template)
    used = sorted({one for one in controls if one and one in shown})
    return template._replace(controls=tuple(used))


def renders(template: OwnTemplate) -> str:
    """Return what a template holds and makes of some messages; `InputError` for a broken one."""
    shown = [template.source, template.bos, template.eos, template.begins]
    chat = Chat(template.source, template.bos, template.eos, ())
    for messages in (*SHAPES, TURNS):
        for thinks in (False, True):
            with suppress(ModelError):
                shown += [run.text for run in chat.runs(messages, thinks)]
    return " ".join(shown)


def thinking(template: str) -> str:
    """Return the template of a profile by which a model may think; the same where that is all one.

    >>> thinking("qwen3"), thinking("mistral")
    ('chatml', 'mistral')
    """
    if not is_own(template):
        return "chatml" if template == "qwen3" else template
    own = own_of(template)
    open_ended = own._replace(thinks=True).text
    same = pieces_of(template, PROBE) == pieces_of(open_ended, PROBE)
    return template if same else open_ended


def pieces_of(template: str, messages: Sequence[tuple[str, str]]) -> list[PromptPiece]:
    """Return the prompt as a recorded template renders it; `InputError` for what it refuses."""
    own = own_of(template)
    try:
        runs = _chat(own).runs([Message(*one) for one in messages], own.thinks)
    except ModelError as error:
        raise InputError(str(error)) from None
    found = [PromptPiece(run.text, run.control) for run in runs]
    begun = not own.begins or found[:1] == [PromptPiece(own.begins, True)]
    return found if begun else [PromptPiece(own.begins, True), *found]


@lru_cache(maxsize=32)
def _chat(own: OwnTemplate) -> "Chat":
    return Chat(own.source, own.bos, own.eos, own.controls)


class Chat:
    """A chat template. What messages hold never becomes a control token."""

    def __init__(self, template: str, bos: str, eos: str, controls: Iterable[str]) -> None:
        """`InputError` where it is none, or takes no prompt even without a system role."""
        self._template, self._ends = ChatTemplate(template), {"bos_token": bos, "eos_token": eos}
        longest = sorted(filter(None, controls), key=lambda text: (-len(text), text))
        controls = "|".join(map(re.escape, longest)) or r"(?!)"
        self._split = re.compile(f"({controls})").split
        self._guard = re.compile(f"(?s)(?={controls})(.)").sub
        self.merges = not self._takes_system()
        "Whether the system's text begins the first user turn, as the template takes no other."
        self._try()

    def runs(self, messages: Sequence[Message], thinking: bool = False) -> list[RenderedRun]:
        """Return the prompt up to where the answer begins; `ModelError` for what it refuses."""
        accepted = merged(messages) if self.merges else list(messages)
        mark = _unused("".join(message.content for message in accepted))
        guarded = [Message(one.role, self._guard(rf"\1{mark}", one.content)) for one in accepted]
        try:
            prompt = self._prompt(guarded, thinking)
        except Exception as error:
            raise ModelError(
                f"its chat template takes no such messages: {_line(error)}", "refused"
            ) from None
        parts = enumerate(self._split(prompt))
        runs = [RenderedRun(text.replace(mark, ""), bool(number % 2)) for number, text in parts]
        return [run for run in runs if run.text]

    def _prompt(self, messages: Sequence[Message], thinking: bool) -> str:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        return self._template.render(turns, enable_thinking=thinking, **self._ends)

    def _takes_system(self) -> bool:
        try:
            return PROBE[0].content in self._prompt(PROBE, False)
        except Exception:  # Mistral's raises one
            return False

    def _try(self) -> None:
        """Raise `InputError` where a prompt cannot be rendered, or would not be in it."""
        text = "Write a function."
        try:
            shown = text in self._prompt([Message("user", text)], False)
        except Exception as error:  # what a template raises is its own matter
            raise InputError(
                f"needed a chat template that takes a user's message, found one that refuses it:"
                f" {_line(error)}"
            ) from None
        if not shown:
            raise InputError(
                "needed a chat template that shows a user's message, found one without"
            )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _unused(text: str) -> str:
    """Return a character of none of the messages, that no template means anything by."""
    return next(mark for mark in map(chr, range(0xE000, 0xF900)) if mark not in text)
