"""Jinja for chat templates that nobody here has written: sandboxed, and without a clock.

What a template may use is what Hugging Face's own renderer gives it, but for the time: a prompt has
to be built again at any later time, to the byte.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from backcast.domain.errors import InputError, MissingExtraError

LONGEST = 200_000
"Characters of a template."
REPEATED = 1_000_000
"Characters or items that a template may make of one by `*`, and steps of all its ranges."
CLOCK = "strftime_now"
"By this name templates ask for the time."
DAY = (2024, 7, 26)
"The day that each template is shown: the one that Llama's own take where they know none."


class ChatTemplate:
    """A template that is ready to be rendered. `InputError` where it is none."""

    def __init__(self, source: str) -> None:
        self._template = _compiled(source)

    def render(self, messages: list[dict[str, str]], **known: Any) -> str:
        """Return what it makes of messages; raises whatever it raises."""
        steps = [REPEATED]

        def bounded(*ends: int) -> range:
            wanted = range(*ends)
            steps[0] -= len(wanted)
            if steps[0] < 0:
                raise ValueError(f"it counts further than to {REPEATED:,}")
            return wanted

        prompt: str = self._template.render(
            messages=messages, add_generation_prompt=True, raise_exception=_refuse,
            strftime_now=_day, range=bounded, tools=None, tool_choice=None, functions=None,
            function_call=None, **known,
        )  # fmt: skip
        return prompt


@lru_cache(maxsize=32)
def _compiled(source: str) -> Any:
    try:
        from jinja2 import BaseLoader, TemplateError
    except ImportError:
        raise MissingExtraError("to render a model's own chat template", "llama") from None
    if len(source) > LONGEST:
        raise InputError(f"needed a chat template of at most {LONGEST:,} characters")
    environment = _environment()(
        loader=BaseLoader(), trim_blocks=True, lstrip_blocks=True, extensions=_extensions()
    )
    environment.filters["tojson"] = _json
    try:
        return environment.from_string(source)
    except (TemplateError, RecursionError, ValueError, MemoryError, OverflowError) as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"needed a chat template in Jinja: {why}") from None


@lru_cache(maxsize=1)
def _environment() -> Any:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Bounded(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(("*", "**"))

        def call_binop(self, context: Any, operator: str, value: Any, other: Any) -> Any:
            size = _size(value) * _size(other) if operator == "*" else 0
            if operator == "**" or size > REPEATED:
                raise ValueError(f"it makes more of a value by {operator} than {REPEATED:,}")
            return super().call_binop(context, operator, value, other)

    return Bounded


def _size(value: Any) -> int:
    """Return how often a factor repeats the other, or how long it is to be repeated."""
    if isinstance(value, int):
        return abs(value)
    return len(value) if isinstance(value, str | list | tuple) else 1


@lru_cache(maxsize=1)
def _extensions() -> list[Any]:
    from jinja2.ext import Extension, loopcontrols

    class Generation(Extension):
        """Reads over `{% generation %}`, by which training marks what a model is to say."""

        tags = {"generation"}  # noqa: RUF012 (so Jinja has it)

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return [Generation, loopcontrols]


def _refuse(why: object = "") -> None:
    raise ValueError(str(why))


def _day(form: str) -> str:
    from datetime import date

    return date(*DAY).strftime(form)


def _json(value: Any, ensure_ascii: bool = False, **form: Any) -> str:
    known: Mapping[str, Any] = {
        name: form[name] for name in ("indent", "separators", "sort_keys") if name in form
    }
    return json.dumps(value, ensure_ascii=ensure_ascii, **known)
