"""What is it worth that a line names a path of the request, or one that lies near, and that it
stands in a function that failed?"""

import re
from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

from backcast.domain.compression_settings import LineKind
from backcast.domain.text_records import TextRecord
from backcast.domain.text_request import TextRequest
from backcast.domain.touched_parts import own_import, touches

RECORD, FEWER = 2.0, 0.05
"What a line of a finding or commit gains that names a path of the request, and how that falls."
FAILING, ARGUMENTS = 3.0, 1.0
"""What a line gains in the first function that failed, less in later ones, so that some are shown
whole and not all in crumbs; and one that tells with which arguments it failed."""
_ARGUMENTS = re.compile(r"\w+ = \S")


class NearPath(NamedTuple):
    """A path that lies near what is asked about, and the lines that name it."""

    hops: int
    path: str
    places: tuple[int, ...]


def add_paths(
    found: list[float], paths: Mapping[int, Sequence[str]], request: TextRequest,
    lines: Sequence[str], protected: Set[int],
) -> list[NearPath]:  # fmt: skip
    """Add what it is worth that a line names a path of the request, or one that lies near; return
    the latter."""
    if not (request.paths or request.near):
        return []
    near, named = dict(request.near), dict[str, list[int]]()
    for place in sorted(paths, key=lambda place: (place not in protected, place)):
        own = paths[place]
        asked = any(touches(path, request.paths) for path in own)
        # Who imports a module is asked for more often than what it imports.
        if asked and not own_import(lines[place], request.paths):
            found[place] += 1.5
        for path in own if near else ():
            known = [other for other in near if _same(path, other)]
            for other in known:
                # How the nearest are met is seen in a line; a gap names those further on.
                first = 3.3 if near[other] == 1 else 1.0
                found[place] += 0.2 if other in named else first / near[other]
                named.setdefault(other, []).append(place)
    return sorted(NearPath(near[path], path, tuple(places)) for path, places in named.items())


def add_records(
    found: list[float], records: Sequence[TextRecord], paths: Mapping[int, Sequence[str]],
    request: TextRequest,
) -> None:  # fmt: skip
    """Add what it is worth that a finding or commit names a path of the request, less for each
    further one."""
    number = 0
    for record in records if request.paths else ():
        own = range(record.start, record.stop)
        named = (path for place in own for path in paths.get(place, ()))
        if record.whole and any(touches(path, request.paths) for path in named):
            for place in own:
                found[place] += RECORD / (1 + FEWER * number)
            number += 1


def add_failures(
    found: list[float], lines: Sequence[str], kinds: Sequence[LineKind],
    records: Sequence[TextRecord], failing: Sequence[range],
) -> None:  # fmt: skip
    """Add what it is worth to stand in a function that failed, or to tell its arguments."""
    for number, own in enumerate(failing):
        for place in own:
            found[place] += FAILING / (1 + number) if kinds[place] != "blank" else 0.0
    for record in records:
        for place in range(record.start, record.stop) if record.kind == "failure" else ():
            if _ARGUMENTS.match(lines[place]) and " object at 0x" not in lines[place]:
                found[place] += ARGUMENTS


def _same(path: str, known: str) -> bool:
    short = path.strip("./")
    return short == known or short.endswith(f"/{known}") or known.endswith(f"/{short}")
