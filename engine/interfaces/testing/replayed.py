"""The recorded prompts of a log, built again today, as values for tests."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from backcast.domain.budget import ModelProfile
from backcast.domain.context import Context
from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import BackcastError, InputError
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
"Names of prompts that need no event version."
WIDTH = 120
"Characters of a prompt's name."


class Replayed(NamedTuple):
    """A recorded prompt, and the prompt that today's code builds in its place."""

    step: ReplayStep
    "The request, and what was known then."
    outcome: Context | BackcastError
    "The prompt as built today, or the error that prevents it."
    builder: ContextBuilder | None
    "The builder; None where it cannot be known."
    store: EventStore
    previous: "Replayed | None" = None
    "The prompt asked before it in its task, without its own `previous`."

    @property
    def task_id(self) -> str:
        """The task that asked for it."""
        return self.step.task_id

    @property
    def version(self) -> int:
        """The event of the recorded prompt: 79 of `till@79`."""
        return self.step.version

    @property
    def name(self) -> str:
        """What was asked for, in a few words, such as `code money.py #1`."""
        return self.step.name

    @property
    def context(self) -> Context:
        """The prompt as built today; raises the error that prevents it."""
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
        """The request that the prompt answers."""
        return self.step.request

    @property
    def as_recorded(self) -> bool:
        """Whether today's prompt equals the recorded one to the byte."""
        return isinstance(self.outcome, Context) and self.outcome.digest == self.fact.digest

    @property
    def prompt(self) -> ComparablePrompt:
        """Today's prompt, ready for comparison."""
        context = self.context
        assert self.builder is not None  # whoever has a context has its builder
        return built(str(self), context, self.builder.profile.template)

    @property
    def recorded(self) -> ComparablePrompt:
        """The recorded prompt, ready for comparison; `DamagedError` where a text is missing."""
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
    """Yield the recorded prompts of a task, in the order in which they were asked for.

    Without a policy or profile take each prompt's recorded one. A prompt that cannot be built
    raises its error when its context is used; the others go on.
    """
    replay = PolicyReplay(BuilderPool(store), profile, policy)
    last: Replayed | None = None
    for step in steps(store, task_id):
        outcome, builder = _built(replay, step)
        yield (current := Replayed(step, outcome, builder, store, last))
        last = current._replace(previous=None)


def _built(
    replay: PolicyReplay, step: ReplayStep
) -> tuple[Context | BackcastError, ContextBuilder | None]:
    try:
        builder = replay.builder(step)
    except (BackcastError, ValueError) as error:
        return _bare(error), None
    try:
        return replay.context(step), builder
    except (BackcastError, ValueError) as error:
        return _bare(error), builder


def _bare(error: BackcastError | ValueError) -> BackcastError:
    """Return an error without its traceback, which would keep frames alive."""
    kept = error if isinstance(error, BackcastError) else InputError(str(error))
    return kept.with_traceback(None)


class KeptIterator(Generic[T]):
    """An iterable that runs an iterator once, as far as needed, and keeps its items."""

    def __init__(self, begin: Callable[[], Iterator[T]]) -> None:
        self._begin, self._items = begin, list[T]()
        self._rest: Iterator[T] | None = None

    def __iter__(self) -> Iterator[T]:
        place = 0
        while place < len(self._items) or self._more():
            yield self._items[place]
            place += 1

    def _more(self) -> bool:
        if self._rest is None:
            self._rest = islice(self._begin(), len(self._items), None)
        try:
            self._items.append(next(self._rest))
        except StopIteration:
            return False
        except BaseException:
            # An iterator that has raised is finished: the next reader starts a new one.
            self._rest = None
            raise
        return True


def place_of(log: Log, step: int | str) -> tuple[str, int]:
    """Return the task and version of a prompt, named by an event number, `first` or `last`.

    `InputError` where no task has such a prompt, or several tasks have one.
    """
    prompts = {task: [prompt.version for prompt in asked(log.store, task)] for task in log.tasks}
    places = [
        (task, _version(versions, step))
        for task, versions in prompts.items()
        if versions and (step in ENDS or step in versions)
    ]
    if len(places) == 1:
        return places[0]
    if places:
        tasks = ", ".join(task for task, _ in places)
        raise InputError(f"{log.name}: needed one task, found prompt {step} in {tasks}: name one")
    known = [version for versions in prompts.values() for version in versions]
    hint = f"its prompts are {_some(known)}" if known else "it has no recorded prompts"
    raise InputError(
        f"{log.name}: needed 'first', 'last' or the event of a prompt, found {step!r}: {hint}"
    )


def _version(versions: list[int], step: int | str) -> int:
    if isinstance(step, int):
        return step
    return versions[0 if step == "first" else -1]


def _some(versions: list[int], most: int = 12) -> str:
    """Return the first numbers, and how many more there are."""
    numbers = ", ".join(map(str, versions[:most]))
    return numbers if len(versions) <= most else f"{numbers} and {len(versions) - most} more"
