"""Guards what dispatches may cost: what is set aside before, what is counted meanwhile, and after.

>>> parsed("2usd, 40min,30calls")
Allowance(calls=30, tokens=None, seconds=2400.0, money=2.0)
"""

import re
import time
from typing import NamedTuple, Protocol

from backcast.domain.errors import InputError
from backcast.domain.events import CallCost, ModelFailed, ModelReplied
from backcast.domain.spending import Allowance, Amounts, Price, remaining
from backcast.engine.log.store import EventStore
from backcast.projections import spending

UNITS: dict[str, tuple[str, float]] = {
    "usd": ("money", 1), "$": ("money", 1), "h": ("seconds", 3600), "min": ("seconds", 60),
    "m": ("seconds", 60), "s": ("seconds", 1), "call": ("calls", 1), "calls": ("calls", 1),
    "token": ("tokens", 1), "tokens": ("tokens", 1), "ktokens": ("tokens", 1000),
}  # fmt: skip
LEAST = 1.0
"Seconds below which no agent is started."
UNREACHED = 5
"Calls in a row that reach no server, after which an agent is ended."
LOOK = 0.5
"Seconds between two looks at what a proxy has counted."


def parsed(text: str) -> Allowance:
    """Return the budget that a text states; `InputError` for none."""
    amounts: dict[str, float] = {}
    for part in text.split(","):
        found = re.fullmatch(r"\$?(\d+(?:\.\d+)?)\s*([a-z$]*)", part.strip().lower())
        unit = (found[2] or ("usd" if part.strip().startswith("$") else "")) if found else ""
        if not found or unit not in UNITS or float(found[1]) <= 0:
            why = "" if not found else (
                f", which lacks a unit: {found[1]}calls, {found[1]}min, ..." if not unit else
                ", whose unit is none: usd, h, min, s, calls, tokens, ktokens"
                if unit not in UNITS else ", which lets nothing begin: leave --budget out for no"
                " limit"
            )  # fmt: skip
            raise InputError(
                f"--budget: needed amounts such as 2usd,40min,30calls,90000tokens, found"
                f" {part.strip()[:40]!r}{why}"
            )
        name, factor = UNITS[unit]
        if name in amounts:
            raise InputError(f"--budget: needed one amount of {name}, found two")
        amounts[name] = float(found[1]) * factor
    calls, tokens = amounts.get("calls"), amounts.get("tokens")
    return Allowance(
        None if calls is None else int(calls), None if tokens is None else int(tokens),
        amounts.get("seconds"), amounts.get("money"),
    )  # fmt: skip


class Admission(NamedTuple):
    """Whether a dispatch may start, and with how much."""

    action: str
    "allow, degrade (with less time than the agent has by itself), or deny."
    code: str
    "budget_calls, budget_tokens, budget_seconds, budget_money; empty where all suffices."
    seconds: float
    reserved: CallCost
    rest: Allowance

    @property
    def reason(self) -> str:
        """The reason in words."""
        name = self.code.removeprefix("budget_")
        return f"{self.code}: no {name} are left of the budget".replace("money are", "money is")


def share_of(rest: Allowance, slots: int) -> Allowance:
    """Return what one of several dispatches may use of what is left.

    >>> [share_of(Allowance(calls=11), slots).calls for slots in (1, 2, 3, 12)]
    [11, 5, 3, 1]
    """
    calls = rest.calls
    return Allowance(
        None if calls is None else calls // max(1, min(slots, calls)),
        None if rest.tokens is None else rest.tokens // slots,
        None if rest.seconds is None else rest.seconds / slots,
        None if rest.money is None else rest.money / slots,
    )  # fmt: skip


def admitted(state: spending.State, seconds: float, slots: int = 1) -> Admission:
    """Return whether what is left of the budget suffices for one more dispatch of so many."""
    rest = share_of(remaining(state.allowed, spending.committed(state)), slots)
    code = ""
    for name, amount, least in zip(rest._fields, rest, (1, 1, LEAST, 1e-6), strict=True):
        if amount is not None and amount < least:
            code = f"budget_{name}"
            break
    given = seconds if rest.seconds is None else min(seconds, rest.seconds)
    reserved = CallCost(tokens=rest.tokens or 0, seconds=given, money=rest.money or 0.0)
    action = "deny" if code else "degrade" if given < seconds else "allow"
    return Admission(action, code or ("budget_seconds" if given < seconds else ""), given,
                     reserved, rest)  # fmt: skip


