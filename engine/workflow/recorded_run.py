"""A model whose answers come from a recorded run: `answers:FILE`.

It answers a call with what was answered to the same call there: of the same kind, for the same
module, iteration and attempt. Where the prompt is another one than the recorded, it says so once,
with the first difference, or, if strict, gives no answer. What a model would have answered to the
other prompt, nobody knows. It never asks anybody.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import unified_diff
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from backcast.domain.errors import InputError, ModelError
from backcast.domain.events import (
    ContextBuilt,
    MapEdited,
    ModelFailed,
    ModelReplied,
    StepStarted,
    WorkflowEvent,
)
from backcast.engine.context.recorded import messages
from backcast.engine.log.importers import Report, import_batches
from backcast.engine.log.importers.events import read
from backcast.engine.log.store import EventStore
from backcast.engine.models import NOTHING, Call, Completion, Limits, Message

log = logging.getLogger("backcast")

LINES = 12
"Of a difference that are told."
Key = tuple[str, str, int, int]


class RecordedCall(NamedTuple):
    """What was recorded of one call."""

    context: ContextBuilt | None
    fact: ModelReplied | ModelFailed


class RecordedRun:
    """The answers of a recorded run."""

    def __init__(self, path: Path, *, strict: bool = False, task: str = "", root: str = "") -> None:
        """`task` names the one that is meant where the log holds several, or else `root` does."""
        self.path, self.strict, self.diverged = path, strict, False
        self.store = EventStore.open("sqlite://")
        self.id = f"recorded:{path.name}"
        report = Report()
        import_batches(self.store, "events", read(path, None, report), report)
        tasks = self.store.tasks()
        if report.skipped or not tasks:
            why = report.skipped[0] if report.skipped else "it holds no event"
            raise InputError(f"{path}: needed a log of JSON lines: {why}")
        meant = [one for one in (task, root) if one in tasks]
        if not meant and len(tasks) > 1:
            raise InputError(f"{path}: needed a log of task {task!r}, found {', '.join(tasks[:5])}")
        self.task = (meant or tasks)[0]
        self.answers = answers(self.store.read(self.task))
        if not self.answers:
            raise InputError(f"{path}: needed a recorded run, found no answer of a model in it")

    def complete(
        self,
        messages: Sequence[Message],
        limits: Limits,
        *,
        schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        call: Call = NOTHING,
    ) -> Completion:
        """What was answered to this call; `ModelError` where nothing was."""
        what = " ".join(filter(None, (call.kind, call.module)))
        what += f", iteration {call.iteration}, attempt {call.attempt}"
        found = self.answers.get((call.kind, call.module, call.iteration, call.attempt))
        if found is None:
            raise ModelError(f"{self.path}: holds no answer to {what}", "refused")
        if found.context and found.context.digest and found.context.digest != call.digest:
            self._differs(what, found.context, messages)
        if isinstance(found.fact, ModelFailed):
            raise ModelError(found.fact.reason or "it failed", found.fact.kind or "unavailable")
        return self._completion(found.fact)

    def _completion(self, fact: ModelReplied) -> Completion:
        body = self.store.get(fact.text) if fact.text else b""
        thought = self.store.get(fact.thinking) if fact.thinking else b""
        return Completion(
            body.decode(errors="surrogatepass"), fact.prompt_tokens, fact.tokens,
            fact.finish or "stop", fact.cached_tokens,
            thought.decode(errors="surrogatepass"), fact.seconds, fact.model or "",
        )  # fmt: skip

    def _differs(self, what: str, context: ContextBuilt, asked: Sequence[Message]) -> None:
        """Tell, the first time, that a prompt is not the recorded one, and how."""
        if self.diverged and not self.strict:
            return
        self.diverged = True
        before = [
            line for _, text in messages(context, self.store.get) for line in text.split("\n")
        ]
        after = [line for message in asked for line in message.content.split("\n")]
        lines = list(
            islice(unified_diff(before, after, "recorded", "now", n=1, lineterm=""), LINES)
        )
        told = f"{self.path}: the prompt of {what} is not the recorded one:\n" + "\n".join(lines)
        if self.strict:
            raise ModelError(told, "refused")
        log.warning("%s\nfrom here on answers are to other prompts than these", told)


def _of_map(fact: MapEdited) -> Iterator[tuple[Key, RecordedCall]]:
    """What was answered while a map was kept: each role's tries by their number."""
    tries = Counter[str]()
    for one in fact.answers:
        tries[one.role] += 1
        reply = ModelReplied(
            text=one.text, prompt_tokens=one.prompt_tokens, tokens=one.tokens, seconds=one.seconds
        )
        yield (one.role, fact.context or "", 0, tries[one.role]), RecordedCall(None, reply)


def answers(events: Iterable[WorkflowEvent]) -> dict[Key, RecordedCall]:
    """What was answered to each call; a reply stands where there was a failure before it."""
    found: dict[Key, RecordedCall] = {}
    key: Key | None = None
    contexts: dict[int, ContextBuilt] = {}
    context: ContextBuilt | None = None
    for event in events:
        match event.fact:
            case StepStarted() as fact if fact.kind:
                key = fact.kind, fact.module_name or "", fact.iteration or 0, fact.attempt or 1
                context = contexts.get(fact.again or 0)
            case ContextBuilt() as built:
                context = contexts[event.version] = built
            case ModelReplied() as fact if key:
                found[key] = RecordedCall(context, fact)
                key = None
            case ModelFailed(kind=kind) as fact if key and kind != "answer":
                found.setdefault(key, RecordedCall(context, fact))
            case MapEdited() as fact:
                found.update(_of_map(fact))
    return found
