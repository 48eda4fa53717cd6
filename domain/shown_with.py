"""Which lines does a shown line need beside it? Its record's keys, and what a marker points at.

The hash of a commit, the head of a function, the rule and place of a finding: without these a
reader joins what is shown to the record above the gap.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from backcast.domain.text_records import TextRecord

MARKER = re.compile(r"^[\sE>|]*_*[\^~][\^~\s-]*$")
"A line whose signs point at the line above."
_HOLE = re.compile(
    r"^(?:</?\w+>)*</?\w*(?:_head|_tail|elided\w*)>$"
    r"|^\W*\d[\d,]* (?:characters|lines|bytes) (?:\w+ )?(?:elided|truncated|omitted)\b"
)
HOLES = 8
"Lines at most that tell where a tool itself left something out."


def needed_lines(
    lines: Sequence[str], records: Sequence[TextRecord], repeated: Collection[int] = ()
) -> dict[int, tuple[int, ...]]:
    """Return the lines that each line needs beside it, by place; a function that is repeated was
    shown under its head before."""
    keys = dict[int, tuple[int, ...]]()
    for record in records:  # inner ones come later
        if record.kind in ("function", "class") and record.keys[0] in repeated:
            continue
        above = keys.get(record.start, ())
        own = tuple(dict.fromkeys((*above, *record.keys)))
        for place in range(record.start, record.stop):
            keys[place] = own
    found = {place: tuple(key for key in own if key != place) for place, own in keys.items()}
    for place, line in enumerate(lines):
        if place and ("^" in line or "~" in line) and MARKER.match(line):
            found[place] = (*found.get(place, ()), place - 1)
    return {place: own for place, own in found.items() if own}


def with_needed(places: Iterable[int], needed: Mapping[int, Sequence[int]]) -> set[int]:
    """Return some places with all that these need."""
    found, fresh = set(places), list(places)
    while fresh:
        more = {other for place in fresh for other in needed.get(place, ())} - found
        found |= more
        fresh = sorted(more)
    return found


def holes_in(lines: Sequence[str]) -> list[int]:
    """Return the lines that tell where the tool itself left something out."""
    found = [place for place, line in enumerate(lines) if len(line) < 200 and _HOLE.match(line)]
    return found if len(found) <= HOLES else []
