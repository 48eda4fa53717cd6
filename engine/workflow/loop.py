"""What the engine does: read, fold, decide, perform, append.

All that it knows it has from the log. So a run that was cut off anywhere goes on from there, and of
two that go on with one task, one gets to append and the other finds a `ConflictError`.
"""

from collections.abc import Callable, Sequence
from uuid import uuid4

from backcast.domain.errors import InputError
from backcast.domain.events import (
    Fact,
    PlanningStarted,
    RequirementsComplete,
    SourceRead,
    TaskStarted,
    WorkflowEvent,
)
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from backcast.engine.workflow.answers import Checks
from backcast.engine.workflow.contracts import RefusedError, plan_in
from backcast.engine.workflow.decide import decide
from backcast.engine.workflow.mapping import keep_after
from backcast.engine.workflow.perform import Performer
from backcast.engine.workflow.prompts import RunningTask
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.sandbox.run import run_checks
from backcast.engine.workflow.spec import Spec, spec_of
from backcast.projections import progress

Watch = Callable[[Sequence[WorkflowEvent]], None]


def start(store: EventStore, spec: Spec) -> None:
    """Begin a task: its goal, its requirements, and the tests that were given with it."""
    if store.version(spec.task):
        raise InputError(
            f"task {spec.task!r} is in this store already: 'backcast resume {spec.task}' goes on"
            " with it; to begin anew, name another task or another store"
        )
    if spec.planned:
        try:
            plan_in(spec)
        except RefusedError as error:
            raise InputError(f"task {spec.task!r}: {error}") from None
    body = Blob(spec.model_dump_json(exclude_none=True).encode())
    tests = [Blob(one.source.encode()) for one in spec.tests]
    # What is not said is not recorded.
    told = {"context": spec.context} if spec.context else {}
    facts: list[Fact] = [
        TaskStarted(goal=spec.goal, spec=body.ref, **told),
        *(SourceRead(path=one.path, source=blob.ref)
          for one, blob in zip(spec.tests, tests, strict=True)),
        RequirementsComplete(requirements=list(spec.requirements)),
        PlanningStarted(),
    ]  # fmt: skip
    store.append(spec.task, facts, after=0, writer="loop", blobs=[body, *tests])


def work(
    store: EventStore,
    task_id: str,
    served: Runtime,
    watch: Watch = lambda events: None,
    *,
    runner: str = "",
    checks: Checks = run_checks,
) -> progress.State:
    """Go on with a task until it ends; gives how far it has come.

    `runner` tells this process from all others; a random name, where none is given.
    `checks` runs the tests; it is another one only where the tests are not what matters.

    `ConflictError` where another process works on it too, `ModelError` where the model gives no
    answer: then all that was done stands in the log, and `work` goes on from there.
    """
    running = RunningTask(store, task_id)
    running.read_on()
    spec = spec_in(store, task_id)
    name = runner or uuid4().hex
    performer = Performer(running, served, spec, runner=name, watch=watch, checks=checks)
    performer.use()
    while True:
        running.outline()
        action = decide(running.stands, spec, performer.unsummed)
        if action is None:
            watch(keep_after(running, served))
            return running.stands
        done = performer.perform(action)
        performer.append(done)
        if done.error:
            raise done.error


def spec_in(store: EventStore, task_id: str) -> Spec:
    """The specification with which a task was started."""
    store.require(task_id)
    [event] = store.read(task_id, last=1)
    if not isinstance(event.fact, TaskStarted) or event.fact.spec is None:
        raise InputError(f"task {task_id!r} was not started by 'backcast run'")
    return spec_of(store.get(event.fact.spec))
