r"""What is left of a long text once it is compressed? Whole lines in their order; no model.

Errors, traces and what the request touches stay, each once; the rest stays by its worth until the
tokens are used up. Each gap tells how much is left out, and the head names the whole.

>>> def words(text): return len(text.split())
>>> text = "\n".join([*(f"step {n} done" for n in range(99)), "ValueError: no till", "end"])
>>> found = extracted(text, TextRequest(), 60, words, name="blob:0123456789ab")
>>> "ValueError: no till" in found.text, found.tokens <= 60, found.kept[-1]
(True, True, (100, 101))
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from backcast.domain.chosen_lines import GAP, LineChoice
from backcast.domain.compression_settings import SHARE, CompressionSettings, KeepRule
from backcast.domain.left_out import counts_left_out
from backcast.domain.line_worth import worth_of
from backcast.domain.message_parts import Count
from backcast.domain.output_lines import SIGNS
from backcast.domain.shown_lines import gap_names, gaps_of, rendered, spans_of
from backcast.domain.text_pieces import Span, pieces_of
from backcast.domain.text_request import TextRequest

COUNTED = 2**20
"Characters up to which a whole text is counted; the tokens of a longer one are estimated."
SAMPLE = 2**16
"Characters at each end of a longer text by which its tokens are estimated."
ASKED = 20
"Paths and symbols of a request that are looked for in such a text."
TRIES, FULL = 6, 0.99
"Tries to fill a target, and the share of it that is full enough."
SMALLER = 8
"Tokens by which a try that was too large is made smaller beyond what it was too large by."
BINARY = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f�]")
"Characters that no text has; a colour begins with another one."


class CompressedText(NamedTuple):
    """A text as it is shown, and what of it that is."""

    text: str
    tokens: int
    before: int
    "Tokens of the whole."
    kept: tuple[Span, ...] = ()
    "First and last line of what is shown, from 1."
    dropped: tuple[Span, ...] = ()
    protected: int = 0
    "Tokens of what had to stay."
    target: int = 0
    state: str = ""
    "compressed or offloaded; empty for a text that is shown as it is."
    estimated: bool = False
    "Whether the tokens of the whole were estimated, as it is long."

    @property
    def ratio(self) -> float:
        """How many times fewer tokens are shown."""
        return self.before / self.tokens if self.tokens else 1.0

    @property
    def facts(self) -> dict[str, object]:
        """What a log keeps of it, but for the texts."""
        return {
            "state": self.state, "tokens": self.tokens, "before": self.before,
            "ratio": round(self.ratio, 3), "target": self.target, "protected": self.protected,
            "kept": [list(span) for span in self.kept],
            "dropped": [list(span) for span in self.dropped],
        } | ({"estimated": True} if self.estimated else {})  # fmt: skip


def compressed(
    text: str, request: TextRequest, settings: CompressionSettings, count: Count, *,
    share: float = SHARE, name: str = "", tokens: int | None = None,
) -> CompressedText:  # fmt: skip
    """Return a text by some settings: as it is up to their limit, else its extracts.

    `share` is the largest share that may go under the model's profile, `name` that of the blob
    that holds the whole, and `tokens` are those of the whole where they are known.
    """
    before, estimated = (tokens, False) if tokens is not None else _tokens(text, count)
    goal = settings.goal(before, share)
    if goal is None:
        return CompressedText(text, before, before)
    found = extracted(
        text, request, goal.tokens, count, guideline=settings.guideline, name=name,
        offloads=goal.offloads, tokens=before,
    )  # fmt: skip
    return found._replace(estimated=estimated)


def extracted(
    text: str, request: TextRequest, target: int, count: Count, *,
    guideline: Sequence[KeepRule] = (), name: str = "", offloads: bool = False,
    tokens: int | None = None,
) -> CompressedText:  # fmt: skip
    """Return the extracts of a text within a target; what must stay may be more than that."""
    before = _tokens(text, count)[0] if tokens is None else tokens
    if _is_binary(text):
        return _binary(text, before, target, count, name)
    lines = max(1, text.count("\n") + (not text.endswith("\n")))
    pieces = pieces_of(text, (*SIGNS, *sorted(request.paths | request.symbols)[:ASKED]))
    texts = [piece.text for piece in pieces]
    known = worth_of(texts, request, guideline)
    costs = dict[int, int]()

    def cost(place: int) -> int:
        if place not in costs:
            costs[place] = count(pieces[place].text) + 1 if pieces[place].text.strip() else 1
        return costs[place]

    stay = sorted(known.protected)
    protected = sum(cost(place) for place in stay)
    state = "offloaded" if offloads else "compressed"
    top = _head(state, before, lines, lines, name)
    named = gap_names(known, target, count)
    room = max(0, target - protected - GAP * gaps_of(known.protected, len(pieces)) - count(top))
    choice = LineChoice(pieces, known, cost)
    chosen, shown, size = list[int](), "", -1
    for _ in range(TRIES):
        places = choice.chosen(room)
        hidden = lines - len({pieces[place].line for place in places})
        head = _head(state, before, hidden, lines, name)
        if counts := counts_left_out(known, texts, set(places)):
            head += f"\n{counts}"
        if protected > target:
            head += f"\n[what must stay has {protected:,} tokens, the target {target:,}]"
        found = rendered(pieces, known, places, head, lines, named)
        taken = count(found)
        if taken <= target or not room:
            if taken > size:
                chosen, shown, size = places, found, taken
            if not room or taken > FULL * target or len(places) == len(pieces):
                break
        # What a gap costs is only known once all are.
        room = max(0, room + target - taken - (SMALLER if taken > target else 0))
    if size < 0:
        places = sorted(known.protected)
        head = _head(state, before, lines - len({pieces[at].line for at in places}), lines, name)
        chosen, shown = places, rendered(pieces, known, places, head, lines, named)
        size = count(shown)
    if size >= before:  # nothing is gained where all had to stay
        return CompressedText(text, before, before, protected=protected, target=target)
    kept, dropped = spans_of(pieces, chosen, lines)
    return CompressedText(shown, size, before, kept, dropped, protected, target, state)


def _head(state: str, before: int, out: int, lines: int, name: str) -> str:
    where = f"; 'backcast cat {name}' prints it whole" if name else ""
    return f"[{state}: {out:,} of {lines:,} lines ({before:,} tokens in all) are left out{where}]"


def _tokens(text: str, count: Count) -> tuple[int, bool]:
    """Return the tokens of a text, and whether they are estimated."""
    if len(text) <= COUNTED:
        return count(text), False
    ends = count(text[:SAMPLE]) + count(text[-SAMPLE:])
    return round(ends * len(text) / (2 * SAMPLE)), True


def _is_binary(text: str) -> bool:
    sample = text[:SAMPLE]
    return len(BINARY.findall(sample)) * 20 > len(sample)


def _binary(text: str, before: int, target: int, count: Count, name: str) -> CompressedText:
    """Return a line that stands for what is no text."""
    where = f"; 'backcast cat {name}' prints it" if name else ""
    shown = f"[{len(text):,} characters that are no text{where}]"
    lines = text.count("\n") + 1
    return CompressedText(shown, count(shown), before, (), ((1, lines),), 0, target, "offloaded")
