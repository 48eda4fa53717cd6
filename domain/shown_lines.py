"""How is a choice of lines shown as a text? Whole lines, and a line for each gap between them.

A gap tells how many lines are missing and of which kind, and it names the modules near what was
asked about that only its lines name: the way from one module to another stays, whatever is shown
of it.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from typing import NamedTuple

from backcast.domain.line_worth import LineWorth
from backcast.domain.message_parts import Count
from backcast.domain.text_pieces import Span, TextPiece
from backcast.domain.touched_worth import NearPath

NEAR = 0.6
"The share of a target for the names of modules near what is asked about."
_VERDICTS = re.compile(r"\b(?:PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS|RERUN|PASS|OK)\b")


class GapNames(NamedTuple):
    """The modules near what is asked about that gaps may name."""

    near: Sequence[NearPath] = ()
    "The nearest first."
    costs: Sequence[int] = ()
    "The tokens of each name in a gap."
    room: int = 0

    def hidden(self, shown: Set[int]) -> dict[int, list[str]]:
        """Return the paths that no shown place names, as many as there is room for, by the first
        place that does."""
        room, found = self.room, dict[int, list[str]]()
        for near, cost in zip(self.near, self.costs, strict=True):
            if shown.isdisjoint(near.places):
                room -= cost
                if room < 0:
                    break
                found.setdefault(near.places[0], []).append(near.path)
        return found


def gap_names(known: LineWorth, target: int, count: Count) -> GapNames:
    """Return the names for the gaps of a text that is brought to a target."""
    return GapNames(known.near, [count(near.path) + 2 for near in known.near], int(NEAR * target))


def gaps_of(shown: frozenset[int], count: int) -> int:
    """Return how many gaps some places leave among all."""
    begins = sum(place - 1 not in shown for place in shown)
    return begins + 1 if count else 0


def rendered(
    pieces: Sequence[TextPiece], known: LineWorth, chosen: Sequence[int], head: str, lines: int,
    names: GapNames,
) -> str:  # fmt: skip
    """Return what is shown as a text, with a line for each gap."""
    shown = set(chosen)
    parts, before, hidden = [head], -1, names.hidden(shown)
    for place in (*chosen, len(pieces)):
        gap = range(before + 1, place)
        left_out = _gap(pieces, known, before, gap, lines, shown)
        if near := [path for at in sorted(hidden) if at in gap for path in hidden[at]]:
            left_out = f"{left_out.removesuffix(']')}; modules near by in them: {', '.join(near)}]"
        if left_out:
            parts.append(f"\n{left_out}")
        if place < len(pieces):
            joins = pieces[place].joins and not left_out
            parts.append(pieces[place].text if joins else f"\n{pieces[place].text}")
        before = place
    return "".join(parts)


def _gap(
    pieces: Sequence[TextPiece], known: LineWorth, above: int, gap: range, lines: int,
    shown: Set[int],
) -> str:  # fmt: skip
    """Return the line that tells what is left out before a piece; empty for nothing."""
    first = pieces[above].line if above >= 0 else 0
    last = pieces[gap.stop].line if gap.stop < len(pieces) else lines + 1
    count = last - first - 1
    if count <= 0:
        hidden = sum(len(pieces[place].text) for place in gap)
        return f"[… {hidden:,} characters of this line]" if hidden else ""
    counted = f"{count:,} line{'s' if count > 1 else ''}"
    if not gap or len({pieces[place].line for place in gap}) < count:
        return f"[… {counted}]"
    if all(known.kinds[place] in ("verdict", "blank") for place in gap):
        words = Counter(
            word for place in gap for word in _VERDICTS.findall(pieces[place].text.upper())[-1:]
        )
        if words:
            verdicts = ", ".join(f"{number:,} {word}" for word, number in sorted(words.items()))
            return f"[… {counted}: {verdicts}]"
    if above >= 0 and all(known.shapes[place] == known.shapes[above] for place in gap):
        return f"[… {counted} like it]"
    again = [place for place in gap if known.repeated.get(place, -1) in shown]
    plain = set(gap).difference(again)
    if again and all(known.kinds[place] == "blank" for place in plain):
        return f"[… {counted} {_where(known, again)}]"
    if 2 * len(again) > count:
        return f"[… {counted}, {len(again):,} {_where(known, again)}]"
    return f"[… {counted}]"


def _where(known: LineWorth, again: Sequence[int]) -> str:
    """Return where some lines stand that are not shown again: the record's name, if it has one."""
    starts = sorted({known.repeated[place] for place in again})
    names = dict[str, None]()
    for record in known.records:
        if record.kind in ("failure", "finding", "commit"):
            within = any(record.start <= place < record.stop for place in (starts[0], starts[-1]))
            own = record.start <= again[0] < record.stop
            if within and not own:
                names[record.name] = None
    return f"as in {' and '.join(names)}" if 0 < len(names) <= 2 else "as above"


def spans_of(
    pieces: Sequence[TextPiece], chosen: Sequence[int], lines: int
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Return the lines that are shown and those that are not; a line in part is among both."""
    shown = set(chosen)
    kept = sorted({pieces[place].line for place in chosen})
    whole = set(kept) - {piece.line for at, piece in enumerate(pieces) if at not in shown}
    dropped, before = list[Span](), 0
    for line in (*sorted(whole), lines + 1):
        if line > before + 1:
            dropped.append((before + 1, line - 1))
        before = line
    return tuple(_joined(kept)), tuple(dropped)


def _joined(numbers: Sequence[int]) -> Iterator[Span]:
    """Yield numbers that rise as first and last of those in a row."""
    for place, number in enumerate(numbers):
        if not place or number > numbers[place - 1] + 1:
            first = number
        if place + 1 == len(numbers) or numbers[place + 1] > number + 1:
            yield first, number
