"""A model whose answers come from a recorded run: `answers:FILE`.

It answers a call as the recorded run answered the same call: same kind, module, iteration and
attempt. Where the prompt differs from the recorded one, it warns once, with the first difference,
or, if strict, gives no answer: nobody knows what a model would have answered to the other prompt.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import unified_diff
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import InputError, ModelError
from backcast.domain.events import (
    ModelFailed,
    ModelReplied,
    StepStarted,
    WorkflowEvent,
)
from backcast.domain.memory_events import MapEdited
from backcast.engine.context.recorded import messages
from backcast.engine.log.importers import Report, import_batches
from backcast.engine.log.importers.events import read
from backcast.engine.log.store import EventStore
from backcast.engine.models import NOTHING, Call, Completion, Limits, Message

log = logging.getLogger("backcast")

LINES = 12
"Lines of a difference that a warning shows."
Key = tuple[str, str, int, int]


class RecordedCall(NamedTuple):
    """The record of one call: its prompt, and its reply or failure."""

    context: ContextBuilt | None
    fact: ModelReplied | ModelFailed


class RecordedRun:
    """A model that gives the answers of a recorded run."""

    def __init__(self, path: Path, *, strict: bool = False, task: str = "", root: str = "") -> None:
        """`task`, or else `root`, selects the task of a log that holds several."""
        self.path, self.strict, self.diverged = path, strict, False
        self._reading = Lock()
        self.store = EventStore.open("sqlite://")
        self.id = f"recorded:{path.name}"
        report = Report()
        import_batches(self.store, "events", read(path, None, report), report)
        tasks = self.store.tasks()
        if report.skipped or not tasks:
            why = report.skipped[0] if report.skipped else "it holds no event"
            raise InputError(f"{path}: needed a log of JSON lines: {why}")
        meant = [name for name in (task, root) if name in tasks]
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
        """Return the recorded answer to this call; `ModelError` where there is none."""
        with self._reading:
            return self._answer(messages, call)

    def _answer(self, messages: Sequence[Message], call: Call) -> Completion:
        what = " ".join(filter(None, (call.kind, call.module)))
        what += f", iteration {call.iteration}, attempt {call.attempt}"
        recorded = self.answers.get((call.kind, call.module, call.iteration, call.attempt))
        if recorded is None:
            raise ModelError(f"{self.path}: holds no answer to {what}", "refused")
        if recorded.context and recorded.context.digest not in (None, "", call.digest):
            self._compare(what, recorded.context, messages)
        if isinstance(recorded.fact, ModelFailed):
            raise ModelError(
                recorded.fact.reason or "it failed", recorded.fact.kind or "unavailable"
            )
        return self._completion(recorded.fact)

    def _completion(self, fact: ModelReplied) -> Completion:
        body = self.store.get(fact.text) if fact.text else b""
        thought = self.store.get(fact.thinking) if fact.thinking else b""
        return Completion(
            body.decode(errors="surrogatepass"), fact.prompt_tokens, fact.tokens,
            fact.finish or "stop", fact.cached_tokens,
            thought.decode(errors="surrogatepass"), fact.seconds, fact.model or "",
        )  # fmt: skip

    def _compare(self, what: str, context: ContextBuilt, asked: Sequence[Message]) -> None:
        """Warn once that a prompt differs from the recorded one, and show how."""
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
        warning = f"{self.path}: the prompt of {what} is not the recorded one:\n" + "\n".join(lines)
        if self.strict:
            raise ModelError(warning, "refused")
        log.warning("%s\nfrom here on answers are to other prompts than these", warning)


def _of_map(fact: MapEdited) -> Iterator[tuple[Key, RecordedCall]]:
    """Yield the answers of a map update: each role's tries by their number."""
    tries = Counter[str]()
    for answer in fact.answers:
        tries[answer.role] += 1
        reply = ModelReplied(
            text=answer.text, prompt_tokens=answer.prompt_tokens, tokens=answer.tokens,
            seconds=answer.seconds,
        )  # fmt: skip
        yield (answer.role, fact.context or "", 0, tries[answer.role]), RecordedCall(None, reply)


def answers(events: Iterable[WorkflowEvent]) -> dict[Key, RecordedCall]:
    """Return the answer to each call; a reply replaces an earlier failure."""
    calls: dict[Key, RecordedCall] = {}
    asked: dict[int, tuple[Key, ContextBuilt | None]] = {}
    "The open calls, by the version of their STEP_STARTED."
    contexts: dict[int, ContextBuilt] = {}
    last = 0
    for event in events:
        match event.fact:
            case StepStarted() as fact if fact.kind:
                key = fact.kind, fact.module_name or "", fact.iteration or 0, fact.attempt or 1
                last = event.version
                asked[last] = key, contexts.get(fact.again or 0)
            case ContextBuilt() as built:
                contexts[event.version] = built
                if last in asked:
                    asked[last] = asked[last][0], built
            case ModelReplied() as fact if (fact.call or last) in asked:
                key, context = asked.pop(fact.call or last)
                calls[key] = RecordedCall(context, fact)
            case ModelFailed(kind=kind) as fact if (fact.call or last) in asked:
                if kind != "answer":
                    key, context = asked[fact.call or last]
                    calls.setdefault(key, RecordedCall(context, fact))
            case MapEdited() as fact:
                calls.update(_of_map(fact))
    return calls
