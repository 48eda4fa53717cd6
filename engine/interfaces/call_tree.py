"""Draws who asked whom in a task: each call with its cost, and what was cut short and why."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from backcast.domain.call_events import CallSettled
from backcast.domain.context_events import ContextBuilt
from backcast.domain.dispatch_events import DispatchEnded, DispatchStarted
from backcast.domain.events import (
    AnswerOrigin,
    AnswerRefused,
    ModelFailed,
    ModelReplied,
    StepStarted,
    WorkflowEvent,
)
from backcast.engine.interfaces.views import one_line

WIDTH = 160
"Columns of a line, of which the reason is cut first."


class TracedCall(NamedTuple):
    """One call as the log tells it."""

    version: int
    name: str
    wave: int | None = None
    prompt: int | None = None
    "Tokens of its prompt."
    answer: int | None = None
    seconds: float | None = None
    money: float = 0.0
    outcome: str = "no answer yet"
    bound: bool = False
    reason: str = ""
    calls: int = 1
    "Of a dispatched agent: those that it made."

    @property
    def cost(self) -> str:
        """Its tokens and seconds in words."""
        most = "at most " if self.bound else ""
        parts = [] if self.calls == 1 else [f"{self.calls} calls"]
        if self.prompt is not None:
            answer = "" if self.answer is None else f" + {self.answer:,}"
            parts.append(f"{most}{self.prompt:,}{answer} tokens")
        parts += [f"{self.seconds:.1f} s"] if self.seconds is not None else []
        parts += [f"{self.money:g} money"] if self.money else []
        return ", ".join(parts)


def calls_of(events: Iterable[WorkflowEvent]) -> list[TracedCall]:
    """Return the calls of a task in the order in which they began."""
    calls: dict[int, TracedCall] = {}
    last = 0
    for event in events:
        match event.fact:
            case DispatchStarted() as fact:
                name = f"{fact.item} {fact.role} {fact.agent}, attempt {fact.attempt or 1}"
                calls[event.version] = TracedCall(event.version, name, outcome="under way")
            case DispatchEnded() as fact if fact.dispatch in calls:
                calls[fact.dispatch] = calls[fact.dispatch]._replace(
                    prompt=fact.cost.tokens, seconds=fact.cost.seconds, money=fact.cost.money,
                    outcome=fact.outcome or "", bound=fact.bound, reason=fact.reason or "",
                    calls=1 if fact.calls is None else fact.calls,
                )  # fmt: skip
            case ModelReplied() as fact if not last and fact.call is None:  # of another program
                calls[event.version] = TracedCall(
                    event.version, "call", None, fact.prompt_tokens, fact.tokens, fact.seconds,
                    outcome="answered",
                )  # fmt: skip
            case ModelFailed() as fact if not last and fact.call is None:
                calls[event.version] = TracedCall(event.version, "call", outcome="failed",
                                                  reason=fact.reason or "")  # fmt: skip
            case StepStarted() as fact:
                last = event.version
                again = ", again" if fact.again and not fact.alternative else ""
                calls[last] = TracedCall(last, f"{_name(fact)}{again}", fact.wave)
            case ContextBuilt(tokens=tokens) if last in calls and event.version == last + 1:
                calls[last] = calls[last]._replace(prompt=tokens)
            case ModelReplied(answer_of=AnswerOrigin() as origin) as fact if (
                fact.call or last
            ) in calls:
                call = calls[fact.call or last]
                why = f"the answer of task {origin.task}, event {origin.version}"
                calls[call.version] = call._replace(prompt=0, outcome="reused", reason=why)
            case ModelReplied() as fact if (fact.call or last) in calls:
                call = calls[fact.call or last]
                calls[fact.call or last] = call._replace(
                    prompt=call.prompt if fact.prompt_tokens is None else fact.prompt_tokens,
                    answer=fact.tokens, seconds=fact.seconds, outcome="answered",
                )  # fmt: skip
            case AnswerRefused() as fact if (fact.call or last) in calls:
                call = calls[fact.call or last]
                why = (fact.reason or "").removeprefix("Your last answer was not used: ")
                calls[call.version] = call._replace(outcome="not used", reason=why)
            case ModelFailed(kind=kind) as fact if (fact.call or last) in calls:
                if kind != "answer":
                    call = calls[fact.call or last]
                    calls[call.version] = call._replace(outcome="failed", reason=fact.reason or "")
            case CallSettled() as fact if fact.call in calls:
                calls[fact.call] = _settled(calls[fact.call], fact)
    return list(calls.values())


def _settled(call: TracedCall, fact: CallSettled) -> TracedCall:
    call = call._replace(seconds=fact.cost.seconds, money=fact.cost.money, bound=fact.bound)
    outcome = fact.outcome or call.outcome
    if call.outcome != "answered" or call.answer is None:
        rest = max(0, fact.cost.tokens - (call.prompt or 0))
        call = call._replace(prompt=min(call.prompt or 0, fact.cost.tokens), answer=rest or None)
    return call._replace(outcome=outcome, reason=fact.reason or call.reason)


def _name(fact: StepStarted) -> str:
    parts = [fact.kind or "call", fact.module_name or ""]
    parts += [f"#{fact.iteration}"] if fact.iteration else []
    parts += [f"attempt {fact.attempt}"] if (fact.attempt or 1) > 1 else []
    parts += [f"alternative {fact.alternative}"] if fact.alternative else []
    return " ".join(filter(None, parts))


def _nothing(call: TracedCall, indent: str) -> Iterator[str]:
    yield from ()


def tree(
    task: str,
    calls: list[TracedCall],
    all: list[TracedCall] | None = None,
    below: Callable[[TracedCall, str], Iterator[str]] = _nothing,
) -> Iterator[str]:
    """Yield the lines of a task's tree of calls: where a wave has several, they stand below it.

    `below` yields what stands below a call, `all` are the calls together with those of that.
    """
    yield f"{one_line(task, 80)}  {total(all or calls)}"
    groups = list[list[TracedCall]]()
    for call in calls:
        if groups and call.wave is not None and groups[-1][0].wave == call.wave:
            groups[-1].append(call)
        else:
            groups.append([call])
    for number, group in enumerate(groups):
        last = number == len(groups) - 1
        if len(group) == 1:
            yield _line("└── " if last else "├── ", group[0])
            yield from below(group[0], "    " if last else "│   ")
            continue
        head = f"{len(group)} calls side by side, prompts as of event {group[0].wave}"
        yield f"{'└── ' if last else '├── '}{head}  {total(group)}"
        for place, call in enumerate(group):
            outer, ends = "    " if last else "│   ", place == len(group) - 1
            yield _line(f"{outer}{'└── ' if ends else '├── '}", call)
            yield from below(call, f"{outer}{'    ' if ends else '│   '}")


def _line(branch: str, call: TracedCall) -> str:
    parts = [f"{branch}{call.name}", call.cost, call.outcome]
    line = "  ".join(filter(None, [f"{parts[0]:<36}", *parts[1:]]))
    return one_line(f"{line}: {call.reason}" if call.reason else line, WIDTH)


def total(calls: list[TracedCall]) -> str:
    """Return what some calls cost together, in words."""
    tokens = sum((call.prompt or 0) + (call.answer or 0) for call in calls)
    seconds = sum(call.seconds or 0.0 for call in calls)
    made = sum(call.calls for call in calls)
    count = "1 call" if made == 1 else f"{made} calls"
    money = sum(call.money for call in calls)
    paid = f", {money:g} money" if money else ""
    return f"{count}, {tokens:,} tokens, {seconds:.1f} s{paid}"
