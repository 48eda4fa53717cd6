"""By which settings is a context chosen? A versioned value with a digest that leaves code versions
out.

>>> Policy().digest == Policy().digest, Policy(errors=1).digest == Policy().digest
(True, False)
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backcast.domain.budget import CONTEXT
from backcast.domain.compression_settings import CompressionSettings
from backcast.domain.context import PRIORITIES
from backcast.domain.message_settings import MessageSettings
from backcast.domain.policy_body import written
from backcast.domain.summary import LIMITS
from backcast.domain.texts import KNOWN, SHORT_WORDS, TEXTS, problem_of

SYSTEM = (
    "You write Python for the project that is shown below. Use what it already has: its functions,"
    " classes and names. Answer in the form that is asked for at the end."
)
STABLE = ("related modules", "dependencies", "historical patterns", "related functions")
"The sections that stay the same from one prompt to the next about the same target."
ADDED = "added"
"The section of items that the stable sections would have gained since."
MAP = "context map"
"The section of the map, which has a row of its own; an order without it shows no map."
SECTIONS = (
    MAP,
    *STABLE,
    "test results",
    "current module",
    ADDED,
    "recent errors",
    "task description",
)
"The sections, ordered by how often they change from prompt to prompt."
PRIORITY: Mapping[str, str] = {
    "task description": "CRITICAL", "current module": "CRITICAL", "dependencies": "HIGH",
    "related functions": "HIGH", "related modules": "MEDIUM", "test results": "MEDIUM",
    "recent errors": "LOW", "historical patterns": "LOW", "added": "MEDIUM", "context map": "HIGH",
}  # fmt: skip
"""The priority of each section's items; the target itself, its direct needs and the latest failure
are always CRITICAL."""
WEIGHTS: Mapping[str, float] = {
    "needed": 7.0, "own file": 1.6, "own class": 1.0, "named": 1.4, "namespace": 1.7,
    "imported file": 0.9, "siblings": 0.3, "signature words": 1.6, "body words": 1.2,
    "alike": 1.7, "typed": 0.9, "used": 0.35, "together": 0.1, "lately": 0.1, "rank": 0.0,
    "meaning": 0.0, "method": -0.8, "special": -0.25, "test file": -1.0, "always": -5.6,
}  # fmt: skip
"The weight of each kind of evidence that a function or class will be needed, in a logistic sum."
LIKENESS: Mapping[str, float] = dict.fromkeys(WEIGHTS, 0.0) | {
    "text words": 0.0, "like name": 0.0, "same name": 0.0, "like class": 0.0, "like path": 0.0,
    "folder": 0.0, "near": 0.0, "parameters": 0.0,
}  # fmt: skip
"The weight of each kind of evidence that a body is like the one that will be written."
LIKENESS_NAMES = (*LIKENESS, "cited", "callers")
"""All kinds of evidence that such a body may be weighed by: the later ones are in no default, which
logs recorded without them."""
RATED = "rated:"
"""How the evidence begins that a log brings itself: `rated:NAME` is the newest rating by a
NODES_RATED of that name, 0 for what was never rated. No default weighs any."""
LOOKUP_WEIGHTS = {name: weight for name, weight in WEIGHTS.items() if name != "meaning"}
"The weights of `WEIGHTS` for a question, for which no model compares meanings."
LOOKUP = {name: 0.0 for name in LIKENESS if name != "meaning"} | {"aside": 0.0}
"""The weight of each kind of evidence that a body is asked about. Besides that of likeness: that it
stands among examples, benchmarks or documentation."""
RECALL: Mapping[str, float] = dict.fromkeys(LIKENESS, 0.0) | {
    "name and text": 0.0, "same place": 0.0, "same goal": 0.0, "exists": 0.0,
}  # fmt: skip
"""The weight of each kind of evidence that a function of earlier work comes back. Besides that of
likeness: its name and its text together, its path and name, its task's goal, and whether the
function that is asked for is there already."""
WORTH: Mapping[str, float] = {"name": 0.05, "signature": 1.0, "summary": 1.15, "full": 1.8}
"The worth of each level at which a needed thing is shown."

CONSTANTS: Mapping[str, float] = {
    "needed": 0.95, "named": 0.6, "own file": 0.08, "imported": 0.15,
}  # fmt: skip
"The chance that a constant of the module, or one that it imports, will be needed."

Count = Annotated[int, Field(ge=0, le=100_000)]


class Details(BaseModel):
    """Limits on detail."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    module_tokens: Count = 200
    "Tokens of a module's summary."
    function_tokens: Count = 50
    "Tokens of a function's or class's summary."
    iterations: Count = 1
    "The latest iterations of the target module that are shown."
    tests: Literal["name", "signature", "full"] = "signature"
    errors: Literal["name", "signature", "full"] = "signature"
    "Detail of a failure: its place, its first line, or its whole message."
    patterns: Count = 1
    "Similar finished tasks, and as many fixes and plans."


