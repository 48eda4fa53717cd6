"""Hand out pieces of work, and take what comes back: in any order, once each, whatever dies."""

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from typing import Any, NamedTuple

from backcast.domain.errors import InputError, WorkerError
from backcast.engine.log.engines import WorkEngine

TICK = 1.0
"Seconds between two looks at an engine from which nothing comes."
KILLS = 2
"Workers that a piece takes with it, and no other piece can have, until it has failed."
TRIES = 64
"Refusals of a piece, where an engine cannot tell who is still to be asked."
STARTS = 3
"Executors opened one after the other that break before they take anything."


class PieceDone(NamedTuple):
    """What came of a piece."""

    number: int
    result: Any = None
    failed: str = ""
    "Why nothing came of it."


class Refusal(NamedTuple):
    """Why a worker cannot do a piece that another one might do."""

    worker: str
    reason: str
    whole: bool
    "Whether it can do no piece at all."


class _Piece:
    """A piece of work, and what has happened to it."""

    def __init__(self, number: int, text: str) -> None:
        self.number, self.text = number, text
        self.kills = self.tries = 0
        self.alone = False
        "Whether no other piece is done meanwhile."
        self.refusals: dict[str, Refusal] = {}


def done(result: Any) -> str:
    """Return a result as a worker sends it."""
    return json.dumps({"done": result})


def failed(reason: str) -> str:
    """Return why a worker could not do what no other could, as it sends that."""
    return json.dumps({"failed": reason})


def refused(worker: str, reason: str, *, whole: bool) -> str:
    """Return why a worker does not do a piece, as it sends that."""
    return json.dumps({"refused": Refusal(worker, reason, whole)})


def broken(trace: str) -> str:
    """Return an error that nobody expected, as a worker sends it."""
    return json.dumps({"broken": trace})


def spread(
    engine: WorkEngine, work: Callable[[str], str], pieces: Sequence[str]
) -> Iterator[PieceDone]:
    """Yield what comes of each piece, as it comes; `work` returns one of the four texts above.

    A piece whose worker was killed is done again, at last alone. `WorkerError` where the engine is
    gone, `InputError` where no worker can do any piece.
    """
    engine.expect(len(pieces))
    spreading = _Spreading(engine, work, pieces)
    try:
        yield from spreading.run()
    finally:
        spreading.cancel()


class _Spreading:
    """Pieces on their way."""

    def __init__(
        self, engine: WorkEngine, work: Callable[[str], str], pieces: Sequence[str]
    ) -> None:
        self.engine, self.work = engine, work
        self.waiting = deque(_Piece(number, text) for number, text in enumerate(pieces))
        self.alone = deque[_Piece]()
        "Pieces whose worker was killed, perhaps by another piece: each is done with no other."
        self.handed: dict[Future[str], _Piece] = {}
        self.starts = 0
        "Executors opened since one took a piece."
        self.unfit = {at: Refusal(at, why, True) for at, why in engine.unfit().items()}
        "Workers that can do no piece."

    def run(self) -> Iterator[PieceDone]:
        """Yield what comes of the pieces."""
        self._check_fit()
        while self.waiting or self.alone or self.handed:
            self._hand_out()
            ready, _ = wait(self.handed, TICK, FIRST_COMPLETED)
            if not ready and (trouble := self.engine.trouble()):
                raise WorkerError(trouble)
            renew = not self.engine.retries and any(map(self._killed_at, ready))
            if renew:  # what is broken gives back all that it was handed
                ready, _ = wait(self.handed)
            for future in ready:
                yield from self._taken(self.handed.pop(future), future)
            if renew:
                self.engine.renew()

    def cancel(self) -> None:
        """Take back what is handed out."""
        for future in self.handed:
            future.cancel()

    def _hand_out(self) -> None:
        while self.waiting and len(self.handed) < self.engine.width:
            if not self._submit(self.waiting[0]):
                return
            self.waiting.popleft()
        if self.alone and not self.waiting and not self.handed and self._submit(self.alone[0]):
            self.alone.popleft()

    def _submit(self, piece: _Piece) -> bool:
        """Hand out a piece; tell whether that could be done."""
        try:
            future = self.engine.submit(self.work, piece.text, {*self.unfit, *piece.refusals})
        except BrokenExecutor:
            if not self.handed:  # else it is opened anew when they come back
                self.starts += 1
                if self.starts > STARTS:
                    raise WorkerError(
                        "needed workers that take work, found ones that are killed before"
                        " (is memory short?)"
                    ) from None
                self.engine.renew()
            return False
        except Exception as error:  # each engine has its own
            raise WorkerError(self.engine.trouble() or _line(error)) from None
        self.handed[future], self.starts = piece, 0
        return True

    def _killed_at(self, future: Future[str]) -> bool:
        if future.cancelled():
            return False
        error = future.exception()
        return error is not None and self.engine.killed(error)

    def _taken(self, piece: _Piece, future: Future[str]) -> Iterator[PieceDone]:
        """Yield what came of a piece, unless it is to be done again."""
        if future.cancelled():
            raise WorkerError(self.engine.trouble() or "needed results, found them cancelled")
        if self._killed_at(future):
            piece.kills += piece.alone
            piece.alone = True
            # An engine that tries again by itself has then lost several workers to it.
            if piece.kills < (1 if self.engine.retries else KILLS):
                self.alone.append(piece)
            else:
                yield PieceDone(
                    piece.number, failed="each worker that did it was killed (is memory short?)"
                )
            return
        if error := future.exception():
            raise WorkerError(f"needed a result of a worker, found {_line(error)}")
        answer = json.loads(future.result())
        if "broken" in answer:
            raise RuntimeError(f"in a worker:\n{answer['broken']}")
        if "refused" in answer:
            yield from self._refused(piece, Refusal(*answer["refused"]))
        else:
            yield PieceDone(piece.number, answer.get("done"), answer.get("failed", ""))

    def _refused(self, piece: _Piece, refusal: Refusal) -> Iterator[PieceDone]:
        if refusal.whole:  # a busy engine may ask a worker that is avoided: it says nothing new
            self.unfit[refusal.worker] = refusal
        else:
            piece.refusals[refusal.worker] = refusal
        piece.tries += 1
        self._check_fit()
        if piece.tries < TRIES and self.engine.others({*self.unfit, *piece.refusals}):
            self.waiting.appendleft(piece)
        else:
            yield PieceDone(piece.number, failed=_all(piece.refusals or self.unfit))

    def _check_fit(self) -> None:
        """Raise `InputError` where no worker can do any piece."""
        if self.unfit and not self.engine.others(self.unfit):
            raise InputError(_all(self.unfit))


def _all(refusals: dict[str, Refusal]) -> str:
    """Return the reason of the first refusal, and how many there are."""
    first, *more = refusals.values()
    also = f", and of {len(more)} more workers" if more else ""
    return f"{first.reason}: that is the answer of the worker {first.worker}{also}"


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()):.200}"
