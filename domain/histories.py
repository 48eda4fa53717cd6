"""How are an agent's earlier messages shown in a later prompt? Pure functions on a prompt's parts.

Each leaves what was said before the model's first answer, and every action and thought, as it is;
only `latest_turns` and `compacted` leave earlier turns out. The same transforms serve recorded runs
that are tried under other policies, and whatever builds prompts of a history.

>>> def words(text): return len(text.split())
>>> def result(turn): return MessagePart("tool", "result", "a " * 50, 50, turn, "bash", f"c{turn}")
>>> prompt = [MessagePart("user", "message", "Mend it.", 2), result(1), result(2), result(3)]
>>> [part.tokens for part in masked(prompt, 1, 1, words)]
[2, 6, 6, 50]
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from backcast.domain.compaction import summary_of
from backcast.domain.compression import compressed
from backcast.domain.compression_settings import CompressionSettings
from backcast.domain.error_lines import cut, numbered_errors
from backcast.domain.message_parts import (
    CALL,
    MASKED,
    MESSAGE,
    OFFLOADED,
    RESULT,
    SUPERSEDED,
    Count,
    MessagePart,
    in_line,
    shorter,
    shown_call,
    total,
)
from backcast.domain.message_settings import MessageSettings
from backcast.domain.text_request import TextRequest, request_of


class ShownHistory(NamedTuple):
    """A prompt under a policy."""

    parts: tuple[MessagePart, ...]
    compacted: int = 0
    "The last turn that a summary stands for; the next prompt of the run begins with the same."


def shaped(
    parts: Sequence[MessagePart], settings: MessageSettings, count: Count, compacted_to: int = 0
) -> ShownHistory:
    """Return a prompt under a policy; `compacted_to` is that of the run's prompt before it."""
    shown = tuple(parts)
    if settings.last_turns is not None:
        shown = latest_turns(shown, settings.last_turns)
    if settings.drop_superseded:
        shown = latest_reads(shown, count)
    if settings.mask_after is not None:
        shown = masked(shown, settings.mask_after, settings.mask_step, count)
    if settings.compress is not None:
        shown = compressed_results(shown, settings.compress, count)
    if settings.offload_over is not None:
        shown = offloaded(shown, settings.offload_over, settings.preview, count)
    if settings.compact_at is None:
        return ShownHistory(shown)
    return compacted(parts, shown, settings, count, compacted_to)


def last_turn(parts: Sequence[MessagePart]) -> int:
    """Return the number of the last turn in a prompt."""
    return max((part.turn for part in parts), default=0)


def latest_turns(parts: Sequence[MessagePart], turns: int) -> tuple[MessagePart, ...]:
    """Return a prompt with its last turns alone, behind what was said before the first."""
    border = last_turn(parts) - turns
    return tuple(part for part in parts if not part.turn or part.turn > border)


def masked(
    parts: Sequence[MessagePart], turns: int, step: int, count: Count
) -> tuple[MessagePart, ...]:
    """Return a prompt whose results are lines, but for those of its last turns.

    The border moves on once for each `step` turns, so that prompts between begin alike.
    """
    border = max(0, last_turn(parts) - turns)
    border -= border % step
    return tuple(
        in_line(part, MASKED, count)
        if part.kind == RESULT and 0 < part.turn <= border and not part.state
        else part
        for part in parts
    )


def offloaded(
    parts: Sequence[MessagePart], over: int, preview: int, count: Count
) -> tuple[MessagePart, ...]:
    """Return a prompt whose large results are previews with the name of the blob that holds all."""
    return tuple(
        _previewed(part, preview, count)
        if part.kind == RESULT and part.tokens > over and part.ref and not part.state
        else part
        for part in parts
    )


def compressed_results(
    parts: Sequence[MessagePart], settings: CompressionSettings, count: Count
) -> tuple[MessagePart, ...]:
    """Return a prompt whose long results are compressed, each for what was asked when it came.

    That is what was last said to the model, what the model said before the call, and the call,
    with the words of the task, which was said first: so a result stays the same in all later
    prompts.
    """
    return tuple(
        _compressed(part, asked_at(parts, place), settings, count)
        if part.kind == RESULT and part.tokens > settings.over and not part.state
        else part
        for place, part in enumerate(parts)
    )


def asked_at(parts: Sequence[MessagePart], place: int) -> TextRequest:
    """Return what is asked of the part at a place: see `compressed_results`."""
    turn, said = parts[place].turn, list[str]()
    asked = [part.text for part in parts[:place] if part.kind == MESSAGE and part.role == "user"]
    for part in reversed(parts[:place]):
        if part.kind == MESSAGE and part.role == "user":
            break
        if part.turn == turn and part.kind in (MESSAGE, CALL) and part.role == "assistant":
            said.insert(0, part.text)
    # What was said last may be a mere reminder of the form of an answer; what a long task names is
    # mostly over.
    return _asked("\n".join((*asked[-1:], *said)), task="".join(asked[:1]))


