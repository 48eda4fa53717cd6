"""What `scripts/demo` ends with: another policy for the run that it made, and what gets worse."""

from rich.console import Console

from domain.policy import DEFAULT
from engine.interfaces.diff_text import diff_text
from engine.interfaces.regress_report import lines
from engine.log.store import EventStore
from engine.replay.corpus import Run, Tried
from engine.replay.derive import Line, Workshop
from engine.replay.find import step_at
from engine.replay.measure import measured
from engine.replay.pairs import Side
from engine.replay.pairs import compared as sides_compared
from engine.replay.regress import compared
from engine.replay.rules import Rules
from engine.replay.steps import steps

FORGETFUL = DEFAULT.model_copy(update={"name": "forgetful", "errors": 0})
"Shows no failures, which saves tokens."


def demonstrate_policy(store: EventStore, task_id: str, out: Console) -> bool:
    """Change the policy of a recorded run; tells whether its regression was found."""
    workshop = Workshop(store)
    step = step_at(store, task_id, "last")
    found = sides_compared(workshop, step, Side("recorded"), Side("forgetful", FORGETFUL))
    out.print(f"\n[bold]what if its policy had been errors = 0?[/] its last prompt, {step.name}:")
    for line in diff_text(found).split("\n"):
        out.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    both = [Line(workshop), Line(workshop, None, FORGETFUL)]
    every = tuple(measured(steps(store, task_id, outcomes=True), both))
    run = Run("the run above", task_id, len(every))
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
