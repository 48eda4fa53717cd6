"""Servers that say whatever a function sends on the bare connection, with TLS or without."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class RawConnection:
    """A connection of a client to the server."""

    def __init__(self, bare: socket.socket, server: "RawServer") -> None:
        self.bare, self.server = bare, server

    def asked(self) -> bytes:
        """Read a request with its body, and return the body; `EOFError` where none comes."""
        got = b""
        while b"\r\n\r\n" not in got:
            got += self._read()
        head, _, body = got.partition(b"\r\n\r\n")
        sizes = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
        size = int(sizes[0].split(b":")[1]) if sizes else 0
        while len(body) < size:
            body += self._read()
        self.server.asked.append((head.split()[1].decode(), body))
        return body

    def _read(self) -> bytes:
        if not (some := self.bare.recv(65536)):
            raise EOFError
        return some

    def answer(self, *headers: str, body: bytes = b"", status: str = "200 OK") -> None:
        """Send a head and a body as they are."""
        head = "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""])
        self.bare.sendall(head.encode() + body)

    def wait_until_gone(self, seconds: float = 15) -> None:
        """Read on until the other side has closed, which `gone` tells, and end the connection."""
        self.bare.settimeout(seconds)
        with suppress(ConnectionError):
            while self.bare.recv(65536):
                pass
        self.server.gone.set()
        raise EOFError


class RawServer:
    """A server; `play` is called with each connection."""

    def __init__(
        self, play: Callable[[RawConnection], object], context: ssl.SSLContext | None = None
    ) -> None:
        self.play, self.context = play, context
        self.asked: list[tuple[str, bytes]] = []
        self.connections = 0
        self.gone = threading.Event()
        self.ended = False
        "Whether the block is left: a thread that went on would take a processor from all tests."
        self.listening = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self.listening.getsockname()[1]}"

    def serve(self) -> None:
        """Serve until the socket is closed."""
        while True:
            try:
                bare, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._served, args=(bare,), daemon=True).start()

    def _served(self, bare: socket.socket) -> None:
        self.connections += 1
        with suppress(OSError, EOFError), bare:
            if self.context:
                bare = self.context.wrap_socket(bare, server_side=True)
            with bare:
                connection = RawConnection(bare, self)
                while not self.ended:
                    self.play(connection)


@contextmanager
def raw_server(
    play: Callable[[RawConnection], object], context: ssl.SSLContext | None = None
) -> Iterator[RawServer]:
    """Serve while the block runs. `play` returns where another request may come."""
    server = RawServer(play, context)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended = True
        with suppress(OSError):
            server.listening.shutdown(socket.SHUT_RDWR)
        server.listening.close()
        thread.join(5)


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate of this machine that nobody signed, and a server's context with it."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key,
         "-out", cert, "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context
