"""What did each call to a model read and answer, and what was it shown?

A call begins with its prompt and ends with its reply, of our own runs and of other programs'. What
the log does not tell of it stays None: it is not nothing.
"""

from collections.abc import Iterable
from math import isfinite
from typing import Literal, NamedTuple

from immutables import Map

from backcast.domain.call_events import CallSettled
from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import (
    AnswerRefused,
    ModelFailed,
    ModelReplied,
    StepStarted,
    WorkflowEvent,
)

NAME = "calls"
VERSION = 2
SCOPE: Literal["task", "store"] = "task"


class AskedCall(NamedTuple):
    """One call, by the version of its prompt; of its reply, where the log has no prompt."""

    kind: str = ""
    """plan, code or summary; of another program's request chat, or its purpose; empty where the log
    does not say."""
    about: str = ""
    "The module that it was about."
    foreign: bool = False
    "Whether another program made the request."
    prompt: int | None = None
    "Tokens of the prompt: as the model counted, else as they were counted before it was asked."
    answer: int | None = None
    "Tokens of the answer, its thoughts included."
    thinking: str | None = None
    "The blob of the thoughts before the answer."
    cached: int | None = None
    "Tokens of the prompt that the server did not read again."
    shared: int | None = None
    "Leading tokens that the prompt shares with the one before."
    built: int | None = None
    "Tokens of the prompt as they were counted before the model was asked."
    seconds: float | None = None
    first_byte: float | None = None
    outcome: str = ""
    """answered, reused (an earlier answer, for which nobody was asked), refused (the answer was not
    used) or failed; lost, cancelled, cut; empty while open."""
    sections: tuple[tuple[str, int], ...] = ()
    "Tokens of each section of a prompt of our own, in its order."


class ShownThere(NamedTuple):
    """What prompts showed of one section, from one cache, at one level."""

    prompts: int = 0
    items: int = 0
    tokens: int = 0


class StartedStep(NamedTuple):
    """A step whose call is open."""

    kind: str
    about: str
    call: int
    "The version of its prompt; 0 before that is built."


class CallsState(NamedTuple):
    """The calls of a task."""

    calls: Map[int, AskedCall] = Map()
    shown: Map[tuple[str, str, str], ShownThere] = Map()
    "By section, cache (online, offline, or made for the prompt) and level."
    outdated: int = 0
    "Times that something was left out of a prompt, as it was stale."
    steps: Map[int, StartedStep] = Map()
    "By version of STEP_STARTED."
    step: int = 0
    "The last one."
    last: int = 0
    "The last call that was made: in whatever order answers come, it is the same."


State = CallsState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """Return the state after one more event."""
    match event.fact:
        case StepStarted() as fact:
            step = StartedStep(fact.kind or "", fact.module_name or "", fact.again or 0)
            steps = state.steps.set(event.version, step)
            return state._replace(steps=steps, step=event.version)
        case ContextBuilt() as fact:
            return _asked(state, event.version, fact)
        case ModelReplied() as fact:
            return _replied(state, event, fact)
        case AnswerRefused(call=call):
            return _ended(state, _key(state, call), "refused")
        case ModelFailed(kind=kind, call=call) if kind != "answer":
            key = _key(state, call, event.because)
            if state.calls.get(key, AskedCall()).outcome:
                key = event.version
            return _ended(state, key, "failed")
        case CallSettled(call=step, outcome=outcome) if step in state.steps:
            key = state.steps[step].call or event.version
            before = state.calls.get(key, AskedCall()).outcome
            if outcome in ("lost", "cancelled", "cut") or (outcome == "failed" and not before):
                kind, about = state.steps[step][:2]
                state = _ended(state, key, outcome)
                named = state.calls[key]._replace(kind=kind, about=about)
                return state._replace(calls=state.calls.set(key, named))
    return state


def _asked(state: State, version: int, fact: ContextBuilt) -> State:
    step = state.steps.get(state.step)
    kind = about = ""
    if step and not step.call:
        kind, about = step.kind, step.about
        steps = state.steps.set(state.step, step._replace(call=version))
        state = state._replace(steps=steps)
    if fact.request:
        kind = fact.request.purpose or "chat"
    call = AskedCall(
        kind, about, fact.request is not None, _whole(fact.tokens), built=_whole(fact.tokens),
        shared=_whole(fact.shared_prefix), sections=_sections(fact),
    )  # fmt: skip
    with state.shown.mutate() as changing:
        seen = set[tuple[str, str, str]]()
        for item in fact.items:
            place = item.section, item.found, item.level
            known = changing.get(place, ShownThere())
            changing[place] = ShownThere(
                known.prompts + (place not in seen), known.items + 1,
                known.tokens + (_whole(item.tokens) or 0),
            )  # fmt: skip
            seen.add(place)
        shown = changing.finish()
    stale = sum(omission.reason.startswith("stale") for omission in fact.omissions)
    return state._replace(
        calls=state.calls.set(version, call), shown=shown, last=version,
        outdated=state.outdated + stale,
    )  # fmt: skip


