"""The trade-offs of named strategies as their inventors tabled them, measured on one's own logs.

What a prompt shows is held against all there is: the full texts of all modules that the log holds
at that step. What it keeps is the evidence recall: the share, of what the accepted code really
used, that the prompt had shown. Both follow from the log alone. A rebuild begins with nothing in
memory (no words counted, no tokens, no texts cut); the latency is that of the prompt after it. Both
are times, which differ from run to run, and both find the vectors of texts, which are kept, made.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations, groupby
from statistics import median
from time import process_time
from typing import NamedTuple

from backcast.domain.budget import ModelProfile
from backcast.domain.errors import BudgetExceededError
from backcast.engine.context.builder import TASK
from backcast.engine.history.task_states import PROJECTIONS
from backcast.engine.log.open_logs import opened
from backcast.engine.log.store import EventStore
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.replay.corpus import ReplayRun, Setting, steps_of
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.regress import PolicySummary
from backcast.engine.replay.steps import ReplayStep
from backcast.projections import fold, offline_cache

RUNS = 12
"Runs, spread over all, of which prompts are built with nothing in memory: each takes its time."
LOW, MEDIUM, HIGH, VERY_HIGH = "low", "medium", "high", "very high"
ORDER = (LOW, MEDIUM, HIGH, VERY_HIGH)


class MatrixClaim(NamedTuple):
    """What the matrix says of a strategy."""

    compression: float
    "Percent of all there is that is left out."
    kept: float
    "Percent of the information that is kept."
    rebuild: str
    latency: str


MATRIX: Mapping[str, MatrixClaim] = {
    "no-cache": MatrixClaim(0, 100, HIGH, HIGH),
    "online-only": MatrixClaim(50, 75, MEDIUM, LOW),
    "hierarchical": MatrixClaim(70, 60, LOW, MEDIUM),
    "graph-semantic": MatrixClaim(75, 70, LOW, MEDIUM),
    "full-replay": MatrixClaim(0, 100, VERY_HIGH, VERY_HIGH),
}
"By strategy; the others are of later days."


class TradeOff(NamedTuple):
    """A strategy's row."""

    name: str
    shown: int
    "Tokens of the context parts of the prompts that were looked at."
    whole: int
    "Tokens of all there was at them."
    kept: float | None
    "Percent: the evidence recall of all prompts; None where nothing was used."
    rebuild: float
    "Milliseconds of this process, the median: a prompt with nothing in memory, states at hand."
    latency: float
    "Milliseconds of this process, the median: the prompt that comes next."

    @property
    def compression(self) -> float | None:
        """Percent of all there was that the prompts do not show; None where nothing was."""
        return 100 * (1 - self.shown / self.whole) if self.whole else None


class TradeOffs(NamedTuple):
    """The table, and what it was measured on."""

    rows: tuple[TradeOff, ...]
    prompts: int
    "Prompts that were built anew."
    fold: float
    "Milliseconds to fold a log up to its last of these prompts: the same for all strategies."


