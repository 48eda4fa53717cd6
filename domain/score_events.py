"""The fact of how likely a known outcome was to a model that read it."""

from backcast.domain.events import EventType, Fact


class Scored(Fact):
    """How likely a step's known outcome was to a model that read it under a prompt.

    It knows how the step came out, so no projection and no builder takes notice of it.
    """

    type = EventType.SCORED
    step: int | None = None
    "The version of the step: of its prompt, else of the event that made the change."
    target: str | None = None
    policy: str | None = None
    "The name of the policy; another one that gives the same prompt has the same score."
    model: str | None = None
    "The name and the digest of the model's file."
    template: str | None = None
    "The digest of the chat template; empty where the model has none."
    prompt: str | None = None
    "The digest of the rendered prompt, up to where the outcome begins."
    outcome: str | None = None
    "The digest of the text that was read behind it."
    reader: str | None = None
    "The program that read it, with its version."
    prompt_tokens: int | None = None
    line_tokens: tuple[int, ...] = ()
    "The tokens of each line of the outcome."
    line_nats: tuple[float, ...] = ()
    "The negative logarithm of the probability of each line."
    name_tokens: tuple[int, ...] = ()
    """The tokens of each line that belong to names which the project defines; with `name_nats`
    empty where they were not counted."""
    name_nats: tuple[float, ...] = ()
    without: str | None = None
    "The node, or the section as a whole, that was left out of the prompt."
    within: str | None = None
    "The section of that node; None for a section."
    whole: str | None = None
    "The digest of the rendered prompt with it."
    shown: str | None = None
    "The digest of that prompt's messages, by which it is the same in every template."
