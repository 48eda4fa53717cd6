"""The closed forms in which a model tells what a run taught, and what a map shall say.

A form is read leniently, so that one bad part costs only itself; what may be said is bounded by the
schema that a model is held to, where it can be, and again where an answer is taken.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from backcast.domain.context_map import SECTIONS, TAGS

CANDIDATES, EDITS = 5, 8
"That one answer may hold."
VALUE, REASON, THOUGHT = 300, 100, 300
"Characters of an item, of why it helps, and of what a model thinks of the run."
ABOUT = 4
"Nodes that a candidate may name."
FAR = ("high", "medium", "low")
"How far something transfers; what is `low` is not kept."


class _MapForm(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class ItemForm(_MapForm):
    """Something that a model would have on the map."""

    section: str
    value: str
    transferability: str = ""
    rationale: str = ""
    method: str = ""
    "How a result was found; only results have one."
    about: tuple[str, ...] = ()
    "Nodes of the run."


class RunForm(_MapForm):
    """What a model says of a run."""

    diagnosis: str
    tags: dict[str, str]
    candidates: tuple[ItemForm, ...]


class Edit(_MapForm):
    """A change that a model would make."""

    operation: str
    item: str = ""
    candidate: int | None = None
    "Its number, counted from 1."
    text: str = ""


class Edits(_MapForm):
    """What a model would change."""

    reasoning: str = ""
    edits: tuple[Edit, ...]


def told_schema(items: Sequence[str], nodes: Sequence[str]) -> dict[str, Any]:
    """The closed JSON schema of `Told`, for these items and nodes and no others."""
    candidate = {
        "section": {"enum": list(SECTIONS)},
        "value": _text(VALUE),
        "transferability": {"enum": list(FAR)},
        "rationale": _text(REASON),
        "method": _text(REASON),
        "about": _list({"enum": list(nodes)} if nodes else _text(1), ABOUT if nodes else 0),
    }
    return _object(
        {
            "diagnosis": _text(THOUGHT),
            "tags": _object({item: {"enum": list(TAGS)} for item in items}),
            "candidates": _list(_object(candidate), CANDIDATES),
        }
    )


def edits_schema(items: Sequence[str], candidates: int) -> dict[str, Any]:
    """The closed JSON schema of `Edits`, for these items and so many candidates."""
    number = {"candidate": {"enum": list(range(1, candidates + 1))}}
    item, text = {"item": {"enum": list(items)}}, {"text": _text(VALUE)}
    either = [_operation("ADD", number | text)] if candidates else []
    either += [_operation("REPLACE", item | number | text)] if candidates and items else []
    either += [_operation("DELETE", item)] if items else []
    edits = _list({"anyOf": either} if either else _text(1), EDITS if either else 0)
    return _object({"reasoning": _text(THOUGHT), "edits": edits})


def _operation(name: str, rest: Mapping[str, Any]) -> dict[str, Any]:
    return _object({"operation": {"const": name}, **rest})


def _text(most: int) -> dict[str, Any]:
    return {"type": "string", "maxLength": most}


def _list(each: Mapping[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": dict(each), "maxItems": most}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
