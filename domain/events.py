"""The facts of a workflow, and the event that the store makes of one. The names are the storage
format: add to them, never rename them.

A fact tells in the past tense what happened. The store turns facts into events: it alone gives them
their place and the time at which the log learned of them.

>>> fact = ModuleIteration(module_name="validators.py", iteration=3, score=0.92)
>>> str(fact.type), fact.data
('MODULE_ITERATION', {'module_name': 'validators.py', 'iteration': 3, 'score': 0.92})
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import from_json

from backcast.domain.errors import InputError
from backcast.domain.problems import first_problem

BLOB_PREFIX = "blob:"
BlobRef = Annotated[str, StringConstraints(pattern=r"^blob:[0-9a-f]{64}$")]
"The name of a large body that the store keeps once: `blob:` and the SHA-256 of its bytes, in hex."


class EventType(StrEnum):
    """The kinds of fact, as they are stored.

    The first ten are those of the documents that Backcast grew from (`backcast help seeds`).
    """

    TASK_STARTED = "TASK_STARTED"
    REQUIREMENTS_COMPLETE = "REQUIREMENTS_COMPLETE"
    PLANNING_STARTED = "PLANNING_STARTED"
    PLANNING_COMPLETE = "PLANNING_COMPLETE"
    MODULE_STARTED = "MODULE_STARTED"
    MODULE_ITERATION = "MODULE_ITERATION"
    MODULE_COMPLETE = "MODULE_COMPLETE"
    GENERATION_COMPLETE = "GENERATION_COMPLETE"
    TASK_COMPLETE = "TASK_COMPLETE"
    TASK_FAILED = "TASK_FAILED"
    MODULE_DELETED = "MODULE_DELETED"
    MODULE_RENAMED = "MODULE_RENAMED"
    COMMITTED = "COMMITTED"
    REFS_READ = "REFS_READ"
    SOURCE_READ = "SOURCE_READ"
    MODULE_OUTLINED = "MODULE_OUTLINED"
    MESSAGE_RECEIVED = "MESSAGE_RECEIVED"
    POLICY_USED = "POLICY_USED"
    STEP_STARTED = "STEP_STARTED"
    CONTEXT_BUILT = "CONTEXT_BUILT"
    MODEL_REPLIED = "MODEL_REPLIED"
    MODEL_FAILED = "MODEL_FAILED"
    ANSWER_REFUSED = "ANSWER_REFUSED"
    TOOL_CALLED = "TOOL_CALLED"
    TOOL_RETURNED = "TOOL_RETURNED"
    CHECKS_RAN = "CHECKS_RAN"
    SUMMARY_WRITTEN = "SUMMARY_WRITTEN"
    MAP_EDITED = "MAP_EDITED"
    PLAN_LEARNED = "PLAN_LEARNED"
    BRANCHED = "BRANCHED"
    IMPORTED = "IMPORTED"
    SCORED = "SCORED"
    BUDGET_GRANTED = "BUDGET_GRANTED"
    CALL_SETTLED = "CALL_SETTLED"
    TEXT_COMPRESSED = "TEXT_COMPRESSED"
    TASKS_READ = "TASKS_READ"
    DISPATCH_STARTED = "DISPATCH_STARTED"
    AGENT_PRINTED = "AGENT_PRINTED"
    DISPATCH_ENDED = "DISPATCH_ENDED"
    RESULT_CLAIMED = "RESULT_CLAIMED"
    CLAIM_CHECKED = "CLAIM_CHECKED"
    ITEM_DECIDED = "ITEM_DECIDED"
    QUESTION_ASKED = "QUESTION_ASKED"
    ANSWER_GIVEN = "ANSWER_GIVEN"
    PREFIX_WARMED = "PREFIX_WARMED"
    NODES_RATED = "NODES_RATED"


class Fact(BaseModel):
    """Something that happened. Keys that a kind does not define are kept as they came.

    Numbers that JSON does not have are written as texts: "Infinity", "NaN".
    """

    model_config = ConfigDict(
        frozen=True, extra="allow", ser_json_inf_nan="strings", protected_namespaces=()
    )

    type: ClassVar[str]
    schema_version: ClassVar[int] = 1
    "Grows when the meaning of stored data changes; an upcaster then reads the older form."

    def __init__(self, /, **data: Any) -> None:
        """`InputError` in one line where a value does not fit."""
        try:
            super().__init__(**data)
        except ValidationError as error:
            put = "; put(text) of a store returns the name of a text"
            wanted = put if error.errors()[0]["type"] == "string_pattern_mismatch" else ""
            raise InputError(f"{type(self).type}: {first_problem(error)}{wanted}") from None

    # Lets pydantic skip this __init__ where it validates, as it does for its own root models.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @property
    def data(self) -> dict[str, Any]:
        """The payload as it is stored: the stated fields, without those left to a default."""
        # Only as JSON, and not as values for JSON, does pydantic write such numbers as texts.
        stored: dict[str, Any] = from_json(self.model_dump_json(exclude_unset=True))
        return stored


class TaskStarted(Fact):
    type = EventType.TASK_STARTED
    goal: str | None = None
    spec: BlobRef | None = None
    "The whole specification, as JSON, for Backcast's own runs."
    context: str | None = None
    "The repository or corpus whose map the task shares; None for a map of its own."


class RequirementsComplete(Fact):
    type = EventType.REQUIREMENTS_COMPLETE


class PlanningStarted(Fact):
    type = EventType.PLANNING_STARTED


class PlannedModule(BaseModel):
    """A module of a plan."""

    model_config = ConfigDict(frozen=True, extra="allow")

    path: str
    "Relative and POSIX."
    purpose: str = ""
    dependencies: tuple[str, ...] = ()
    "The paths of planned modules that it needs, which are written first."
    tests: tuple[str, ...] = ()
    "The paths of the test files that check it."


class PlanOrigin(BaseModel):
    """The finished task whose plan was used again without asking a model."""

    model_config = ConfigDict(frozen=True, extra="allow")

    task: str
    version: int
    "The version of that task's own PLANNING_COMPLETE."
    ended: int
    "The version of its TASK_COMPLETE."
    held: dict[str, dict[str, str]] = {}
    "The digests that held when it was used, by path and key."


class PlanningComplete(Fact):
    type = EventType.PLANNING_COMPLETE
    planned: tuple[PlannedModule, ...] = ()
    "Modules in the order in which they are written."
    reused: PlanOrigin | None = None
    "The plan that was used again; None where the plan was made for this task."


class ModuleStarted(Fact):
    type = EventType.MODULE_STARTED
    module_name: str


class ModuleIteration(Fact):
    type = EventType.MODULE_ITERATION
    module_name: str
    "The module's path, relative and POSIX."
    iteration: int
    score: float | None = None
    source: BlobRef | None = None
    "The whole text of the module after this iteration."
    mode: str | None = None
    "Git's file mode, unless it is that of a plain file (100644)."
    unknown: str | None = None
    "Why a foreign log does not tell the text, which then is none; None where nothing is said."
    pieces: tuple[tuple[str, str], ...] = ()
    "Of an unknown text, what was replaced and by what; a long piece is a blob's name."
    line_ends: str | None = None
    "`assumed` where a foreign log shows the text by lines, so that their ends are not told."


class ModuleComplete(Fact):
    type = EventType.MODULE_COMPLETE
    module_name: str


class ModuleDeleted(Fact):
    type = EventType.MODULE_DELETED
    module_name: str


class ModuleRenamed(Fact):
    """A module went on under another name, with this source."""

    type = EventType.MODULE_RENAMED
    module_name: str
    previous_name: str
    iteration: int
    source: BlobRef | None = None
    mode: str | None = None
    unknown: str | None = None
    pieces: tuple[tuple[str, str], ...] = ()
    line_ends: str | None = None


class GenerationComplete(Fact):
    type = EventType.GENERATION_COMPLETE


class TaskComplete(Fact):
    type = EventType.TASK_COMPLETE


class TaskFailed(Fact):
    type = EventType.TASK_FAILED
    reason: str | None = None


class Committed(Fact):
    """A commit was made; the module facts of the same batch are its changes."""

    type = EventType.COMMITTED
    sha: str
    message: str
    authored_at: str
    "Git's own author date, which need not rise along the history."
    committed_at: str
    begins_after: str | None = None
    """Of the first commit of a history that was not imported from its beginning: its parent, which
    the task lacks. All files of then are new in this commit."""


class RefsRead(Fact):
    """The names of a repository's commits at the time of its import."""

    type = EventType.REFS_READ
    refs: dict[str, str] = {}
    "The SHA of each commit by name: HEAD, branches and tags."


