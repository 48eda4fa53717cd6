"""Print the plans of finished tasks, and whether they hold for a task."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.domain.moment import Moment
from backcast.domain.plans import PlanCheck, PlanSituation, checks, problem_in
from backcast.engine.context.plan_examples import (
    LEAST,
    LikePlan,
    keywords,
    like_plans,
    situation,
)
from backcast.engine.context.request import Request
from backcast.engine.history.task_states import TaskStates, contributions_at, states_at
from backcast.engine.interfaces.empty import note_empty
from backcast.engine.interfaces.terminal import escaped, message, say
from backcast.engine.log.store import EventStore
from backcast.engine.workflow.decide import AskModel
from backcast.engine.workflow.loop import spec_in
from backcast.engine.workflow.requests import request_of
from backcast.projections import offline_cache


def show_plans(store: EventStore, task: str | None, moment: Moment, *, as_json: bool) -> None:
    """Print each plan with its keywords, modules and preconditions; the likest first."""
    now = None
    if task is None:
        templates = offline_cache.templates(contributions_at(store, moment))
        found = [LikePlan(template, 0.0, 0.0) for template in templates]
    else:
        states = states_at(store, task, moment)
        now = _situation(store, task, states)
        found = like_plans(states, now)
        if states.progress.planned and not as_json:
            message("note: the task has a plan by then: ask about a moment before it")
    if not found:
        note_empty(store, None, moment, "plan of a finished task", ("TASK_COMPLETE",))
    for number, plan in enumerate(found):
        shown = _plain(plan, now)
        if as_json:
            say(json_text(shown))
            continue
        say("\n" * bool(number) + "\n".join(_lines(shown)))


def _situation(store: EventStore, task: str, states: TaskStates) -> PlanSituation:
    """Return what preconditions are asked about; without words where no run asks for a plan."""
    try:
        spec = spec_in(store, task)
    except InputError:
        return situation(states, Request())
    request = request_of(AskModel("plan"), states.progress, spec)
    return situation(states, request)._replace(context=spec.context or "")


def _plain(like: LikePlan, now: PlanSituation | None) -> dict[str, Any]:
    """Return a plan as JSON values."""
    template, plan = like.template, like.template.plan
    asked = _checks(like, now)
    return {
        "task": template.task, "goal": template.goal, "planned_by": plan.version,
        "ended_by": plan.ended, "origin": plan.origin, "keywords": keywords(template),
        "modules": [module._asdict() for module in plan.modules], "text": template.text,
        "moved": template.moved,
        **({} if now is None else {"words": like.words, "names": like.names}),
        "preconditions": [
            {"what": check.what, "digest": check.digest, "holds": check.holds, "found": check.found}
            for check in asked
        ],
        "verdict": _verdict(like, asked, now),
    }  # fmt: skip


def _checks(like: LikePlan, now: PlanSituation | None) -> list[PlanCheck]:
    """Return the preconditions of a plan; without a task those that need none."""
    if now is not None:
        return list(checks(like.template, now))
    return list(checks(like.template, PlanSituation("", "", "")))[:3]


def _verdict(like: LikePlan, asked: Sequence[PlanCheck], now: PlanSituation | None) -> str:
    """Return what a plan is good for."""
    if like.template.moved:
        return f"stale: {like.template.moved}"
    if problem := problem_in(like.template):
        return f"of no use: {problem}"
    if now is None:
        return "stands"
    if all(check.holds for check in asked):
        return 'holds: used where the policy says plans = "use"'
    return "an example" if like.score >= LEAST else "not like this task"


def _lines(shown: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines about a plan."""
    origin = f", by the plan of task {shown['origin']}" if shown["origin"] else ""
    like = ""
    if "words" in shown:
        like = f"; {shown['words']:.0%} of words, {shown['names']:.0%} of names alike"
    yield escaped(f"{shown['task']}@{shown['planned_by']}{origin}: {shown['verdict']}{like}")
    yield escaped(f"  goal      {' '.join(shown['goal'].split())}")
    yield escaped(f"  keywords  {', '.join(shown['keywords'])}")
    for number, module in enumerate(shown["modules"], 1):
        needs = f" (needs {', '.join(module['dependencies'])})" if module["dependencies"] else ""
        tests = f" [{', '.join(module['tests'])}]" if module["tests"] else ""
        yield escaped(f"  {number:>3}. {module['path']}: {module['purpose']}{needs}{tests}")
    if shown["text"]:
        yield escaped(f"  in words  {' '.join(shown['text'].split())}")
    for check in shown["preconditions"]:
        state = "holds" if check["holds"] else "FAILS"
        why = f": {check['found']}" if check["found"] else ""
        yield escaped(f"  {state}  {check['digest']:<16}  {check['what']}{why}")
