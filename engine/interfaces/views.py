"""Render events as lines and projection states as tables."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from backcast.domain.events import (
    BLOB_PREFIX,
    ChecksRan,
    Committed,
    Imported,
    PlanningComplete,
    ToolCalled,
    ToolReturned,
    WorkflowEvent,
    line_of,
)
from backcast.domain.json_text import json_text
from backcast.domain.memory_events import MapEdited
from backcast.domain.message_parts import cut_inside
from backcast.domain.question_events import AnswerGiven, QuestionAsked
from backcast.domain.rating_events import NodesRated
from backcast.domain.score_events import Scored
from backcast.engine.history.state_json import plain
from backcast.engine.interfaces.dispatch_titles import DISPATCH_FACTS, dispatch_title
from backcast.engine.interfaces.failed_results import failure_line
from backcast.engine.interfaces.safe_console import SafeConsole
from backcast.engine.interfaces.screen import cut_to, screen_width
from backcast.engine.interfaces.terminal import escaped
from backcast.projections import (
    changes,
    checks,
    context_map,
    offline_cache,
    online_cache,
    prefixes,
    progress,
    spending,
    versions,
)

_TITLES = ("module_name", "path", "sha", "tool", "role", "goal", "reason", "target", "kind",
           "model", "step", "origin")  # fmt: skip
FAILED = 120
"Characters that a line says of a result."
NO_TIME, UNTIMED = "no time", 1970
"Where a log has no times, its importer counts seconds from the beginning of this year on."
DERIVED = ("BRANCHED", "IMPORTED", "MODULE_OUTLINED")
"Events that take the time of what they were made of."
SHA = 12
"Characters of a commit's name, which find it in any repository."
NAME, SHORT = 80, 240
"Characters of a call's name, and of a call whose end is a part of it: it says which lines, say."

TELLING = (
    "command", "cmd", "pattern", "query", "path", "file_path", "filename", "summary",
)  # fmt: skip
"Arguments that tell most of a call, the most telling first."
UNTELLING = ("security_risk",)
"Arguments that never name a call."

BodyText = Callable[[str], str]
"Reads the body of a blob as a text."


def _unread(ref: str) -> str:
    """Stand for a body that nobody reads."""
    return ""


def console() -> Console:
    """Return a console as wide as its terminal; 250 characters wide for a pipe or a file."""
    return SafeConsole(width=None if sys.stdout.isatty() else 250, highlight=False)


def event_json(event: WorkflowEvent) -> str:
    """Return an event as one line of JSON: its public form, and its place in this store."""
    place = {"position": event.position, "recorded_at": plain(event.recorded_at)}
    return json_text(place | line_of(event))


def event_line(event: WorkflowEvent, text: BodyText = _unread) -> str:
    """Return an event as one line of text: its position, time, address, and what it is; `text`
    reads the body of a blob."""
    place = f"{event.position:>7}  {time_of(event)}  {one_line(event.task_id, 200)}@{event.version}"
    return f"{place}  {event_words(event, shortened(event, text))}"


def cause_line(event: WorkflowEvent, text: BodyText = _unread) -> str:
    """Return an event as one line for people, first its address; `text` reads a blob's body."""
    place = f"  {one_line(event.task_id, 200)}@{event.version}  {time_of(event)}"
    width = screen_width()
    room = width and width - len(place) - 2
    return f"{place}  {event_words(event, shortened(event, text), room)}"


def time_of(event: WorkflowEvent) -> str:
    """Return when an event happened, to the second, or that its log does not tell."""
    untold = event.type in DERIVED or event.fact.data.get("synthetic_time") is True
    if untold and event.timestamp.year == UNTIMED:
        return NO_TIME
    return event.timestamp.strftime("%Y-%m-%d %H:%M:%S")


