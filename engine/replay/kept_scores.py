"""Scores that were recorded: asked once, and never again.

In a store a score is an event of its task; beside a log that is a file, which is never written to,
it is a line of another file, in the same form. A score is known by the digests of the model, its
template, the prompt and the outcome, so that it holds for every policy that gives this prompt.
"""

import json
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from backcast.domain.errors import ConflictError, InputError, StoreError
from backcast.domain.events import Claim, WorkflowEvent, line_of
from backcast.domain.score_events import Scored
from backcast.engine.history.snapshots import state_at
from backcast.engine.log.open_logs import Log
from backcast.engine.log.remote import is_remote, shown
from backcast.engine.log.store import EventStore
from backcast.projections import progress

WRITER = "score"
TRIES = 5
"Tries to append behind what another process appends at the same time."


class ScoreKey(NamedTuple):
    """What a score is known by."""

    model: str
    template: str
    prompt: str
    outcome: str


class ScoreBook:
    """The scores of a log, old and new."""

    def __init__(
        self, store: EventStore, file: Path | None = None, beside: "ScoreBook | None" = None
    ) -> None:
        """With `file` new scores are its lines; without, they are events of the store.

        `beside` is the book of another log with the same file: what it knows is known to both.
        """
        self.store, self.file = store, file
        self.known: dict[ScoreKey, Scored] = beside.known if beside else {}
        self.unkept = ""
        "Why new scores are not kept; empty while they are."
        self.notes: list[str] = []
        for event in store.read(types=["SCORED"]):
            self._take(event.fact)
        if file is not None and beside is None and file.exists():
            self._read(file)

    @classmethod
    def beside(cls, store: EventStore, log: str) -> "ScoreBook":
        """Return the scores of a log by its name: those of a store, or of the file beside one.

        Beside a log that lies elsewhere nothing is written: there `unkept` says so.
        """
        book = cls(store, None if not log or "://" in log else file_beside(log))
        if is_remote(log):
            book.unkept = f"{shown(log)} lies elsewhere: needed --scores FILE"
        return book

    def find(self, key: ScoreKey) -> Scored | None:
        """Return the score of a key; None where it was never asked for."""
        return self.known.get(key)

    def knows(self, fact: Scored) -> bool:
        """Tell whether a score of the same prompt, outcome and lines is known."""
        known = self.find(_key(fact))
        return known is not None and len(known.line_tokens) == len(fact.line_tokens)

    def keep(self, task_id: str, fact: Scored) -> None:
        """Keep a score; where that fails, `unkept` says why, and it is known to this book alone."""
        self._take(fact)
        if self.unkept:
            return
        try:
            if self.file is not None:
                self._append_line(self.file, task_id, fact)
            else:
                self._append_event(task_id, fact)
        except (StoreError, OSError) as error:
            self.unkept = str(error)

    def _take(self, fact: object) -> bool:
        """Remember a score; tell whether it was one."""
        if isinstance(fact, Scored) and fact.prompt and fact.outcome and _is_sound(fact):
            self.known[_key(fact)] = fact
            return True
        return False

    def _read(self, file: Path) -> None:
        try:
            lines = file.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: needed scores in UTF-8, found {error}") from None
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                taken = self._take(Scored.model_validate(json.loads(line)["data"]))
            except (ValueError, TypeError, LookupError, RecursionError):
                taken = False
            if not taken:
                self.notes.append(f"{file}, line {number}: needed a score, found another line")

    def _append_event(self, task_id: str, fact: Scored) -> None:
        if reason := self._running(task_id):
            self.unkept = reason
            return
        step = fact.step or 1
        [event] = self.store.read(task_id, after=step - 1, last=step)
        claim = Claim(fact, event.timestamp, WRITER, (step,))
        for attempt in range(1, TRIES + 1):
            try:
                self.store.append(task_id, [claim], after=self.store.version(task_id))
                return
            except ConflictError:
                if attempt == TRIES:
                    raise

    def _running(self, task_id: str) -> str:
        """Return why a run that may go on gets no scores: the process that runs it would stop."""
        if not any(True for _ in self.store.read(task_id, types=["STEP_STARTED"])):
            return ""
        state: progress.State = state_at(self.store, progress, task_id)
        if state.status in progress.ENDED:
            return ""
        return f"task {task_id!r} has not ended: what runs it would meet them and stop"

    def _append_line(self, file: Path, task_id: str, fact: Scored) -> None:
        step = fact.step or 1
        [event] = self.store.read(task_id, after=step - 1, last=step)
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(_line(event, task_id, fact)) + "\n")


def _key(fact: Scored) -> ScoreKey:
    return ScoreKey(fact.model or "", fact.template or "", fact.prompt or "", fact.outcome or "")


def _is_sound(fact: Scored) -> bool:
    """Tell whether a fact has a number for each line: what others wrote may lack some."""
    nats = (*fact.line_nats, *fact.name_nats)
    paired = len(fact.line_tokens) == len(fact.line_nats) > 0
    return paired and len(fact.name_tokens) == len(fact.name_nats) and all(map(isfinite, nats))


def _line(event: WorkflowEvent, task_id: str, fact: Scored) -> dict[str, object]:
    """Return a score in the public form of events, without a place in a log."""
    line = line_of(event._replace(task_id=task_id, fact=fact, writer=WRITER, because=()))
    return {name: value for name, value in line.items() if name != "version"}


def score_books(logs: Sequence[Log], file: Path | None = None) -> dict[str, ScoreBook]:
    """Return the scores of each log by its name: in one file for all, or where each keeps them."""
    if file is None:
        return {log.name: ScoreBook.beside(log.store, log.name) for log in logs}
    books: dict[str, ScoreBook] = {}
    first = None
    for log in logs:
        book = books[log.name] = ScoreBook(log.store, file, first)
        first = first or book
    return books


def file_beside(log: str) -> Path:
    """Return the file of the scores of a log that is a file."""
    return Path(f"{log}.scores")
