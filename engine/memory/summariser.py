"""Asks a model for summaries, and records what it wrote, with all that it was built from.

A model gets what the extractive summary tells and the source text, and answers a small closed
form. It may answer badly: then it is asked once more, with the reason; after that the node keeps
what it had.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from domain.events import SummaryWritten
from domain.names import Reader
from domain.node import kind_of, name_of, path_of
from domain.outline import SOURCE, Facet
from domain.summary import LIMITS, Summary, built_from
from engine.context.tokenizers import Tokenizer
from engine.log.codec import first_problem
from engine.models import Completion, Message, Model

VERSION = 1
"Grows when a prompt or a form changes: what older versions wrote is then out of date."
MAX_TEXT = 24_000
"Characters of source text that a model is given of one node, at the most."


class _Form(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class FunctionSummarizer(_Form):
    """What a model says of a function, method, class or test."""

    purpose: str
    inputs: str
    outputs: str
    workflow: str
    side_effects: str
    summary: str


class ModuleSummarizer(_Form):
    """What a model says of a module."""

    purpose: str
    dependencies: tuple[str, ...]
    functions: tuple[str, ...]
    workflow: str
    key_decisions: str
    side_effects: str
    summary: str


class TaskSummarizer(_Form):
    """What a model says of a task."""

    goal: str
    status: str
    modules: tuple[str, ...]
    success_rate: str
    summary: str


FORMS: Mapping[str, type[_Form]] = {"task": TaskSummarizer, "module": ModuleSummarizer}
"By kind of node; all others have a `FunctionSummarizer`."


class Options(NamedTuple):
    """What a prompt may hold beside what is needed."""

    example: bool = False
    "A worked example."
    reasoning: bool = False
    "A field to think in, before the others."


class ModelSummariser:
    """Summaries by a model."""

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        limits: Mapping[str, int] = LIMITS,
        options: Options = Options(),  # noqa: B008  # a value
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.limits, self.options = limits, options

    @property
    def id(self) -> str:
        """Name and version, as facts state them."""
        return f"{self.model.id} {VERSION}"

    def summarise(self, told: Summary, source: str, history: str = "") -> SummaryWritten | str:
        """The fact of a summary; or, in words, why the model gave none.

        `told` is the extractive summary, `source` the text of the node.
        """
        kind = kind_of(told.node)
        form = FORMS.get(kind, FunctionSummarizer)
        limit = self.limits.get(kind, LIMITS["function"])
        messages = self._messages(told, source, history, limit)
        schema = self._schema(form)
        problem = ""
        for _ in range(2):
            answer = self.model.complete(messages, max_tokens=4 * limit, schema=schema)
            filled, problem = self._filled(form, answer, limit)
            if filled is not None:
                return self._fact(told, filled, answer)
            repair = f"That cannot be used: {problem}. Answer again, in the same form."
            messages = [*messages, Message("assistant", answer.text), Message("user", repair)]
        return problem

    def _messages(self, told: Summary, source: str, history: str, limit: int) -> list[Message]:
        ask = (
            "You sum up code for a programmer who will not see it. Say only what the text shows."
            f" Answer in JSON. The field summary has at most {limit // 2} words."
        )
        if self.options.example:
            ask += f"\n\nAn example of the form:\n{_EXAMPLES.get(kind_of(told.node), _EXAMPLE)}"
        parts = [told.text]
        if history:
            parts.append(f"History:\n{history}")
        if source:
            parts.append(f"Source:\n{source[:MAX_TEXT]}")
        return [Message("system", ask), Message("user", "\n\n".join(parts))]

    def _schema(self, form: type[_Form]) -> dict[str, Any]:
        """A closed JSON schema for a form."""
        properties: dict[str, Any] = {"reasoning": {"type": "string"}}
        for name, field in form.model_fields.items():
            texts = field.annotation is not str
            one = {"type": "string"}
            properties[name] = {"type": "array", "items": one, "maxItems": 40} if texts else one
        if not self.options.reasoning:
            del properties["reasoning"]
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def _filled(
        self, form: type[_Form], answer: Completion, limit: int
    ) -> tuple[_Form | None, str]:
        """The form as it was filled in, or what is wrong with it."""
        try:
            filled = form.model_validate(json.loads(answer.text))
        except ValidationError as error:
            return None, first_problem(error)
        except (ValueError, RecursionError) as error:
            return None, f"it is not JSON: {error}"
        text = str(getattr(filled, "summary", ""))
        if not text.strip():
            return None, "the field summary is empty"
        if (tokens := self.tokenizer.count(text)) > limit:
            bound = "" if self.tokenizer.exact else ", by an upper bound"
            return None, f"the field summary has {tokens} tokens{bound}, at most {limit} are needed"
        return filled, ""

    def _fact(self, told: Summary, filled: _Form, answer: Completion) -> SummaryWritten:
        fields = filled.model_dump()
        text = " ".join(str(fields.pop("summary")).split())
        return SummaryWritten(
            node=told.node,
            text=text,
            fields=fields,
            tokens=self.tokenizer.count(text) if self.tokenizer.exact else None,
            summariser=self.id,
            built_from={path: dict(keys) for path, keys in told.built_from.items()},
        )


def read_whole(modules: Mapping[str, Mapping[str, Facet]], told: Summary) -> Summary:
    """An extractive summary as what is shown together with the whole source text of its node.

    It is then built from that too.
    """
    reader = Reader(modules)
    path, name = path_of(told.node), name_of(told.node)
    reader.facet(path, f"body:{name}" if name else SOURCE)
    more = {**told.built_from.get(path, {}), **built_from(reader)[path]}
    return told._replace(built_from={**told.built_from, path: more})


def history_of(iterations: Sequence[tuple[int, float | None]]) -> str:
    """The iterations of a module as a model is told of them."""
    return "\n".join(
        f"iteration {number}" + ("" if score is None else f": score {score:g}")
        for number, score in iterations
    )


_EXAMPLE = json.dumps(
    {
        "purpose": "Adds the prices of the things in a cart.",
        "inputs": "items: a list of things with a price",
        "outputs": "the sum, a Decimal",
        "workflow": "sums the prices, then takes off what the voucher allows",
        "side_effects": "none",
        "summary": "Adds the prices of the things in a cart and takes off the voucher.",
    }
)
_EXAMPLES = {
    "module": json.dumps(
        {
            "purpose": "The cart of a shop.",
            "dependencies": ["decimal", "vouchers.py"],
            "functions": ["total", "add"],
            "workflow": "things are added, then the total is asked for",
            "key_decisions": "prices are Decimal, never float",
            "side_effects": "none",
            "summary": "The cart of a shop: things are added, and totalled with vouchers.",
        }
    ),
    "task": json.dumps(
        {
            "goal": "A cart for the shop.",
            "status": "complete",
            "modules": ["cart.py"],
            "success_rate": "100% (4/4 tests passed)",
            "summary": "The shop has a cart with vouchers; all tests pass.",
        }
    ),
}
