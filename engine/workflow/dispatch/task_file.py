"""The file of tasks: read, marked, and never overwritten where somebody else changed it."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from backcast.domain.dispatch_events import ReadTask, TasksRead
from backcast.domain.errors import InputError
from backcast.domain.task_list import ListedTask, TaskList, marked, merged, parse_tasks
from backcast.engine.log.blobs import Blob

TRIES = 5
"Times that a mark is tried while somebody else writes."


class TaskFile:
    """A list of tasks in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = self._read()
        self.list: TaskList = self._parsed(self.text)

    def fact(self) -> tuple[TasksRead, Blob]:
        """Return what was read last, as a fact and its body."""
        return self._fact(self.text, {}, ())

    def open_items(self, only: Sequence[str] = ()) -> list[ListedTask]:
        """Return the tasks that are not done and hold no others; `InputError` for an unknown one.

        A task that holds others is done with the last of them.
        """
        return [task for task in self.leaves(only) if task.status != "done"]

    def leaves(self, only: Sequence[str] = ()) -> list[ListedTask]:
        """Return the tasks that hold no others, done or not; `InputError` for an unknown one."""
        parents = {task.parent for task in self.list.tasks if task.parent}
        known = {task.id: task for task in self.list.tasks}
        for name in only:
            if name not in known:
                raise InputError(
                    f"{self.path}: no task {name!r}; there are {', '.join(list(known)[:12])}"
                )
        return [
            task
            for task in self.list.tasks
            if task.id not in parents
            and (not only or any(_is_in(task, name, known) for name in only))
        ]  # fmt: skip

    def done_with(self, name: str) -> list[str]:
        """Return the tasks above one that are done with it, as all their others are done."""
        done = {task.id for task in self.list.tasks if task.status == "done"} | {name}
        found, parent = list[str](), self.list.by_id[name].parent
        while parent and all(part.id in done for part in self.list.parts(parent)):
            found.append(parent)
            done.add(parent)
            parent = self.list.by_id[parent].parent
        return found

    def mark(self, marks: Mapping[str, str]) -> tuple[TasksRead | None, Blob | None]:
        """Write marks into the file as it is now; return what stands there, None where it did."""
        for _ in range(TRIES):
            now = self._read()
            if now == self.text:
                text, notes = marked(now, dict(marks)), tuple[str, ...]()
            else:
                found = merged(self.text, now, dict(marks))
                text, notes = found.text, tuple(found.notes)
            if text == now and now == self.text:
                return None, None
            if text != now and not self._replaced(now, text):
                continue
            self.text, self.list = text, self._parsed(text)
            return self._fact(text, marks, notes)
        raise InputError(f"{self.path}: somebody else writes to it all the time: mark it by hand")

    def _fact(
        self, text: str, marks: Mapping[str, str], notes: tuple[str, ...]
    ) -> tuple[TasksRead, Blob]:
        blob = Blob(text.encode(errors="surrogateescape"))
        tasks = tuple(
            ReadTask(id=task.id, title=task.title, status=task.status, parent=task.parent or None,
                     requirements=tuple(task.requirements))
            for task in self.list.tasks
        )  # fmt: skip
        fact = TasksRead(path=self.path.name, text=blob.ref, tasks=tasks, marked=dict(marks),
                         notes=notes)  # fmt: skip
        return fact, blob

    def _replaced(self, now: str, text: str) -> bool:
        """Write the text if the file still holds what it held; return whether it did."""
        handle, name = tempfile.mkstemp(prefix=f".{self.path.name}-", dir=self.path.parent)
        try:
            with open(handle, "wb") as out:
                out.write(text.encode(errors="surrogateescape"))
            with suppress(OSError):
                os.chmod(name, self.path.stat().st_mode & 0o7777)
            if self._read() != now:
                return False
            os.replace(name, self.path)
            return True
        except OSError as error:
            raise InputError(f"{self.path}: cannot be marked: {error.strerror}") from None
        finally:
            with suppress(OSError):
                os.unlink(name)

    def _read(self) -> str:
        try:
            return self.path.read_bytes().decode(errors="surrogateescape")
        except OSError as error:
            raise InputError(f"{self.path}: needed a list of tasks: {error.strerror}") from None

    def _parsed(self, text: str) -> TaskList:
        try:
            return parse_tasks(text)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from None


def _is_in(task: ListedTask, name: str, known: Mapping[str, ListedTask]) -> bool:
    """Return whether a task is the named one, or lies below it."""
    found: ListedTask | None = task
    while found is not None:
        if found.id == name:
            return True
        found = known.get(found.parent) if found.parent else None
    return False
