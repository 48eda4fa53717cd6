"""Write exchanges into a store: each request and its answer as events of a task, once.

A conversation is a task: `NAME` the first, `NAME-2` the next. What asks no model (a list of models,
an embedding, a path that nobody knows) stands in `NAME-other`.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from backcast.domain.events import (
    Claim,
    ContextBuilt,
    Fact,
    ForeignRequest,
    MessageReceived,
    ModelFailed,
    ModelReplied,
    RequestPart,
    ServerAnswer,
    TaskStarted,
    ToolCalled,
    ToolReturned,
    UnknownFact,
)
from backcast.engine.log.blobs import Blob
from backcast.engine.log.exchanges import sessions, spool
from backcast.engine.log.exchanges.answers import GarbledAnswer, ModelAnswer, read_answer
from backcast.engine.log.exchanges.bodies import (
    CHAT,
    DIALECTS,
    BodyPart,
    SplitBody,
    is_shown,
    part_text,
    split_body,
)
from backcast.engine.log.exchanges.requests import (
    RequestReader,
    assembled,
    body_of,
    digest_of_body,
    shortened,
)
from backcast.engine.log.exchanges.sessions import Conversation, KnownContext, Session
from backcast.engine.log.exchanges.spool import Exchange
from backcast.engine.log.exchanges.talk import new_words
from backcast.engine.log.store import EventStore

SOURCE = "record"
"The source under which the id of an exchange is kept."
GOAL = 64 * 2**10
HELD, RECALLED = 500, 50
"Conversations that may go on at once, and of those recorded before."
UNREAD = ("setting", "rest", "image", "file")
"Kinds of parts whose text no tokenizer reads."
KINDS = {spool.LEFT: "left", spool.CUT: "cut", spool.KILLED: "cut",
         spool.UNAVAILABLE: "unavailable"}  # fmt: skip
REASONS = {
    spool.LEFT: "the client left before the answer ended",
    spool.CUT: "the server broke off",
    spool.KILLED: "the proxy ended before the answer did",
    spool.UNAVAILABLE: "the server cannot be reached",
}


class PromptCounter(Protocol):
    """What counts a prompt as the asked server does."""

    def count(self, text: str) -> int | None:
        """Return the tokens of a text; None where the server does not tell."""

    def prompt(self, task: str, body: bytes) -> "CountedPrompt | None":
        """Return a whole prompt, counted; None where the server does not tell."""


class CountedPrompt(NamedTuple):
    """A prompt as the server's template makes it of a request."""

    text: str
    tokens: int
    shared: int | None
    "Leading tokens that it shares with the task's prompt before it."


class WrittenCall(NamedTuple):
    """What was written of an exchange."""

    task: str
    version: int
    "The event of the request."
    prompt: bool
    "Whether a model was asked."
    fault: str = ""
    tokens: int | None = None
    cached: int | None = None


class ExchangeWriter:
    """The only writer of a proxy's exchanges."""

    def __init__(
        self, store: EventStore, name: str = "recorded", counter: PromptCounter | None = None
    ) -> None:
        self.store, self.name, self.counter = store, name, counter
        self.sessions: dict[str, Session] = {}
        self._readers: dict[str, RequestReader] = {}
        self._answers: dict[str, str] = {}
        "The latest answer of each task, which the next resembles."
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
            return _Call(self, exchange, dialect, path).written()
        return self._other(exchange)

    def reader(self, task: str) -> RequestReader:
        """Return the reader of a task's requests."""
        return self._readers.setdefault(task, RequestReader(self.store, task))

    def append(
        self, exchange: Exchange, task: str, after: int, claims: list[Claim], blobs: list[Blob]
    ) -> None:
        """Append the claims of an exchange, and remember that it is written."""
        rows = [self.store.row(task, after + n, claim) for n, claim in enumerate(claims, 1)]
        self.store.write_rows(rows, blobs, [(SOURCE, exchange.head.id, b"", 0)])

    def task_for(self, conversation: Conversation, named: str) -> tuple[str, int | None]:
        """Return the task of a conversation, and the context that it goes on from."""
        first = conversation.messages[:1]
        tasks = self._first.get(first[0], {}) if first else {}
        known = {task: self.sessions[task] for task in tasks if named in ("", task)}
        if found := sessions.nearest(known, conversation):
            return found
        if named:
            return named, None
        if conversation.purpose or not conversation.messages:
            return f"{self.name}-other", None
        self._last += 1
        return self.name if self._last == 1 else f"{self.name}-{self._last}", None

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

    def _other(self, exchange: Exchange) -> WrittenCall:
        """Write an exchange that asks no model."""
        task = exchange.head.task or f"{self.name}-other"
        after, blobs = self.store.version(task), [Blob(exchange.body)]
        answer = self.answer(exchange, task, blobs)
        given = {"request": blobs[0].ref} if exchange.body else {}
        came = {"http_answer": answer.model_dump(exclude_unset=True)} if answer else {}
        payload = {
            "method": exchange.head.method, "path": exchange.head.path, "seconds": exchange.seconds,
            "ended": exchange.how,
        } | given | came  # fmt: skip
        fact = UnknownFact(kind="HTTP_EXCHANGE", payload=payload)
        claims = [Claim(fact, exchange.began, "record", ())]
        if not after:
            claims.insert(0, Claim(TaskStarted(), exchange.began, "record", ()))
        self.append(exchange, task, after, claims, blobs if exchange.body else blobs[1:])
        return WrittenCall(task, after + len(claims), prompt=False, fault=_fault(exchange))

    def _recall(self, task: str) -> None:
        """Remember the latest contexts of a task that was recorded before."""
        answered = {
            cause for event in self.store.read(task, types=["MODEL_REPLIED"])
            for cause in event.because
        }  # fmt: skip
        versions = [found.version for found in self.reader(task).all()][-sessions.RECENT :]
        for version in versions:
            if found := self.reader(task).at(version):
                body = body_of(found, self.store.get)
                said = sessions.conversation(body, found.request.dialect, found.request.path)
                if not said.purpose:
                    known = KnownContext(version, said.messages, version in answered)
                    self.remember(task, known)