def event_words(event: WorkflowEvent, title: str, room: int | None = None) -> str:
    """Return an event's type, a title, a time that it states beside its own, and its writer where
    the title does not begin with that; in less room first the writer goes."""
    stated = _stated_time(event)
    dated = f" dated {one_line(stated, 40)}" if stated else ""
    writer = one_line(event.writer, 30)
    by = "" if title.startswith((f"{writer}:", f"{writer} ")) else f"  {writer}"
    words = f"{one_line(event.type):<16} {title}{dated}"
    by = by if room is None or len(words + by) <= room else ""
    return cut_to(f"{words}{by}".rstrip(), room)


def shortened(event: WorkflowEvent, text: BodyText, room: int = 70) -> str:
    """Return an event's title in the room that a line has for it: of a call both ends."""
    title = event_title(event, text).strip()
    if isinstance(event.fact, ToolReturned):
        most = max(FAILED, room)
        return cut_inside(escaped(title[:most]), most)
    is_call = isinstance(event.fact, ToolCalled)
    return cut_inside(escaped(title), room) if is_call else one_line(title, room)


def event_title(event: WorkflowEvent, text: BodyText = _unread) -> str:
    """Return what an event is about, in a few words."""
    data = event.fact.data
    title = next((str(data[key]) for key in _TITLES if data.get(key) not in (None, "")), "")
    if isinstance(event.fact, Committed):
        title = f"{event.fact.sha[:SHA]} {next(iter(event.fact.message.splitlines()), '')}".rstrip()
    if data.get("iteration"):
        title += f" #{data['iteration']}"
    if data.get("unknown"):
        title += f", unknown text: {data['unknown']}"
    if data.get("score") is not None:
        title += f" score {data['score']}"
    if isinstance(event.fact, ChecksRan):
        title += f" {event.fact.passed} of {event.fact.passed + event.fact.unmet} passed"
        title += f", {event.fact.skipped} skipped by their own text" if event.fact.skipped else ""
    if isinstance(data.get("tokens"), int):
        title += f" {data['tokens']:,} tokens"
    if isinstance(event.fact, ToolCalled):
        title = called(event.fact, text)
    if isinstance(event.fact, ToolReturned) and event.fact.failed:
        title = ": ".join(
            filter(None, (f"{title} failed".strip(), failed_because(event.fact, text)))
        )
    if isinstance(event.fact, QuestionAsked | AnswerGiven):
        title = f"{event.fact.name}: {event.fact.text or data.get('reason', '')}"
        title += f" (unproven: {data['unproven']})" if data.get("unproven") else ""
    if isinstance(event.fact, MapEdited):
        title = _edited(event.fact)
    if isinstance(event.fact, Scored):
        title = _scored(event.fact)
    if isinstance(event.fact, NodesRated):
        title = _rated(event.fact)
    if isinstance(event.fact, DISPATCH_FACTS):
        title = dispatch_title(event.fact)
    if isinstance(event.fact, PlanningComplete) and event.fact.reused:
        title = f"by the plan of {event.fact.reused.task}@{event.fact.reused.version}"
    if isinstance(event.fact, Imported):
        title = f"by {event.fact.format} importer {event.fact.version}"
        if event.fact.same_as:
            title = f"the same session as {', '.join(event.fact.same_as)}"
    return title


def failed_because(fact: ToolReturned, text: BodyText = _unread) -> str:
    """Return why a call failed, by its message or its output; empty where neither tells."""
    return fact.message or failure_line(text(fact.output) if fact.output else "")


