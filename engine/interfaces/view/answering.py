"""What the server answers: the page, its panels, and what another policy would have shown."""

import json
from collections.abc import Callable, Mapping
from threading import Lock
from urllib.parse import quote

from backcast.domain.errors import InputError
from backcast.engine.interfaces.task_summaries import summary_of
from backcast.engine.interfaces.view.difference_panel import difference_panel
from backcast.engine.interfaces.view.markup import Markup, table, tag
from backcast.engine.interfaces.view.moment_panel import moment_panel
from backcast.engine.interfaces.view.page import asset, page, step_row
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.engine.interfaces.view.reading import RunReader
from backcast.engine.interfaces.view.searching import search
from backcast.engine.interfaces.view.step_panel import step_panel
from backcast.engine.interfaces.view.whatif import whatif_panel
from backcast.engine.interfaces.view.whatif_form import ALL, whatif_choice
from backcast.engine.interfaces.view.whatif_worker import AskedPolicy, PolicyWorker
from backcast.engine.interfaces.view.why_form import why_answer
from backcast.engine.interfaces.views import UNTIMED
from backcast.engine.log.remote import shown
from backcast.engine.log.store import EventStore

ASSETS = {"/view.css": "text/css", "/view.js": "text/javascript"}
GOAL = 300
"Characters of a goal in the list of tasks."
LONGEST_QUERY = 4_000
KEPT = 15
"Answers about other policies that are kept beside the latest."
Query = Mapping[str, str]


class PageServer:
    """What the server answers; one request at a time reads the store."""

    def __init__(
        self, store: EventStore, task: str | None, version: int, notes: list[str], log: str = "",
        url: str = "", worker: PolicyWorker | None = None,
    ) -> None:  # fmt: skip
        """`log` is the name of the log, where it is not the store of a `url`."""
        self.store, self.task, self.version, self.notes = store, task, version, notes
        self.log, self.url, self.worker = log, url, worker or PolicyWorker()
        self.makers: dict[str, PanelMaker] = {}
        self.lock = Lock()
        self._computed: dict[tuple[object, ...], Markup] = {}

    def maker(self, query: Query) -> PanelMaker:
        """Return the maker of the panels of the task that is asked about, read to its end."""
        task = query.get("task") or self.task or ""
        if task not in self.makers:
            self.store.require(task)
            reader = RunReader(self.store, task)
            self.makers[task] = PanelMaker(reader, log=self.log, store_url=shown(self.url))
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
            is_list = query.get("tasks") or not (self.task or query.get("task"))
            if path == "/" and is_list:
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

    def compute(self, path: str, query: Query) -> str:
        """Return what another policy would have shown: alone, or on the page.

        A process of its own computes it, and meanwhile the page answers.
        """
        if path not in ("/", "/whatif"):
            raise InputError(f"needed / or /whatif, found {path}")
        with self.lock:
            maker, version = self.maker(query), _number(query, "w", 1)
            last = maker.reader.sequence.version
        policy, text = query.get("policy", ""), query.get("toml", "").replace("\r\n", "\n")
        key = last, maker.reader.task, version, policy, text
        found = self._computed.get(key)
        if found is None:
            source = self.log or self.url
            parts, is_whole = self.worker.ask(AskedPolicy(
                source, maker.reader.task, self.log, shown(self.url), version, policy, text
            ))  # fmt: skip
            title = f"{policy}, with other settings" if text.strip() else policy
            title = "any of the named policies" if policy == ALL else title
            found = whatif_panel(title, whatif_choice(maker, version, policy, text), parts)
            if is_whole:
                self._computed = {key: found, **dict(list(self._computed.items())[:KEPT])}
        if path == "/whatif":
            return found
        with self.lock:
            return self._page(maker, query, found)

    def _page(self, maker: PanelMaker, query: Query, whatif: Markup | None = None) -> str:
        sequence = maker.reader.sequence
        middle = None
        if pair := query.get("d"):
            before, after = _pair(pair)
            middle, version = difference_panel(maker, before, after), max(before, after)
        elif whatif:
            middle, version = whatif, _number(query, "w", 1)
        else:
            version = _number(query, "e", (maker.reader.task == self.task and self.version) or
                              sequence.worst().event)  # fmt: skip
        version = max(1, min(version, sequence.version))
        head = (tag("link", rel="stylesheet", href="/view.css"),
                tag("script", src="/view.js", defer=True))  # fmt: skip
        return page(maker, version, middle, head, notes=self.notes)

    def _tasks(self) -> str:
        listed = [_listed(self.store, task) for task in self.store.tasks()]
        rows = [(_task_link(task), *cells) for _, task, cells in sorted(listed, reverse=True)]
        top = tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("title", "backcast"),
            tag("link", rel="stylesheet", href="/view.css"),
        )
        heads = ("task", "last event", "status", "answers", "failed calls", "about")
        body = tag("body", tag("header", tag("h1", "Tasks, the newest first")),
                   tag("main", table(heads, rows), class_="tasks"))  # fmt: skip
        return f"<!doctype html>\n{tag('html', top, body, lang='en')}\n"

    def _search(self, maker: PanelMaker, query: Query) -> str:
        words = query.get("q", "")[:LONGEST_QUERY]
        version = _number(query, "e", maker.reader.sequence.version)
        answer = search(maker.reader, words, version)
        places = [place._asdict() for place in answer.found]
        return json.dumps(answer._asdict() | {"found": places})


def _listed(store: EventStore, task: str) -> tuple[str, str, tuple[object, ...]]:
    """Return when a task's last event was, its name, and what the list tells of it."""
    found = summary_of(store, task)
    last = store.version(task)
    event = next(store.read(task, after=last - 1, last=last), None)
    when = event.timestamp.strftime("%Y-%m-%d %H:%M") if event else ""
    when = "" if event is None or event.timestamp.year == UNTIMED else when
    failed = tag("b", f"✗ {found.failed:,}", class_="bad") if found.failed else ""
    is_cut = bool(found.format) and found.status in ("generating", "started")
    ended = "its log ends" if is_cut else found.ended
    status = ", ".join(filter(None, (ended, found.format, found.lacks)))
    answers = f"{found.answers:,}" if found.answers else ""
    return when, task, (tag("time", when), status, answers, failed, found.goal[:GOAL])


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


def _why(maker: PanelMaker, query: Query) -> str:
    return why_answer(maker, _number(query, "e", 1), query.get("i", "")[:GOAL])


def _rows(maker: PanelMaker, query: Query) -> str:
    """Return the rows of the steps from an event on, and the last event."""
    sequence, first = maker.shown.sequence, _number(query, "e", 0)
    steps = [step for step in sequence.steps if step.last > first]
    rows = [step_row(maker, step) for step in steps]
    return tag("ol", *rows, data_last=sequence.version, data_ended=sequence.ended or None)


_PARTS: dict[str, Callable[[PanelMaker, Query], str]] = {
    "/step": _step, "/moment": _moment, "/difference": _difference, "/rows": _rows, "/why": _why,
}  # fmt: skip
"What the page asks for when one moves in it."
