"""Serve the page on this machine alone; nothing can be written through it."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from traceback import print_exc
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from backcast.domain.errors import BackcastError, InputError
from backcast.engine.interfaces.view.difference_panel import difference_panel
from backcast.engine.interfaces.view.markup import Markup, tag
from backcast.engine.interfaces.view.moment_panel import moment_panel
from backcast.engine.interfaces.view.page import asset, page, step_row
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.engine.interfaces.view.reading import RunReader
from backcast.engine.interfaces.view.searching import search
from backcast.engine.interfaces.view.step_panel import step_panel
from backcast.engine.interfaces.view.whatif import whatif_panel
from backcast.engine.log.store import EventStore

HOST = "127.0.0.1"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
}  # fmt: skip
ASSETS = {"/view.css": "text/css", "/view.js": "text/javascript"}
LONGEST_QUERY = 4_000
Query = Mapping[str, str]


class Forbidden(Exception):
    """A request that did not come from the page itself, or from this machine."""


class PageServer:
    """What the server answers; one request at a time reads the store."""

    def __init__(
        self, store: EventStore, task: str | None, version: int, notes: list[str], log: str = ""
    ) -> None:
        """`log` is the name of the log, where it is not the store of the command."""
        self.store, self.task, self.version, self.notes = store, task, version, notes
        self.log = log
        self.makers: dict[str, PanelMaker] = {}
        self.lock = Lock()

    def maker(self, query: Query) -> PanelMaker:
        """Return the maker of the panels of the task that is asked about, read to its end."""
        task = query.get("task") or self.task or ""
        if task not in self.makers:
            self.store.require(task)
            self.makers[task] = PanelMaker(RunReader(self.store, task), address=self.log or task)
        maker = self.makers[task]
        maker.reader.sequence.read_on()
        if not maker.reader.sequence.steps:
            raise InputError(f"task {task!r}: needed events that can be read, found none")
        return maker

    def answer(self, path: str, query: Query) -> tuple[str, str]:
        """Return the type and the text of an answer."""
        if path in ASSETS:
            return ASSETS[path], asset(path[1:])
        with self.lock:
            if path == "/" and not (self.task or query.get("task")):
                return "text/html", self._tasks()
            maker = self.maker(query)
            if path == "/search":
                return "application/json", self._search(maker, query)
            if path == "/":
                return "text/html", self._page(maker, query)
            if path in _PARTS:
                part, reader = _PARTS[path], maker.reader
                key = path, reader.sequence.version, *sorted(query.items())
                return "text/html", reader.held(key, lambda: part(maker, query))
        raise InputError(f"needed /, found {path}")

    def _page(self, maker: PanelMaker, query: Query) -> str:
        sequence = maker.reader.sequence
        middle = None
        if pair := query.get("d"):
            before, after = _pair(pair)
            middle, version = difference_panel(maker, before, after), max(before, after)
        elif "w" in query:
            version = _number(query, "w", 1)
            middle = whatif_panel(maker, version, query.get("policy", ""))
        else:
            version = _number(query, "e", (maker.reader.task == self.task and self.version) or
                              sequence.worst().event)  # fmt: skip
        version = max(1, min(version, sequence.version))
        head = (tag("link", rel="stylesheet", href="/view.css"),
                tag("script", src="/view.js", defer=True))  # fmt: skip
        return page(maker, version, middle, head, notes=self.notes)

    def _tasks(self) -> str:
        rows = [tag("li", _task_link(task)) for task in self.store.tasks()]
        top = tag("head", tag("meta", charset="utf-8"), tag("title", "backcast"),
                  tag("link", rel="stylesheet", href="/view.css"))  # fmt: skip
        body = tag("body", tag("header", tag("h1", "Tasks")), tag("ol", *rows, class_="tasks"))
        return f"<!doctype html>\n{tag('html', top, body, lang='en')}\n"

    def _search(self, maker: PanelMaker, query: Query) -> str:
        words = query.get("q", "")[:LONGEST_QUERY]
        version = _number(query, "e", maker.reader.sequence.version)
        found, holding = search(maker.reader, words, version)
        return json.dumps({"found": [one._asdict() for one in found], "texts": holding})


def _task_link(task: str) -> Markup:
    return tag("a", task, href=f"/?task={quote(task, safe='')}")


def _number(query: Query, name: str, default: int) -> int:
    value = query.get(name, "")
    return int(value) if value.isdecimal() and value.isascii() and len(value) < 12 else default


def _pair(text: str) -> tuple[int, int]:
    before, _, after = text.partition("..")
    if before.isdecimal() and after.isdecimal() and len(text) < 24:
        return int(before), int(after)
    raise InputError(f"needed two events such as 79..164, found {text[:40]!r}")


def _step(maker: PanelMaker, query: Query) -> str:
    return step_panel(maker, maker.shown.sequence.at(_number(query, "e", 1)))


def _moment(maker: PanelMaker, query: Query) -> str:
    return moment_panel(maker, _number(query, "e", 1))


def _difference(maker: PanelMaker, query: Query) -> str:
    return difference_panel(maker, *_pair(query.get("d", "")))


def _rows(maker: PanelMaker, query: Query) -> str:
    """Return the rows of the steps from an event on, and the last event."""
    sequence, first = maker.shown.sequence, _number(query, "e", 0)
    steps = [step for step in sequence.steps if step.last > first]
    rows = [step_row(maker, step) for step in steps]
    return tag("ol", *rows, data_last=sequence.version, data_ended=sequence.ended or None)


def _whatif(maker: PanelMaker, query: Query) -> str:
    return whatif_panel(maker, _number(query, "e", 1), query.get("policy", ""))


_PARTS: dict[str, Callable[[PanelMaker, Query], str]] = {
    "/step": _step, "/moment": _moment, "/difference": _difference, "/rows": _rows,
    "/whatif": _whatif,
}  # fmt: skip
"What the page asks for when one moves in it."


class PageRequest(BaseHTTPRequestHandler):
    """One request of a browser."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "backcast", ""
    timeout = 30
    wbufsize = -1
    disable_nagle_algorithm = True  # else an answer may wait 40 ms for the one before
    answers: PageServer
    names: frozenset[str]

    def do_GET(self) -> None:
        """Answer a request, if it comes from the page itself or from who typed its address."""
        try:
            self._check()
            split = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(split.query).items()}
            kind, text = self.answers.answer(split.path, query)
            self._send(200, kind, text)
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
        if self.headers.get("Host", "") not in self.names:
            raise Forbidden("needed the address that 'backcast view' printed, found another Host")
        origin = self.headers.get("Origin")
        if origin is not None and origin.removeprefix("http://") not in self.names:
            raise Forbidden("needed a request of the page itself, found another Origin")
        site, mode = self.headers.get("Sec-Fetch-Site"), self.headers.get("Sec-Fetch-Mode")
        if site in ("cross-site", "same-site") and mode != "navigate":
            raise Forbidden("needed a request of the page itself, found one of another site")

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


