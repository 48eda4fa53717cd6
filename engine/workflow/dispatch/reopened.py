"""Tasks that the log has as done, and whose boxes are open, or are to be done anew."""

from backcast.domain.dispatch_events import TasksRead
from backcast.domain.errors import BackcastError
from backcast.domain.task_list import ListedTask, parse_tasks
from backcast.engine.workflow.dispatch.dispatch_run import DispatchRun


def open_again(run: DispatchRun) -> None:
    """Open the boxes of tasks that are to be done anew; `InputError` for an unknown one."""
    if not run.settings.again:
        return
    for item in run.tasks.leaves(run.settings.again):
        if item.status == "done":
            above = [
                name for name in _above(run, item) if run.tasks.list.by_id[name].status == "done"
            ]
            run.mark(item.id, "to do", *above)


def mark_again(run: DispatchRun) -> None:
    """Mark tasks whose boxes somebody opened, though their work stands: as `git checkout` does.

    A task whose words have changed since is another one, and is begun.
    """
    again = {task.id for task in run.tasks.leaves(run.settings.again)} if run.settings.again else ()
    for item in run.tasks.open_items():
        decided = run.state.decided.get(item.id)
        if decided is None or decided.action != "done" or item.id in again:
            continue
        done = f"{item.id}: the log has it as done, {(decided.commit or '')[:7]} on {run.branch}"
        if _words_then(run, item.id) not in (None, _words(item)):
            run.tell(f"{done}; its words have changed since: it is done anew")
            continue
        run.mark(item.id, "done", *run.tasks.done_with(item.id))
        run.tell(f"{done}: its box is marked again; '--again {item.id}' does it anew")


def _above(run: DispatchRun, item: ListedTask) -> list[str]:
    found, known = list[str](), run.tasks.list.by_id
    while item.parent:
        found.append(item.parent)
        item = known[item.parent]
    return found


def _words(item: ListedTask) -> tuple[str, str, tuple[str, ...]]:
    return item.title, item.details, item.requirements


def _words_then(run: DispatchRun, name: str) -> tuple[str, str, tuple[str, ...]] | None:
    """Return the words of a task as they were when it was done; None where nobody can tell."""
    reads = list(run.store.read(run.task, last=run.state.at[name], types=["TASKS_READ"]))
    fact = reads[-1].fact if reads else None
    if not isinstance(fact, TasksRead) or not fact.text:
        return None
    try:
        text = run.store.get(fact.text).decode(errors="surrogateescape")
        item = parse_tasks(text).by_id.get(name)
    except BackcastError:
        return None
    return _words(item) if item else None
