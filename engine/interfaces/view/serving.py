"""Serve the page on this machine alone; nothing can be written through it."""

from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from traceback import print_exc
from typing import Any
from urllib.parse import parse_qs, urlsplit

from backcast.domain.errors import BackcastError, InputError
from backcast.engine.interfaces.own_pages import HOST, AllowedPages, own_names
from backcast.engine.interfaces.view.answering import PageServer
from backcast.engine.interfaces.view.markup import tag
from backcast.engine.log.store import EventStore

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
}  # fmt: skip
LARGEST = 64_000
"Bytes of what a request may carry: the settings of a policy."


class Forbidden(Exception):
    """A request that did not come from the page itself, or from this machine."""


class PageRequest(BaseHTTPRequestHandler):
    """One request of a browser."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "backcast", ""
    timeout = 30
    wbufsize = -1
    disable_nagle_algorithm = True  # else an answer may wait 40 ms for the one before
    answers: PageServer
    pages: AllowedPages

    def do_GET(self) -> None:
        """Answer a request, if it comes from the page itself or from who typed its address."""
        self._answered(self._got)

    def do_POST(self) -> None:
        """Compute what another policy would have shown, for the page itself alone."""
        self._answered(self._posted)

    def _got(self) -> tuple[str, str]:
        split = urlsplit(self.path)
        return self.answers.answer(split.path, _fields(split.query))

    def _posted(self) -> tuple[str, str]:
        self.close_connection = True  # where the body is not read, what follows is no request
        if self.headers.get("Origin") is None:
            raise Forbidden("needed a request of the page itself, found one without an Origin")
        size = self.headers.get("Content-Length", "")
        if not (size.isdecimal() and size.isascii() and len(size) < 8 and int(size) <= LARGEST):
            raise InputError(f"needed at most {LARGEST:,} bytes, found {size[:20] or 'no length'}")
        body = self.rfile.read(int(size)).decode(errors="replace")
        path = urlsplit(self.path).path
        return "text/html", self.answers.compute(path, _fields(body))

    def _answered(self, answer: Callable[[], tuple[str, str]]) -> None:
        try:
            self._check()
            self._send(200, *answer())
        except Forbidden as error:
            self._send(403, "text/plain", str(error))
        except BackcastError as error:
            self._send(404, "text/html", tag("p", str(error), class_="bad"))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except Exception as error:  # a fault of ours: the page says so, and goes on
            print_exc()
            self._send(500, "text/html", tag("p", f"a fault of backcast: {error!r}", class_="bad"))

    do_HEAD = do_GET

    def _check(self) -> None:
        """Refuse names of other machines, by which a foreign page could reach this server."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        if reason := self.pages.refusal(headers):
            raise Forbidden(reason)

    def _send(self, code: int, kind: str, text: str) -> None:
        body = text.encode(errors="backslashreplace")
        self.send_response(code)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the terminal shows the address, and what is wrong."""


def _fields(query: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(query).items()}


class LoopbackServer(ThreadingHTTPServer):
    """A server on this machine alone."""

    daemon_threads = True
    answers: PageServer | None = None

    def server_close(self) -> None:
        """Stop listening, and end what is computed."""
        if self.answers:
            self.answers.worker.close()
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away."""
        with suppress(Exception):
            self.shutdown_request(request)


def serve(
    store: EventStore, task: str | None, version: int, port: int, notes: list[str],
    tell: Callable[[str], None], log: str = "", url: str = "",
) -> None:  # fmt: skip
    """Serve until Ctrl-C. `InputError` where the port is taken."""
    server = listening(store, task, version, port, notes, log, url)
    with server, suppress(KeyboardInterrupt):
        tell(f"http://{HOST}:{server.server_address[1]}/")
        server.serve_forever()


def listening(
    store: EventStore, task: str | None, version: int, port: int, notes: list[str], log: str = "",
    url: str = "",
) -> LoopbackServer:  # fmt: skip
    """Return a server that listens. `InputError` where the port is taken."""
    answers = PageServer(store, task, version, notes, log, url)
    if task:
        answers.answer("/", {})  # once, for the first who looks not to wait
    try:
        server = LoopbackServer((HOST, port), PageRequest)
    except OSError as error:
        raise InputError(
            f"--port: needed a free port, found {port}: {error.strerror}; 0 takes any"
        ) from None
    bound = server.server_address[1]
    server.answers = answers
    known = {"answers": answers, "pages": AllowedPages(frozenset(own_names(bound)))}
    server.RequestHandlerClass = type("BoundRequest", (PageRequest,), known)
    return server
