"""Write exchanges into a store: each request and its answer as events of a task, once.

A conversation is a task: `NAME` the first, `NAME-2` the next. What asks no model (a list of models,
an embedding, a path that nobody knows) stands in `NAME-other`.
"""

import json
import time
from collections import OrderedDict

from backcast.domain.errors import BackcastError
from backcast.domain.events import (
    Claim,
    ModelReplied,
    ServerAnswer,
    TaskStarted,
    ToolCalled,
    UnknownFact,
)
from backcast.engine.log.blobs import Blob
from backcast.engine.log.exchanges import sessions
from backcast.engine.log.exchanges.bodies import (
    DIALECTS,
)
from backcast.engine.log.exchanges.cleaning import row_for
from backcast.engine.log.exchanges.model_exchange import (
    ModelExchange,
    PromptCounter,
    WrittenCall,
    fault_of,
)
from backcast.engine.log.exchanges.recorded_tools import RecordedTools
from backcast.engine.log.exchanges.requests import (
    RequestReader,
    body_of,
)
from backcast.engine.log.exchanges.sessions import Conversation, KnownContext, Session
from backcast.engine.log.exchanges.spool import Exchange
from backcast.engine.log.packing import condensed
from backcast.engine.log.recorder import NewRow
from backcast.engine.log.store import EventStore
from backcast.engine.log.unknown_types import EXCHANGE

SOURCE = "record"
"The source under which the id of an exchange is kept."
FORCED = 2.0
"Seconds for which a loss of power may cost what was recorded; the end of the proxy forces all."
HELD, RECALLED = 500, 50
"Conversations that may go on at once, and of those recorded before."


