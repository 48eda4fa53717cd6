"""What differs between two prompts, section by section, and why."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from backcast.domain.context import Context
from backcast.domain.events import ContextBuilt
from backcast.engine.context.prefix import Prefix, compared
from backcast.engine.context.recorded import messages
from backcast.engine.log.blobs import ref_of
from backcast.engine.models.templates import PromptPiece, pieces
from backcast.engine.models.tokenizers import Encodes


class Thing(NamedTuple):
    """One thing in a prompt."""

    node: str
    section: str
    level: str
    tokens: int
    text: str
    "The blob of what is shown."
    because: tuple[int, ...] = ()
    "The versions of the events that it came from, where they are known."
    priority: str = ""


class ComparablePrompt(NamedTuple):
    """A prompt that can be compared: a recorded one, or one that was built now."""

    name: str
    things: tuple[Thing, ...]
    omissions: Mapping[str, str]
    "Why something is not in it, by node."
    tokens: int
    room: int
    "Tokens that it may have."
    pieces: Sequence[PromptPiece]


class ItemChange(NamedTuple):
    """One thing that two prompts do not show alike."""

    section: str
    node: str
    kind: str
    "in, out, level, text, or moved to another section or place."
    before: str
    "Its level, and its tokens; empty where it is not in."
    after: str
    tokens: int
    "Tokens more, or fewer where below 0."
    why: str
    because: tuple[int, ...] = ()


class Diff(NamedTuple):
    """What differs between two prompts."""

    before: str
    after: str
    tokens: tuple[int, int]
    room: tuple[int, int]
    sections: tuple[tuple[str, int, int], ...]
    "Section, and the tokens of its items in each."
    changes: tuple[ItemChange, ...]
    shared: Prefix | None
    "What the later one shares with the earlier from its beginning."
    prefix: tuple[Prefix | None, Prefix | None] = (None, None)
    "What each shares with the prompt that was asked before: what llama.cpp need not read again."

    @property
    def same(self) -> bool:
        """Whether both are the same to the byte."""
        return self.shared is not None and self.tokens[0] == self.tokens[1] == self.shared.tokens


def built(name: str, context: Context, template: str) -> ComparablePrompt:
    """A prompt that was built now."""
    things = tuple(
        Thing(one.node, one.section, one.level, one.tokens,
              ref_of(one.text.encode(errors="surrogatepass")), one.because, one.priority)
        for one in context.items
    )  # fmt: skip
    omissions = {one.node: one.reason for one in reversed(context.omissions)}
    room = context.window - context.reserve
    told = pieces(template, context.messages)
    return ComparablePrompt(name, things, omissions, context.tokens, room, told)


def recorded(
    name: str, fact: ContextBuilt, read: Callable[[str], bytes], room: int
) -> ComparablePrompt:
    """A prompt as it was recorded."""
    things = tuple(
        Thing(one.node, one.section, one.level, one.tokens, one.text or "") for one in fact.items
    )
    omissions = {one.node: one.reason for one in reversed(fact.omissions)}
    told = pieces(fact.template or "", messages(fact, read))
    return ComparablePrompt(name, things, omissions, fact.tokens or 0, room, told)


def diff(
    before: ComparablePrompt,
    after: ComparablePrompt,
    tokenizer: Encodes,
    last: Sequence[PromptPiece] | None = None,
) -> Diff:
    """What differs; `last` is the prompt that was asked before either."""
    prefix = (None, None) if last is None else (
        compared(last, before.pieces, tokenizer), compared(last, after.pieces, tokenizer)
    )  # fmt: skip
    return Diff(
        before.name, after.name, (before.tokens, after.tokens), (before.room, after.room),
        tuple(_sections(before, after)), tuple(changes(before, after)),
        compared(before.pieces, after.pieces, tokenizer), prefix,
    )  # fmt: skip


def changes(before: ComparablePrompt, after: ComparablePrompt) -> Iterator[ItemChange]:
    """What is not shown alike, in the order of the later prompt; what is out follows."""
    old, new = ({one.node: one for one in prompt.things} for prompt in (before, after))
    kept = _in_order([node for node in old if node in new], [node for node in new if node in old])
    for node, now in new.items():
        was = old.get(node)
        if was is None:
            why = before.omissions.get(node, "not offered before")
            yield ItemChange(now.section, node, "in", "", _how(now), now.tokens, why, now.because)
        elif kind := _kind(was, now, node in kept):
            why = f"from {was.section}" if was.section != now.section else ""
            more = now.tokens - was.tokens
            yield ItemChange(
                now.section, node, kind, _how(was), _how(now), more, why, now.because
            )  # fmt: skip
    for node, was in old.items():
        if node not in new:
            why = after.omissions.get(node, "not offered now")
            yield ItemChange(was.section, node, "out", _how(was), "", -was.tokens, why, was.because)


def _kind(was: Thing, now: Thing, in_order: bool) -> str:
    if was.level != now.level:
        return "level"
    if was.text != now.text:
        return "text"
    return "" if was.section == now.section and in_order else "moved"


def _in_order(old: Sequence[str], new: Sequence[str]) -> set[str]:
    """The nodes that stand in the same order in both: a longest such sequence."""
    places = {node: place for place, node in enumerate(old)}
    # Patience: the ends of the best rising sequences by length, and what stood before each.
    ends: list[int] = []
    tails: list[str] = []
    before: dict[str, str | None] = {}
    for node in new:
        place = bisect_left(ends, places[node])
        before[node] = tails[place - 1] if place else None
        ends[place : place + 1], tails[place : place + 1] = [places[node]], [node]
    found, node_now = set[str](), tails[-1] if tails else None
    while node_now is not None:
        found.add(node_now)
        node_now = before[node_now]
    return found


def _how(one: Thing) -> str:
    return f"{one.level}, {one.tokens} tokens"


def _sections(before: ComparablePrompt, after: ComparablePrompt) -> Iterator[tuple[str, int, int]]:
    those = [*before.things, *after.things]
    for section in dict.fromkeys(one.section for one in those):
        was, now = (
            sum(one.tokens for one in prompt.things if one.section == section)
            for prompt in (before, after)
        )
        yield section, was, now
