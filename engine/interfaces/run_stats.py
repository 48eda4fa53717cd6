"""What the calls of a run cost and what they were shown: gathered, as a table, and as JSON."""

from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, NamedTuple

from backcast.domain.context import LEVELS
from backcast.domain.errors import DamagedError
from backcast.engine.history.snapshots import states_of
from backcast.engine.history.state_json import plain
from backcast.engine.interfaces.addresses import Place
from backcast.engine.interfaces.anatomy_text import group_of
from backcast.engine.log.exchanges.bodies import part_text
from backcast.engine.log.exchanges.requests import RequestReader
from backcast.engine.replay.agent_prompt import AgentPrompt
from backcast.engine.replay.agent_prompts import agent_prompts, has_messages
from backcast.engine.replay.foreign_prompts import UNCOUNTED
from backcast.engine.replay.reads_again import RepeatedRead, repeated_reads
from backcast.projections import calls, compressions, online_cache, prefixes

FIGURES = {"prompt": "prompt tokens", "answer": "answer tokens", "cached": "tokens kept by the"
           " server", "seconds": "time"}  # fmt: skip
"What a table calls the figures that a call may not tell."
CHAT = {"": "not named", "chat": "chat"}


class CallSections(NamedTuple):
    """A prompt by section, or by kind of part, and how much of it the call before had shown."""

    version: int
    kind: str
    tokens: tuple[tuple[str, int], ...]
    kept: float | None
    "The share of the prompt that was the same as before; None where nobody tells."


class RunStats(NamedTuple):
    """The statistics of a task's calls at a moment."""

    task: str
    version: int
    kinds: list[calls.KindOfCall]
    thinking: dict[str, int]
    "Tokens of the thoughts, by kind of call."
    first_bytes: list[float]
    "Seconds to the first byte of each answer that tells it, in order of size."
    state: calls.State
    counters: online_cache.Counters | None
    "None where no prompt names what it shows."
    prompts: list[CallSections]
    unread: int
    "Requests that cannot be read, as texts of theirs are gone."
    prefixes: prefixes.State
    compressed: compressions.State
    reads: int
    "Reads of files that an agent's prompts showed."
    again: list[RepeatedRead]
    "What was read again."


def gathered(place: Place, count: Callable[[str], int]) -> RunStats:
    """Return the statistics of a task at a moment; `count` counts what nobody else did."""
    store, task, moment = place.store, place.task, place.moment
    folded = [calls, online_cache, prefixes, compressions]
    state, hand, warm, short = states_of(store, folded, task, moment)
    unread = list[int]()
    parts = _parts(place, state, count, unread)
    agents = [*agent_prompts(store, task, count)] if has_messages(store, task) else []
    agents = [prompt for prompt in agents if prompt.version in state.calls]
    parts |= {prompt.version: _by_kind(prompt) for prompt in agents if prompt.formed}
    thinking: dict[str, int] = {}
    prompts, first = [], []
    for version in sorted(state.calls):
        call = state.calls[version]
        if call.thinking is not None:
            tokens = count(store.get(call.thinking).decode(errors="replace"))
            thinking[call.kind] = thinking.get(call.kind, 0) + tokens
        if call.first_byte is not None:
            first.append(call.first_byte)
        if tokens_by := parts.get(version) or call.sections:
            prompts.append(CallSections(version, call.kind, tokens_by, _kept(call)))
    return RunStats(
        task, store.version_at(task, moment), calls.by_kind(state), thinking, sorted(first), state,
        hand.counters if len(state.shown) else None, prompts, len(unread), warm,
        short, *repeated_reads(agents),
    )  # fmt: skip


def _by_kind(prompt: AgentPrompt) -> tuple[tuple[str, int], ...]:
    """Return the tokens of a formed prompt by kind of part."""
    sums: dict[str, int] = {}
    for part in prompt.parts:
        name = group_of(part.kind, part.role)
        sums[name] = sums.get(name, 0) + part.tokens
    return tuple(sums.items())


def _kept(call: calls.AskedCall) -> float | None:
    if call.cached is not None and call.prompt:
        return min(1.0, call.cached / call.prompt)
    return min(1.0, call.shared / call.built) if call.shared is not None and call.built else None


