"""Which tasks does a task list in Markdown name, and how far are they?

A task is a list item with a box: `[ ]` to do, `[-]` doing, `[x]` done. Deeper items with boxes are
its subtasks; the lines below it are its own words, and `_Requirements: 1.1, 2_` among them names
what it is to meet, `_Depends: 1.1, 2_` the tasks that must be done before. Only boxes are ever
written; every other byte stays, line ends included.

>>> tasks = parse_tasks("- [x] 1. Read\\n- [ ] 2. Write\\n  - _Requirements: 1.1_\\n")
>>> [(task.id, task.status, task.requirements) for task in tasks.tasks]
[('1', 'done', ()), ('2', 'to do', ('1.1',))]
>>> marked("- [ ] 1. Read\\r\\n", {"1": "doing"})
'- [-] 1. Read\\r\\n'
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from backcast.domain.errors import InputError

STATUSES: Mapping[str, str] = {" ": "to do", "-": "doing", "x": "done", "X": "done"}
"The status that each box means."
BOXES: Mapping[str, str] = {"to do": " ", "doing": "-", "done": "x"}
_ITEM = re.compile(r"(?P<indent>\ufeff?[ \t]*)[-*+][ \t]+\[(?P<box>[ xX-])\][ \t]+(?P<words>\S.*)")
_NUMBERED = re.compile(r"(?P<number>\d+(?:\.\d+)*)[.)]?[ \t]+(?P<title>\S.*)")
_REQUIREMENTS = re.compile(r"[ \t]*[-*+]?[ \t]*_Requirements?:(?P<names>[^\r\n]*?)_?[ \t]*")
_DEPENDS = re.compile(r"^[ \t]*[-*+]?[ \t]*_Depends(?: on)?:([^\r\n_]*)_?[ \t]*\r?$", re.MULTILINE)
_FENCE = re.compile(r"[ \t]*(```|~~~)")
_TAB = 4


class ListedTask(NamedTuple):
    """A task of a list."""

    id: str
    "Its number as written, such as 2.1; its title where it has none."
    title: str
    status: str
    "to do, doing or done."
    level: int = 0
    "How deep it stands below other tasks."
    line: int = 1
    "The line of its box, counted from 1."
    parent: str = ""
    "The id of the task that it is a part of; empty for none."
    requirements: tuple[str, ...] = ()
    details: str = ""
    "Its own lines below the box, without those of its subtasks."


class TaskList(NamedTuple):
    """The tasks of a list, in its order."""

    tasks: tuple[ListedTask, ...]

    @property
    def by_id(self) -> dict[str, ListedTask]:
        """The tasks by id."""
        return {task.id: task for task in self.tasks}

    def parts(self, id: str) -> list[ListedTask]:
        """Return the direct subtasks of a task."""
        return [task for task in self.tasks if task.parent == id]

    def next(self) -> ListedTask | None:
        """Return the first task that can be begun: to do, and each of its subtasks done."""
        for task in self.tasks:
            if task.status == "to do" and all(p.status == "done" for p in self.parts(task.id)):
                return task
        return None

    def counts(self) -> dict[str, int]:
        """Return how many tasks are done, doing, and to do."""
        counted = Counter(task.status for task in self.tasks)
        return {status: counted[status] for status in ("done", "doing", "to do")}


class MergedTasks(NamedTuple):
    """A list that somebody else may have changed, with our boxes."""

    text: str
    notes: tuple[str, ...] = ()
    "What somebody else changed, a line each."
    lost: tuple[str, ...] = ()
    "The ids of our tasks that are not in it any more."


def parse_tasks(text: str) -> TaskList:
    """Return the tasks of a list; `InputError` where there are none, or two have one id.

    Boxes inside of fenced code are no tasks.
    """
    found = _tasks(text)
    if not found:
        near = sum(bool(re.match(r"[ \t]*[-*+][ \t]", line)) for line in text.splitlines())
        raise InputError(
            "tasks: needed a task such as '- [ ] 1. Write the reader', found"
            f" {f'{near} list items without a box' if near else 'no list item'}"
        )
    lines: dict[str, int] = {}
    for task in found:
        if task.id in lines:
            raise InputError(
                f"tasks: line {task.line}: needed each task once, found {task.id!r} in line"
                f" {lines[task.id]} too: give one of them another number"
            )
        lines[task.id] = task.line
    return TaskList(tuple(found))


def needed_by(task: ListedTask, tasks: TaskList) -> list[str]:
    """Return the tasks without parts that a task says must be done before; `InputError` for others.

    >>> tasks = parse_tasks("- [ ] 1. A\\n  - [ ] 1.1 B\\n- [ ] 2. C\\n  - _Depends: 1_\\n")
    >>> needed_by(tasks.by_id["2"], tasks)
    ['1.1']
    """
    known, found = tasks.by_id, list[str]()
    names = [name.strip() for line in _DEPENDS.findall(task.details) for name in line.split(",")]
    for name in filter(None, names):
        if name not in known:
            raise InputError(
                f"tasks: task {task.id} depends on {name!r}: needed a task of the list"
            )
        below = [name]
        while below:
            first = below.pop(0)
            parts = [part.id for part in tasks.parts(first)]
            below[:0] = parts
            found += [] if parts or first in found else [first]
    return found


def marked(text: str, marks: Mapping[str, str]) -> str:
    """Return the text with the boxes of some tasks set by id; all else stays as it is."""
    lines = text.splitlines(keepends=True)
    for task in _tasks(text):
        if task.id in marks and task.status != marks[task.id]:
            line = lines[task.line - 1]
            place = line.index("[") + 1
            lines[task.line - 1] = f"{line[:place]}{BOXES[marks[task.id]]}{line[place + 1 :]}"
    return "".join(lines)


def merged(read: str, now: str, marks: Mapping[str, str]) -> MergedTasks:
    """Return a list as it stands now with our boxes, where somebody else may have changed it.

    `read` is the text that was read before. A task is the same by its number and title; under
    another number, by its title. What others marked stays, unless we marked it too.
    """
    if read == now:
        return MergedTasks(marked(now, marks))
    before, after = ({task.id: task for task in _tasks(text)} for text in (read, now))
    ids = {id: _same(before[id], after) for id in before}
    notes = [*_changes(before, after, ids), *_clashes(before, after, ids, marks)]
    lost = tuple(id for id in marks if not ids.get(id))
    ours = {ids[id]: status for id, status in marks.items() if ids.get(id)}
    return MergedTasks(marked(now, ours), tuple(notes), lost)


def _same(task: ListedTask, others: Mapping[str, ListedTask]) -> str:
    """Return the id that a task has in another text; empty for none."""
    if (own := others.get(task.id)) and own.title == task.title:
        return task.id
    titled = [other.id for other in others.values() if other.title == task.title]
    if len(titled) == 1:
        return titled[0]
    # Reworded under its number; one that stands on with another number is another task.
    return task.id if task.id in others and not titled else ""


def _changes(
    before: Mapping[str, ListedTask], after: Mapping[str, ListedTask], ids: Mapping[str, str]
) -> Iterator[str]:
    """Yield what somebody else changed."""
    kept = [id for id in ids.values() if id]
    for id, task in before.items():
        if not ids[id]:
            yield f"task {id} ({task.title}) is gone from the list"
            continue
        other = after[ids[id]]
        if other.id != id:
            yield f"task {id} ({task.title}) is task {other.id} now"
        if other.title != task.title:
            yield f"task {id} is called {other.title!r} now, was {task.title!r}"
        if other.status != task.status:
            yield f"task {other.id} was marked {other.status} by somebody else, was {task.status}"
        if other.details != task.details:
            yield f"task {other.id} has other words now"
    yield from (f"task {id} ({after[id].title}) is new" for id in after if id not in kept)


def _clashes(
    before: Mapping[str, ListedTask], after: Mapping[str, ListedTask], ids: Mapping[str, str],
    marks: Mapping[str, str],
) -> Iterator[str]:  # fmt: skip
    """Yield the tasks that both we and somebody else have marked, with another status."""
    for id, status in marks.items():
        if id in before and ids[id]:
            other = after[ids[id]].status
            if other not in (before[id].status, status):
                yield f"task {ids[id]} was marked {other} by somebody else, and {status} by us"


def _tasks(text: str) -> list[ListedTask]:
    """Return the tasks of a text, whatever their ids."""
    found = list[ListedTask]()
    above = list[tuple[int, str]]()
    own, named = list[list[str]](), list[list[str]]()
    fence = ""
    for number, raw in enumerate(text.splitlines(), 1):
        mark = _FENCE.match(raw)
        if mark and fence in ("", mark[1]):
            fence = "" if fence else mark[1]
        item = None if fence or mark else _ITEM.fullmatch(raw.rstrip())
        if item is None:
            if found and not _is_heading(raw, fence):
                own[-1].append(raw.rstrip())
                if asked := _REQUIREMENTS.fullmatch(raw.rstrip()):
                    names = (name.strip(" _") for name in asked["names"].split(","))
                    named[-1] += filter(None, names)
            continue
        indent = len(item["indent"].lstrip("\ufeff").expandtabs(_TAB))
        while above and above[-1][0] >= indent:
            above.pop()
        numbered = _NUMBERED.fullmatch(item["words"])
        title = numbered["title"] if numbered else item["words"]
        id = numbered["number"] if numbered else title
        parent = above[-1][1] if above else ""
        found.append(ListedTask(id, title, STATUSES[item["box"]], len(above), number, parent))
        above.append((indent, id))
        own.append([])
        named.append([])
    return [
        task._replace(details="\n".join(lines).strip("\n"), requirements=tuple(names))
        for task, lines, names in zip(found, own, named, strict=True)
    ]


def _is_heading(line: str, fence: str) -> bool:
    return not fence and line.startswith("#")
