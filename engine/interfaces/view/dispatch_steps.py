"""The facts of dispatched agents and of questions as steps: names, outcomes, and texts."""

from collections.abc import Iterator

from backcast.domain.dispatch_events import (
    AgentPrinted,
    ClaimChecked,
    DispatchEnded,
    DispatchStarted,
    ItemDecided,
    ResultClaimed,
)
from backcast.domain.question_events import AnswerGiven

OF_A_DISPATCH = (AgentPrinted, DispatchEnded, ResultClaimed, ClaimChecked)


def dispatch_name(fact: DispatchStarted) -> str:
    """Return the name of a step in which an agent is started."""
    words = [fact.item or "", fact.role or "", fact.agent or ""]
    words += [f"attempt {fact.attempt}"] if (fact.attempt or 1) > 1 else []
    return " ".join(filter(None, words)) or "dispatch"


def outcomes(fact: object) -> Iterator[tuple[str, str]]:
    """Yield what such a fact makes of its step, and why."""
    match fact:
        case DispatchEnded() if fact.outcome != "answered":
            yield "failed", ": ".join(filter(None, (fact.outcome, fact.reason)))
        case DispatchEnded():
            yield ("code" if fact.patch else "reply"), ""
        case ResultClaimed() if fact.error:
            yield "refused", ": ".join(filter(None, (fact.error, fact.message)))
        case ResultClaimed(result=dict(result)) if result.get("assessment") == "approved":
            yield "reply", ""
        case ResultClaimed(result=dict(result)) if result.get("assessment"):
            fixes = [str(fix) for fix in result.get("required_fixes") or ()]
            yield "refused", "\n".join([str(result["assessment"]), *fixes])
        case ClaimChecked() if not fact.accepted:
            failures = [f"{one.name}: {one.message}" for one in fact.failures[:3]]
            yield "checks", "\n".join([*(fact.differences or (fact.reason or "",)), *failures])
        case ClaimChecked():
            yield "passed", ""
        case ItemDecided() if fact.action == "halt":
            yield "failed", fact.reason or "it was halted"
        case AnswerGiven() if not fact.complete:
            yield "refused", fact.reason or "it is a best effort"
        case AnswerGiven():
            yield "reply", ""


def texts(fact: object) -> Iterator[tuple[str, str | None]]:
    """Yield the titles and blobs of the texts that such a fact names."""
    match fact:
        case AgentPrinted():
            yield f"printed on {fact.stream or 'a stream'}", fact.text
        case DispatchEnded():
            yield "the agent's answer", fact.answer
            yield "the patch", fact.patch
        case ClaimChecked():
            yield "output of the tests", fact.output