class LoopbackServer(ThreadingHTTPServer):
    """A server on this machine alone."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away."""
        with suppress(Exception):
            self.shutdown_request(request)


def serve(
    store: EventStore, task: str | None, version: int, port: int, notes: list[str],
    tell: Callable[[str], None], log: str = "",
) -> None:  # fmt: skip
    """Serve until Ctrl-C. `InputError` where the port is taken."""
    server = listening(store, task, version, port, notes, log)
    with server, suppress(KeyboardInterrupt):
        tell(f"http://{HOST}:{server.server_address[1]}/")
        server.serve_forever()


def listening(
    store: EventStore, task: str | None, version: int, port: int, notes: list[str], log: str = ""
) -> LoopbackServer:
    """Return a server that listens. `InputError` where the port is taken."""
    answers = PageServer(store, task, version, notes, log)
    if task:
        answers.answer("/", {})  # once, for the first who looks not to wait
    made = type("BoundRequest", (PageRequest,), {"answers": answers, "names": frozenset()})
    try:
        server = LoopbackServer((HOST, port), made)
    except OSError as error:
        raise InputError(
            f"--port: needed a free port, found {port}: {error.strerror}; 0 takes any"
        ) from None
    bound = server.server_address[1]
    made.names = frozenset(f"{name}:{bound}" for name in (HOST, "localhost"))  # type: ignore[attr-defined]
    return server
