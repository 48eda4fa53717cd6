"""States as facts by what a task is worked on, and that it is complete."""

import json

from backcast.domain.budget import ModelProfile
from backcast.domain.events import PolicyUsed, TaskComplete
from backcast.domain.node import node_id
from backcast.domain.policy import Policy
from backcast.domain.summary import LIMITS
from backcast.engine.log.blobs import Blob
from backcast.engine.memory.summariser import Extractive
from backcast.engine.models.tokenizers import Tokenizer
from backcast.engine.workflow.prompts import RunningTask
from backcast.engine.workflow.results import ActionResult


def settings_used(
    profile: ModelProfile, policy: Policy, model: str, out: str | None = None
) -> ActionResult:
    """Return by which model, profile and policy a task is worked on from here on."""
    body = Blob(json.dumps(profile._asdict(), sort_keys=True).encode())
    settings = Blob(policy.body)
    named = {} if out is None else {"out": out}
    fact = PolicyUsed(policy=settings.ref, profile=body.ref, model=model, **named)
    return ActionResult([fact], [body, settings])


def completed(task: RunningTask, tokenizer: Tokenizer) -> ActionResult:
    """Return a task's summary and its end: later tasks see its results from then on."""
    inputs, node = task.summary_inputs(), node_id("task", task.task_id)
    # The summary is appended together with the end, and is read after it.
    inputs.stands = task.stands._replace(status="complete")
    asked = inputs.node_facts(node)
    if asked is None:
        return ActionResult([TaskComplete()])
    made = Extractive().summarise(asked, LIMITS, tokenizer)
    claim, _ = inputs.claim(node, made, Extractive.id, task.version)
    return ActionResult([claim, TaskComplete()])
