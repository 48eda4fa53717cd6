"""Where is work done? Processes here, or machines of an engine that Python can hand work to.

All are met as an `Executor` of `concurrent.futures`, and no port is opened but an engine's own.
"""

import os
import sys
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib import import_module
from types import TracebackType
from typing import Self

from backcast.domain.errors import InputError
from backcast.engine.log.workers import pool_of

PROCESSES = "processes"
FORMS = "processes, dask://HOST:8786, tls://HOST:8786 or package.module:make"
UNKNOWN = 64
"Pieces handed at once to an executor that does not say how many it can do."
Opened = Callable[[], AbstractContextManager[Executor]]


class WorkEngine:
    """An executor that is opened anew where its workers were killed."""

    sure = False
    "Whether all workers have the same code and files as this process."
    retries = False
    "Whether the engine itself does again what a killed worker was doing."

    def __init__(self, name: str, opened: Opened, width: int) -> None:
        self.name, self._opened, self._width = name, opened, width
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.executor = self._stack.enter_context(self._opened())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def width(self) -> int:
        """The number of pieces that are handed out at once."""
        return self._width

    @property
    def parallel(self) -> int:
        """The number of pieces that are done at once, as far as it is known."""
        return self._width

    def submit(
        self, work: Callable[[str], str], piece: str, avoided: Collection[str] = ()
    ) -> Future[str]:
        """Hand out a piece, if it can be to none of the workers that are avoided."""
        return self.executor.submit(work, piece)

    def others(self, refused: Collection[str]) -> bool:
        """Tell whether a worker may be there that has not refused a piece."""
        return not self.sure

    def killed(self, error: BaseException) -> bool:
        """Tell whether a piece failed because its worker was killed."""
        return isinstance(error, BrokenExecutor)

    def expect(self, pieces: int) -> None:
        """Make ready for some pieces."""

    def unfit(self) -> dict[str, str]:
        """Return why a worker can do nothing, by worker, as far as it is known before it does."""
        return {}

    def renew(self) -> None:
        """Open a fresh executor in place of one that is broken."""
        self._stack.close()
        self.executor = self._stack.enter_context(self._opened())

    def trouble(self) -> str:
        """Return why nothing can come any more; empty where all is well."""
        return ""


class ProcessEngine(WorkEngine):
    """Processes of this machine, which are started when there is work for them."""

    sure = True

    def __init__(self, processes: int) -> None:
        super().__init__(PROCESSES, lambda: pool_of(self._processes), processes)
        self._processes, self._started = processes, False

    def __enter__(self) -> Self:
        return self

    @property
    def width(self) -> int:
        """The number of pieces that are handed out at once: one more, so that none waits."""
        return self._processes + 1

    def expect(self, pieces: int) -> None:
        """Start as many processes as have work."""
        if not self._started and pieces:
            self._started, self._processes = True, min(self._processes, pieces)
            super().__enter__()


def engine_at(name: str, processes: int) -> WorkEngine:
    """Return the engine of a name, not yet opened; `InputError` where there is none such."""
    if name == PROCESSES:
        return ProcessEngine(processes)
    scheme, mark, _ = name.partition("://")
    if mark and scheme in ("dask", "tcp", "tls"):
        from backcast.engine.log.dask_engine import DaskEngine

        return DaskEngine(name)
    module, mark, make = name.partition(":")
    if not mark or not make.isidentifier() or not all(map(str.isidentifier, module.split("."))):
        raise InputError(f"--on: needed {FORMS}, found {name!r}")
    return WorkEngine(name, lambda: _made(name, _factory(name, module, make)), UNKNOWN)


def _factory(name: str, module: str, make: str) -> Callable[[], object]:
    """Return the function of a name; `InputError` where it cannot be imported."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())  # as it is for `python -m`, and behind all that is installed
    try:
        found: object = getattr(import_module(module), make)
    except Exception as error:
        raise InputError(
            f"--on {name}: needed a function that makes an executor, found none:"
            f" {type(error).__name__}: {error}"
        ) from None
    if not callable(found):
        raise InputError(f"--on {name}: needed a function, found {found!r:.60}")
    return found


@contextmanager
def _made(name: str, factory: Callable[[], object]) -> Iterator[Executor]:
    """Make an executor; left by an exception, what waits in it is cancelled."""
    try:
        executor = factory()
    except Exception as error:
        raise InputError(
            f"--on {name}: needed an executor of concurrent.futures, found"
            f" {type(error).__name__}: {error}"
        ) from None
    if not isinstance(executor, Executor):
        raise InputError(
            f"--on {name}: needed an executor of concurrent.futures, found a"
            f" {type(executor).__name__}"
        )
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    else:
        executor.shutdown()
