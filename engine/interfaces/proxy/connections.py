"""Connections to the server, on asyncio's own streams.

Httpx reads through a layer that serves several event loops; here each piece of each stream would
pay for that. Pooling, HTTP and TLS's settings stay with httpx.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

import httpcore
import httpx

PIECE = 64 * 2**10
Result = TypeVar("Result")


class StreamConnection(httpcore.AsyncNetworkStream):
    """A connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what came; nothing at the end."""
        return await _named(self.reader.read(max_bytes), timeout, httpcore.ReadError)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send, and wait until there is room for more."""
        if self.writer.is_closing():
            raise httpcore.WriteError("the server closed the connection")
        self.writer.write(buffer)
        await _named(self.writer.drain(), timeout, httpcore.WriteError)

    async def aclose(self) -> None:
        """Close the connection at once."""
        self.writer.transport.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:  # fmt: skip
        """Go on in TLS."""
        starting = self.writer.start_tls(ssl_context, server_hostname=server_hostname)
        await _named(starting, timeout, httpcore.ConnectError)
        return self

    def get_extra_info(self, info: str) -> Any:
        """Return what is known of the connection."""
        if info == "is_readable":
            # An idle connection that says something is at its end: it would answer the next request
            # with what it said. No public name tells that something waits to be read.
            waiting = bool(vars(self.reader)["_buffer"])
            return waiting or self.reader.at_eof() or self.writer.is_closing()
        names = {"ssl_object": "ssl_object", "client_addr": "sockname", "server_addr": "peername"}
        return self.writer.get_extra_info(names.get(info, info))


class Connections(httpcore.AsyncNetworkBackend):
    """What makes connections."""

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:  # fmt: skip
        """Connect."""
        connecting = asyncio.open_connection(
            host, port, limit=PIECE, local_addr=(local_address, 0) if local_address else None
        )
        pair = await _named(connecting, timeout, httpcore.ConnectError)
        return StreamConnection(*pair)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class StreamTransport(httpx.AsyncHTTPTransport):
    """Httpx's transport, on these connections."""

    def __init__(self, limits: httpx.Limits, context: ssl.SSLContext | None = None) -> None:
        context = context or httpx.create_ssl_context(trust_env=False)
        super().__init__(verify=context, limits=limits, trust_env=False)
        # Httpx has no name for it, httpcore does: see network_backend there.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=Connections(),
        )


_LATE: dict[type[Exception], type[Exception]] = {
    httpcore.ConnectError: httpcore.ConnectTimeout,
    httpcore.ReadError: httpcore.ReadTimeout,
    httpcore.WriteError: httpcore.WriteTimeout,
}


async def _named(work: Awaitable[Result], seconds: float | None, error: type[Exception]) -> Result:
    """Wait for a work, some seconds at most; what goes wrong has the name that httpx knows."""
    try:
        return await (work if seconds is None else asyncio.wait_for(work, seconds))
    except TimeoutError as why:
        raise _LATE[error](why) from why
    except OSError as why:
        raise error(why) from why
