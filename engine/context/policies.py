"""Policies as files: TOML by which people set them, JSON as a log keeps them."""

import tomllib
from pathlib import Path

from pydantic import ValidationError

from domain.errors import InputError
from domain.policy import DEFAULT, Policy


def policy_at(path: Path) -> Policy:
    """The policy of a TOML file: what it does not set is as in the default.

    `InputError` in one line, which names the setting, what was needed and what was found.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: needed a policy file: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: needed TOML: {error}") from None
    return _checked(str(path), _over(DEFAULT.model_dump(), told))


def policy_of(body: bytes) -> Policy:
    """The policy that was recorded."""
    try:
        return Policy.model_validate_json(body)
    except ValidationError as error:
        raise InputError(f"needed a recorded policy, {_first(error)}") from None


def _over(before: dict[str, object], told: dict[str, object]) -> dict[str, object]:
    """Settings with others laid over them, table by table."""
    found = dict(before)
    for name, value in told.items():
        under = found.get(name)
        both = isinstance(value, dict) and isinstance(under, dict)
        found[name] = _over(under, value) if both else value  # type: ignore[arg-type]
    return found


def _checked(where: str, told: dict[str, object]) -> Policy:
    try:
        return Policy.model_validate(told)
    except ValidationError as error:
        raise InputError(f"{where}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    one = error.errors()[0]
    place = ".".join(map(str, one["loc"]))
    message = one["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
