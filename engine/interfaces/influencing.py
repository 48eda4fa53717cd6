"""Influences as a command asks for them: of which steps, answered where, and kept."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from backcast.domain.errors import BackcastError, InputError, WorkerError
from backcast.domain.score_events import Scored
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import Place, log_at
from backcast.engine.interfaces.many_logs import LogTimes, shown_progress
from backcast.engine.interfaces.scoring import Reading, threads_each
from backcast.engine.interfaces.step_prompts import at_prompt
from backcast.engine.interfaces.terminal import message, progress_bar
from backcast.engine.log.remote import shown
from backcast.engine.log.spread import PieceDone, spread
from backcast.engine.log.stamps import stamps_of
from backcast.engine.replay.chosen_steps import history_versions
from backcast.engine.replay.influence import version_at
from backcast.engine.replay.influence_run import (
    InfluenceAnswer,
    InfluenceQuestion,
    StepInfluences,
    answer_from,
    answer_of,
)
from backcast.engine.replay.kept_scores import ScoreBook
from backcast.engine.replay.pieces import influence_piece, work
from backcast.engine.replay.readers import SentReader, sent

if TYPE_CHECKING:
    from backcast.engine.log.engines import WorkEngine
    from backcast.engine.log.open_logs import Log
    from backcast.engine.log.store import EventStore
    from backcast.engine.models.reading import OutcomeReader
    from backcast.engine.replay.influence_report import InfluenceReport


class AskedStep(NamedTuple):
    """What came of a step, or of a whole log that cannot be read."""

    log: str
    "Its name for people; empty where the error says it."
    tasks: int
    "Tasks of that log."
    found: StepInfluences | None = None
    error: BackcastError | None = None
    "Why nothing was found; a `WorkerError` where no worker could do it."


class _CutStep(NamedTuple):
    """A step that workers are asked of."""

    task: str
    version: int
    stamp: str
    piece: str


class _CutLog:
    """A log whose steps workers are asked of; it is closed meanwhile."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.steps: list[AskedStep | _CutStep] = []
        "What came of each step, or what a worker is asked."
        self.name, self.tasks, self.waiting = "", 0, 0
        "Its name for people, its tasks, and how many steps workers still have."
        self.scores: dict[int, tuple[str, InfluenceAnswer]] = {}
        "Answers whose scores are not kept yet, with their tasks, by the places of the steps."


def _version_at(store: "EventStore", task: str, when: str) -> int:
    """Return the version of the step that an address names, by whichever of its events."""
    return version_at(store, task, at_prompt(Place(store, task, when)).when)


