"""The messages of a session of opencode as the model was shown them, call by call.

What stands in the database is not what every call saw: a summary stands in for all that it sums up,
but for a tail that is kept, and results that opencode cleared are gone for the calls after that.
"""

from collections.abc import Iterable
from typing import Any

from pydantic_core import to_json

from backcast.engine.log.exchanges.bodies import CHAT
from backcast.engine.log.importers.call_counts import PARTS
from backcast.engine.log.importers.content import mapping
from backcast.engine.log.importers.formed_contexts import FormedContexts
from backcast.engine.log.importers.opencode_rows import (
    COMPACTED,
    MODEL,
    OTHER,
    Fields,
    OpencodeCall,
    OpencodeSaid,
)
from backcast.engine.log.importers.records import ForeignRecord

CLEARED = "[Old tool result content cleared]"
BROKEN_OFF = "[Tool execution was interrupted]"
SUMMED_UP = "What did we do so far?"
"What opencode puts in the place of its request for a summary."
BY_USER = "The following tool was executed by the user"
TEXTUAL = ("text/plain", "application/x-directory")
"Files that opencode shows by texts beside them."
Messages = list[dict[str, Any]]


class OpencodePrompts:
    """The messages so far."""

    def __init__(self, calls: dict[str, int]) -> None:
        self.contexts = FormedContexts(calls, CHAT, PARTS)
        self._said: list[OpencodeSaid] = []
        "What the next call is shown, in order."
        self._cleared: set[str] = set()
        "Results that are gone, by the id of the call."

    def form(
        self, record: ForeignRecord, said: OpencodeSaid, because: Iterable[object]
    ) -> str | None:
        """Add the context of a call to its record, and return its foreign id."""
        when = said.time if isinstance(said.time, int) else 0
        gone = {
            str(call.id)
            for before in self._said
            for call in before.calls
            if call.cleared is not None and call.cleared <= when
        }
        if gone - self._cleared:
            self._cleared |= gone
            self._show(self._said)
        return self.contexts.form(record, because)

    def say(self, said: OpencodeSaid) -> None:
        """Add what was said; a summary takes the place of what it sums up."""
        if said.who == COMPACTED:
            self._show([said])
        elif said.is_summary and said.info.get("finish") and not said.info.get("error"):
            self._show(self._summed_up(said))
        else:
            self._said.append(said)
            for message in self._messages(said):
                self.contexts.say(message)

    def _summed_up(self, summary: OpencodeSaid) -> list[OpencodeSaid]:
        """Return what is shown from a summary on: the request for it, itself, and the kept tail."""
        asked = next(
            (place for place, said in enumerate(self._said)
             if said.id == summary.info.get("parentID")), None,
        )  # fmt: skip
        if asked is None:
            return [*self._said, summary]
        tail = next(
            (part["tail_start_id"] for part in self._said[asked].parts
             if part.get("type") == "compaction" and part.get("tail_start_id")), None,
        )  # fmt: skip
        kept = next(
            (place for place, said in enumerate(self._said[:asked]) if said.id == tail), asked
        )
        return [*self._said[asked:], summary, *self._said[kept:asked]]

    def _show(self, shown: list[OpencodeSaid]) -> None:
        self._said = shown
        self.contexts.replace([message for said in shown for message in self._messages(said)])

    def _messages(self, said: OpencodeSaid) -> Messages:
        if said.who == OTHER:
            return []
        if said.who == MODEL:
            return self._of_model(said)
        blocks = [block for part in said.parts for block in _blocks(part)]
        blocks += [_file(mapping(file)) for file in said.info.get("files") or ()]
        for name in ("command", "output", "recent"):  # of a shell, and behind a summary
            if isinstance(text := said.info.get(name), str) and text:
                blocks.append({"type": "text", "text": text})
        return [{"role": "user", "content": _content(blocks)}] if blocks else []

    def _of_model(self, said: OpencodeSaid) -> Messages:
        texts = [str(part["text"]) for part in said.parts
                 if part.get("type") == "text" and isinstance(part.get("text"), str)]  # fmt: skip
        thinks = any(part.get("type") == "reasoning" for part in said.parts)
        if said.info.get("error") and not (texts or said.calls):
            return []
        message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
        if thinks and said.thinking:
            message["reasoning_content"] = said.thinking
        if said.calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function",
                 "function": {"name": call.tool, "arguments": to_json(call.input).decode()}}
                for call in said.calls
            ]  # fmt: skip
        results = [
            {"role": "tool", "tool_call_id": call.id, "content": self._shown(call)}
            for call in said.calls
        ]
        return [message, *results] if texts or said.calls or thinks else []

    def _shown(self, call: OpencodeCall) -> str:
        if not call.answered:
            return BROKEN_OFF
        return CLEARED if str(call.id) in self._cleared else call.output or ""


def _blocks(part: Fields) -> Iterable[Fields]:
    match part:
        case {"type": "text", "text": str() as text} if text and not part.get("ignored"):
            yield {"type": "text", "text": text}
        case {"type": "file"} if part.get("mime") not in TEXTUAL:
            yield _file(part)
        case {"type": "compaction"}:
            yield {"type": "text", "text": SUMMED_UP}
        case {"type": "subtask"}:
            yield {"type": "text", "text": BY_USER}


def _file(part: Fields) -> Fields:
    named = {"filename": part.get("filename", part.get("name")), "url": part.get("url"),
             "mime": part.get("mime")}  # fmt: skip
    return {"type": "file", "file": {name: value for name, value in named.items() if value}}


def _content(blocks: list[Fields]) -> object:
    plain = len(blocks) == 1 and blocks[0].get("type") == "text"
    return blocks[0]["text"] if plain else blocks
