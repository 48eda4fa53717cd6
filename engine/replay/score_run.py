"""Read what a plan of scores asks for, keep each score at once, and end at any moment."""

import math
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from backcast.domain.errors import InputError, ModelError
from backcast.domain.score_events import Scored
from backcast.engine.models.likelihood import LineNats, by_line
from backcast.engine.replay.kept_scores import ScoreBook
from backcast.engine.replay.project_names import named
from backcast.engine.replay.score import ScorePlan
from backcast.engine.replay.score_jobs import LeftOut, ScoreJob, StepScore, draw

DIGITS = 6
"Decimals of nats that are kept."


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
        self.gone = False
        "Whether the server of the model is gone, after a second try."
        self._failed_last = False

    @property
    def not_reached(self) -> int:
        """The number of steps that nobody came to read."""
        return len(self.waiting)

    def run(self, advance: Callable[[int], None] = lambda tokens: None) -> None:
        """Read until all is read, or the time is up; `advance` is called with tokens as they are
        read, of each prompt with as many as it has.

        What was read is kept at once, so that this can be ended at any moment.
        """
        while self.waiting and not self.gone:
            job = self.waiting[0]
            try:
                facts = [self._fact(job, n, advance) for n in range(len(job.tokens))]
            except ModelError as error:
                if error.kind == "timeout" and monotonic() > self.until:
                    return
                self.failed.append(LeftOut(job.place, str(error)))
                before, self._failed_last = self._failed_last, error.kind == "unavailable"
                # A server that is gone is not waited for at each step.
                self.gone = before and self._failed_last
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
            text, size, done = job.outcome.text, job.tokens[number], 0

            def heard(tokens: int) -> None:
                nonlocal done
                tokens = min(tokens, size - done)
                done += tokens
                advance(tokens)

            reader.heard = heard
            try:
                found = reader.read(job.prompts[number], text, self.until)
            finally:
                reader.heard = _unheard
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
            advance(size - done)
        return fact


def _unheard(tokens: int) -> None:
    """Hear of nothing."""


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
