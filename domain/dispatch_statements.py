"""Which facts does a dispatch show? What git and our tests found, and beside it what is claimed."""

from collections.abc import Iterator, Sequence
from typing import Any

from backcast.domain.cache import shortened
from backcast.domain.dispatch_events import (
    ClaimChecked,
    DispatchEnded,
    DispatchStarted,
    ItemDecided,
    ResultClaimed,
    TasksRead,
)
from backcast.domain.events import CheckFailure, Fact
from backcast.domain.facet_facts import Statement
from backcast.domain.node import node_id

WORDS = 160
"Characters of a message, and of a command."
CHANGED, CLAIMED_CHANGED = "changed", "claims changed"
"The kinds of what an attempt changed, which ends where its work is thrown away, and says so."
Said = tuple[str, Sequence[Statement]]
"The kind of some statements, of which the next ones of that kind end them; empty for none."


def dispatch_statements(fact: Fact, item: str, agent: str) -> Iterator[Said]:
    """Yield the statements of a fact about a dispatch of a task of a list, by kind."""
    match fact:
        case TasksRead() as read:
            yield "tasks", list(_of_list(read))
        case DispatchStarted(role=role, attempt=attempt) if item:
            words = f"{agent} as {role or 'agent'}, attempt {attempt or 1}"
            yield "", [Statement(item, "given to", words)]
        case DispatchEnded() as ended if item:
            outcome = f"{ended.outcome or 'ended'}: {line_of_text(ended.reason)}".rstrip(": ")
            yield "", [Statement(item, "ended", f"{agent} {outcome}")]
            if ended.commit:  # of who may change files
                yield CHANGED, [
                    Statement(node_id("module", file.path), "changed by",
                              f"{agent} for {item.partition(':')[2]}: {file.change}")
                    for file in ended.files
                ]  # fmt: skip
        case ResultClaimed(result=result, error=error) if item:
            if isinstance(result, dict):
                yield from _claimed(item, agent, result)
            else:
                yield "", [Statement(item, "result", f"none: {error}")]
        case ClaimChecked() as checked if item:
            yield from _checked(item, checked)
        case ItemDecided(item=str(name), action=str(action), reason=reason):
            words = f"{action}: {line_of_text(reason)}".rstrip(": ")
            yield "", [Statement(f"item:{name}", "decided", words)]


def _of_list(read: TasksRead) -> Iterator[Statement]:
    for task in read.tasks:
        subject = f"item:{task.id}"
        yield Statement(subject, "title", line_of_text(task.title))
        yield Statement(subject, "status", task.status)
        yield from (Statement(subject, "requires", text) for text in task.requirements)


def _claimed(item: str, agent: str, result: dict[str, Any]) -> Iterator[Said]:
    """Yield what an agent claims in its result: nothing of it is a finding."""
    if "assessment" in result:
        said = [Statement(item, "assessment", str(result["assessment"]), found=False)]
        yield "", said
        issues = [issue for issue in _list(result, "issues") if isinstance(issue, dict)]
        yield "issues", [
            Statement(
                node_id("module", str(issue["file"])) if issue.get("file") else item, "issue",
                f"{issue.get('severity', '')}: {line_of_text(issue.get('message'))}", found=False,
            )
            for issue in issues
        ]  # fmt: skip
        yield "fixes", _texts(item, "must fix", _list(result, "required_fixes"))
        return
    words = f"{result.get('status')}: {line_of_text(result.get('summary'))}"
    yield "", [Statement(item, "result", words, found=False)]
    yield (
        CLAIMED_CHANGED,
        [
            Statement(node_id("module", str(path)), "changed by", f"{agent} for {item[5:]}", False)
            for path in _list(result, "files_changed")
        ],
    )
    yield "next", _texts(item, "needs next", _list(result, "follow_up_actions"))


def _checked(item: str, checked: ClaimChecked) -> Iterator[Said]:
    if checked.passed is not None:
        counts = f"{checked.passed} passed, {checked.failed or 0} failed"
        counts += f", {checked.errors} errors" if checked.errors else ""
        yield "", [Statement(item, "checks", counts)]
    accepted = "yes" if checked.accepted else "no"
    words = f"{accepted}: {line_of_text(checked.reason)}".rstrip(": ")
    yield "", [Statement(item, "accepted", words)]
    yield "differs", [Statement(item, "differs", line_of_text(text)) for text in
                      checked.differences]  # fmt: skip


def _texts(item: str, relation: str, values: Sequence[Any]) -> list[Statement]:
    return [Statement(item, relation, line_of_text(str(value)), found=False) for value in values]


def _list(result: dict[str, Any], name: str) -> Sequence[Any]:
    value = result.get(name)
    return value if isinstance(value, list | tuple) else ()


def failing_statements(failures: Sequence[CheckFailure]) -> list[Statement]:
    """Return the verdicts of the checks that failed, as far as they are named."""
    said = list[Statement]()
    for failure in failures:
        if failure.name:
            at = f"{failure.at}: " if failure.at else ""
            words = f"failed, {at}{line_of_text(failure.message)}".rstrip(": ")
            said.append(Statement(f"test:{failure.name}", "verdict", words))
    return said


def listed(fact: Fact) -> list[str]:
    """Return the requirements that a foreign log states beside the fields that we know."""
    found = (fact.model_extra or {}).get("requirements")
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []


def line_of_text(text: object) -> str:
    """Return the first line of a text that says something, cut where it is long."""
    lines = (" ".join(line.split()) for line in shortened(text).split("\n"))
    line = next(filter(None, lines), "")
    return line if len(line) <= WORDS else f"{line[: WORDS - 1]}…"
