"""Asks a model to fill in a form, and once more where the answer cannot be used."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from backcast.domain.context_map import MapAnswered
from backcast.domain.problems import first_problem
from backcast.engine.models import Call, Limits, Message, Model

LONGEST = 2_000_000
"Characters of an answer that are read."
SHOWN = 2_000
"Characters of an unusable answer that the model is shown again."
TRIES = 2


Form = TypeVar("Form", bound=BaseModel)


class RoleAnswer(NamedTuple, Generic[Form]):
    """A completed form, or the problem of the last answer."""

    form: Form | None
    answers: tuple[MapAnswered, ...]
    problem: str = ""
    "The problem of the last answer; empty where the form is filled in."


def fill_in(
    model: Model,
    messages: Sequence[Message],
    limits: Limits,
    form: type[Form],
    schema: Mapping[str, Any],
    call: Call,
) -> RoleAnswer[Form]:
    """Return a form as a model fills it in; `ModelError` where it gives no answer at all."""
    answers, problem = list[MapAnswered](), ""
    for attempt in range(1, TRIES + 1):
        this = call._replace(attempt=attempt)
        answer = model.complete(messages, limits, schema=schema, call=this)
        cost = answer.prompt_tokens, answer.tokens, answer.seconds
        answers.append(MapAnswered(call.kind, answer.text, *cost))
        try:
            return RoleAnswer(form.model_validate(_object_in(answer.text)), tuple(answers))
        except ValidationError as error:
            problem = first_problem(error)
        except (ValueError, RecursionError) as error:
            problem = str(error)
        problem += ", and it was cut by its limit" if answer.finish == "length" else ""
        repair = f"That cannot be used: {problem}. Answer again, in the same form."
        shown = Message("assistant", answer.text[:SHOWN])
        messages = [*messages, shown, Message("user", repair)]
    return RoleAnswer(None, tuple(answers), problem)


def _object_in(text: str) -> object:
    """Return the JSON object of an answer, whatever surrounds it."""
    if len(text) > LONGEST:
        raise ValueError(f"needed at most {LONGEST:,} characters, found {len(text):,}")
    begin, end = text.find("{"), text.rfind("}")
    if begin < 0 or end < begin:
        raise ValueError("needed one JSON object, found none")
    try:
        return json.loads(text[begin : end + 1])
    except RecursionError:
        raise ValueError("needed JSON of few levels, found too many") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None