def _sections(fact: ContextBuilt) -> tuple[tuple[str, int], ...]:
    """Return the tokens of each section, as the prompt tells them, else of its items."""
    found = {name: max(0, tokens) for name, tokens in fact.sections.items()}
    if not found:
        for item in fact.items:
            found[item.section] = found.get(item.section, 0) + max(0, item.tokens)
    return tuple(found.items())


def _replied(state: State, event: WorkflowEvent, fact: ModelReplied) -> State:
    key = _key(state, fact.call, event.because)
    call = state.calls.get(key)
    if call is None or call.outcome:  # the same prompt was asked again, or none is in the log
        step = state.steps.get(fact.call or 0)
        kind, about = (step.kind, step.about) if step else (call.kind, call.about) if call else (
            "", "")  # fmt: skip
        again = call or AskedCall()
        key, call = event.version, AskedCall(kind, about, again.foreign, again.built)
    prompt = _whole(fact.prompt_tokens)
    call = call._replace(
        prompt=call.prompt if prompt is None else prompt, answer=_whole(fact.tokens),
        thinking=fact.thinking, cached=_whole(fact.cached_tokens), seconds=_time(fact.seconds),
        first_byte=_time(fact.http_answer.first_byte) if fact.http_answer else None,
        outcome="answered",
    )  # fmt: skip
    if fact.answer_of:  # nothing was read, and nothing said
        call = call._replace(
            prompt=0, answer=0, thinking=None, cached=0, seconds=0.0, outcome="reused"
        )
    calls = state.calls.set(key, call)
    return state._replace(calls=calls, last=max(state.last, key))


def _ended(state: State, key: int, outcome: str) -> State:
    call = state.calls.get(key, AskedCall())
    calls = state.calls.set(key, call._replace(outcome=outcome))
    return state._replace(calls=calls, last=max(state.last, key))


def _key(state: State, step: int | None, because: Iterable[int] = ()) -> int:
    """Return the call that a later event is about: by its step, by its causes, else the last."""
    if step is not None and step in state.steps:
        return state.steps[step].call
    return max((cause for cause in because if cause in state.calls), default=state.last)


def _whole(count: int | None) -> int | None:
    return None if count is None else max(0, count)


def _time(seconds: float | None) -> float | None:
    """Return a time that can be added to others: a log may hold any number."""
    return seconds if seconds is not None and isfinite(seconds) and seconds >= 0 else None


class KindOfCall(NamedTuple):
    """All calls of one kind together. A sum is None where no call tells it."""

    kind: str
    calls: int
    outcomes: tuple[tuple[str, int], ...]
    prompt: int | None
    answer: int | None
    cached: int | None
    thinking: int
    "Calls that had thoughts."
    seconds: float | None
    untold: tuple[tuple[str, int], ...]
    "Of each figure that some ended calls do not tell, how many do not."


def by_kind(state: State) -> list[KindOfCall]:
    """Return the calls by kind, most first."""
    kinds: dict[str, list[AskedCall]] = {}
    for version in sorted(state.calls):
        kinds.setdefault(state.calls[version].kind, []).append(state.calls[version])
    found = [_summed(kind, calls) for kind, calls in sorted(kinds.items())]
    return sorted(found, key=lambda row: -row.calls)


def _summed(kind: str, calls: list[AskedCall]) -> KindOfCall:
    tokens: dict[str, list[int]] = {
        name: [n for call in calls if (n := getattr(call, name)) is not None]
        for name in ("prompt", "answer", "cached")
    }
    seconds = [call.seconds for call in calls if call.seconds is not None]
    known = {**{name: len(found) for name, found in tokens.items()}, "seconds": len(seconds)}
    untold = tuple((name, len(calls) - n) for name, n in known.items() if n < len(calls))
    prompt, answer, cached = (sum(found) if found else None for found in tokens.values())
    names = [call.outcome for call in calls]
    outcomes = tuple((name, names.count(name)) for name in sorted(set(names)))
    return KindOfCall(
        kind, len(calls), outcomes, prompt, answer, cached,
        sum(call.thinking is not None for call in calls),
        round(sum(seconds), 3) if seconds else None, untold,
    )  # fmt: skip


def reused(calls: Iterable[AskedCall]) -> tuple[int, int, int]:
    """Return how many calls had an answer, how many of these an earlier one, for which nobody was
    asked, and the tokens of the prompts that were not read for it."""
    had = [call for call in calls if call.outcome in ("answered", "reused", "refused")]
    again = [call for call in had if call.outcome == "reused"]
    return len(had), len(again), sum(call.built or 0 for call in again)


def prefix_kept(calls: Iterable[AskedCall]) -> tuple[int, int, int]:
    """Return how many prompts tell what they share with the one before, those tokens, and all of
    theirs."""
    known = [(call.shared, call.built) for call in calls if call.shared is not None and call.built]
    return len(known), sum(shared for shared, _ in known), sum(built for _, built in known)


def cache_kept(calls: Iterable[AskedCall]) -> tuple[int, int, int]:
    """Return how many calls tell what the server did not read again, those tokens, and all of
    theirs."""
    known = [
        (call.cached, call.prompt) for call in calls if call.cached is not None and call.prompt
    ]
    return len(known), sum(cached for cached, _ in known), sum(prompt for _, prompt in known)
