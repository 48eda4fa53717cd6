"""How much is each level of a candidate worth? What it costs, and what it gains, by the policy."""

from collections.abc import Sequence

from backcast.domain.context import LEVELS, Level
from backcast.domain.policy import Lookup, Policy
from backcast.engine.context.counting import Counting, Fewer
from backcast.engine.context.evidence import DECIMALS


class CandidateLevels:
    """What makes the levels of candidates of their texts."""

    def __init__(self, policy: Policy, counting: Counting, choice: Policy | Lookup) -> None:
        self.choice, self.counting = choice, counting
        worth = policy.worth
        part = {"part": worth.get("signature", 0.0)}
        self.worth = dict.fromkeys(LEVELS, 0.0) | part | worth

    def __call__(
        self, texts: Sequence[tuple[str, str]], score: float, alike: float = 0.0
    ) -> tuple[Level, ...]:
        """Return the levels with a text, each of fewer tokens than the one before.

        `score` is the chance that it is needed. The full text is worth more where it is like what
        will be written, of which `alike` is the chance.
        """
        return self.worth_of(self.counting.fewer(tuple(texts)), score, alike)

    def worth_of(
        self, counted: Sequence[Fewer], score: float, alike: float = 0.0
    ) -> tuple[Level, ...]:
        """Return the levels of texts that are counted, as for these texts."""
        worth = self.worth
        # A prompt has a thousand of them, and their own constructor takes as long as the rest.
        levels = [
            tuple.__new__(Level, (name, text, tokens, score * worth[name]))
            for name, text, tokens in counted
        ]
        if alike and levels and levels[0].name == "full":
            name, text, tokens, gain = levels[0]
            more = self._pattern(alike, tokens)
            levels[0] = Level(name, text, tokens, round(gain + more, DECIMALS))
        return tuple(levels)

    def with_parts(
        self, levels: Sequence[Level], parts: Sequence[tuple[str, float]], score: float
    ) -> tuple[Level, ...]:
        """Return levels that begin with the full text, with some parts behind it.

        Each part has a text and the chance that this is like what will be written, for itself; it
        is worth its share of the whole at least.
        """
        whole, *rest = levels
        found = list[Level]()
        least = rest[0].tokens if rest else 0
        for text, alike in parts:
            tokens = self.counting.item("part", text)
            if least < tokens < (found[-1].tokens if found else whole.tokens):
                gain = score * self.worth["part"] + self._pattern(alike, tokens)
                gain = max(gain, whole.gain * tokens / whole.tokens)
                found.append(Level("part", text, tokens, round(gain, DECIMALS)))
        return (whole, *found, *rest)

    def of_part(self, text: str, score: float, alike: float) -> tuple[Level, ...]:
        """Return the one level of a part of a text that is not offered as a whole."""
        tokens = self.counting.item("part", text)
        gain = score * self.worth["part"] + self._pattern(alike, tokens)
        return (Level("part", text, tokens, round(gain, DECIMALS)),)

    def _pattern(self, alike: float, tokens: int) -> float:
        gain: float = self.choice.pattern * alike * tokens**self.choice.longer
        return gain
