"""A session that an agent's own log tells, and that a proxy recorded too, or the agent's bodies.

Both stay as they are, each in its task: the one has the prompts to the byte, the other what the
agent did beside them. They are known to be one by the session's id, where requests carry it; by a
call of a tool, whose id no other session has, or by the first words and a reply that both have, at
the same time: a run that is tried again may say the same.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import DamagedError
from backcast.domain.events import (
    Imported,
    ModelReplied,
    TaskStarted,
    ToolCalled,
)
from backcast.engine.log.exchanges.requests import RequestReader, body_of
from backcast.engine.log.exchanges.sessions import session_in
from backcast.engine.log.store import EventStore

LOGS = ("claude-code", "codex", "pi", "qwen", "opencode")
"Formats of the logs that agents keep of their sessions, by whose ids the tasks are named."
SLACK = timedelta(seconds=30)
"An agent writes an answer down a little later than a proxy."
UNIQUE = 12
"Characters of a call's id that no other session has; some servers count calls from 0."


def same_sessions(store: EventStore) -> dict[str, tuple[str, ...]]:
    """Return the tasks that hold the same session, of each task that says so or is named so."""
    found: dict[str, dict[str, None]] = {}
    for event in store.read(types=["IMPORTED"]):
        for other in event.fact.same_as if isinstance(event.fact, Imported) else ():
            found.setdefault(event.task_id, {})[other] = None
            found.setdefault(other, {})[event.task_id] = None
    return {task: tuple(others) for task, others in found.items()}


def recorded_as(store: EventStore, task: str, session: str) -> tuple[str, ...]:
    """Return the tasks that recorded the session of an imported one, and are not known to."""
    known = same_sessions(store).get(task, ())
    tasks = [other for other in _recorded(store) if other != task and other not in known]
    own = _SessionWords(store, task) if tasks else None
    return tuple(other for other in tasks if own and _is_one(store, other, session, own))


def imported_as(store: EventStore, task: str) -> tuple[str, ...]:
    """Return the tasks that hold the agent's log of a recorded session, and are not known to."""
    known = same_sessions(store).get(task, ())
    logs = {
        event.task_id
        for event in store.read(types=["IMPORTED"])
        if isinstance(event.fact, Imported) and event.fact.format in LOGS
    } - {task, *known}
    return tuple(
        other for other in sorted(logs) if _is_one(store, task, other, _SessionWords(store, other))
    )


def _recorded(store: EventStore) -> Iterator[str]:
    """Yield the tasks that hold requests to the byte."""
    for task in store.tasks():
        first = next(store.read(task, types=["CONTEXT_BUILT"]), None)
        request = first.fact.request if first and isinstance(first.fact, ContextBuilt) else None
        branch = any(True for _ in store.read(task, types=["BRANCHED"]))
        if request and not request.fidelity and not branch:
            yield task


def _is_one(store: EventStore, other: str, session: str, own: "_SessionWords") -> bool:
    given = _session_of(store, other)
    if given and given == session:
        return True
    said = _SessionWords(store, other)
    if not own.overlaps(said):  # the same words again, as when a run is tried once more
        return False
    if own.calls & said.calls or (given and session):
        return bool(own.calls & said.calls)
    return bool(own.goal) and own.goal == said.goal and bool(own.replies & said.replies)


def _session_of(store: EventStore, task: str) -> str | None:
    """Return the session that the first request of a task names."""
    for found in RequestReader(store, task).all():
        try:
            return session_in(body_of(found, store.get), found.request.headers)
        except DamagedError:
            return None
    return None


class _SessionWords:
    """What was said in a task, as far as it tells one session from another."""

    def __init__(self, store: EventStore, task: str) -> None:
        self.goal, self.calls, self.replies = "", set[str](), set[str]()
        self.times: list[datetime] = []
        for event in store.read(task, types=["TASK_STARTED", "TOOL_CALLED", "MODEL_REPLIED"]):
            match event.fact:
                case TaskStarted(goal=str(goal)):
                    self.goal = self.goal or goal.strip()
                case ToolCalled(call_id=str(id)) if len(id) >= UNIQUE:
                    self.calls.add(id)
                case ModelReplied():
                    self.times.append(event.timestamp)
                    self.replies.update([event.fact.text] if event.fact.text else [])

    def overlaps(self, other: "_SessionWords") -> bool:
        """Return whether replies came to both at the same time."""
        if not (self.times and other.times):
            return False
        begins, ends = (
            max(min(self.times), min(other.times)),
            min(max(self.times), max(other.times)),
        )
        return begins <= ends + SLACK
