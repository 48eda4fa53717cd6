"""Score the known outcomes of recorded steps under the prompts of several policies.

A score is how likely the text that was really written is to a model that reads it behind a prompt.
It is not what a model would have answered. Prompts are built as they are for `backcast diff`, each
after the recorded one before it, so that none depends on which others are scored with it; no score
is read by what builds them.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from heapq import nsmallest
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from backcast.domain.budget import ModelProfile, of_window
from backcast.domain.errors import BackcastError, InputError, ModelError
from backcast.domain.events import Scored
from backcast.engine.context.builder import ContextBuilder
from backcast.engine.log.open_logs import Log
from backcast.engine.log.store import EventStore
from backcast.engine.models.likelihood import (
    MOST,
    LineNats,
    RenderedPrompt,
    by_line,
    trained_window,
)
from backcast.engine.models.reading import OutcomeReader
from backcast.engine.replay.actions import actions
from backcast.engine.replay.changes import requests
from backcast.engine.replay.corpus import Setting
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.kept_scores import ScoreBook, ScoreKey
from backcast.engine.replay.outcomes import KnownOutcome, outcome_of
from backcast.engine.replay.project_names import ProjectNames, named
from backcast.engine.replay.steps import ReplayStep, asked, steps

DIGITS = 6
"Decimals of nats that are kept."


class LessPart(NamedTuple):
    """What was left out of a prompt to see what it was worth."""

    without: str
    "A node, or a section."
    within: str | None
    "The section of the node; None for a section."
    whole: str
    "The digest of the rendered prompt with it."
    shown: str
    "The digest of that prompt's messages."


class ScoreJob(NamedTuple):
    """A step with its outcome, and its prompt under each policy."""

    log: str
    task: str
    version: int
    name: str
    unit: str
    "What is drawn as one for intervals: a recorded run, or a change of a history."
    target: str
    outcome: KnownOutcome
    prompts: tuple[RenderedPrompt, ...]
    tokens: tuple[int, ...]
    "Of each prompt and the outcome behind it."
    parts: tuple["LessPart | None", ...] = ()
    "Of each prompt what was left out of it; empty where each is whole."
    names: tuple[tuple[int, int], ...] | None = None
    "Where in the outcome names stand that the project defines; None where nobody looked."

    @property
    def place(self) -> str:
        """The step as reports name it."""
        return f"{self.task}@{self.version} {self.name}"


class LeftOut(NamedTuple):
    """A step that is not scored."""

    step: str
    reason: str


class StepScore(NamedTuple):
    """The outcome of a step, read under every policy."""

    job: ScoreJob
    lines: tuple[tuple[LineNats, ...], ...]
    "Of each policy, how likely each line was."
    names: tuple[tuple[LineNats, ...] | None, ...] = ()
    "The same of the names that the project defines; None where that is not known."

    def named(self, number: int) -> LineNats | None:
        """Return the tokens and nats of such names in new lines; None where not known."""
        lines = self.names[number] if self.names else None
        if lines is None:
            return None
        new = [line for line, is_new in zip(lines, self.job.outcome.new, strict=True) if is_new]
        return LineNats(sum(line.tokens for line in new), sum(line.nats for line in new))

    def sums(self, number: int, *, new: bool) -> LineNats:
        """Return the tokens and nats of all lines, or of the new ones, under a policy."""
        pairs = zip(self.lines[number], self.job.outcome.new, strict=True)
        shown = [line for line, is_new in pairs if is_new or not new]
        return LineNats(sum(line.tokens for line in shown), sum(line.nats for line in shown))


class ScorePlan:
    """The steps of some logs that are to be scored."""

    def __init__(
        self, reader: OutcomeReader, settings: Sequence[Setting], profile: ModelProfile
    ) -> None:
        self.reader, self.settings = reader, settings
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
        logs: Sequence[Log],
        sample: int | None = None,
        advance: Callable[[int], None] = lambda steps: None,
    ) -> None:
        """Add the steps of open logs, or a sample of so many of them.

        A step is in every sample that is larger than one that it is in, whatever else there is.
        `advance` is called for each step whose prompts are built.
        """
        every = (found for log in logs for found in self._found(log))
        if sample is None:
            for log, step, outcome, unit in every:
                self._plan(log, step, outcome, unit)
                advance(1)
            return
        count = 0

        def counted() -> Iterator[_Found]:
            nonlocal count
            for found in every:
                count += 1
                yield found

        chosen = nsmallest(sample, counted(), key=lambda found: draw(found.step))
        self.not_sampled += count - len(chosen)
        for log, step, outcome, unit in sorted(chosen, key=lambda found: _order(logs, found)):
            self._plan(log, step, outcome, unit)
            advance(1)

    def _found(self, log: Log) -> Iterator["_Found"]:
        """Yield the steps of a log whose outcome is known, and note those that cannot be read."""
        for task in log.tasks:
            recorded = any(prompt.fact.stood_at is not None for prompt in asked(log.store, task))
            if recorded:
                found = steps(log.store, task, outcomes=True)
            else:
                found = chain(requests(log.store, task), actions(log.store, task))
            for step in found:
                if step.built and step.built.stood_at is None:
                    continue
                try:
                    outcome = outcome_of(step, log.store.get)
                except BackcastError as error:
                    self.left_out.append(LeftOut(_place(step), str(error)))
                    continue
                if outcome is None:
                    self.unknown += 1
                    continue
                run = recorded or step.action is not None
                unit = f"{log.name}: {task}" if run else f"{log.name}: {_place(step)}"
                yield _Found(log, step, outcome, unit)

    def _plan(self, log: Log, step: ReplayStep, outcome: KnownOutcome, unit: str) -> None:
        prompts = list[RenderedPrompt]()
        tokens = list[int]()
        for setting in self.settings:
            try:
                messages = self._messages(log.store, step, setting)
                prompt = self.reader.prompt(messages, outcome.header)
                size = self.size(prompt, outcome.text)
            except BackcastError as error:
                self.left_out.append(LeftOut(_place(step), f"under {setting.name}: {error}"))
                return
            prompts.append(prompt)
            tokens.append(size)
        self.jobs.append(
            ScoreJob(
                log.name, step.task_id, step.version, step.name, unit, step.request.target,
                outcome, tuple(prompts), tuple(tokens), (), self.names.spans(step, outcome),
            )
        )  # fmt: skip

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
        text = sha256(job.outcome.text.encode(errors="surrogatepass")).hexdigest()
        return ScoreKey(self.reader.model, self.reader.template, job.prompts[number].digest, text)

    def to_read(self, books: Mapping[str, ScoreBook]) -> dict[ScoreKey, int]:
        """Return the tokens of each prompt that was never scored, at most, by its key."""
        return {
            key: job.tokens[number]
            for job in self.jobs
            for number in range(len(self.settings))
            if books[job.log].find(key := self.key(job, number)) is None
        }


class _Found(NamedTuple):
    """A step of an open log whose outcome is known."""

    log: Log
    step: ReplayStep
    outcome: KnownOutcome
    unit: str


def _order(logs: Sequence[Log], found: _Found) -> tuple[int, str, int]:
    names = [log.name for log in logs]
    return names.index(found.log.name), found.step.task_id, found.step.version


def _place(step: ReplayStep) -> str:
    return f"{step.task_id}@{step.version} {step.name}"


def digest_of_messages(messages: Sequence[tuple[str, str]]) -> str:
    """Return the digest of a prompt's messages, the same in every template."""
    parts = "".join(f"{role}:{len(text)}:{text}" for role, text in messages)
    return sha256(parts.encode(errors="surrogatepass")).hexdigest()


