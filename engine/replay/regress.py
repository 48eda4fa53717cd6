"""A policy beside a baseline, over many runs: what it gains, what it loses, and whether that is a
regression by the rules.

It tells what prompts would have been. What a model would have answered to them nobody can tell.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backcast.domain.errors import InputError
from backcast.engine.context.policies import RULES, toml_at
from backcast.engine.replay.corpus import Tried
from backcast.engine.replay.measure import against
from backcast.engine.replay.used import Used

Points = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0)]
DRAWS, SEED = 2_000, 0
"Of the bootstrap: draws of as many runs as there are, and the seed by which they are drawn."


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


class PolicySummary(NamedTuple):
    """All prompts under one policy."""

    prompts: int
    unfit: int
    "In which what must be shown does not fit."
    tokens: float
    "Of the median prompt."
    headroom: float
    "Tokens left free in the median prompt."
    over: int
    "Prompts over their budget."
    fill: float
    "The share of its tokens that the context part uses, in the median prompt."
    sections: dict[str, float]
    "Tokens of each section in the mean prompt."
    used: int
    shown: int
    "Of what outcomes used, what the prompts showed."
    kinds: dict[str, tuple[int, int]]
    "The same by kind: shown, used."
    stale: int
    prefix: float | None
    "The share of the prompts' tokens that stood at the beginning of the one before."
    milliseconds: float
    "To choose and render the median prompt."

    @property
    def recall(self) -> float | None:
        """Percent of what outcomes used that the prompts showed; None where nothing was used."""
        return 100 * self.shown / self.used if self.used else None


class Worse(NamedTuple):
    """A prompt that shows less of what was used, or has lost what was CRITICAL."""

    run: str
    step: str
    missed: tuple[Used, ...]
    lost: tuple[str, ...]


class Comparison(NamedTuple):
    """A policy beside the baseline."""

    policy: str
    before: PolicySummary
    after: PolicySummary
    same: int
    "Prompts that are the same to the byte."
    came: int
    went: int
    lowered: int
    critical: int
    "Things that were CRITICAL and are not shown any more."
    recall: float | None
    "Points by which the evidence recall is higher."
    interval: tuple[float, float] | None
    "The 95 % interval of that by bootstrap over the runs; None for a single run."
    worse: tuple[Worse, ...]
    broken: tuple[str, ...]
    "The rules that are broken, a line each."


def compared(
    runs: Sequence[Tried], policies: Sequence[str], rules: Sequence[Rules]
) -> list[Comparison]:
    """Each policy but the first beside the first, by its own rules."""
    return [
        _comparison(runs, number, name, rules[number - 1])
        for number, name in enumerate(policies)
        if number
    ]


def _comparison(runs: Sequence[Tried], number: int, name: str, rules: Rules) -> Comparison:
    before, after = summary(runs, 0), summary(runs, number)
    totals: Counter[str] = Counter()
    worse = []
    for tried in runs:
        for step in tried.steps:
            old, new = step.figures[0], step.figures[number]
            change = against(old, new)
            totals["same"] += bool(new.digest) and old.digest == new.digest
            for what in ("came", "went", "lowered", "lost"):
                totals[what] += len(getattr(change, what))
            missed = tuple(one for one in new.missed if one not in old.missed)
            if missed or change.lost:
                where = f"{step.version} {step.name}"
                worse.append(Worse(tried.run.name, where, missed, change.lost))
    recall = None if before.recall is None else (after.recall or 0.0) - before.recall
    found = Comparison(
        name, before, after, totals["same"], totals["came"], totals["went"], totals["lowered"],
        totals["lost"], recall, interval(runs, number), tuple(worse), (),
    )  # fmt: skip
    return found._replace(broken=tuple(broken(found, rules)))


def broken(found: Comparison, rules: Rules) -> Iterator[str]:
    """The rules that a policy breaks."""
    before, after = found.before, found.after
    if found.recall is not None and -found.recall > rules.recall:
        sure = ""
        if found.interval:
            sure = " (95 % from {:+.1f} to {:+.1f})".format(*found.interval)
        yield (
            f"evidence recall fell by {-found.recall:.1f} points, from {before.recall:.1f} % to"
            f" {after.recall or 0:.1f} %{sure}; {rules.recall:g} are allowed"
        )
    for what, now, allowed in (
        ("CRITICAL things are not shown any more", found.critical, rules.critical),
        ("stale summaries more are shown", after.stale - before.stale, rules.stale),
        ("prompts more do not fit", after.unfit - before.unfit, rules.unfit),
        ("prompts are over their budget", after.over, 0),
    ):
        if now > allowed:
            yield f"{now} {what}; {allowed} are allowed"
    if before.prefix is not None and after.prefix is not None:
        fell = 100 * (before.prefix - after.prefix)
        if fell > rules.prefix:
            yield f"the shared prefix fell by {fell:.1f} points; {rules.prefix:g} are allowed"
    more = 100 * (after.tokens / before.tokens - 1) if before.tokens else 0.0
    if rules.tokens is not None and more > rules.tokens:
        yield f"the median prompt grew by {more:.1f} %; {rules.tokens:g} are allowed"


def summary(runs: Sequence[Tried], number: int) -> PolicySummary:
    """All prompts under the policy of a number."""
    every = [step.figures[number] for tried in runs for step in tried.steps]
    there = [one for one in every if one.digest]
    sections: Counter[str] = Counter()
    used, missed = Counter[str](), Counter[str]()
    for one in every:
        sections.update(one.sections)
        missed.update(thing.kind for thing in one.missed)
        used.update(one.kinds)
    follow = sum(one.follows for one in there)
    return PolicySummary(
        len(every), len(every) - len(there), _median(one.tokens for one in there),
        _median(one.room - one.tokens for one in there),
        sum(one.tokens > one.room for one in there),
        _median(one.context / max(1, one.budget) for one in there),
        {name: sections[name] / max(1, len(there)) for name in sorted(sections)},
        used.total(), used.total() - missed.total(),
        {kind: (used[kind] - missed[kind], used[kind]) for kind in sorted(used)},
        sum(len(one.stale) for one in there),
        sum(one.shared for one in there) / follow if follow else None,
        1000 * _median(one.seconds for one in there),
    )  # fmt: skip


def _median(values: Iterable[float]) -> float:
    found = list(values)
    return float(median(found)) if found else 0.0


def interval(runs: Sequence[Tried], number: int) -> tuple[float, float] | None:
    """The 95 % interval of the difference of recalls, in points, by bootstrap over the runs."""
    counts = np.array([_counts(tried, number) for tried in runs], float).reshape(-1, 3)
    counts = counts[counts[:, 0] > 0]
    if len(counts) < 2:
        return None
    drawn = np.random.default_rng(SEED).integers(0, len(counts), (DRAWS, len(counts)))
    sums = counts[drawn].sum(axis=1)
    points = 100 * (sums[:, 2] - sums[:, 1]) / sums[:, 0]
    low, high = np.percentile(points, [2.5, 97.5])
    return float(low), float(high)


def _counts(tried: Tried, number: int) -> tuple[int, int, int]:
    """What a run's outcomes used, what the baseline showed of it, and what the policy does."""
    used = sum(step.figures[0].used for step in tried.steps)
    before, after = (
        used - sum(len(step.figures[n].missed) for step in tried.steps) for n in (0, number)
    )
    return used, before, after


def worst(found: Comparison, many: int) -> list[Worse]:
    """The prompts that lose most, those first that lost what was CRITICAL."""
    return sorted(found.worse, key=lambda one: (-len(one.lost), -len(one.missed)))[:many]
