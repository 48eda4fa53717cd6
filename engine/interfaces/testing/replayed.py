"""The recorded prompts of a log, built again today, as values that a test can ask."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from backcast.domain.budget import ModelProfile
from backcast.domain.context import Context
from backcast.domain.errors import BackcastError, InputError
from backcast.domain.events import ContextBuilt
from backcast.domain.policy import Policy
from backcast.engine.context.builder import ContextBuilder
from backcast.engine.context.request import Request
from backcast.engine.interfaces.views import one_line
from backcast.engine.log.open_logs import Log
from backcast.engine.log.store import EventStore
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.diff import ComparablePrompt, built, recorded
from backcast.engine.replay.steps import ReplayStep, asked, steps

T = TypeVar("T")
ENDS = ("first", "last")
"The prompts that can be named without the version of their event."
WIDTH = 120
"Characters of a prompt's name."


class Replayed(NamedTuple):
    """A recorded prompt, and what today's code makes of it."""

    step: ReplayStep
    "What was asked for, and what was known then."
    outcome: Context | BackcastError
    "The prompt as it is built today, or why it cannot be."
    builder: ContextBuilder | None
    "Who built it; None where nobody could be found."
    store: EventStore
    previous: "Replayed | None" = None
    "The one asked before it in its task; of that one the one before is not told."

    @property
    def context(self) -> Context:
        """The prompt as it is built today; raises what kept it from being built."""
        __tracebackhide__ = True
        if isinstance(self.outcome, Context):
            return self.outcome
        raise self.outcome.with_traceback(None)

    @property
    def fact(self) -> ContextBuilt:
        """The prompt as it was recorded."""
        assert self.step.built is not None  # `steps` gives recorded ones
        return self.step.built

    @property
    def request(self) -> Request:
        """What was asked for."""
        return self.step.request

    @property
    def as_recorded(self) -> bool:
        """Whether today's prompt is the recorded one, to the byte."""
        return isinstance(self.outcome, Context) and self.outcome.digest == self.fact.digest

    @property
    def prompt(self) -> ComparablePrompt:
        """Today's prompt, as it can be compared."""
        context = self.context
        assert self.builder is not None  # somebody built the context
        return built(str(self), context, self.builder.profile.template)

    @property
    def recorded(self) -> ComparablePrompt:
        """The recorded prompt, as it can be compared; `DamagedError` where a text is missing."""
        room = self.builder.profile.prompt if self.builder else 0
        return recorded("as recorded", self.fact, self.store.get, room)

    def __str__(self) -> str:
        return one_line(f"{self.step.task_id}@{self.step.version} {self.step.name}", WIDTH)

    def __repr__(self) -> str:
        return f"<{self}>"


def replayed(
    store: EventStore, task_id: str, policy: Policy | None = None,
    profile: ModelProfile | None = None,
) -> Iterator[Replayed]:  # fmt: skip
    """The recorded prompts of a task, in the order in which they were asked for.

    Without a policy or profile each prompt's own recorded one is taken. One that cannot be built
    tells why when its context is asked for; the others go on.
    """
    line = PolicyReplay(BuilderPool(store), profile, policy)
    last: Replayed | None = None
    for step in steps(store, task_id):
        outcome, builder = _built(line, step)
        yield (one := Replayed(step, outcome, builder, store, last))
        last = one._replace(previous=None)


def _built(
    line: PolicyReplay, step: ReplayStep
) -> tuple[Context | BackcastError, ContextBuilder | None]:
    try:
        builder = line.builder(step)
    except (BackcastError, ValueError) as error:
        return _told(error), None
    try:
        return line.context(step), builder
    except (BackcastError, ValueError) as error:
        return _told(error), builder


def _told(error: BackcastError | ValueError) -> BackcastError:
    """An error as it is kept: without the frames of those that it passed."""
    told = error if isinstance(error, BackcastError) else InputError(str(error))
    return told.with_traceback(None)


class KeptIterator(Generic[T]):
    """What an iterator gives: taken once, as far as it is asked for, and kept."""

    def __init__(self, begin: Callable[[], Iterator[T]]) -> None:
        self._begin, self._given = begin, list[T]()
        self._left: Iterator[T] | None = None

    def __iter__(self) -> Iterator[T]:
        place = 0
        while place < len(self._given) or self._more():
            yield self._given[place]
            place += 1

    def _more(self) -> bool:
        if self._left is None:
            self._left = islice(self._begin(), len(self._given), None)
        try:
            self._given.append(next(self._left))
        except StopIteration:
            return False
        except BaseException:
            # An iterator that has raised gives nothing any more: the next one who asks begins anew.
            self._left = None
            raise
        return True


def place_of(log: Log, step: int | str) -> tuple[str, int]:
    """The task and version of a recorded prompt: of an event number, or the first or last one.

    `InputError` in one line where there is no such prompt, or one in each of several tasks.
    """
    prompts = {task: [one.version for one in asked(log.store, task)] for task in log.tasks}
    found = [
        (task, _version(versions, step))
        for task, versions in prompts.items()
        if versions and (step in ENDS or step in versions)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        tasks = ", ".join(task for task, _ in found)
        raise InputError(f"{log.name}: needed one task, found prompt {step} in {tasks}: name one")
    known = [version for versions in prompts.values() for version in versions]
    told = f"its prompts are {_some(known)}" if known else "it has no recorded prompts"
    raise InputError(
        f"{log.name}: needed 'first', 'last' or the event of a prompt, found {step!r}: {told}"
    )


def _version(versions: list[int], step: int | str) -> int:
    if isinstance(step, int):
        return step
    return versions[0 if step == "first" else -1]


def _some(versions: list[int], most: int = 12) -> str:
    """Numbers in a row, the first of them."""
    told = ", ".join(map(str, versions[:most]))
    return told if len(versions) <= most else f"{told} and {len(versions) - most} more"
