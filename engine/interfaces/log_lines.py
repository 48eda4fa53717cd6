"""The events of a log as lines for people: with what results say, and bare records folded."""

from collections.abc import Iterable, Iterator, Sequence

from backcast.domain.events import (
    AnswerRefused,
    ChecksRan,
    MessageReceived,
    ModelFailed,
    ModelReplied,
    TaskComplete,
    TaskFailed,
    ToolReturned,
    UnknownFact,
    WorkflowEvent,
)
from backcast.engine.interfaces.screen import BAD, GOOD, screen_width, with_colour
from backcast.engine.interfaces.views import (
    BodyText,
    event_words,
    one_line,
    shortened,
    time_of,
)
from backcast.engine.replay.agent_prompt import GONE

FOLDED = 3
"The least number of records of one unknown type, in a row, that become a line."
SAID = 70
"Characters that a line says of an answer, a message or a result."
BESIDE = 40
"Columns of a line for the type and the writer."
FENCE = "```"
"What begins a block of code: the line behind it says more."


def log_lines(
    events: Iterable[WorkflowEvent], text: BodyText, *, is_one_task: bool, folds: bool
) -> Iterator[str]:
    """Yield some events as lines, each as soon as it is known; of one task without its name.

    With `folds`, several records in a row of a type that no one but an importer knows are a line.
    """
    waiting = list[WorkflowEvent]()
    for event in events:
        kind = _foreign_type(event) if folds else None
        if waiting and kind != _foreign_type(waiting[0]):
            yield from _folded(waiting, text, is_one_task=is_one_task)
            waiting.clear()
        if kind:
            waiting.append(event)
        else:
            yield _line(event, text, is_one_task=is_one_task)
    yield from _folded(waiting, text, is_one_task=is_one_task)


def _folded(
    records: Sequence[WorkflowEvent], text: BodyText, *, is_one_task: bool
) -> Iterator[str]:
    if len(records) < FOLDED:
        yield from (_line(event, text, is_one_task=is_one_task) for event in records)
        return
    name = one_line(records[0].type)
    yield (
        f"{_place(records[0], is_one_task=is_one_task)}  {name:<16} up to @{records[-1].version}:"
        f" {len(records):,} records as they came (--type {name} prints each)"
    )


def _foreign_type(event: WorkflowEvent) -> tuple[str, str] | None:
    """Return the task and the type of an event of a type that is not ours; None for others."""
    return (event.task_id, event.type) if isinstance(event.fact, UnknownFact) else None


def _line(event: WorkflowEvent, text: BodyText, *, is_one_task: bool) -> str:
    """Return an event as a line: on a terminal as wide as that, with a sign of how it went."""
    place, width = _place(event, is_one_task=is_one_task), screen_width()
    room = SAID if width is None else max(SAID, width - len(place) - BESIDE)
    title = shortened(event, text, room)
    if said := _said(event, text, room):
        title = ": ".join(filter(None, (title, said)))
    if width is None:
        return f"{place}  {event_words(event, title)}"
    words = event_words(event, title, width - len(place) - 3)
    return f"{place} {with_colour(sign_of(event))} {words}"


def _place(event: WorkflowEvent, *, is_one_task: bool) -> str:
    """Return where an event stands: in the store, or by the address in its task, and its time."""
    if is_one_task:
        return f"{f'@{event.version}':>7}  {time_of(event)}"
    task = one_line(event.task_id, 200)
    return f"{event.position:>7}  {time_of(event)}  {task}@{event.version}"


def _said(event: WorkflowEvent, text: BodyText, room: int) -> str:
    """Return the first words of an answer, a message or a result; of a failed one they are told."""
    match event.fact:
        case ToolReturned(output=str(ref), failed=False):
            body = text(ref)
        case MessageReceived(text=str(ref)) | ModelReplied(text=str(ref)):
            body = text(ref)
        case _:
            return ""
    if body == GONE:
        return ""
    lines = (" ".join(line.split()) for line in body[:9_999].splitlines())
    first = next((line for line in lines if line and not line.startswith(FENCE)), "")
    return one_line(first, room)


def sign_of(event: WorkflowEvent) -> str:
    """Return the sign of an event that went well or badly; a blank for all others."""
    match event.fact:
        case ChecksRan(unmet=unmet, passed=passed):
            return BAD if unmet else GOOD if passed else " "
        case TaskComplete():
            return GOOD
        case TaskFailed() | AnswerRefused() | ModelFailed() | ToolReturned(failed=True):
            return BAD
    return " "
