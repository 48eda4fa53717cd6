"""One question to a model server over HTTP, within so many seconds and so many bytes.

A socket's timeout bounds the wait for its next bytes, not that for a whole answer: here every wait
ends where the whole is to end. No redirect is followed: it would take the prompt, and the key, to
who knows whom.
"""

import json
import ssl
from contextlib import nullcontext, suppress
from functools import lru_cache, partial
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection, IncompleteRead
from io import BufferedReader, RawIOBase
from socket import SHUT_RDWR, socket
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple, Protocol, cast
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import (
    AbstractHTTPHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    getproxies,
)

from backcast.engine.models.address import is_here
from backcast.engine.models.cancelling import Cancellation
from backcast.engine.models.retry_after import wait_asked

CONNECT = 5.0
"Seconds until a server that does not take a connection counts as not there."
BYTES = 16_000_000
"The longest answer that is read: no model says more within its window."


STREAM = 16 * BYTES
"The longest stream that is read: each of its events holds more than it says."


class Listener(Protocol):
    """Whoever takes the body of an answer as it comes."""

    silence: float | None
    "Seconds without a byte after which it is given up; None for no such limit."

    def take(self, data: bytes) -> bool:
        """Take the next bytes; whether nothing more needs to be read."""


class NoAnswerError(Exception):
    """The server sends what cannot be a model's answer; the rest of it is not read."""


class SilentError(TimeoutError):
    """A server that had begun its answer sent nothing more for too long."""


class HttpAnswer(NamedTuple):
    """The status and body of a server's answer."""

    status: int
    body: bytes
    wait: float | None = None
    "Seconds that the server asks to wait before the next try."


def ask(
    url: str, body: object, key: str, seconds: float, cancellation: Cancellation | None = None,
    listener: Listener | None = None,
) -> HttpAnswer:  # fmt: skip
    """Post a body as JSON, or get the URL where it is None, and return the answer.

    A `listener` is given the body of an answer that is no error as it comes, and it is not kept.
    Where the call is cancelled, its connection is closed at once: the server then ends its work.
    Raise `TimeoutError` when the seconds are over, `NoAnswerError` for an answer that is packed or
    too long, `OSError`, `HTTPException` or `ValueError` where the server gives none.
    """
    sent = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    if key:
        sent["Authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    if seconds <= 0:
        raise TimeoutError("no time is left")
    request, wire = Request(url, data, sent), _Wire()
    request.wire = wire  # type: ignore[attr-defined]
    held = cancellation.closing(wire.close) if cancellation else nullcontext()
    try:
        with held, _opener(url).open(request, timeout=seconds) as answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            if listener is not None and answer.status < 300:
                _listen(answer, listener, wire)
                return HttpAnswer(answer.status, b"")
            return HttpAnswer(answer.status, _read(answer), wait_asked(headers, answer.status))
    except URLError as error:
        raise error.reason if isinstance(error.reason, OSError) else error from None


def _listen(answer: HTTPResponse, listener: Listener, wire: "_Wire") -> None:
    """Hand on a body as it comes; each wait for more of it ends by the listener's limit too."""
    _refuse_packed(answer)
    wire.silence, whole, got = listener.silence, answer.length, 0
    while most := 65_536 if whole is None else min(65_536, whole - got):
        if not (data := answer.read1(most)):
            break
        got += len(data)
        if got > STREAM:
            raise NoAnswerError(f"more than {STREAM:,} bytes")
        if listener.take(data):
            return
        wire.silence = listener.silence
    if whole is not None and got < whole:
        raise IncompleteRead(b"", whole - got)


def _refuse_packed(answer: HTTPResponse) -> None:
    packing = answer.headers.get("content-encoding", "identity")
    if packing != "identity":  # a few packed bytes could fill the memory
        raise NoAnswerError(f"content packed by {packing[:20]!r}")


def _read(answer: HTTPResponse) -> bytes:
    _refuse_packed(answer)
    body = answer.read(BYTES + 1)
    if len(body) > BYTES:
        raise NoAnswerError(f"more than {BYTES:,} bytes")
    if answer.length:
        raise IncompleteRead(body, answer.length)
    return body


def _opener(url: str) -> OpenerDirector:
    """Return what asks a server: one on this machine without a proxy, whatever is set."""
    scheme, proxies = urlsplit(url).scheme, {} if is_here(url) else getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    opener = OpenerDirector()
    opener.add_handler(ProxyHandler({scheme: proxy} if proxy else {}))
    opener.add_handler(_Handler())
    return opener


class _Wire:
    """The socket of one request, which another thread may close."""

    def __init__(self) -> None:
        self._lock, self._socket, self._closed = Lock(), cast(socket | None, None), False
        self.silence: float | None = None
        "Seconds without a byte after which it is given up."

    def carry(self, under: socket) -> None:
        """Note the socket; a request that is closed already gets no answer."""
        with self._lock:
            self._socket = under
        if self._closed:
            self.close()

    def close(self) -> None:
        """End what is sent and what is waited for."""
        with self._lock:
            self._closed = True
            if self._socket is not None:
                with suppress(OSError):  # the other side was quicker
                    self._socket.shutdown(SHUT_RDWR)


class _Handler(AbstractHTTPHandler):
    http_request = https_request = AbstractHTTPHandler.do_request_

    def http_open(self, request: Request) -> HTTPResponse:
        return self.do_open(partial(_Connection, wire=_wire_of(request)), request)

    def https_open(self, request: Request) -> HTTPResponse:
        connect = partial(_SecureConnection, wire=_wire_of(request), context=_certificates())
        return self.do_open(connect, request)


def _wire_of(request: Request) -> _Wire:
    wire: _Wire = request.wire  # type: ignore[attr-defined]
    return wire


class _Connection(HTTPConnection):
    """A connection whose `timeout` is that of the question and its whole answer."""

    timeout: float

    def __init__(self, *args: Any, wire: _Wire, **options: Any) -> None:
        super().__init__(*args, **options)
        self._wire = wire

    def connect(self) -> None:
        self._end = monotonic() + self.timeout
        self.timeout = min(CONNECT, self.timeout)
        try:
            super().connect()
        except TimeoutError:
            raise ConnectionError(f"no connection within {self.timeout:.3g} seconds") from None
        self.sock.settimeout(max(0.001, self._end - monotonic()))
        self._wire.carry(self.sock)

    def response_class(self, sock: socket, *args: Any, **options: Any) -> HTTPResponse:  # type: ignore[override]
        return HTTPResponse(cast(socket, _Until(sock, self._end, self._wire)), *args, **options)


class _SecureConnection(_Connection, HTTPSConnection):
    pass


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Until(RawIOBase):
    """The bytes that a socket receives until a moment of the monotonic clock; then
    `TimeoutError`, and `SilentError` where none came for too long."""

    def __init__(self, under: socket, end: float, wire: _Wire) -> None:
        self._socket, self._end, self._wire = under, end, wire
        self._bytes = under.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if (seconds := self._end - monotonic()) <= 0:
            raise TimeoutError("timed out")
        silence = self._wire.silence
        if silence is None or silence >= seconds:
            self._socket.settimeout(seconds)
            return self._bytes.readinto(buffer)
        self._socket.settimeout(silence)
        try:
            return self._bytes.readinto(buffer)
        except TimeoutError:
            raise SilentError(f"nothing came for {silence:.3g} seconds") from None

    def close(self) -> None:
        self._bytes.close()
        super().close()

    def makefile(self, _: str) -> BufferedReader:
        """Return all that an `HTTPResponse` asks of a socket."""
        return BufferedReader(self)
