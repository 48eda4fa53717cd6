"""What a commit is: when it was made, and the files that it changed, with how many lines."""

from collections import Counter
from collections.abc import Iterable

from backcast.domain.events import (
    Committed,
    ModuleDeleted,
    ModuleIteration,
    ModuleRenamed,
    WorkflowEvent,
)
from backcast.engine.interfaces.view.changed_text import LETTERS
from backcast.engine.interfaces.view.markup import Markup, joined, table, tag
from backcast.engine.interfaces.view.panels import PanelMaker

FILES = 60
"Files of a commit of which each gets a row."


def commit_files(maker: PanelMaker, events: Iterable[WorkflowEvent], more: int) -> Markup:
    """Return a commit's date and files; nothing for a step that is none. `more` of its events are
    not among the given ones."""
    found = list(events)
    commit = next((event.fact for event in found if isinstance(event.fact, Committed)), None)
    if commit is None:
        return Markup("")
    rows = [row for event in found if (row := _row(maker, event))]
    authored, committed = (at.replace("T", " ") for at in (commit.authored_at, commit.committed_at))
    said = f"Authored {authored}" + f", committed {committed}" * (authored != committed)
    head = "Files" if more else f"Files: {len(rows)}"
    cut = f"… and {len(rows) - FILES} more" if len(rows) > FILES else None
    note = "Lines that came and went, wherever in the file they stand."
    return joined([
        tag("p", said, class_="said"),
        tag("h3", head, title=note) if rows else None,
        table(("file", "lines", "event"), rows[:FILES]),
        tag("p", cut, class_="note") if cut else None,
    ])  # fmt: skip


def _row(maker: PanelMaker, event: WorkflowEvent) -> tuple[object, ...] | None:
    match event.fact:
        case ModuleDeleted(module_name=path):
            return tag("code", path), "deleted", maker.link(event.version)
        case ModuleIteration(module_name=path, source=source):
            before, was = path, ""
        case ModuleRenamed(module_name=path, source=source, previous_name=previous):
            before, was = previous or path, f", was {previous}" if previous else ""
        case _:
            return None
    at = maker.shown.sequence.writer_of(before, event.version)
    writer = maker.shown.event(at) if at else None
    old = maker.shown.text(getattr(writer.fact, "source", None)) if writer else ""
    new = maker.shown.text(source)
    counts: object = "long" if writer else "new, long"
    if max(len(old), len(new)) <= LETTERS:
        lines, lines_before = Counter(new.splitlines()), Counter(old.splitlines())
        came, went = (lines - lines_before).total(), (lines_before - lines).total()
        counts = joined([
            "" if writer else "new, ", tag("span", f"+{came}", class_="is-in"), " ",
            tag("span", f"-{went}", class_="is-out") if writer else None,
        ])  # fmt: skip
    return joined([tag("code", path), was]), counts, maker.link(event.version)
