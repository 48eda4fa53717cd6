"""What counts as a regression? Declared beside a policy, under `[regress]`, or in a command."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backcast.domain.errors import InputError
from backcast.engine.context.policies import RULES, toml_at

Points = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0)]


class Rules(BaseModel):
    """How much worse than the baseline a policy may be."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    recall: Points = 1.0
    "Points by which the evidence recall may fall."
    critical: Count = 0
    "Things of the baseline that were CRITICAL and are not shown any more."
    stale: Count = 0
    "Stale summaries that are shown, beyond those of the baseline."
    unfit: Count = 0
    "Prompts in which what must be shown does not fit, beyond those of the baseline."
    prefix: Points = 100.0
    "Points by which the share of tokens that a prompt has in common with the last one may fall."
    tokens: Annotated[float, Field(ge=0)] | None = None
    "Percent by which the median prompt may grow; None for any."


NAMES = tuple(Rules.model_fields)


def rules_of(policy: str, limits: Sequence[str] = ()) -> Rules:
    """The rules that stand in a policy file, if it is one, with others laid over them.

    `limits` are as a command names them: `recall=2`. `InputError` where one is none.
    """
    table = toml_at(Path(policy)).get(RULES, {}) if Path(policy).is_file() else {}
    if not isinstance(table, dict):
        raise InputError(f"{policy}: {RULES}: needed a table, found {table!r:.40}")
    told = dict(table)
    for limit in limits:
        name, _, number = limit.partition("=")
        told[name.strip()] = number.strip()
    try:
        return Rules.model_validate(told)
    except ValidationError as error:
        one = error.errors()[0]
        name = ".".join(map(str, one["loc"]))
        if one["type"] == "extra_forbidden":
            needed, found = f"a rule of {', '.join(NAMES)}", repr(name)
        else:
            needed, found = f"{name}: {one['msg']}", f"{one['input']!r:.40}"
        raise InputError(f"{policy}: needed {needed}, found {found}") from None
