"""The run that `scripts/demo` makes: a task from its specification to tested code, and back.

The model's answers come from a recording; prompts, code and tests are made anew. Then the prompts
of three moments are rebuilt from the log alone.
"""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from backcast.domain.events import ContextBuilt, StepStarted, WorkflowEvent
from backcast.domain.moment import Moment
from backcast.engine.context.recorded import messages
from backcast.engine.history.snapshots import state_at
from backcast.engine.interfaces.run_progress import RunProgress
from backcast.engine.interfaces.views import one_line
from backcast.engine.log.store import EventStore
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.loop import start, work, write_code
from backcast.engine.workflow.runtime import open_runtime
from backcast.engine.workflow.spec import spec_at
from backcast.projections import progress

SHOWN = 5
"Lines of a section that are printed."


def demonstrate_run(
    store: EventStore, spec_file: Path, recording: Path, folder: Path, out: Console
) -> bool:
    """Run, travel back, rebuild; tells whether all of that held."""
    spec = spec_at(spec_file)
    model = open_runtime(f"answers:{recording}", spec.task, out=str(folder))
    start(store, spec)
    with RunProgress(model.profile.prompt, out) as shown:
        state = work(store, spec.task, model, watch=shown.take)
    files = write_code(store, spec.task, folder)
    out.print(
        f"{state.events} events, {len(files)} files in {folder.parent.name}/{folder.name}",
        highlight=False,
    )
    verdicts = {one.version: one for one in verified(store, spec.task)}
    asked = list(_asked(store, spec.task))
    before = set[str]()
    for step, event in _three(asked):
        _print_prompt(
            store, step, event, verdicts[event.version].rebuilt.verdict == "same", before, out
        )
    held = sum(one.holds for one in verdicts.values())
    out.print(
        f"\nof {len(verdicts)} prompts {held} were rebuilt from the log to the same bytes and"
        " derived again"
    )
    return state.status == "complete" and held == len(verdicts)


def _asked(store: EventStore, task: str) -> list[tuple[StepStarted, WorkflowEvent]]:
    """What a model was asked, and the prompt of each."""
    found, step = [], StepStarted()
    for event in store.read(task, types=["STEP_STARTED", "CONTEXT_BUILT"]):
        if isinstance(event.fact, StepStarted):
            step = event.fact
        else:
            found.append((step, event))
    return found


def _three(
    asked: Sequence[tuple[StepStarted, WorkflowEvent]],
) -> Sequence[tuple[StepStarted, WorkflowEvent]]:
    """The first prompt, one in the middle, and the last."""
    return [asked[index] for index in sorted({0, len(asked) // 2, len(asked) - 1})]


def _print_prompt(
    store: EventStore, step: StepStarted, event: WorkflowEvent, rebuilt: bool, before: set[str],
    out: Console,
) -> None:  # fmt: skip
    """Print the prompt of a moment: the first lines of each section that is not `before`."""
    assert isinstance(event.fact, ContextBuilt)
    moment = Moment(position=event.position)
    state: progress.State = state_at(store, progress, event.task_id, moment)
    what = f"{step.kind} {step.module_name}".strip()
    out.print(
        f"\n[bold]event {event.version}[/], {state.status}: the prompt for {what}, iteration"
        f" {step.iteration}; {event.fact.tokens} tokens; rebuilt:"
        f" {'the same bytes' if rebuilt else 'OTHER BYTES'}",
        highlight=False,
    )
    whole = "\n".join(text for _, text in messages(event.fact, store.get))
    for section in whole.replace("\n# ", "\0# ").split("\0"):
        heading, *lines = [line for line in section.split("\n") if line.strip()]
        again = section in before
        before.add(section)
        shown = [] if again else lines[:SHOWN]
        more = "    (as above)" if again and lines else "    ..." if len(lines) > len(shown) else ""
        for line in filter(None, (heading, *shown, more)):
            out.print(f"  {one_line(line, 96)}", markup=False, highlight=False)
