"""The facts of dispatches in a few words, as lists of events show them."""

from backcast.domain.call_events import BudgetGranted
from backcast.domain.dispatch_events import (
    AgentPrinted,
    ClaimChecked,
    DispatchEnded,
    DispatchStarted,
    ItemDecided,
    ResultClaimed,
    TasksRead,
)
from backcast.domain.events import Fact

DISPATCH_FACTS = (
    TasksRead, BudgetGranted, DispatchStarted, AgentPrinted, DispatchEnded, ResultClaimed,
    ClaimChecked, ItemDecided,
)  # fmt: skip


def dispatch_title(fact: Fact) -> str:
    """Return what a fact of a dispatch is about."""
    match fact:
        case BudgetGranted():
            amounts = {"calls": fact.calls, "tokens": fact.tokens, "s": fact.seconds,
                       "usd": fact.money}  # fmt: skip
            return ", ".join(f"{amount:,.15g} {unit}" for unit, amount in amounts.items()
                             if amount is not None)  # fmt: skip
        case TasksRead(marked=marked) if marked:
            return ", ".join(f"{name} {marked[name]}" for name in sorted(marked))
        case TasksRead():
            return f"{fact.path}: {len(fact.tasks)} tasks"
        case DispatchStarted():
            model = f":{fact.model}" if fact.model else ""
            return f"{fact.item} {fact.role} {fact.agent}{model}, attempt {fact.attempt}"
        case AgentPrinted():
            return f"@{fact.dispatch} {fact.stream} from byte {fact.at}"
        case DispatchEnded():
            changed = f", {len(fact.files)} files changed" if fact.patch else ""
            reason = f": {fact.reason}" if fact.reason else ""
            return f"@{fact.dispatch} {fact.outcome}{changed}{reason}".replace("1 files", "1 file")
        case ResultClaimed(result=dict(result)):
            claimed = result.get("status") or result.get("assessment")
            said = " ".join(str(result.get("summary", "")).split())
            return f"@{fact.dispatch} {claimed}" + (f": {said}" if said else "")
        case ResultClaimed():
            return f"@{fact.dispatch} {fact.error}: {fact.message}"
        case ClaimChecked():
            found = fact.differences[0] if fact.differences else fact.reason
            return f"@{fact.dispatch} {'holds' if fact.accepted else 'does not hold'}: {found}"
        case ItemDecided():
            return f"{fact.item} {fact.action}: {fact.reason}"
    return ""
