"""How far a question may go."""

from typing import NamedTuple

from backcast.domain.budget import ModelProfile
from backcast.domain.errors import InputError
from backcast.domain.spending import Allowance

BUDGET = Allowance(calls=40, tokens=60_000)
"What a question may cost where nobody says so."
RESULTS = 4
"Results that fit a prompt at the least, beside the question."


class AskLimits(NamedTuple):
    """The limits of a question, and of those that are asked for it."""

    depth: int = 2
    "How many questions one may be away from the first."
    iterations: int = 8
    "Actions of each question; the last one can only be its answer."
    repeats: int = 2
    "Actions that are taken again, after which nothing but an answer is allowed."
    prompt: int = 4_000
    "Tokens of a prompt."
    answer: int = 400
    "Tokens of a reply."
    result: int = 700
    "Tokens of an action's result."
    look: int = 1_800
    "Tokens of what is shown at the beginning."


def limits_for(profile: ModelProfile, depth: int = AskLimits().depth) -> AskLimits:
    """Return the limits that suit a profile's window."""
    usual = AskLimits()
    if depth < 0:
        raise InputError(f"--depth: needed 0 or more, found {depth}")
    prompt = min(usual.prompt, profile.prompt)
    return usual._replace(
        depth=depth, prompt=prompt, answer=min(usual.answer, profile.generation),
        result=min(usual.result, prompt // (RESULTS + 2)), look=min(usual.look, prompt * 2 // 5),
    )  # fmt: skip
