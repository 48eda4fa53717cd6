"""What agents claim at the end of a dispatch, and how it is found in what they say.

>>> said = f"Done.\\n{BEGIN}\\n```json\\n{EXAMPLE}\\n```\\n{END}\\n"
>>> read_result(said, "implementer", "2.1").result["status"]
'completed'
>>> read_result(said, "implementer", "2.2").error
'task_mismatch'
>>> read_result(f"{BEGIN} {{", "implementer", "2.1").message[:19]
'the block is cut: 1'
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

BEGIN, END = "BEGIN_DISPATCH_RESULT", "END_DISPATCH_RESULT"
EXAMPLE = '{"task_id": "2.1", "status": "completed", "summary": "...", "files_changed": []}'
LONGEST = 2**20
"Characters of a block that are read."
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[\w-]*[ \t]*$", re.MULTILINE)


class ClaimedTest(BaseModel):
    """A run of tests, as an agent states it."""

    model_config = ConfigDict(frozen=True)

    command: str
    passed: bool | int
    "Whether all of them passed, or how many did."
    failures: tuple[str, ...] = ()


class ImplementerResult(BaseModel):
    """What an implementer claims to have done."""

    model_config = ConfigDict(frozen=True)

    task_id: str
    status: Literal["completed", "blocked", "failed"]
    summary: str
    files_changed: tuple[str, ...] = ()
    tests: tuple[ClaimedTest, ...] = ()
    follow_up_actions: tuple[str, ...] = ()


class ReviewIssue(BaseModel):
    """A fault that a reviewer names."""

    model_config = ConfigDict(frozen=True)

    severity: Literal["critical", "important", "minor"]
    message: str
    fix: str = ""
    file: str | None = None


class ReviewerResult(BaseModel):
    """What a reviewer thinks of an implementer's work."""

    model_config = ConfigDict(frozen=True)

    task_id: str
    assessment: Literal["approved", "needs_changes", "blocked"]
    strengths: tuple[str, ...] = ()
    issues: tuple[ReviewIssue, ...] = ()
    required_fixes: tuple[str, ...] = ()


RESULTS: dict[str, type[ImplementerResult] | type[ReviewerResult]] = {
    "implementer": ImplementerResult,
    "reviewer": ReviewerResult,
}
"The form of each role's result."


class ReadResult(NamedTuple):
    """A result as it was read, or the code and the reason why there is none."""

    result: dict[str, Any] | None = None
    error: str = ""
    message: str = ""
    notes: tuple[str, ...] = ()


def schema_of(role: str) -> dict[str, Any]:
    """Return the JSON schema of a role's result, as strict as servers want it: nothing is optional.

    >>> schema_of("reviewer")["required"]
    ['task_id', 'assessment', 'strengths', 'issues', 'required_fixes']
    """

    def strict(value: Any) -> Any:
        if isinstance(value, list):
            return [strict(part) for part in value]
        if not isinstance(value, dict):
            return value
        found = {name: strict(part) for name, part in value.items()
                 if name not in ("title", "default", "description")}  # fmt: skip
        if found.get("type") == "object":
            found |= {"required": list(found["properties"]), "additionalProperties": False}
        return found

    schema: dict[str, Any] = strict(RESULTS[role].model_json_schema())
    return schema


def without_ansi(text: str) -> str:
    r"""Return a text without the codes by which a terminal is steered.

    >>> without_ansi("\x1b[1mDone\x1b[0m")
    'Done'
    """
    return _ANSI.sub("", text)


def read_result(
    said: str, role: str, task_id: str, shown: Sequence[str] = (), *, held: bool = False
) -> ReadResult:
    """Return the result in an agent's final answer.

    An agent that is `held` to the schema of a result says it without markers.
    `shown` are the blocks that its prompt shows: an agent that repeats its prompt repeats them, and
    claims nothing by it.
    """
    text = without_ansi(said)
    echoed = {_squeezed(block) for block in shown}
    blocks, cut = _blocks(text)
    own = [block for block in blocks if _squeezed(block) not in echoed]
    if held and not blocks and not cut and text.lstrip().startswith("{"):
        own = [text]
    if not own:
        return ReadResult(error="marker_missing", message=_missing(text, len(blocks), cut))
    notes = []
    if len({_squeezed(block) for block in own}) > 1:
        notes.append(f"the block stands {len(own)} times, differently: the last one counts")
    if cut:
        notes.append("a block after the last whole one is cut")
    return _decoded(own[-1], role, task_id)._replace(notes=tuple(notes))


def _blocks(text: str) -> tuple[list[str], bool]:
    """Return the whole blocks, and whether another begins after them and does not end."""
    blocks, begun = [], False
    position = 0
    while (end := text.find(END, position)) >= 0:
        begin = text.rfind(BEGIN, position, end)  # of a block that was begun anew the last counts
        if begin >= 0:
            blocks.append(text[begin + len(BEGIN) : end])
        position = end + len(END)
    begun = text.find(BEGIN, position) >= 0
    return blocks, begun


def _missing(text: str, echoes: int, cut: bool) -> str:
    if cut:
        begun = text.count(BEGIN)
        return f"the block is cut: {begun} times {BEGIN}, and no {END} after the last"
    if echoes:
        return "only the prompt's own example is repeated: no block of the agent's"
    if not text.strip():
        return f"the final answer is empty: needed a block from {BEGIN} to {END}"
    return f"needed a block from {BEGIN} to {END} in the final answer, found none"


def _decoded(block: str, role: str, task_id: str) -> ReadResult:
    body = _FENCE.sub("", block).strip()
    if len(body) > LONGEST:
        return ReadResult(
            error="json_parse_failed",
            message=f"needed a block of up to {LONGEST:,} characters, found {len(body):,}",
        )
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        return ReadResult(error="json_parse_failed", message=f"needed JSON, found none: {error}")
    try:
        result = RESULTS[role].model_validate(value)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(map(str, problem["loc"])) or "the whole"
        found = "" if problem["type"] == "missing" else f", found {problem['input']!r}"[:100]
        message = f"{field}: {problem['msg'][0].lower()}{problem['msg'][1:]}{found}"
        return ReadResult(error="schema_invalid", message=message)
    if result.task_id != task_id:
        return ReadResult(
            error="task_mismatch",
            message=f"needed the result of task {task_id!r}, found that of {result.task_id[:80]!r}",
        )
    return ReadResult(result.model_dump(mode="json", exclude_unset=True))


def _squeezed(text: str) -> str:
    return "".join(_FENCE.sub("", text).split())
