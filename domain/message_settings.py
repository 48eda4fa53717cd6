"""By which settings are an agent's earlier messages shown in its later prompts?

>>> MessageSettings().changes, MessageSettings(mask_after=3).changes
(False, True)
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backcast.domain.compression_settings import CompressionSettings

Turns = Annotated[int, Field(ge=1, le=100_000)]
Tokens = Annotated[int, Field(ge=1, le=10_000_000)]


class MessageSettings(BaseModel):
    """How the messages of a run are shown later on; by default each as it was.

    What a setting leaves out of a TOML file is off. A turn is an answer of the model with the
    results that its calls got; what was said before the first answer always stays.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mask_after: Turns | None = None
    "The last turns whose results are shown; each earlier result becomes a line."
    mask_step: Turns = 1
    "The turns by which that border moves at once: a prompt's beginning holds as long."
    offload_over: Tokens | None = None
    "The tokens of a result above which it is shown as a preview."
    preview: Annotated[int, Field(ge=40, le=100_000)] = 300
    "The most tokens of a preview."
    compress: CompressionSettings | None = None
    "How a long result is compressed: what is worth most of it stays, in its order."
    drop_superseded: bool = False
    "Whether of several reads of a file, or of the same lines of it, only the last is shown."
    compact_at: Tokens | None = None
    "The tokens of a prompt above which its earlier turns become a summary."
    compact_to: Annotated[int, Field(ge=100, le=1_000_000)] = 1_000
    "The most tokens of that summary."
    compact_keep: Turns = 3
    "The last turns that stay behind it as they are."
    last_turns: Turns | None = None
    "The last turns that are shown at all."

    @model_validator(mode="after")
    def _fit(self) -> "MessageSettings":
        if self.offload_over is not None and self.offload_over <= self.preview:
            raise ValueError(
                f"messages.offload_over: needed more than the {self.preview} tokens of a preview"
                f" (messages.preview), found {self.offload_over}"
            )
        if self.compact_at is not None and self.compact_at <= self.compact_to:
            raise ValueError(
                f"messages.compact_at: needed more than the {self.compact_to} tokens of a summary"
                f" (messages.compact_to), found {self.compact_at}"
            )
        return self

    @property
    def changes(self) -> bool:
        """Whether any message is shown otherwise than it was."""
        limits = (self.mask_after, self.offload_over, self.compact_at, self.last_turns)
        drops = self.drop_superseded or self.compress is not None
        return drops or any(limit is not None for limit in limits)
