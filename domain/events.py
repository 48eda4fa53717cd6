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
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, model_validator
from pydantic_core import from_json

BLOB_PREFIX = "blob:"
BlobRef = Annotated[str, StringConstraints(pattern=r"^blob:[0-9a-f]{64}$")]
"The name of a large body that the store keeps once: `blob:` and the SHA-256 of its bytes, in hex."


class EventType(StrEnum):
    """The kinds of fact, as they are stored. The first ten are the seeds' own."""

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


class CompressedItem(BaseModel):
    """What extracts show of a longer text."""

    model_config = ConfigDict(frozen=True, extra="allow")

    whole: BlobRef
    state: str = ""
    "compressed, or offloaded where a preview stands for the text."
    tokens: int = 0
    before: int = 0
    "The tokens of the whole."
    ratio: float = 1.0
    target: int = 0
    protected: int = 0
    "The tokens of what had to stay."
    kept: tuple[tuple[int, int], ...] = ()
    "First and last line of each part that is shown, from 1."
    dropped: tuple[tuple[int, int], ...] = ()


class ContextItem(BaseModel):
    """One thing that a model was shown."""

    model_config = ConfigDict(frozen=True, extra="allow")

    node: str
    "The node that it shows: `function:pkg/validators.py::validate_email`."
    section: str = ""
    level: str = ""
    "name, signature, summary or full."
    found: str = ""
    "Where it was found: online, offline, or made for this."
    task: str | None = None
    "The finished task that contributed it, if it was found offline."
    text: BlobRef | None = None
    tokens: int = 0
    compressed: CompressedItem | None = None
    "What it shows of a longer text; None where it shows all."


class ContextOmission(BaseModel):
    """One thing that a model was not shown."""

    model_config = ConfigDict(frozen=True, extra="allow")

    node: str
    section: str = ""
    reason: str = ""


class RequestPart(BaseModel):
    """A part of a request that another program made, as it stood in the request's body."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str
    "system, tool, message, reminder, call, result, thinking, image, file, setting, or rest."
    text: BlobRef
    "The very bytes of the part."
    before: str = ""
    "The bytes of the body between the part before it and this one."
    role: str = ""
    name: str = ""
    "The name of a tool, of a called one too, or of a setting."
    tokens: int | None = None
    "Tokens of its text as the asked server counted them; None if not counted."


class ForeignRequest(BaseModel):
    """A request that another program sent to a model. Its bytes follow from its parts."""

    model_config = ConfigDict(frozen=True, extra="allow")

    path: str
    "The path that was asked, without the values of its query."
    dialect: str = ""
    "chat, messages, responses, completion: how the body is written."
    purpose: str = ""
    "Empty for a step of the conversation; else title or token count."
    fidelity: str = ""
    """Empty for the very bytes. Of a context formed from an agent's own log messages, or parts
    where the log lacks the system's instructions: its body is ours, and has no digest."""
    parts: tuple[RequestPart, ...] = ()
    "The parts that are not copied, in order."
    base: int | None = None
    "The version of the CONTEXT_BUILT whose parts are copied."
    copied: tuple[tuple[int, int, int], ...] = ()
    "Runs of copied parts: the place of the first here, its place in the base, how many."
    rest: str = ""
    "The bytes of the body behind its last part."
    digest: str = ""
    "SHA-256 of the body."
    size: int = 0
    "Bytes of the body."
    headers: dict[str, str] = {}
    "What the client said of itself and of the body; never a key or a cookie."


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


class ContextBuilt(Fact):
    """A prompt was built. Its bytes follow from the items' texts, their order and the template."""

    type = EventType.CONTEXT_BUILT
    items: tuple[ContextItem, ...] = ()
    omissions: tuple[ContextOmission, ...] = ()
    target: str | None = None
    "The node that the prompt is about."
    query: str | None = None
    "The work to be done, in words."
    wanted: tuple[str, ...] = ()
    "Nodes to be shown in full."
    needs: tuple[str, ...] = ()
    "Paths of modules that the target was known to need."
    behind: str = ""
    "What the target stands behind where it is new, as its request says."
    stood_at: int | None = None
    "The last version of the task that the builder had read."
    profile: BlobRef | None = None
    policy: BlobRef | None = None
    template: str | None = None
    tokenizer: str | None = None
    "The id of the tokenizer."
    embedder: str | None = None
    "The id of the embedder, if the policy weighs meanings."
    query_vector: BlobRef | None = None
    "The vector of the request, as 32-bit floats, little-endian."
    code: dict[str, str] = {}
    "The versions of the code that chose and rendered."
    tokens: int | None = None
    "Tokens of the whole rendered prompt."
    sections: dict[str, int] = {}
    "The tokens of each section's items."
    shared_prefix: int | None = None
    "Leading tokens that the prompt shares with the one before it in the task."
    parted_in: str | None = None
    "The section in which the two differ first; empty if they do not."
    digest: str | None = None
    "SHA-256 of the rendered prompt."
    masked: int | None = None
    """How many of its texts (items, and the policy's words) are masked in this log, so that they no
    longer give the digest. None if the prompt is as it was shown."""
    request: ForeignRequest | None = None
    "The request of another program, which holds this prompt; None for a prompt that we built."


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
    """unavailable, timeout, overflow, refused, garbled; or answer: no reply could be used. Of a
    request that a proxy recorded also left (by its client) and cut (the answer did not end)."""
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


