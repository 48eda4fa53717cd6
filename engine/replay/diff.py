"""Compare two prompts section by section, and explain each change."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from backcast.domain.context import Context
from backcast.domain.context_events import ContextBuilt
from backcast.engine.context.prefix import Prefix, compared
from backcast.engine.context.recorded import messages, template_of
from backcast.engine.log.blobs import ref_of
from backcast.engine.models.templates import PromptPiece, pieces
from backcast.engine.models.tokenizers import Encodes

AROUND = "system prompt, headings, template"
"Stands beside the sections for all tokens of a prompt that are in none of its items."


class Thing(NamedTuple):
    """One item of a prompt, recorded or built now."""

    node: str
    section: str
    level: str
    tokens: int
    text: str
    "Blob reference of the text shown."
    because: tuple[int, ...] = ()
    "Versions of the events that it came from, where known."
    priority: str = ""


class ComparablePrompt(NamedTuple):
    """A prompt ready for comparison, either recorded or built now."""

    name: str
    things: tuple[Thing, ...]
    omissions: Mapping[str, str]
    "Reason of each omission, by node."
    tokens: int
    room: int
    "Tokens that the prompt may have."
    pieces: Sequence[PromptPiece]


class ItemChange(NamedTuple):
    """One item that two prompts show differently."""

    section: str
    node: str
    kind: str
    "in, out, level, text, or moved to another section or place."
    before: str
    "Its level and tokens; empty where it is out."
    after: str
    tokens: int
    "Tokens more, or fewer where below 0."
    why: str
    because: tuple[int, ...] = ()


class Diff(NamedTuple):
    """The differences between two prompts."""

    before: str
    after: str
    tokens: tuple[int, int]
    room: tuple[int, int]
    sections: tuple[tuple[str, int, int], ...]
    "Each section with the tokens of its items before and after; last what stands around them."
    changes: tuple[ItemChange, ...]
    shared: Prefix | None
    "Leading tokens that both prompts share."
    prefix: tuple[Prefix | None, Prefix | None] = (None, None)
    "Leading tokens that each shares with the prompt before: llama.cpp need not read them again."

    @property
    def same(self) -> bool:
        """Whether both prompts are the same to the byte."""
        return self.shared is not None and self.tokens[0] == self.tokens[1] == self.shared.tokens


def built(name: str, context: Context, template: str) -> ComparablePrompt:
    """Return a prompt that was built now, ready for comparison."""
    things = tuple(
        Thing(item.node, item.section, item.level, item.tokens,
              ref_of(item.text.encode(errors="surrogatepass")), item.because, item.priority)
        for item in context.items
    )  # fmt: skip
    omissions = {item.node: item.reason for item in reversed(context.omissions)}
    room = context.window - context.reserve
    prompt_pieces = pieces(template, context.messages)
    return ComparablePrompt(name, things, omissions, context.tokens, room, prompt_pieces)


def recorded(
    name: str, fact: ContextBuilt, read: Callable[[str], bytes], room: int
) -> ComparablePrompt:
    """Return a recorded prompt, ready for comparison; `read` gets a blob."""
    things = tuple(
        Thing(one.node, one.section, one.level, one.tokens, one.text or "") for one in fact.items
    )
    omissions = {item.node: item.reason for item in reversed(fact.omissions)}
    prompt_pieces = pieces(template_of(fact, read), messages(fact, read))
    return ComparablePrompt(name, things, omissions, fact.tokens or 0, room, prompt_pieces)


def diff(
    before: ComparablePrompt,
    after: ComparablePrompt,
    tokenizer: Encodes,
    last: Sequence[PromptPiece] | None = None,
) -> Diff:
    """Compare two prompts; `last` is the prompt that was asked before either."""
    prefix = (None, None) if last is None else (
        compared(last, before.pieces, tokenizer), compared(last, after.pieces, tokenizer)
    )  # fmt: skip
    return Diff(
        before.name, after.name, (before.tokens, after.tokens), (before.room, after.room),
        tuple(_sections(before, after)), tuple(changes(before, after)),
        compared(before.pieces, after.pieces, tokenizer), prefix,
    )  # fmt: skip


def changes(before: ComparablePrompt, after: ComparablePrompt) -> Iterator[ItemChange]:
    """Yield the changed items in the order of the later prompt, then the items that are out."""
    old, new = ({thing.node: thing for thing in prompt.things} for prompt in (before, after))
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
    """Return a longest sequence of nodes that stand in the same order in both."""
    places = {node: place for place, node in enumerate(old)}
    # Patience: the ends of the best rising sequences by length, and what stood before each.
    ends: list[int] = []
    tails: list[str] = []
    before: dict[str, str | None] = {}
    for node in new:
        place = bisect_left(ends, places[node])
        before[node] = tails[place - 1] if place else None
        ends[place : place + 1], tails[place : place + 1] = [places[node]], [node]
    nodes, current = set[str](), tails[-1] if tails else None
    while current is not None:
        nodes.add(current)
        current = before[current]
    return nodes


def _how(thing: Thing) -> str:
    return f"{thing.level}, {thing.tokens} tokens"


def _sections(before: ComparablePrompt, after: ComparablePrompt) -> Iterator[tuple[str, int, int]]:
    for section in dict.fromkeys(thing.section for thing in (*before.things, *after.things)):
        was, now = (
            sum(thing.tokens for thing in prompt.things if thing.section == section)
            for prompt in (before, after)
        )
        yield section, was, now
    # The whole prompt is counted at once, so what stands around its items is what they leave.
    around = [
        prompt.tokens - sum(thing.tokens for thing in prompt.things) for prompt in (before, after)
    ]
    yield AROUND, around[0], around[1]
