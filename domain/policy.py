"""By which settings is a context chosen? A versioned value with a digest; code versions are not
in it.

>>> Policy().digest == Policy().digest, Policy(errors=1).digest == Policy().digest
(True, False)
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backcast.domain.budget import CONTEXT
from backcast.domain.context import PRIORITIES

SYSTEM = (
    "You write Python for the project that is shown below. Use what it already has: its functions,"
    " classes and names. Answer in the form that is asked for at the end."
)
STABLE = ("related modules", "dependencies", "historical patterns", "related functions")
"The sections that stay as they were from one prompt to the next about the same target."
ADDED = "added"
"The section of what one of those would have got since."
MAP = "context map"
"The section of the map, which has a row of its own; an order that leaves it out shows none."
SECTIONS = (
    MAP,
    *STABLE,
    "test results",
    "current module",
    ADDED,
    "recent errors",
    "task description",
)
"From what changes least from prompt to prompt to what changes most."
PRIORITY: Mapping[str, str] = {
    "task description": "CRITICAL", "current module": "CRITICAL", "dependencies": "HIGH",
    "related functions": "HIGH", "related modules": "MEDIUM", "test results": "MEDIUM",
    "recent errors": "LOW", "historical patterns": "LOW", "added": "MEDIUM", "context map": "HIGH",
}  # fmt: skip
"What a section's items are worth beside others'; the target itself, what it needs at once and the \
latest failure are always CRITICAL."
WEIGHTS: Mapping[str, float] = {
    "needed": 7.0, "own file": 1.6, "own class": 1.0, "named": 1.4, "namespace": 1.7,
    "imported file": 0.9, "siblings": 0.3, "signature words": 1.6, "body words": 1.2,
    "alike": 1.7, "typed": 0.9, "used": 0.35, "together": 0.1, "lately": 0.1, "rank": 0.0,
    "meaning": 0.0, "method": -0.8, "special": -0.25, "test file": -1.0, "always": -5.6,
}  # fmt: skip
"What each evidence that a function or class will be needed counts: the terms of a logistic sum."
WORTH: Mapping[str, float] = {"name": 0.05, "signature": 1.0, "summary": 1.15, "full": 1.8}
"What showing a thing at each level is worth, if it is needed."

CONSTANTS: Mapping[str, float] = {
    "needed": 0.95, "named": 0.6, "own file": 0.08, "imported": 0.15,
}  # fmt: skip
"The chance that a constant of the module, or one that it imports, will be needed."

Count = Annotated[int, Field(ge=0, le=100_000)]


class Details(BaseModel):
    """How much detail there is at most."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    module_tokens: Count = 200
    "Of a module's summary."
    function_tokens: Count = 50
    "Of a function's or class's."
    iterations: Count = 1
    "The latest ones of the module that is worked on."
    tests: Literal["name", "signature", "full"] = "signature"
    errors: Literal["name", "signature", "full"] = "signature"
    "Of a failure: where, its first line, or all that was told."
    patterns: Count = 1
    "Similar finished tasks, and as many fixes."


LARGE = Details(
    module_tokens=500, function_tokens=150, iterations=3, tests="full", errors="full", patterns=3
)


