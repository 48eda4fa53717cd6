"""Compare a policy with a baseline over many runs, and judge by rules whether it is a regression.

Everything here is about prompts. What a model would have answered to them, nobody can tell.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backcast.domain.errors import InputError
from backcast.engine.context.policies import RULES, needed_by, toml_at
from backcast.engine.replay.corpus import Tried
from backcast.engine.replay.measure import against
from backcast.engine.replay.recall_interval import (
    RecallInterval,
    is_beyond,
    recall_interval,
    sureness,
)
from backcast.engine.replay.score_summary import ScoreDifference
from backcast.engine.replay.used import Used

Points = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0)]


class Rules(BaseModel):
    """Limits for how much worse than the baseline a policy may be."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    recall: Points = 1.0
    "Points by which the evidence recall may fall."
    critical: Count = 0
    "CRITICAL items of the baseline that may be missing."
    stale: Count = 0
    "Stale summaries that may be shown beyond the baseline's."
    unfit: Count = 0
    "Prompts beyond the baseline's whose mandatory items may not fit."
    prefix: Points = 100.0
    "Points by which the share of tokens shared with the prompt before may fall."
    tokens: Annotated[float, Field(ge=0)] | None = None
    "Percent by which the median prompt may grow; None for any."
    nats: Annotated[float, Field(ge=0)] = 0.02
    "Nats per token by which outcomes may get less likely to a model, where one is asked."


NAMES = tuple(Rules.model_fields)
BEYOND = {
    "critical": "CRITICAL things are not shown any more",
    "stale": "stale summaries more are shown",
    "unfit": "prompts more do not fit",
    "over": "prompts are over their budget",
}
"What is counted beyond a limit."


def rules_of(policy: str, limits: Sequence[str] = ()) -> Rules:
    """Return the rules of a policy file, where `policy` is one, with `limits` laid over them.

    `limits` are written as `recall=2`. `InputError` names a limit or table that is no rule.
    """
    return rules_in(policy, toml_at(Path(policy)) if Path(policy).is_file() else {}, limits)


def rules_in(policy: str, tables: Mapping[str, object], limits: Sequence[str] = ()) -> Rules:
    """Return the rules that the tables of a policy set, with `limits` laid over them."""
    table = tables.get(RULES, {})
    if not isinstance(table, dict):
        raise InputError(f"{policy}: {RULES}: needed a table, found {table!r:.40}")
    stated = _rules(f"{policy}: {RULES}.", table)
    laid = dict[str, float]()
    for limit in limits:
        name, _, number = (part.strip() for part in limit.partition("="))
        try:
            value = float(number)
        except ValueError:
            raise InputError(f"--limit: needed RULE=N, found {limit!r}") from None
        laid[name] = int(value) if value.is_integer() else value
    return _rules("--limit ", stated.model_dump(exclude_unset=True) | laid)


