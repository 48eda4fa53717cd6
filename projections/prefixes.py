"""Which beginnings were read before their prompts were asked, what did that cost, and who used it?

Whether a prompt was in the server's cache is counted from what the server tells of it, and is
neither a hit nor a miss where it tells nothing.
"""

from collections.abc import Iterable
from math import isfinite
from typing import Literal, NamedTuple

from immutables import Map

from backcast.domain.call_events import PrefixWarmed
from backcast.domain.events import ModelReplied, StepStarted, WorkflowEvent

NAME = "prefixes"
VERSION = 1
SCOPE: Literal["task", "store"] = "task"


class WarmPrefix(NamedTuple):
    """A beginning that was read before the prompts that were to begin so."""

    meant_for: tuple[int, ...]
    "Versions of the STEP_STARTED."
    tokens: int | None
    fresh: int | None
    "Of these, tokens that were read for it."
    seconds: float | None
    slot: int | None
    copies: int
    ahead: str
    "The module whose prompt was foretold; empty where the calls were known."
    reason: str
    "Why it was not read, or not copied."
    used: int = 0
    "Calls whose server had half of it or more."
    saved: int = 0
    "Tokens of it that these did not have to read."


class PrefixesState(NamedTuple):
    """The prefixes of a task's prompts."""

    warmed: Map[int, WarmPrefix] = Map()
    "By the version of the fact."
    meant: Map[int, int] = Map()
    "The beginning that was read for a call that has no answer yet, by its STEP_STARTED."
    step: int = 0
    "The last STEP_STARTED."
    hits: int = 0
    "Answered calls of whose prompt the server had half or more."
    misses: int = 0
    untold: int = 0
    "Answered calls of which it does not tell."


State = PrefixesState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """Return the state after one more event."""
    match event.fact:
        case StepStarted():
            return state._replace(step=event.version)
        case PrefixWarmed() as fact:
            return _warmed(state, event.version, fact)
        case ModelReplied() as fact:
            return _replied(state, fact)
        case _:
            return state


def _warmed(state: State, version: int, fact: PrefixWarmed) -> State:
    seconds = fact.seconds
    known = seconds is not None and isfinite(seconds) and seconds >= 0
    warm = WarmPrefix(
        fact.meant_for, _whole(fact.tokens), _whole(fact.fresh), seconds if known else None,
        fact.slot, max(0, fact.copies), fact.ahead or "", fact.reason or "",
    )  # fmt: skip
    with state.meant.mutate() as meant:
        for call in fact.meant_for:
            meant[call] = version
        open_calls = meant.finish()
    return state._replace(warmed=state.warmed.set(version, warm), meant=open_calls)


def _replied(state: State, fact: ModelReplied) -> State:
    cached, prompt = _whole(fact.cached_tokens), _whole(fact.prompt_tokens)
    if cached is None or not prompt:
        return state._replace(untold=state.untold + 1)
    hit = 2 * cached >= prompt
    state = state._replace(hits=state.hits + hit, misses=state.misses + (not hit))
    call = fact.call or state.step
    if (version := state.meant.get(call)) is None:
        return state
    state = state._replace(meant=state.meant.delete(call))
    warm = state.warmed[version]
    if warm.tokens and 2 * cached >= warm.tokens:
        saved = warm.saved + min(cached, warm.tokens)
        warm = warm._replace(used=warm.used + 1, saved=saved)
    return state._replace(warmed=state.warmed.set(version, warm))


def _whole(count: int | None) -> int | None:
    return None if count is None else max(0, count)


class WarmSums(NamedTuple):
    """All beginnings together."""

    warmed: int
    used: int
    "Beginnings that at least one call used."
    fresh: int
    "Tokens that were read for them."
    saved: int
    "Tokens that calls did not have to read."
    seconds: float


def sums(warm: Iterable[WarmPrefix]) -> WarmSums:
    """Add up beginnings that were read; one that was not is none."""
    read = [one for one in warm if one.tokens is not None]
    return WarmSums(
        len(read), sum(one.used > 0 for one in read), sum(one.fresh or 0 for one in read),
        sum(one.saved for one in read), round(sum(one.seconds or 0.0 for one in read), 3),
    )  # fmt: skip


def counted(state: State) -> int:
    """Return how many answers and beginnings there are."""
    return state.hits + state.misses + state.untold + len(state.warmed)