def _parts(
    place: Place, state: calls.State, count: Callable[[str], int], unread: list[int]
) -> dict[int, tuple[tuple[str, int], ...]]:
    """Return the tokens of the requests of other programs by kind of part."""
    found: dict[int, tuple[tuple[str, int], ...]] = {}
    counted: dict[str, int] = {}
    reader = RequestReader(place.store, place.task)
    for version in (v for v in sorted(state.calls) if state.calls[v].foreign):
        sums: dict[str, int] = {}
        try:
            for part in reader.parts(version) if _is_prompt(place, version) else ():
                if part.kind in UNCOUNTED:
                    continue
                if part.text not in counted:
                    text = part_text(place.store.get(part.text)) if part.tokens is None else ""
                    counted[part.text] = count(text) if part.tokens is None else part.tokens
                name = group_of(part.kind, part.role)
                sums[name] = sums.get(name, 0) + counted[part.text]
        except (DamagedError, ValueError):
            unread.append(version)
            continue
        found[version] = tuple(sums.items())
    return found


def _is_prompt(place: Place, version: int) -> bool:
    """Return whether an event is a prompt: a reply to one that was asked again has none."""
    [event] = place.store.read(place.task, after=version - 1, last=version)
    return event.type == "CONTEXT_BUILT"


def kind_rows(found: RunStats) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the calls by kind: heads first."""
    yield "call", "calls", "prompt", "kept", "answer", "thoughts", "seconds", "ended"
    for row in found.kinds:
        ended = ", ".join(f"{count} {name or 'open'}" for name, count in row.outcomes)
        thoughts = found.thinking.get(row.kind)
        yield (
            CHAT.get(row.kind, row.kind), str(row.calls), _sum(row, "prompt"), _sum(row, "cached"),
            _sum(row, "answer"), _number(thoughts), _sum(row, "seconds"), ended,
        )  # fmt: skip


def section_rows(found: RunStats) -> Iterator[tuple[str, ...]]:
    """Yield the rows of what all prompts showed, by section or kind of part: heads first."""
    sums: dict[str, list[int]] = {}
    for prompt in found.prompts:
        for name, tokens in prompt.tokens:
            row = sums.setdefault(name, [0, 0])
            row[0], row[1] = row[0] + 1, row[1] + tokens
    every = sum(tokens for _, tokens in sums.values()) or 1
    yield "shown", "prompts", "tokens", "share", "online", "offline", "made", "in full", "by less"
    for name, (prompts, tokens) in sorted(sums.items(), key=lambda pair: (-pair[1][1], pair[0])):
        share = f"{100 * tokens / every:.1f} %"
        by = [_tokens_at(found.state, name, *which) for which in _COLUMNS]
        yield name, str(prompts), f"{tokens:,}", share, *map(_number, by)


_FULL, _LESS = ("full",), ("part", "summary", "signature", "name")
_COLUMNS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (1, ("online",)), (1, ("offline",)), (1, ("made", "")), (2, _FULL), (2, _LESS),
)  # fmt: skip
"Of the last columns: the place in the key of what was shown, and its values there."


def _tokens_at(state: calls.State, section: str, place: int, values: tuple[str, ...]) -> int | None:
    found = [key for key in sorted(state.shown) if key[0] == section]
    return sum(state.shown[key].tokens for key in found if key[place] in values) if found else None


def stats_lines(found: RunStats) -> Iterator[str]:
    """Yield what stands below the tables: caches, prefixes, times, and what nobody tells."""
    every = [found.state.calls[version] for version in sorted(found.state.calls)]
    untold = list(_untold(found))
    if counters := found.counters:
        yield (
            f"caches: {counters.online:,} hits online, {counters.offline:,} offline,"
            f" {counters.promotions:,} promotions, {counters.misses:,} misses,"
            f" {counters.evictions:,} evictions, {found.state.outdated:,} left out as stale"
        )
        levels = {level: [0, 0] for level in LEVELS}
        for _, _, level in (places := sorted(found.state.shown)):
            levels.setdefault(level, [0, 0])
        for place in places:
            levels[place[2]][0] += found.state.shown[place].items
            levels[place[2]][1] += found.state.shown[place].tokens
        words = [f"{n:,} by {level} ({t:,} tokens)" for level, (n, t) in levels.items() if n]
        yield f"items: {', '.join(words)}"
    else:
        untold.append("hits and misses: no prompt names what it shows")
    had, again, unread = calls.reused(every)
    if again:
        yield f"answers: {again:,} of {had:,} used again, {unread:,} tokens of prompts not read"
    for who, (prompts, kept, tokens) in (
        ("prefix: of", calls.prefix_kept(every)), ("server: of", calls.cache_kept(every)),
    ):  # fmt: skip
        if tokens:
            what = "as in the prompt before" if who == "prefix: of" else "not read again"
            share = f"{100 * kept / tokens:.1f} %"
            yield f"{who} {tokens:,} tokens in {prompts:,} prompts {kept:,} {what} ({share})"
    yield from _prefix_lines(found.prefixes)
    yield from compressed_lines(found.compressed)
    if not calls.prefix_kept(every)[2]:
        tells = " ('backcast diff TASK' tells)" if found.again or found.reads else ""
        untold.append(f"what prompts share with the one before{tells}")
    if first := found.first_bytes:
        most = f"at most {first[-1]:.2f} s"
        yield f"first byte: median {median(first):.2f} s, {most}, {len(first):,} calls"
    else:
        untold.append("time to the first byte")
    if found.unread:
        untold.append(f"{found.unread} requests, whose texts are masked or gone")
    yield f"not told: {'; '.join(untold)}" if untold else "all of it is told"


def _prefix_lines(state: prefixes.State) -> Iterator[str]:
    """Yield how many prompts were in the server's cache, and what was read before they were."""
    if state.hits or state.misses:
        known = state.hits + state.misses
        share = f"{100 * state.hits / known:.0f} %"
        yield f"hits: {state.hits:,} of {known:,} prompts were in it by half or more ({share})"
    warm = prefixes.sums(state.warmed[version] for version in sorted(state.warmed))
    if warm.warmed:
        count = "1 beginning" if warm.warmed == 1 else f"{warm.warmed:,} beginnings"
        yield (
            f"warmed: {count}, {warm.fresh:,} tokens read in {warm.seconds:,.1f} s;"
            f" {warm.used:,} used, which saved {warm.saved:,} tokens"
        )