def _rules(where: str, values: Mapping[str, object]) -> Rules:
    """Return checked rules; `where` is what an error puts before the name of one."""
    try:
        return Rules.model_validate(values, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            needed, given = f"a rule of {', '.join(NAMES)}", repr(name)
            if near := get_close_matches(name, NAMES, 1):
                given += f"; did you mean {near[0]}?"
            raise InputError(f"{where.rstrip(' .')}: needed {needed}, found {given}") from None
        given = f"{first['input']!r:.40}"
        raise InputError(
            f"{where}{name}: needed {needed_by(first['msg'])}, found {given}"
        ) from None


class PolicySummary(NamedTuple):
    """A summary of all prompts under one policy."""

    prompts: int
    unfit: int
    "Prompts whose mandatory items do not fit."
    tokens: float
    "Tokens of the median prompt."
    headroom: float
    "Tokens left free in the median prompt."
    over: int
    "Prompts over their budget."
    fill: float
    "Share of its budget that the context part of the median prompt uses."
    sections: dict[str, float]
    "Tokens of each section in the mean prompt."
    used: int
    shown: int
    "Things used by outcomes that the prompts showed."
    kinds: dict[str, tuple[int, int]]
    "Things shown and used, by kind."
    stale: int
    prefix: float | None
    "Share of the prompts' tokens that the prompt before began with."
    milliseconds: float
    "Time to choose and render the median prompt."

    @property
    def recall(self) -> float | None:
        """Percent of the things used that the prompts showed; None where nothing was used."""
        return 100 * self.shown / self.used if self.used else None


class Worse(NamedTuple):
    """A prompt that shows less of what was used, or lost CRITICAL items."""

    run: str
    step: str
    missed: tuple[Used, ...]
    lost: tuple[str, ...]
    at: str = ""
    "The address of the prompt; empty for one that was never recorded."


class Limit(NamedTuple):
    """A rule, and how a policy stands to it."""

    rule: str
    "Its name in `Rules`; `over` for prompts over their budget, of which none is allowed."
    allowed: float | None
    "By how much the policy may be worse, in the rule's unit; None for any."
    found: float | None
    "By how much it is worse; below 0 where it is better, None where nothing tells."
    holds: bool
    certain: bool = True
    """Whether an interval does not hold the limit; of `nats` also whether the difference survives
    its largest step. Rules that count what is there are certain."""


class Comparison(NamedTuple):
    """A policy compared with the baseline."""

    policy: str
    before: PolicySummary
    after: PolicySummary
    same: int
    "Prompts that are equal to the byte."
    came: int
    went: int
    lowered: int
    critical: int
    "CRITICAL items that are not shown any more."
    recall: float | None
    "Points by which the evidence recall rose."
    interval: tuple[float, float] | None
    "95 % interval of `recall`, see `RecallInterval`; None for few runs or changes."
    worse: tuple[Worse, ...]
    broken: tuple[str, ...]
    "The rules that the policy breaks, a line each."
    limits: tuple[Limit, ...] = ()
    "Every rule, and how the policy stands to it."
    units: int = 0
    "The runs, or changes of a history, over which the interval is drawn."
    unit_kind: str = "runs"

    @property
    def counted(self) -> str:
        """The number of units in words."""
        return RecallInterval(self.interval, self.units, self.unit_kind).counted


def compared(
    runs: Sequence[Tried], policies: Sequence[str], rules: Sequence[Rules]
) -> list[Comparison]:
    """Compare each policy with the first one, by its own rules."""
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
            missed = tuple(thing for thing in new.missed if thing not in old.missed)
            if missed or change.lost:
                where = f"{step.version} {step.name}"
                at = tried.run.address(step.version)
                worse.append(Worse(tried.run.name, where, missed, change.lost, at))
    recall = None if before.recall is None else (after.recall or 0.0) - before.recall
    bounds, units, kind = recall_interval(runs, number)
    comparison = Comparison(
        policy=name, before=before, after=after, same=totals["same"], came=totals["came"],
        went=totals["went"], lowered=totals["lowered"], critical=totals["lost"], recall=recall,
        interval=bounds, worse=tuple(worse), broken=(), units=units, unit_kind=kind,
    )  # fmt: skip
    comparison = comparison._replace(limits=tuple(limits(comparison, rules)))
    return comparison._replace(broken=tuple(broken(comparison)))


def limits(comparison: Comparison, rules: Rules) -> Iterator[Limit]:
    """Yield each limit, and how a policy stands to it."""
    before, after = comparison.before, comparison.after
    both = before.prefix is not None and after.prefix is not None
    for rule, found, allowed in (
        ("recall", None if comparison.recall is None else 0.0 - comparison.recall, rules.recall),
        ("critical", comparison.critical, rules.critical),
        ("stale", after.stale - before.stale, rules.stale),
        ("unfit", after.unfit - before.unfit, rules.unfit),
        ("over", after.over, 0),
        ("prefix", 100 * ((before.prefix or 0) - (after.prefix or 0)) if both else None,
         rules.prefix),
        ("tokens", 100 * (after.tokens / before.tokens - 1) if before.tokens else 0.0,
         rules.tokens),
    ):  # fmt: skip
        holds = allowed is None or found is None or found <= allowed
        certain = rule != "recall" or is_beyond(comparison.interval, -rules.recall)
        yield Limit(rule, allowed, found, holds, certain)


def broken(comparison: Comparison) -> Iterator[str]:
    """Yield a line for each limit that does not hold."""
    before, after = comparison.before, comparison.after
    for rule, allowed, found, holds, certain in comparison.limits:
        if holds:
            continue
        if rule == "recall":
            sure = sureness(comparison.interval, comparison.counted, certain=certain)
            yield (
                f"evidence recall fell by {found:.1f} points, from {before.recall:.1f} %"
                f" to {after.recall or 0:.1f} %{sure}; {allowed:g} are allowed"
            )
        elif rule == "prefix":
            yield f"the shared prefix fell by {found:.1f} points; {allowed:g} are allowed"
        elif rule == "tokens":
            yield f"the median prompt grew by {found:.1f} %; {allowed:g} are allowed"
        else:
            yield f"{found} {BEYOND[rule]}; {allowed} are allowed"


def likely_limit(beside: ScoreDifference | None, rules: Rules) -> Limit:
    """Return the limit of how much less likely to a model outcomes may get."""
    found = None if beside is None else beside.per_token
    holds = found is None or found <= rules.nats
    certain = beside is not None and is_beyond(beside.interval, rules.nats)
    if beside is not None and not holds:
        certain = certain and beside.side > 0
    return Limit("nats", rules.nats, found, holds, certain)


def less_likely(beside: ScoreDifference | None, rules: Rules) -> Iterator[str]:
    """Yield a line where a policy makes outcomes less likely than its rules allow."""
    limit = likely_limit(beside, rules)
    if beside is not None and not limit.holds:
        sure = sureness(beside.interval, beside.counted, "{:+.3f}", certain=limit.certain)
        yield (
            f"outcomes got less likely by {beside.per_token:.3f} nats per token{sure};"
            f" {rules.nats:g} are allowed"
        )


def summary(runs: Sequence[Tried], number: int) -> PolicySummary:
    """Sum up all prompts under the policy at an index."""
    every = [step.figures[number] for tried in runs for step in tried.steps]
    built = [one for one in every if one.digest]
    sections: Counter[str] = Counter()
    used, missed = Counter[str](), Counter[str]()
    for figures in every:
        sections.update(figures.sections)
        missed.update(thing.kind for thing in figures.missed)
        used.update(figures.kinds)
    follow = sum(one.follows for one in built)
    return PolicySummary(
        prompts=len(every), unfit=len(every) - len(built),
        tokens=_median(one.tokens for one in built),
        headroom=_median(one.room - one.tokens for one in built),
        over=sum(one.tokens > one.room for one in built),
        fill=_median(one.context / max(1, one.budget) for one in built),
        sections={name: sections[name] / max(1, len(built)) for name in sorted(sections)},
        used=used.total(), shown=used.total() - missed.total(),
        kinds={kind: (used[kind] - missed[kind], used[kind]) for kind in sorted(used)},
        stale=sum(len(one.stale) for one in built),
        prefix=sum(one.shared for one in built) / follow if follow else None,
        milliseconds=1000 * _median(one.seconds for one in built),
    )  # fmt: skip


def _median(values: Iterable[float]) -> float:
    numbers = list(values)
    return float(median(numbers)) if numbers else 0.0


def worst(comparison: Comparison, limit: int) -> list[Worse]:
    """Return the prompts that lose most, first the ones that lost CRITICAL items."""
    worse = sorted(comparison.worse, key=lambda prompt: (-len(prompt.lost), -len(prompt.missed)))
    return worse[:limit]
