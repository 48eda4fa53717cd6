"""The facts that a model wrote for later prompts: summaries, edits of the map, plans to reuse."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backcast.domain.events import BlobRef, EventType, Fact


class SummaryWritten(Fact):
    """A model or a person summed up a node."""

    type = EventType.SUMMARY_WRITTEN
    node: str | None = None
    "`task:ID`, `module:PATH`, or `function:PATH::NAME`."
    text: str | None = None
    fields: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    "The requested parts of the text: purpose, inputs, outputs, ..."
    tokens: int | None = None
    "Tokens of the text as the writing model counts them; None if not counted."
    summariser: str | None = None
    "Name and version of the writer: `qwen3-8b 1`."
    answer: BlobRef | None = None
    "The model's answer as it came."
    built_at: int | None = None
    "The version of the latest event that it was built from."
    clock: dict[str, int] = Field(default_factory=dict)
    "The iteration of each module that it was built from, by path."
    built_from: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Per path, the digests of the facets that were read; see `backcast.domain.outline`. Without
    them any later iteration of a module in the clock outdates the summary."""
    lives: float | None = None
    "Seconds after its timestamp for which it holds, whatever happens; None for ever."

    @model_validator(mode="before")
    @classmethod
    def _in_other_words(cls, data: Any) -> Any:
        """Read a cache entry of the form (content, vector_clock) as a text with its clock."""
        if not isinstance(data, dict):
            return data
        names, clock = {}, data.get("vector_clock")
        if isinstance(data.get("content"), str):
            names["content"] = "text"
        if isinstance(clock, dict) and all(type(count) is int for count in clock.values()):
            names["vector_clock"] = "clock"
        names = {name: ours for name, ours in names.items() if ours not in data}
        return {names.get(name, name): value for name, value in data.items()} if names else data


class MapEdit(BaseModel):
    """One change of a context map."""

    model_config = ConfigDict(frozen=True, extra="allow")

    operation: Literal["ADD", "REPLACE", "DELETE"]
    item: str = ""
    "The replaced or deleted item; an added one gets its id from the map's counter."
    section: str = ""
    "The section of an added item: see `backcast.domain.context_map`."
    text: str = ""
    nodes: tuple[str, ...] = ()
    "The nodes that it names or leads to."
    built_from: dict[str, dict[str, str]] = Field(default_factory=dict)
    "Per path, the digests of the facets that it was made of; see `backcast.domain.outline`."
    refused: str = ""
    "Why the edit was not made; empty if it was made."


class MapAnswer(BaseModel):
    """A model's answer while it kept a map."""

    model_config = ConfigDict(frozen=True, extra="allow", ser_json_inf_nan="strings")

    role: str = ""
    "The question that was asked: distil or draw."
    text: BlobRef | None = None
    "The answer as it came."
    prompt_tokens: int | None = None
    tokens: int | None = None
    seconds: float | None = None


class MapEdited(Fact):
    """A finished run was read for a map that helps later runs to find their way."""

    type = EventType.MAP_EDITED
    context: str | None = None
    "The repository or corpus of the map; None for the task itself."
    run: str | None = None
    "The run that was read: `commit 3f2a…`, or empty for the whole task."
    anew: bool = False
    "Whether the map starts again with this edit and forgets all earlier ones."
    used: tuple[str, ...] = ()
    "Functions and classes that were opened or used by the run's accepted code."
    changed: tuple[str, ...] = ()
    "Functions and classes that the run added or changed."
    tags: dict[str, str] = Field(default_factory=dict)
    "Per item helpful, harmful, neutral or stale, as the run found it."
    diagnosis: str | None = None
    edits: tuple[MapEdit, ...] = ()
    distiller: str | None = None
    "Name and version of the distiller, which read the run."
    cartographer: str | None = None
    "Name and version of the cartographer, which made the edits."
    policy: BlobRef | None = None
    "The settings of the map, as JSON."
    answers: tuple[MapAnswer, ...] = ()
    "Answers of models, in order; an unusable answer is followed by another try."
    built_at: int | None = None
    "The version of the latest event that it was made of."


class PlanLearned(Fact):
    type = EventType.PLAN_LEARNED
    name: str | None = None
    text: str | None = None
