"""Two runs of agents side by side: how they ended, what they called, and where they part."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from backcast.domain.events import ModuleDeleted, ModuleIteration, ToolCalled, ToolReturned
from backcast.domain.message_parts import cut_inside
from backcast.engine.interfaces.addresses import Place
from backcast.engine.interfaces.task_summaries import TaskSummary, summary_of
from backcast.engine.interfaces.views import called
from backcast.engine.replay.agent_prompt import read_text

KINDS = ("TOOL_CALLED", "TOOL_RETURNED", "MODULE_ITERATION", "MODULE_DELETED")
FILES, WIDE = 6, 50
"Files that are named one by one, and characters of a task's name."


class ComparedRun(NamedTuple):
    """What a comparison tells of a run."""

    task: str
    about: TaskSummary
    calls: tuple[tuple[int, str], ...]
    "The event of each call, and its name."
    failed: int
    files: tuple[str, ...]
    "The files that it changed, in the order of their first change."


def compared_run(place: Place) -> ComparedRun:
    """Return the run of an agent that a task holds."""
    text, calls, failed = partial(read_text, place.store), [], 0
    files: dict[str, None] = {}
    for event in place.store.read(place.task, types=KINDS):
        match event.fact:
            case ToolCalled() as fact:
                calls.append((event.version, called(fact, text)))
            case ToolReturned(failed=True):
                failed += 1
            case ModuleIteration(module_name=path) | ModuleDeleted(module_name=path):
                files[path] = None
    about = summary_of(place.store, place.task)
    return ComparedRun(place.task, about, tuple(calls), failed, tuple(files))


def same_calls(before: ComparedRun, after: ComparedRun) -> int:
    """Return how many calls both runs begin with."""
    both = zip(before.calls, after.calls, strict=False)
    return next((n for n, (one, other) in enumerate(both) if one[1] != other[1]),
                min(len(before.calls), len(after.calls)))  # fmt: skip


def agent_rows(*runs: ComparedRun) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a table of runs, its heads first."""
    yield "", *(cut_inside(run.task, WIDE) for run in runs)
    yield "ended", *(run.about.ended for run in runs)
    yield "answers", *(f"{run.about.answers:,}" for run in runs)
    yield "calls", *(f"{len(run.calls):,}" for run in runs)
    yield "failed", *(f"{run.failed:,}" for run in runs)
    for number in range(min(FILES, max(len(run.files) for run in runs))):
        yield ("changed" if number == 0 else "", *("".join(run.files[number : number + 1])
               for run in runs))  # fmt: skip
    more = [max(0, len(run.files) - FILES) for run in runs]
    if any(more):
        yield "", *(f"and {count:,} more" if count else "" for count in more)


def parting_lines(before: ComparedRun, after: ComparedRun) -> Iterator[str]:
    """Yield how many calls both begin with, and the first of each that is another."""
    same = same_calls(before, after)
    alike = "the first call is" if same == 1 else f"the first {same:,} calls are"
    yield f"{alike} the same; then" if same else "the first calls"
    for run in (before, after):
        if same < len(run.calls):
            version, name = run.calls[same]
            yield f"  {run.task}@{version}  {name}"
        else:
            yield f"  {run.task}  no further call"
