"""What calls to models may cost, and have cost: calls, tokens, seconds and money.

>>> allowed, spent = Allowance(calls=3, tokens=1000), Amounts(2, 700)
>>> short_of(allowed, spent, Amounts(1, 200))
''
>>> short_of(allowed, spent, Amounts(1, 400))
'needed 400 tokens for the next call, found 300 left of 1,000'
"""

from math import inf
from typing import NamedTuple

from backcast.domain.events import CallCost


class Amounts(NamedTuple):
    """Amounts that calls cost, one added to the other."""

    calls: int = 0
    tokens: int = 0
    "Of prompts and answers."
    seconds: float = 0.0
    money: float = 0.0

    def plus(self, other: "Amounts") -> "Amounts":
        """Return both together."""
        pairs = zip(self, other, strict=True)
        # In thousandths of a second and millionths of money, so that no order of adding matters.
        calls, tokens, seconds, money = (mine + yours for mine, yours in pairs)
        return Amounts(int(calls), int(tokens), round(seconds, 3), round(money, 6))


class Allowance(NamedTuple):
    """The most that calls may cost together; None where an amount is not limited."""

    calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    money: float | None = None

    @property
    def limited(self) -> bool:
        """Whether any amount is limited."""
        return any(most is not None for most in self)


class Price(NamedTuple):
    """What a million tokens cost."""

    prompt: float = 0.0
    answer: float = 0.0

    def of(self, prompt: int, answer: int) -> float:
        """Return what so many tokens of prompt and answer cost."""
        return round((prompt * self.prompt + answer * self.answer) / 1e6, 6)


def amounts_of(cost: CallCost) -> Amounts:
    """Return the amounts of one call."""
    return Amounts(1, max(0, cost.tokens), counted(cost.seconds), counted(cost.money))


def counted(amount: float) -> float:
    """Return an amount that can be added to others: a log may hold any number."""
    return amount if 0 < amount < inf else 0.0


def remaining(allowed: Allowance, spent: Amounts) -> Allowance:
    """Return what is left when so much is spent or set aside; at least nothing."""
    return Allowance._make(
        None if most is None else max(type(most)(0), most - used)
        for most, used in zip(allowed, spent, strict=True)
    )


def short_of(allowed: Allowance, spent: Amounts, needed: Amounts) -> str:
    """Return which amount is too small for one more call; empty where all suffice."""
    rest = remaining(allowed, spent)
    for name, most, unspent, more in zip(allowed._fields, allowed, rest, needed, strict=True):
        if most is not None and (unspent or 0) < more:
            return (
                f"needed {more:,} {name} for the next call, found {unspent:,} left of {most:,}"
            ).replace(" 1 calls", " 1 call")
    return ""
