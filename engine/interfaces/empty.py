"""The word on an empty answer: which events would have filled it, and which there are instead."""

from collections import Counter
from typing import TYPE_CHECKING

from backcast.engine.interfaces.terminal import escaped, message

if TYPE_CHECKING:
    from backcast.domain.moment import Moment
    from backcast.engine.log.store import EventStore

LISTED = 6
"Types of event that are named."
FILLED_BY = {
    "summaries": ("written summary", ("SUMMARY_WRITTEN",)),
    "prompts": ("recorded prompt", ("CONTEXT_BUILT",)),
    "progress": ("progress", ("TASK_STARTED",)),
    "versions": ("module", ("MODULE_ITERATION", "MODULE_RENAMED", "SOURCE_READ")),
    "online": ("working set", ("TASK_STARTED", "MODULE_STARTED", "TOOL_RETURNED")),
    "checks": ("run of checks", ("CHECKS_RAN",)),
    "prefixes": ("answer, nor a beginning that was read before", ("MODEL_REPLIED",)),
    "spending": ("call", ("STEP_STARTED", "MODEL_REPLIED", "DISPATCH_STARTED")),
    "changes": ("change", ("MODULE_ITERATION", "MODULE_RENAMED", "MODULE_DELETED")),
}
"What is missing where nothing can be shown, and the types of event that would fill it."


def note_empty(
    store: "EventStore", task: str | None, moment: "Moment", answer: str, types: tuple[str, ...]
) -> None:
    """Say on stderr why an answer is empty: no event of the types by then, but others.

    With `None` for the task, the whole store is meant.
    """
    from backcast.engine.history.commits import lacks_before

    counts = Counter(event.type for event in store.read(task, moment=moment))
    owner = "the store" if task is None else f"task {escaped(task)!r}"
    if not counts:
        first = next(store.read(task), None)
        begins = f"; its first event is of {first.timestamp.isoformat()}" if first else ""
        if task is not None and lacks_before(store, task):
            begins += ", with which the import began: earlier commits are not in it"
        message(f"note: no {answer}: nothing had happened in {owner} by then{begins}")
        return
    if any(counts[kind] for kind in types):
        message(f"note: no {answer} by then")
        return
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    common = [f"{count} {escaped(kind)}" for kind, count in ranked[:LISTED]]
    more = ", ..." if len(counts) > LISTED else ""
    message(
        f"note: no {answer}: {owner} has no {' or '.join(types)} by then, but"
        f" {', '.join(common)}{more}"
    )
