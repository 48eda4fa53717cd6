"""The OpenHands SDK's `EventLog`, as a process that answers a question a line.

Runs in .venv-peers. `fill` writes events by the log's own `append`; `first` opens a store anew and
reads all of them; `warm` reads all of them by a new log on a store whose texts are in memory.
"""

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # the SDK's own output is no answer

from openhands.sdk.conversation.event_store import EventLog  # noqa: E402
from openhands.sdk.event import ActionEvent, Event, MessageEvent, ObservationEvent  # noqa: E402
from openhands.sdk.io import LocalFileStore  # noqa: E402
from openhands.sdk.llm import Message, MessageToolCall, TextContent  # noqa: E402
from openhands.sdk.tool.builtins.think import ThinkAction, ThinkObservation  # noqa: E402

CALLS = ("STEP_STARTED", "TOOL_CALLED", "MODULE_ITERATION")
RETURNS = ("TOOL_RETURNED", "CHECKS_RAN", "CONTEXT_BUILT")
"The types that become actions and observations; all others become messages."
CACHE_FILES, CACHE_BYTES = 1_000_000, 2**30


def made(kind: str, text: str, last: str) -> Event:
    """Return one of their events, which carries the same text once."""
    if kind in CALLS:
        call = MessageToolCall(id="call", name="think", arguments="{}", origin="completion")
        return ActionEvent(
            thought=[],
            action=ThinkAction(thought=text),
            tool_name="think",
            tool_call_id="call",
            tool_call=call,
            llm_response_id="response",
        )
    if kind in RETURNS:
        seen = ThinkObservation(content=[TextContent(text=text)])
        return ObservationEvent(
            observation=seen, action_id=last, tool_name="think", tool_call_id="call"
        )
    role = "assistant" if kind == "MODEL_REPLIED" else "user"
    message = Message(role=role, content=[TextContent(text=text)])
    return MessageEvent(source="agent" if role == "assistant" else "user", llm_message=message)


class Asked:
    """The questions."""

    def fill(self, folder: str, events: list[dict[str, str]]) -> dict[str, object]:
        self.folder, self.count = folder, len(events)
        log = EventLog(self._store())
        last = "none"
        for event in events:
            new = made(event["type"], event["text"], last)
            log.append(new)
            last = new.id
        files = list(Path(folder, "events").glob("event-*.json"))
        self.kept = self._store()
        self.warm()
        return {
            "bytes": sum(file.stat().st_size for file in files),
            "version": f"openhands-sdk {version('openhands-sdk')}",
        }

    def first(self) -> dict[str, float]:
        return self._read(self._store)

    def warm(self) -> dict[str, float]:
        return self._read(lambda: self.kept)

    def _store(self) -> LocalFileStore:
        return LocalFileStore(self.folder, CACHE_FILES, CACHE_BYTES)

    def _read(self, store) -> dict[str, float]:
        begin = time.perf_counter()
        read = sum(1 for _ in EventLog(store()))
        taken = time.perf_counter() - begin
        if read != self.count:
            raise RuntimeError(f"needed {self.count} events, found {read}")
        return {"seconds": taken}


asked = Asked()
for line in sys.stdin:
    question = json.loads(line)
    try:
        answer = getattr(asked, question.pop("ask"))(**question)
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"[:300]}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
