"""What the running task's own work adds to a prompt: what failed last, and the last iterations."""

from collections.abc import Callable, Collection, Iterator, Sequence

from backcast.domain.context import Candidate, Level
from backcast.domain.policy import Details, Policy
from backcast.engine.context.sources import SourceLines
from backcast.projections import online_cache

Levels = Callable[[Sequence[tuple[str, str]], float], tuple[Level, ...]]
"Makes levels of names and texts, the most detailed first, and of how likely the thing is needed."


def failures(
    state: online_cache.State, policy: Policy, details: Details, levels: Levels,
    beside: Collection[str] = (),
) -> Iterator[Candidate]:  # fmt: skip
    """Yield failures that were not tried again since, the latest first.

    `beside` are modules that are worked on at the same time: what failed there is their concern.
    """
    open_failures = [one for one in state.failures if not one.over and one.at not in beside]
    for number, failure in enumerate(open_failures[: policy.errors]):
        place = f"({failure.place})" if failure.place else ""
        head = ": ".join(part for part in (failure.at, failure.name) if part)
        head = " ".join(part for part in (head, place) if part)
        first = failure.message.split("\n")[0]
        texts = {
            "full": ": ".join(part for part in (head, failure.message) if part),
            "signature": ": ".join(part for part in (head, first) if part),
            "name": head or failure.kind,
        }
        order = list(texts)
        kept = {name: texts[name] for name in order[order.index(details.errors) :]}
        score = round(1 / (1 + number), 6)
        priority = "CRITICAL" if number == 0 else policy.priority("recent errors")
        node = f"failure:{failure.version}.{failure.number}"
        shown = levels(list(kept.items()), score)
        yield Candidate(node, "recent errors", priority, shown, score, (failure.version,), number)


def left_out(
    state: online_cache.State, policy: Policy, beside: Collection[str] = ()
) -> Iterator[tuple[str, str]]:
    """Yield the failures that are no candidates, and why."""
    for failure in state.failures:
        if failure.over or failure.at in beside:
            why = "superseded" if failure.over else f"of {failure.at}, which is made beside"
            yield f"failure:{failure.version}.{failure.number}", why
    open_failures = [one for one in state.failures if not one.over and one.at not in beside]
    for failure in open_failures[policy.errors :]:
        yield f"failure:{failure.version}.{failure.number}", "masked"


def iterations(
    state: online_cache.State, path: str, policy: Policy, details: Details, lines: SourceLines,
    levels: Levels,
) -> Iterator[Candidate]:  # fmt: skip
    """Yield the last iterations of a module by the running task, and what each changed."""
    made = state.modules.get(path, online_cache.TouchedModule()).iterations
    for number, iteration in enumerate(made[: details.iterations]):
        if policy.checked and iteration.score is None:
            continue
        head = f"Iteration {iteration.iteration}"
        head += "" if iteration.score is None else f", score {iteration.score:g}"
        before = made[number + 1] if number + 1 < len(made) else None
        texts = [("signature", head)]
        if before and before.source and iteration.source:
            text = lines.changed(before.source, iteration.source)
            texts.insert(0, ("full", f"{head}, changed:\n{text}"))
        score = round(0.3 / (1 + number), 6)
        node = f"iteration:{path}@{iteration.iteration}"
        priority = policy.priority("related functions")
        shown = levels(texts, score)
        yield Candidate(
            node, "current module", priority, shown, score, (iteration.version,),
            iteration.iteration,
        )  # fmt: skip
