"""Recorded runs to test with, and what one comes to when it is run again."""

import socket
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from backcast.domain.context_events import ContextBuilt
from backcast.domain.policy import COVERAGE, Policy
from backcast.engine.context.recorded import messages
from backcast.engine.history.snapshots import state_at
from backcast.engine.log import EventStore
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.recorded_run import RecordedRun
from backcast.engine.workflow.runtime import Runtime, open_runtime
from backcast.engine.workflow.spec import Spec, spec_at
from backcast.projections import dependency_graph, progress

FIXTURES = Path(__file__).parents[1] / "fixtures"


def log_of(name: str) -> Path:
    return FIXTURES / f"logs/{name}.jsonl"


NAMES = [one.stem for one in sorted(FIXTURES.glob("specs/*.toml")) if log_of(one.stem).exists()]


def spec_of(name: str) -> Spec:
    return spec_at(FIXTURES / f"specs/{name}.toml")


def answers(name: str, policy: Policy = COVERAGE, *, strict: bool) -> Runtime:
    """A recorded run's answers, asked for under the policy by which it was recorded, or another."""
    return open_runtime(f"answers:{log_of(name)}", spec_of(name).task, policy=policy, strict=strict)


class Log(NamedTuple):
    """A task in a store."""

    store: EventStore
    task: str

    def events(self, *types: str) -> list[Any]:
        return list(self.store.read(self.task, types=types))

    def facts(self, *types: str) -> list[Any]:
        return [event.fact for event in self.events(*types)]

    def after(self, version: int, type: str) -> Any:
        return next(one.fact for one in self.events(type) if one.version > version)

    def prompt(self, built: ContextBuilt) -> str:
        return "\n".join(text for _, text in messages(built, self.store.get))

    def code(self) -> dict[str, str | None]:
        modules = state_at(self.store, dependency_graph, self.task).modules
        return {path: modules[path].source for path in sorted(modules)}

    def status(self) -> str:
        state: progress.State = state_at(self.store, progress, self.task)
        return state.status


class Again(NamedTuple):
    """A recorded run, and what it came to when it was run again."""

    recorded: Log
    now: Log
    connected: list[object]
    "What this process tried to reach meanwhile."


def run_again(name: str) -> Again:
    """Run a recorded run again, strictly."""
    spec, connected = spec_of(name), list[object]()
    store, run = EventStore.open("sqlite://"), RecordedRun(log_of(name))
    with pytest.MonkeyPatch.context() as patch:
        for method in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, method, lambda self, *told: connected.append(told))
        start(store, spec)
        work(store, spec.task, answers(name, strict=True))
    return Again(Log(run.store, run.task), Log(store, spec.task), connected)
