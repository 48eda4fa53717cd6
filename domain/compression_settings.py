"""By which settings is a long text compressed, and what is worth keeping of it?

>>> CompressionSettings().goal(4_000), CompressionSettings().goal(6_000)
(None, ShorterGoal(tokens=2000, offloads=False))
>>> CompressionSettings(share=0.5).goal(6_000).tokens, CompressionSettings().goal(90_000).offloads
(3000, True)
"""

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

LineKind = Literal[
    "error", "frame", "cause", "verdict", "heading", "definition", "import", "code", "reference",
    "path", "plain", "progress", "blank",
]  # fmt: skip
SHARES: Mapping[str, float] = {"mistral": 0.7, "qwen3": 0.5, "chatml": 0.5}
"The largest share of a text that may go, by the chat template of a profile."
SHARE = 0.7
"The largest share that may go under any other profile."
Count = Annotated[int, Field(ge=0, le=10_000_000)]


class ShorterGoal(NamedTuple):
    """The size to which a text is brought."""

    tokens: int
    offloads: bool
    "Whether so much would go that a preview stands for the text."


class KeepRule(BaseModel):
    """A rule of a guideline: lines of a kind, path, name and place are worth more or less.

    What a rule leaves empty holds for every line.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: LineKind | Literal[""] = ""
    path: str = ""
    "A pattern such as `tests/*.py` that a path in the line fits, or its end."
    name: str = ""
    "A word that the line holds, whole."
    place: Literal["", "first", "last", "error"] = ""
    "Among the first tenth of all lines, the last, or within three lines of an error."
    worth: Annotated[float, Field(ge=-100, le=100)] = 1.0
    "What it adds to the worth of such a line; a plain line has 0.4."

    def __str__(self) -> str:
        wanted = {"kind": self.kind, "path": self.path, "name": self.name, "place": self.place}
        words = [f"{field} {value}" for field, value in wanted.items() if value]
        return f"{', '.join(words) or 'every line'}: {self.worth:+g}"


class CompressionSettings(BaseModel):
    """How long texts are compressed: results of tools, outputs of tests, answers of sub-calls."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    target: Count = 2_000
    "The tokens to which a text is brought."
    over: Count = 5_000
    "The tokens above which that is done."
    least: Annotated[float, Field(ge=0, le=100)] = 1.5
    "Times the target below which nothing is cut, as reading it again costs more than it saves."
    share: Annotated[float, Field(ge=0, le=1)] | None = None
    "The largest share of a text that may go; by default that of the profile."
    most: Annotated[float, Field(ge=0, le=1)] = 0.8
    "The share above which a preview with the name of the whole stands for a text."
    abstractive: bool = False
    "Whether a model sums up what is still too long; extracts alone call no model."
    guideline: tuple[KeepRule, ...] = ()
    "Rules on what is worth keeping, beside those that always hold."

    @model_validator(mode="after")
    def _fit(self) -> "CompressionSettings":
        if self.over < self.target:
            raise ValueError(
                f"compression.over: needed the {self.target} tokens of compression.target or more,"
                f" found {self.over}"
            )
        return self

    def goal(self, tokens: int, share: float = SHARE) -> ShorterGoal | None:
        """Return the size to which a text of so many tokens is brought; None where it stays."""
        if tokens <= max(self.over, self.least * self.target):
            return None
        if tokens - self.target > self.most * tokens:
            return ShorterGoal(self.target, True)
        least = tokens - int((share if self.share is None else self.share) * tokens)
        return ShorterGoal(max(self.target, least), False)


def share_of(template: str) -> float:
    """Return the largest share of a text that may go under a profile with a chat template."""
    return SHARES.get(template, SHARE)
