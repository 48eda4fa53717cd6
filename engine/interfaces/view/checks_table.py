"""The checks that failed as a table: where each was raised, and in which step that was written."""

from backcast.domain.events import ChecksRan, ModuleIteration, WorkflowEvent
from backcast.engine.interfaces.view.markup import Markup, joined, table, tag
from backcast.engine.interfaces.view.panels import PanelMaker


def checks_table(maker: PanelMaker, fact: ChecksRan, event: WorkflowEvent) -> Markup:
    """Return the failures that an event tells; nothing where it tells none."""
    rows = [
        (tag("code", failure.name), failure.message, _raised(maker, failure.at, event),
         _written(maker, failure.at, event.version))
        for failure in fact.failures
    ]  # fmt: skip
    return table(("check", "message", "raised at", "written in"), rows)


def _raised(maker: PanelMaker, place: str, event: WorkflowEvent) -> Markup:
    """Return where a check failed, with that line of the text as it stood."""
    path, _, number = place.rpartition(":")
    code, at = tag("code", place), maker.shown.sequence.writer_of(path, event.version)
    writer = maker.shown.event(at) if at and number.isdecimal() else None
    if writer is None or not isinstance(writer.fact, ModuleIteration) or not writer.fact.source:
        return code
    lines = maker.shown.text(writer.fact.source).split("\n")
    if not 0 < int(number) <= len(lines):
        return code
    line = lines[int(number) - 1].strip()
    return joined(
        [code, tag("code", line if len(line) <= 200 else f"{line[:200]} …", class_="sub")]
    )


def _written(maker: PanelMaker, place: str, version: int) -> object:
    """Return a link to the step that wrote where a check failed."""
    sequence = maker.shown.sequence
    at = sequence.writer_of(place.rpartition(":")[0] or place, version)
    if not at:
        return ""
    step = sequence.at(at)
    here = step.first <= version <= step.last
    return maker.link(at, f"step {step.number}" + ", this one" * here)
