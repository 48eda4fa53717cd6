"""Which lines of a text are shown within a room? What must stay, both ends, then whole blocks.

A reader makes little of single lines between gaps: so what may go is taken in blocks, such as a
function or a paragraph, a block beside what is shown already before one that stands alone, and one
that says something new before one that repeats what is shown. Findings and commits go as a whole
or not at all, and a line brings the key lines of its record.
"""

import heapq
import re
from collections.abc import Callable, Iterator, Sequence

from backcast.domain.line_worth import LineWorth
from backcast.domain.output_lines import LONG
from backcast.domain.shown_with import with_needed
from backcast.domain.text_blocks import LEAST, WHOLE, WORTHY, blocks_of
from backcast.domain.text_pieces import TextPiece

GAP = 7
"The usual tokens of a line that marks a gap."
APART = 30
"Tokens that a gap is worth: a block has to be better by so much to stand alone."
OUTLINE = 0.12
"The share of the room that is kept for the first lines of definitions whose bodies have none."
FIRST, LAST = 0.05, 0.15
"Shares of the room for the first and the last lines."
KNOWN = 0.3
"The share of its worth that a line has whose words have all been shown."
LENGTH = 0.6
"The power of its tokens by which a line is worth more."
CHARACTERS = 3
"The usual characters of a token of code."
TRIED = 20_000
"The blocks, from each end, for which there is a try to fit them in."
CLOSED = 3
"Lines of a gap that is rather closed than marked."
_WORD = re.compile(r"[A-Za-z_]\w{2,}")
Cost = Callable[[int], int]


