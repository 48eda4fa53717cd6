"""What states and prompts come to on recorded logs is recorded, so that none changes unnoticed.

Where one is meant to change, `python -m tests.test_state_versions` records what it comes to; the
VERSION of a projection grows with it.
"""

import json
import sys
from collections.abc import Iterator
from functools import reduce
from hashlib import sha256
from pathlib import Path

from backcast.domain.budget import MISTRAL_7B_8K, QWEN3_8B_32K
from backcast.domain.events import WorkflowEvent
from backcast.domain.policy import DEFAULT
from backcast.engine.context.policies import policy_named
from backcast.engine.history.state_json import dump
from backcast.engine.log import EventStore
from backcast.engine.memory.import_log import run
from backcast.engine.replay.derive import BuilderPool
from backcast.engine.replay.steps import steps
from backcast.projections import ALL, ASKED, Projection, dispatches
from tests.strategies import NOON

FIXTURES = Path(__file__).parents[1] / "fixtures"
STATES, PROMPTS = FIXTURES / "states.json", FIXTURES / "prompts.json"
LOGS = (
    *sorted(FIXTURES.glob("logs/*.jsonl")),
    *(
        FIXTURES / f"recorded/{name}.jsonl"
        for name in ("agent", "asked", "bill", "dispatch", "forgotten", "mender", "routed")
    ),
    FIXTURES / "wild.jsonl",
)
"The last one has facts of all kinds at random, as `tests.strategies` draws them."
EVERY: tuple[Projection, ...] = (*ALL, *ASKED, dispatches)


def digest(projection: Projection, events: list[WorkflowEvent]) -> str:
    """A digest of the states after each event: a state that two events change back counts too."""
    found = sha256()

    def step(state: object, event: WorkflowEvent) -> object:
        after = projection.evolve(state, event)
        if after is not state and after != state:
            found.update(b"%d %b\n" % (event.position, sha256(dump(after)).digest()))
        return after

    reduce(step, events, projection.initial)
    return found.hexdigest()[:16]


def digests() -> Iterator[tuple[str, dict[str, str]]]:
    """Per log, the digest of each projection under its name and version."""
    for path in LOGS:
        with EventStore.open("sqlite://", clock=lambda: NOON) as store:
            run(store, "events", path)
            events = [*store.read()]
        yield path.name, {f"{each.NAME} {each.VERSION}": digest(each, events) for each in EVERY}


def test_a_state_that_comes_to_mean_something_else_has_a_new_version() -> None:
    """A snapshot of the old meaning would be read as one of the new."""
    recorded = json.loads(STATES.read_text())
    for log, found in digests():
        assert found == recorded[log], f"{log}: VERSION grows where a state changes"


def built(path: Path) -> dict[str, str]:
    """The digest of each prompt that today's builder gives for a log, by two policies of today,
    with what it leaves out."""
    found = {}
    with EventStore.open("sqlite://", clock=lambda: NOON) as store:
        run(store, "events", path)
        pool = BuilderPool(store)
        builders = pool.builder(SMALL, DEFAULT), pool.builder(LARGE, policy_named("reader"))
        for step in (step for task in store.tasks() for step in steps(store, task) if step.built):
            digest = sha256()
            for each in builders:
                context = each.build(step.known.states, step.known.graph, step.request)
                digest.update(context.text.encode() + repr(context.omissions).encode())
            found[f"{step.version}"] = digest.hexdigest()[:16]
    return found


SMALL, LARGE = (one._replace(tokenizer="upper-bound") for one in (MISTRAL_7B_8K, QWEN3_8B_32K))
BUILT = tuple(
    path
    for path in LOGS
    if path.stem in ("bill", "contexts", "every-setting", "till", "validators")
)
"Logs whose prompts differ in settings; the others repeat them."


def test_a_prompt_by_a_policy_of_today_changes_only_where_that_is_meant() -> None:
    recorded = json.loads(PROMPTS.read_text())
    for log in BUILT:
        assert built(log) == recorded[log.name], f"{log.name}: is it meant? then record it anew"


if __name__ == "__main__":
    STATES.write_text(json.dumps(dict(digests()), indent=1) + "\n")
    PROMPTS.write_text(json.dumps({log.name: built(log) for log in BUILT}, indent=1) + "\n")
    sys.exit()
