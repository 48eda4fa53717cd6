"""What is each line of an output worth to whoever asked? What must stay, and how the rest ranks.

The request is known by its words, its paths and symbols, and what lies near them: modules that are
1 to 4 imports away. All of it is read off the text; equal inputs give equal numbers.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from fnmatch import fnmatchcase
from math import log
from types import MappingProxyType
from typing import NamedTuple

from backcast.domain.compression_settings import KeepRule, LineKind
from backcast.domain.must_stay import must_stay
from backcast.domain.output_lines import LONG, kinds_of
from backcast.domain.shown_with import holes_in, needed_lines, with_needed
from backcast.domain.text_records import TextRecord, bare_line, failing_functions, records_of
from backcast.domain.text_request import TextRequest, word_parts
from backcast.domain.touched_parts import WORD
from backcast.domain.touched_worth import NearPath, add_failures, add_paths, add_records

RANKED = 6_000
"Lines at each end of an output that are ranked by their words; the rest of a longer one is not."
BASES: Mapping[LineKind, float] = {
    "error": 4.0, "frame": 3.0, "cause": 3.0, "heading": 1.0, "definition": 2.0, "import": 1.0,
    "code": 1.5, "reference": 0.6, "path": 0.3, "plain": 0.4, "verdict": 0.2, "progress": 0.05,
    "blank": 0.0,
}  # fmt: skip
"The worth of a line of each kind by itself."
MOST = 1.0
"The most that the words of the request are worth in one line."
FADE, AROUND = 0.85, 0.3
"What of that a next line keeps, and the share of it that counts there."
FURTHER = 0.75
"The power by which each further line of the same shape is worth less."
NEAR = 8
"Lines from one that must stay within which others explain it."
ALIKE, WITHIN = 8, 4
"Lines of one shape that show what such lines are, and lines above one that tell if it goes on."
SHAPED, BESIDE, KNOWN = 12, 3, 1.0
"""Characters of a shape that tells something, lines beside one that must stay which are kept, and
the worth from which on a line tells more than its shape."""
FIRST = 3.0
"What it adds to a line of a function that later ones repeat: what they save is best spent here."
_COUNTED = ("plain", "verdict", "progress")
"Kinds of lines whose numbers tell nothing apart, as those of names do."
_PATHS = re.compile(r"[\w@+~.-]*(?:/[\w@+~.-]+)+|[\w@+~-][\w@+~.-]*\.\w{1,5}")
_VARIES = re.compile(r"0x[0-9a-fA-F]+|\d+")
_TESTED = re.compile(r"::\S+")


class LineWorth(NamedTuple):
    """What is known of each line of an output."""

    kinds: tuple[LineKind, ...]
    bare: tuple[str, ...]
    "Each line without its number, as indented as the file has it."
    protected: frozenset[int]
    "Lines that must stay, by place."
    repeated: Mapping[int, int]
    "Lines that say what an earlier one has said, each with the place of that."
    worth: tuple[float, ...]
    shapes: tuple[str, ...]
    "Each line without what varies: equal for lines that are like each other."
    near: tuple[NearPath, ...] = ()
    "Paths near the request that some line names, the nearest first."
    records: tuple[TextRecord, ...] = ()
    failing: tuple[range, ...] = ()
    "The functions in which something failed, up to the line that did."
    needed: Mapping[int, tuple[int, ...]] = MappingProxyType({})
    "The lines without which another one tells nothing, by the place of that."


def worth_of(
    lines: Sequence[str], request: TextRequest, guideline: Sequence[KeepRule] = ()
) -> LineWorth:
    """Return what is known of each line for a request, by a guideline."""
    bare = [bare_line(line) for line in lines]
    kinds = kinds_of(lines, bare)
    shapes = [_shape(line) for line in lines]
    ranked = _ranked(len(lines))
    paths = {place: _PATHS.findall(lines[place][:LONG]) for place in ranked}
    records = records_of(lines, bare)
    for record in records:  # lines of dashes in a finding are no headings
        if record.kind == "finding":
            for place in range(record.start, record.stop):
                kinds[place] = "code" if kinds[place] == "heading" else kinds[place]
    protected, repeated = must_stay(lines, kinds, paths, request, records)
    needed = needed_lines(lines, records, repeated)
    protected = with_needed([*protected, *holes_in(lines)], needed)
    found = [BASES[kind] for kind in kinds]
    _add_words(found, lines, ranked, request)
    seen = Counter[str]()
    for place, shape in enumerate(shapes):
        seen[shape] += 1  # each further line like it tells less
        found[place] /= seen[shape] ** FURTHER
    near = add_paths(found, paths, request, lines, protected)
    add_records(found, records, paths, request)
    for place in _bodies(records) & set(repeated.values()):
        found[place] += FIRST if kinds[place] != "blank" else 0.0
    failing = failing_functions(lines, records)
    add_failures(found, lines, kinds, records, failing)
    _add_places(found, sorted(protected))
    for place, kind in enumerate(kinds):
        if kind == "verdict":
            found[place] = min(found[place], BASES["verdict"])
    _drop_alike(found, shapes, kinds, protected)
    for rule in guideline:
        for place in _matching(rule, lines, kinds, paths, protected):
            found[place] += rule.worth
    return LineWorth(
        tuple(kinds),
        tuple(bare),
        frozenset(protected),
        {place: first for place, first in repeated.items() if place not in protected},
        tuple(round(value, 6) for value in found),
        tuple(shapes),
        tuple(near),
        tuple(records),
        tuple(failing),
        needed,
    )


def _bodies(records: Sequence[TextRecord]) -> set[int]:
    """Return the lines of functions."""
    own = (record for record in records if record.kind == "function")
    return {place for record in own for place in range(record.start, record.stop)}


def _ranked(count: int) -> Sequence[int]:
    if count <= 2 * RANKED:
        return range(count)
    return (*range(RANKED), *range(count - RANKED, count))


def _shape(line: str) -> str:
    short = " ".join(_VARIES.sub("0", line[:LONG]).split())
    return _TESTED.sub("::", short) if "::" in short else short


def _add_words(
    found: list[float], lines: Sequence[str], ranked: Sequence[int], request: TextRequest
) -> None:
    """Add what the words of the request are worth, more for those that few lines hold."""
    if not request.words:
        return
    held = dict[int, set[str]]()
    counts = Counter[str]()
    for place in ranked:
        words = set[str]()
        for word in WORD.findall(lines[place][:LONG]):
            words.update(part for part in word_parts(word) if part in request.words)
        if words:
            held[place] = words
            counts.update(words)
    whole, gains = log(1 + len(ranked)), dict[int, float]()
    for place, words in held.items():
        # In one order, since a sum of floats depends on it.
        weight = sum(log(1 + len(ranked) / counts[word]) / whole for word in sorted(words))
        gains[place] = min(MOST, weight)
    for place, gain in _spread(gains, ranked).items():
        found[place] += gain


def _spread(gains: Mapping[int, float], ranked: Sequence[int]) -> dict[int, float]:
    """Return what lines gain by words of their own and of the lines around them.

    What is said in several lines in a row is worth more than the same in lines that lie apart.
    """
    ahead, back, total = dict[int, float](), 0.0, 0.0
    for place in ranked:
        ahead[place] = total
        total = (total + gains.get(place, 0.0)) * FADE
    found = dict[int, float]()
    for place in reversed(ranked):
        around = AROUND * (ahead[place] + back)
        if gain := gains.get(place, 0.0) + around:
            found[place] = gain
        back = (back + gains.get(place, 0.0)) * FADE
    return found


def _add_places(found: list[float], protected: Sequence[int]) -> None:
    """Add what it is worth to stand at either end, or near a line that must stay."""
    count = len(found)
    for place in range(min(5, count)):
        found[place] += 0.8
    for place in range(max(0, count - 12), count):
        found[place] += 1.0
    gains = dict[int, float]()
    for place in protected:
        for apart in range(1, NEAR + 1):
            gain = 1.2 * 0.75**apart
            for other in (place - apart, place + apart):
                if 0 <= other < count:
                    gains[other] = max(gains.get(other, 0.0), gain)
    for place, gain in gains.items():
        if found[place] > 0:
            found[place] += gain


def _drop_alike(
    found: list[float], shapes: Sequence[str], kinds: Sequence[LineKind], protected: Set[int]
) -> None:
    """Take their worth from lines that go on with many of the same shape.

    Of a thousand lines that differ by their numbers some show what they are; more take room and
    tell nothing. Those beside a line that must stay are kept, as they say what went before it.
    """
    near = {place + step for place in protected for step in range(-BESIDE, BESIDE + 1)}
    seen = Counter[str]()
    for place, shape in enumerate(shapes):
        if len(shape) < SHAPED or kinds[place] not in _COUNTED:
            continue
        seen[shape] += 1
        goes_on = seen[shape] > ALIKE and shape in shapes[max(0, place - WITHIN) : place]
        if goes_on and place not in near and found[place] < KNOWN:
            found[place] = -1.0


def _matching(
    rule: KeepRule, lines: Sequence[str], kinds: Sequence[LineKind],
    paths: Mapping[int, Sequence[str]], protected: set[int],
) -> Iterable[int]:  # fmt: skip
    count = len(lines)
    name = re.compile(rf"(?<!\w){re.escape(rule.name)}(?!\w)") if rule.name else None
    near = (
        {place + step for place in protected if kinds[place] == "error" for step in range(-3, 4)}
        if rule.place == "error" else set[int]()
    )  # fmt: skip
    for place in paths:
        if rule.kind and kinds[place] != rule.kind:
            continue
        if rule.place == "first" and place * 10 >= count:
            continue
        if rule.place == "last" and (place + 1) * 10 <= 9 * count:
            continue
        if rule.place == "error" and place not in near:
            continue
        if rule.path and not any(
            fnmatchcase(path, rule.path) or fnmatchcase(path, f"*/{rule.path}")
            for path in paths[place]
        ):
            continue
        if name and not name.search(lines[place][:LONG]):
            continue
        yield place
