"""Writes a recorded run anew: the answers stay, prompts and checks are those of today's code.

With `llama:FILE` for the answers, and a policy, a model says them anew.

The clock stands at noon and goes on by a second an append, so that only what changed differs.
"""

import itertools
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backcast.engine.context.policies import policy_named
from backcast.engine.log import EventStore
from backcast.engine.log.importers.events import export_lines
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.runtime import open_runtime
from backcast.engine.workflow.spec import spec_at

NOTE = (
    '{"note": "The answers in this log were written by hand, as a model might have given them.'
    " The checks are the real results of running that code, and the prompts are those that were"
    ' built. scripts/record writes it anew."}'
)
REAL = (
    '{"note": "The answers in this log are those of %s, taken greedily on one thread.'
    ' scripts/record writes it anew."}'
)


def main(spec_file: Path, log: Path, answers: str, policy: str = "default") -> None:
    """Run the task of a specification, and write its log."""
    noon, ticks = datetime(2026, 11, 20, 12, tzinfo=UTC), itertools.count()
    spec = spec_at(spec_file)
    real = answers.startswith("llama:")
    model = open_runtime(
        answers if real else f"answers:{answers}", spec.task, policy=policy_named(policy)
    )
    with EventStore.open("sqlite://", clock=lambda: noon + timedelta(seconds=next(ticks))) as store:
        start(store, spec)
        named = answers if real else f"answers:{log}"
        state = work(
            store, spec.task, model._replace(name=named, out=f"out/{spec.task}"), runner="one"
        )
        lines = list(export_lines(store, spec.task))
    note = REAL % Path(answers.removeprefix("llama:")).name if real else NOTE
    log.write_text("\n".join([note, *lines]) + "\n", encoding="utf-8")
    print(f"{log}: {state.status} after {state.replies} answers, {state.events} events")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:5])
