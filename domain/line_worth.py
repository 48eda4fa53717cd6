"""What is each line of an output worth to whoever asked? What must stay, and how the rest ranks.

The request is known by its words, its paths and symbols, and what lies near them: modules that are
1 to 4 imports away. All of it is read off the text; equal inputs give equal numbers.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from math import log
from typing import NamedTuple

from backcast.domain.action_evidence import PATH, SYMBOL, evidence_in
from backcast.domain.compression_settings import KeepRule, LineKind
from backcast.domain.output_lines import LONG, kinds_of

HOPS = 4
"Imports between what is asked about and what is still near it."
RANKED = 6_000
"Lines at each end of an output that are ranked by their words; the rest of a longer one is not."
BASES: Mapping[LineKind, float] = {
    "error": 4.0, "frame": 3.0, "cause": 3.0, "heading": 1.0, "definition": 1.5, "import": 1.0,
    "code": 0.9, "reference": 0.8, "path": 0.5, "plain": 0.6, "verdict": 0.2, "progress": 0.05,
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
_WORD = re.compile(r"[A-Za-z_]\w+")
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_PATHS = re.compile(r"[\w@+~.-]*(?:/[\w@+~.-]+)+|[\w@+~-][\w@+~.-]*\.\w{1,5}")
_VARIES = re.compile(r"0x[0-9a-fA-F]+|\d+")
_TESTED = re.compile(r"::\S+")
_SOUNDLESS = frozenset((
    "and", "are", "but", "can", "for", "from", "has", "have", "not", "that", "the", "this", "was",
    "what", "when", "where", "which", "will", "with", "you", "your", "should", "does", "its",
))  # fmt: skip


class TextRequest(NamedTuple):
    """What somebody wants of a text.

    >>> request = request_of("Why does add_item fail in shop/till.py?")
    >>> sorted(request.paths), sorted(request.symbols)
    (['shop/till.py'], ['add_item'])
    """

    words: frozenset[str] = frozenset()
    "Words in small letters, and the parts of those that have some."
    paths: frozenset[str] = frozenset()
    symbols: frozenset[str] = frozenset()
    near: tuple[tuple[str, int], ...] = ()
    "Paths that lie near, each with its distance from 1 to `HOPS`, sorted."


class LineWorth(NamedTuple):
    """What is known of each line of an output."""

    kinds: tuple[LineKind, ...]
    protected: frozenset[int]
    "Lines that must stay, by place."
    repeated: frozenset[int]
    "Lines that say what an earlier one that must stay has said."
    worth: tuple[float, ...]
    shapes: tuple[str, ...]
    "Each line without what varies: equal for lines that are like each other."


def request_of(text: str, near: Mapping[str, int] | None = None) -> TextRequest:
    """Return what a text asks for; `near` has the distance of paths that lie near."""
    evidence = evidence_in(text)
    found = set[str]()
    for word in _WORD.findall(text):
        found.update(part for part in _parts(word) if len(part) > 2)
    distances = sorted((near or {}).items())
    return TextRequest(
        frozenset(found - _SOUNDLESS),
        frozenset(thing.text for thing in evidence if thing.kind == PATH),
        frozenset(thing.text for thing in evidence if thing.kind == SYMBOL),
        tuple((path, hops) for path, hops in distances if 0 < hops <= HOPS),
    )


def worth_of(
    lines: Sequence[str], request: TextRequest, guideline: Sequence[KeepRule] = ()
) -> LineWorth:
    """Return what is known of each line for a request, by a guideline."""
    kinds = kinds_of(lines)
    shapes = [_shape(line) for line in lines]
    ranked = _ranked(len(lines))
    paths = {place: _PATHS.findall(lines[place][:LONG]) for place in ranked}
    protected, repeated = _protected(lines, kinds, paths, request)
    found = [BASES[kind] for kind in kinds]
    _add_words(found, lines, ranked, request)
    seen = Counter[str]()
    for place, shape in enumerate(shapes):
        seen[shape] += 1  # each further line like it tells less
        found[place] /= seen[shape] ** FURTHER
    _add_paths(found, paths, request)
    _add_places(found, sorted(protected))
    for rule in guideline:
        for place in _matching(rule, lines, kinds, paths, protected):
            found[place] += rule.worth
    return LineWorth(
        tuple(kinds),
        frozenset(protected),
        frozenset(repeated),
        tuple(round(value, 6) for value in found),
        tuple(shapes),
    )


def _ranked(count: int) -> Sequence[int]:
    if count <= 2 * RANKED:
        return range(count)
    return (*range(RANKED), *range(count - RANKED, count))


def _parts(word: str) -> Iterable[str]:
    yield word.lower()
    if "_" in word or (word != word.lower() and word != word.upper()):
        yield from (part.lower() for part in _PART.findall(word))


def _shape(line: str) -> str:
    short = _VARIES.sub("0", line[:LONG].strip())
    return _TESTED.sub("::", short) if "::" in short else short


def _protected(
    lines: Sequence[str], kinds: Sequence[LineKind], paths: Mapping[int, Sequence[str]],
    request: TextRequest,
) -> tuple[set[int], set[int]]:  # fmt: skip
    """Return the lines that must stay, and those that only repeat some of them.

    Errors stay, each once. The frames of a trace stay with the code that they show, unless an
    earlier trace has the very same. Of what the request touches the code stays, and the first
    line that names each path.
    """
    stay, again = set[int](), set[int]()
    for trace in _traces(lines, kinds):
        stay.update(trace)
    seen = set[tuple[str, ...]]()
    for trace in _traces(lines, kinds):
        key = tuple(_plain(lines[place]) for place in trace)
        if key in seen:
            stay.difference_update(trace)
            again.update(trace)
        seen.add(key)
    errors, begins = set[str](), True
    for place, kind in enumerate(kinds):
        if kind == "error":
            key_line = _plain(lines[place])
            # The first error behind a heading stays: it says why that test failed.
            (again if key_line in errors and not begins else stay).add(place)
            errors.add(key_line)
            begins = False
        elif kind == "heading" and lines[place].startswith("___"):
            begins = True
    _add_headings(stay, lines, kinds)
    named = set[str]()
    for place, found in paths.items():
        if place in again or kinds[place] in ("progress", "blank"):
            continue
        fresh = {path for path in found if _touches(path, request.paths)} - named
        if fresh:
            stay.add(place)
            named |= fresh
    if request.symbols:
        for place in paths:
            if kinds[place] in ("definition", "import", "code") and place not in again:
                words = _WORD.findall(lines[place][:LONG])
                if not request.symbols.isdisjoint(words):
                    stay.add(place)
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


def _add_headings(stay: set[int], lines: Sequence[str], kinds: Sequence[LineKind]) -> None:
    """Add the nearest heading above each error, which says what failed."""
    above: int | None = None
    for place, kind in enumerate(kinds):
        if kind == "heading":
            above = place
        elif place in stay and above is not None and not lines[place].startswith(("FAILED", "ERR")):
            stay.add(above)
            above = None


def _plain(line: str) -> str:
    """Return a line without spaces around and without what memory addresses it tells."""
    return re.sub(r"0x[0-9a-fA-F]+", "0x", line.strip())


def _touches(path: str, wanted: frozenset[str]) -> bool:
    if path in wanted:
        return True
    names = path.strip("./").split("/")
    return any("/".join(names[start:]) in wanted for start in range(len(names)))


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
        for word in _WORD.findall(lines[place][:LONG]):
            words.update(part for part in _parts(word) if part in request.words)
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


def _add_paths(
    found: list[float], paths: Mapping[int, Sequence[str]], request: TextRequest
) -> None:
    """Add what it is worth that a line names a path of the request, or one that lies near."""
    if not (request.paths or request.near):
        return
    near, named = dict(request.near), set[str]()
    for place, own in paths.items():
        if any(_touches(path, request.paths) for path in own):
            found[place] += 1.5
        for path in own if near else ():
            known = [other for other in near if _same(path, other)]
            for other in known:  # the first line that names it shows that it is on the way
                found[place] += (0.3 if other in named else 5.0) / (1 + near[other] / 2)
                named.add(other)


def _same(path: str, known: str) -> bool:
    short = path.strip("./")
    return short == known or short.endswith(f"/{known}") or known.endswith(f"/{short}")


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
