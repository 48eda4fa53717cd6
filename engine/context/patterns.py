"""What finished tasks left that bears on a request: past solutions, and fixes of what fails now.

A fix is offered where the very message, or the very check, failed before: likeness cannot tell
"enable" from "disable". Past solutions are offered by the words that their goals share with the
request, and say where they come from.
"""

from collections.abc import Iterator

from domain.context import Candidate
from domain.gathered import Fix
from domain.node import node_id
from domain.policy import Details, Policy
from engine.context.search.words import words
from engine.context.work import Levels
from projections import offline_cache, online_cache

SECTION = "historical patterns"


def patterns(
    task_id: str,
    online: online_cache.State,
    offline: offline_cache.State,
    asked: str,
    policy: Policy,
    details: Details,
    levels: Levels,
) -> Iterator[Candidate]:
    """The fixes and the past solutions that are offered, as many of each as the policy says."""
    priority = policy.priority(SECTION)
    for number, fix in enumerate(_fixes(task_id, online, offline)[: details.patterns]):
        head = f"Seen before: {fix.check or fix.message}"
        mended = f"mended by iteration {fix.iteration} of {fix.module}, task {fix.task}"
        told = [("full", f"{head}: {fix.message}\n{mended}"), ("signature", f"{head}: {mended}")]
        score = round(0.5 / (1 + number), 6)
        node = f"fix:{fix.task}@{fix.position}"
        yield Candidate(node, SECTION, priority, levels(told, score), score, (), number)
    for number, (score, one) in enumerate(_solutions(task_id, offline, asked)[: details.patterns]):
        where = ", ".join(one.references)
        head = f"Earlier task {one.task}: {one.problem}"
        told = [("full", f"{head}\n{one.summary}\nCode: {where}"), ("signature", head)]
        shown = levels(
            told if one.summary else [("full", f"{head}\nCode: {where}"), told[1]], score
        )
        node = node_id("task", one.task)
        yield Candidate(node, SECTION, priority, shown, score, (), details.patterns + number)


def _fixes(task_id: str, online: online_cache.State, offline: offline_cache.State) -> list[Fix]:
    """The fixes by other tasks of what fails now, the latest first, one of each message."""
    failing = [one for one in online.failures if not one.over]
    messages = {one.message for one in failing if one.message}
    checks = {one.name for one in failing if one.name and not one.message}
    found: dict[str, Fix] = {}
    for fix in offline_cache.fixes(offline) if failing else ():
        if fix.task != task_id and (fix.message in messages or fix.check in checks):
            found.setdefault(fix.message, fix)
    return list(found.values())


def _solutions(
    task_id: str, offline: offline_cache.State, asked: str
) -> list[tuple[float, offline_cache.Solution]]:
    """The solutions of other tasks and how much of their problem's words the request shares."""
    own = frozenset(words(asked))
    found = []
    for one in offline_cache.historical_solutions(offline):
        theirs = frozenset(words(one.problem))
        if one.task != task_id and (shared := len(own & theirs)):
            found.append((round(shared / len(own | theirs), 6), one))
    return sorted(found, key=lambda pair: (-pair[0], pair[1].task))