class LineChoice:
    """The lines of a text, of which some are chosen."""

    def __init__(self, pieces: Sequence[TextPiece], known: LineWorth, cost: Cost) -> None:
        """Take the lines, what is known of each, and what says its tokens by place."""
        self._known, self._cost, self._count = known, cost, len(pieces)
        self._words = [frozenset(_WORD.findall(piece.text[:LONG])) for piece in pieces]
        # To count the tokens of each line would take longer than all else.
        self._sizes = [1 + len(piece.text.strip()) // CHARACTERS for piece in pieces]
        self._wholes = {
            place: range(record.start, record.stop) for record in known.records
            if record.whole and record.stop - record.start <= WHOLE
            for place in range(record.start, record.stop)
        }  # fmt: skip
        self._heads = {record.keys[0] for record in known.records if record.kind == "function"}
        found = list(blocks_of(pieces, known))
        self._blocks = found if len(found) <= 2 * TRIED else found[:TRIED] + found[-TRIED:]
        self._ends = {
            place: number for number, block in enumerate(self._blocks)
            for place in (block.start, block.stop - 1)
        }  # fmt: skip

    def chosen(self, room: int) -> list[int]:
        """Return the places that are shown, in order; what must stay takes none of the room."""
        shown = set(self._known.protected)
        fails = any(record.kind == "failure" for record in self._known.records)
        first, last = (0, 0) if fails else (int(room * FIRST), int(room * LAST))
        room -= self._taken(shown, range(self._count - 1, -1, -1), last)
        room -= self._taken(shown, range(self._count), first)
        said = set[str]()
        for place in sorted(shown):
            said |= self._words[place]
        kept = 0 if fails else int(room * OUTLINE)
        room -= kept
        heap = [(-self._gain(block, shown, said)[0], n) for n, block in enumerate(self._blocks)]
        heapq.heapify(heap)
        tried = set[int]()
        while heap and room > GAP:
            _, number = heapq.heappop(heap)
            gain, gaps, places = self._gain(self._blocks[number], shown, said)
            if number in tried or gain <= 0:
                continue
            if heap and -gain > heap[0][0]:  # what was shown since has made it worth less
                heapq.heappush(heap, (-gain, number))
                continue
            tried.add(number)
            tokens = sum(map(self._cost, places)) + gaps
            if tokens > room:
                places = self._part(self._blocks[number], places, shown, room - GAP)
                tokens = sum(map(self._cost, places)) + GAP
            if not places:
                continue
            room -= tokens
            for place in places:
                shown.add(place)
                said |= self._words[place]
            for place in self._beside(min(places), max(places)):
                if (other := self._ends.get(place)) is not None and other not in tried:
                    now = self._gain(self._blocks[other], shown, said)[0]
                    heapq.heappush(heap, (-now, other))
        room += kept
        room -= 0 if fails else self._outlined(shown, room)
        shown = self._closed(shown)
        self._filled(shown, room)
        return sorted(with_needed(shown, self._known.needed))

    def _outlined(self, shown: set[int], room: int) -> int:
        """Add the first lines of definitions whose bodies are left out, and return their tokens:
        they say by name what the gaps hold."""
        taken, worth = 0, self._known.worth
        heads = [place for place, kind in enumerate(self._known.kinds) if kind == "definition"]
        for place in sorted(heads, key=lambda place: (-worth[place], place)):
            tokens = self._cost(place) + GAP * (1 - self._met(place - 1, shown))
            fits = place not in shown and place not in self._known.repeated
            if fits and place not in self._wholes and taken + tokens <= room:
                taken += tokens
                shown.add(place)
        return taken

    def _filled(self, shown: set[int], room: int) -> None:
        """Use what is left of the room for lines behind those that are shown."""
        for place in range(1, self._count):
            fits = self._known.worth[place] >= 0 and place not in self._known.repeated
            if fits and place not in shown and place - 1 in shown:
                places = self._together(place, shown)
                tokens = sum(map(self._cost, places))
                if tokens <= room:
                    room -= tokens
                    shown.update(places)

    def _taken(self, shown: set[int], places: range, room: int) -> int:
        """Add places in turn as long as there is room, and return their tokens."""
        taken = 0
        for place in places:
            if place in shown:
                continue
            repeats = place in self._known.repeated or self._known.worth[place] < 0
            own = self._together(place, shown)
            tokens = sum(map(self._cost, own))
            if repeats or taken + tokens > room:
                break
            taken += tokens
            shown.update(own)
        return taken

    def _together(self, place: int, shown: set[int]) -> list[int]:
        """Return what is shown with a place: all of its record, or the key lines of that."""
        found = with_needed(self._wholes.get(place, (place,)), self._known.needed) - shown
        if place in self._wholes:
            return sorted(found)
        return sorted(other for other in found if other not in self._known.repeated)

    def _gain(self, block: range, shown: set[int], said: set[str]) -> tuple[float, int, list[int]]:
        """Return what a block is worth for its size, tokens of gaps, and what of it is added."""
        whole = block.start in self._wholes
        hidden = shown if whole else shown | self._known.repeated.keys()
        places = [place for place in block if place not in hidden]
        if not places:
            return 0.0, 0, places
        worth, tokens, own = 0.0, 0, set[str]()
        alone = len(block) == 1 and self._known.worth[block.start] >= WORTHY
        for place in places:
            words, cost = self._words[place], self._sizes[place]
            fresh = len(words - said - own) / len(words) if words else 0.0
            fresh = 1.0 if alone else fresh
            own |= words
            tokens += cost
            worth += self._known.worth[place] * (KNOWN + (1 - KNOWN) * fresh) * cost**LENGTH
        gaps = 1 - self._met(places[0] - 1, shown) - self._met(places[-1] + 1, shown)
        keys = {key for place in places for key in self._known.needed.get(place, ())}
        for key in sorted(keys.difference(places) - shown):
            places.append(key)
            tokens += self._sizes[key]
            gaps += key + 1 not in places
        return (
            round(worth / (tokens + (GAP if alone else APART) * max(0, gaps)), 6),
            GAP * gaps,
            sorted(places),
        )

    def _met(self, place: int, shown: set[int]) -> bool:
        """Return whether no gap begins at a place."""
        return place in shown or not 0 <= place < self._count

    def _part(self, block: range, places: list[int], shown: set[int], room: int) -> list[int]:
        """Return what of a block fits, from the side that is shown, or of a function from its
        first line; empty for too little."""
        if block.start in self._wholes:
            return []
        ahead = self._met(places[0] - 1, shown) or not self._met(places[-1] + 1, shown)
        found = list[int]()
        ahead = ahead or bool(self._heads.intersection(block))
        ahead = ahead and block not in self._known.failing
        for place in places if ahead else reversed(places):
            room -= self._cost(place)
            if room < 0:
                break
            found.append(place)
        return found if len(found) >= LEAST else []

    def _beside(self, first: int, last: int) -> Iterator[int]:
        """Yield the places of ends of blocks that lie beside some; blank lines lie between."""
        yield from range(max(0, first - 3), first)
        yield from range(last + 1, min(self._count, last + 4))

    def _closed(self, shown: set[int]) -> set[int]:
        """Return what is shown, with the gaps closed that hardly take more than what marks them."""
        more, before = set[int](), -1
        for place in sorted(shown):
            gap = range(before + 1, place)
            if 0 < len(gap) <= CLOSED and sum(map(self._cost, gap)) <= 2 * GAP:
                more.update(gap)
            before = place
        return shown | more
