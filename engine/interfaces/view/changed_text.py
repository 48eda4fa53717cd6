"""What changed in a module at an event, by lines."""

from collections.abc import Iterator
from difflib import unified_diff
from itertools import islice

from backcast.domain.events import ModuleIteration, ModuleRenamed, WorkflowEvent
from backcast.engine.interfaces.view.markup import Markup, folded, tag
from backcast.engine.interfaces.view.panels import PanelMaker

LINES = 400
"Lines of the difference between two texts."
LETTERS = 40_000
"Letters of a text up to which its difference is made at once."
_KINDS = {"+": "came", "-": "went", "@": "place"}


def line_difference(before: str, after: str) -> Markup:
    """Return how two texts differ, by lines; of a long difference its first lines."""
    found = unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=3)
    return tag(
        "pre",
        *(
            tag("span", f"{line}\n", class_=_KINDS.get(line[:1]))
            for line in islice(found, 2, LINES)
        ),
        class_="text lines",
    )


def changed(maker: PanelMaker, event: WorkflowEvent) -> Iterator[Markup]:
    """Yield what an event changed in its module, where the log holds both texts."""
    fact, shown = event.fact, maker.shown
    if not isinstance(fact, ModuleIteration | ModuleRenamed) or not fact.source:
        return
    path = fact.previous_name if isinstance(fact, ModuleRenamed) else fact.module_name
    at = shown.sequence.writer_of(path or "", event.version)
    writer = shown.event(at) if at else None
    before = getattr(writer.fact, "source", None) if writer else None
    if not before or before == fact.source:
        return
    texts = shown.text(before), shown.text(fact.source)
    if max(map(len, texts)) <= LETTERS:
        part = maker.keep(line_difference(*texts))
        yield folded("what changed", part, is_open=True)
