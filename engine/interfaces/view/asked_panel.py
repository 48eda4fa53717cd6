"""What was asked in a step of our own, what was answered, and what the checks found, in short."""

from collections.abc import Iterable

from backcast.domain.events import ChecksRan, ModelReplied, WorkflowEvent
from backcast.domain.node import path_of
from backcast.engine.interfaces.view.checks_table import checks_table
from backcast.engine.interfaces.view.markup import Markup, cut, joined, tag
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.engine.interfaces.view.run_step import RunStep

LINE = 300
"Characters of a request that are shown."


def asked_panel(maker: PanelMaker, step: RunStep, events: Iterable[WorkflowEvent]) -> Markup:
    """Return what a step asked, what was answered, and what its checks found."""
    parts = [_asked(maker, step)]
    for event in events:
        match event.fact:
            case ModelReplied(text=str(ref)):
                whole = maker.keep(joined(cut(maker.shown.text(ref))))
                parts.append(tag("h3", "Answered"))
                parts.append(tag("pre", whole, class_="text answer"))
            case ChecksRan() as fact:
                parts.append(tag("h3", f"Checks: {fact.passed} of {fact.passed + fact.unmet}"
                                 " passed"))  # fmt: skip
                parts.append(checks_table(maker, fact, event))
    return joined(parts)


def _asked(maker: PanelMaker, step: RunStep) -> Markup:
    """Return the first line of a request, and the failure that it followed."""
    prompt = maker.reader.step(step.prompt)
    lines = prompt.request.query.strip().splitlines() if prompt else []
    if prompt is None or not lines:
        return Markup("")
    said = maker.mask(lines[0])
    parts: list[object] = [said if len(said) <= LINE else f"{said[:LINE]}…"]
    if before := _failed_before(maker, step, path_of(prompt.request.target)):
        reason = (before.why.splitlines() or [before.label])[0]
        parts += [
            " ",
            maker.link(before.event, f"Step {before.number}"),
            f" had ended with: {reason}.",
        ]
    return joined([tag("h3", "Asked"), tag("p", *parts, class_="said asked")])


def _failed_before(maker: PanelMaker, step: RunStep, path: str) -> RunStep | None:
    """Return the step whose checks of a module, or of all, had failed and were not mended yet."""
    sequence = maker.shown.sequence
    wrote = sequence.writer_of(path, step.first)
    for other in reversed(sequence.steps[: sequence.steps.index(step)]):
        is_about = other.whole or other.first <= wrote <= other.last
        if is_about and other.outcome in ("checks", "passed"):
            return other if other.outcome == "checks" else None
    return None
