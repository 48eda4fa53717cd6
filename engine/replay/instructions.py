"""What are our own words in a prompt worth? A prompt without each sentence of them.

Texts are those of `backcast.domain.texts` and the system text. Left out of a prompt, a sentence
leaves its items as they are (`worded`); a policy without it builds prompts of its own, in which the
room that it took may show more (`settings_without`). What the user says in a sentence always stays.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from backcast.domain.policy import Policy
from backcast.domain.texts import TEXTS, fields_of, literal, reworded, sentences, without
from backcast.engine.context.builder import TASK, count
from backcast.engine.context.rendering import RenderItem, messages_of
from backcast.engine.models.templates import pieces
from backcast.engine.models.tokenizers import Encodes
from backcast.engine.replay.corpus import Setting
from backcast.engine.replay.score_jobs import StepScore
from backcast.engine.replay.score_summary import DRAWS, SEED

SYSTEM = "system"
"The name of the first message among the texts."
Messages = tuple[tuple[str, str], ...]


class TextPart(NamedTuple):
    """A sentence of a policy's texts."""

    name: str
    "The text's name: system, a section, or another of `TEXTS`."
    number: int
    words: str

    @property
    def label(self) -> str:
        """The sentence as reports name it."""
        return f"{self.name}: {self.words}"


class TextWorth(NamedTuple):
    """What a sentence was worth in the prompts that show it."""

    part: TextPart
    steps: int
    "Steps whose prompt is another one without it."
    nats: float
    "Nats that it saves per token of new lines, the mean of these steps: below 0 for harm."
    interval: tuple[float, float] | None
    "95 % interval by bootstrap over the steps; None for a single step."
    tokens: float
    "Tokens of a prompt that it takes, the mean of these steps."


def text_parts(policy: Policy) -> list[TextPart]:
    """Return every sentence of a policy's texts that has words of ours."""
    named = {SYSTEM: policy.system, **policy.words}
    return [
        TextPart(name, number, words)
        for name, text in named.items()
        for number, words in enumerate(sentences(text))
        if name == SYSTEM or literal(words).strip()
    ]


def without_part(policy: Policy, part: TextPart) -> Policy:
    """Return a policy without a sentence, though it may not be one that people could set."""
    if part.name == SYSTEM:
        parts = list(sentences(policy.system))
        del parts[part.number]
        return policy.model_copy(update={"system": " ".join(parts)})
    text = without(policy.words[part.name], part.number)
    return policy.model_copy(update={"texts": {**policy.words, part.name: text}})


def bare(policy: Policy, names: Sequence[str] = (SYSTEM, *TEXTS)) -> Policy:
    """Return a policy whose texts of some names are their placeholders alone."""
    texts: Mapping[str, str] = {
        name: " ".join(f"{{{field}}}" for field in fields_of(text)) if name in names else text
        for name, text in policy.words.items()
    }
    system = "" if SYSTEM in names else policy.system
    return policy.model_copy(update={"system": system, "texts": texts})


def worded(items: Sequence[RenderItem], policy: Policy, other: Policy) -> Messages:
    """Return the messages of items that one policy chose, in the words of another."""
    old, new = policy.words, other.words
    shown = [
        item._replace(text=reworded(item.text, old, new)) if item.section == TASK else item
        for item in items
    ]
    return messages_of(shown, other.system, other.order, texts=new)


def tokens_of(
    items: Sequence[RenderItem], policy: Policy, template: str, tokenizer: Encodes
) -> dict[str, int]:
    """Return the tokens that our words take in a prompt, by the name of their text."""

    def size(other: Policy) -> int:
        return count(pieces(template, worded(items, policy, other)), tokenizer)

    whole = size(policy)
    sizes = {name: whole - size(bare(policy, (name,))) for name in (SYSTEM, *TEXTS)}
    return {name: tokens for name, tokens in sizes.items() if tokens} | {
        "all": whole - size(bare(policy))
    }


def settings_without(setting: Setting) -> tuple[list[Setting], list[TextPart]]:
    """Return a policy and it without each sentence, as the settings of a `ScorePlan`.

    A policy that each prompt recorded is not known beforehand: `ValueError`.
    """
    if setting.policy is None:
        raise ValueError("needed a policy, found that of each prompt")
    parts = text_parts(setting.policy)
    return [
        setting,
        *(
            Setting(f"{setting.name} without {part.label}", without_part(setting.policy, part))
            for part in parts
        ),
    ], parts


def ranked(steps: Sequence[StepScore], parts: Sequence[TextPart]) -> list[TextWorth]:
    """Return what sentences were worth in steps scored under `settings_without`, harm first.

    Sentences that no prompt shows are not among them.
    """
    found = [_worth(steps, number, part) for number, part in enumerate(parts, 1)]
    return sorted(
        (worth for worth in found if worth), key=lambda worth: (worth.nats, worth.part.label)
    )


def _worth(steps: Sequence[StepScore], number: int, part: TextPart) -> TextWorth | None:
    shown = [
        step
        for step in steps
        if step.job.prompts[number].digest != step.job.prompts[0].digest
        and step.sums(0, new=True).tokens
    ]
    if not shown:
        return None
    saved = np.array(
        [
            (step.sums(number, new=True).nats - whole.nats) / whole.tokens
            for step in shown
            for whole in (step.sums(0, new=True),)
        ]
    )
    interval = None
    if len(saved) > 1:
        drawn = np.random.default_rng(SEED).integers(0, len(saved), (DRAWS, len(saved)))
        low, high = np.percentile(saved[drawn].mean(axis=1), [2.5, 97.5])
        interval = float(low), float(high)
    sizes = [step.job.tokens[0] - step.job.tokens[number] for step in shown]
    return TextWorth(part, len(shown), float(saved.mean()), interval, float(np.mean(sizes)))
