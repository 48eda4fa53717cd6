"""Score the known outcomes of recorded steps under the prompts of several policies.

A score is how likely the text that was really written is to a model that reads it behind a prompt.
It is not what a model would have answered. Prompts are built as they are for `backcast diff`, each
after the recorded one before it, so that none depends on which others are scored with it; no score
is read by what builds them.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from heapq import nsmallest
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from backcast.domain.budget import ModelProfile, of_window
from backcast.domain.errors import BackcastError, InputError
from backcast.engine.context.builder import ContextBuilder
from backcast.engine.log.open_logs import Log
from backcast.engine.log.store import EventStore
from backcast.engine.models.likelihood import (
    MOST,
    RenderedPrompt,
    trained_window,
)
from backcast.engine.models.reading import OutcomeReader
from backcast.engine.replay.chosen_steps import EVERY_STEP, StepChoice
from backcast.engine.replay.corpus import Setting
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.kept_scores import ScoreBook, ScoreKey
from backcast.engine.replay.outcomes import KnownOutcome, outcome_of
from backcast.engine.replay.project_names import ProjectNames
from backcast.engine.replay.score_jobs import LeftOut, ScoreJob, draw
from backcast.engine.replay.steps import ReplayStep

Advance = Callable[[int], None]
Building = Callable[[int], AbstractContextManager[Advance]]
SPARE = 16
"Steps that are drawn beside a sample, for those of it that cannot be read."


@contextmanager
def silent(steps: int) -> Iterator[Advance]:
    """Show no progress."""
    yield lambda steps: None


class ScorePlan:
    """The steps of some logs that are to be scored."""

    spare = SPARE
    looked_at_all = True
    "Whether the time let all logs be looked through."

    def __init__(
        self,
        reader: OutcomeReader,
        settings: Sequence[Setting],
        profile: ModelProfile,
        choice: StepChoice = EVERY_STEP,
    ) -> None:
        self.reader, self.settings, self.choice = reader, settings, choice
        self.profile = profile._replace(template=reader.counted_as)
        self.jobs: list[ScoreJob] = []
        self.left_out: list[LeftOut] = []
        self.names = ProjectNames()
        self.unknown = 0
        "Recorded prompts whose outcome is not known: plans, summaries, what nothing came of."
        self.not_sampled = 0
        "Steps that the sample left out."

    def add(
        self,
        logs: Iterable[Log],
        sample: int | None = None,
        advance: Callable[[int], None] = lambda steps: None,
        keep: Callable[[Collection[str]], None] = lambda names: None,
        building: Building = silent,
    ) -> None:
        """Add the steps of open logs, or a sample of so many of them.

        A step is in every sample that is larger than one that it is in, whatever else there is.
        In the place of steps that cannot be read others are drawn, `SPARE` of them at most.
        `advance` is called for each step that is found, and `keep` behind each log with the names
        of the logs that are needed still; `building` gives what is called for each step of a sample
        whose prompts are built.
        """
        chosen: list[FoundStep] = []
        order: dict[str, int] = {}
        for log in logs:
            order.setdefault(log.name, len(order))
            if sample is None:
                for _, step, outcome, unit in self._found(log):
                    self._plan(log, step, outcome, unit)
                    advance(1)
                continue
            met = count()
            every = zip(chain(chosen, _counted(self._found(log), advance)), met, strict=False)
            chosen = nsmallest(
                sample + self.spare, (found for found, _ in every),
                key=lambda found: draw(found.step),
            )  # fmt: skip
            self.not_sampled += next(met) - len(chosen)
            keep({found.log.name for found in chosen})
        if sample is not None:
            self._take(chosen, sample, order, building)

    def _take(
        self,
        drawn: Sequence["FoundStep"],
        sample: int,
        order: Mapping[str, int],
        building: Building,
    ) -> None:
        """Add so many of some steps, by lot those that can be read."""
        first, others, lacking = drawn[:sample], [*drawn[sample:]], 0
        with building(len(first)) as advance:
            for found in sorted(first, key=lambda found: _order(order, found)):
                is_planned = self._plan(*found)
                lacking += not is_planned
                advance(is_planned)
            while lacking and others:
                is_planned = self._plan(*others.pop(0))
                lacking -= is_planned
                advance(is_planned)
        self.not_sampled += len(others)
        self.jobs.sort(key=lambda job: (order.get(job.log, 0), job.task, job.version))

    def add_stretch(self, log: Log, versions: Collection[int]) -> None:
        """Add the steps at some versions of a log with one task."""
        for _, step, outcome, unit in self._found(log, versions):
            self._plan(log, step, outcome, unit)

    def _found(self, log: Log, versions: Collection[int] | None = None) -> Iterator["FoundStep"]:
        """Yield the steps of a log whose outcome is known, and note those that cannot be read.

        With `versions` only the steps at these are looked at.
        """
        for step in self.choice.steps(log, versions):
            try:
                outcome = outcome_of(step, log.store.get)
            except BackcastError as error:
                self.left_out.append(LeftOut(place_of_step(step), str(error)))
                continue
            if outcome is None:
                self.unknown += 1
                continue
            is_change = step.built is None and step.action is None
            unit = place_of_step(step) if is_change else step.task_id
            yield FoundStep(log, step, outcome, f"{log.name}: {unit}")

    def _plan(self, log: Log, step: ReplayStep, outcome: KnownOutcome, unit: str) -> bool:
        """Add a step with its prompts; where one cannot be, note why, and return False."""
        prompts = list[RenderedPrompt]()
        tokens = list[int]()
        for setting in self.settings:
            try:
                messages = self._messages(log.store, step, setting)
                prompt = self.reader.prompt(messages, outcome.header)
                size = self.size(prompt, outcome.text)
            except BackcastError as error:
                self.left_out.append(LeftOut(place_of_step(step), f"under {setting.name}: {error}"))
                return False
            prompts.append(prompt)
            tokens.append(size)
        self.jobs.append(
            ScoreJob(
                log.name, step.task_id, step.version, step.name, unit, step.request.target,
                outcome, tuple(prompts), tuple(tokens), (), self.names.spans(step, outcome),
            )
        )  # fmt: skip
        return True

    def _messages(
        self, store: EventStore, step: ReplayStep, setting: Setting
    ) -> Sequence[tuple[str, str]]:
        """Return a step's prompt under a policy; an agent recorded its own, message by message."""
        if step.action and setting.policy is None:
            if not step.action.messages:
                raise InputError("needed messages before the action, found none")
            return step.action.messages
        builder = self.builder(store, step, setting)
        return builder.build(step.known.states, step.known.graph, step.request).messages

    def builder(self, store: EventStore, step: ReplayStep, setting: Setting) -> ContextBuilder:
        """Return the builder of a step's prompt under a policy."""
        return PolicyReplay(self._pool(store), self.profile, setting.policy).builder(step)

    def size(self, prompt: RenderedPrompt, text: str) -> int:
        """Return the tokens of a prompt and a text; `InputError` where they are too many."""
        spelled = self.reader.spelled(prompt, text)
        size = len(spelled.prompt) + len(spelled.text)
        if size > self.reader.window:
            raise InputError(
                f"needed {size:,} tokens, {len(spelled.text):,} of them what was written, found a"
                f" window of {self.reader.window:,}"
            )
        return size

    def _pool(self, store: EventStore) -> BuilderPool:
        """Return the builders for a store; those of the last one are kept."""
        last = getattr(self, "_last", None)
        if last is None or last.store is not store:
            last = self._last = BuilderPool(store, lambda name: self.reader)
        return last

    def key(self, job: ScoreJob, number: int) -> ScoreKey:
        """Return what the score of a job under a policy is known by."""
        known = self.reader.model, self.reader.template, job.digest(number)
        return ScoreKey(*known, outcome_digest(job.outcome.text))

    def to_read(self, books: Mapping[str, ScoreBook]) -> dict[ScoreKey, int]:
        """Return the tokens of each prompt that was never scored, at most, by its key."""
        return {
            key: job.tokens[number]
            for job in self.jobs
            for number in range(len(self.settings))
            if books[job.log].find(key := self.key(job, number)) is None
        }


