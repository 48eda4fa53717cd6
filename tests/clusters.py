"""Dask clusters on this machine: schedulers and workers as processes, which can be killed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.servers import ended_with_us

LIMIT = 60
"Seconds until a scheduler must be there."


class Cluster:
    """A scheduler, and the workers that were started for it."""

    def __init__(
        self, stack: ExitStack, folder: Path, host: str, environment: dict[str, str]
    ) -> None:
        self._stack, self.folder = stack, folder
        self._host, self._environment = host, environment
        self.file = folder / "scheduler.json"
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.scheduler = self._start(
            "dask_scheduler", "--port", "0", "--dashboard-address", "127.0.0.1:0", cwd=folder
        )
        deadline = time.monotonic() + LIMIT
        while True:
            assert self.scheduler.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            try:
                self.address: str = json.loads(self.file.read_text())["address"]
                return
            except (OSError, ValueError, KeyError):
                time.sleep(0.05)

    @property
    def name(self) -> str:
        """The cluster as --on names it."""
        return self.address.replace("tcp://", "dask://")

    def start(self, name: str, cwd: Path, **environment: str) -> None:
        """Start a worker that stands in a folder; without a nanny, which would start another."""
        self.workers[name] = self._start(
            "dask_worker", "--name", name, "--no-nanny", "--nthreads", "1",
            "--dashboard-address", "127.0.0.1:0", "--local-directory", str(self.folder),
            cwd=cwd, **environment,
        )  # fmt: skip

    def _start(
        self, module: str, *arguments: str, cwd: Path, **environment: str
    ) -> "subprocess.Popen[bytes]":
        out = self._stack.enter_context((self.folder / "output").open("ab"))
        command = [sys.executable, "-m", f"distributed.cli.{module}", "--host", self._host]
        process = subprocess.Popen(
            [*command, "--scheduler-file", str(self.file), *arguments], cwd=cwd, stdout=out,
            stderr=out, env=os.environ | self._environment | environment,
        )  # fmt: skip
        self._stack.enter_context(ended_with_us(process.pid))
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def output(self) -> str:
        """Return what all of its processes have printed."""
        return (self.folder / "output").read_text(errors="replace")

    def wait(self, count: int) -> None:
        """Wait until so many workers are there."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            client.wait_for_workers(count, timeout=LIMIT)


@contextmanager
def cluster(folder: Path, host: str = "127.0.0.1", **environment: str) -> Iterator[Cluster]:
    """A scheduler without workers; a test is skipped where Dask is not installed."""
    pytest.importorskip("distributed", reason="needs the extra 'dask'")
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        yield Cluster(stack, folder, host, environment)
