"""The closed forms of a model's answers about a run and about a map.

A form is parsed leniently, so that one bad part costs only itself. A schema bounds its parts where
a model can be held to one, and the code that takes an answer bounds them again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from backcast.domain.context_map import SECTIONS, TAGS

CANDIDATES, EDITS = 5, 8
"Most candidates and edits in one answer."
VALUE, REASON, THOUGHT = 300, 100, 300
"Characters of an item, of a reason, and of a diagnosis."
ABOUT = 4
"Nodes that a candidate may name."
FAR = ("high", "medium", "low")
"Degrees of transferability; candidates with `low` are dropped."


class _MapForm(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class ItemForm(_MapForm):
    """A model's candidate for the map."""

    section: str
    value: str
    transferability: str = ""
    rationale: str = ""
    method: str = ""
    "The method that found a result; only results have one."
    about: tuple[str, ...] = ()
    "Nodes that it is about."


class RunForm(_MapForm):
    """A model's judgement of a run."""

    diagnosis: str
    tags: dict[str, str]
    candidates: tuple[ItemForm, ...]


class Edit(_MapForm):
    """An edit that a model proposes."""

    operation: str
    item: str = ""
    candidate: int | None = None
    "The candidate's number, counted from 1."
    text: str = ""


class Edits(_MapForm):
    """A model's proposed edits of a map."""

    reasoning: str = ""
    edits: tuple[Edit, ...]


def run_schema(items: Sequence[str], nodes: Sequence[str]) -> dict[str, Any]:
    """Return the closed JSON schema of `RunForm`, for these items and nodes only."""
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
    """Return the closed JSON schema of `Edits`, for these items and a number of candidates."""
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
