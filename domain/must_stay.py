"""Which lines of an output must stay? What a request touches: errors, traces with their causes,
what a linter found, whole, and code. Where it touches nothing that fails all errors and traces do.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import NamedTuple

from backcast.domain.compression_settings import LineKind
from backcast.domain.output_lines import LONG
from backcast.domain.text_records import TextRecord
from backcast.domain.text_request import TextRequest
from backcast.domain.touched_parts import (
    WORD,
    imports_of_asked,
    parts_of,
    touched_lines,
    touches,
)  # fmt: skip

RARE = 4
"Lines of code with a symbol up to which each of them stays, whatever it does with it."
RUN = 6
"Lines in a row that are left out where an earlier trace, or other part, has the very same."
BODY, CLASS = 16, 3
"Lines of a definition that stay with its first, and of a class."
_NAMED = re.compile(
    r"^\s*(?:\d+\s*[:|\t→-]?)?\s*(?:async def|def|class|func|fn|function|interface|struct)\s+(\w+)"
)


class StayingLines(NamedTuple):
    """The lines that must stay, and those that only repeat others."""

    stay: set[int]
    again: dict[int, int]
    "Each line that repeats another, with the place of that."


def must_stay(
    lines: Sequence[str], kinds: Sequence[LineKind], paths: Mapping[int, Sequence[str]],
    request: TextRequest, records: Sequence[TextRecord],
) -> StayingLines:  # fmt: skip
    """Return the lines that must stay, and those that only repeat some of them.

    Errors stay, each once. The frames of a trace stay with the code that they show, but for those
    in a row that an earlier trace has in the same order. What a linter found stays whole where it
    is touched. Of what the request touches the code stays, see `_code`, and the first line that
    names each path, or that imports it.
    """
    parts = parts_of(lines, records)
    touched = touched_lines(lines, kinds, paths, request, records, parts)
    stay, again = _staying_traces(lines, kinds, parts, touched)
    errors = dict[str, int]()
    for place, kind in enumerate(kinds):
        if kind == "error" and (touched is None or place in touched):
            key_line = _plain(lines[place])
            if key_line in errors:
                again.setdefault(place, errors[key_line])
            else:
                stay.add(place)
                errors[key_line] = place
    _add_headings(stay | again.keys(), stay, lines, kinds)
    named = set[str]()
    for place, found in paths.items():
        if place in again or kinds[place] in ("progress", "blank"):
            continue
        fresh = {path for path in found if touches(path, request.paths)} - named
        if fresh:
            stay.add(place)
            named |= fresh
    stay.update(imports_of_asked(lines, paths, request))
    for place in _code(lines, kinds, paths, request):
        if place not in again:
            stay.add(place)
    for place, first in _repeated(lines, kinds):
        if place not in stay:
            again.setdefault(place, first)
    _add_blanks(kinds, again)
    asked = touched if touched is not None else ()
    for record in records:
        if record.kind == "finding" and record.start in asked:
            stay.update(
                place for place in range(record.start, record.stop)
                if again.get(place, -1) not in stay
            )  # fmt: skip
    return StayingLines(stay, {place: first for place, first in again.items() if place not in stay})


def _staying_traces(
    lines: Sequence[str], kinds: Sequence[LineKind], parts: Sequence[int],
    touched: Set[int] | None,
) -> tuple[set[int], dict[int, int]]:  # fmt: skip
    """Return the lines of traces that stay, and those that an earlier trace has."""
    stay, again = set[int](), dict[int, int]()
    seen, known = dict[tuple[str, ...], list[int]](), dict[tuple[str, ...], list[int]]()
    for trace in _traces(lines, kinds, parts):
        if touched is not None and touched.isdisjoint(trace):
            continue
        stay.update(trace)
        key = tuple(_plain(lines[place]) for place in trace)
        if key in seen:
            stay.difference_update(trace)
            again.update(zip(trace, seen[key], strict=True))
        seen.setdefault(key, trace)
        runs = [key[at : at + RUN] for at in range(len(key) - RUN + 1)]
        for at, run in enumerate(runs):
            if run in known:  # the way on from there is told once
                stay.difference_update(trace[at : at + RUN])
                again.update(zip(trace[at : at + RUN], known[run], strict=True))
        for at, run in enumerate(runs):
            known.setdefault(run, trace[at : at + RUN])
    return stay, again


def _traces(
    lines: Sequence[str], kinds: Sequence[LineKind], parts: Sequence[int]
) -> Iterable[list[int]]:
    """Yield the places of each trace: frames, the code that they show, and what led to what."""
    trace, apart = list[int](), 0
    for place, kind in enumerate(kinds):
        if trace and parts[place] != parts[trace[-1]] and max(parts[place], parts[trace[-1]]) >= 0:
            yield trace
            trace = []
        shows = kind == "code" and (
            lines[place].startswith(">") or (place > 0 and kinds[place - 1] == "frame")
        )
        if kind in ("frame", "cause") or shows:
            begins = kind == "cause" and lines[place].lstrip().startswith("Traceback")
            if trace and begins and kinds[place - 1] != "cause":
                yield trace
                trace = []
            trace.append(place)
            apart = 0
        elif kind == "heading":
            if trace:
                yield trace
            trace = []
        elif trace:
            apart += 1
            if apart > 40:
                yield trace
                trace = []
    if trace:
        yield trace


def _add_headings(
    failed: Set[int], stay: set[int], lines: Sequence[str], kinds: Sequence[LineKind]
) -> None:
    """Add the nearest heading above each error, which says what failed."""
    above: int | None = None
    for place, kind in enumerate(kinds):
        if kind == "heading":
            above = place
        elif (
            place in failed and above is not None and not lines[place].startswith(("FAILED", "ERR"))
        ):
            stay.add(above)
            above = None


def _repeated(lines: Sequence[str], kinds: Sequence[LineKind]) -> Iterator[tuple[int, int]]:
    """Yield the lines in long runs that an earlier part of the text has in the same order, each
    with the place of the first."""
    full = [place for place, kind in enumerate(kinds) if kind != "blank"]
    plain, seen = [_plain(lines[place]) for place in full], dict[tuple[str, ...], int]()
    for at in range(len(full) - RUN + 1):
        run = tuple(plain[at : at + RUN])
        first = seen.setdefault(run, at)
        if first != at:
            yield from zip(full[at : at + RUN], full[first : first + RUN], strict=True)


def _add_blanks(kinds: Sequence[LineKind], again: dict[int, int]) -> None:
    """Add the blank lines between lines that repeat others."""
    above, blank = -1, list[int]()
    for place, kind in enumerate(kinds):
        if kind == "blank":
            blank.append(place)
            continue
        if above in again and place in again:
            again.update(dict.fromkeys(blank, again[above]))
        above, blank = place, []


def _plain(line: str) -> str:
    """Return a line without spaces around and without what memory addresses it tells."""
    return re.sub(r"0x[0-9a-fA-F]+", "0x", line.strip())


def _code(
    lines: Sequence[str], kinds: Sequence[LineKind], paths: Mapping[int, Sequence[str]],
    request: TextRequest,
) -> Iterator[int]:  # fmt: skip
    """Yield the lines of code that some symbols touch: the definition of each, whole, and its
    uses. Of a symbol that stands all over the text only the imports count as uses, and of a name in
    quotes only the definition is asked for."""
    symbols, names = request.symbols, request.symbols | request.named
    used, known = dict[str, list[int]](), set[tuple[str, ...]]()
    for place in paths if names else ():
        if kinds[place] in ("definition", "import", "code"):
            for word in sorted(symbols.intersection(WORD.findall(lines[place][:LONG]))):
                used.setdefault(word, []).append(place)
            named = _NAMED.search(lines[place][:LONG]) if kinds[place] == "definition" else None
            if named and named[1] in names:
                whole = list(_definition(lines, place))
                text = tuple(_plain(lines[own]) for own in whole)
                # A trace shows the same one for each test that fails in it.
                yield from (() if text in known else whole)
                known.add(text)
    for places in used.values():
        for place in places:
            if len(places) <= RARE or kinds[place] == "import":
                yield place


def _definition(lines: Sequence[str], first: int) -> Iterator[int]:
    """Yield the lines of a definition, up to where another line is as little indented."""
    depth = len(lines[first]) - len(lines[first].lstrip())
    most = CLASS if re.match(r"\W*\d*\W*class ", lines[first]) else BODY
    blank = list[int]()
    yield first
    for place in range(first + 1, min(len(lines), first + most)):
        line = lines[place].strip()
        if not line:
            blank.append(place)
            continue
        if len(lines[place]) - len(lines[place].lstrip()) <= depth and line[0] not in ")]}":
            break
        yield from (*blank, place)
        blank = []
