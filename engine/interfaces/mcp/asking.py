"""Answer the calls of tools, one at a time: the arguments checked, the answer within its tokens.

What is slow to import is imported at the first call: a client waits for the server to begin.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

from backcast.domain.errors import BackcastError, InputError
from backcast.engine.interfaces.mcp.arguments import FORMS
from backcast.engine.interfaces.options import opened
from backcast.engine.interfaces.terminal import escaped_lines, in_a_line

if TYPE_CHECKING:
    from backcast.engine.interfaces.mcp.answers import ToolAnswer
    from backcast.engine.interfaces.mcp.runs import RunShelf

SCHEME = "backcast://"
LISTED = 200
"Prompts that the list of resources names: the last of each run."


class AnsweredCall(NamedTuple):
    """The texts of an answer."""

    texts: tuple[str, ...]
    failed: bool = False


class NamedText(NamedTuple):
    """A text that can be read by its address."""

    uri: str
    name: str


class AskedStore:
    """The store that the tools ask; opened when it is first needed, for it may come later."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock, self._stack = Lock(), ExitStack()
        self._shelf: RunShelf | None = None
        self._notes: list[str] = []

    @property
    def is_busy(self) -> bool:
        """Whether a call is under way."""
        return self._lock.locked()

    def close(self) -> None:
        """Close the store, once a call under way has ended."""
        with self._lock:
            self._stack.close()

    def call(self, name: str, given: Mapping[str, Any]) -> AnsweredCall:
        """Answer a call; an error of ours is a text on which a model can act."""
        with self._lock:
            try:
                return self._answer(name, given)
            except BackcastError as error:
                return AnsweredCall((in_a_line(error),), failed=True)

    def _answer(self, name: str, given: Mapping[str, Any]) -> AnsweredCall:
        from backcast.engine.interfaces.mcp.answers import fitted
        from backcast.engine.interfaces.mcp.briefing import brief
        from backcast.engine.interfaces.mcp.comparing import compare
        from backcast.engine.interfaces.mcp.explaining import explain
        from backcast.engine.interfaces.mcp.finding import find, stale

        if name not in FORMS:
            raise InputError(f"needed a tool of {', '.join(FORMS)}, found {name[:60]!r}")
        asked = FORMS[name].read(given)
        shelf = self._opened()
        counter = shelf.counter(asked["profile"], asked["task"])
        match name:
            case "find":
                answer = find(shelf, asked)
            case "brief":
                answer = brief(shelf, asked, counter)
            case "stale":
                answer = stale(shelf, asked)
            case "explain":
                answer = explain(shelf, asked)
            case _:
                answer = compare(shelf, asked)
        shown = fitted(self._noted(answer), asked["max_tokens"], counter)
        return AnsweredCall((shown.text, shown.stale))

    def _noted(self, answer: "ToolAnswer") -> "ToolAnswer":
        """Return an answer that tells of damaged events, too."""
        if not self._notes:
            return answer
        count = len(self._notes)
        note = f"note: {count} damaged event{'s' * (count > 1)} left out: {self._notes[0]}"
        return answer._replace(lines=[note, *answer.lines])

    def _opened(self) -> "RunShelf":
        from backcast.engine.interfaces.commands.view import noting_damage
        from backcast.engine.interfaces.mcp.runs import RunShelf

        if self._shelf is None:
            store = self._stack.enter_context(opened(self.url))
            self._notes = noting_damage(store)
            self._shelf = RunShelf(store)
        return self._shelf

    def listed(self) -> list[NamedText]:
        """Return the last prompts of each run, and the runs that have maps."""
        with self._lock:
            shelf, found = self._opened(), list[NamedText]()
            for task in shelf.store.tasks():
                prompts = [one.prompt for one in shelf.run(task).reader.sequence.steps]
                last = max(prompts, default=0)
                name = quote(task, safe="")
                if last and len(found) < LISTED:
                    found.append(NamedText(f"{SCHEME}{name}/prompt/{last}", f"{task}@{last}"))
                if any(shelf.store.read(task, types=["MAP_EDITED"])):
                    found.append(NamedText(f"{SCHEME}{name}/map@last", f"map of {task}"))
            return found

    def read(self, uri: str) -> str:
        """Return the text of a prompt or a map; `InputError` names the two forms."""
        with self._lock:
            task, _, rest = uri.removeprefix(SCHEME).partition("/")
            kind, mark, when = rest.partition("@" if rest.startswith("map@") else "/")
            if not uri.startswith(SCHEME) or kind not in ("prompt", "map") or not mark:
                raise InputError(
                    f"needed {SCHEME}TASK/prompt/EVENT or {SCHEME}TASK/map@TIME, found"
                    f" {uri[:100]!r}"
                )
            return _text(self._opened(), unquote(task), kind, unquote(when))


def _text(shelf: "RunShelf", task: str, kind: str, when: str) -> str:
    from backcast.domain.policy import DEFAULT
    from backcast.engine.context.recorded import messages
    from backcast.engine.interfaces.map_keeping import counting
    from backcast.engine.interfaces.map_text import MapMoment
    from backcast.engine.log.exchanges.requests import body_of
    from backcast.engine.replay.find import prompt_at
    from backcast.engine.replay.foreign_prompts import request_at

    if kind == "map":
        at = "" if when == "last" else when
        found = MapMoment.at(shelf.store, task, at, DEFAULT.map, *counting())
        if not found.map.version:
            known = ", ".join(found.contexts[:5]) or "none"
            raise InputError(f"needed a map at that moment; there are maps of {known}")
        return escaped_lines(found.shown.text)
    run = shelf.run(task)
    version = run.prompt(when)
    if run.foreign:
        body = body_of(request_at(shelf.store, task, str(version)), shelf.store.get)
        return body.decode(errors="backslashreplace")
    said = messages(prompt_at(shelf.store, task, str(version)).fact, shelf.store.get)
    return "\n".join(f"[{role}]\n{text}\n" for role, text in said)