class Thinking(BaseModel):
    """When a model that can thinks before it writes code; plans and summaries it just fills in."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    always: bool = False
    failures: Count = 2
    "From so many failed iterations of a module on."
    dependencies: Count = 4
    "And for modules that need so many others."
    share: Annotated[float, Field(ge=0, le=0.9)] = 0.5
    "Of the tokens kept for the answer, the most that may be thought; 0 for never."


LINES: Mapping[str, float] = {"used": 2.0, "needed": 2.0, "near": 1.0}
"Of a function's or class's line on the map: how often runs used it, how many functions need it, \
and how much of late was changed in files that do."
SECTION_WORTH: Mapping[str, float] = {
    "CONTEXT ROADMAP": 2.0, "CONTEXT UNDERSTANDING": 2.0, "DOMAIN CONSTANTS": 1.0,
    "PARSING SCHEMA": 1.0, "REUSABLE RESULTS": 1.0, "ERROR PATTERNS": 1.0,
}  # fmt: skip
TAG_WORTH: Mapping[str, float] = {"helpful": 1.0, "harmful": -2.0, "neutral": -0.2, "stale": -1.0}


def _of(what: str, found: Iterable[str], known: Iterable[str]) -> None:
    names = list(known)
    odd = [one for one in found if one not in names]
    if odd:
        raise ValueError(f"{what}: needed one of {', '.join(names)}, found {odd[0]!r}")


class MapSettings(BaseModel):
    """How a context map is kept, and shown."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    distiller: Literal["events", "model"] = "events"
    "Who reads a run: its events alone, or a model too."
    cartographer: Literal["rules", "model"] = "rules"
    "Who draws edits of that: rules alone, or a model too."
    merge: Annotated[float, Field(ge=0, le=1)] = 0.0
    "How near in meaning (cosine) something new is to what stands on the map to replace it; 0 where\
 only the same words are the same."
    stale: Literal["shown", "withheld"] = "shown"
    "What becomes of items that may not hold any more: they are shown as such, or not at all."
    inline: bool = False
    "Whether a run that has ended is read for the map at once; else 'backcast map update' does it."
    evolve: Count = 0
    "Runs after which the map stands as it is; 0 for never."
    reopen: bool = True
    "Whether it is edited again all the same once what it was made of has moved on."
    item_tokens: Annotated[int, Field(ge=16, le=1_000)] = 80
    "The most that one item may have."
    line_tokens: Annotated[int, Field(ge=16, le=2_000)] = 160
    "The most that an item of lines of code may have: an id is nine tokens for each."
    others: Annotated[float, Field(ge=0, le=1)] = 0.05
    "Of the map's tokens, the most for all that is no line of code."
    lines: dict[str, Annotated[float, Field(ge=0)]] = dict(LINES)
    "What the evidence that a line of code will be needed counts."
    lasting: Annotated[float, Field(gt=0, le=1)] = 0.98
    "What is left of a use with each further run."
    heat: Annotated[float, Field(gt=0, le=1)] = 0.8
    "What is left of a change with each further run."
    sections: dict[str, Annotated[float, Field(ge=0)]] = dict(SECTION_WORTH)
    "What an item of a section is worth before anything was said of it."
    tags: dict[str, float] = dict(TAG_WORTH)
    "What each time that an item was found helpful, harmful, neutral or stale adds to that."
    fading: Annotated[float, Field(gt=0, le=1)] = 0.85
    "What is left of that with each further run."
    size: Annotated[float, Field(ge=0, le=1_000)] = 0.0
    "What each hundred characters of an item take from its worth."
    core: tuple[str, ...] = ()
    "Sections whose items go last of all, whatever they are worth."

    @model_validator(mode="after")
    def _known(self) -> "MapSettings":
        _of("map.lines", self.lines, LINES)
        _of("map.sections", self.sections, SECTION_WORTH)
        _of("map.tags", self.tags, TAG_WORTH)
        _of("map.core", self.core, SECTION_WORTH)
        return self


class Policy(BaseModel):
    """The settings by which a context is chosen and ordered."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = "default"
    version: Count = 1
    system: str = SYSTEM
    "The first message."
    order: tuple[str, ...] = SECTIONS
    "The sections, from stable to volatile."
    shares: dict[str, Annotated[int, Field(ge=0)]] = {}
    "Of the context's tokens for each section; empty for the profile's own rows."
    priorities: dict[str, str] = dict(PRIORITY)
    weights: dict[str, float] = dict(WEIGHTS)
    worth: dict[str, Annotated[float, Field(ge=0)]] = dict(WORTH)
    constants: dict[str, Annotated[float, Field(ge=0, le=1)]] = dict(CONSTANTS)
    errors: Count = 5
    "Failures that are offered, the latest first; earlier ones are masked."
    offered: Annotated[float, Field(gt=0)] = 2.5
    "Functions and classes are offered until their signatures would fill the context so often."
    embedder: str = ""
    "The model by which meaning is weighed, by name or path; empty for the one that is at hand."
    keep: bool = True
    "Whether a prompt begins as the last recorded one about the same target did, where it can."
    summarised: Annotated[float, Field(ge=0)] = 0.02
    "The chance to be needed from which on a function or class is offered with its summary too."
    omissions: Count = 50
    "Things left out that are named one by one; the rest are counted."
    wide: Annotated[int, Field(ge=0)] = 20_000
    "Windows of at least so many tokens get the details of `large`, smaller ones those of `small`."
    small: Details = Details()
    large: Details = LARGE
    thinking: Thinking = Thinking()
    map: MapSettings = MapSettings()

    @model_validator(mode="after")
    def _known(self) -> "Policy":
        known = [one for one in SECTIONS if one != MAP or MAP in self.order]
        _same("order", self.order, known)
        _of("priorities", self.priorities, SECTIONS)
        _of("shares", self.shares, CONTEXT)
        _of("weights", self.weights, WEIGHTS)
        _of("worth", self.worth, WORTH)
        _of("constants", self.constants, CONSTANTS)
        _of("priorities", self.priorities.values(), PRIORITIES)
        return self

    @property
    def digest(self) -> str:
        """SHA-256 over every setting, in hex."""
        return sha256(self.body).hexdigest()

    @property
    def body(self) -> bytes:
        """Every setting as JSON, equal bytes for equal policies."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()

    def details(self, window: int) -> Details:
        """How much detail there is at most in a window of so many tokens."""
        return self.large if window >= self.wide else self.small

    def priority(self, section: str) -> str:
        """What a section's items are worth beside others'."""
        return self.priorities.get(section, PRIORITY[section])


def _same(what: str, found: Sequence[str], known: Sequence[str]) -> None:
    if sorted(found) != sorted(known):
        raise ValueError(f"{what}: needed each of {', '.join(known)} once, found {list(found)}")


DEFAULT = Policy()