class FoundStep(NamedTuple):
    """A step of an open log whose outcome is known."""

    log: Log
    step: ReplayStep
    outcome: KnownOutcome
    unit: str


def _counted(found: Iterable[FoundStep], advance: Advance) -> Iterator[FoundStep]:
    for step in found:
        advance(1)
        yield step


def _order(names: Mapping[str, int], found: FoundStep) -> tuple[int, str, int]:
    return names[found.log.name], found.step.task_id, found.step.version


def outcome_digest(text: str) -> str:
    """Return the digest by which the text of an outcome is known."""
    return sha256(text.encode(errors="surrogatepass")).hexdigest()


def place_of_step(step: ReplayStep) -> str:
    """Return a step as reports name it."""
    return f"{step.task_id}@{step.version} {step.name}"


def reading_profile(path: Path, context_tokens: int | None = None) -> ModelProfile:
    """Return the profile of a model file: rows as in the nearer table, counted by the file itself.

    Its window is that of the training, at most `MOST`; a context part of other tokens changes it by
    the difference. `InputError` where it is then larger than that of the training.
    """
    return _profile(str(path), trained_window(path), f"gguf:{path}", context_tokens)


def profile_of(reader: OutcomeReader, context_tokens: int | None = None) -> ModelProfile:
    """Return the profile of a model that reads; see `reading_profile`."""
    return _profile(reader.place, reader.trained, reader.tokenizer, context_tokens)


def _profile(place: str, trained: int, tokenizer: str, context_tokens: int | None) -> ModelProfile:
    profile = of_window("reader", min(trained, MOST), tokenizer, "chatml")
    if context_tokens:
        most = profile.context + trained - profile.window
        if context_tokens > most:
            raise InputError(
                f"{place}: trained for {trained:,} tokens: needed a context part of {most:,} or"
                f" fewer, found {context_tokens:,}"
            )
        profile = profile.with_context(context_tokens, trained)
    return profile
