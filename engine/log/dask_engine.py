"""Machines of a Dask cluster. What is set for Dask itself (TLS, timeouts) holds here as it is."""

import logging
import warnings
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager, suppress
from importlib import import_module
from time import monotonic
from typing import Any

from backcast.domain.errors import InputError, MissingExtraError
from backcast.engine.log.code import code_digest, different_code
from backcast.engine.log.engines import WorkEngine

FRESH = 1.0
"Seconds for which the list of workers is taken as it was."
PATIENCE = 20.0
"Seconds without any worker after which nothing is waited for."
AHEAD = 2
"Pieces that a thread has and waits for; those of a killed worker are all done again."


class DaskEngine(WorkEngine):
    """The workers of a Dask scheduler."""

    retries = True

    def __init__(self, name: str) -> None:
        super().__init__(name, self._connected, 0)
        scheme, _, place = name.partition("://")
        self.address = f"{'tcp' if scheme == 'dask' else scheme}://{place}"
        self._client: Any = None
        self._known: dict[str, int] = {}
        self._looked, self._seen = -FRESH, monotonic()

    @property
    def width(self) -> int:
        """The number of pieces that are handed out at once."""
        return AHEAD * self.parallel

    @property
    def parallel(self) -> int:
        """The threads of all workers."""
        return max(1, sum(self.workers().values()))

    def workers(self) -> dict[str, int]:
        """Return the threads of each worker that is there, by address."""
        if monotonic() - self._looked > FRESH and self._client is not None:
            self._known = {}
            with suppress(Exception):  # a scheduler that is gone is met where a result is
                found = self._client.scheduler_info(n_workers=-1)
                self._known = {at: one["nthreads"] for at, one in found["workers"].items()}
            self._looked = monotonic()
            if self._known:
                self._seen = self._looked
        return self._known

    executor: Any  # whose `submit` takes more than others do

    def submit(
        self, work: Callable[[str], str], piece: str, avoided: Collection[str] = ()
    ) -> Future[str]:
        """Hand out a piece; a worker that is avoided gets it only where no other is there."""
        if avoided and (others := [at for at in self.workers() if at not in avoided]):
            given = {"workers": others, "allow_other_workers": True}
        else:
            given = {}
        future: Future[str] = self.executor.submit(work, piece, **given)
        return future

    def others(self, refused: Collection[str]) -> bool:
        """Tell whether a worker is there that has not refused a piece."""
        return any(at not in refused for at in self.workers())

    def unfit(self) -> dict[str, str]:
        """Return why a worker can do nothing, by worker: its code is not this code.

        A worker that comes later tells so itself, unless its code is too old for that.
        """
        own = code_digest()
        found: dict[str, Any] = self._client.run(code_digest, on_error="return")
        return {
            worker: different_code(own, code if isinstance(code, str) else _line(code))
            for worker, code in sorted(found.items())
            if code != own
        }

    def killed(self, error: BaseException) -> bool:
        """Tell whether a piece failed because the workers that had it were killed."""
        from distributed.scheduler import KilledWorker

        return isinstance(error, KilledWorker)

    def trouble(self) -> str:
        """Return why nothing can come any more; empty where all is well."""
        if self._client is None or self._client.status != "running":
            return f"needed the scheduler at {self.address} to the end, found it gone"
        if not self.workers() and monotonic() - self._seen > PATIENCE:
            return f"needed a worker of the scheduler at {self.address}, found none left"
        return ""

    @contextmanager
    def _connected(self) -> Iterator[Executor]:
        client = _client(self.name, self.address)
        executor = client.get_executor(pure=False)
        self._client = client
        try:
            if not self.workers():
                with suppress(Exception):
                    client.wait_for_workers(1, timeout=PATIENCE / 2)
                self._looked = -FRESH
            if not self.workers():
                raise InputError(
                    f"--on {self.name}: needed a worker, found none: start one by"
                    f" 'dask worker {self.address}'"
                )
            yield executor
        finally:
            with suppress(Exception, CancelledError):
                executor.shutdown(wait=False)  # which cancels what is not done
            with suppress(Exception, CancelledError):
                client.close(timeout=2)


def _client(name: str, address: str) -> Any:
    """Connect to a scheduler of this version; `InputError` where there is none."""
    try:
        distributed: Any = import_module("distributed")
    except ImportError:
        raise MissingExtraError(f"--on {name}", "dask") from None
    secret = distributed.Security().get_connection_args("client").get("ssl_context")
    if address.startswith("tls://") and secret is None:
        raise InputError(
            f"--on {name}: needed certificates in Dask's own configuration"
            " (distributed.comm.tls.ca-file, .client.cert and .client.key), found none"
        )
    # What it has to say of itself would stand between our lines.
    for logger in logging.root.manager.loggerDict:
        if logger.startswith("distributed"):
            logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # versions are compared below
            client = distributed.Client(address, set_as_default=False)
            found = client.get_versions()
    except Exception as error:
        raise InputError(
            f"--on {name}: needed a Dask scheduler, found none that answers ({_line(error)}):"
            " start one by 'dask scheduler'"
        ) from None
    own = distributed.__version__
    places = {"the scheduler": found["scheduler"]} | found["workers"]
    for place, versions in places.items():
        its = (versions or {}).get("packages", {}).get("distributed")
        if its != own:
            client.close(timeout=2)
            raise InputError(
                f"--on {name}: needed distributed {own}, as it is here, found {its} at {place}:"
                f" install the same everywhere"
            )
    return client


def _line(error: object) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()):.120}"
