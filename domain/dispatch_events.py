"""The facts of dispatches: coding agents that were given an item of a task list, what they claim,
and what we found.

A run over one task list is a task of the log; its items bear the numbers of the list.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from backcast.domain.events import (
    BlobRef,
    CallCost,
    CheckFailure,
    EventType,
    Fact,
)


class ReadTask(BaseModel):
    """A task of a list, as the list states it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str = ""
    "Its number, or its title where it has none."
    title: str = ""
    status: str = ""
    "to do, doing or done."
    parent: str | None = None
    requirements: tuple[str, ...] = ()


class TasksRead(Fact):
    """A list of tasks was read, read again after it had changed, or marked by us."""

    type = EventType.TASKS_READ
    path: str | None = None
    text: BlobRef | None = None
    tasks: tuple[ReadTask, ...] = ()
    marked: dict[str, str] = Field(default_factory=dict)
    "The tasks that we marked, with their new status; empty where somebody else wrote it."
    notes: tuple[str, ...] = ()
    "What somebody else had changed meanwhile."


class TaskTraits(BaseModel):
    """What was known of a task before anybody was asked about it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    modules: tuple[str, ...] = ()
    "The files that it names."
    blast: int | None = None
    "How many modules need those, directly or through others; None where nobody looked."
    tested: bool | None = None
    "Whether a test reaches one of them."
    alike: dict[str, tuple[int, int]] = Field(default_factory=dict)
    "By agent, how many attempts at tasks like it held, of how many."


class RoutedTo(BaseModel):
    """Why an agent was asked: by a policy of routing."""

    model_config = ConfigDict(frozen=True, extra="allow")

    agent: str | None = None
    "The agent, as the policy names it."
    start: str | None = None
    "The one that began the task; later attempts follow from it."
    why: tuple[str, ...] = ()
    policy: str | None = None
    "A digest of the policy."
    agents: tuple[str, ...] = ()
    "All that it names, the cheapest first."
    traits: TaskTraits | None = None
    draw: float | None = None
    "From 0 up to 1, where a share of tasks begins by chance."
    propensity: float | None = None
    "The chance with which the agent that began was chosen; None where nothing was by chance."


class DispatchPart(BaseModel):
    """A section of an agent's prompt: its levels, and the one that is shown."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = ""
    group: str = ""
    "kept, delta or surroundings: in which stage it may be lowered."
    level: int = 0
    "The level that is shown, counted from 0."
    levels: tuple[BlobRef, ...] = ()
    "Its texts, the most detailed first; that of an empty one leaves the section out."
    tokens: int = 0
    "Of the level that is shown."


class BuiltParts(BaseModel):
    """What an agent's prompt was built of; its bytes follow from the parts and their levels."""

    model_config = ConfigDict(frozen=True, extra="allow")

    parts: tuple[DispatchPart, ...] = ()
    stage: str = ""
    "whole, delta, surroundings, or rules and objective: how far it was lowered."
    room: int = 0
    "The most tokens that it may have, a share of the window."
    window: int = 0
    tokenizer: str = ""
    "The id of the tokenizer."
    prefix: BlobRef | None = None
    "What stands before all that differs between tasks."
    prefix_tokens: int = 0
    stood_at: int = 0
    "The last version of the run that its ledger was folded from."
    in_its_place: int | None = None
    "Tokens of the list, the answers and the test outputs that the ledger stands for."
    version: int = 1
    "Of the code that made the sections."


class DispatchStarted(Fact):
    """An agent is about to be started: whatever comes of it, this stands in the log before."""

    type = EventType.DISPATCH_STARTED
    item: str | None = None
    "The number of the item in the list of tasks: `2.1`."
    title: str | None = None
    role: str | None = None
    "implementer or reviewer."
    agent: str | None = None
    model: str | None = None
    attempt: int | None = None
    "Counted from 1, for each item and role."
    reviews: int | None = None
    "The version of the CLAIM_CHECKED that a reviewer is asked about."
    repairs: int | None = None
    "The version of the RESULT_CLAIMED whose form the agent is asked to mend."
    repository: str | None = None
    commit: str | None = None
    "The commit that the agent's own work tree begins with."
    folder: str | None = None
    "The folder that holds the work tree, home and temporary files, which ends with the dispatch."
    mark: str | None = None
    "The word that the agent's processes carry in their environment, and its result must repeat."
    prompt: BlobRef | None = None
    prompt_tokens: int | None = None
    "As they were counted before it started."
    built: BuiltParts | None = None
    "None in logs from before prompts were built of parts."
    command: tuple[str, ...] = ()
    recorded_as: str | None = None
    "The task under which a proxy records the agent's own calls; None without a proxy."
    seconds: float | None = None
    "The limit of its time."
    silence: float | None = None
    "The limit of the time in which it says nothing."
    reserved: CallCost | None = None
    "The most that it may cost, set aside before it starts."
    routed: RoutedTo | None = None
    "Why this agent, where a policy chose it."
    reserved_calls: int | None = None
    "Calls of the model that are set aside; None where one stands for the dispatch."


