"""The settings of a fitted policy as a policy file holds them: those that the default has not."""

from collections.abc import Mapping
from typing import Any

from backcast.domain.errors import InputError
from backcast.domain.policy import (
    CONSTANTS,
    DEFAULT,
    LIKENESS_NAMES,
    PRIORITY,
    WEIGHTS,
    WORTH,
    Policy,
)


def completed(policy: Policy) -> Policy:
    """Return a policy that gives the same prompts, and says so of each weight that it leaves out.

    A file is laid over the default, so that what it does not name has the default's weight.
    """
    return policy.model_copy(
        update={
            "weights": dict.fromkeys(WEIGHTS, 0.0) | policy.weights,
            "likeness": dict.fromkeys(LIKENESS_NAMES, 0.0) | policy.likeness,
            "worth": dict.fromkeys(WORTH, 0.0) | policy.worth,
            "constants": dict.fromkeys(CONSTANTS, 0.0) | policy.constants,
            "priorities": {**PRIORITY, **policy.priorities},
        }
    )


def own_settings(policy: Policy, over: Policy = DEFAULT) -> dict[str, Any]:
    """Return the settings of a completed policy that differ from those it is laid over, table by
    table; `InputError` where no file laid over those can hold it."""
    return _apart(over.model_dump(mode="json"), policy.model_dump(mode="json"), "")


def _apart(before: Mapping[str, Any], after: Mapping[str, Any], table: str) -> dict[str, Any]:
    lacking = [name for name in before if name not in after]
    if lacking:
        raise InputError(f"{table}: needed a setting for each of {', '.join(before)}, found none"
                         f" for {', '.join(lacking)}")  # fmt: skip
    found = dict[str, Any]()
    for name, value in after.items():
        under = before.get(name)
        if value == under:
            continue
        both = isinstance(value, dict) and isinstance(under, dict)
        found[name] = _apart(under or {}, value, name) if both else value
    return found
