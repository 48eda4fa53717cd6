"""`scripts/bench map`: of what use is a context map, measured without any model?

Name git repositories (bare ones will do). The commits of each that change functions are taken as
runs, one after the other: before each, every map may use only what came before. A run's score is
the share of the functions and classes that its code uses whose whole `def` or `class` line stands
on the map. What a model would make of a map is not measured here.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console

from backcast.domain.policy import MapSettings
from backcast.engine.models.tokenizers import Tokenizer, tokenizer_of
from scripts.benches import map_evictors, map_rebuild
from scripts.benches.figures import Bench, Bound, Figure, percentile, save, show
from scripts.benches.log import FOLDER, ROOT
from scripts.benches.map_arms import ARMS, Fading
from scripts.benches.map_runs import OURS, History, Scores, scored
from scripts.benches.paired import pooled
from scripts.benches.regress_windows import stored

MANY, FEW = 400, 100
"Changes of each history, in a full bench and by default."
FREEZE = (0, 1, 4, 16, 64)
BETTER, NOT_WORSE = Bound(">=", 0), Bound(">=", -2)


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(prog="scripts/bench map", description=__doc__)
    parser.add_argument("repositories", nargs="*", type=Path, default=[ROOT], metavar="REPO")
    parser.add_argument("--full", action="store_true", help=f"{MANY} changes of each, not {FEW}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds to a file")
    parser.add_argument("--tokens", type=int, action="append", help="of a map; may be repeated")
    parser.add_argument("--others", type=float, help="the share of what is no line of code")
    parser.add_argument("--evictors", action="store_true", help="of prose alone, by their settings")
    asked = parser.parse_args()
    folder = FOLDER / "regress"
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(folder, asked.full, asked.repositories)
    settings = MapSettings() if asked.others is None else MapSettings(others=asked.others)
    figures: list[Figure] = []
    try:
        if asked.evictors:
            many = MANY if asked.full else FEW
            figures += map_evictors.measure(bench, many, asked.tokens or map_evictors.SIZES)
        else:
            for tokens in asked.tokens or [1_024]:
                figures += measured(bench, tokens, settings)
            figures += map_rebuild.measure(bench, settings)
    finally:
        console = Console()
        show(figures, console if console.is_terminal else Console(width=190))
        if asked.json:
            save(figures, asked.json)


def measured(bench: Bench, tokens: int, settings: MapSettings) -> list[Figure]:
    """The rows for maps of so many tokens."""
    tokenizer, all = tokenizer_of("mistral-v3"), dict[str, Scores]()
    for folder in bench.repositories:
        url, task = stored(bench, folder)
        bench.say(f"{task}: maps of {tokens:,} tokens")
        all[task] = _scored(url, task, MANY if bench.full else FEW, tokenizer, tokens, settings)
    runs = sum(len(one.tokens) for one in all.values())
    group = f"maps of {tokens:,} tokens before {runs:,} runs of {', '.join(all)}"
    return [*_values(group, all), *_against(group, all), *_kept(group, all, tokens)]


def _scored(
    url: str, task: str, many: int, tokenizer: Tokenizer, tokens: int, settings: MapSettings
) -> Scores:
    from backcast.engine.log.store import EventStore

    with EventStore.open(url, create=False) as store:
        return scored(History.of(store, task, many), tokenizer, tokens, settings, FREEZE)


def _values(group: str, all: dict[str, Scores]) -> list[Figure]:
    """What of the next run's uses stood on each map."""
    names = [OURS, *(arm.name for arm in ARMS), *(f"frozen after {many}" for many in FREEZE)]
    found = [Figure(group, "an empty map", [0.0], "%")]
    for name in names:
        every = [100 * float(np.mean(one.all[name])) for one in all.values() if one.all.get(name)]
        new = [100 * float(np.mean(one.new[name])) for one in all.values() if one.new.get(name)]
        if every and new:
            told = f"by repository {', '.join(f'{value:.0f}' for value in every)}"
            fresh = f"of functions not edited of late: {np.mean(new):.1f} %"
            found.append(Figure(group, name, [float(np.mean(every))], "%", told, fresh))
    return found


def _against(group: str, all: dict[str, Scores]) -> list[Figure]:
    """What we are better than the bar by, with paired intervals."""
    found = []
    for part, what in (("all", "all uses"), ("new", "of functions not edited of late")):
        differences = {
            task: np.subtract(getattr(one, part)[OURS], getattr(one, part)[Fading.name]) * 100
            for task, one in all.items()
            if getattr(one, part).get(OURS)
        }
        if not differences:
            continue
        mean, low, high = pooled(list(differences.values()))
        worst = min(differences, key=lambda task: float(differences[task].mean()))
        told = f"mean {mean:+.1f} points, 95 % {low:+.1f} to {high:+.1f}"
        bar = f"than {Fading.name} {Fading.__module__.rpartition('.')[2]}"
        found += [
            Figure(group, f"better by at least, {what}", [low], "points", told, bar, must=BETTER),
            Figure(group, f"worst repository, {what}", [float(differences[worst].mean())],
                   "points", worst, must=NOT_WORSE),
        ]  # fmt: skip
    return found


def _kept(group: str, all: dict[str, Scores], most: int) -> list[Figure]:
    """Whether the map keeps within its tokens, and tells what does not hold."""
    tokens = [one for scores in all.values() for one in scores.tokens]
    unflagged = [100 * one for scores in all.values() for one in scores.unflagged]
    wrong = [100 * one for scores in all.values() for one in scores.wrong]
    updates = [1000 * one for scores in all.values() for one in scores.updates]
    over = sum(one > most for one in tokens)
    filled = f"median {percentile(tokens, 50):,} tokens"
    never = f"a map that is never renewed, the paper's: {np.mean(wrong):.1f} %" if wrong else ""
    slow = f"p95 {percentile(updates, 95):.0f} ms, its roadmap and lines chosen anew"
    none = Bound("<=", 0)
    return [
        Figure(group, "maps over their tokens", [float(over)], "", filled, must=none),
        Figure(group, "lines that are wrong and not told to be", [float(np.mean(unflagged))], "%",
               control=never, must=none),
        Figure(group, "an update, p50", [percentile(updates, 50)], "ms", slow),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
