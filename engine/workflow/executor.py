"""Runs calls to models side by side, at most so many at once.

What succeeded is kept, what failed is reported. Of alternatives the first valid answer wins, and
the others are really ended. Whatever stops the whole, Ctrl-C too, ends every call within a second,
and what had been answered by then is reported still. Ended calls are reported in the order in
which they ended, in the caller's thread; nothing here touches the log.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import asynccontextmanager, nullcontext, suppress
from threading import Thread
from time import monotonic
from typing import NamedTuple, TypeVar

from backcast.domain.errors import ModelError
from backcast.engine.models import Completion
from backcast.engine.models.cancelling import CallCancelledError, Cancellation

CONCURRENCY = 10
"Calls that run at once where nobody says how many."
LATE = 2.0
"Seconds beyond its own limit after which a call that does not return is given up."
ENDING = 0.7
"Seconds for which a cancelled call is waited for; it may bring an answer still."
LOOK = 0.2
"Seconds between two looks at what threads do, by which Ctrl-C is heard."

T = TypeVar("T")


class SideCall(NamedTuple):
    """One call to a model."""

    id: int
    "The version of its STEP_STARTED."
    ask: Callable[[Cancellation], Completion]
    seconds: float
    "The time within which it answers or fails by itself."
    queue: int | None = None
    "Calls of one queue follow each other, as they are read by one slot of a server."


class Race(NamedTuple):
    """A call and its alternatives, of which one answer is used; mostly a call alone."""

    calls: Sequence[SideCall]
    is_valid: Callable[[Completion], bool] = lambda answer: True
    "Whether an answer can be used; it is asked in the caller's thread."


class EndedCall(NamedTuple):
    """How a call ended."""

    call: SideCall
    outcome: str
    "answered or failed; won or lost among alternatives; or cancelled."
    seconds: float
    answer: Completion | None = None
    error: ModelError | None = None


Report = Callable[[EndedCall], None]
Further = Callable[[], Sequence[Race]]


def run_calls(
    races: Sequence[Race],
    report: Report,
    concurrency: int = CONCURRENCY,
    further: Further = tuple,
) -> None:
    """Run calls until each has ended, and report each as it ends; then those that come of it.

    `further` is asked for them in the caller's thread, each time that a call has ended.

    `KeyboardInterrupt` after all calls have ended, where somebody stops it; an error of `report`
    stops it too.
    """
    try:
        if _is_inside_loop():  # of a notebook, for instance
            result_of(in_thread(lambda: asyncio.run(_run(races, report, concurrency, further))))
        else:
            asyncio.run(_run(races, report, concurrency, further))
    except BaseExceptionGroup as group:
        raise _first(group) from None


async def _run(races: Sequence[Race], report: Report, concurrency: int, further: Further) -> None:
    slots = _Turns(max(1, concurrency))
    async with asyncio.TaskGroup() as group:

        async def follow(race: Race) -> None:
            await _race(race, report, slots)
            for another in further():
                group.create_task(follow(another))

        for race in races:
            group.create_task(follow(race))


class _Turns:
    """The places of calls that may run at once, and the queues in which some wait first."""

    def __init__(self, places: int) -> None:
        self._places, self._queues = asyncio.Semaphore(places), dict[int, asyncio.Lock]()

    @asynccontextmanager
    async def turn(self, queue: int | None) -> AsyncIterator[None]:
        """Wait for a call's turn: in its queue first, where it takes no place from others."""
        lock = nullcontext() if queue is None else self._queues.setdefault(queue, asyncio.Lock())
        async with lock, self._places:
            yield


