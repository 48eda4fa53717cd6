"""Runs a task: read, fold, decide, perform, append.

All its knowledge comes from the log. A run that was cut off anywhere can therefore be resumed, and
of two processes that work on one task, one appends and the other gets a `ConflictError`.

A question is forced to the disk before it is asked, and an answer before it is used. What follows
from an answer is forced with the next question, or when the run stops: it can be made again.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

from backcast.domain.errors import InputError, ModelError
from backcast.domain.events import (
    Fact,
    PlanningStarted,
    RequirementsComplete,
    SourceRead,
    TaskStarted,
    WorkflowEvent,
)
from backcast.engine.history.collecting import rarely_collecting
from backcast.engine.history.snapshots import state_at
from backcast.engine.log.blobs import Blob, ref_of
from backcast.engine.log.store import EventStore
from backcast.engine.memory.mapping.runs import keep_after
from backcast.engine.workflow.answers import Checks
from backcast.engine.workflow.contracts import plan_in
from backcast.engine.workflow.decide import decide
from backcast.engine.workflow.module_names import check_importable
from backcast.engine.workflow.perform import Performer
from backcast.engine.workflow.prompts import RunningTask
from backcast.engine.workflow.refusals import RefusedError
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.sandbox.run import safe_path
from backcast.engine.workflow.spec import Spec, spec_of
from backcast.engine.workflow.waves import next_in_lanes
from backcast.projections import dependency_graph, progress

Watch = Callable[[Sequence[WorkflowEvent]], None]


def start(store: EventStore, spec: Spec) -> None:
    """Begin a task: record its goal, its requirements and its given tests.

    Raises `InputError` where the task exists, or its modules are no plan.
    """
    require_new(store, spec.task)
    try:
        check_importable([one.path for one in spec.modules], [one.source for one in spec.tests])
        if spec.planned:
            plan_in(spec)
    except (RefusedError, ValueError) as error:
        raise InputError(f"task {spec.task!r}: {error}") from None
    body = Blob(spec.model_dump_json(exclude_none=True).encode())
    tests = [Blob(test.source.encode()) for test in spec.tests]
    # An absent context is not recorded, so that older logs stay as they are.
    context = {"context": spec.context} if spec.context else {}
    facts: list[Fact] = [
        TaskStarted(goal=spec.goal, spec=body.ref, **context),
        *(SourceRead(path=test.path, source=blob.ref)
          for test, blob in zip(spec.tests, tests, strict=True)),
        RequirementsComplete(requirements=list(spec.requirements)),
        PlanningStarted(),
    ]  # fmt: skip
    store.append(spec.task, facts, after=0, writer="loop", blobs=[body, *tests])


def require_new(store: EventStore, task: str) -> None:
    """Raise `InputError` where a task is in the store already."""
    if store.version(task):
        raise InputError(
            f"task {task!r} is in this store already: 'backcast resume {task}' goes on with it;"
            " to begin anew, name another task or another store"
        )


def work(
    store: EventStore,
    task_id: str,
    runtime: Runtime,
    watch: Watch = lambda events: None,
    *,
    runner: str = "",
    checks: Checks | None = None,
) -> progress.State:
    """Work on a task until it ends, and return its progress.

    `runner` identifies this process, by default with a random name; `checks` runs the tests in
    place of the sandbox.

    Raises `ConflictError` where another process works on the task, and `ModelError` where the model
    gives no answer: of calls that ran side by side, once nothing is left to do without the failed
    ones. The log then holds all finished steps, and another call continues from there.
    """
    task = RunningTask(store, task_id)
    task.read_on()
    spec = spec_in(store, task_id)
    name = runner or uuid4().hex
    performer = Performer(task, runtime, spec, runner=name, watch=watch, checks=checks)
    if task.stands.status not in progress.ENDED:
        performer.use()
    # Alternatives run at once, or they would be none.
    side = max(runtime.concurrency, len(runtime.alternatives) + 1)
    failed = dict[str, ModelError | InputError]()
    try:
        with rarely_collecting():
            while True:
                task.outline()
                if actions := next_in_lanes(
                    task.stands, spec, performer.unsummed, without=failed,
                    opens=side > 1, races=bool(runtime.alternatives),
                ):  # fmt: skip
                    failed |= performer.work_in_lanes(actions, side)
                    continue
                if failed:  # nothing is left to do without them
                    raise next(iter(failed.values()))
                action = decide(task.stands, spec, performer.unsummed, performer.reused)
                if action is None:
                    break
                result = performer.perform(action)
                performer.append(result)
                if result.error:
                    raise result.error
            performer.calls.end_reading({})
    finally:
        performer.calls.ahead.ended({})
        store.force()
    watch(keep_after(task, runtime.policy, runtime.profile, runtime.model))
    return task.stands


def spec_in(store: EventStore, task_id: str) -> Spec:
    """Return the specification of a task; `InputError` where 'backcast run' did not start it."""
    store.require(task_id)
    [event] = store.read(task_id, last=1)
    if not isinstance(event.fact, TaskStarted) or event.fact.spec is None:
        raise InputError(f"task {task_id!r} was not started by 'backcast run'")
    return spec_of(store.get(event.fact.spec))


def require_no_link(folder: Path, task_id: str) -> None:
    """Raise `InputError` where a relative folder is reached by a link out of the current one.

    A working folder that came from elsewhere may hold such a link; an absolute path is one's own.
    """
    here = Path.cwd().resolve()
    if folder.is_absolute() or ".." in folder.parts:
        return
    if not folder.resolve().is_relative_to(here):
        raise InputError(
            f"{folder}: needed a folder for the code inside {here}, found a link out of it; name"
            f" the place itself: 'backcast resume {task_id} --out FOLDER'"
        )


def write_code(store: EventStore, task_id: str, folder: Path) -> list[Path]:
    """Write the latest text of every module and test into a folder, and return the files.

    Nothing is written outside the folder, since names come from models. `InputError` for a file
    that holds none of the store's texts: it is somebody's own, and is left as it is.
    """
    state = state_at(store, dependency_graph, task_id)
    require_no_link(folder, task_id)
    written = []
    for path in sorted(state.modules):
        source = state.modules[path].source
        if not source:
            continue
        file = folder / safe_path(path)
        if not file.parent.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{file}: needed a place inside {folder}, found a link out of it")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.is_symlink():
                file.unlink()
            elif file.exists() and not store.holds(ref_of(file.read_bytes())):
                raise InputError(
                    f"{file}: needed a free place, found a file that no run has made; name another"
                    f" folder: 'backcast resume {task_id} --out FOLDER'"
                )
            file.write_bytes(store.get(source))
        except OSError as error:
            raise InputError(f"{file}: cannot be written: {error.strerror}") from None
        written.append(file)
    return written
