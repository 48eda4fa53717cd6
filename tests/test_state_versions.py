"""States and prompts are told by the versions of what makes them: what each comes to is recorded.

Where one is meant to change, its VERSION grows, and `python -m tests.test_state_versions` records
what it comes to.
"""

import json
import sys
from collections.abc import Iterator
from functools import reduce
from hashlib import sha256
from pathlib import Path

from backcast.domain.events import WorkflowEvent
from backcast.engine.context import builder
from backcast.engine.history.state_json import dump
from backcast.engine.log import EventStore
from backcast.engine.memory.import_log import run
from backcast.engine.replay.derive import BuilderPool
from backcast.engine.replay.steps import steps
from backcast.engine.replay.verify import derivation
from backcast.projections import ALL, ASKED, Projection, dispatches
from tests.strategies import NOON

FIXTURES = Path(__file__).parents[1] / "fixtures"
STATES, PROMPTS = FIXTURES / "states.json", FIXTURES / "derived.json"
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


def derived(path: Path) -> dict[str, str]:
    """The digest of each prompt that today's builder gives for a log, with what it leaves out."""
    found = {}
    with EventStore.open("sqlite://", clock=lambda: NOON) as store:
        run(store, "events", path)
        pool = BuilderPool(store)
        for task in store.tasks():
            for step in steps(store, task):
                context = derivation(pool, step, step.built)[1] if step.built else None
                if context:
                    out = repr([*context.omissions, builder.VERSION]).encode()
                    digest = sha256(context.digest.encode() + out).hexdigest()[:16]
                    found[f"{task}@{step.version}"] = digest
    return found


BUILT = tuple(
    path
    for path in LOGS
    if path.stem in ("bill", "contexts", "every-setting", "till", "validators")
)
"Logs whose prompts differ in settings; the others repeat them."


def test_a_prompt_that_is_built_in_another_way_has_a_new_version_of_its_builder() -> None:
    """Prompts that were recorded before are told to be of an older builder, and not to be wrong."""
    recorded = json.loads(PROMPTS.read_text())
    for log in BUILT:
        found = derived(log)
        # Where a tokenizer is lacking, its prompts cannot be built.
        known = {place: recorded[log.name][place] for place in found}
        assert found == known, f"{log.name}: VERSION of engine/context/builder.py grows"


if __name__ == "__main__":
    STATES.write_text(json.dumps(dict(digests()), indent=1) + "\n")
    built = {log.name: derived(log) for log in BUILT}
    PROMPTS.write_text(json.dumps(built, indent=1) + "\n")
    sys.exit()
