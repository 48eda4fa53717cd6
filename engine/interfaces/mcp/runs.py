"""The runs of a store as the tools ask for them: steps, moments, counters, what is stale."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NamedTuple

from backcast.domain.budget import PROFILES
from backcast.domain.errors import BackcastError, InputError
from backcast.domain.moment import NOW, Moment
from backcast.domain.summary import LIMITS
from backcast.engine.context.message_policies import NAMES
from backcast.engine.context.search import Document
from backcast.engine.context.strategies import STRATEGIES
from backcast.engine.history.moments import moment_at
from backcast.engine.history.snapshots import state_at
from backcast.engine.history.staleness import stale
from backcast.engine.interfaces.addresses import Place
from backcast.engine.interfaces.foreign_prompts import is_foreign, old_at, old_line
from backcast.engine.interfaces.outlining import outline_all
from backcast.engine.interfaces.profiles import counter_by, message_counter
from backcast.engine.interfaces.summaries import SummaryView, documents, summary_view
from backcast.engine.interfaces.terminal import escaped
from backcast.engine.interfaces.view.reading import RunReader
from backcast.engine.interfaces.view.run_step import RunStep
from backcast.engine.log.store import EventStore
from backcast.engine.memory.outlines import Outlining
from backcast.engine.memory.outlines_made import all_made, note_all_made
from backcast.engine.models.tokenizers import Tokenizer
from backcast.projections import summaries

STEP = re.compile(r"(?:step|#)\s*#?\s*(\d{1,9})", re.IGNORECASE)
SOON = 2_000
"Texts that are outlined within a few seconds."
NAMED = 8
"Names that an error lists."


class AskedRun(NamedTuple):
    """A run, read to its end."""

    reader: RunReader
    foreign: bool
    "Whether its prompts are another program's."

    @property
    def task(self) -> str:
        """The name of the run."""
        return self.reader.task

    @property
    def store(self) -> EventStore:
        """The store that holds it."""
        return self.reader.store

    def place(self, when: str | int = "") -> Place:
        """Return a moment of it as commands take it."""
        return Place(self.store, self.task, str(when))

    def version(self, event: str) -> int:
        """Return the last event by a moment: a number, `step N`, or what an address takes."""
        sequence = self.reader.sequence
        event = event.removeprefix(f"{self.task}@")
        if asked := STEP.fullmatch(event):
            number = int(asked[1])
            for step in sequence.steps:
                if step.number == number:
                    return step.event
            raise InputError(
                f"{self.task}: needed a step of 1 to {sequence.steps[-1].number}, found {number}"
            )
        if event.isdecimal() and not 1 <= int(event[:12]) <= sequence.version:
            raise InputError(
                f"{self.task}: needed an event of 1 to {sequence.version:,}, or 'step N' of 1 to"
                f" {sequence.steps[-1].number}, found {event[:40]!r}"
            )
        found = self.store.version_at(self.task, moment_at(self.store, self.task, event))
        return max(1, found)

    def moment(self, at: str) -> Moment:
        """Return the moment that an argument names; now where it names none."""
        if not at:
            return NOW
        if STEP.fullmatch(at):
            return self.reader.moment(self.reader.sequence.at(self.version(at)).last)
        self.version(at)
        return moment_at(self.store, self.task, at.removeprefix(f"{self.task}@"))

    def prompt(self, event: str) -> int:
        """Return the event of the prompt of a step; `InputError` names near ones where it has
        none."""
        step = self.reader.sequence.at(self.version(event))
        if step.prompt:
            return step.prompt
        prompts = [one for one in self.reader.sequence.steps if one.prompt]
        if not prompts:
            raise InputError(f"{self.task}: needed a run with recorded prompts, found none")
        near = sorted(prompts, key=lambda found: abs(found.first - step.first))[:3]
        names = ", ".join(f"{one.prompt} (step {one.number})" for one in near)
        raise InputError(
            f"{self.task}: needed the event of a prompt, found step {step.number} without one;"
            f" near are {names}"
        )

    def before(self, version: int) -> RunStep | None:
        """Return the step whose prompt came before another one."""
        earlier = [one for one in self.reader.sequence.steps if 0 < one.prompt < version]
        return earlier[-1] if earlier else None

    def outlined(self) -> None:
        """Outline the texts of the run, as every command that reads code does; `InputError` where
        that would take longer than a client waits."""
        if all_made(self.store, self.task):
            return
        outlining = Outlining(self.store, self.task, 1)
        waiting = outlining.waiting_for()
        if not waiting:
            note_all_made(self.store, self.task, outlining.version)
            return
        if waiting > SOON:
            raise InputError(
                f"{self.task}: needed outlines of {waiting:,} texts, found none: run 'backcast"
                f" outline {self.task}' once, then ask again"
            )
        outline_all(self.store, self.task)

    def stale(self, moment: Moment) -> list[str]:
        """Return what does not hold at a moment: its count, then a line each."""
        if self.foreign:
            version = self.store.version_at(self.task, moment)
            prompts = [one.prompt for one in self.reader.sequence.steps]
            last = max((one for one in prompts if one <= version), default=0)
            if not last:
                return ["stale: 0 (no prompt by then)"]
            try:
                _, old = old_at(self.store, self.task, str(last), message_counter().count)
            except BackcastError:
                return ["stale: unknown (no read or write of a file is recorded by then)"]
            return [f"stale: {len(old)}", *(old_line(self.task, one) for one in old)]
        key = "stale", self.store.version(self.task), moment
        return self.reader.held(key, lambda: self._outdated(moment))

    def _outdated(self, moment: Moment) -> list[str]:
        written = state_at(self.store, summaries, self.task, moment, self.reader.recent)
        if not written.nodes:
            return ["stale: 0"]  # what is derived of the code never is
        self.outlined()
        found = stale(self.store, self.task, moment)
        return [f"stale: {len(found)}", *(escaped(str(proof)) for proof in found)]

    def documents(self, moment: Moment) -> list[Document]:
        """Return what can be searched at a moment; held until the run goes on."""
        key = "documents", self.store.version(self.task), moment
        recent = self.reader.recent
        return self.reader.held(key, lambda: documents(self.store, self.task, moment, recent))

    def view(self, moment: Moment, counter: Tokenizer) -> SummaryView:
        """Return the summaries of a moment; those that were asked for last are held."""
        last = self.reader.held("view", lambda: dict[object, SummaryView]())
        key = self.store.version(self.task), moment, id(counter)
        if key not in last:
            recent = self.reader.recent
            found = summary_view(self.store, self.task, moment, LIMITS, counter, recent=recent)
            last.clear()  # each may be large
            last[key] = found
        return last[key]


class RunShelf:
    """The runs of a store that were asked for."""

    def __init__(self, store: EventStore) -> None:
        self.store = store
        self._runs: dict[str, AskedRun] = {}
        self._counters: dict[tuple[str, str], Tokenizer] = {}

    def run(self, task: str) -> AskedRun:
        """Return a run, read to its end; `InputError` names the runs that there are."""
        if task not in self._runs:
            known = self.store.tasks()
            if task not in known:
                raise InputError(_no_task(task, known))
            found = AskedRun(RunReader(self.store, task), is_foreign(Place(self.store, task, "")))
            self._runs[task] = found
        run = self._runs[task]
        run.reader.sequence.read_on()
        if not run.reader.sequence.steps:
            raise InputError(f"{task}: needed events that can be read, found none")
        return run

    def counter(self, profile: str, task: str) -> Tokenizer:
        """Return what counts an answer: a named profile's tokenizer, or the task's."""
        if profile and profile not in PROFILES:
            raise InputError(f"profile: needed one of {', '.join(PROFILES)}, found {profile!r}")
        key = profile, task
        if key not in self._counters:
            self._counters[key] = counter_by(profile or None, None, self.store, task)
        return self._counters[key]


def _no_task(task: str, known: Sequence[str]) -> str:
    if not known:
        return f"task: found {task!r}, but the store holds no run: 'backcast import' brings some"
    near = get_close_matches(task, known, 3, 0.5) or known[:NAMED]
    more = f" and {len(known) - len(near)} more" if len(known) > len(near) else ""
    return f"task: needed a run such as {', '.join(near)}{more}, found {task!r}: find lists them"


def named_policy(name: str) -> str:
    """Return a policy by its name; no file is read for an agent."""
    if name not in STRATEGIES and name not in NAMES:
        known = ", ".join((*STRATEGIES, *NAMES))
        raise InputError(f"policy: needed one of {known}, found {name!r}")
    return name
