"""Runs with modules that need no other, and models that answer them in any order."""

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import ModelError
from backcast.domain.events import ModelReplied, StepStarted, WorkflowEvent
from backcast.domain.spending import Allowance
from backcast.engine.history.snapshots import state_at
from backcast.engine.log import EventStore
from backcast.engine.models import NOTHING, Call, Completion, Limits, Message
from backcast.engine.workflow.answers import Checks
from backcast.engine.workflow.loop import work
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.sandbox.run import Outcome, SandboxLimits
from backcast.engine.workflow.spec import RunLimits, Spec, SpecModule, Test
from backcast.projections import dependency_graph, progress

PROFILE = MISTRAL_7B_8K._replace(tokenizer="upper-bound")
NAMES = ("a", "b", "c", "d", "e")


def spec_of(names: Sequence[str] = NAMES, *, last: str = "z", **limits: Any) -> Spec:
    """A module for each name, each with a test of its own, and a last one that needs them all."""
    modules = [
        SpecModule(path=f"{name}_part.py", purpose=f"part {name}", tests=(f"test_{name}.py",))
        for name in names
    ]
    needs = tuple(module.path for module in modules)
    whole = SpecModule(path=f"{last}_part.py", purpose="the whole", dependencies=needs)
    tests = [
        Test(path=f"test_{name}.py", source=f"from {name}_part import {name}\n\n\n"
             f"def test_{name}() -> None:\n    assert {name}() == '{name}'\n")
        for name in (*names, last)
    ]  # fmt: skip
    return Spec(
        task="parts", goal="write parts", modules=(*modules, whole), tests=tuple(tests),
        limits=RunLimits(**{"iterations": 3, "seconds": 30.0, **limits}),
    )  # fmt: skip


def code(name: str, says: str = "") -> str:
    text = f'def {name}() -> str:\n    """Say it."""\n    return "{says or name}"\n'
    return f"```python\n{text}```\n"


class Double:
    """A model whose answer to a call is a function of the call alone, and that tells when."""

    id = "double"

    def __init__(
        self, answer: Callable[[Call], str], before: Callable[[Call, Limits], None] | None = None
    ) -> None:
        self.answer, self.before = answer, before or (lambda call, limits: None)
        self.asked: list[Call] = []
        self.busy = self.most = 0
        "Calls at this moment, and the most at any."
        self._lock = threading.Lock()

    def complete(
        self,
        messages: Sequence[Message],
        limits: Limits,
        *,
        schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        call: Call = NOTHING,
    ) -> Completion:
        with self._lock:
            self.asked.append(call)
            self.busy += 1
            self.most = max(self.most, self.busy)
        try:
            self.before(call, limits)
            return Completion(self.answer(call), 100, 20, seconds=0.5)
        finally:
            with self._lock:
                self.busy -= 1


def mends(call: Call) -> str:
    """Fail the first time for `b` and `d`, be unusable the first time for `c`, else be right."""
    name = call.module.partition("_")[0]
    if name == "c" and call.attempt == 1:
        return "I would rather not."
    return code(name, "no" if name in "bd" and call.iteration == 1 else name)


def waits(seconds: Callable[[Call], float]) -> Callable[[Call, Limits], None]:
    """An injected service time, which a cancellation ends."""

    def before(call: Call, limits: Limits) -> None:
        if limits.cancellation:
            limits.cancellation.pause(seconds(call))
        else:
            time.sleep(seconds(call))

    return before


def fails(*names: str) -> Callable[[Call, Limits], None]:
    def before(call: Call, limits: Limits) -> None:
        if call.module.partition("_")[0] in names:
            raise ModelError("the server is down")

    return before


def checks(files: Mapping[str, bytes], tests: Sequence[str], limits: SandboxLimits) -> Outcome:
    """Run given tests without a sandbox: each asks what a function returns."""
    passed = failed = 0
    for test in tests:
        name = test.removeprefix("test_").removesuffix(".py")
        good = f'return "{name}"'.encode() in files.get(f"{name}_part.py", b"")
        passed, failed = passed + good, failed + (not good)
    return Outcome(passed, failed, 0, (), b"", 0.0, (), {}, {})


def runtime(model: Any, concurrency: int = 4, budget: Allowance | None = None) -> Runtime:
    return Runtime(model, "double", PROFILE, concurrency=concurrency, budget=budget)


CHECKS: Checks = checks


def came_to(store: EventStore, task: str = "parts") -> dict[str, Any]:
    """What a run came to: all that does not tell in which order its answers came."""
    modules = state_at(store, dependency_graph, task).modules
    stands: progress.State = state_at(store, progress, task)
    built = [e.fact for e in store.read(task) if isinstance(e.fact, ContextBuilt)]
    return {
        "status": stands.status,
        "tries": dict(stands.tries.items()),
        "modules": {path: stands.modules[path] for path in sorted(stands.modules)},
        "code": {path: modules[path].source for path in sorted(modules)},
        "prompts": [one.digest for one in built],
    }


def killed_after(
    url: str, appends: int, model: Double, concurrency: int, budget: Allowance | None = None
) -> bool:
    """Whether a process that went on with a run was killed, after so many appends."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    code, rest = 1, [appends]

    def watch(events: Sequence[WorkflowEvent]) -> None:
        rest[0] -= 1
        if not rest[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        with EventStore.open(url) as store:
            work(store, "parts", runtime(model, concurrency, budget), watch, checks=checks)
        code = 0
    finally:
        os._exit(code)


def asked_twice(store: EventStore) -> list[object]:
    """Calls that were made though they had an answer."""
    asked, answered, twice = dict[int, object](), set[object](), list[object]()
    last = 0
    for event in store.read("parts"):
        match event.fact:
            case StepStarted() as fact:
                last = event.version
                key = fact.kind, fact.module_name, fact.iteration, fact.attempt
                asked[last] = key
                twice += [key] if key in answered else []
            case ModelReplied(call=call):
                answered.add(asked[call or last])
    return twice