class SourceRead(Fact):
    type = EventType.SOURCE_READ
    path: str
    source: BlobRef
    line_ends: str | None = None


class ModuleOutlined(Fact):
    """The outline of one version of a module, as the difference to another version's outline."""

    type = EventType.MODULE_OUTLINED
    module_name: str
    source: BlobRef | None = None
    "The outlined version."
    outliner: str | None = None
    "Name and version of the outliner: `python 1`."
    base: BlobRef | None = None
    "The version that `set` and `gone` are the difference to; None for a whole outline."
    set: dict[str, tuple[str, ...]] = {}
    "Facets (see `backcast.domain.outline`) that are new or changed."
    gone: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()
    "First and last line of each qualified name, in the order of the sorted names; always whole."


class MessageReceived(Fact):
    """A message to the model from somebody else."""

    type = EventType.MESSAGE_RECEIVED
    role: str
    text: BlobRef | None = None


class PolicyUsed(Fact):
    """From here on the task is worked on with this model, under this policy."""

    type = EventType.POLICY_USED
    policy: BlobRef | None = None
    profile: BlobRef | None = None
    model: str | None = None
    "The model as the caller named it: `llama:/models/qwen3.gguf`, a URL, ..."
    out: str | None = None
    "The output folder as the caller named it."


class CallCost(BaseModel):
    """What a call may cost at most, or has cost."""

    model_config = ConfigDict(frozen=True, extra="allow", ser_json_inf_nan="strings")

    tokens: int = 0
    "Of prompt and answer."
    seconds: float = 0.0
    money: float = 0.0