def called(fact: ToolCalled, text: BodyText = _unread) -> str:
    """Return a tool's name and the beginning of what it was called with, of a short call the end.

    >>> command = "view /testbed/shop/domain/prices/discounts/of_the_summer.py --lines 4 90"
    >>> called(ToolCalled(tool="file_editor", arguments={"command": command}))
    'file_editor view /testbed/shop/domain/p…/discounts/of_the_summer.py --lines 4 90'
    >>> called(ToolCalled(tool="editor", arguments={"command": "view", "path": "/a.py"}))
    'editor view /a.py'
    >>> called(ToolCalled(tool="click", arguments={"element": 151}))
    'click 151'
    >>> called(ToolCalled(tool="terminal", arguments={"security_risk": "LOW", "command": "ls"}))
    'terminal ls'
    """
    words = next(_words(fact.arguments, text), "")
    line = " ".join(
        (words if words.startswith(fact.tool) else f"{fact.tool} {words}")[:999].split()
    )
    if len(line) <= SHORT:
        return cut_inside(line, NAME)
    return f"{line[: NAME - 1]}…"


def _words(arguments: Any, text: BodyText) -> Iterator[str]:
    """Yield the texts in a call's arguments; those of a list of files or commands are a text."""
    match arguments:
        case str() if arguments.strip():
            yield text(arguments) if arguments.startswith(BLOB_PREFIX) else arguments
        case int() if not isinstance(arguments, bool):
            yield str(arguments)
        case {"command": str(command), "path": str(path)} if command.isidentifier():
            yield f"{command} {path}"
        case dict():
            for name in sorted(arguments, key=lambda name: _rank(name, arguments[name])):
                if name not in UNTELLING:
                    yield from _words(arguments[name], text)
        case list():
            if found := [next(_words(value, text), "") for value in arguments[:3]]:
                yield " ".join(found)


def _rank(name: object, value: object) -> tuple[int, bool]:
    place = TELLING.index(name) if name in TELLING else len(TELLING)
    return place, isinstance(value, int)


def _stated_time(event: WorkflowEvent) -> str | None:
    """Return the time that a foreign log states for an event, if the event has another one."""
    if not isinstance(event.fact, Committed):
        stated = event.fact.data.get("stated_time")
        return None if stated is None else str(stated)
    date = event.fact.authored_at
    try:
        same = datetime.fromisoformat(date).astimezone(UTC) == event.timestamp
    except (ValueError, OverflowError):
        same = False
    return None if same else date


def _scored(fact: Scored) -> str:
    """Describe a score: the outcome, under which policy and by whom it was read."""
    nats = f" {sum(fact.line_nats):.1f} nats of {sum(fact.line_tokens)} tokens"
    under = f" under {fact.policy}" if fact.policy else ""
    by = f" by {fact.model}" if fact.model else ""
    return f"{fact.target or ''}{nats}{under}{by}"


def _rated(fact: NodesRated) -> str:
    """Describe a rating: the measure, of how many, and the highest ones."""
    highest = sorted(fact.ratings.items(), key=lambda pair: (-pair[1], pair[0]))[:2]
    some = ", ".join(f"{node.partition(':')[2]} {value:g}" for node, value in highest)
    more = f", {len(fact.ratings) - 2:,} more" if len(fact.ratings) > 2 else ""
    return f"{fact.name}: {some}{more}"


def _edited(fact: MapEdited) -> str:
    """Describe an update of a map: its run, the edits of each kind, and who made them."""
    if fact.anew:
        return "begun anew"
    made = Counter("refused" if edit.refused else edit.operation for edit in fact.edits)
    kinds = (("ADD", "+"), ("REPLACE", "~"), ("DELETE", "-"))
    counts = " ".join(f"{sign}{made[kind]}" for kind, sign in kinds)
    refused = f" {made['refused']} refused" if made["refused"] else ""
    by = ", ".join(filter(None, (fact.distiller, fact.cartographer)))
    return f"{fact.run or 'whole task'} {counts}{refused}{' by ' if by else ''}{by}"


def one_line(text: str, width: int = 70) -> str:
    """Return text from a log cut to a width, with control characters escaped."""
    text = escaped(text[: width + 1])
    return text if len(text) <= width else text[: width - 1] + "…"


def show(name: str, state: Any, console: Console) -> None:
    """Print a state as tables."""
    VIEWS[name](state, console)


