"""Context maps beside other choices of lines, without any model.

The commits of a git repository that change functions are taken as runs, one after the other: before
each, every map may use only earlier ones. A run's score is the share of the functions and classes
that its code uses whose whole `def` or `class` line stands on the map. A map's worth to a model is
not measured here.
"""

import numpy as np

from backcast.domain.policy import MapSettings
from backcast.engine.log.store import EventStore
from backcast.engine.models.tokenizers import tokenizer_of
from scripts.benches.figures import Bench, Bound, Figure, percentile
from scripts.benches.map_arms import ARMS, Fading
from scripts.benches.map_runs import OURS, History, Scores, scored
from scripts.benches.paired import pooled
from scripts.benches.regress_windows import stored

TOKENS = 1_024
CHANGES, SOME = 400, 50
"The newest changes of each history, in a full bench and by default."
BETTER, NOT_WORSE = Bound(">=", 0), Bound(">=", -2)


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    tokenizer, scores = tokenizer_of("mistral-v3"), dict[str, Scores]()
    for folder in bench.repositories:
        url, task = stored(bench, folder)
        bench.say(f"{task}: maps of {TOKENS:,} tokens")
        with EventStore.open(url, create=False) as store:
            history = History.of(store, task, CHANGES if bench.full else SOME)
            scores[task] = scored(history, tokenizer, TOKENS, MapSettings())
    runs = sum(len(one.tokens) for one in scores.values())
    group = f"maps of {TOKENS:,} tokens before {runs:,} runs of {', '.join(scores)}"
    return [*_values(group, scores), *_against(group, scores), *_kept(group, scores)]


def _values(group: str, scores: dict[str, Scores]) -> list[Figure]:
    """Return the share of the next run's uses that stood on each map."""
    names = [OURS, *(arm.name for arm in ARMS)]
    figures = []
    for name in names:
        every = [float(np.mean(one.all[name])) for one in scores.values() if one.all.get(name)]
        new = [float(np.mean(one.new[name])) for one in scores.values() if one.new.get(name)]
        if every and new:
            each = f"by repository {', '.join(f'{100 * value:.0f}' for value in every)}"
            fresh = f"of functions not edited of late: {100 * np.mean(new):.1f} %"
            figures.append(Figure(group, name, [100 * float(np.mean(every))], "%", each, fresh))
    return figures


def _against(group: str, scores: dict[str, Scores]) -> list[Figure]:
    """Return by how much ours is better than the bar, with paired intervals."""
    figures = []
    for part, what in (("all", "all uses"), ("new", "of functions not edited of late")):
        differences = {
            task: np.subtract(getattr(one, part)[OURS], getattr(one, part)[Fading.name]) * 100
            for task, one in scores.items()
            if getattr(one, part).get(OURS)
        }
        if not differences:
            continue
        mean, low, high = pooled(list(differences.values()))
        worst = min(differences, key=lambda task: float(differences[task].mean()))
        interval = f"mean {mean:+.1f} points, 95 % {low:+.1f} to {high:+.1f}"
        figures += [
            Figure(group, f"better by at least, {what}", [low], "points", interval,
                   f"than {Fading.name}", must=BETTER),
            Figure(group, f"worst repository, {what}", [float(differences[worst].mean())],
                   "points", worst, must=NOT_WORSE),
        ]  # fmt: skip
    return figures


def _kept(group: str, scores: dict[str, Scores]) -> list[Figure]:
    """Return whether the map keeps within its tokens and marks its stale lines."""
    tokens = [count for one in scores.values() for count in one.tokens]
    unflagged = [100 * share for one in scores.values() for share in one.unflagged]
    wrong = [100 * share for one in scores.values() for share in one.wrong]
    updates = [1000 * taken for one in scores.values() for taken in one.updates]
    over = sum(count > TOKENS for count in tokens)
    filled = f"median {percentile(tokens, 50):,} tokens"
    never = f"a map that is never renewed, the paper's: {np.mean(wrong):.1f} %" if wrong else ""
    slow = f"p95 {percentile(updates, 95):.0f} ms, its roadmap and lines chosen anew"
    none = Bound("<=", 0)
    return [
        Figure(group, "maps over their tokens", [float(over)], "", filled, must=none),
        Figure(group, "lines that are wrong and not marked stale", [float(np.mean(unflagged))], "%",
               control=never, must=none),
        Figure(group, "an update, p50", [percentile(updates, 50)], "ms", slow),
    ]  # fmt: skip