class StepStarted(Fact):
    """A model is about to be asked. Of two processes at one version, one succeeds."""

    type = EventType.STEP_STARTED
    kind: str | None = None
    "The kind of answer: plan, code, summary, or ask for a step towards the answer to a question."
    module_name: str | None = None
    "The module, the node that is summed up, or the name of the question."
    iteration: int | None = None
    attempt: int | None = None
    "The number of the request within an iteration, until one gives a usable answer."
    runner: str | None = None
    "The asking process, by a name of its own."
    again: int | None = None
    "The version of the CONTEXT_BUILT that is asked again because its process was cut off."
    wave: int | None = None
    """The version as of which the prompts of calls that run side by side were built; None for a
    call that runs alone."""
    reserved: "CallCost | None" = None
    """The most that it can cost, which is set aside until it is settled; None for a call that runs
    alone and without a budget."""
    actions: tuple[str, ...] = ()
    "The actions that an answer on the way to that of a question may take."
    alternative: int | None = None
    "Its number among the alternatives to an earlier call, of which one answer is used."


class ServerAnswer(BaseModel):
    """What a server sent, to the byte."""

    model_config = ConfigDict(frozen=True, extra="allow")

    status: int | None = None
    headers: dict[str, str] = {}
    body: BlobRef | None = None
    arrivals: BlobRef | None = None
    "Milliseconds since the chunk before (the first since the request), and bytes, of each chunk."
    first_byte: float | None = None
    "Seconds from the request to the first byte of the answer."


class AnswerOrigin(BaseModel):
    """The answer of an earlier call that was used again."""

    model_config = ConfigDict(frozen=True, extra="allow")

    task: str
    version: int
    "The version of that task's MODEL_REPLIED."


class ModelReplied(Fact):
    type = EventType.MODEL_REPLIED
    text: BlobRef | None = None
    model: str | None = None
    thinking: BlobRef | None = None
    "The model's thoughts before the answer."
    finish: str | None = None
    "stop, or length if the answer was cut."
    prompt_tokens: int | None = None
    "Tokens as the model counted them."
    predicted_tokens: int | None = None
    "Tokens as Backcast counted them before asking."
    tokens: int | None = None
    "Tokens of the answer, including its thoughts."
    cached_tokens: int | None = None
    "Tokens of the prompt that the model did not have to read again."
    seconds: float | None = None
    http_answer: ServerAnswer | None = None
    "The answer of the server as it came, where a proxy recorded it."
    call: int | None = None
    "The version of the STEP_STARTED of the call, where several run side by side."
    module_name: str | None = None
    "The module that the call was about, where others are made beside it."
    question: str | None = None
    """The digest of all that the model was asked: which model, its sampling, the rendered prompt,
    the form and the limits of the answer. Equal ones may have the same answer."""
    answer_of: AnswerOrigin | None = None
    "The earlier answer that this is, for which no model was asked and no token was spent."


class ModelFailed(Fact):
    type = EventType.MODEL_FAILED
    reason: str | None = None
    kind: str | None = None
    """Of a call that we made: unavailable, timeout, overflow, refused, garbled. Of a step: answer,
    where no reply could be used. Of a request that a proxy recorded also left (by its client) and
    cut (the answer did not end). Others, as foreign logs may have them, are kept as they are."""
    http_answer: ServerAnswer | None = None
    call: int | None = None
    "As in MODEL_REPLIED."
    module_name: str | None = None


class AnswerRefused(Fact):
    """A reply of the model could not be used."""

    type = EventType.ANSWER_REFUSED
    reason: str | None = None
    call: int | None = None
    "As in MODEL_REPLIED."
    module_name: str | None = None


class ToolCalled(Fact):
    type = EventType.TOOL_CALLED
    tool: str
    call_id: str | None = None
    "The name that the result refers to, as several calls may be open at once."
    arguments: Any = None


class ToolReturned(Fact):
    type = EventType.TOOL_RETURNED
    tool: str | None = None
    call_id: str | None = None
    output: BlobRef | None = None
    failed: bool = False
    message: str | None = None
    "The failure, in a few lines."
    nodes: tuple[str, ...] = ()
    "Nodes that the model asked to see, and that the next prompt shows in full."
    call: int | None = None
    "As in MODEL_REPLIED."


