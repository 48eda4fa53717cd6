"""Which tasks does a list name, and which of them are done?"""

import re
from typing import NamedTuple

from backcast.domain.errors import InputError

_LINE = re.compile(r"^(\s*)[-*] \[([ xX-])\] (?:(\d+(?:\.\d+)*)\.?\s+)?(.*?)\s*$")
_STATUS = {" ": "to do", "-": "doing", "x": "done", "X": "done"}
_MARK = {"to do": " ", "doing": "-", "done": "x"}


class ListedTask(NamedTuple):
    """A task of a list."""

    id: str
    title: str
    status: str
    level: int
    line: int
    parent: str | None
    requirements: tuple[str, ...]
    details: str


class TaskList(NamedTuple):
    """A list of tasks."""

    tasks: tuple[ListedTask, ...]


class MergedTasks(NamedTuple):
    """A list with marks."""

    text: str
    notes: tuple[str, ...]
    lost: tuple[str, ...]


def parse_tasks(text: str) -> TaskList:
    """Return the tasks of a text."""
    tasks: list[ListedTask] = []
    for number, line in enumerate(text.splitlines()):
        if found := _LINE.match(line):
            id = found[3] or found[4]
            parent = id.rpartition(".")[0] if found[3] else ""
            tasks.append(ListedTask(id, found[4], _STATUS[found[2]], len(found[1]), number,
                                    parent or None, (), ""))  # fmt: skip
        elif tasks:
            tasks[-1] = tasks[-1]._replace(details=f"{tasks[-1].details}{line}\n")
    if not tasks:
        raise InputError("needed tasks such as '- [ ] 1. Do it', found none")
    return TaskList(tuple(tasks))


def marked(text: str, marks: dict[str, str]) -> str:
    """Return a text with marks."""
    lines = text.splitlines(keepends=True)
    for task in parse_tasks(text).tasks:
        if task.id in marks:
            line = lines[task.line]
            at = line.index("[")
            lines[task.line] = f"{line[: at + 1]}{_MARK[marks[task.id]]}{line[at + 2 :]}"
    return "".join(lines)


def merged(read: str, now: str, marks: dict[str, str]) -> MergedTasks:
    """Return the text as it is now with marks."""
    return MergedTasks(marked(now, marks), (), ())
