"""Asks a model for summaries, and records their sources with them.

A model gets the extractive summary and the source text, and fills in a small closed form. After a
bad answer, one that the code contradicts among them, it is asked once more, with the reason; after
a second one the node keeps its summary. A field that the code contradicts is left out, and told.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from backcast.domain.contradictions import contradictions
from backcast.domain.node import kind_of
from backcast.domain.problems import first_problem
from backcast.domain.summary import BuiltFrom
from backcast.engine.memory.summariser import Made, NodeFacts, exactly, limit_of
from backcast.engine.models import Completion, Limits, Message, Model
from backcast.engine.models.tokenizers import Tokenizer

VERSION = 1
"Grows with each change of a prompt or form: summaries by older versions are then stale."
MAX_TEXT = 24_000
"Most characters of a node's source text in a prompt."


class _SummaryForm(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class FunctionSummarizer(_SummaryForm):
    """A model's form for a function, method, class or test."""

    purpose: str
    inputs: str
    outputs: str
    workflow: str
    side_effects: str
    summary: str


class ModuleSummarizer(_SummaryForm):
    """A model's form for a module."""

    purpose: str
    dependencies: tuple[str, ...]
    functions: tuple[str, ...]
    workflow: str
    key_decisions: str
    side_effects: str
    summary: str


class TaskSummarizer(_SummaryForm):
    """A model's form for a task."""

    goal: str
    status: str
    modules: tuple[str, ...]
    success_rate: str
    summary: str


FORMS: Mapping[str, type[_SummaryForm]] = {"task": TaskSummarizer, "module": ModuleSummarizer}
"Forms by kind of node; all other kinds have a `FunctionSummarizer`."


class ModelSummariser:
    """A summariser that asks a model."""

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
        """Return the model's summary of a node, or the reason why there is none, in words."""
        form = form_of(asked.outlined.node)
        limit = limit_of(limits, asked.outlined.node)
        messages = self._messages(asked, limit)
        schema = schema_of(form)
        problem = ""
        for _ in range(2):
            answer = self.model.complete(messages, Limits(4 * limit), schema=schema)
            completed, problem = filled(form, answer, limit, tokenizer)
            problem = problem or contradicted(asked, completed)
            if completed is not None and not problem:
                return made_of(asked, completed, answer, tokenizer)
            repair = f"That cannot be used: {problem}. Answer again, in the same form."
            messages = [*messages, Message("assistant", answer.text), Message("user", repair)]
        return problem

    def _messages(self, asked: NodeFacts, limit: int) -> list[Message]:
        ask = (
            "You sum up code for a programmer who will not see it. Say only what the text shows."
            f" Answer in JSON. The field summary has at most {limit // 2} words."
        )
        parts = [asked.outlined.text]
        if asked.history:
            parts.append(f"History:\n{asked.history}")
        if asked.source:
            parts.append(f"Source:\n{asked.source[:MAX_TEXT]}")
        return [Message("system", ask), Message("user", "\n\n".join(parts))]


def form_of(node: str) -> type[_SummaryForm]:
    """Return the form for a node."""
    return FORMS.get(kind_of(node), FunctionSummarizer)


def schema_of(form: type[_SummaryForm], *, longest: int | None = None) -> dict[str, Any]:
    """Return a closed JSON schema for a form; `longest` bounds each text, in characters."""
    properties: dict[str, Any] = {}
    text: dict[str, Any] = {"type": "string"} | ({"maxLength": longest} if longest else {})
    for name, field in form.model_fields.items():
        listed = field.annotation is not str
        properties[name] = {"type": "array", "items": text, "maxItems": 40} if listed else text
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def filled(
    form: type[_SummaryForm], answer: Completion, limit: int, tokenizer: Tokenizer
) -> tuple[_SummaryForm | None, str]:
    """Return the completed form and no problem, or None and the problem."""
    try:
        completed = form.model_validate(json.loads(answer.text))
    except ValidationError as error:
        return None, first_problem(error)
    except (ValueError, RecursionError) as error:
        return None, f"it is not JSON: {error}"
    text = str(getattr(completed, "summary", ""))
    if not text.strip():
        return None, "the field summary is empty"
    if (tokens := tokenizer.count(text)) > limit:
        bound = "" if tokenizer.exact else ", by an upper bound"
        return None, f"the field summary has {tokens} tokens{bound}, at most {limit} are needed"
    return completed, ""


def contradicted(asked: NodeFacts, form: _SummaryForm | None) -> str:
    """Return in which way the code contradicts the summary of a form; empty where it does not."""
    summary = str(getattr(form, "summary", ""))
    found = contradictions(asked.outlined, asked.source, {"summary": summary}, asked.raised)
    return f"the field summary {found[0].reason}" if found else ""


def made_of(asked: NodeFacts, form: _SummaryForm, answer: Completion, tokenizer: Tokenizer) -> Made:
    """Return the summary that a completed form holds."""
    fields = form.model_dump()
    text = " ".join(str(fields.pop("summary")).split())
    tokens, sources = exactly(tokenizer, text), _joined(asked.outlined.built_from, asked.read)
    refused = contradictions(asked.outlined, asked.source, fields, asked.raised)
    held = {name: fields[name] for name in fields if name not in {one.field for one in refused}}
    reasons = tuple(f"the field {one.field} {one.reason}" for one in refused)
    return Made(text, tokens, sources, held, answer.text, refused=reasons)


def _joined(first: BuiltFrom, second: BuiltFrom) -> BuiltFrom:
    """Return the sources of two things together."""
    paths = dict.fromkeys((*first, *second))
    return {path: {**first.get(path, {}), **second.get(path, {})} for path in paths}