async def _race(race: Race, report: Report, slots: _Turns) -> None:
    """Run one call, or alternatives until one has a valid answer."""
    if len(race.calls) == 1:
        report(await _call(race.calls[0], slots, report))
        return
    ended: dict[int, EndedCall] = {}

    def late(loser: EndedCall) -> None:
        report(loser if loser.answer is None else loser._replace(outcome="lost"))

    running = [asyncio.create_task(_call(call, slots, late)) for call in race.calls]
    won: int | None = None
    try:
        while won is None and len(ended) < len(running):
            waiting = [task for number, task in enumerate(running) if number not in ended]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for number, task in enumerate(running):
                if task.done() and number not in ended:
                    ended[number] = task.result()
                    answer = ended[number].answer
                    # Of two that end at once the one that is named first wins.
                    if won is None and answer is not None and race.is_valid(answer):
                        won = number
    finally:
        for task in running:
            task.cancel()
        # Without a valid answer the first one is used, and refused by whoever uses it.
        used = min((n for n in ended if ended[n].answer), default=None) if won is None else won
        for number in sorted(ended, key=lambda number: number != used):
            outcome = "won" if number == used else "lost"
            outcome = ended[number].outcome if ended[number].answer is None else outcome
            report(ended[number]._replace(outcome=outcome))
        for number, task in enumerate(running):
            if number not in ended:
                with suppress(asyncio.CancelledError):
                    await task


async def _call(call: SideCall, slots: _Turns, report: Report) -> EndedCall:
    """Run one call, and return how it ended; one that is cancelled is reported at once."""
    cancellation, began = Cancellation(), monotonic()
    try:
        async with slots.turn(call.queue):
            began = monotonic()
            answer = asyncio.wrap_future(in_thread(lambda: call.ask(cancellation)))
            try:
                done, _ = await asyncio.wait([answer], timeout=call.seconds + LATE)
                if done:
                    return _ended(call, answer, monotonic() - began)
                cancellation.cancel()
                answer.cancel()
                late = f"needed an answer within {call.seconds:.3g} seconds, found none"
                error = ModelError(late, "timeout")
                return EndedCall(call, "failed", monotonic() - began, error=error)
            except asyncio.CancelledError:
                cancellation.cancel()
                done, _ = await asyncio.wait([answer], timeout=ENDING)
                report(_cancelled(call, answer if done else None, monotonic() - began))
                answer.cancel()  # whatever it brings now comes too late
                raise
    except asyncio.CancelledError:
        if not cancellation.said:  # it waited for its turn
            report(_cancelled(call, None, 0.0, CallCancelledError(0)))
        raise


def _ended(call: SideCall, answer: "asyncio.Future[Completion]", seconds: float) -> EndedCall:
    try:
        return EndedCall(call, "answered", seconds, answer.result())
    except ModelError as error:
        return EndedCall(call, "failed", seconds, error=error)
    except Exception as error:  # a model is foreign code: the others go on
        line = " ".join(str(error).split())[:200]
        failed = ModelError(f"the model raised {type(error).__name__}: {line}".rstrip(": "))
        return EndedCall(call, "failed", seconds, error=failed)


def _cancelled(
    call: SideCall,
    answer: "asyncio.Future[Completion] | None",
    seconds: float,
    error: ModelError | None = None,
) -> EndedCall:
    """Return how a cancelled call ended: with an answer, where that came nevertheless."""
    if answer is not None:
        ended = _ended(call, answer, seconds)
        if ended.answer is not None:
            return ended
        error = ended.error
    return EndedCall(call, "cancelled", seconds, error=error or CallCancelledError())


def in_thread(work: Callable[[], T]) -> Future[T]:
    """Do something in a thread of its own, which does not keep the process from ending."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            _settle(future, error)
        else:
            _settle(future, None, result)

    Thread(target=run, daemon=True).start()
    return future


def result_of(future: Future[T]) -> T:
    """Wait for what a thread does, and return its result, or raise its error.

    A signal may come to any thread; one that waits without an end does not hear of it.
    """
    while not wait([future], LOOK).done:
        pass
    return future.result()


def _settle(future: Future[T], error: BaseException | None, result: T | None = None) -> None:
    """Give a future its end, unless nobody waits for it any more."""
    if future.set_running_or_notify_cancel():
        future.set_exception(error) if error else future.set_result(result)  # type: ignore[arg-type]


def _is_inside_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