class AgentPrinted(Fact):
    """A part of what an agent printed, as it came."""

    type = EventType.AGENT_PRINTED
    dispatch: int
    stream: str | None = None
    "stdout or stderr."
    at: int | None = None
    "Where in the stream it begins, in bytes."
    text: BlobRef | None = None


class ChangedFile(BaseModel):
    """A file that differs from the commit that a dispatch began with."""

    model_config = ConfigDict(frozen=True, extra="allow")

    path: str = ""
    change: str = ""
    "added, changed, deleted, or another kind that git names."


class DispatchEnded(Fact):
    """An agent has ended, with all processes that it had started."""

    type = EventType.DISPATCH_ENDED
    dispatch: int
    "The version of its DISPATCH_STARTED."
    outcome: str | None = None
    """answered or failed; time limit, silence or budget where one was reached; unreached, where its
    model's server cannot be; cancelled by Ctrl-C; cut, where our own process was ended before."""
    exit_code: int | None = None
    "The exit code, negative for the signal that ended it."
    reason: str | None = None
    seconds: float | None = None
    stdout_bytes: int | None = None
    "All bytes that came, those that were not kept too."
    stderr_bytes: int | None = None
    files: tuple[ChangedFile, ...] = ()
    "The files that it changed, as git sees them, sorted by path."
    patch: BlobRef | None = None
    commit: str | None = None
    "The commit that the patch applies to."
    answer: BlobRef | None = None
    "Its final answer, taken out of the form in which it prints."
    killed: tuple[str, ...] = ()
    "Programs that it had left running."
    isolation: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    cost: CallCost = CallCost()
    "As the proxy counted it; else as the agent reports it, else the time alone."
    calls: int | None = None
    "Calls of the model that the proxy passed on, and that reached the server."
    reported: CallCost | None = None
    "What the agent says that it cost."
    bound: bool = False
    "Whether the cost is the most that it can have been, as nobody told it."
    session: str | None = None
    "The agent's own name of the session."


class ResultClaimed(Fact):
    """What an agent claims in its result; nothing of it is believed."""

    type = EventType.RESULT_CLAIMED
    dispatch: int
    role: str | None = None
    result: dict[str, Any] | None = None
    "The decoded result; None where there is none."
    error: str | None = None
    "marker_missing, json_parse_failed, schema_invalid or task_mismatch."
    message: str | None = None
    notes: tuple[str, ...] = ()


class ClaimChecked(Fact):
    """What we found of an agent's work, beside what it claims of it."""

    type = EventType.CLAIM_CHECKED
    dispatch: int
    commit: str | None = None
    "The commit upon which it was checked, where that is not the one it began with."
    files: tuple[ChangedFile, ...] = ()
    "The changed files, as git sees them, sorted by path."
    patch: BlobRef | None = None
    passed: int | None = None
    "None where no test was run."
    failed: int | None = None
    errors: int | None = None
    skipped: int | None = None
    tests: tuple[str, ...] = ()
    "The files of tests that were run."
    failures: tuple[CheckFailure, ...] = ()
    isolation: dict[str, str] = Field(default_factory=dict)
    "The means by which the run of the tests was kept apart."
    output: BlobRef | None = None
    preview: str | None = None
    "The end of what the tests printed."
    notes: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    "Each statement of the claim that is not so, with what is."
    accepted: bool | None = None
    "Whether the work stands: by our checks alone, whatever anybody claims."
    reason: str | None = None


class ItemDecided(Fact):
    """What comes next for an item, as decided from the facts before."""

    type = EventType.ITEM_DECIDED
    item: str | None = None
    action: str | None = None
    "done, retry, review or halt."
    reason: str | None = None
    attempt: int | None = None
    commit: str | None = None
    "The commit that holds the work that is done, on the run's own branch."
    branch: str | None = None
    assessment: str | None = None
    "What the reviewer says: approved, needs_changes or blocked."
    cause: str | None = None
    "Of a halt that says nothing of the work: budget, or server, where none can be reached."

    @property
    def pauses(self) -> bool:
        """Whether it is a halt from which the same work goes on."""
        cause = self.cause or ("budget" if (self.reason or "").startswith("budget_") else "")
        return self.action == "halt" and cause in ("budget", "server")
