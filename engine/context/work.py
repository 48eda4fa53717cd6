"""What the running task's own work adds to a prompt: what failed last, and the last iterations."""

from collections.abc import Callable, Iterator, Sequence

from backcast.domain.context import Candidate, Level
from backcast.domain.policy import Details, Policy
from backcast.engine.context.sources import SourceLines
from backcast.projections import online_cache

Levels = Callable[[Sequence[tuple[str, str]], float], tuple[Level, ...]]
"Makes levels of names and texts, the most detailed first, and of how likely the thing is needed."


def failures(
    state: online_cache.State, policy: Policy, details: Details, levels: Levels
) -> Iterator[Candidate]:
    """What has failed and was not tried again since, the latest first."""
    there = [one for one in state.failures if not one.over]
    for number, failure in enumerate(there[: policy.errors]):
        place = f"({failure.place})" if failure.place else ""
        head = ": ".join(part for part in (failure.at, failure.name) if part)
        head = " ".join(part for part in (head, place) if part)
        first = failure.message.split("\n")[0]
        told = {
            "full": ": ".join(part for part in (head, failure.message) if part),
            "signature": ": ".join(part for part in (head, first) if part),
            "name": head or failure.kind,
        }
        order = list(told)
        kept = {name: told[name] for name in order[order.index(details.errors) :]}
        score = round(1 / (1 + number), 6)
        priority = "CRITICAL" if number == 0 else policy.priority("recent errors")
        node = f"failure:{failure.version}.{failure.number}"
        shown = levels(list(kept.items()), score)
        yield Candidate(node, "recent errors", priority, shown, score, (failure.version,), number)


def left_out(state: online_cache.State, policy: Policy) -> Iterator[tuple[str, str]]:
    """The failures that are not even offered, and why."""
    for failure in state.failures:
        if failure.over:
            yield f"failure:{failure.version}.{failure.number}", "superseded"
    there = [one for one in state.failures if not one.over]
    for failure in there[policy.errors :]:
        yield f"failure:{failure.version}.{failure.number}", "masked"


def iterations(
    state: online_cache.State, path: str, policy: Policy, details: Details, lines: SourceLines,
    levels: Levels,
) -> Iterator[Candidate]:  # fmt: skip
    """The last iterations of a module that the running task has made, and what each changed."""
    made = state.modules.get(path, online_cache.TouchedModule()).iterations
    for number, one in enumerate(made[: details.iterations]):
        head = f"Iteration {one.iteration}"
        head += "" if one.score is None else f", score {one.score:g}"
        before = made[number + 1] if number + 1 < len(made) else None
        told = [("signature", head)]
        if before and before.source and one.source:
            text = lines.changed(before.source, one.source)
            told.insert(0, ("full", f"{head}, changed:\n{text}"))
        score = round(0.3 / (1 + number), 6)
        node = f"iteration:{path}@{one.iteration}"
        priority = policy.priority("related functions")
        shown = levels(told, score)
        yield Candidate(
            node, "current module", priority, shown, score, (one.version,), one.iteration
        )