class ExchangeWriter:
    """The only writer of a proxy's exchanges."""

    def __init__(
        self, store: EventStore, name: str = "recorded", counter: PromptCounter | None = None
    ) -> None:
        self.store, self.name, self.counter = store, name, counter
        self._forced = 0.0
        self.sessions: dict[str, Session] = {}
        self._readers: dict[str, RequestReader] = {}
        self._tools: dict[str, RecordedTools] = {}
        self._answers: dict[str, str] = {}
        "The latest answer of each task, which the next resembles."
        self._recalled: set[str] = set()
        "Tasks whose earlier contexts are known, as far as there are any."
        self.answers_by_id: OrderedDict[str, tuple[str, int]] = OrderedDict()
        "The task and context of the latest answers that a request may name as the one before."
        self._first: dict[bytes, dict[str, None]] = {}
        "The tasks whose conversation begins with a message."
        numbers = {1: name} | {
            int(number): task
            for task in store.tasks()
            if (number := task.removeprefix(f"{name}-")) != task and number.isdecimal()
        }
        self._last = max(numbers) if len(numbers) > 1 or store.version(name) else 0
        for place in sorted(numbers)[-RECALLED:]:
            self._recall(numbers[place])

    def write(self, exchange: Exchange) -> WrittenCall | None:
        """Write an exchange; None where it is in the store already."""
        if self.store.found(SOURCE, exchange.head.id):
            return None
        path = exchange.head.path.partition("?")[0]
        dialect = DIALECTS.get(path)
        if dialect and exchange.head.method == "POST":
            asked = ModelExchange(self, exchange, dialect, path)
            try:
                return asked.written()
            except BackcastError:  # it may be written again
                self._tools.pop(asked.task, None)
                raise
        return self.as_it_came(exchange)

    def reader(self, task: str) -> RequestReader:
        """Return the reader of a task's requests."""
        return self._readers.setdefault(task, RequestReader(self.store, task))

    def tools(self, task: str) -> RecordedTools:
        """Return the calls of a task, and the files that they tell of."""
        if task not in self._tools:
            self._tools[task] = RecordedTools.of(self.store, task)
        return self._tools[task]

    def append(
        self, exchange: Exchange, task: str, after: int, claims: list[Claim], blobs: list[Blob]
    ) -> None:
        """Append the claims of an exchange, and remember that it is written."""
        rows: list[NewRow] = []
        for version, claim in enumerate(claims, after + 1):
            row = row_for(self.store, task, version, claim)
            rows.append((*row[:-1], condensed(row[-1])))
        # While a disk forces something, no file can be made on it, and a proxy makes one for each
        # request. What a killed proxy wrote is kept all the same.
        now = time.monotonic()
        forced = now - self._forced >= FORCED
        self._forced = now if forced else self._forced
        source = (SOURCE, exchange.head.id, b"", 0)
        self.store.write_rows(rows, blobs, [source], forced=forced, together=task)

    def task_for(self, conversation: Conversation, named: str) -> tuple[str, int | None]:
        """Return the task of a conversation, and the context that it goes on from."""
        if named and named not in self.sessions and named not in self._recalled:
            self._recall(named)
        first = conversation.messages[:1]
        tasks = self._first.get(first[0], {}) if first else {}
        known = {task: self.sessions[task] for task in tasks if named in ("", task)}
        before = self.answers_by_id.get(conversation.goes_on)
        if before and named in ("", before[0]):
            return before
        if found := sessions.nearest(known, conversation):
            return found
        if named:
            return named, None
        if conversation.purpose or not conversation.messages:
            return f"{self.name}-other", None
        self._last += 1
        return self.name if self._last == 1 else f"{self.name}-{self._last}", None

    def answered(self, id: str, task: str, version: int) -> None:
        """Remember an answer that a later request may name."""
        self.answers_by_id[id] = task, version
        if len(self.answers_by_id) > HELD * sessions.RECENT:
            self.answers_by_id.popitem(last=False)

    def remember(self, task: str, known: KnownContext) -> None:
        """Remember a context that later requests may go on from."""
        before = self.sessions.pop(task, Session(task, ()))
        contexts = (*before.contexts, known)[-sessions.RECENT :]
        self.sessions[task] = Session(task, contexts)
        for message in known.messages[:1]:
            tasks = self._first.setdefault(message, {})
            tasks.pop(task, None)
            tasks[task] = None  # the latest stands last
        if len(self.sessions) > HELD:
            self._forget(next(iter(self.sessions)))

    def _forget(self, task: str) -> None:
        """Forget a conversation that has not gone on for long."""
        for known in self.sessions.pop(task).contexts:
            for message in known.messages[:1]:
                tasks = self._first.get(message, {})
                tasks.pop(task, None)
                if not tasks:
                    self._first.pop(message, None)
        self._readers.pop(task, None)
        self._tools.pop(task, None)
        self._answers.pop(task, None)

    def answer(self, exchange: Exchange, task: str, blobs: list[Blob]) -> ServerAnswer | None:
        """Return the answer as it came; None where nothing did."""
        if exchange.status is None:
            return None
        body = Blob(exchange.answer, self._answers.get(task))
        self._answers[task] = body.ref
        last, steps = 0, list[int]()
        for at, size in exchange.arrivals:
            steps += [at - last, size]
            last = at
        arrivals = Blob(json.dumps(steps, separators=(",", ":")).encode())
        blobs += [body, arrivals]
        first = {"first_byte": exchange.arrivals[0][0] / 1000} if exchange.arrivals else {}
        return ServerAnswer(
            status=exchange.status, headers=exchange.headers, body=body.ref,
            arrivals=arrivals.ref, **first,
        )  # fmt: skip

    def as_it_came(self, exchange: Exchange) -> WrittenCall:
        """Write an exchange that asks no model, or that cannot be taken apart."""
        task = exchange.head.task or f"{self.name}-other"
        after, blobs = self.store.version(task), [Blob(exchange.body)]
        answer = self.answer(exchange, task, blobs)
        given = {"request": blobs[0].ref} if exchange.body else {}
        came = {"http_answer": answer.model_dump(exclude_unset=True)} if answer else {}
        payload = {
            "method": exchange.head.method, "path": exchange.head.path, "seconds": exchange.seconds,
            "ended": exchange.how,
        } | given | came  # fmt: skip
        fact = UnknownFact(kind=EXCHANGE, payload=payload)
        claims = [Claim(fact, exchange.began, "record", ())]
        if not after:
            claims.insert(0, Claim(TaskStarted(), exchange.began, "record", ()))
        self.append(exchange, task, after, claims, blobs if exchange.body else blobs[1:])
        return WrittenCall(task, after + len(claims), prompt=False, fault=fault_of(exchange))

    def _recall(self, task: str) -> None:
        """Remember the latest contexts of a task that was recorded before."""
        self._recalled.add(task)
        spoken = self._spoken(task)
        versions = [found.version for found in self.reader(task).all()][-sessions.RECENT :]
        for version in versions:
            if found := self.reader(task).at(version):
                body = body_of(found, self.store.get)
                said = sessions.conversation(body, found.request.dialect, found.request.path)
                if not said.purpose:
                    marks = spoken.get(version)
                    known = KnownContext(
                        version, said.messages, marks is not None, said.key, marks or frozenset()
                    )
                    self.remember(task, known)

    def _spoken(self, task: str) -> dict[int, frozenset[str]]:
        """Return what each answer of a task is known again by, by the version of its context."""
        spoken, contexts = dict[int, frozenset[str]](), dict[int, int]()
        for event in self.store.read(task, types=["MODEL_REPLIED", "TOOL_CALLED"]):
            fact, cause = event.fact, next(iter(event.because), 0)
            if isinstance(fact, ModelReplied):
                body = self.store.get(fact.text) if fact.text else b""
                contexts[event.version] = cause
                spoken[cause] = sessions.spoken_by((body or b"").decode(errors="replace"), ())
            elif isinstance(fact, ToolCalled) and cause in contexts:
                context = contexts[cause]
                spoken[context] |= sessions.spoken_by("", [fact.call_id or ""])
        return spoken
