r"""The calls and results of a recorded conversation, and what they tell of files.

>>> printed('{"returncode": 1, "output": "No"}')
('No', True)
>>> printed("Chunk ID: 5\nProcess exited with code 0\nOutput:\nYes")
('Yes', False)
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, cast

from backcast.domain.context_events import ContextBuilt, ForeignRequest
from backcast.domain.events import Fact, ToolCalled, ToolReturned
from backcast.engine.log.exchanges.bodies import part_text
from backcast.engine.log.importers import Report
from backcast.engine.log.importers.edit_arguments import READERS
from backcast.engine.log.importers.edited_modules import EditedModules
from backcast.engine.log.importers.records import INLINE_JSON, ForeignRecord
from backcast.engine.log.importers.shown_texts import was_done
from backcast.engine.log.store import EventStore

_HEAD = re.compile(r"(?:Chunk ID|Exit code|Wall time)[^\n]*\n(?:[^\n]+\n){0,6}?Output:\n")
"What some shells say before what a command printed."
_CODE = re.compile(r"(?:Exit code: |exited with code )(-?\d+)")
_FOLDER = re.compile(
    r"<cwd>\s*(/[^<\n]*?)\s*</cwd>|"
    r"working (?:in (?:the )?)?(?:directory|folder)(?: is)?:?\s+[`'\"]?(/[^\s`'\"<>]+)",
    re.IGNORECASE,
)
"The working folder, as agents tell it."
_NO_FILE = re.compile(r"(?:error|file not found|enoent|eisdir|cannot|could not)\b", re.IGNORECASE)
"What a tool says in place of a file."
_SUCCESS = re.compile(r"\bsuccess", re.IGNORECASE)


class KnownCall(NamedTuple):
    """A call that a result may answer."""

    version: int
    tool: str


class RecordedTools:
    """The tools of one task, as its log tells of them up to its last event."""

    def __init__(self) -> None:
        self.calls: dict[str, KnownCall] = {}
        "The latest call of each id."
        self.answered: set[str] = set()
        "Ids whose result is known."
        self._modules = EditedModules(Report())
        self._modules.plain = True

    @classmethod
    def of(cls, store: EventStore, task: str) -> "RecordedTools":
        """Return those of a task that was recorded before."""
        tools = cls()
        for event in store.read(task, types=["CONTEXT_BUILT", "TOOL_CALLED", "TOOL_RETURNED"]):
            match event.fact:
                case ContextBuilt(request=ForeignRequest(base=None, parts=parts)):
                    tools.told((part.kind, store.get(part.text)) for part in parts)
                case ToolCalled(call_id=id, tool=tool, arguments=arguments):
                    tools.called(event.version, id, tool, arguments)
                case ToolReturned(call_id=str() as id, output=str() as output, failed=failed):
                    text = store.get(output).decode(errors="surrogatepass")
                    again = _Again(event.version)
                    tools.returned(id, event.version, text, failed, again.keep, again.claim)
        return tools

    def told(self, parts: Iterable[tuple[str, bytes]]) -> None:
        """Note the working folder, from which files are named, if instructions tell it first."""
        if self._modules.texts.root:
            return
        for kind, body in parts:
            named = _FOLDER.search(part_text(body)) if kind in ("system", "reminder") else None
            if named:
                self._modules.texts.at(named[1] or named[2])
                return

    def called(self, version: int, id: str | None, tool: str, arguments: object) -> None:
        """Note a call."""
        if id:
            self.calls[id] = KnownCall(version, tool)
            self.answered.discard(id)  # some servers begin to count anew
            self._modules.called(str(version), tool, arguments)

    def returned(
        self, id: str, version: int, text: str, failed: bool | None,
        keep: Callable[[bytes, str | None], str],
        claim: Callable[[Fact, str, tuple[int, ...]], int],
    ) -> None:  # fmt: skip
        """Claim what a result tells of files; `keep` and `claim` return what they were given."""
        self.answered.add(id)
        call = self.calls.get(id)
        if call is None:
            return
        shown, code = printed(text)
        failed = code if failed is None else failed
        if failed is None:
            failed = _failed(call.tool, shown)
        record = cast("ForeignRecord", _FactClaims(keep, claim))
        self._modules.answered(record, str(version), [str(call.version)], shown, failed)


class _FactClaims:
    """What an importer's record is to the facts of files."""

    def __init__(
        self, keep: Callable[[bytes, str | None], str],
        claim: Callable[[Fact, str, tuple[int, ...]], int],
    ) -> None:  # fmt: skip
        self._keep, self._claim = keep, claim

    def keep(self, body: str, base: str | None = None) -> str:
        return self._keep(body.encode(errors="surrogatepass"), base)

    def shelf(self, value: object) -> object:
        body = json.dumps(value, ensure_ascii=False)
        return value if len(body) <= INLINE_JSON else {"json": self.keep(body)}

    def tell(
        self, kind: type[Fact], named: Mapping[str, Any], rest: object = None, *, writer: str,
        because: Iterable[object],
    ) -> str:  # fmt: skip
        causes = tuple(int(id) for id in because if isinstance(id, str))
        return str(self._claim(kind.model_validate(named), writer, causes))


class _Again:
    """The facts behind a result that are in the log already."""

    def __init__(self, version: int) -> None:
        self._version = version

    def keep(self, body: bytes, base: str | None) -> str:
        from backcast.engine.log.blobs import Blob

        return Blob(body).ref

    def claim(self, fact: Fact, writer: str, because: tuple[int, ...]) -> int:
        self._version += 1
        return self._version


def _failed(tool: str, shown: str) -> bool | None:
    """Return whether a tool failed that does not say so beside its text; None where that is open.

    A text that may be a file, or an error, is taken for the error: no file is guessed.
    """
    if _NO_FILE.match(shown) or was_done(shown, None, silent=False) is False:
        return True
    return False if tool in READERS or _SUCCESS.search(shown[:200]) else None


def printed(text: str) -> tuple[str, bool | None]:
    """Return what a command printed, and whether it failed, without what an agent's tool adds."""
    if head := _HEAD.match(text):
        code = _CODE.search(head[0])
        return text[head.end() :], code[1] != "0" if code else None
    if text.startswith("{"):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return text, None
        if isinstance(output := value.get("output"), str):
            number = value.get("returncode", value.get("exit_code"))
            return output, number != 0 if isinstance(number, int) else None
    return text, None
