"""Replay a log as steps: each prompt with what was known when it was asked for, and its outcome.

Each event is read once, and the states of many steps share their parts, so that they need little
memory. For logs without prompts see `backcast.engine.replay.changes`.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import (
    ModuleComplete,
    ModuleIteration,
    SourceRead,
    StepStarted,
    ToolReturned,
)
from backcast.domain.graph import Graph
from backcast.domain.node import node_id, path_of
from backcast.engine.context.request import Request
from backcast.engine.history.follow import TaskFollower
from backcast.engine.history.task_states import TaskStates
from backcast.engine.log.store import EventStore

READ = (
    "STEP_STARTED", "CONTEXT_BUILT", "MODULE_ITERATION", "MODULE_COMPLETE", "TOOL_RETURNED",
    "SOURCE_READ",
)  # fmt: skip


class KnownState(NamedTuple):
    """The states of all projections at a moment, and the dependency graph."""

    states: TaskStates
    graph: Graph

    def asked(self, at: datetime) -> "KnownState":
        """Return what was known, as a prompt of this time asks for it."""
        return self._replace(states=self.states._replace(at=at))


class SaidPart(NamedTuple):
    """A message of a conversation, an answer or a result, before it joins others of its role."""

    role: str
    kind: str
    "system, message, answer or result."
    name: str
    "Its kind, its tool, and its event."
    text: str


class SentAction(NamedTuple):
    """What an imported agent sent next, as a text to read."""

    text: str
    new: tuple[bool, ...]
    "Of each line whether nothing that the agent had been told holds it."
    messages: tuple[tuple[str, str], ...]
    "What it had been told, and had said, until then: role and text."
    parts: tuple[SaidPart, ...] = ()
    "The parts that these are joined of."


class ReplayStep(NamedTuple):
    """A prompt that was asked for, with its state and its outcome."""

    task_id: str
    version: int
    "Version of the prompt's event, else of the event that made the change."
    name: str
    "The request in a few words: `code validators.py #3`."
    request: Request
    built: ContextBuilt | None
    "The prompt as it was recorded."
    known: KnownState
    after: KnownState
    "State when its outcome was accepted; equal to `known` where nothing came of it."
    opened: tuple[str, ...] = ()
    "Nodes that were requested or read before the next prompt."
    action: SentAction | None = None
    "What an imported agent sent; None for all other steps."


class RecordedPrompt(NamedTuple):
    """A recorded prompt and its place in the task."""

    version: int
    stood_at: int
    begun: StepStarted
    "The step that asked for it; empty where a prompt stands alone."
    fact: ContextBuilt
    accepted: int
    "Version at which its outcome is complete; `stood_at` where nothing came of it."
    opened: tuple[str, ...]
    at: datetime
    "The time at which it was recorded, from which times to live counted."

    @property
    def name(self) -> str:
        """The request in a few words."""
        return _name(self.begun, self.fact)

    @property
    def request(self) -> Request:
        """The request that the prompt answers."""
        fact = self.fact
        return Request(fact.target or "", fact.query or "", fact.wanted, fact.needs, fact.behind)


def steps(store: EventStore, task_id: str, *, outcomes: bool = False) -> Iterator[ReplayStep]:
    """Yield the recorded prompts of a task in the order in which they were asked for.

    Without `outcomes` the steps end where they began, which needs fewer states.
    """
    waiting = deque(asked(store, task_id))
    if not outcomes:
        waiting = deque(one._replace(accepted=one.stood_at) for one in waiting)
    running, known = TaskFollower(store, task_id), dict[int, KnownState]()
    for stop in sorted({place for one in waiting for place in (one.stood_at, one.accepted)}):
        running.read_on(stop)
        known[stop] = KnownState(running.states, running.graph)
        while waiting and waiting[0].accepted <= stop:
            prompt = waiting.popleft()
            before = known[prompt.stood_at].asked(prompt.at)
            after = before if prompt.accepted == prompt.stood_at else known[prompt.accepted]
            yield ReplayStep(
                task_id, prompt.version, prompt.name, prompt.request, prompt.fact, before, after,
                prompt.opened,
            )  # fmt: skip
            first = waiting[0].stood_at if waiting else stop
            known = {place: what for place, what in known.items() if place >= first}


def asked(store: EventStore, task_id: str) -> list[RecordedPrompt]:
    """Return the recorded prompts of a task that have a digest, by the version they stood at."""
    log = _Log(store, task_id)
    prompts = [log.asked(number) for number in range(len(log.built))]
    return sorted(prompts, key=lambda prompt: (prompt.stood_at, prompt.version))


class _Log:
    """The versions at which a task asked for prompts, and at which their outcomes came."""

    def __init__(self, store: EventStore, task_id: str) -> None:
        self.last = store.version(task_id)
        self.built: list[tuple[int, StepStarted, ContextBuilt]] = []
        self.times: list[datetime] = []
        self.made: dict[str, list[int]] = {}
        "The versions at which each module was iterated."
        self.done: dict[str, list[int]] = {}
        "The versions at which each module was complete."
        self.opened: list[tuple[int, str]] = []
        "Versions, and the nodes that were requested or read at them."
        self.opened_by: dict[int, list[str]] = {}
        "The nodes that calls requested which ran beside others, by the version of their prompt."
        contexts: dict[int, int] = {}
        begun = StepStarted()
        for event in store.read(task_id, types=READ):
            match event.fact:
                case StepStarted(again=again) as begun:
                    contexts[event.version] = again or event.version + 1
                case ContextBuilt(digest=str()) as fact:
                    self.built.append((event.version, begun, fact))
                    self.times.append(event.timestamp)
                    begun = StepStarted()
                case ModuleIteration(module_name=path):
                    self.made.setdefault(path, []).append(event.version)
                case ModuleComplete(module_name=path):
                    self.done.setdefault(path, []).append(event.version)
                case ToolReturned(call=int(call), nodes=nodes) if call in contexts:
                    self.opened_by.setdefault(contexts[call], []).extend(nodes)
                case ToolReturned(nodes=nodes):
                    self.opened += [(event.version, node) for node in nodes]
                case SourceRead(path=path):
                    self.opened.append((event.version, node_id("module", path)))
        self.places = [version for version, _, _ in self.built]

    def asked(self, number: int) -> RecordedPrompt:
        version, begun, fact = self.built[number]
        following = self.places[number + 1] if number + 1 < len(self.places) else self.last + 1
        begin, end = (bisect_right(self.opened, (place, "")) for place in (version, following))
        opened = [node for _, node in self.opened[begin:end]] + self.opened_by.get(version, [])
        stood_at = version - 1 if fact.stood_at is None else fact.stood_at
        accepted = 0 if begun.kind in ("plan", "summary") else self._accepted(version, fact)
        return RecordedPrompt(
            version, stood_at, begun, fact, max(accepted, stood_at),
            tuple(dict.fromkeys(opened)), self.times[number],
        )  # fmt: skip

    def _accepted(self, version: int, fact: ContextBuilt) -> int:
        """Return the version at which the module accepted after a prompt is outlined; 0 for none.

        The outline stands after the module and before the next prompt.
        """
        path = path_of(fact.target or "")
        end = next((done for done in self.done.get(path, ()) if done > version), self.last)
        made = [place for place in self.made.get(path, ()) if version < place <= end]
        if not made:
            return 0
        place = bisect_right(self.places, made[-1])
        return (self.built[place][2].stood_at or 0) if place < len(self.built) else self.last


def _name(begun: StepStarted, fact: ContextBuilt) -> str:
    if begun.kind is None:
        return fact.target or "query"
    words = [begun.kind, begun.module_name or ""]
    if begun.iteration:
        words.append(f"#{begun.iteration}")
    if begun.attempt and begun.attempt > 1:
        words.append(f"attempt {begun.attempt}")
    if begun.alternative:
        words.append(f"alternative {begun.alternative}")
    return " ".join(filter(None, words))
