"""The facts of what calls may cost and did cost, and of prefixes that were read ahead of them."""

from backcast.domain.events import BlobRef, CallCost, EventType, Fact


class BudgetGranted(Fact):
    """From here on the task's calls may cost so much together, those before it included."""

    type = EventType.BUDGET_GRANTED
    calls: int | None = None
    "None where they are not limited, and so for the others."
    tokens: int | None = None
    "Of prompts and answers."
    seconds: float | None = None
    "Of all calls, one added to the other."
    money: float | None = None


class CallSettled(Fact):
    """A call ended: what was set aside for it is free again, less what it has cost."""

    type = EventType.CALL_SETTLED
    call: int
    "The version of its STEP_STARTED."
    outcome: str | None = None
    """answered, or failed; won or lost where alternatives ran; cancelled; reused, where an earlier
    answer was used again; or cut, where its process ended before it did."""
    cost: CallCost = CallCost()
    bound: bool = False
    "Whether the cost is the most that it can have been, as nobody told it."
    reason: str | None = None
    answer: BlobRef | None = None
    "An answer that came and is not used."
    part: BlobRef | None = None
    "What had come of an answer that broke off: nobody knows how it would have ended."
    part_thinking: BlobRef | None = None
    "What had been thought by then."


class PrefixWarmed(Fact):
    """A server was given what prompts begin with to read, before they were asked."""

    type = EventType.PREFIX_WARMED
    meant_for: tuple[int, ...] = ()
    "The versions of the STEP_STARTED whose prompts begin so; what they had is told by replies."
    tokens: int | None = None
    "As the model counts them; None where it was not read to its end."
    fresh: int | None = None
    "Of these, tokens that it had not read before."
    seconds: float | None = None
    slot: int | None = None
    copies: int = 0
    "Slots beside it that were given the same."
    ahead: str | None = None
    "The module whose prompt was foretold, while checks ran; None where the calls were known."
    reason: str | None = None
    "Why it was not read, or not copied."
