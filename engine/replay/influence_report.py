"""The report that grows of `influence`, by a line for each step with its scores."""

from pathlib import Path

from backcast.engine.models.reading import OutcomeReader
from backcast.engine.replay.growing_report import GrowingReport
from backcast.engine.replay.influence_run import InfluenceAnswer, InfluenceQuestion, answer_from


class InfluenceReport(GrowingReport):
    """What was found of each step under some question, by a model."""

    command, part = "influence", "step"

    def __init__(
        self, path: Path, question: InfluenceQuestion, reader: OutcomeReader,
        context_tokens: int | None,
    ) -> None:  # fmt: skip
        policy, *more = question.setting.policy, question.most, question.halves, question.texts
        known = reader.model, reader.template, reader.reader
        super().__init__(path, policy and policy.digest, more, known, context_tokens)

    def find(self, task: str, stamp: str, version: int) -> InfluenceAnswer | None:
        """Return what was found of a step before; None where nothing was."""
        line = self.line(self.key(task, stamp, version))
        if line is None:
            return None
        try:
            return answer_from(line["answer"])
        except (ValueError, TypeError, LookupError):
            raise self.damaged(f"{task}@{version}") from None

    def add(self, task: str, stamp: str, version: int, answer: InfluenceAnswer) -> None:
        """Write what was found of a step."""
        key = self.key(task, stamp, version)
        self.write(key, {"step": f"{task}@{version}", "answer": answer})
