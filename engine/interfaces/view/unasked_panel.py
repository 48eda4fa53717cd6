"""The panel of a step in which no model was asked: what is behind its failure, and that prompt."""

from collections.abc import Callable

from backcast.engine.interfaces.view.markup import Markup, joined, tag
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.engine.interfaces.view.run_step import RunStep
from backcast.engine.interfaces.view.tint import tinted

MENDED = 4
"Steps that mended a failure of which each gets a link."


def behind(maker: PanelMaker, step: RunStep) -> Markup | None:
    """Return which step wrote the line at which checks failed, and which steps mended it."""
    sequence, parts = maker.shown.sequence, list[object]()
    if fault := sequence.fault_of(step):
        path, writer = fault
        parts += ["It was raised in ", tag("code", path), ", as ", _step(maker, writer),
                  " wrote it. "]  # fmt: skip
    writers, checks = sequence.mended(step)
    if writers and checks:
        parts.append("Then ")
        for at, writer in enumerate(writers[:MENDED]):
            parts += [", " if at else "", _step(maker, writer), f" ({writer.title})"]
        more = f" and {len(writers) - MENDED} more" if len(writers) > MENDED else ""
        parts += [more, " wrote code, and the checks of ", _step(maker, checks), " passed."]
    return tag("p", *parts, class_="said behind") if parts else None


def unasked_panel(
    maker: PanelMaker, step: RunStep, panel: Callable[[RunStep], Markup | None]
) -> Markup:
    """Return what stands where a step has no prompt: the prompt behind its failure, else where
    the last prompt is; `panel` makes the panel of a step's prompt."""
    sequence = maker.shown.sequence
    if step.commit:
        note = tag("p", "A commit: no model was asked.", class_="note")
        return joined([note, *filter(None, [tinted(maker, step.first)])])
    if shown := sequence.behind(step):
        said = tag("p", "No model was asked in this step. Below is the prompt of ",
                   _step(maker, shown), f", {shown.title}.", class_="note borrowed")  # fmt: skip
        return joined([said, panel(shown)])
    earlier = [other for other in sequence.steps if other.asked and other.first < step.first]
    if not earlier:
        later = next((other for other in sequence.steps if other.asked), None)
        link = [" The first prompt is that of ", _step(maker, later), "."] if later else []
        return tag("p", "No model was asked in this step.", *link, class_="note")
    return tag("p", "No model was asked in this step. The last prompt before it is that of ",
               _step(maker, earlier[-1]), ".", class_="note")  # fmt: skip


def _step(maker: PanelMaker, step: RunStep) -> Markup:
    return maker.link(step.event, f"step {step.number}")