LARGE = Details(
    module_tokens=500, function_tokens=150, iterations=3, tests="full", errors="full", patterns=3
)


class Thinking(BaseModel):
    """When a thinking model thinks before it writes code; for plans and summaries it does not."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    always: bool = False
    failures: Count = 2
    "The number of failed iterations of a module from which on it thinks."
    dependencies: Count = 4
    "The number of needed modules from which on it thinks."
    share: Annotated[float, Field(ge=0, le=0.9)] = 0.5
    "The share of the answer's tokens that thoughts may take; 0 for never."


LINES: Mapping[str, float] = {"used": 2.0, "needed": 2.0, "near": 1.0}
"""The weights of a function's or class's line on the map: how often runs used it, how many
functions need it, and how much was changed lately in files that do."""
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


def unrated(names: Iterable[str]) -> list[str]:
    """Return the names of evidence that is not of a log's own ratings."""
    return [name for name in names if not (name.startswith(RATED) and name != RATED)]


class MapSettings(BaseModel):
    """How a context map is kept, and shown."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    distiller: Literal["events", "model"] = "events"
    "Reader of a finished run: its events alone, or a model too."
    cartographer: Literal["rules", "model"] = "rules"
    "Author of the edits: rules alone, or a model too."
    merge: Annotated[float, Field(ge=0, le=1)] = 0.0
    "The cosine similarity from which on a new item replaces an old one; 0 to compare words only."
    stale: Literal["shown", "withheld"] = "shown"
    "The fate of items that may no longer hold: shown with a mark, or not at all."
    inline: bool = False
    "Whether a finished run updates the map at once; else 'backcast map update' does it."
    evolve: Count = 0
    "Runs after which the map is frozen; 0 for never."
    reopen: bool = True
    "Whether a frozen map is edited again once the facets that it was made of change."
    item_tokens: Annotated[int, Field(ge=16, le=1_000)] = 80
    "The most tokens of one item."
    line_tokens: Annotated[int, Field(ge=16, le=2_000)] = 160
    "The most tokens of an item of lines of code, its id's nine tokens included."
    others: Annotated[float, Field(ge=0, le=1)] = 0.05
    "The largest share of the map's tokens for items that are not lines of code."
    lines: dict[str, Annotated[float, Field(ge=0)]] = dict(LINES)
    "The weights of the evidence that a line of code will be needed."
    lasting: Annotated[float, Field(gt=0, le=1)] = 0.98
    "The factor by which a use fades with each further run."
    heat: Annotated[float, Field(gt=0, le=1)] = 0.8
    "The factor by which a change fades with each further run."
    sections: dict[str, Annotated[float, Field(ge=0)]] = dict(SECTION_WORTH)
    "The worth of a section's item before any tag."
    tags: dict[str, float] = dict(TAG_WORTH)
    "The worth that each helpful, harmful, neutral or stale tag adds."
    fading: Annotated[float, Field(gt=0, le=1)] = 0.85
    "The factor by which a tag's worth fades with each further run."
    size: Annotated[float, Field(ge=0, le=1_000)] = 0.0
    "The worth that an item loses per hundred characters."
    core: tuple[str, ...] = ()
    "Sections whose items are evicted last, whatever their worth."

    @model_validator(mode="after")
    def _known(self) -> "MapSettings":
        _of("map.lines", self.lines, LINES)
        _of("map.sections", self.sections, SECTION_WORTH)
        _of("map.tags", self.tags, TAG_WORTH)
        _of("map.core", self.core, SECTION_WORTH)
        return self


class Lookup(BaseModel):
    """How functions and classes are chosen for a request that names no place, as a question does,
    or a module alone that is too large to be shown whole.

    What is asked about is wanted there, not what new code in some place would need.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    weights: dict[str, float] = dict(LOOKUP_WEIGHTS)
    "The weight of each kind of evidence that a function or class will be needed."
    likeness: dict[str, float] = dict(LOOKUP)
    "The weight of each kind of evidence that a body is asked about."
    pattern: Annotated[float, Field(ge=0)] = 1.0
    "The worth of a text that is asked about, beside that of needed ones."
    longer: Annotated[float, Field(ge=0, le=1)] = 1.0
    "The power of its tokens by which that worth grows."
    fading: Annotated[float, Field(ge=0)] = 0.0
    "The number of likest texts behind which a text is worth half as much, behind twice as many a \
third; 0 for as much."

    heads: Annotated[float, Field(ge=0, le=1)] = 0.9
    "The share of the worth of the best of its methods that the line of a class has by itself: it \
stands above them, whatever it is worth."

    @model_validator(mode="after")
    def _known(self) -> "Lookup":
        _of("lookup.weights", unrated(self.weights), LOOKUP_WEIGHTS)
        _of("lookup.likeness", unrated(self.likeness), LOOKUP)
        return self


