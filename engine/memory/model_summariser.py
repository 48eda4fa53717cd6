"""Summaries that a model is asked for, with all that they were built from.

A model gets what the extractive summary tells and the source text, and answers a small closed
form. It may answer badly: then it is asked once more, with the reason; after that the node keeps
what it had.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from backcast.domain.node import kind_of
from backcast.domain.summary import BuiltFrom
from backcast.engine.log.codec import first_problem
from backcast.engine.memory.summariser import Made, NodeFacts, exactly, limit_of
from backcast.engine.models import Completion, Limits, Message, Model
from backcast.engine.models.tokenizers import Tokenizer

VERSION = 1
"Grows when a prompt or a form changes: what older versions wrote is then out of date."
MAX_TEXT = 24_000
"Characters of source text that a model is given of one node, at the most."


class _SummaryForm(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class FunctionSummarizer(_SummaryForm):
    """What a model says of a function, method, class or test."""

    purpose: str
    inputs: str
    outputs: str
    workflow: str
    side_effects: str
    summary: str


class ModuleSummarizer(_SummaryForm):
    """What a model says of a module."""

    purpose: str
    dependencies: tuple[str, ...]
    functions: tuple[str, ...]
    workflow: str
    key_decisions: str
    side_effects: str
    summary: str


class TaskSummarizer(_SummaryForm):
    """What a model says of a task."""

    goal: str
    status: str
    modules: tuple[str, ...]
    success_rate: str
    summary: str


FORMS: Mapping[str, type[_SummaryForm]] = {"task": TaskSummarizer, "module": ModuleSummarizer}
"By kind of node; all others have a `FunctionSummarizer`."


class ModelSummariser:
    """Summaries by a model."""

    derived = False

    def __init__(self, model: Model) -> None:
        self.model = model

    @property
    def id(self) -> str:
        """Name and version, as facts state them."""
        return f"{self.model.id} {VERSION}"

    def summarise(
        self, asked: NodeFacts, limits: Mapping[str, int], tokenizer: Tokenizer
    ) -> Made | str:
        """What the model wrote of a node; or, in words, why it gave nothing that can be used."""
        form = form_of(asked.told.node)
        limit = limit_of(limits, asked.told.node)
        messages = self._messages(asked, limit)
        schema = schema_of(form)
        problem = ""
        for _ in range(2):
            answer = self.model.complete(messages, Limits(4 * limit), schema=schema)
            told, problem = filled(form, answer, limit, tokenizer)
            if told is not None:
                return made_of(asked, told, answer, tokenizer)
            repair = f"That cannot be used: {problem}. Answer again, in the same form."
            messages = [*messages, Message("assistant", answer.text), Message("user", repair)]
        return problem

    def _messages(self, asked: NodeFacts, limit: int) -> list[Message]:
        ask = (
            "You sum up code for a programmer who will not see it. Say only what the text shows."
            f" Answer in JSON. The field summary has at most {limit // 2} words."
        )
        parts = [asked.told.text]
        if asked.history:
            parts.append(f"History:\n{asked.history}")
        if asked.source:
            parts.append(f"Source:\n{asked.source[:MAX_TEXT]}")
        return [Message("system", ask), Message("user", "\n\n".join(parts))]


def form_of(node: str) -> type[_SummaryForm]:
    """The form in which a model says what a node is."""
    return FORMS.get(kind_of(node), FunctionSummarizer)


def schema_of(form: type[_SummaryForm], *, longest: int | None = None) -> dict[str, Any]:
    """A closed JSON schema for a form; `longest` bounds each text, in characters."""
    properties: dict[str, Any] = {}
    one: dict[str, Any] = {"type": "string"} | ({"maxLength": longest} if longest else {})
    for name, field in form.model_fields.items():
        texts = field.annotation is not str
        properties[name] = {"type": "array", "items": one, "maxItems": 40} if texts else one
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def filled(
    form: type[_SummaryForm], answer: Completion, limit: int, tokenizer: Tokenizer
) -> tuple[_SummaryForm | None, str]:
    """The form as it was filled in, or what is wrong with it."""
    try:
        told = form.model_validate(json.loads(answer.text))
    except ValidationError as error:
        return None, first_problem(error)
    except (ValueError, RecursionError) as error:
        return None, f"it is not JSON: {error}"
    text = str(getattr(told, "summary", ""))
    if not text.strip():
        return None, "the field summary is empty"
    if (tokens := tokenizer.count(text)) > limit:
        bound = "" if tokenizer.exact else ", by an upper bound"
        return None, f"the field summary has {tokens} tokens{bound}, at most {limit} are needed"
    return told, ""


def made_of(asked: NodeFacts, form: _SummaryForm, answer: Completion, tokenizer: Tokenizer) -> Made:
    """A summary out of a form that was filled in."""
    fields = form.model_dump()
    text = " ".join(str(fields.pop("summary")).split())
    tokens = exactly(tokenizer, text)
    return Made(text, tokens, _joined(asked.told.built_from, asked.read), fields, answer.text)


def _joined(one: BuiltFrom, other: BuiltFrom) -> BuiltFrom:
    """What two things together were made of."""
    paths = [*one, *(path for path in other if path not in one)]
    return {path: {**one.get(path, {}), **other.get(path, {})} for path in paths}
