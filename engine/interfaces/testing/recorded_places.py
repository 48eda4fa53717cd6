"""Find the logs of folders and patterns, and the prompts in them, to parametrize tests.

No prompt is built here. The same files give the same places in the same order to every process.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import NamedTuple

from backcast.domain.errors import BackcastError, DamagedError, InputError
from backcast.engine.interfaces.testing.open_logs import OpenLogs, not_whole
from backcast.engine.replay.steps import asked


class RecordedPlace(NamedTuple):
    """A log, a prompt in it, or the problem that hides them."""

    id: str
    "`till` or `till@25`; with its task if a log has several, with its folder if two share a name."
    path: Path
    task: str | None = None
    version: int = 0
    "Version of the prompt's event; 0 for the whole log."
    problem: str = ""


def log_places(base: Path, patterns: Sequence[str]) -> list[RecordedPlace]:
    """Return the logs that folders, files and glob patterns name, sorted within each.

    A pattern that names nothing gives a place with a problem.
    """
    paths: dict[Path, None] = {}
    problems = []
    for pattern in patterns:
        try:
            paths |= dict.fromkeys(_files(base, pattern))
        except InputError as error:
            problems.append(RecordedPlace(pattern, base / pattern, problem=str(error)))
    stems = Counter(path.stem for path in paths)
    names = (
        path.stem if stems[path.stem] == 1 else _within(base, path).with_suffix("").as_posix()
        for path in paths
    )
    return [*map(RecordedPlace, names, paths), *problems]


def prompt_places(
    logs: OpenLogs, base: Path, patterns: Sequence[str], *, damaged: bool = False
) -> list[RecordedPlace]:
    """Return the recorded prompts of the named logs in the order in which they were asked for.

    An unreadable log gives a place with a problem, and so do logs without any prompt, and, unless
    `damaged`, a log that is not whole.
    """
    places = log_places(base, patterns)
    prompts = [prompt for place in places for prompt in _prompts(logs, place, damaged)]
    if prompts:
        return prompts
    where = ", ".join(patterns)
    missing = f"{where}: needed recorded prompts, found none in {len(places)} logs"
    return [RecordedPlace(where, base, problem=missing)]


def _files(base: Path, pattern: str) -> list[Path]:
    place = base / pattern
    if place.is_dir():
        paths = sorted(place.glob("*.jsonl"))
        what = "no .jsonl file in it"
    else:
        paths = [place] if place.is_file() else sorted(map(Path, glob(str(place), recursive=True)))
        paths = [path for path in paths if path.is_file()]
        what = "nothing of that name"
    if not paths:
        raise InputError(
            f"{pattern}: needed a log, or a folder or pattern of logs, found {what} below {base}"
        )
    return paths


def _within(base: Path, path: Path) -> Path:
    return path.relative_to(base) if path.is_relative_to(base) else path


def _prompts(logs: OpenLogs, place: RecordedPlace, damaged: bool) -> Iterator[RecordedPlace]:
    if place.problem:
        yield place
        return
    try:
        log = logs.log(place.path)
        if log.problems and not damaged:
            raise DamagedError(not_whole(log.problems))
        versions = [(task, one.version) for task in log.tasks for one in asked(log.store, task)]
    except BackcastError as error:
        yield place._replace(problem=str(error))
        return
    several = len(log.tasks) > 1
    for task, version in versions:
        name = f"{place.id}:{task}" if several else place.id
        yield RecordedPlace(f"{name}@{version}", place.path, task, version)
