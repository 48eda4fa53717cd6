"""Uses the plan of a finished task again, without a model, where every precondition holds.

Only a policy with `plans = "use"` asks for it. What is used stands in the log with its origin and
with the digests that held; what is not used is told in the prompt that asks for a plan instead.
"""

import logging

from backcast.domain.events import (
    Claim,
    PlannedModule,
    PlanningComplete,
    PlanOrigin,
)
from backcast.domain.moment import Moment
from backcast.domain.plans import SUBJECT, PlanTemplate, held
from backcast.engine.context.plan_examples import like_plans, situation, unmet
from backcast.engine.history.branches import known_by
from backcast.engine.history.snapshots import state_at
from backcast.engine.history.task_states import contributions_at
from backcast.engine.log.store import EventStore
from backcast.engine.workflow.contracts import checked_plan
from backcast.engine.workflow.decide import AskModel
from backcast.engine.workflow.prompts import RunningTask
from backcast.engine.workflow.refusals import RefusedError
from backcast.engine.workflow.requests import request_of
from backcast.engine.workflow.spec import Spec
from backcast.projections import dependency_graph

CAUSES = ("TASK_STARTED", "SOURCE_READ", "REQUIREMENTS_COMPLETE", "POLICY_USED")
"Types of event that a used plan rests on."
log = logging.getLogger("backcast")


def reused_plan(task: RunningTask, spec: Spec) -> Claim | None:
    """Return a finished task's plan as this task's own; None where none holds as of now."""
    store = task.store
    # Not what the task has read so far: another one may have changed a module just now.
    now = known_by(store, task.line, Moment(position=store.last_position()))
    states = task.states._replace(offline=contributions_at(store, now))
    request = request_of(AskModel("plan"), task.stands, spec)
    asked = situation(states, request)._replace(context=spec.context or "")
    for like in like_plans(states, asked):
        check = unmet(like.template, asked)
        if check is None and (claim := _claim(task, like.template, spec)):
            return claim
        if check and check.what == SUBJECT:  # the prompt cannot tell it
            log.warning("the plan of task %s is not used: %s", like.template.task, check)
    return None


def _claim(task: RunningTask, template: PlanTemplate, spec: Spec) -> Claim | None:
    """Return a plan as a fact with its origin and causes; None where this task refuses it."""
    plan = template.plan
    planned = [PlannedModule(**module._asdict()) for module in plan.modules]
    try:
        modules = checked_plan(planned, spec)
        if path := _other_text(task.store, template, spec.context):
            raise RefusedError(f"{path} has another text in task {spec.context}")
    except RefusedError as error:
        log.warning("the plan of task %s is not used: %s", template.task, error)
        return None
    origin = PlanOrigin(
        task=template.task, version=plan.version, ended=plan.ended, held=held(template)
    )
    causes = (event.version for event in task.store.read(task.task_id, types=CAUSES))
    fact = PlanningComplete(planned=modules, reused=origin)
    return Claim(fact, writer="loop", because=tuple(causes))


def _other_text(store: EventStore, template: PlanTemplate, context: str | None) -> str:
    """Return the first planned module that the subject's own task holds; empty for none.

    A context may be the name of a task, such as an imported repository: what stands there was
    planned by nobody here.
    """
    if not context or context == template.task or not store.version(context):
        return ""
    modules = state_at(store, dependency_graph, context).modules
    planned = [module.path for module in template.plan.modules]
    return next((p for p in planned if p in modules and not modules[p].deleted), "")