def compressed_lines(state: compressions.State) -> Iterator[str]:
    """Yield how much was taken out of long texts, a line for each kind."""
    for kind in sorted(state.kinds):
        row = state.kinds[kind]
        words = [f"{row.offloaded:,} as a preview"] if row.offloaded else []
        if row.exceeded:
            words.append(f"{row.exceeded:,} over the target by what must stay")
        ratio = f" ({row.ratio:.1f} x)" if row.ratio else ""
        texts = "1 text" if row.texts == 1 else f"{row.texts:,} texts"
        yield "; ".join(
            (f"compressed, {kind}: {texts}, {row.before:,} -> {row.after:,} tokens{ratio}", *words)
        )


def _untold(found: RunStats) -> Iterator[str]:
    every = sum(row.calls for row in found.kinds)
    for figure, words in FIGURES.items():
        if missing := sum(dict(row.untold).get(figure, 0) for row in found.kinds):
            yield f"{words} of {missing:,} of {every:,} calls"


def stats_json(found: RunStats) -> dict[str, Any]:
    """Return the statistics as JSON; what nobody tells is null."""
    state = found.state
    every = [state.calls[version] for version in sorted(state.calls)]
    of = ("prompts", "kept", "tokens")
    counters, warm = found.counters, found.prefixes.warmed
    return {
        "task": found.task, "version": found.version,
        "calls": [
            {**plain(row), "outcomes": dict(row.outcomes), "untold": dict(row.untold),
             "thinking": found.thinking.get(row.kind)}
            for row in found.kinds
        ],
        "prompts": [{**one._asdict(), "tokens": dict(one.tokens)} for one in found.prompts],
        "shown": [
            {"section": place[0], "cache": place[1], "level": place[2], **plain(state.shown[place])}
            for place in sorted(state.shown)
        ],
        "caches": counters and {**counters._asdict(), "stale": state.outdated},
        "prefix": _known(dict(zip(of, calls.prefix_kept(every), strict=True))),
        "server": _known(dict(zip(of, calls.cache_kept(every), strict=True))),
        "reused": dict(zip(("answers", "reused", "unread"), calls.reused(every), strict=True)),
        "first_byte": found.first_bytes or None, "unread": found.unread,
        "hits": {name: getattr(found.prefixes, name) for name in ("hits", "misses", "untold")},
        "compressed": {kind: row._asdict() for kind, row in sorted(found.compressed.kinds.items())},
        "warmed": prefixes.sums(warm[version] for version in sorted(warm))._asdict(),
        "reads": found.reads, "again": [again._asdict() for again in found.again],
    }  # fmt: skip


def _known(sums: dict[str, int]) -> dict[str, int] | None:
    return sums if sums["tokens"] else None


def _sum(row: calls.KindOfCall, figure: str) -> str:
    """Return a sum, and of how many calls it is where that is not all of them."""
    value, missing = getattr(row, figure), dict(row.untold).get(figure, 0)
    if value is None:
        return ""
    text = f"{value:,.1f}" if figure == "seconds" else f"{value:,}"
    return f"{text} ({row.calls - missing} of {row.calls})" if missing else text


def _number(count: int | None) -> str:
    return "" if count is None else f"{count:,}"
