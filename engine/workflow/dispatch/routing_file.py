"""The file of a policy of routing, and of the thresholds of stalls.

```toml
agents = ["mini:qwen3-8b", "codex"]   # the cheapest first

[[rules]]
agent = "codex"
blast = 8

[stalls]
failures = 2
```
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from backcast.domain.errors import InputError
from backcast.domain.ledger import STALLS, StallPolicy
from backcast.domain.problems import first_problem
from backcast.domain.routing import RoutingPolicy
from backcast.engine.workflow.dispatch.agents import AgentForm, agent_of


class Routes(NamedTuple):
    """A policy of routing, and the agents that it names."""

    policy: RoutingPolicy
    forms: Mapping[str, AgentForm]


class RoutingFile(NamedTuple):
    """What a file of routing states."""

    policy: RoutingPolicy | None
    stalls: StallPolicy


def routing_in(file: Path) -> RoutingFile:
    """Return what a file states: a policy of routing, thresholds under [stalls], or both."""
    try:
        table = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from None
    except ValueError as error:  # of TOML, or of UTF-8
        raise InputError(f"{file}: needed TOML, found none: {error}") from None
    stalls = _stalls(file, table.pop("stalls", {}))
    try:
        return RoutingFile(RoutingPolicy(**table) if table else None, stalls)
    except ValidationError as error:
        raise InputError(f"{file}: {first_problem(error)}") from None


def policy_in(file: Path) -> RoutingPolicy:
    """Return the policy of routing that a file states; `InputError` for none."""
    if (found := routing_in(file).policy) is None:
        raise InputError(f'{file}: needed agents = ["CHEAPEST", ...], found none')
    return found


def routes_in(file: Path, own: Path | None) -> Routes:
    """Return a policy with the agents that it names; `InputError` where one is not known."""
    policy = policy_in(file)
    return Routes(policy, {label: agent_of(label, own) for label in policy.agents})


def _stalls(file: Path, table: Any) -> StallPolicy:
    if not isinstance(table, dict):
        raise InputError(f"{file}: needed a table [stalls], found {table!r}")
    for name, value in table.items():
        if name not in StallPolicy._fields:
            raise InputError(
                f"{file}: [stalls]: needed {', '.join(StallPolicy._fields)}, found {name!r}"
            )
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise InputError(f"{file}: [stalls]: needed {name} as a number from 0, found {value!r}")
    return STALLS._replace(**table)
