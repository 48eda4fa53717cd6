"""The actions by which a model works towards an answer: their form, and how a reply is read.

The form is a closed JSON schema, to which a model is held where it can be; what it says
nevertheless is read as strictly.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from backcast.engine.workflow.refusals import RefusedError

NAMES = 300
"Characters of a node, a path or words."
WORDS = 600
"Characters of a question."
TEXT = 1_500
"Characters of an answer, or of a quote."
SEVERAL = 6
"Questions that are asked, and quotes that are given, at once."
QUOTES, LINE, SENTENCE = 2, 160, 300
"""Quotes, characters of each, and of an answer, to which a model is held that can be: what begins
with quotes so short comes to its text."""


_LOOP = re.compile(r"(\S.{0,79}?)\1{3,}", re.DOTALL)


class _Action(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ListAction(_Action):
    """A look at what is below a path."""

    under: str = Field(max_length=NAMES)


class SearchAction(_Action):
    """A search by words."""

    words: str = Field(max_length=NAMES)


class ReadAction(_Action):
    """A reading of a node, or of some of its lines."""

    node: str = Field(max_length=NAMES)
    first: int = 0
    last: int = 0


class AskAction(_Action):
    """A smaller question."""

    question: str = Field(max_length=WORDS)
    about: str = Field(default="", max_length=NAMES)


class AskManyAction(_Action):
    """Smaller questions that are answered side by side."""

    questions: list[AskAction] = Field(min_length=1, max_length=SEVERAL)


class QuotedText(_Action):
    """A text that an answer rests on."""

    node: str = Field(max_length=NAMES)
    text: str = Field(max_length=TEXT)


class AnswerAction(_Action):
    """The answer."""

    text: str = Field(max_length=TEXT)
    quotes: list[QuotedText] = Field(default=[], max_length=SEVERAL)


ACTIONS: Mapping[str, type[_Action]] = {
    "answer": AnswerAction, "search": SearchAction, "read": ReadAction, "list": ListAction,
    "ask": AskAction, "ask_many": AskManyAction,
}  # fmt: skip
ASKING = ("ask", "ask_many")
"The actions that ask further."


class TakenAction(NamedTuple):
    """An action as a reply states it."""

    tool: str
    action: BaseModel

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments, those that are left out too, in the order of the form."""
        return self.action.model_dump()


def schema_of(allowed: tuple[str, ...], nodes: Sequence[str] = ()) -> Mapping[str, Any]:
    """Return the JSON schema of a reply that takes one of some actions; `nodes` are those that a
    quote may be of, any where none is named."""
    forms = [_form(name, nodes) for name in ACTIONS if name in allowed]
    return forms[0] if len(forms) == 1 else {"anyOf": forms}


def _form(name: str, nodes: Sequence[str]) -> dict[str, Any]:
    # Written out: the schema that pydantic makes names its parts by references.
    text = {"type": "string", "maxLength": NAMES}
    long = {"type": "string", "minLength": 1, "maxLength": WORDS}
    short = {"type": "string", "minLength": 1, "maxLength": SENTENCE}
    line = {"type": "integer"}
    asked = _object({"question": long, "about": text})
    of = {"enum": list(nodes)} if nodes else text
    # A small model that names a node first says its name again as the text.
    quote = _object({"text": {"type": "string", "maxLength": LINE}, "node": of})
    properties: dict[str, dict[str, Any]] = {
        "list": {"under": text},
        "search": {"words": text},
        "read": {"node": text, "first": line, "last": line},
        "ask": asked["properties"],
        "ask_many": {"questions": _list(asked, 1)},
        # The text comes first: small models spend their tokens on what comes first.
        "answer": {"text": short, "quotes": _list(quote, 0, QUOTES)},
    }
    form = _object({"action": {"const": name}, **properties[name]})
    if name == "read":
        form["required"] = ["action", "node"]
    return form


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object", "properties": properties, "required": list(properties),
        "additionalProperties": False,
    }  # fmt: skip


def _list(items: dict[str, Any], least: int, most: int = SEVERAL) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def read_action(reply: str, allowed: tuple[str, ...]) -> TakenAction:
    """Return the action of a reply; `RefusedError` where it states none, or one not allowed now."""
    try:
        stated = json.loads(_unfenced(reply))
        # Half of a character can be written in JSON, and be stored nowhere.
        stated = json.loads(json.dumps(stated, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):
        raise RefusedError("it is not one JSON object") from None
    if not isinstance(stated, dict):
        raise RefusedError("it is not one JSON object")
    name = stated.pop("action", None)
    if name not in allowed:
        raise RefusedError(f"needed an action of {', '.join(allowed)}, found {str(name)[:40]!r}")
    try:
        return TakenAction(name, ACTIONS[name].model_validate(stated))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or name
        raise RefusedError(f"{name}: {where}: {first['msg'].lower()}") from None


def _unfenced(reply: str) -> str:
    """Return a reply without the fence in which a model may wrap its JSON."""
    text = reply.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        return text.partition("\n")[2].removesuffix("```")
    return text


def answer_in(reply: str) -> TakenAction | None:
    """Return the answer of a reply that was cut behind its text; quotes that are whole count.

    >>> answer_in('{"action": "answer", "text": "Five.", "quotes": [{"node": "a').arguments
    {'text': 'Five.', 'quotes': []}
    >>> answer_in('{"action": "answer", "text": "Fi')
    """
    try:
        stated = from_json(_unfenced(reply).encode(errors="replace"), allow_partial=True)
        if stated.pop("action") != "answer":
            return None
        quotes = stated.get("quotes", [])
        whole = [quote for quote in quotes if set(quote) == {"node", "text"}]
        return TakenAction("answer", AnswerAction.model_validate(stated | {"quotes": whole}))
    except (ValueError, KeyError, AttributeError, TypeError):
        return None


def unlooped(text: str) -> str:
    """Return a text up to where it begins to say the same over and over.

    >>> unlooped("It is 1.0.0.0.0.0.0.0"), unlooped("is 10. is 10. is 10. is 10. is 10. is 1")
    ('It is 1.0', 'is 10.')
    """
    loop = _LOOP.search(text)
    return text[: loop.end(1)].rstrip() if loop else text


def words_in(reply: str) -> str:
    """Return what a reply says that states no action: its words, or those of a cut answer.

    >>> words_in('{"action": "answer", "text": "In a.py, si'), words_in("In a.py.")
    ('In a.py, si', 'In a.py.')
    """
    text = " ".join(_unfenced(reply).split())
    if not text.startswith(("{", "[", "`")):
        return text[:WORDS]
    try:
        stated = from_json(text.encode(errors="replace"), allow_partial="trailing-strings")
    except ValueError:
        return ""
    said = stated.get("text") if isinstance(stated, dict) else None
    return said[:WORDS] if isinstance(said, str) else ""
