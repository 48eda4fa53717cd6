"""What a fit takes in tokens and time, and how its time is shared."""

from collections.abc import Mapping
from typing import NamedTuple

from backcast.engine.replay.fit_steps import held_of
from backcast.engine.replay.kept_scores import ScoreKey

ENOUGH = 8
"Steps that must be held out for a policy to be judged, and as many to fit it on."
LEAST_SAMPLE = next(n for n in range(ENOUGH, 99) if min(n - held_of(n), held_of(n)) >= ENOUGH)
"The smallest sample that can hold both."
ITEMS_SHARE = 0.25
"The share of the time after which no single text is read any more."
BEGUN_SHARE = 0.45
"The share after which no further training step is begun: one setting at least is tried on each."
JUDGED_SHARE = 0.35
"The share of the time that is kept for the steps held out, at most."


class FitCost(NamedTuple):
    """What a fit will take."""

    items: int
    "Prompts that show a single text, or none, and were never read."
    item_tokens: int
    whole: int
    "Whole prompts of the policy that it begins with, which were never read."
    whole_tokens: int
    trial_tokens: int
    "Tokens of all training steps under one other policy, about."
    judged_tokens: int
    "Tokens of all steps held out under one policy, about."
    enough_training: float = 0.0
    "Tokens to be read for `ENOUGH` training steps under that policy, about."
    enough_judged: float = 0.0
    "Tokens to be read for `ENOUGH` steps held out under two policies, about."

    setting_tokens: float = 0.0
    "Tokens of `ENOUGH` training steps under one other policy, about."

    def seconds(self, token: float) -> float:
        """Return the least time, about, in which enough steps can be read as they are and under one
        setting, and both judged, where a token takes so many seconds."""
        training, setting = self.enough_training * token, self.setting_tokens * token
        # Single texts come first, and leave the training steps some of the time before the rest.
        begun = min(
            (training + self.item_tokens * token) / BEGUN_SHARE,
            training / (BEGUN_SHARE - ITEMS_SHARE),
        )
        # Nothing waits where enough training steps were read by an earlier call.
        tried = setting / (1 - JUDGED_SHARE - (BEGUN_SHARE if training else ITEMS_SHARE))
        return max(begun, tried, self.enough_judged * token / JUDGED_SHARE)


def tokens_for_enough(unread: Mapping[ScoreKey, int], steps: int) -> float:
    """Return the tokens of the prompts that are still to be read until `ENOUGH` steps are."""
    if not unread:
        return 0.0
    return max(0, ENOUGH - (steps - len(unread))) * sum(unread.values()) / len(unread)
