"""What a recorded prompt showed is shown again to the same request alone."""

import pytest

from backcast.domain.budget import MISTRAL_7B_8K, ModelProfile
from backcast.domain.context import Context
from backcast.domain.moment import NOW
from backcast.domain.policy import DEFAULT, Policy
from backcast.engine.context.recorded import context_at, record_context
from backcast.engine.context.request import Request
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.steps import steps
from backcast.engine.replay.verify import verified
from tests.sources import Task

PARTS = ("plugin", "wheel", "hook", "entry", "version", "marker", "index", "tag")
SMALL = MISTRAL_7B_8K._replace(tokenizer="upper-bound").with_context(700)
"A window in which one question leaves no room for what another one asks for."
HOOKS, TAGS = "call each hook and its caller", "order the tag and its marker"


@pytest.fixture
def project() -> Task:
    """A project of which a small window shows a part."""
    task = Task("plugins")
    for part in PARTS:
        body = "\n\n\n".join(
            f'def {verb}_{part}({part}: str) -> str:\n    """{verb.title()} the {part}."""\n'
            f"    return {part}.strip() + '{verb}'"
            for verb in ("call", "order", "drop")
        )
        task.wrote(f"{part}.py", body)
    task.outlined()
    return task


def shown(
    task: Task, query: str, policy: Policy = DEFAULT, target: str = "",
    profile: ModelProfile = SMALL,
) -> Context:  # fmt: skip
    return context_at(task.store, task.id, NOW, Request(target, query), profile, policy)


def test_a_recorded_question_changes_no_prompt_of_another_question(project: Task) -> None:
    before = shown(project, TAGS)
    record_context(project.store, project.id, NOW, Request("", HOOKS), SMALL)
    assert shown(project, TAGS).messages == before.messages


def test_a_recorded_prompt_keeps_its_code_for_the_same_policy_alone(project: Task) -> None:
    target, other = "function:hook.py::find_hook", DEFAULT.model_copy(
        update={"name": "other", "worth": {"name": 1.0, "signature": 0.1, "full": 0.0}}
    )  # fmt: skip
    alone = shown(project, TAGS, other, target)
    recorded = record_context(project.store, project.id, NOW, Request(target, HOOKS), SMALL)
    assert shown(project, TAGS, other, target).messages == alone.messages
    again = shown(project, TAGS, DEFAULT.model_copy(update={"name": "mine"}), target)
    assert again.messages[0] == recorded.messages[0]
    assert {item.node for item in again.items} >= {
        item.node for item in recorded.items if item.section == "dependencies"
    }


def test_prompts_in_a_row_by_changing_policies_are_derived_as_they_were(project: Task) -> None:
    for policy in (DEFAULT, DEFAULT.model_copy(update={"worth": {"name": 1.0}}), DEFAULT):
        for query in (HOOKS, TAGS, TAGS):
            request = Request("function:hook.py::find_hook", query)
            record_context(project.store, project.id, NOW, request, SMALL, policy)
    found = list(verified(project.store, project.id))
    assert [answer.derived.verdict for answer in found] == ["same"] * len(found)
    replay = PolicyReplay(BuilderPool(project.store), SMALL)
    digests = [replay.context(step).digest for step in steps(project.store, project.id)]
    assert digests == [step.built.digest for step in steps(project.store, project.id) if step.built]