def _show_progress(state: progress.State, console: Console) -> None:
    is_history = state.status == progress.HISTORY
    words = progress.history_words(state.commits, state.started_at, state.last_at)
    facts = {
        "goal": " ".join((state.goal or "").split()),
        "status": words if is_history else state.status,
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
    written = "" if is_history else "written" if state.status == "complete" else "started"
    rows = [
        (name, module.iteration, "" if module.score is None else f"{module.score:g}",
         {"started": written}.get(module.status, module.status))
        for name, module in sorted(state.modules.items())
    ]  # fmt: skip
    table(console, ("module", "iteration", "score", "status"), rows)


def show_versions(state: versions.State, console: Console, unknown: Mapping[str, str] = {}) -> None:
    """Print the latest version of each module, and of each unknown text why it is that."""
    conflicting = versions.conflicts(state)
    rows = [
        (
            name,
            head.iteration,
            head.writer,
            plain(head.timestamp),
            " ".join(f"{writer}={count}" for writer, count in head.clock.counts),
            f"concurrent with {len(conflicting[name]) - 1} more" if name in conflicting else "",
            unknown.get(name, ""),
        )
        for name, head in versions.latest(state).items()
    ]
    table(console, ("module", "version", "writer", "when", "clock", "conflict", "text"), rows)


def _show_online(state: online_cache.State, console: Console) -> None:
    entries = online_cache.working_set(state)
    rows = [
        (entry.priority, entry.id, entry.level, entry.tokens or "", "yes" * entry.pinned,
         entry.text)
        for entry in entries
    ]  # fmt: skip
    table(console, ("priority", "what", "level", "tokens", "pinned", "text"), rows)
    console.print(
        f"holds {online_cache.tokens_held(state):,} of {state.limit:,} tokens in"
        f" {len(state.shown)} shown nodes, {sum(entry.pinned for entry in entries)} pinned"
    )
    counts = ", ".join(f"{count} {name}" for name, count in state.counters._asdict().items())
    console.print(f"shown so far: {counts}")


def _show_offline(state: offline_cache.State, console: Console) -> None:
    ended = [
        (task.task, task.outcome, task.goal or "", len(task.modules),
         f"{task.passed}/{task.passed + task.failed}")
        for task in offline_cache.finished(state)
    ]  # fmt: skip
    table(console, ("task", "outcome", "goal", "modules", "passed"), ended)
    sections: dict[str, tuple[Sequence[str], list[tuple[Any, ...]]]] = {
        "unfinished: complete modules of tasks that go on, in no prompt": (
            ("module", "iteration", "task", "goal"),
            [
                (u.module, u.iteration, u.task, u.goal or "")
                for u in offline_cache.unfinished(state)
            ],
        ),
        "error -> fix": (
            ("message", "module", "fixed by", "task"),
            [(f.message, f.module, f"#{f.iteration}", f.task) for f in offline_cache.fixes(state)],
        ),
        "libraries": (
            ("library", "used by", "known of it"),
            [
                (library.name, len(library.users), library.text)
                for library in offline_cache.library_knowledge(state)
            ],
        ),
        "plans": (
            ("plan", "text", "task"),
            [(plan.name, plan.text, plan.task) for plan in offline_cache.plans(state)],
        ),
    }
    for title, (columns, rows) in sections.items():
        if rows:
            console.print(f"\n{title}")
            table(console, columns, rows)
    console.print(f"\n{len(offline_cache.nodes_left(state))} nodes left")


def _show_changes(state: changes.State, console: Console) -> None:
    lately = changes.lately(state)
    rows = []
    for path in sorted(lately, key=lambda path: (-lately[path], path)):
        near = changes.together(state, path)
        best = sorted(near, key=lambda other: (-near[other], other))[:3]
        neighbours = ", ".join(f"{other} {near[other]:.1f}" for other in best)
        rows.append((path, lately[path], len(state.modules[path]), neighbours))
    table(console, ("module", "last change", "changes kept", "most often together with"), rows)


def _show_checks(state: checks.State, console: Console) -> None:
    rows = [
        (run.version, path or "all", f"{run.passed} of {run.passed + run.unmet}",
         ", ".join(failed.name for failed in run.failed),
         ", ".join(f"{written.path} #{written.iteration}" for written in run.wrote))
        for path, run in checks.every(state)
    ]  # fmt: skip
    table(console, ("event", "about", "passed", "failed", "written before it"), rows)


def _show_maps(state: context_map.State, console: Console) -> None:
    for context in sorted(state.maps):
        map = state.maps[context]
        title = f"{context}: {len(map.items)} items after {map.updates} updates"
        console.print(Text(one_line(title, 200)))
        items = [map.items[item] for item in sorted(map.items)]
        rows = [(one.id, one.section, one.text, f"{one.task}@{one.version}") for one in items]
        table(console, ("item", "section", "text", "written by"), rows)


def _show_prefixes(state: prefixes.State, console: Console) -> None:
    rows = []
    for version in sorted(state.warmed):
        warm = state.warmed[version]
        meant = f"{warm.used} of {len(warm.meant_for)} calls" if warm.meant_for else "nobody"
        cells = [
            "" if cell is None else f"{cell:,}"
            for cell in (warm.tokens, warm.fresh, warm.seconds, warm.slot)
        ]
        rows.append((version, *cells, warm.copies or "", meant, warm.saved or "", warm.ahead,
                     warm.reason))  # fmt: skip
    heads = ("event", "tokens", "read", "seconds", "slot", "copies", "used by", "saved",
             "ahead of", "why not")  # fmt: skip
    table(console, heads, rows)
    answers = prefixes.counted(state) - len(state.warmed)
    console.print(
        f"of {answers:,} answers {state.hits:,} had half of their prompt or more in the cache,"
        f" {state.misses:,} had less, {state.untold:,} do not tell", highlight=False
    )  # fmt: skip


def _show_spending(state: spending.State, console: Console) -> None:
    taken = spending.committed(state)
    rows = [
        (
            name,
            f"{spent:,}",
            f"{both - spent:,.6g}",
            "" if most is None else f"{most:,}",
            "" if most is None else f"{max(0, most - both):,.6g}",
        )
        for name, spent, both, most in zip(
            state.allowed._fields, state.spent, taken, state.allowed, strict=True
        )
    ]
    table(console, ("", "spent", "set aside", "allowed", "left"), rows)
    if counts := [f"{state.outcomes[name]} {name}" for name in sorted(state.outcomes)]:
        what = "dispatches" if state.dispatches else "settled calls"
        console.print(f"{what}: {', '.join(counts)}")


VIEWS: dict[str, Callable[[Any, Console], None]] = {
    "progress": _show_progress,
    "versions": show_versions,
    "online": _show_online,
    "offline": _show_offline,
    "context_map": _show_maps,
    "changes": _show_changes,
    "checks": _show_checks,
    "prefixes": _show_prefixes,
    "spending": _show_spending,
}
"What prints the state of each projection that can be shown."


def table(
    console: Console, columns: Sequence[str], rows: Sequence[Sequence[Any]], width: int = 60
) -> None:
    """Print a table without its empty columns; no cell is wider than `width`."""
    kept = [i for i, _ in enumerate(columns) if any(row[i] not in ("", None) for row in rows)]
    if not kept:
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for i in kept:
        shown.add_column(Text(one_line(columns[i], width)))
    for row in rows:
        shown.add_row(*(Text(one_line(str(row[i]), width)) for i in kept))
    if console.is_terminal:
        console.print(shown)
        return
    with console.capture() as lines:
        console.print(shown)
    for line in lines.get().splitlines():
        console.print(Text(line.rstrip()), soft_wrap=True)
