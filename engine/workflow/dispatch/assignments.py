"""Who is asked next about a task of the list, and with what."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from backcast.domain.dispatch_events import RoutedTo
from backcast.domain.task_list import ListedTask
from backcast.engine.workflow.dispatch.agents import AgentForm
from backcast.engine.workflow.dispatch.dispatch_run import DispatchRun
from backcast.engine.workflow.dispatch.next_step import NextStep
from backcast.engine.workflow.dispatch.routes import chosen


class Assignment(NamedTuple):
    """Who is asked, about what."""

    role: str
    form: AgentForm
    attempt: int
    commit: str
    patch: bytes = b""
    "Changes that are in the work tree already."
    reviews: int | None = None
    repairs: int | None = None
    parts: Mapping[str, Any] = MappingProxyType({})
    "What its prompt holds besides the task."
    routed: RoutedTo | None = None
    "Why this agent, where a policy chose it."


def routed(run: DispatchRun, item: ListedTask, asked: Assignment) -> Assignment:
    """Return an assignment with the agent that the policy of routing chooses, if there is one."""
    routes = run.settings.routes
    if routes is None or asked.role != "implementer":
        return asked
    found = chosen(run, item, asked.attempt, asked.repairs)
    return asked._replace(form=routes.forms[found.agent or ""], routed=found)


def assignment_of(run: DispatchRun, step: NextStep) -> Assignment:
    """Return who is asked next, with what its prompt must hold."""
    settings = run.settings
    if step.kind == "review":
        return _review(run, step, step.about)
    if step.kind == "mend":
        found = run.state.dispatches[step.about]
        assert found.ended is not None
        if found.started.role == "reviewer":
            work = _work_before(run, step.about)
            again = _review(run, step, work)
            return again._replace(repairs=found.claim,
                                  parts={**again.parts, "findings": [
                                      f"your last answer could not be read: {step.reason}"
                                  ]})  # fmt: skip
        patch = run.store.get(found.ended.patch) if found.ended.patch else b""
        commit = found.ended.commit or run.base()
        return Assignment("implementer", settings.implementer, step.attempt, commit, patch,
                          repairs=found.claim, parts={"mending": step.reason})  # fmt: skip
    parts: dict[str, Any] = {}
    if step.about and step.about in run.state.dispatches:
        parts = _evidence(run, step)
    return Assignment("implementer", settings.implementer, step.attempt, run.base(), parts=parts)


def _review(run: DispatchRun, step: NextStep, version: int) -> Assignment:
    found = run.state.dispatches[version]
    assert found.ended is not None
    assert run.settings.reviewer is not None
    patch = run.store.get(found.ended.patch) if found.ended.patch else b""
    claim = found.claimed.result if found.claimed and found.claimed.result else {}
    findings = [*(found.checked.differences if found.checked else ()),
                f"we ran the tests: {found.checked.reason}" if found.checked else ""]  # fmt: skip
    return Assignment(
        "reviewer", run.settings.reviewer, step.attempt, found.ended.commit or run.base(), patch,
        reviews=found.check or None,
        parts={"claim": str(claim.get("summary", "")), "findings": list(filter(None, findings)),
               "patch": patch.decode(errors="replace")},
    )  # fmt: skip


def _work_before(run: DispatchRun, version: int) -> int:
    """Return the implementer's dispatch that a review was about."""
    checked = run.state.dispatches[version].started.reviews
    return next(number for number in run.state.dispatches
                if run.state.dispatches[number].check == checked)  # fmt: skip


def _evidence(run: DispatchRun, step: NextStep) -> dict[str, Any]:
    """Return what the next attempt must know of the one before it."""
    found = run.state.dispatches[step.about]
    parts: dict[str, Any] = {}
    if found.checked:
        failures = [f"{failure.name}: {failure.message}" for failure in found.checked.failures]
        reason = found.checked.reason or ""
        parts = {"findings": [reason, *found.checked.differences], "failures": failures}
    review = run.state.dispatches.get(step.review)
    if review and review.claimed and review.claimed.result:
        result = review.claimed.result
        issues = [f"{issue['severity']}: {issue.get('file') or ''} {issue['message']}"
                  f" {issue.get('fix', '')}" for issue in result.get("issues", ())]  # fmt: skip
        parts["issues"] = issues
        parts["fixes"] = list(map(str, result.get("required_fixes", ())))
    if found.ended and found.ended.patch:
        parts["patch"] = run.store.get(found.ended.patch).decode(errors="replace")
    if step.advice:
        parts["findings"] = [*parts.get("findings", ()), step.advice]
    return parts