class _Call:
    """An exchange with a model while it is written."""

    def __init__(self, writer: ExchangeWriter, exchange: Exchange, dialect: str, path: str) -> None:
        self.writer, self.store, self.exchange = writer, writer.store, exchange
        self.dialect, self.path = dialect, path
        self.claims: list[Claim] = []
        self.blobs: list[Blob] = []
        self.said = sessions.conversation(exchange.body, dialect, path)
        self.counted: CountedPrompt | None = None
        self.task, self.base = writer.task_for(self.said, exchange.head.task)
        self.after = self.store.version(self.task)

    def written(self) -> WrittenCall:
        """Write it."""
        exchange, began = self.exchange, self.exchange.began
        if not self.after:
            goal = {"goal": self.said.goal[:GOAL]} if self.said.goal else {}
            self._claim(TaskStarted(**goal), began, "user")
        counter, counts = self.writer.counter, self.dialect == CHAT and not self.said.purpose
        self.counted = counter.prompt(self.task, exchange.body) if counter and counts else None
        reader = self.writer.reader(self.task)
        base = reader.parts(self.base) if self.base else ()
        parts = self._parts(split_body(exchange.body, self.dialect), base)
        self._talk(parts[0])
        context, asked = self._context(*parts, base)
        answer = self._answer(context)
        self.writer.append(exchange, self.task, self.after, self.claims, self.blobs)
        reader.hold(context, assembled(asked, base))
        replied = any(isinstance(claim.fact, ModelReplied) for claim in self.claims)
        if not self.said.purpose:
            known = KnownContext(context, self.said.messages, replied)
            self.writer.remember(self.task, known)
        faults = [claim.fact.reason for claim in self.claims if isinstance(claim.fact, ModelFailed)]
        return WrittenCall(
            self.task, context, prompt=True, fault=(faults or [None])[0] or "",
            tokens=answer.prompt_tokens, cached=answer.cached_tokens,
        )  # fmt: skip

    def _claim(self, fact: Fact, when: datetime, writer: str, because: tuple[int, ...] = ()) -> int:
        self.claims.append(Claim(fact, when, writer, because))
        return self.after + len(self.claims)

    def _parts(
        self, split: SplitBody, base: tuple[RequestPart, ...]
    ) -> tuple[list[RequestPart], str]:
        """Return the parts of the body, counted, and what stands behind them."""
        known = {part.text: part.tokens for part in base}
        return [self._part(part, known) for part in split.parts], split.rest

    def _part(self, part: BodyPart, known: dict[str, int | None]) -> RequestPart:
        blob = Blob(part.text)
        if blob.ref not in known:
            self.blobs.append(blob)
            known[blob.ref] = self._count(part)
        fields = {"before": part.before, "role": part.role, "name": part.name,
                  "tokens": known[blob.ref]}  # fmt: skip
        given = {name: value for name, value in fields.items() if value not in ("", None)}
        return RequestPart.model_validate({"kind": part.kind, "text": blob.ref} | given)

    def _count(self, part: BodyPart) -> int | None:
        """Return the tokens of a part that a model reads; none where the template leaves it out."""
        if self.writer.counter is None or part.kind in UNREAD:
            return None
        if self.counted and not is_shown(part, self.counted.text):
            return 0
        return self.writer.counter.count(part_text(part.text))

    def _talk(self, parts: list[RequestPart]) -> None:
        """Claim what people and tools said since the context that the request goes on from."""
        if self.said.purpose:
            return
        held = [known for known in self._contexts() if known.version == self.base]
        after = sessions.common(held[0].messages, self.said.messages) if held else 0
        shown = {part_text(blob.body): blob.ref for blob in self.blobs}
        for words in new_words(self.exchange.body, self.dialect, after):
            text = Blob(words.text.encode(errors="surrogatepass"), shown.get(words.text))
            self.blobs.append(text)
            if words.role == "user":
                fact: Fact = MessageReceived(role="user", text=text.ref)
                self._claim(fact, self.exchange.began, "user")
            else:
                call, tool = self._called(words.call_id)
                named = {"tool": tool, "call_id": words.call_id, "output": text.ref,
                         "failed": words.failed}  # fmt: skip
                fact = ToolReturned(**{name: value for name, value in named.items() if value})
                self._claim(fact, self.exchange.began, f"tool:{tool}" if tool else "tool", call)

    def _contexts(self) -> tuple[KnownContext, ...]:
        session = self.writer.sessions.get(self.task)
        return session.contexts if session else ()

    def _called(self, id: str | None) -> tuple[tuple[int, ...], str | None]:
        """Return the event and the tool of a call."""
        after = self.base or 0
        for event in self.store.read(self.task, after=after, types=["TOOL_CALLED"]):
            if isinstance(event.fact, ToolCalled) and event.fact.call_id == id:
                return (event.version,), event.fact.tool
        return (), None

    def _context(
        self, parts: list[RequestPart], rest: str, base: tuple[RequestPart, ...]
    ) -> tuple[int, ForeignRequest]:
        """Claim the context, and return its version and the request that it holds."""
        body = self.exchange.body
        own, runs = shortened(parts, base)
        trial = ForeignRequest(path="", parts=own, copied=runs)
        if runs and list(assembled(trial, base)) == parts:
            copied = {"base": self.base, "copied": runs}
        else:
            own, copied = tuple(parts), {}
        fields = {"dialect": self.dialect, "purpose": self.said.purpose, "rest": rest,
                  "headers": self.exchange.head.headers}  # fmt: skip
        request = ForeignRequest(
            path=self.exchange.head.path, parts=own, digest=digest_of_body(body), size=len(body),
            **copied, **{name: value for name, value in fields.items() if value},
        )  # fmt: skip
        counted = self.counted
        whole = {} if counted is None else {"tokens": counted.tokens}
        if counted is not None and counted.shared is not None:
            whole["shared_prefix"] = counted.shared
        fact = ContextBuilt(request=request, **whole)
        return self._claim(fact, self.exchange.began, "record"), request

    def _answer(self, context: int) -> ModelAnswer:
        """Claim what came of the request, and return it as far as it can be read."""
        exchange = self.exchange
        ended = exchange.began + timedelta(seconds=exchange.seconds)
        came = self.writer.answer(exchange, self.task, self.blobs)
        answer, fault = ModelAnswer(), _fault(exchange)
        kind = KINDS.get(exchange.how, "refused")
        if exchange.answer:
            headers = exchange.headers
            try:
                answer = read_answer(
                    exchange.answer, self.dialect, headers.get("content-type", ""),
                    headers.get("content-encoding", ""),
                )  # fmt: skip
            except GarbledAnswer as error:
                fault, kind = fault or str(error), kind if fault else "garbled"
        if answer.ended and exchange.how in (spool.LEFT, spool.KILLED):
            fault = ""  # nothing was missing but the end of the connection
        if not fault and answer.error:
            fault, kind = answer.error, "refused"
        elif not fault and not answer.ended:
            fault, kind = "the stream ended without its end", "cut"
        fields = {
            "text": self._keep(answer.text), "thinking": self._keep(answer.thinking),
            "model": answer.model, "finish": answer.finish, "prompt_tokens": answer.prompt_tokens,
            "tokens": answer.tokens, "cached_tokens": answer.cached_tokens, "http_answer": came,
        }  # fmt: skip
        given = {name: value for name, value in fields.items() if value is not None}
        by = "model"
        if fault:
            failed = ModelFailed(reason=fault, kind=kind, **_kept(given))
            self._claim(failed, ended, by, (context,))
            return answer
        if self.said.purpose == sessions.COUNT:
            given.pop("text", None)
        reply = ModelReplied(**given, seconds=exchange.seconds)
        replied = self._claim(reply, ended, by, (context,))
        for call in answer.calls:
            try:
                arguments = json.loads(call.arguments) if call.arguments else None
            except (ValueError, RecursionError):
                arguments = call.arguments
            called = ToolCalled(tool=call.name, call_id=call.id or None, arguments=arguments)
            self._claim(called, ended, by, (replied,))
        return answer

    def _keep(self, text: str) -> str | None:
        if not text:
            return None
        self.blobs.append(Blob(text.encode(errors="surrogatepass")))
        return self.blobs[-1].ref


def _kept(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of an answer that failed: all that came of it."""
    return {name: value for name, value in given.items() if name != "finish"}


def _fault(exchange: Exchange) -> str:
    """Return why an exchange failed, as HTTP tells it; empty where it did not."""
    if exchange.how != spool.FINISHED:
        reason = REASONS[exchange.how]
        return f"{reason}: {exchange.why}" if exchange.why else reason
    if exchange.status is not None and exchange.status >= 400:
        shown = exchange.answer[:200].decode(errors="replace")
        return f"status {exchange.status}: {shown}"
    return ""
