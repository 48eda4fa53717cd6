"""The logs of folders and patterns, and the prompts in them, as tests are run over them.

Nothing is built here. The same files give the same places in the same order to whoever asks.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import NamedTuple

from backcast.domain.errors import BackcastError, InputError
from backcast.engine.interfaces.testing.open_logs import OpenLogs
from backcast.engine.log.open_logs import Log
from backcast.engine.replay.steps import asked


class RecordedPlace(NamedTuple):
    """A log, or a prompt in it, or why there is none."""

    id: str
    "`till`, or `till@25`; with its task where a log has several, with its folder where two logs \
have the same name."
    path: Path
    task: str | None = None
    version: int = 0
    "Of the event that tells of the prompt; 0 for the whole log."
    problem: str = ""


def log_places(base: Path, patterns: Sequence[str]) -> list[RecordedPlace]:
    """The logs that some folders, files and glob patterns name, sorted within each.

    One that names nothing is a place with a problem.
    """
    found: dict[Path, None] = {}
    problems = []
    for pattern in patterns:
        try:
            found |= dict.fromkeys(_files(base, pattern))
        except InputError as error:
            problems.append(RecordedPlace(pattern, base / pattern, problem=str(error)))
    stems = Counter(path.stem for path in found)
    named = (
        path.stem if stems[path.stem] == 1 else _within(base, path).with_suffix("").as_posix()
        for path in found
    )
    return [*map(RecordedPlace, named, found), *problems]


def prompt_places(logs: OpenLogs, base: Path, patterns: Sequence[str]) -> list[RecordedPlace]:
    """The recorded prompts of those logs, in the order in which they were asked for.

    A log that cannot be read is a place with a problem, and so are logs that all have no prompt.
    """
    named = log_places(base, patterns)
    found = [prompt for place in named for prompt in _prompts(logs, place)]
    if found:
        return found
    where = ", ".join(patterns)
    told = f"{where}: needed recorded prompts, found none in {len(named)} logs"
    return [RecordedPlace(where, base, problem=told)]


def _files(base: Path, pattern: str) -> list[Path]:
    place = base / pattern
    if place.is_dir():
        found = sorted(place.glob("*.jsonl"))
        what = "no .jsonl file in it"
    else:
        found = [place] if place.is_file() else sorted(map(Path, glob(str(place), recursive=True)))
        found = [path for path in found if path.is_file()]
        what = "nothing of that name"
    if not found:
        raise InputError(f"{pattern}: needed a log, or a folder or pattern of logs, found {what}")
    return found


def _within(base: Path, path: Path) -> Path:
    return path.relative_to(base) if path.is_relative_to(base) else path


def _prompts(logs: OpenLogs, place: RecordedPlace) -> Iterator[RecordedPlace]:
    if place.problem:
        yield place
        return
    try:
        log = logs.log(place.path)
        found = list(_asked(log))
    except BackcastError as error:
        yield place._replace(problem=str(error))
        return
    several = len(log.tasks) > 1
    for task, version in found:
        name = f"{place.id}:{task}" if several else place.id
        yield RecordedPlace(f"{name}@{version}", place.path, task, version)


def _asked(log: Log) -> Iterator[tuple[str, int]]:
    return ((task, one.version) for task in log.tasks for one in asked(log.store, task))
