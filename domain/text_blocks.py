"""Into which blocks is a text cut? Records, functions, paragraphs and lone lines.

What must stay, and what only repeats it, is in none but those of a record.
"""

from collections.abc import Iterator, Sequence

from backcast.domain.line_worth import LineWorth
from backcast.domain.text_pieces import TextPiece

BLOCK = 12
"Lines of a block at most."
WHOLE, BODY = 60, 20
"Lines up to which a finding or a commit is taken whole, and a function as a block."
LEAST = 3
"Lines of a part of a block at least."
WORTHY = 3.0
"The worth from which on a line that is not indented is taken alone: it names what lies near."
_ALONE = ("verdict", "progress", "path", "heading", "reference")
"Kinds of lines that tell by themselves, where they are not indented."


def blocks_of(pieces: Sequence[TextPiece], known: LineWorth) -> Iterator[range]:
    """Yield the lines that may go, in blocks that end where a function, a class or a paragraph
    ends, without blank lines at their ends."""
    start: int | None = None
    wholes, end = dict[int, int](), 0
    for own in known.failing:
        if len(own) <= WHOLE:
            wholes[own.start] = own.stop
    for record in known.records:
        most = WHOLE if record.whole else BODY if record.kind == "function" else 0
        if record.stop - record.start <= most:
            wholes.setdefault(record.start, record.stop)
    for place, kind in enumerate((*known.kinds, "blank")):
        if place < end:
            continue
        if place in wholes:
            if start is not None:
                yield _trimmed(known, start, place)
            start, end = None, wholes[place]
            yield range(place, end)
            continue
        last = place == len(known.kinds)
        ends = last or place in known.protected or place in known.repeated
        tells = not last and (kind in _ALONE or known.worth[place] >= WORTHY)
        alone = tells and kind != "blank" and not known.bare[place][:1].isspace()
        if start is not None and (ends or alone or _begins(known, start, place)):
            yield _trimmed(known, start, place)
            start = None
        if ends or (kind == "blank" and start is None):
            continue
        if alone:
            yield range(place, place + 1)
        elif start is None:
            start = place


def _trimmed(known: LineWorth, start: int, stop: int) -> range:
    while stop > start and known.kinds[stop - 1] == "blank":
        stop -= 1
    return range(start, stop)


def _begins(known: LineWorth, start: int, place: int) -> bool:
    """Return whether a line begins another block than the one that starts at a place."""
    text = known.bare[place]
    if not text.strip():
        return False
    deep = _indent(text) > _indent(known.bare[start])
    above, size = known.kinds[place - 1] == "blank", place - start
    named = known.kinds[place] == "definition" and known.bare[place - 1].lstrip()[:1] != "@"
    if not deep and (named or text.lstrip()[:1] == "@" or (above and size >= LEAST)):
        return True
    return size >= BLOCK or (above and 3 * size >= 2 * BLOCK)


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())