class TextCompressed(Fact):
    """A long text was brought to fewer tokens: by rules, or by a model behind what must stay."""

    type = EventType.TEXT_COMPRESSED
    about: str | None = None
    "What the text is, in a few words."
    text: BlobRef | None = None
    "The short form; what it is of stands under `compressed`."
    compressed: CompressedItem | None = None
    by: str | None = None
    "extractive, or the model that summed up the rest."
    answer: BlobRef | None = None
    "The model's answer as it came."
    refused: str = ""
    "Why the model's answer does not stand in it; empty where it does, or none was asked."


class SummaryWritten(Fact):
    """A model or a person summed up a node."""

    type = EventType.SUMMARY_WRITTEN
    node: str | None = None
    "`task:ID`, `module:PATH`, or `function:PATH::NAME`."
    text: str | None = None
    fields: dict[str, str | tuple[str, ...]] = {}
    "The requested parts of the text: purpose, inputs, outputs, ..."
    tokens: int | None = None
    "Tokens of the text as the writing model counts them; None if not counted."
    summariser: str | None = None
    "Name and version of the writer: `qwen3-8b 1`."
    answer: BlobRef | None = None
    "The model's answer as it came."
    built_at: int | None = None
    "The version of the latest event that it was built from."
    clock: dict[str, int] = {}
    "The iteration of each module that it was built from, by path."
    built_from: dict[str, dict[str, str]] = {}
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
    built_from: dict[str, dict[str, str]] = {}
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
    tags: dict[str, str] = {}
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


class BudgetGranted(Fact):
    """From here on the task's calls may cost so much together, those before it included."""

    type = EventType.BUDGET_GRANTED
    calls: int | None = None
    "None where they are not limited, and so for the others."
    tokens: int | None = None
    "Of prompts and answers."
    seconds: float | None = None
    "Of all calls, one added to the other."
    money: float | None = None


class CallSettled(Fact):
    """A call ended: what was set aside for it is free again, less what it has cost."""

    type = EventType.CALL_SETTLED
    call: int
    "The version of its STEP_STARTED."
    outcome: str | None = None
    """answered, or failed; won or lost where alternatives ran; cancelled; reused, where an earlier
    answer was used again; or cut, where its process ended before it did."""
    cost: CallCost = CallCost()
    bound: bool = False
    "Whether the cost is the most that it can have been, as nobody told it."
    reason: str | None = None
    answer: BlobRef | None = None
    "An answer that came and is not used."
    part: BlobRef | None = None
    "What had come of an answer that broke off: nobody knows how it would have ended."
    part_thinking: BlobRef | None = None
    "What had been thought by then."


class AskedSubject(BaseModel):
    """The log that a question is about, as of a moment."""

    model_config = ConfigDict(frozen=True, extra="allow")

    task: str
    log: str = ""
    "The file of the log; empty where it is in the store of the question."
    when: str = ""
    "The moment as the asker named it."
    version: int = 0
    "The version of the last event that it holds."
    at: str = ""
    "The time that limits it, in ISO 8601; empty where none does."


class QuestionAsked(Fact):
    """A question was asked, by somebody or on the way to the answer of another one."""

    type = EventType.QUESTION_ASKED
    name: str
    """The first one's is `q`; of the others it is their asker's, the number of the asker's action,
    and a letter: `q.2a`."""
    text: str | None = None
    about: str | None = None
    "The node that it is about; None for the whole subject."
    parent: str | None = None
    "The name of the question that it helps to answer."
    call: int | None = None
    "The version of the STEP_STARTED in which it was asked."
    allowed: dict[str, float] = {}
    "What its calls and those of its own questions may cost together, by amount."
    limits: dict[str, int] = {}
    "Of the first one: depth, iterations, repeats, and tokens of prompts, answers and results."
    subject: AskedSubject | None = None
    "Of the first one."


class AnswerQuote(BaseModel):
    """A text that an answer rests on."""

    model_config = ConfigDict(frozen=True, extra="allow")

    node: str
    text: str = ""
    proven: bool = False
    "Whether the node is there as of the moment that was asked about, and holds the text."
    version: int | None = None
    "The version, in the subject's log, of the event that brought the node's text."
    digest: str = ""
    "SHA-256 of the node's whole text then."
    reason: str = ""
    "Why it is not proven."


class AnswerGiven(Fact):
    """A question is done with: by an answer, or cut short with what there is of one."""

    type = EventType.ANSWER_GIVEN
    name: str
    "The name of the question."
    text: str | None = None
    quotes: tuple[AnswerQuote, ...] = ()
    complete: bool = True
    "Whether nothing failed or was cut short on its way; else it is a best effort."
    reason: str | None = None
    "Why it is no more than that."
    call: int | None = None
    "The version of the STEP_STARTED whose reply it is."


class PrefixWarmed(Fact):
    """A server was given what prompts begin with to read, before they were asked."""

    type = EventType.PREFIX_WARMED
    meant_for: tuple[int, ...] = ()
    "The versions of the STEP_STARTED whose prompts begin so; what they had is told by replies."
    tokens: int | None = None
    "As the model counts them; None where it was not read to its end."
    fresh: int | None = None
    "Of these, tokens that it had not read before."
    seconds: float | None = None
    slot: int | None = None
    copies: int = 0
    "Slots beside it that were given the same."
    ahead: str | None = None
    "The module whose prompt was foretold, while checks ran; None where the calls were known."
    reason: str | None = None
    "Why it was not read, or not copied."


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
    """A fact as its writer states it, with its time, writer and causes."""

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
