"""An answer within the tokens that were asked for, with what is stale at its end."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from backcast.engine.interfaces.terminal import escaped_lines
from backcast.engine.models.tokenizers import Tokenizer

STALE_SHARE = 5
"A fifth of an answer at most tells what is stale."
LETTERS = 400
"Characters of a line; longer ones are cut."


class ToolAnswer(NamedTuple):
    """What a tool has to say, before it is cut."""

    lines: Sequence[str]
    "In order; of too many the last are left out."
    stale: Sequence[str]
    "What does not hold, a line each, behind its count."
    more: str = ""
    "How to get what was left out."
    chunks: Sequence[str] = ()
    "Parts behind the lines, the most wanted first; one that does not fit is passed over."


class FittedAnswer(NamedTuple):
    """The two blocks of an answer."""

    text: str
    stale: str


def fitted(answer: ToolAnswer, tokens: int, counter: Tokenizer) -> FittedAnswer:
    """Return an answer of at most `tokens` tokens, both blocks counted together."""
    stale = _prefix(answer.stale, tokens // STALE_SHARE, counter)
    room = tokens - counter.count(stale) - 1
    more = f"; {answer.more}" if answer.more else ""
    text = _prefix(answer.lines, room, counter, more)
    left_out = 0
    for chunk in answer.chunks:
        grown = f"{text}\n\n{_line(chunk, len(chunk))}"
        tail = f"\n… {len(answer.chunks)} more parts left out{more}"
        if counter.count(grown + tail) <= room:
            text = grown
        else:
            left_out += 1
    if left_out:
        tail = f"\n… {left_out} more part{'s' * (left_out > 1)} left out{more}"
        if counter.count(text + tail) <= room:
            text += tail
    return FittedAnswer(text, stale)


def _prefix(lines: Sequence[str], room: int, counter: Tokenizer, more: str = "") -> str:
    """Return as many of the first lines as fit, and how many more there are."""
    shown = [_line(line) for line in lines] or [""]

    def text(count: int) -> str:
        rest = len(shown) - count
        tail = [f"… {rest} more line{'s' * (rest > 1)} left out{more}"] if rest else []
        return "\n".join([*shown[:count], *tail])

    def beginning(size: int) -> str:
        return f"{shown[0][:size]}…"

    def long(found: str) -> bool:
        return counter.count(found) > room

    if not long(text(len(shown))):
        return text(len(shown))
    count = bisect_left(range(1, len(shown)), True, key=lambda count: long(text(count)))
    if count:
        return text(count)
    size = bisect_left(range(len(shown[0])), True, key=lambda size: long(beginning(size)))
    return beginning(max(0, size - 1))


def _line(text: str, most: int = LETTERS) -> str:
    text = escaped_lines(text.encode(errors="replace").decode())
    return text if len(text) <= most else f"{text[:most]}…"