class ModelProxy(Protocol):
    """A proxy before a model's server, which lets each agent ask as often as it may."""

    @property
    def address(self) -> str:
        """Its address without /v1."""

    def open(self, task: str, rest: Allowance, price: Price) -> bool:
        """Let a task ask until it has used up what is left for it; return whether it now may."""

    def refused(self, task: str) -> str:
        """Return the reason code by which a call of a task was refused; empty as long as none."""

    def waiting(self, task: str) -> float:
        """Return for how many seconds a task has had a call under way; 0 where it has none."""

    def settle(self, task: str) -> bool:
        """Let a task ask no more; return whether all that it asked is in the store."""


class CallCounter:
    """What a proxy has counted of one dispatch, read from the log as it grows."""

    def __init__(
        self, store: EventStore, task: str, price: Price, rest: Allowance,
        proxy: ModelProxy | None = None,
    ) -> None:  # fmt: skip
        self.store, self.task, self.price, self.rest = store, task, price, rest
        self.proxy = proxy
        self.counted = Amounts()
        self._lively = 0.0
        self.unreached = 0
        "How many calls in a row, the latest among them, reached no server: they cost nothing."
        self.unreached_why = ""
        self._version, self._looked = 0, 0.0

    def look(self) -> None:
        """Count what has been recorded since the last look."""
        self._looked = time.monotonic()
        for event in self.store.read(self.task, after=self._version):
            self._version = event.version
            match event.fact:
                case ModelFailed(kind="unavailable") as fact:
                    self.unreached, self.unreached_why = self.unreached + 1, fact.reason or ""
                    continue  # an agent that asks on and on is silent all the same
                case ModelReplied() as fact:
                    prompt, answer = fact.prompt_tokens or 0, fact.tokens or 0
                    money = self.price.of(prompt, answer)
                    cost = Amounts(1, prompt + answer, fact.seconds or 0.0, money)
                    self.counted, self.unreached = self.counted.plus(cost), 0
                case ModelFailed():
                    self.counted, self.unreached = self.counted.plus(Amounts(1)), 0
            self._lively = self._looked

    def waiting(self) -> float:
        """Return for how many seconds a call has been under way; 0 where none is."""
        return self.proxy.waiting(self.task) if self.proxy else 0.0

    def lively(self) -> float:
        """Return when, by the monotonic clock, a model was last at work for the agent: it is not
        silent as long as an answer is being written, however slowly."""
        return time.monotonic() if self.waiting() else self._lively

    def said(self) -> str:
        """Return how many calls there were so far, and for how long one has been under way."""
        waits = self.waiting()
        under_way = f", one under way for {waits:.0f} s" if waits >= 1 else ""
        return f"{self.counted.calls:,} calls so far{under_way}"

    def settle(self) -> str:
        """Count all that was asked, once it is recorded; return what to note where some is not."""
        whole = self.proxy is None or self.proxy.settle(self.task)
        self.look()
        return "" if whole else "calls may be missing: the proxy did not record them in time"

    def exceeded(self) -> tuple[str, str] | None:
        """Return the outcome and the reason where an amount of the budget is used up, or where the
        server cannot be reached; None else."""
        if self.proxy and (code := self.proxy.refused(self.task)):
            name = code.removeprefix("budget_")
            most = getattr(self.rest, name)
            return "budget", f"{code}: the {most:,} {name} that were left are used".replace(
                "the 1 calls that were left are", "the 1 call that was left is"
            )
        if time.monotonic() - self._looked < LOOK:
            return None
        self.look()
        for name, most, used in zip(self.rest._fields, self.rest, self.counted, strict=True):
            if name != "seconds" and most is not None and used > most:
                return "budget", f"budget_{name}: {used:,} used of {most:,} left"
        if self.unreached >= UNREACHED:
            return "unreached", self.unreached_why
        return None