_asked = lru_cache(4096)(request_of)


@lru_cache(4096)
def _compressed(
    part: MessagePart, request: TextRequest, settings: CompressionSettings, count: Count
) -> MessagePart:
    found = compressed(
        part.text, request, settings, count, name=part.name if part.ref else "", tokens=part.tokens
    )
    return shorter(part, found.text, found.state, count) if found.state else part


@lru_cache(4096)  # a prompt shows most of what the one before it showed
def _previewed(part: MessagePart, most: int, count: Count) -> MessagePart:
    lines = part.text.splitlines()
    failed = ", failed" if part.failed else ""
    head = (
        f"[result of {shown_call(part)}: {part.tokens:,} tokens in {len(lines):,} lines{failed},"
        f" offloaded; 'backcast cat {part.name}' prints it whole]"
    )
    room = most - count(head)
    while True:
        text = "\n".join((head, *_preview(lines, room, count)))
        if count(text) <= most or room <= 0:
            return shorter(part, text, OFFLOADED, count)
        room -= max(1, room // 8)


def _preview(lines: list[str], room: int, count: Count) -> Iterator[str]:
    """Yield the lines that tell of errors, in a third of the room, then the first and the last."""
    errors = [place for place, _ in numbered_errors(lines)]
    shown = _fitting(errors, lines, room // 3, count, gaps=True)
    room -= sum(count(cut(lines[place])) + 1 for place in shown)
    first = _fitting(range(len(lines)), lines, room // 2, count)
    last = _fitting(range(len(lines) - 1, len(first) - 1, -1), lines, room // 2, count)
    apart = sorted({*shown} - {*first} - {*last})
    if apart:
        yield "[errors in it]"
        yield from (cut(lines[place]) for place in apart)
        yield "[its first lines]"
    yield from (cut(lines[place]) for place in first)
    yield f"[{len(lines) - len(first) - len(last):,} lines left out]"
    yield from (cut(lines[place]) for place in sorted(last))


def _fitting(
    places: Sequence[int], lines: list[str], room: int, count: Count, *, gaps: bool = False
) -> list[int]:
    """Return the first places whose lines fit; with `gaps` those behind one that does not, too."""
    found = list[int]()
    for place in places:
        tokens = count(cut(lines[place])) + 1
        if tokens <= room:
            found.append(place)
            room -= tokens
        elif not gaps:
            break
    return found


def latest_reads(parts: Sequence[MessagePart], count: Count) -> tuple[MessagePart, ...]:
    """Return a prompt in which of the reads of the same lines only the last is shown.

    A change of the file ends an earlier read too, where the text that it left is known.
    """
    later: dict[str, list[MessagePart]] = {}
    shown = list[MessagePart]()
    for part in reversed(parts):
        if part.kind == RESULT and not part.failed:
            before = part
            if part.reads and not part.state:
                part = _superseded(part, later.get(part.reads.path, ()), count)
            path = before.writes or (before.reads.path if before.reads else "")
            if path:
                later.setdefault(path, []).append(before)
        shown.append(part)
    return tuple(reversed(shown))


def _superseded(part: MessagePart, later: Sequence[MessagePart], count: Count) -> MessagePart:
    for after in reversed(later):  # the next one in the prompt comes first
        if after.writes and after.leaves:
            now = after._replace(ref=after.leaves).name
            return in_line(part, SUPERSEDED, count, f" by a change of the file, which is {now} now")
        if after.writes and after.whole:
            return in_line(part, SUPERSEDED, count, " by a write of the whole file")
        if part.reads and after.reads and after.reads.covers(part.reads):
            return in_line(part, SUPERSEDED, count, " by a later read")
    return part


def compacted(
    parts: Sequence[MessagePart],
    shown: Sequence[MessagePart],
    settings: MessageSettings,
    count: Count,
    before: int,
) -> ShownHistory:
    """Return a prompt whose earlier turns are a summary, once it has grown too large.

    The summary is made of the parts as they were. It stays the same until the prompt is too large
    again, so that prompts between two such points begin alike.
    """
    last = last_turn(parts)
    border = before if before <= last else 0  # an agent that began anew has fewer turns
    found = _behind_summary(parts, shown, border, settings, count)
    if settings.compact_at is not None and total(found) > settings.compact_at:
        further = last - settings.compact_keep
        if further > border:
            trial = _behind_summary(parts, shown, further, settings, count)
            if total(trial) < total(found):
                return ShownHistory(trial, further)
    return ShownHistory(found, border)


def _behind_summary(
    parts: Sequence[MessagePart],
    shown: Sequence[MessagePart],
    border: int,
    settings: MessageSettings,
    count: Count,
) -> tuple[MessagePart, ...]:
    if not border:
        return tuple(shown)
    head = tuple(part for part in shown if not part.turn)
    tail = tuple(part for part in shown if part.turn > border)
    earlier = [part for part in parts if part.turn <= border]
    return (*head, summary_of(earlier, border, settings.compact_to, count), *tail)
