"""One exchange with a model as events: what was asked, what came, and what is kept of both."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from backcast.domain.context_events import ContextBuilt, ForeignRequest, RequestPart
from backcast.domain.events import (
    Claim,
    Fact,
    MessageReceived,
    ModelFailed,
    ModelReplied,
    TaskStarted,
    ToolCalled,
    ToolReturned,
)
from backcast.engine.log.blobs import Blob
from backcast.engine.log.exchanges import sessions, spool
from backcast.engine.log.exchanges.answers import GarbledAnswer, ModelAnswer, read_answer
from backcast.engine.log.exchanges.bodies import (
    BodyPart,
    SplitBody,
    is_shown,
    part_text,
    split_body,
)
from backcast.engine.log.exchanges.recorded_tools import printed
from backcast.engine.log.exchanges.requests import (
    assembled,
    digest_of_body,
    shortened,
)
from backcast.engine.log.exchanges.sessions import KnownContext
from backcast.engine.log.exchanges.spool import Exchange
from backcast.engine.log.exchanges.talk import new_words

if TYPE_CHECKING:
    from backcast.engine.log.exchanges.writer import ExchangeWriter

GOAL = 64 * 2**10
UNREAD = ("setting", "rest", "image", "file")
"Kinds of parts whose text no tokenizer reads."
KINDS = {spool.LEFT: "left", spool.CUT: "cut", spool.KILLED: "cut", spool.LOST: "lost",
         spool.UNAVAILABLE: "unavailable"}  # fmt: skip
REASONS = {
    spool.LEFT: "the client left before the answer ended",
    spool.CUT: "the server broke off",
    spool.KILLED: "the proxy ended before the answer did",
    spool.LOST: "the rest could not be kept",
    spool.UNAVAILABLE: "the server cannot be reached",
}


class PromptCounter(Protocol):
    """What counts a prompt as the asked server does."""

    def count(self, text: str) -> int | None:
        """Return the tokens of a text; None where the server does not tell."""

    def prompt(self, task: str, body: bytes, dialect: str) -> "CountedPrompt | None":
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
    answer_tokens: int | None = None
    stale: int | None = None
    "Parts of the prompt that are superseded contents of files; None where that is not known."


class ModelExchange:
    """An exchange with a model while it is written."""

    def __init__(
        self, writer: "ExchangeWriter", exchange: Exchange, dialect: str, path: str
    ) -> None:
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
        counter = None if self.said.purpose else self.writer.counter
        if counter:
            self.counted = counter.prompt(self.task, exchange.body, self.dialect)
        reader = self.writer.reader(self.task)
        base = reader.parts(self.base) if self.base else ()
        split = split_body(exchange.body, self.dialect)
        if not self.base:
            self.writer.tools(self.task).told((part.kind, part.text) for part in split.parts)
        parts = self._parts(split, base)
        self._talk(parts[0])
        context, asked = self._context(*parts, base)
        answer = self._answer(context)
        self.writer.append(exchange, self.task, self.after, self.claims, self.blobs)
        reader.hold(context, assembled(asked, base))
        replied = any(isinstance(claim.fact, ModelReplied) for claim in self.claims)
        if not self.said.purpose:
            spoken = sessions.spoken_by(answer.text, [call.id for call in answer.calls])
            known = KnownContext(context, self.said.messages, replied, self.said.key, spoken)
            self.writer.remember(self.task, known)
            if replied and answer.id:
                self.writer.answered(answer.id, self.task, context)
        faults = [claim.fact.reason for claim in self.claims if isinstance(claim.fact, ModelFailed)]
        return WrittenCall(
            self.task, context, prompt=True, fault=(faults or [None])[0] or "",
            tokens=answer.prompt_tokens, cached=answer.cached_tokens,
            answer_tokens=answer.tokens,
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
        held = [known.messages for known in self._contexts() if known.version == self.base]
        fresh = sessions.fresh(held[0] if held else (), self.said.messages)
        tools = self.writer.tools(self.task)
        shown = {part_text(blob.body): blob.ref for blob in self.blobs}
        for words in new_words(self.exchange.body, self.dialect, fresh):
            text = Blob(words.text.encode(errors="surrogatepass"), shown.get(words.text))
            if words.role == "user":
                self.blobs.append(text)
                fact: Fact = MessageReceived(role="user", text=text.ref)
                self._claim(fact, self.exchange.began, "user")
                continue
            call = tools.calls.get(words.call_id or "")
            if words.call_id in tools.answered:
                continue  # an agent shows a result otherwise than it was: its prompt tells
            self.blobs.append(text)
            failed = words.failed or printed(words.text)[1]
            tool = call.tool if call else None
            named = {"tool": tool, "call_id": words.call_id, "output": text.ref, "failed": failed}
            fact = ToolReturned(**{name: value for name, value in named.items() if value})
            because = (call.version,) if call else ()
            by = f"tool:{tool}" if tool else "tool"
            version = self._claim(fact, self.exchange.began, by, because)
            if words.call_id:
                tools.returned(words.call_id, version, words.text, failed, self._held, self._told)

    def _held(self, body: bytes, base: str | None) -> str:
        """Keep a text of a file, and return its name."""
        self.blobs.append(Blob(body, base))
        return self.blobs[-1].ref

    def _told(self, fact: Fact, writer: str, because: tuple[int, ...]) -> int:
        """Claim a fact about a file."""
        return self._claim(fact, self.exchange.began, writer, because)

    def _contexts(self) -> tuple[KnownContext, ...]:
        session = self.writer.sessions.get(self.task)
        return session.contexts if session else ()

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
        answer, fault = ModelAnswer(), fault_of(exchange)
        kind = "refused" if _is_refusal(exchange) else KINDS.get(exchange.how, "refused")
        if exchange.answer:
            headers = exchange.headers
            try:
                answer = read_answer(
                    exchange.answer, self.dialect, headers.get("content-type", ""),
                    headers.get("content-encoding", ""),
                )  # fmt: skip
            except GarbledAnswer as error:
                fault, kind = fault or str(error), kind if fault else "garbled"
        if answer.ended and exchange.how in (spool.LEFT, spool.KILLED, spool.LOST):
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
            version = self._claim(called, ended, by, (replied,))
            if not self.said.purpose:
                self.writer.tools(self.task).called(version, call.id, call.name, arguments)
        return answer

    def _keep(self, text: str) -> str | None:
        if not text:
            return None
        self.blobs.append(Blob(text.encode(errors="surrogatepass")))
        return self.blobs[-1].ref


def _kept(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of an answer that failed: all that came of it."""
    return {name: value for name, value in given.items() if name != "finish"}


def fault_of(exchange: Exchange) -> str:
    """Return why an exchange failed, as HTTP tells it; empty where it did not."""
    if _is_refusal(exchange):
        shown = exchange.answer[:200].decode(errors="replace")
        return f"status {exchange.status}: {shown}"
    if exchange.how != spool.FINISHED:
        reason = REASONS[exchange.how]
        return f"{reason}: {exchange.why}" if exchange.why else reason
    return ""


def _is_refusal(exchange: Exchange) -> bool:
    """Return whether the server refused. Some clients leave once they have read the status."""
    known = exchange.how in (spool.FINISHED, spool.LEFT)
    return known and exchange.status is not None and exchange.status >= 400