class Policy(BaseModel):
    """The settings by which a context is chosen and ordered.

    `Policy()` is not the default: a setting that is not named has the value by which logs from
    before it are read, which never changes. `backcast.policy(errors=0)` changes one of the default.

    >>> Policy(name="forgetful", errors=0).errors, Policy().errors
    (0, 5)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = "default"
    version: Count = 1
    system: str = SYSTEM
    "The first message."
    texts: dict[str, str] = dict(TEXTS)
    "Our other words: headings, and the lines of a request; see `backcast.domain.texts`."
    order: tuple[str, ...] = SECTIONS
    "The sections, from stable to volatile."
    shares: dict[str, Annotated[int, Field(ge=0)]] = {}
    "Tokens of the context per section; empty for the profile's own rows."
    priorities: dict[str, str] = dict(PRIORITY)
    "How long each section is kept where not all fit: CRITICAL, HIGH, MEDIUM or LOW."
    weights: dict[str, float] = dict(WEIGHTS)
    "The weight of each kind of evidence that a function or class will be needed."
    worth: dict[str, Annotated[float, Field(ge=0)]] = dict(WORTH)
    "The worth of each level at which a needed thing is shown."
    likeness: dict[str, float] = dict(LIKENESS)
    "The weight of each kind of evidence that a body is like the one that will be written."
    pattern: Annotated[float, Field(ge=0)] = 0.0
    "The worth of a text that is like the one asked for, beside that of needed ones."
    longer: Annotated[float, Field(ge=0, le=1)] = 0.0
    "The power of its tokens by which that worth grows."
    recall: dict[str, float] = dict(RECALL)
    "The weight of each kind of evidence that a function of earlier work comes back."
    recalled: Annotated[float, Field(ge=0)] = 0.0
    "The worth of a text of earlier work beside one of the project's own; 0 for references alone."
    news: Count = 0
    "At most so many functions of other tasks that are not likely enough are offered all the same, \
by those of their lines that the project has no more."
    values: bool = False
    "Whether a fix is offered too where a failure differs from an earlier one in values alone."
    fading: Annotated[float, Field(ge=0)] = 0.0
    "The number of likest texts behind which a text is worth half as much, behind twice as many a \
third; 0 for as much."
    opening: bool = False
    "Whether a module's own lines above its first function or class stand for its summary."
    around: Annotated[float, Field(ge=0, le=1)] = 0.0
    "The share of the context for the lines of its module around the place of a function."
    whole: Annotated[float, Field(ge=0, le=1)] = 0.0
    "The share of the context up to which all of a module is shown, its function included; with \
this the lines around a place never take more."
    heads: Annotated[float, Field(ge=0, le=1)] = 0.9
    "The share of the best of its methods' chance that a class has: it is the line above them."
    once: bool = False
    "Whether a function that is shown whole, and in part in the lines around the place, stands \
there alone, and whole."
    used_imports: bool = False
    "Whether imports of the target's module that the lines around the place use go before others, \
where not all fit, and a line tells that there are more."
    in_order: bool = False
    "Whether a module is shown as it stands: its header whole, each method below the line of its \
class, no function begun in its midst, no lone names; a new function beside the likest by name."
    beside: Annotated[float, Field(ge=0, le=1)] = 0.0
    "The share of the context up to which the module most like a new one, of its folder, is shown."
    tests_beside: Count = 0
    "Of that module the likest tests that are offered, where the new one is of tests: it is then \
the module whose tests are likest; 0 for functions alone."
    first: Annotated[float, Field(ge=0, le=1)] = 0.0
    "The share of the context up to which the body that is first by the request's words, both in \
what is written and in what it names, is shown for certain; 0 for what it is worth."
    lookup: Lookup | None = None
    "How functions are chosen where a request names no place, or only a module that is larger than \
`whole`. Without it the settings above choose them there too, and the module that a request names \
is shown whole only where it is wanted or needed."
    parts: Annotated[float, Field(ge=0, le=1)] = 0.0
    "The share of the context from which on a function is offered in parts, too; 0 for never."
    checked: bool = False
    "Whether the last iterations of a module are shown only where checks ran on them."
    lives: dict[str, Annotated[float, Field(ge=0)]] = {}
    "The most seconds for which written summaries hold, by kind of node; none by default."
    habits: Count = 0
    "Tokens of a row on how the project writes its code, as its outlines count it; 0 for none."
    libraries: Count = 0
    "Third-party libraries of the target's module with a row on how the project uses them."
    library_tokens: Count = 60
    "Tokens of such a row."
    facts: Count = 0
    "Tokens of a row of facts that hold, those that answer the request best; 0 for none."
    levels: bool = False
    "Whether a summary is shortened part by part until it fits, and shows what a model wrote of a \
part; else what a model wrote stands whole in its place, and what is derived loses whole lines."
    constants: dict[str, Annotated[float, Field(ge=0, le=1)]] = dict(CONSTANTS)
    "The chance that a constant of the module, or one that it imports, will be needed."
    errors: Count = 5
    "The number of latest failures on offer; earlier ones are masked."
    verdicts: bool = False
    "Whether the counts of the last run, and which tests failed and passed in it, are shown."
    trail: Count = 0
    "The earlier failed tries of a module that are shown before its last failure; 0 for none."
    offered: Annotated[float, Field(gt=0)] = 2.5
    "How many times over the signatures of the offered functions and classes may fill the context."
    embedder: str = ""
    "The model that compares meanings, by name or path; empty for the installed one."
    keep: bool = True
    "Whether a prompt begins like the last recorded one about the same target, if it can."
    summarised: Annotated[float, Field(ge=0)] = 0.02
    "The chance to be needed from which on a function or class is offered with its summary too."
    omissions: Count = 50
    "Omissions that are named one by one; the rest are counted."
    wide: Annotated[int, Field(ge=0)] = 20_000
    "The window from which on the details of `large` apply instead of those of `small`."
    small: Details = Details()
    "Limits on detail in a window below `wide`."
    large: Details = LARGE
    "Limits on detail from `wide` on."
    thinking: Thinking = Thinking()
    "When a thinking model thinks before it writes code."
    map: MapSettings = MapSettings()
    "How a context map is kept, and shown."
    plans: Literal["off", "example", "use"] = "off"
    "Plans of finished tasks: not shown, shown as an example to a like task, or also used without \
asking a model where every precondition holds."
    messages: MessageSettings = MessageSettings()
    "How an agent's earlier messages are shown; prompts that we build of the code have none."
    compression: CompressionSettings = CompressionSettings()
    "How what failed is shown where that is long: by itself above 5,000 tokens."
    outputs: bool = False
    "Whether the output of the last failed checks is shown too where it is long: as extracts."

    @model_validator(mode="after")
    def _known(self) -> "Policy":
        known = [one for one in SECTIONS if one != MAP or MAP in self.order]
        _same("order", self.order, known)
        _of("priorities", self.priorities, SECTIONS)
        _of("shares", self.shares, CONTEXT)
        _of("weights", unrated(self.weights), WEIGHTS)
        _of("likeness", unrated(self.likeness), LIKENESS_NAMES)
        _of("recall", self.recall, RECALL)
        _of("worth", self.worth, WORTH)
        _of("constants", self.constants, CONSTANTS)
        _of("lives", self.lives, LIMITS)
        _of("priorities", self.priorities.values(), PRIORITIES)
        _of("texts", self.texts, KNOWN)
        for name, text in self.texts.items():
            if problem := problem_of(name, text):
                raise ValueError(f"texts.{name}: {problem}")
        return self

    @property
    def words(self) -> dict[str, str]:
        """Every text, with today's for those that a recorded policy did not know yet."""
        return {**TEXTS, **self.texts}

    @property
    def by_meaning(self) -> bool:
        """Whether a model has to compare meanings, for weights or where likeness counts."""
        alike = self.likeness.get("meaning") if self.pattern else 0.0
        return bool(self.weights.get("meaning") or alike)

    @property
    def digest(self) -> str:
        """SHA-256 over every setting, in hex."""
        return sha256(self.body).hexdigest()

    @property
    def body(self) -> bytes:
        """The settings as JSON, equal bytes for equal policies: see `policy_body`."""
        return json.dumps(written(self), sort_keys=True).encode()

    @property
    def ratings(self) -> tuple[str, ...]:
        """The names of the log's own ratings that are weighed, each once."""
        tables = [self.weights, self.likeness]
        tables += [self.lookup.weights, self.lookup.likeness] if self.lookup else []
        names = [name for table in tables for name, weight in table.items() if weight]
        return tuple(
            name.removeprefix(RATED) for name in dict.fromkeys(names) if name.startswith(RATED)
        )

    def details(self, window: int) -> Details:
        """Return the limits on detail for a window of so many tokens."""
        return self.large if window >= self.wide else self.small

    def priority(self, section: str) -> str:
        """Return the priority of a section's items."""
        return self.priorities.get(section, PRIORITY[section])


