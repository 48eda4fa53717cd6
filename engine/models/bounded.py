"""One connection to a model server, with an end: so many seconds and so many bytes, and no more.

httpx bounds the time between two bytes, not that of a whole answer; here every wait ends where the
whole is to end. Needs the extra 'server'.
"""

import ssl
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import httpcore2
import httpx2
import openai

from backcast.engine.models.address import is_here, is_openai
from backcast.engine.models.wire import BYTES

CONNECT = 5.0
"Seconds until a server that does not take a connection counts as not there."
SENT = (
    "host", "connection", "accept", "accept-encoding", "content-type", "content-length",
    "transfer-encoding", "user-agent",
)  # fmt: skip
"The headers that any server gets, beside the key."


class NoAnswerError(Exception):
    """What is sent is no answer of a model; the rest of it is not read."""


class Backend(httpcore2.NetworkBackend):
    """Opens connections that end at a moment of the monotonic clock."""

    def __init__(self, under: httpcore2.NetworkBackend, end: float) -> None:
        self.under, self.end = under, end

    def connect_tcp(self, *args: Any, **options: Any) -> httpcore2.NetworkStream:
        """A stream to a host and port, opened within the time that is left."""
        options["timeout"] = min(CONNECT, left(self.end))
        return Stream(self.under.connect_tcp(*args, **options), self.end)


class Stream(httpcore2.NetworkStream):
    """Bytes from and to a server, until the end or until they are too many."""

    def __init__(self, under: httpcore2.NetworkStream, end: float) -> None:
        self.under, self.end, self.seen = under, end, 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Some bytes; `ReadTimeout` past the end, `NoAnswerError` past the bound."""
        found = self.under.read(max_bytes, left(self.end))
        self.seen += len(found)
        if self.seen > BYTES:
            raise NoAnswerError(f"more than {BYTES:,} bytes")
        return found

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes; `WriteTimeout` past the end."""
        self.under.write(buffer, left(self.end))

    def close(self) -> None:
        """End the connection: llama-server then stops to generate."""
        self.under.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:  # fmt: skip
        """The same stream, encrypted."""
        secure = self.under.start_tls(ssl_context, server_hostname, left(self.end))
        return Stream(secure, self.end)

    def get_extra_info(self, info: str) -> Any:
        """What the stream below tells of itself."""
        return self.under.get_extra_info(info)


def left(end: float) -> float:
    """The seconds until a moment; `ReadTimeout` where there are none."""
    if (seconds := end - monotonic()) <= 0:
        raise httpcore2.ReadTimeout("no time is left")
    return seconds


@contextmanager
def client_of(url: str, key: str, end: float) -> Iterator[openai.OpenAI]:
    """OpenAI's client for one question: whatever ends it, Ctrl-C too, closes its connection."""
    proxy = _proxy(url)
    verify = _certificates() if "https:" in (url[:6], str(proxy)[:6]) else False
    transport = httpx2.HTTPTransport(verify=verify, trust_env=False, proxy=proxy)
    # httpx takes no backend for the network; that ours is used is what the tests see.
    transport._pool._network_backend = Backend(transport._pool._network_backend, end)
    asking = [] if is_openai(url) else [_bare(key)]
    # A redirect would send the prompt, and the key, to who knows whom.
    http = httpx2.Client(
        transport=transport, timeout=None, follow_redirects=False,
        event_hooks={"request": asking, "response": [_refuse_packed]},
    )  # fmt: skip
    with openai.OpenAI(
        base_url=url, api_key=key, max_retries=0, timeout=None, http_client=http,
        default_headers={"Accept-Encoding": "identity"},
    ) as client:  # fmt: skip
        yield client


def _bare(key: str) -> Callable[[httpx2.Request], None]:
    """Strips a question of what OpenAI's client takes from OPENAI_ORG_ID and its like."""

    def strip(request: httpx2.Request) -> None:
        for name in list(request.headers):
            # By those of its own the client tells later how it is to read the answer.
            if name.lower() not in SENT and not name.lower().startswith("x-stainless-"):
                del request.headers[name]
        request.headers["Authorization"] = f"Bearer {key}"

    return strip


def _refuse_packed(response: httpx2.Response) -> None:
    """Raise on a packed answer, which nobody asked for: a few bytes of it could fill the memory."""
    if (packing := response.headers.get("content-encoding", "identity")) != "identity":
        raise NoAnswerError(f"content packed by {packing[:20]!r}")


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for a server; none for one on this machine."""
    parts = urlsplit(url)
    if is_here(url) or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    named = urllib.request.getproxies()
    return named.get(parts.scheme) or named.get("all")
