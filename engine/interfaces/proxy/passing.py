"""The ASGI application: each request goes on to the server as it came, and so does its answer.

When the client leaves, the connection to the server is closed at once, whatever is under way. There
is no timeout for reading: the first token of a long prompt can take minutes.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx

from backcast.engine.interfaces.own_pages import AllowedPages, pages_of
from backcast.engine.interfaces.proxy.connections import StreamTransport
from backcast.engine.interfaces.proxy.gate import CallGate
from backcast.engine.log.exchanges import spool
from backcast.engine.log.exchanges.spool import Spool, SpooledExchange

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

HOPS = frozenset((
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
    b"transfer-encoding", b"upgrade", b"host", b"proxy-connection",
))  # fmt: skip
"Headers that are between two neighbours and are not passed on."
ASKED = frozenset((
    b"content-type", b"content-encoding", b"user-agent", b"accept", b"anthropic-version",
    b"anthropic-beta", b"session_id", b"session-id", b"conversation_id",
    b"x-claude-code-session-id",
))  # fmt: skip
ANSWERED = frozenset((
    b"content-type", b"content-encoding", b"content-length", b"server", b"retry-after",
))  # fmt: skip
"Headers that are recorded; no other is, so no key and no cookie."
TASK = b"x-backcast-task"
"The header by which a client names its task; it is not passed on."
PATH = "/backcast/"
"What a path begins with that names the task: /backcast/NAME/v1/chat/completions."
AHEAD = 64
"Chunks of a request that are held until the server takes them; later ones are on the disk alone."
LARGEST = 64 * 2**20
"Bytes of the largest request; makers of models take half of that."
CONNECT = 10.0
"Seconds for a connection to be made."
IDLE = 4.0
"""Seconds that a connection is kept for the next request. Many servers close theirs after 5: a
request must not meet that, as one that asks a model may not be sent twice."""


class Proxy:
    """The application."""

    def __init__(
        self, to: str, folder: Spool, done: Callable[[SpooledExchange], None],
        client: httpx.AsyncClient | None = None, gate: CallGate | None = None,
        pages: AllowedPages | None = None,
    ) -> None:  # fmt: skip
        """`done` is called with each exchange that ended; what `gate` refuses is not passed on, nor
        what comes from other pages than `pages`."""
        self.pages = pages or pages_of("localhost", ())
        self.to, self.folder, self.done, self.gate = to.rstrip("/"), folder, done, gate
        limits = httpx.Limits(
            max_connections=None, max_keepalive_connections=64, keepalive_expiry=IDLE
        )
        self.client = client or httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=CONNECT), limits=limits, verify=_trusted(),
            # On this machine its own connections count; from it, proxies of the environment lead.
            transport=StreamTransport(limits, _trusted()) if is_here(self.to) else None,
            trust_env=not is_here(self.to),
        )  # fmt: skip

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            return
        if refused := self._refused(scope["headers"]):
            await _answer_instead(send, *refused)
            return
        target, task = _target(scope)
        if self.gate and (reason := await self.gate.refused(task, scope["method"], target)):
            await _answer_instead(send, 429, "budget_exceeded", f"backcast dispatch: {reason}")
            return
        kept = _kept(scope["headers"], ASKED)
        exchange = self.folder.begin(scope["method"], _without_values(target), kept, task)
        ending = False

        async def sending(event: Event) -> None:
            # Whoever has the last byte may ask again at once, and must find this call uncounted.
            nonlocal ending
            if self.gate and not ending and _is_last(event):
                ending = True
                self.gate.ending(task)
            await send(event)

        passing = _Passing(self, exchange, receive, sending if self.gate else send)
        try:
            await passing.run(scope, target)
        finally:
            exchange.end(spool.KILLED)  # only where nothing ended it before
            if self.gate:
                reached = exchange.how != spool.UNAVAILABLE
                if not ending:
                    self.gate.ending(task)
                self.gate.ended(task, scope["method"], target, reached=reached)
            self.done(exchange)

    def _refused(self, headers: Headers) -> tuple[int, str, str] | None:
        """Return the answer to a request of a foreign page, or one that says it is too large."""
        named = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        if reason := self.pages.refusal(named):
            return 403, "foreign_page", f"backcast record: {reason}: --allow lets it ask"
        size = named.get("content-length", "0")
        return _TOO_LARGE if size.isdecimal() and int(size) > LARGEST else None


_TOO_LARGE = (
    413, "request_too_large",
    f"backcast record: needed a request of at most {LARGEST // 2**20} MiB, found a larger one",
)  # fmt: skip


def _is_last(event: Event) -> bool:
    return event["type"] == "http.response.body" and not event.get("more_body", False)


class _Passing:
    """One exchange on its way."""

    def __init__(
        self, proxy: Proxy, exchange: SpooledExchange, receive: Receive, send: Send
    ) -> None:
        self.proxy, self.exchange, self.receive, self.send = proxy, exchange, receive, send
        self.chunks: asyncio.Queue[bytes | tuple[int, int] | None] = asyncio.Queue()
        "What came of the request, or where it ends on the disk, and its size; None at the end."
        self.began = False
        "Whether the answer has begun."

    async def run(self, scope: Event, target: str) -> None:
        """Pass the request and its answer on, until both have ended or the client has left."""
        work = asyncio.ensure_future(self._passed(scope, target))
        hearing = asyncio.ensure_future(self._heard())
        try:
            await asyncio.wait((work, hearing), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():  # the client has left
                self.exchange.end(spool.LEFT)
        finally:
            for task in (work, hearing):
                task.cancel()
            for task in (work, hearing):
                with suppress(asyncio.CancelledError):
                    await task

    async def _heard(self) -> None:
        """Read what the client sends; return when it has left."""
        more, size = True, 0
        while True:
            event = await self.receive()
            if event["type"] == "http.disconnect":
                return
            if body := event.get("body", b""):
                size += len(body)
                if size > LARGEST:
                    self.exchange.end(spool.CUT, _TOO_LARGE[2])
                    if not self.began:
                        await _answer_instead(self.send, *_TOO_LARGE)
                    return
                self.exchange.add(spool.ASKED, body)
                # Never waits for the server: it could not be heard that the client leaves.
                kept = self.chunks.qsize() >= AHEAD and not self.exchange.lost
                self.chunks.put_nowait((self.exchange.size, len(body)) if kept else body)
            if more and not event.get("more_body", False):
                more = False
                self.chunks.put_nowait(None)

    async def _body(self) -> AsyncIterator[bytes]:
        while (chunk := await self.chunks.get()) is not None:
            yield chunk if isinstance(chunk, bytes) else self.exchange.kept(*chunk)

    async def _passed(self, scope: Event, target: str) -> None:
        headers = [(name, value) for name, value in scope["headers"]
                   if name not in HOPS and name != TASK]  # fmt: skip
        names = {name for name, _ in scope["headers"]}
        has_body = b"content-length" in names or b"transfer-encoding" in names
        try:
            request = httpx.Request(
                scope["method"], self.proxy.to + target, headers=headers,
                content=self._body() if has_body else None,
            )  # fmt: skip
            response = await self.proxy.client.send(request, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            await self._unreachable(error)
            return
        try:
            await self._answer(response)
        finally:
            await response.aclose()

    async def _answer(self, response: httpx.Response) -> None:
        headers = [(name.lower(), value) for name, value in response.headers.raw
                   if name.lower() not in HOPS]  # fmt: skip
        self.exchange.note(
            spool.ANSWERED,
            {"status": response.status_code, "headers": _kept(headers, ANSWERED)},
        )  # fmt: skip
        size = response.headers.get("content-length", "")
        due = int(size) if size.isdecimal() else -1
        start = {"type": "http.response.start", "status": response.status_code, "headers": headers}
        self.began = True
        await self.send(start)
        try:
            async for chunk in response.aiter_raw():
                self.exchange.add(spool.ANSWER, chunk)
                due -= len(chunk)
                if due == 0:  # now the client may leave, as it has all
                    self.exchange.end(spool.FINISHED)
                await self.send({"type": "http.response.body", "body": chunk, "more_body": True})
        except (httpx.HTTPError, OSError) as error:
            # Without the end of the body the connection is closed, and the client sees the fault.
            self.exchange.end(spool.CUT, _reason(error))
            return
        # Before the client knows the end, so that no finished exchange can be lost.
        self.exchange.end(spool.FINISHED)
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _unreachable(self, error: Exception) -> None:
        """Answer in the server's place.

        Nothing is asked twice: the server may have begun to work on what broke off.
        """
        reason = _reason(error)
        absent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.InvalidURL)
        self.exchange.end(spool.UNAVAILABLE if absent else spool.CUT, reason)
        what = "cannot be reached" if absent else "broke off before it answered"
        said = f"backcast record: {self.proxy.to} {what}: {reason}"
        type = "upstream_unreachable" if absent else "upstream_broke_off"
        await _answer_instead(self.send, 502, type, said)


async def _answer_instead(send: Send, status: int, type: str, said: str) -> None:
    """Answer in the server's place, in the form that clients of both interfaces show."""
    body = json.dumps({"type": "error", "error": {"type": type, "message": said}}).encode()
    headers = [(b"content-type", b"application/json"),
               (b"content-length", str(len(body)).encode())]  # fmt: skip
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def is_here(to: str) -> bool:
    """Return whether a server is on this machine, where no proxy of the environment leads.

    >>> is_here("http://localhost:8080"), is_here("http://[::1]:8080"), is_here("https://a.org")
    (True, True, False)
    """
    host = urlsplit(to).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _trusted() -> ssl.SSLContext:
    """Return the certificates that are trusted: those of the system, and of SSL_CERT_FILE."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:  # Python found none of the system
        context = httpx.create_ssl_context()
    return context


def _target(scope: Event) -> tuple[str, str]:
    """Return the path and query to ask, to the byte, and the task that the client names."""
    raw = scope.get("raw_path") or scope["path"].encode()
    target, task = raw.decode("ascii", "replace"), ""
    if target.startswith(PATH):
        task, _, target = target.removeprefix(PATH).partition("/")
        target = f"/{target}"
    if query := scope["query_string"]:
        target += "?" + query.decode("ascii", "replace")
    for name, value in scope["headers"]:
        if name == TASK:
            task = value.decode("ascii", "replace")
    return target, task


def _without_values(target: str) -> str:
    """Return a path with the names of its query alone: some put a key there.

    >>> _without_values("/v1/models?key=abc&page")
    '/v1/models?key=&page'
    """
    path, mark, query = target.partition("?")
    names = (f"{name}{sign}" for name, sign, _ in (p.partition("=") for p in query.split("&")))
    return f"{path}?{'&'.join(names)}" if mark else path


def _kept(headers: Headers, names: frozenset[bytes]) -> dict[str, str]:
    return {
        name.lower().decode("latin-1"): value.decode("latin-1")
        for name, value in headers if name.lower() in names
    }  # fmt: skip


def _reason(error: Exception) -> str:
    reason = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        stated = reason.partition("verify failed: ")[2].partition(" (_ssl")[0]
        return (f"its certificate is not trusted ({stated or reason}): name a file of certificates"
                " that are by SSL_CERT_FILE")  # fmt: skip
    return reason
