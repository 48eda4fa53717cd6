"""Chat templates, one table: in Jinja for llama.cpp, and as the pieces by which tokens are counted.

A model file brings its own; these are for files that bring none, or another than was counted.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from backcast.domain.errors import InputError
from backcast.engine.models import Message

MISTRAL = """\
{{ bos_token }}{% set first = namespace(text='') -%}
{% for message in messages if message.role == 'system' -%}
{% set first.text = first.text + message.content + '\\n\\n' -%}
{% endfor -%}
{% for message in messages -%}
{% if message.role == 'user' -%}
[INST]{{ first.text + message.content }}[/INST]{% set first.text = '' -%}
{% elif message.role == 'assistant' -%}
{{ message.content + eos_token }}{% endif -%}
{% endfor -%}
"""
"It takes no system role: that text goes into the first user turn."

CHATML = """\
{% for message in messages -%}
<|im_start|>{{ message.role + '\\n' + message.content }}<|im_end|>{{ '\\n' -}}
{% endfor -%}
{% if add_generation_prompt -%}
<|im_start|>assistant{{ '\\n' -}}
{% if enable_thinking is defined and not enable_thinking -%}
<think>{{ '\\n\\n' }}</think>{{ '\\n\\n' -}}
{% endif -%}
{% endif -%}
"""
"With the empty thought by which Qwen3 is told not to think."

TEMPLATES = {"mistral": MISTRAL, "chatml": CHATML, "qwen3": CHATML}
"""Jinja by the names that profiles have for it; whether a model thinks is asked anew each time.
qwen3 is chatml that ends with the empty thought of a model that shall not think."""


class PromptPiece(NamedTuple):
    """A part of a rendered prompt."""

    text: str
    control: bool = False
    "Whether it is one control token of the template."


UNTHOUGHT = (
    PromptPiece("<think>", True), PromptPiece("\n\n"),
    PromptPiece("</think>", True), PromptPiece("\n\n"),
)  # fmt: skip
"An empty thought, after which a model that thinks does not."


def pieces(template: str, messages: Sequence[tuple[str, str]]) -> list[PromptPiece]:
    """Return the prompt as a chat template renders it, up to where the answer begins.

    The template is a name, or a model's own as a log holds it: see `backcast.engine.models.chat`.
    """
    if template in ("chatml", "qwen3"):
        prompt = []
        for role, text in messages:
            prompt += [PromptPiece("<|im_start|>", True), PromptPiece(f"{role}\n{text}")]
            prompt += [PromptPiece("<|im_end|>", True), PromptPiece("\n")]
        prompt += [PromptPiece("<|im_start|>", True), PromptPiece("assistant\n")]
        return prompt if template == "chatml" else [*prompt, *UNTHOUGHT]
    if template == "mistral":
        # It takes no system role: that text goes into the first user turn.
        system = "".join(f"{text}\n\n" for role, text in messages if role == "system")
        prompt = [PromptPiece("<s>", True)]
        for role, text in messages:
            if role == "user":
                prompt += [
                    PromptPiece("[INST]", True),
                    PromptPiece(system + text),
                    PromptPiece("[/INST]", True),
                ]
                system = ""
            elif role == "assistant":
                prompt += [PromptPiece(text), PromptPiece("</s>", True)]
        return prompt
    if template.startswith("{"):
        from backcast.engine.models.chat import pieces_of

        return pieces_of(template, messages)
    raise InputError(f"needed a chat template of {', '.join(TEMPLATES)}, found {template[:80]!r}")


def digest_of(prompt: Sequence[PromptPiece]) -> str:
    """SHA-256 of a rendered prompt, in hex."""
    # Control tokens and text stay apart, so that no text can pose as a token.
    text = "".join(f"{piece.control:d}{len(piece.text)}:{piece.text}" for piece in prompt)
    return sha256(text.encode(errors="surrogatepass")).hexdigest()


def merged(messages: Sequence[Message]) -> list[Message]:
    r"""Return messages without a system role: its text begins the first user turn.

    >>> merged([Message("system", "Be brief."), Message("user", "Why?")])
    [Message(role='user', content='Be brief.\n\nWhy?')]
    """
    system = "".join(f"{text}\n\n" for role, text in messages if role == "system")
    turns = [Message(role, text) for role, text in messages if role != "system"]
    for place, (role, text) in enumerate(turns):
        if role == "user":
            turns[place] = Message(role, system + text)
            return turns
    return [Message("user", system.rstrip()), *turns] if system else turns
