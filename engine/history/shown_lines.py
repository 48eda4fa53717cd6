r"""Lines of a file that tools showed an agent, where no event holds its text as a whole.

>>> output = "[File: /x/a.py (9 lines total)]\n(7 more lines above)\n8:one\n9:two\nbash-$"
>>> runs_in(output, "a.py", named=False)
[((8, 'one'), (9, 'two'))]
>>> runs_in("     3\tthree\n     4\tfour\n     9\tnine\n", "a.py", named=True)
[((3, 'three'), (4, 'four'))]
"""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from backcast.domain.errors import DamagedError
from backcast.domain.events import ToolCalled, ToolReturned, WorkflowEvent
from backcast.domain.moment import Moment
from backcast.domain.node import Reference
from backcast.engine.log.importers.shown_texts import was_done
from backcast.engine.log.store import EventStore

Run = tuple[tuple[int, str], ...]
"Lines that follow each other, with their numbers from 1."
_NUMBERED = re.compile(r"^ *(\d{1,7})(?:\t|→| \| |:)(.*)$")
_WINDOW = re.compile(r"^\[File: (.+?)\r? ?\((\d+) lines total\)\]$")


class ShownStretch(NamedTuple):
    """Lines of a file that follow each other, as one event showed them."""

    event: int
    "The version of the result that showed them last."
    lines: Run
    changed: int = 0
    "The first later event by which the file was changed; 0 for none."


def shown_lines(
    store: EventStore, reference: Reference, moment: Moment, changes: Sequence[WorkflowEvent]
) -> list[ShownStretch]:
    """Return what tools had shown of a reference's module by a moment, by line number.

    `changes` are the events that changed the module, in order. What a tool that
    failed showed is no part of the file. A line that was shown again counts as it was last.
    """
    seen = dict[int, tuple[int, str]]()
    for event, run in _shown(store, reference, moment):
        seen |= {number: (event, text) for number, text in run}
    first, last = reference.lines or (1, max(seen, default=0))
    numbers = [number for number in sorted(seen) if first <= number <= last]
    stretches = groupby(enumerate(numbers), lambda each: (each[1] - each[0], seen[each[1]][0]))
    return [
        ShownStretch(
            event, tuple((number, seen[number][1]) for _, number in group), _after(event, changes)
        )
        for (_, event), group in stretches
    ]


def _after(event: int, changes: Sequence[WorkflowEvent]) -> int:
    """Return the first later change but the one that an event, a result, tells of; 0 for none."""
    later = (change for change in changes if change.version > event not in change.because)
    return next((change.version for change in later), 0)


def _shown(store: EventStore, reference: Reference, moment: Moment) -> Iterator[tuple[int, Run]]:
    """Yield the runs of lines that results showed of a module, with their events, in log order."""
    task, calls = reference.task_id, dict[int, str]()
    for event in store.read(task, moment=moment, types=["TOOL_CALLED", "TOOL_RETURNED"]):
        match event.fact:
            case ToolCalled(arguments=arguments):
                calls[event.version] = json.dumps(arguments, default=str, ensure_ascii=False)
            case ToolReturned(output=str(ref), failed=False):
                asked = " ".join(calls.get(cause, "") for cause in event.because)
                try:
                    output = store.get(ref).decode(errors="replace")
                except (DamagedError, ValueError, LookupError):
                    continue
                if was_done(output, None, silent=False) is not False:
                    named = bool(re.search(rf"{re.escape(reference.path)}\b", asked))
                    for run in runs_in(output, reference.path, named=named):
                        yield event.version, run


def shown_paths(output: str) -> list[str]:
    """Return the paths of the files whose windows an output shows, each once."""
    windows = (_WINDOW.match(line) for line in output.splitlines())
    return list(dict.fromkeys(window[1] for window in windows if window))


def runs_in(output: str, path: str, *, named: bool) -> list[Run]:
    """Return the runs of numbered lines of a file in an output, of two lines or more.

    Lines belong to the file whose window they stand in; outside of one to the file that the call
    `named`.
    """
    runs, belongs = list[list[tuple[int, str]]](), named
    for line in output.replace("\r\n", "\n").split("\n"):
        if window := _WINDOW.match(line):
            belongs = f"/{window[1]}".endswith(f"/{path}")
            runs.append([])
        elif (found := _NUMBERED.match(line)) and belongs:
            number = int(found[1])
            if not (runs and runs[-1] and runs[-1][-1][0] == number - 1):
                runs.append([])
            runs[-1].append((number, found[2]))
        elif runs:
            runs.append([])
    return [tuple(run) for run in runs if len(run) > 1]
