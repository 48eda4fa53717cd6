"""What a person sees: events as lines, states as tables."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from domain.events import WorkflowEvent, line_of
from engine.replay.state_json import plain
from projections import progress, versions

_TITLES = ("module_name", "path", "sha", "tool", "role", "goal", "reason", "step")


def console() -> Console:
    """A terminal as wide as it is; a pipe or a file as wide as the text needs."""
    return Console() if sys.stdout.isatty() else Console(width=250)


def event_json(event: WorkflowEvent) -> str:
    """An event as one line of JSON: its public form, and its place in this store."""
    place = {"position": event.position, "recorded_at": plain(event.recorded_at)}
    return json.dumps(place | line_of(event), ensure_ascii=False)


def event_line(event: WorkflowEvent) -> str:
    """An event as one line of text."""
    when = event.timestamp.strftime("%Y-%m-%d %H:%M:%S")
    data = event.fact.data
    title = next((str(data[key]) for key in _TITLES if data.get(key) is not None), "")
    if "iteration" in data:
        title += f" #{data['iteration']}"
    if data.get("score") is not None:
        title += f" score {data['score']}"
    line = (
        f"{event.position:>7}  {when}  {event.task_id}@{event.version}"
        f"  {event.type:<16} {one_line(title)}  {one_line(event.writer, 30)}"
    )
    return line.rstrip()


def one_line(text: str, width: int = 70) -> str:
    """Text from a log, safe to print: control characters escaped, and cut to a width."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: width + 1])
    return text if len(text) <= width else text[: width - 1] + "…"


def show(name: str, state: Any, console: Console) -> None:
    """Print a state as tables."""
    _VIEWS[name](state, console)


def _show_progress(state: progress.State, console: Console) -> None:
    facts = {
        "goal": state.goal,
        "status": state.status,
        "reason": state.reason,
        "waiting for": progress.waiting_for(state),
        "events": state.events,
        "from": plain(state.started_at),
        "to": plain(state.last_at),
        "model replies": state.replies or None,
    }
    stated = Table(box=None, show_header=False)
    for name, value in facts.items():
        if value not in (None, ""):
            stated.add_row(name, Text(one_line(str(value), 200)))
    console.print(stated)
    rows = [
        (name, module.iteration, "" if module.score is None else f"{module.score:g}", module.status)
        for name, module in sorted(state.modules.items())
    ]
    table(console, ("module", "iteration", "score", "status"), rows)


def _show_versions(state: versions.State, console: Console) -> None:
    conflicting = versions.conflicts(state)
    rows = [
        (
            name,
            head.iteration,
            head.writer,
            plain(head.timestamp),
            " ".join(f"{writer}={count}" for writer, count in head.clock.counts),
            f"concurrent with {len(conflicting[name]) - 1} more" if name in conflicting else "",
        )
        for name, head in versions.latest(state).items()
    ]
    table(console, ("module", "version", "writer", "when", "clock", "conflict"), rows)


_VIEWS: dict[str, Callable[[Any, Console], None]] = {
    "progress": _show_progress,
    "versions": _show_versions,
}


def table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table without the columns that are empty in every row."""
    kept = [i for i, _ in enumerate(columns) if any(row[i] not in ("", None) for row in rows)]
    if not kept:
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for i in kept:
        shown.add_column(columns[i])
    for row in rows:
        shown.add_row(*(Text(one_line(str(row[i]), 60)) for i in kept))
    console.print(shown)
