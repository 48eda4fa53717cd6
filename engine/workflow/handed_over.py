"""What a program hands over to be recorded: each value that is not what is needed is one line."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from operator import index
from typing import Any, NoReturn, SupportsIndex

from pydantic_core import from_json, to_json

from backcast.domain.errors import InputError
from backcast.domain.events import CheckFailure, PlannedModule
from backcast.engine.workflow.sandbox.box import safe_path

MOST = 2**53
"The largest number that JSON holds everywhere."


def text(what: str, value: object, *, empty: bool = True) -> str:
    """Return a text; `InputError` for anything else, and for an empty one unless `empty`."""
    if not isinstance(value, str):
        _refuse(what, "a text", value)
    if not (empty or value.strip()):
        raise InputError(f"{what}: needed a text that is not empty, found {value!r}")
    return value


def texts(what: str, values: object) -> tuple[str, ...]:
    """Return a list of texts; `InputError` for one text alone, which is no list of letters."""
    return tuple(text(what, value) for value in _several(what, "a list of texts", values))


def whole(what: str, value: object) -> int:
    """Return a whole number from 0, or whether something is so as 0 or 1."""
    number = index(value) if isinstance(value, SupportsIndex) else -1
    if not 0 <= number <= MOST:
        _refuse(what, "a whole number from 0", value)
    return number


def whole_or_none(what: str, value: object) -> int | None:
    """Return a whole number from 0, or None where it is not known."""
    return None if value is None else whole(what, value)


def seconds(what: str, value: object) -> float:
    """Return a finite number of seconds from 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(what, "seconds as a number", value)
    if not (isfinite(value) and value >= 0):
        _refuse(what, "seconds from 0", value)
    return float(value)


def files(what: str, values: object) -> dict[str, str]:
    """Return texts by their paths."""
    if not isinstance(values, Mapping):
        _refuse(what, "texts by path, such as {'test_a.py': '...'}", values)
    return {safe_path(path): text(f"{what}: {path}", body) for path, body in values.items()}


def planned(what: str, values: object) -> list[dict[str, Any]]:
    """Return modules of a plan as they are recorded, each with a path, and no path twice."""
    known, found = PlannedModule.model_fields, dict[str, dict[str, Any]]()
    for value in _several(what, "a list of modules", values):
        plan = value.model_dump() if isinstance(value, PlannedModule) else value
        if not isinstance(plan, Mapping):
            _refuse(what, f"modules with {', '.join(known)}", value)
        for key in plan:
            if key not in known:
                raise InputError(f"{what}: needed modules with {', '.join(known)}, found {key!r}")
        path = safe_path(text(f"{what}: path", plan.get("path")))
        if path in found:
            raise InputError(f"{what}: needed each path once, found {path!r} twice")
        found[path] = {**plan} | {
            name: [safe_path(one) for one in texts(f"{what}: {path}: {name}", plan[name])]
            for name in ("dependencies", "tests")
            if name in plan
        }
        text(f"{what}: {path}: purpose", plan.get("purpose", ""))
    return list(found.values())


def failures(what: str, values: object) -> tuple[CheckFailure, ...]:
    """Return failures of checks: `CheckFailure` as they are, and pairs of a name and a message."""
    needed = "a pair of a name and a message, or a CheckFailure"
    found = list[CheckFailure]()
    for value in _several(what, "a list of failures", values):
        if isinstance(value, CheckFailure):
            found.append(value)
            continue
        if not isinstance(value, tuple | list) or len(value) != 2:
            _refuse(what, needed, value)
        name = text(f"{what}: name", value[0], empty=False)
        found.append(
            CheckFailure(name=name, message=text(f"{what}: message", value[1]), kind="failure")
        )
    return tuple(found)


def plain(what: str, value: object) -> object:
    """Return what JSON can hold, as JSON gives it back."""
    try:
        return from_json(to_json(value))
    except (ValueError, TypeError) as error:
        raise InputError(f"{what}: needed what JSON can hold: {error}") from None


def _several(what: str, needed: str, values: object) -> Sequence[object]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        _refuse(what, needed, values)
    return list(values)


def _refuse(what: str, needed: str, value: object) -> NoReturn:
    raise InputError(f"{what}: needed {needed}, found {type(value).__name__} {value!r:.40}")