class InfluenceRun:
    """A question to the steps that some addresses name."""

    def __init__(
        self, reading: Reading, reader: "OutcomeReader", question: InfluenceQuestion, url: str,
        report: "InfluenceReport | None",
    ) -> None:  # fmt: skip
        self.reading, self.reader, self.question = reading, reader, question
        self.url, self.report = url, report
        self.times = LogTimes()
        self.known = self.torn = 0
        "Steps that stood in the report, and logs that are not whole."
        self._first: ScoreBook | None = None
        self._unkept = set[str]()

    # In this process

    def here(self, addresses: Sequence[Address]) -> Iterator[AskedStep]:
        """Yield what comes of each step, as soon as the model has read it."""
        with shown_progress(len(addresses)) as advance:
            for address in addresses:
                try:
                    with self.times.taken(shown(str(address))), log_at(address, self.url) as log:
                        yield from self._of_log(log, address.when)
                except BackcastError as error:
                    yield AskedStep("", 0, error=error)
                advance(1)

    def _of_log(self, log: "Log", when: str) -> Iterator[AskedStep]:
        stamps = self._begun(log, stamped=bool(self.report))
        book, known = self._book(log), AskedStep(shown(log.name), len(log.tasks))
        for task, version in self._asked_of(log, when):
            try:
                if isinstance(version, BackcastError):
                    raise version
                stamp = stamps.get(task, "")
                found = self._reported(book, task, stamp, version)
                found = found or self._read(log, book, task, stamp, version)
            except BackcastError as error:
                yield known._replace(error=error)
            else:
                yield known._replace(found=found)

    def _read(
        self, log: "Log", book: ScoreBook, task: str, stamp: str, version: int
    ) -> StepInfluences | None:
        plan = self.reading.plan(self.reader, [self.question.setting])
        planned = self.question.plan_step(plan, log.name, log.store, task, version)
        scoring, interrupted = self.reading.read(planned.plan, {log.name: book})
        if interrupted:
            raise KeyboardInterrupt
        answer = answer_of(planned, scoring)
        if self.report:
            self.report.add(task, stamp, version, answer)
        return answer.found

    # Elsewhere

    def elsewhere(self, engine: "WorkEngine", addresses: Sequence[Address]) -> Iterator[AskedStep]:
        """Yield the same, answered by workers; however it ends, all that came is kept."""
        threads = self.reading.threads or threads_each(engine)
        needed = sent(self.reader, self.reading.context_tokens, threads)
        with shown_progress(len(addresses)) as advance:
            logs = [self._cut(address, needed, advance) for address in addresses]
        waiting = [
            (log, place, step) for log in logs for place, step in enumerate(log.steps)
            if isinstance(step, _CutStep)
        ]  # fmt: skip
        ended = 0
        try:
            with progress_bar("steps", len(waiting)) as advance:
                for piece in spread(engine, work, [step.piece for *_, step in waiting]):
                    self._take(*waiting[piece.number], piece)
                    advance(1)
                    while ended < len(logs) and not logs[ended].waiting:
                        yield from self._ended(logs[ended])
                        ended += 1
            for log in logs[ended:]:
                yield from self._ended(log)
        finally:
            for log in logs:
                self._keep(log)

    def _cut(self, address: Address, needed: SentReader, advance: Callable[[int], None]) -> _CutLog:
        """Return what workers are asked of a log, or what the report knows of it."""
        cut = _CutLog(address)
        try:
            with self.times.taken(shown(str(address))), log_at(address, self.url) as log:
                cut.name, cut.tasks = shown(log.name), len(log.tasks)
                stamps, book = self._begun(log, stamped=True), self._book(log)
                cut.steps += (
                    self._cut_step(log, book, task, version, stamps[task], needed)
                    for task, version in self._asked_of(log, address.when)
                )
        except BackcastError as error:
            cut.steps.append(AskedStep("", 0, error=error))
        cut.waiting = sum(isinstance(step, _CutStep) for step in cut.steps)
        advance(1)
        return cut

    def _cut_step(
        self, log: "Log", book: ScoreBook, task: str, version: int | BackcastError, stamp: str,
        needed: SentReader,
    ) -> AskedStep | _CutStep:  # fmt: skip
        known = AskedStep(shown(log.name), len(log.tasks))
        try:
            if isinstance(version, BackcastError):
                raise version
            if found := self._reported(book, task, stamp, version):
                return known._replace(found=found)
        except BackcastError as error:
            return known._replace(error=error)
        read_by = self.reader.model, self.reader.template
        facts = [
            fact.data for key, fact in book.known.items()
            if key[:2] == read_by and fact.step == version
        ]  # fmt: skip
        piece = influence_piece(log.name, task, stamp, version, self.question, needed, facts)
        return _CutStep(task, version, stamp, piece)

    def _take(self, log: _CutLog, place: int, step: _CutStep, piece: PieceDone) -> None:
        """Take what came of a step."""
        log.waiting -= 1
        known = AskedStep(log.name, log.tasks)
        if piece.failed:
            log.steps[place] = known._replace(error=WorkerError(piece.failed))
            return
        [result] = piece.result
        answer = answer_from(result)
        self.times.add(shown(str(log.address)), answer.seconds)
        log.scores[place] = step.task, answer
        if answer.found is None:
            log.steps[place] = known._replace(error=InputError(answer.reason))
            return
        if self.report:
            self.report.add(step.task, step.stamp, step.version, answer)
        log.steps[place] = known._replace(found=answer.found)

    def _ended(self, log: _CutLog) -> Iterator[AskedStep]:
        self._keep(log)
        return (step for step in log.steps if isinstance(step, AskedStep))

    def _keep(self, log: _CutLog) -> None:
        """Keep the scores that came of a log's steps, in their order."""
        if not log.scores:
            return
        with log_at(log.address, self.url) as held:
            book = self._book(held)
            for _, (task, answer) in sorted(log.scores.items()):
                self._keep_scores(book, task, answer)
        log.scores = {}

    # Of both

    def _asked_of(self, log: "Log", when: str) -> Iterator[tuple[str, int | BackcastError]]:
        """Yield the tasks of a log with the version of each step that is asked of, or why there is
        none."""
        last = self.reading.last
        for task in log.tasks:
            versions: list[int | BackcastError] = []
            try:
                versions += history_versions(log, task, last) if last else ()
                versions = versions or [_version_at(log.store, task, when)]
            except BackcastError as error:
                versions = [error]
            yield from ((task, version) for version in versions)

    def _begun(self, log: "Log", *, stamped: bool) -> dict[str, str]:
        """Tell what is wrong with a log; return the stamps of its tasks, where they are needed."""
        for problem in log.problems:
            message(f"skipped {problem}")
        self.torn += bool(log.problems)
        return stamps_of(log.store) if stamped else {}

    def _book(self, log: "Log") -> ScoreBook:
        """Return the scores of a log: in one file for all, or where the log keeps them."""
        if self.reading.scores is None:
            return ScoreBook.beside(log.store, log.name)
        book = ScoreBook(log.store, self.reading.scores, self._first)
        self._first = self._first or book
        return book

    def _reported(
        self, book: ScoreBook, task: str, stamp: str, version: int
    ) -> StepInfluences | None:
        """Return what the report knows of a step, after its scores are kept."""
        answer = self.report.find(task, stamp, version) if self.report else None
        if answer is None:
            return None
        self.known += 1
        self._keep_scores(book, task, answer)
        return answer.found

    def _keep_scores(self, book: ScoreBook, task: str, answer: InfluenceAnswer) -> None:
        for data in answer.scores:
            fact = Scored.model_validate(data)
            if not book.knows(fact):
                book.keep(task, fact)
        if book.unkept and book.unkept not in self._unkept:
            self._unkept.add(book.unkept)
            message(f"note: the scores are printed, and not kept: {book.unkept}")
