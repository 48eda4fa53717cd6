"""What are our own words in a prompt worth? A prompt without each sentence of them.

Texts are those of `backcast.domain.texts` and the system text. Left out of a prompt, a sentence
leaves its items as they are (`worded`). What the user says in a sentence always stays.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from backcast.domain.policy import Policy
from backcast.domain.texts import TEXTS, fields_of, literal, reworded, sentences, without
from backcast.engine.context.builder import TASK, count
from backcast.engine.context.rendering import RenderItem, messages_of
from backcast.engine.models.templates import pieces
from backcast.engine.models.tokenizers import Encodes

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
