"""States as JSON: named tuples and tuples as lists, persistent maps as sorted lists of pairs.

>>> from backcast.projections import progress
>>> load(progress.State, dump(progress.initial)) == progress.initial
True
"""

from collections.abc import Callable
from datetime import datetime
from functools import cache
from operator import itemgetter
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from immutables import Map
from pydantic_core import from_json, to_json

Builder = Callable[[Any], Any]


def dump(state: Any) -> bytes:
    """Return a state as JSON, the same bytes for equal states."""
    return to_json(state, fallback=_sorted_pairs)


def load(kind: Any, body: bytes) -> Any:
    """Return the state of a type that was dumped."""
    value = from_json(body)
    build = builder(kind)
    return build(value) if build else value


def plain(value: Any) -> Any:
    """Return a state as plain JSON values: objects with field names, and sorted keys."""
    if isinstance(value, Map):
        return {str(key): plain(value[key]) for key in sorted(value)}
    if hasattr(value, "_asdict"):
        return {name: plain(item) for name, item in value._asdict().items()}
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return [plain(item) for item in value] if isinstance(value, tuple) else value


@cache
def builder(kind: Any) -> Builder | None:
    """Return what builds a value of a type from JSON; None where JSON gives it as it is."""
    arguments = get_args(kind)
    if get_origin(kind) is Map:
        return _map_builder(*map(builder, arguments))
    if get_origin(kind) is tuple:
        return _tuple_builder(arguments)
    if get_origin(kind) is dict:
        return _dict_builder(builder(arguments[1]))
    if type(None) in arguments:
        inner = builder(next(a for a in arguments if a is not type(None)))
        return (lambda value: None if value is None else inner(value)) if inner else None
    if isinstance(kind, UnionType):
        listed = next((builder(one) for one in arguments if get_origin(one) is tuple), None)
        # Of a text or texts only these are a list in JSON.
        return (
            (lambda value: listed(value) if isinstance(value, list) else value) if listed else None
        )
    if isinstance(kind, type) and issubclass(kind, tuple):
        return _named_builder(kind)
    return datetime.fromisoformat if kind is datetime else None


def _dict_builder(item: Builder | None) -> Builder | None:
    return (lambda value: {name: item(one) for name, one in value.items()}) if item else None


def _tuple_builder(arguments: tuple[Any, ...]) -> Builder:
    items = [builder(argument) for argument in arguments if argument is not ...]
    if not any(items):
        return tuple
    if arguments[-1] is ...:
        return lambda value: tuple(map(items[0], value))  # type: ignore[arg-type]
    return lambda value: tuple(
        build(item) if build else item for build, item in zip(items, value, strict=True)
    )


def _map_builder(key: Builder | None, item: Builder | None) -> Builder:
    if item is None and key is None:
        return lambda pairs: Map(pairs)
    return lambda pairs: Map(
        (key(name) if key else name, item(value) if item else value) for name, value in pairs
    )


def _named_builder(kind: Any) -> Builder:
    """Return a builder that converts only the fields that JSON does not give as they are."""
    fields = [builder(hint) for hint in get_type_hints(kind).values()]
    changed = [(index, build) for index, build in enumerate(fields) if build]
    if not changed:
        return kind._make  # type: ignore[no-any-return]

    def build_named(values: list[Any]) -> Any:
        for index, build in changed:
            values[index] = build(values[index])
        return kind._make(values)

    return build_named


def _sorted_pairs(value: Any) -> Any:
    if isinstance(value, Map):
        return sorted(value.items(), key=itemgetter(0))
    raise TypeError(f"needed a state of named tuples, maps and plain values, found {type(value)}")
