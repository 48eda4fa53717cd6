"""Several tasks of a list at once: which may begin, whose turn it is to land, and how all end.

Agents work in threads of their own; everything that is read from or written to the log is done by
one of them at a time. Work lands in the order of the list, whenever it was done, so that the same
answers give the same branch.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from threading import Condition, RLock

from backcast.domain.errors import InputError
from backcast.domain.task_list import ListedTask, TaskList, needed_by
from backcast.engine.workflow.executor import LOOK, in_thread


class Turns:
    """The tasks of a run in the order in which their work lands, and which of them are settled."""

    def __init__(self, items: Sequence[ListedTask] = ()) -> None:
        self.lock = RLock()
        self.changed = Condition(self.lock)
        self.order = [item.id for item in items]
        self.settled = dict[str, bool]()
        "Whether each task that is settled is done."
        self.stopping = False
        "Whether no agent may work any more, as by Ctrl-C."

    def settle(self, item: str, *, done: bool) -> None:
        """Note that a task is done, or will not be."""
        with self.changed:
            self.settled[item] = done
            self.changed.notify_all()

    def stop(self) -> None:
        """Have all agents end."""
        with self.changed:
            self.stopping = True
            self.changed.notify_all()

    def wait_to_land(self, item: str) -> None:
        """Wait until all tasks before one are settled."""
        if item not in self.order:
            return
        before = self.order[: self.order.index(item)]
        with self.changed:
            while not self.stopping and any(name not in self.settled for name in before):
                self.changed.wait(LOOK)
            if self.stopping:
                raise KeyboardInterrupt

    def waiting(self) -> int:
        """Return how many tasks are not settled."""
        return sum(name not in self.settled for name in self.order)


def ordered(items: Sequence[ListedTask], tasks: TaskList) -> list[ListedTask]:
    """Return tasks with each behind all that it depends on, else in the order of the list.

    `InputError` where they depend on each other in a circle, or on what is not in the list.
    """
    known, placed = {item.id: item for item in items}, dict[str, ListedTask]()

    def place(item: ListedTask, above: tuple[str, ...]) -> None:
        if item.id in above:
            circle = " -> ".join([*above[above.index(item.id) :], item.id])
            raise InputError(f"tasks: needed tasks that can be done in some order, found {circle}")
        for name in needed_by(item, tasks):
            if name in known and name not in placed:
                place(known[name], (*above, item.id))
        placed.setdefault(item.id, item)

    for item in items:
        place(item, ())
    return list(placed.values())


def run_beside(
    items: Sequence[ListedTask], tasks: TaskList, turns: Turns, concurrency: int,
    work_on: Callable[[ListedTask], str],
) -> str:  # fmt: skip
    """Work on tasks, so many at once; return why the first of them in the list stopped, or nothing.

    Once a task is halted no other begins; those under way go on to their end.
    """
    waiting, running = list(items), dict[Future[str], ListedTask]()
    stopped = dict[str, str]()

    def work(item: ListedTask) -> str:
        done = False
        try:
            reason = work_on(item)
            done = not reason
            return reason
        finally:
            turns.settle(item.id, done=done)

    def begin() -> None:
        for item in list(waiting):
            needs = needed_by(item, tasks)
            ready = all(turns.settled.get(name, name not in turns.order) for name in needs)
            if ready and len(running) < concurrency and not stopped:
                waiting.remove(item)
                running[in_thread(partial(work, item))] = item

    try:
        begin()
        while running:
            ended, _ = wait(running, LOOK, FIRST_COMPLETED)
            for future in ended:
                item = running.pop(future)
                if reason := future.result():
                    stopped[item.id] = reason
                    for name in [other.id for other in waiting]:
                        turns.settle(name, done=False)
            begin()
    except BaseException:
        turns.stop()
        wait(running)
        raise
    return next((f"{name}: {stopped[name]}" for name in turns.order if name in stopped), "")