def draw(step: ReplayStep | ScoreJob) -> str:
    """Return the lot of a step, by which samples are taken: the same wherever its log lies."""
    task = step.task if isinstance(step, ScoreJob) else step.task_id
    return sha256(f"{task}@{step.version}".encode(errors="surrogatepass")).hexdigest()


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
        profile = profile.with_context(context_tokens)
    if profile.window > trained:
        most = profile.context + trained - profile.window
        raise InputError(
            f"{place}: trained for {trained:,} tokens: needed a context part of {most:,} or fewer,"
            f" found {profile.context:,}"
        )
    return profile


class Scoring:
    """The scores of a plan, as far as they have come."""

    def __init__(
        self, plan: ScorePlan, books: Mapping[str, ScoreBook], seconds: float | None = None
    ) -> None:
        """With `seconds` steps are taken by lot, so that those within the time are a sample."""
        self.plan, self.books = plan, books
        self.until = math.inf if seconds is None else monotonic() + seconds
        self.waiting = list(plan.jobs) if seconds is None else sorted(plan.jobs, key=draw)
        self.steps: list[StepScore] = []
        self.failed: list[LeftOut] = []

    def run(self, advance: Callable[[int], None] = lambda tokens: None) -> None:
        """Read until all is read, or the time is up; `advance` is called with each prompt's tokens.

        What was read is kept at once, so that this can be ended at any moment.
        """
        gone = False
        while self.waiting:
            job = self.waiting[0]
            try:
                facts = [self._fact(job, n, advance) for n in range(len(job.prompts))]
            except ModelError as error:
                if error.kind == "timeout" and monotonic() > self.until:
                    return
                self.failed.append(LeftOut(job.place, str(error)))
                gone, before = error.kind == "unavailable", gone
                if gone and before:  # a server that is gone is not waited for at each step
                    self.waiting.pop(0)
                    return
            except InputError as error:
                self.failed.append(LeftOut(job.place, str(error)))
            else:
                found = [_lines_of(fact) for fact in facts]
                lines = tuple(whole for whole, _ in found)
                self.steps.append(StepScore(job, lines, tuple(names for _, names in found)))
            self.waiting.pop(0)

    def _fact(self, job: ScoreJob, number: int, advance: Callable[[int], None]) -> Scored:
        key, book, reader = self.plan.key(job, number), self.books[job.log], self.plan.reader
        fact = book.find(key)
        if fact is None or len(fact.line_tokens) != len(job.outcome.new):
            if monotonic() > self.until:
                raise ModelError("the time is up", "timeout")
            text = job.outcome.text
            found = reader.read(job.prompts[number], text, self.until)
            lines = by_line(found.pieces, found.nats, text.count("\n") + 1, found.before)
            part = job.parts[number] if job.parts else None
            names = () if job.names is None else named(found, text, job.names)
            fact = Scored(
                step=job.version, target=job.target, policy=self.plan.settings[number].name,
                model=key.model, template=key.template, prompt=key.prompt, outcome=key.outcome,
                reader=reader.reader, prompt_tokens=job.tokens[number] - sum(n for n, _ in lines),
                line_tokens=tuple(line.tokens for line in lines),
                line_nats=tuple(round(line.nats, DIGITS) for line in lines),
                **(_names(names) | (part._asdict() if part else {})),
            )  # fmt: skip
            book.keep(job.task, fact)
            advance(job.tokens[number])
        return fact


def _names(names: Sequence[LineNats]) -> dict[str, Any]:
    """Return the fields of the names of a score; none where nobody looked for them."""
    if not names:
        return {}
    nats = tuple(round(line.nats, DIGITS) for line in names)
    return {"name_tokens": tuple(line.tokens for line in names), "name_nats": nats}


def _lines_of(fact: Scored) -> tuple[tuple[LineNats, ...], tuple[LineNats, ...] | None]:
    """Return how likely each line of a score was, and of each line the names."""
    lines = tuple(map(LineNats, fact.line_tokens, fact.line_nats))
    names = tuple(map(LineNats, fact.name_tokens, fact.name_nats))
    return lines, names if len(names) == len(lines) else None
