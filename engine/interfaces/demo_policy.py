"""What `scripts/demo` ends with: another policy for the run that it made, and what gets worse."""

from rich.console import Console

from backcast.domain.policy import DEFAULT
from backcast.engine.interfaces.diff_text import diff_text
from backcast.engine.interfaces.regress_report import lines
from backcast.engine.log.store import EventStore
from backcast.engine.replay.corpus import ReplayRun, Tried
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.find import step_at
from backcast.engine.replay.measure import measured
from backcast.engine.replay.pairs import Side
from backcast.engine.replay.pairs import compared as sides_compared
from backcast.engine.replay.regress import Rules, compared
from backcast.engine.replay.steps import steps

FORGETFUL = DEFAULT.model_copy(update={"name": "forgetful", "errors": 0})
"Shows no failures, which saves tokens."


def demonstrate_policy(store: EventStore, task_id: str, out: Console) -> bool:
    """Change the policy of a recorded run; tells whether its regression was found."""
    pool = BuilderPool(store)
    step = step_at(store, task_id, "last")
    found = sides_compared(pool, step, Side("recorded"), Side("forgetful", FORGETFUL))
    out.print(f"\n[bold]what if its policy had been errors = 0?[/] its last prompt, {step.name}:")
    for line in diff_text(found).split("\n"):
        out.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    both = [PolicyReplay(pool), PolicyReplay(pool, None, FORGETFUL)]
    every = tuple(measured(steps(store, task_id, outcomes=True), both))
    run = ReplayRun("the run above", task_id, len(every))
    [beside] = compared([Tried(run, every)], ("recorded", "forgetful"), [Rules()])
    before, after = beside.before, beside.after
    out.print(
        f"\nof {before.used} things that the accepted code used, its {before.prompts} prompts had"
        f" shown {before.shown}; they would have shown {after.shown}",
        highlight=False,
    )
    for line in lines(beside):
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    return bool(beside.broken)
