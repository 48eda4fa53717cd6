"""What is scored: a step with its outcome and its prompts, and what came of reading them."""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from backcast.engine.models.likelihood import LineNats, RenderedPrompt
from backcast.engine.replay.outcomes import KnownOutcome
from backcast.engine.replay.steps import ReplayStep


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
    digests: tuple[str, ...] = ()
    "Of the prompts, where they were read elsewhere and are not here."

    def digest(self, number: int) -> str:
        """Return the digest of the prompt under a policy."""
        return self.digests[number] if self.digests else self.prompts[number].digest

    def without_prompts(self) -> "ScoreJob":
        """Return the job with the digests of its prompts in their place."""
        return self._replace(prompts=(), digests=tuple(one.digest for one in self.prompts))

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


def digest_of_messages(messages: Sequence[tuple[str, str]]) -> str:
    """Return the digest of a prompt's messages, the same in every template."""
    parts = "".join(f"{role}:{len(text)}:{text}" for role, text in messages)
    return sha256(parts.encode(errors="surrogatepass")).hexdigest()


def draw(step: ReplayStep | ScoreJob) -> str:
    """Return the lot of a step, by which samples are taken: the same wherever its log lies."""
    task = step.task if isinstance(step, ScoreJob) else step.task_id
    return sha256(f"{task}@{step.version}".encode(errors="surrogatepass")).hexdigest()
