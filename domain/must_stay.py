"""Which lines of an output must stay? Errors, traces and their causes, and what was asked for."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from backcast.domain.compression_settings import LineKind
from backcast.domain.output_lines import LONG
from backcast.domain.text_request import TextRequest

RARE = 4
"Lines of code with a symbol up to which each of them stays, whatever it does with it."
RUN = 6
"Lines in a row that are left out where an earlier trace, or other part, has the very same."
BODY, CLASS = 16, 3
"Lines of a definition that stay with its first, and of a class."
WORD = re.compile(r"[A-Za-z_]\w+")
_NAMED = re.compile(
    r"^\s*(?:\d+\s*[:|\t→-]?)?\s*(?:async def|def|class|func|fn|function|interface|struct)\s+(\w+)"
)


def must_stay(
    lines: Sequence[str], kinds: Sequence[LineKind], paths: Mapping[int, Sequence[str]],
    request: TextRequest,
) -> tuple[set[int], set[int]]:  # fmt: skip
    """Return the lines that must stay, and those that only repeat some of them.

    Errors stay, each once. The frames of a trace stay with the code that they show, but for those
    in a row that an earlier trace has in the same order. Of what the request touches the code
    stays, see `_code`, and the first line that names each path.
    """
    stay, again = set[int](), set[int]()
    for trace in _traces(lines, kinds):
        stay.update(trace)
    seen, parts = set[tuple[str, ...]](), set[tuple[str, ...]]()
    for trace in _traces(lines, kinds):
        key = tuple(_plain(lines[place]) for place in trace)
        if key in seen:
            stay.difference_update(trace)
            again.update(trace)
        seen.add(key)
        runs = [key[at : at + RUN] for at in range(len(key) - RUN + 1)]
        for at, run in enumerate(runs):
            if run in parts:  # the way on from there is told once
                stay.difference_update(trace[at : at + RUN])
                again.update(trace[at : at + RUN])
        parts.update(runs)
    errors = set[str]()
    for place, kind in enumerate(kinds):
        if kind == "error":
            key_line = _plain(lines[place])
            (again if key_line in errors else stay).add(place)
            errors.add(key_line)
    _add_headings(stay | again, stay, lines, kinds)
    named = set[str]()
    for place, found in paths.items():
        if place in again or kinds[place] in ("progress", "blank"):
            continue
        fresh = {path for path in found if touches(path, request.paths)} - named
        if fresh:
            stay.add(place)
            named |= fresh
    for place in _code(lines, kinds, paths, request):
        if place not in again:
            stay.add(place)
    again.update(_repeated(lines, kinds, stay))
    return stay, again


def _traces(lines: Sequence[str], kinds: Sequence[LineKind]) -> Iterable[list[int]]:
    """Yield the places of each trace: frames, the code that they show, and what led to what."""
    trace, apart = list[int](), 0
    for place, kind in enumerate(kinds):
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


def _repeated(lines: Sequence[str], kinds: Sequence[LineKind], stay: Set[int]) -> Iterator[int]:
    """Yield the lines in long runs that an earlier part of the text has in the same order."""
    full = [place for place, kind in enumerate(kinds) if kind != "blank"]
    plain, seen = [_plain(lines[place]) for place in full], set[tuple[str, ...]]()
    for at in range(len(full) - RUN + 1):
        run = tuple(plain[at : at + RUN])
        if run in seen:
            yield from (place for place in full[at : at + RUN] if place not in stay)
        seen.add(run)


def _plain(line: str) -> str:
    """Return a line without spaces around and without what memory addresses it tells."""
    return re.sub(r"0x[0-9a-fA-F]+", "0x", line.strip())


def touches(path: str, wanted: frozenset[str]) -> bool:
    if path in wanted:
        return True
    names = path.strip("./").split("/")
    return any("/".join(names[start:]) in wanted for start in range(len(names)))


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
