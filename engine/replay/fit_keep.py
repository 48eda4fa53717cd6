"""Rules on what to keep of long results, drawn from what runs used and a compression had dropped.

Each dropped line that a later action used is a failure. Failures propose rules: by kind, path, name
and place. A rule is taken where it lets the training runs show more of what they used, and stays
only where the runs that were held out confirm that, each at hardly more tokens.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from backcast.domain.action_evidence import PATH, SYMBOL
from backcast.domain.compression_settings import CompressionSettings, KeepRule
from backcast.domain.message_parts import Count
from backcast.domain.output_lines import kinds_of
from backcast.engine.replay.long_results import (
    KeptEvidence,
    LongResult,
    dropped_lines,
    kept_evidence,
)

MORE = 0.02
"The share by which tokens may grow under a rule."
WORTHS = (0.5, 1.5)
"What a proposed rule adds to the worth of a line."
RULES = 4
"Rules that are taken at most."
PROPOSED = 4
"Kinds, paths and names that are proposed at most, those with most failures."
HELD_OUT = 3
"Each so many runs one is held out."


class TriedRule(NamedTuple):
    """A rule, and what came of it."""

    rule: KeepRule
    failures: int
    "Failures that it is drawn from."
    training: KeptEvidence
    held_out: KeptEvidence | None = None
    "None where the training runs did not gain by it."
    kept: bool = False


class KeepFit(NamedTuple):
    """A guideline that was drawn from failures, and how it came about."""

    settings: CompressionSettings
    training_runs: tuple[str, ...]
    held_out_runs: tuple[str, ...]
    failures: int
    before: tuple[KeptEvidence, KeptEvidence]
    "On the training runs, and on those that were held out."
    after: tuple[KeptEvidence, KeptEvidence]
    tried: tuple[TriedRule, ...]
    refusal: str = ""
    "The reason why nothing was learned; empty where something was."


def fit_keep(
    results: Sequence[LongResult], settings: CompressionSettings, count: Count,
    step: Callable[[], None] = lambda: None,
) -> KeepFit:  # fmt: skip
    """Return the guideline that the failures of some runs propose and others confirm."""
    held = held_out(result.run for result in results if result.used)
    training = [result for result in results if result.run not in held and result.used]
    judged = [result for result in results if result.run in held and result.used]
    names = tuple(sorted({result.run for result in training}))
    others = tuple(sorted({result.run for result in judged}))
    before = (kept_evidence(training, settings, count), kept_evidence(judged, settings, count))
    proposals, failures = proposed(training, settings, count)
    refusal = ""
    if not names or not others:
        refusal = (
            "needed two runs with long results whose lines were used, one of them to judge by,"
            f" found {len(names) + len(others)}"
        )
    elif not failures:
        refusal = "nothing that the training runs used was dropped"
    if refusal:
        return KeepFit(settings, names, others, failures, before, before, (), refusal)
    best, stands, tried = settings, before, list[TriedRule]()
    waiting = list(proposals)
    for _ in range(RULES):
        trials = list[tuple[KeptEvidence, KeepRule, int]]()
        for rule, number in waiting:
            trials.append((kept_evidence(training, _with(best, rule), count), rule, number))
            step()
        trials.sort(key=lambda trial: (-trial[0].shown, trial[0].after, str(trial[1])))
        gains = [trial for trial in trials if _better(trial[0], stands[0], before[0])]
        if not gains:
            tried += (TriedRule(rule, number, found) for found, rule, number in trials)
            break
        found, rule, number = gains[0]
        confirmed = kept_evidence(judged, _with(best, rule), count)
        kept = _better(confirmed, stands[1], before[1])
        tried.append(TriedRule(rule, number, found, confirmed, kept))
        waiting = [(other, failed) for other, failed in waiting if not _same(other, rule)]
        if kept:
            best, stands = _with(best, rule), (found, confirmed)
    if best == settings:
        refusal = "no rule lets the runs that were held out show more of what they used"
    return KeepFit(best, names, others, failures, before, stands, tuple(tried), refusal)


def held_out(runs: Iterable[str]) -> frozenset[str]:
    """Return the runs that judge: each third, in an order that their names alone decide."""
    names = sorted({*runs}, key=lambda name: sha256(name.encode()).hexdigest())
    return frozenset(names[1::HELD_OUT])


def proposed(
    results: Sequence[LongResult], settings: CompressionSettings, count: Count
) -> tuple[list[tuple[KeepRule, int]], int]:
    """Return the rules that failures propose, with how many speak for each, and all failures."""
    kinds, paths, names, places = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    runs = dict[str, set[str]]()
    failures = 0
    for result in results:
        lines = result.text.split("\n")
        known = kinds_of(lines)
        for number, thing in dropped_lines(result, settings, count):
            failures += 1
            kinds[known[number - 1]] += 1
            places["first"] += number * 10 <= len(lines)
            places["last"] += number * 10 > 9 * len(lines)
            near = known[max(0, number - 4) : number + 3]
            places["error"] += "error" in near
            if thing.kind == PATH:
                pattern = _pattern(thing.text)
                paths[pattern] += 1
                runs.setdefault(pattern, set()).add(result.run)
            elif thing.kind == SYMBOL:
                names[thing.text] += 1
                runs.setdefault(thing.text, set()).add(result.run)
    found = list[tuple[KeepRule, int]]()
    for worth in WORTHS:
        found += ((KeepRule(kind=kind, worth=worth), n) for kind, n in _most(kinds))
        found += ((KeepRule(place=place, worth=worth), n) for place, n in _most(places))
        # What one run alone used says nothing of others.
        shared = {name for name, own in runs.items() if len(own) > 1}
        found += (
            (KeepRule(path=path, worth=worth), n) for path, n in _most(paths) if path in shared
        )
        found += (
            (KeepRule(name=name, worth=worth), n) for name, n in _most(names) if name in shared
        )
    return found, failures


def _pattern(path: str) -> str:
    """Return the pattern of a path: its folder and ending, without what is its own."""
    folder, _, file = path.rpartition("/")
    top = "tests/*" if re.search(r"(^|/)tests?(/|$)", folder) else "*"
    ending = file.rpartition(".")[2]
    return f"{top}.{ending}" if "." in file else f"{top}"


def _most(counts: Counter[str]) -> list[tuple[str, int]]:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [pair for pair in ordered if pair[1]][:PROPOSED]


def _with(settings: CompressionSettings, rule: KeepRule) -> CompressionSettings:
    return settings.model_copy(update={"guideline": (*settings.guideline, rule)})


def _better(found: KeptEvidence, stands: KeptEvidence, before: KeptEvidence) -> bool:
    return found.shown > stands.shown and found.after <= before.after * (1 + MORE)


def _same(rule: KeepRule, other: KeepRule) -> bool:
    return rule.model_copy(update={"worth": other.worth}) == other