def _same(what: str, found: Sequence[str], known: Sequence[str]) -> None:
    if sorted(found) != sorted(known):
        raise ValueError(f"{what}: needed each of {', '.join(known)} once, found {list(found)}")


COVERAGE = Policy(name="coverage")
"""Shows what covers the names that new code will need. It is made of the defaults of the settings,
which never change: a policy that a log recorded before a setting existed is read with them."""
READER = Policy(
    name="reader",
    version=12,
    **SHORT_WORDS,
    pattern=1.0,
    longer=0.4,
    recalled=1.0,
    news=1,
    values=True,
    fading=10,
    opening=True,
    around=0.35,
    whole=0.55,
    parts=0.2,
    offered=1.2,
    checked=True,
    plans="example",
    verdicts=True,
    trail=3,
    map=MapSettings(inline=True),
    levels=True,
    libraries=2,
    outputs=True,
    in_order=True,
    once=True,
    beside=0.35,
    tests_beside=30,
    first=0.35,
    used_imports=True,
    heads=0.0,
    lookup=Lookup(
        weights=dict(LOOKUP_WEIGHTS) | {"always": -8.0, "test file": -8.0},
        likeness=dict(LOOKUP) | {
            "own file": 5.0, "text words": 3.5, "body words": 1.8, "named": 1.5, "alike": 1.0,
            "signature words": 0.4, "aside": -1.7, "test file": -8.0, "always": -6.7,
        },
        heads=0.0,
    ),
    shares={
        "current module": 60, "dependencies": 20, "recent errors": 10, "test results": 5,
        "historical patterns": 5,
    },
    worth={"name": 0.02, "signature": 0.4, "summary": 0.4, "full": 0.8},
    likeness=dict(LIKENESS) | {
        "text words": 2.5, "signature words": 1.5, "body words": 1.0, "parameters": 2.0,
        "like name": 1.0, "same name": 0.3, "like class": 0.7, "near": 5.0, "siblings": 0.3,
        "special": -0.3, "test file": -1.0, "always": -6.5, "cited": 1.5, "callers": 2.0,
    },
    constants=dict(CONSTANTS) | {"named": 1.0},
    recall=dict(RECALL) | {
        "text words": 2.0, "signature words": 1.0, "body words": 1.5, "parameters": 0.5,
        "same name": 1.0, "like class": 0.7, "name and text": 4.0, "same place": 2.0,
        "same goal": 6.0, "exists": -6.0, "special": -0.3, "always": -8.0,
    },
)  # fmt: skip
"""Shows what makes new code likely to a model that reads it: above all whole bodies that are like
it. Change it here, and nowhere else; count `version` on with each release that does."""
DEFAULT = READER
