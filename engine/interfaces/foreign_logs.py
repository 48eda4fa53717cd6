"""Foreign logs as `backcast import` is given them: paths, patterns, folders and URLs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from backcast.domain.errors import BackcastError, InputError
from backcast.engine.interfaces.addresses import note_others
from backcast.engine.interfaces.terminal import message
from backcast.engine.log.importers import Report
from backcast.engine.log.places import ENDINGS, is_pattern, places_of
from backcast.engine.log.remote import copied, is_remote, scheme_of, shown

_PACKED = ("", ".gz", ".zst")
FOLDERS = ("git", "openhands", "raw-bodies", "opencode", "otlp")
"Formats that take a folder for one log; of all others a folder holds many."
NAMES = {
    "swe-agent": tuple(f"{name}{packed}" for name in (".traj", ".traj.json") for packed in _PACKED),
    "cline": tuple(f".json{packed}" for packed in _PACKED),
    "atif": tuple(f".json{packed}" for packed in _PACKED),
    "inspect": (".eval", *(f".json{packed}" for packed in _PACKED)),
}
"How the files of a format end in a folder of many, where that is not by `ENDINGS`."


def logs_to_import(format: str, paths: Sequence[str]) -> tuple[list[str], int]:
    """Return the logs that some paths name, and how many name none, after the reason is told.

    `InputError` where there is one path, and it names none.
    """
    found: dict[str, None] = {}
    failed = 0
    for path in paths:
        scheme = scheme_of(path)
        if not (scheme or is_pattern(path)) and format in FOLDERS:
            found[path] = None
            continue
        try:
            if scheme and not is_remote(path):
                raise InputError(
                    f"{shown(path)}: needed a path, or a URL of https://, http://, s3:// or gs://,"
                    f" found {scheme}://"
                )
            if scheme and format == "git":
                raise InputError(
                    f"{shown(path)}: needed the folder of a repository, found a URL: clone it first"
                )
            places = places_of(path, NAMES.get(format, ENDINGS))
        except BackcastError as error:
            if len(paths) == 1:
                raise
            message(error)
            failed += 1
            continue
        found |= dict.fromkeys(places.names)
        note_others(path, places.others, f"logs of {format}")
    return list(found), failed


@contextmanager
def copied_here(log: str, report: Report) -> Iterator[Path]:
    """Give the file of a log, or of a copy of it; errors name the log, and not the copy."""
    if not is_remote(log):
        yield Path(log)
        return
    with copied(log) as copy:
        if copy.problem:
            report.skipped.append(copy.problem)
        try:
            yield copy.path
        except InputError as error:
            raise InputError(str(error).replace(str(copy.path), shown(log))) from None
