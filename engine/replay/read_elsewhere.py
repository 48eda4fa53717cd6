"""Have prompts read by workers, and keep the scores here: whoever needs them next finds them kept.

Workers get the prompts themselves, and need no log. What they cannot read stays unread, and is met
again, with its reason, where it is read here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from backcast.domain.errors import WorkerError
from backcast.domain.score_events import Scored
from backcast.engine.log.engines import WorkEngine
from backcast.engine.log.spread import PieceDone, spread
from backcast.engine.replay.kept_scores import ScoreBook, ScoreKey
from backcast.engine.replay.pieces import read_piece, work
from backcast.engine.replay.readers import SentReader
from backcast.engine.replay.score import ScorePlan
from backcast.engine.replay.score_jobs import ScoreJob

STRETCH = 4
"Steps of a piece at most: fewer lose less where a worker is killed."


class UnreadJob(NamedTuple):
    """A step, with those of its prompts that nobody has read."""

    names: tuple[str, ...]
    "Of the policies."
    job: ScoreJob
    book: ScoreBook
    task: str

    @property
    def tokens(self) -> int:
        """The tokens of all its prompts."""
        return sum(self.job.tokens)


class ElsewhereReader:
    """Workers that read what is about to be needed."""

    def __init__(
        self, engine: WorkEngine, reader: SentReader, books: Mapping[str, ScoreBook]
    ) -> None:
        self.engine, self.reader, self.books = engine, reader, books
        self._asked = set[tuple[int, ScoreKey]]()
        "What was asked for, in which book: nothing is asked for twice."

    def read(
        self, plans: Sequence[ScorePlan], advance: Callable[[int], None] = lambda tokens: None
    ) -> None:
        """Have all prompts of some plans read that never were, and keep their scores.

        They are kept in the order of the plans, however this ends. `advance` is called with the
        tokens of what was read. `WorkerError` where a part of it could be read by no worker.
        """
        unread = list(self._unread(plans))
        size = max(1, min(STRETCH, len(unread) // (2 * self.engine.parallel)))
        cut = [unread[at : at + size] for at in range(0, len(unread), size)]
        pieces = [read_piece([(own.names, own.job) for own in some], self.reader) for some in cut]
        found, following = dict[int, PieceDone](), 0
        failed = ""
        try:
            for piece in spread(self.engine, work, pieces) if pieces else ():
                failed = failed or piece.failed
                found[piece.number] = piece
                while following in found:
                    _keep(cut[following], found.pop(following))
                    following += 1
                advance(sum(own.tokens for own in cut[piece.number]))
        finally:
            for number in sorted(found):
                _keep(cut[number], found[number])
        if failed:
            raise WorkerError(f"needed all prompts read, found that {failed}: what was read is"
                              " kept, run it again")  # fmt: skip

    def _unread(self, plans: Iterable[ScorePlan]) -> Iterator[UnreadJob]:
        for plan in plans:
            names = [setting.name for setting in plan.settings]
            for job in plan.jobs:
                book = self.books[job.log]
                numbers = [n for n in range(len(job.tokens)) if self._new(book, plan.key(job, n))]
                if numbers:
                    own = tuple(names[number] for number in numbers)
                    yield UnreadJob(own, _part(job, numbers), book, job.task)

    def _new(self, book: ScoreBook, key: ScoreKey) -> bool:
        """Tell whether nobody has read a prompt, or is asked for it by now."""
        asked = id(book.known), key
        if asked in self._asked or book.find(key) is not None:
            return False
        self._asked.add(asked)
        return True


def _part(job: ScoreJob, numbers: Sequence[int]) -> ScoreJob:
    """Return a job with some of its prompts, and without the name of its log, which may hold a
    password."""
    return job._replace(
        log="", unit="",
        prompts=tuple(job.prompts[number] for number in numbers),
        tokens=tuple(job.tokens[number] for number in numbers),
        parts=tuple(job.parts[number] for number in numbers) if job.parts else (),
    )  # fmt: skip


def _keep(unread: Sequence[UnreadJob], piece: PieceDone) -> None:
    if piece.failed:
        return
    for own, facts in zip(unread, piece.result, strict=True):
        for data in facts:
            fact = Scored.model_validate(data)
            if not own.book.knows(fact):
                own.book.keep(own.task, fact)