def trade_offs(
    runs: Sequence[ReplayRun],
    settings: Sequence[Setting],
    summaries: Sequence[PolicySummary],
    profile: ModelProfile | None = None,
    advance: Callable[[int], None] = lambda runs: None,
) -> TradeOffs:
    """Return the trade-offs of some policies, whose prompts were summed up before."""
    some = runs
    if len(runs) > RUNS:
        some = [runs[number * len(runs) // RUNS] for number in range(RUNS)]
    shown, times = [0] * len(settings), [list[list[float]]() for _ in settings]
    folds, prompts, whole = list[float](), 0, 0
    for name, own in groupby(some, key=lambda run: run.log):
        with opened(name) as log:
            for run in own:
                last = deque(steps_of(log.store, run), 2)
                built = [_built(log.store, last, setting, profile) for setting in settings]
                advance(1)
                if not last or not all(built):
                    continue  # what one of them has no room for would be no comparison
                prompts += len(last)
                whole += sum(_whole(log.store, step, profile) for step in last)
                folds.append(_folded(log.store, last[-1]))
                for number, (tokens, spent) in enumerate(filter(None, built)):
                    shown[number] += tokens
                    times[number].append(spent)
    rows = tuple(
        TradeOff(
            setting.name, shown[number], whole, summaries[number].recall,
            _median(spent[0] for spent in times[number]),
            _median(spent[1] for spent in times[number] if len(spent) > 1),
        )
        for number, setting in enumerate(settings)
    )  # fmt: skip
    return TradeOffs(rows, prompts, _median(folds))


def _median(values: Iterable[float]) -> float:
    found = list(values)
    return median(found) if found else 0.0


def _built(
    store: EventStore, steps: Iterable[ReplayStep], setting: Setting, profile: ModelProfile | None
) -> tuple[int, list[float]] | None:
    """Build prompts one after the other, the first with nothing in memory.

    Gives the tokens of their context parts, and the milliseconds of each; None where one of them
    has no room for what it must show.
    """
    tokens, spent = 0, list[float]()
    try:
        for timed in (False, True):  # first, so that all vectors are made and tokenizers loaded
            replay = PolicyReplay(BuilderPool(store), profile, setting.policy)
            for step in steps:
                begin = process_time()
                context = replay.context(step)
                if timed:
                    spent.append(1000 * (process_time() - begin))
                    tokens += sum(one[2] for one in context.sections if one[0] != TASK)
    except BudgetExceededError:
        return None
    return tokens, spent


def _whole(store: EventStore, step: ReplayStep, profile: ModelProfile | None) -> int:
    """Return the tokens of all modules of a step in full, as its profile counts them."""
    builder = PolicyReplay(BuilderPool(store), profile).builder(step)
    counter = tokenizer_of(builder.profile.tokenizer)
    graph = step.known.states.graph
    texts = (
        store.get(module.source).decode(errors="replace")
        for module in graph.modules.values()
        if module.source is not None and not module.deleted
    )
    return sum(map(counter.count, texts))


def _folded(store: EventStore, step: ReplayStep) -> float:
    """Fold a task up to a step, from its first event: milliseconds."""
    begin = process_time()
    events = list(store.read(step.task_id, last=step.version))
    for projection in PROJECTIONS:
        if projection is not offline_cache:
            fold(projection, events)
    return 1000 * (process_time() - begin)


class ClaimVerdict(NamedTuple):
    """What the logs say to a column of the matrix."""

    column: str
    held: int
    pairs: int
    "Pairs of strategies that the matrix orders in this column, and those in that order here."
    against: tuple[str, ...]
    "The pairs in another order, each as A over B."


def verdicts(rows: Sequence[TradeOff]) -> Iterator[ClaimVerdict]:
    """Yield for each column of the matrix which of its orders these logs bear out."""
    by_name = {row.name: row for row in rows if row.name in MATRIX}
    columns: Sequence[
        tuple[str, Callable[[MatrixClaim], float], Callable[[TradeOff], float | None]]
    ] = (
        ("compression", lambda claim: claim.compression, lambda row: row.compression),
        ("information kept", lambda claim: claim.kept, lambda row: row.kept),
        ("rebuild cost", lambda claim: ORDER.index(claim.rebuild), lambda row: row.rebuild),
        ("latency", lambda claim: ORDER.index(claim.latency), lambda row: row.latency),
    )
    for column, claimed, found in columns:
        held, against = 0, []
        for first, second in combinations(by_name, 2):
            if claimed(MATRIX[first]) == claimed(MATRIX[second]):
                continue
            rises = claimed(MATRIX[first]) > claimed(MATRIX[second])
            more, less = (first, second) if rises else (second, first)
            high, low = found(by_name[more]), found(by_name[less])
            if high is None or low is None:
                continue
            if high > low:
                held += 1
            else:
                against.append(f"{more} over {less}")
        yield ClaimVerdict(column, held, held + len(against), tuple(against))