class CheckFailure(BaseModel):
    """A check that failed."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = ""
    message: str = ""
    "The first lines of its message."
    at: str = ""
    "Where it was raised: `path:line`, the path relative to the task; empty if unknown."
    kind: str = ""
    "failure (the check ran, and was not fulfilled) or error (it could not run); else empty."


class ChecksRan(Fact):
    type = EventType.CHECKS_RAN
    passed: int
    failed: int
    errors: int = 0
    "Checks that could not run to their end, or whose modules could not be imported."
    skipped: int = 0
    "Checks that their own text leaves out or expects to fail; neither passed nor failed."
    module_name: str | None = None
    "The checked module; None for the task as a whole."
    failures: tuple[CheckFailure, ...] = ()
    output: BlobRef | None = None
    "The printed output, if it is long."
    preview: str | None = None
    "The end of the printed output."
    contained: tuple[str, ...] = ()
    "Limits and bans that stopped something, in short words: `time limit`, `memory`."
    isolation: dict[str, str] = {}
    "The means by which network, files, processes and user were kept apart."
    seconds: float | None = None
    "Seconds by the clock on the wall."
    coverage: dict[str, float] = {}
    "The share of the lines that were run, from 0 to 1, by path."

    @property
    def unmet(self) -> int:
        """How many checks failed or could not run."""
        return self.failed + self.errors


class Branched(Fact):
    """The task is a branch: the events before this one were copied from its origin."""

    type = EventType.BRANCHED
    origin: str | None = None
    version: int | None = None
    "The version of the last event that was copied."
    root: str | None = None
    "The first task of the lineage: the origin, or if that is a branch too, its root."
    runner: str | None = None
    "The forking process, by a name of its own."


class Imported(Fact):
    """The importer by which a foreign log's events came into the task, from the batch in front of
    this event up to the next event of this kind and format."""

    type = EventType.IMPORTED
    format: str | None = None
    "The format of the foreign log: git, claude-code, ..."
    version: int | None = None
    "The version of the importer of that format."
    earlier: int | None = None
    """The version by which the format's events before that batch came, where none of them says so:
    1, as versions were not recorded at first. None where there are no such events."""
    anew: str | None = None
    "The task that was imported anew under this name; None where it is the first of its log."
    same_as: tuple[str, ...] = ()
    "Tasks that hold the same session as a proxy recorded it, or the agent's own raw bodies."


class UnknownFact(Fact):
    """A fact of a kind, or of a newer form of a kind, that this version does not know.

    It is kept, and written again, as it came.
    """

    type = ""
    kind: str
    kind_version: int = 1
    payload: dict[str, Any]

    @property
    def data(self) -> dict[str, Any]:
        """The payload, untouched."""
        return self.payload


class Claim(NamedTuple):
    """A fact as its writer states it to the store, which has given it no place yet.

    What an agent claims of its work is another thing: RESULT_CLAIMED.
    """

    fact: Fact
    timestamp: datetime | None = None
    "When it happened, with a zone; None for the moment at which the store records it."
    writer: str | None = None
    because: tuple[int, ...] | None = None


class WorkflowEvent(NamedTuple):
    """A fact with its place, times and causes. Only the store makes one."""

    position: int
    "Its place in the whole store, counted from 1."
    task_id: str
    version: int
    "Its place in its task, counted from 1 without a gap."
    fact: Fact
    timestamp: datetime
    "When it happened, as its writer says; with a zone."
    recorded_at: datetime
    "When the log learned of it; never runs backwards along the positions."
    writer: str
    because: tuple[int, ...]
    """The versions, in the same task, of the events that caused it. If empty, it follows all
    earlier ones, since a writer appends after the last event that it has read."""

    @property
    def type(self) -> str:
        """The name of the kind, as it is stored."""
        return self.fact.kind if isinstance(self.fact, UnknownFact) else self.fact.type


def line_of(event: WorkflowEvent) -> dict[str, Any]:
    """Return an event's public form: an exported line, and all that other stores need.

    Position and recording time belong to the store and are left out.
    """
    line: dict[str, Any] = {
        "type": event.type,
        "task_id": event.task_id,
        "timestamp": TIMESTAMP.dump_python(event.timestamp, mode="json"),
        "data": event.fact.data,
        "version": event.version,
        "writer": event.writer,
    }
    if event.because:
        line["because"] = list(event.because)
    schema = schema_of(event.fact)
    return line if schema == 1 else line | {"schema": schema}


def schema_of(fact: Fact) -> int:
    """Return the schema version under which a fact is stored."""
    return fact.kind_version if isinstance(fact, UnknownFact) else fact.schema_version


TIMESTAMP = TypeAdapter(datetime)
