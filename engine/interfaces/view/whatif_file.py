"""What a file holds of other policies: found when it is written, at each prompt of the run."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from backcast.domain.errors import BackcastError, InputError
from backcast.engine.interfaces.profiles import message_counter
from backcast.engine.interfaces.view.markup import Markup, joined, tag
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.engine.interfaces.view.reading import RunReader
from backcast.engine.interfaces.view.whatif import (
    pin_part,
    run_part,
    step_asked,
    step_part,
    used_part,
    whatif_panel,
    within_part,
)
from backcast.engine.interfaces.view.whatif_messages import (
    message_panel_parts,
    messages_tried,
    require_messages,
)
from backcast.engine.interfaces.view.whatif_messages import run_part as messages_run_part
from backcast.engine.replay.agent_prompts import has_messages
from backcast.engine.replay.history_prompt import all_under
from backcast.engine.replay.history_trial import TriedRun
from backcast.engine.replay.what_if import OtherPolicy, RunTrial, run_trial, used_here


class FileTrial(NamedTuple):
    """A policy that a file tells of, and what it does to the whole run."""

    other: OtherPolicy
    run: RunTrial | None
    "Of the prompts that we built; None where there are none."
    messages: TriedRun | None
    "Of an agent's prompts; None where there are none."


def file_trial(reader: RunReader, other: OtherPolicy, advance: Callable[[int], None]) -> FileTrial:
    """Try a policy on a run. `InputError` where it has nothing to do with any of its prompts."""
    is_agents = has_messages(reader.store, reader.task)
    is_ours = any(one.fact.stood_at is not None for one in reader.prompts().values())
    run = messages = None
    if is_ours or not is_agents:
        run = run_trial(reader.store, reader.task, other, advance=advance)
    else:
        require_messages(other)
    if is_agents and other.policy.messages.changes:
        messages = messages_tried(reader, other)
    return FileTrial(other, run, messages)


def file_panels(
    maker: PanelMaker, trials: Sequence[FileTrial], first: int = 1
) -> Iterator[tuple[str, Markup]]:
    """Yield what each policy would have shown, by the event of the prompt, from an event on, and
    the policy's name."""
    for trial in trials:
        name = maker.mask(trial.other.name)
        for version, body in (*_ours(maker, trial, first), *_messages(maker, trial, first)):
            back = tag("p", maker.link(version, "back to the step"), class_="note")
            yield f"{version}:{name}", whatif_panel(name, back, body)


def _ours(maker: PanelMaker, trial: FileTrial, first: int) -> Iterator[tuple[int, Markup]]:
    if trial.run is None:
        return
    for step in maker.shown.sequence.steps:
        prompt = None if step.foreign else maker.reader.prompts().get(step.prompt)
        if prompt and step.first >= first and prompt.fact.stood_at is not None:
            parts = _our_parts(maker, step.prompt, trial.other, trial.run)
            yield step.prompt, joined(parts)


def _our_parts(
    maker: PanelMaker, version: int, other: OtherPolicy, run: RunTrial
) -> Iterator[Markup]:
    try:
        step = step_asked(maker, version)
        here = used_here(maker.reader.pool, step, other.policy)
        yield step_part(maker, step, other)
        yield used_part(maker, here)
        yield maker.keep(run_part(maker, run))
        yield within_part(maker, run, version)
        with suppress(InputError):
            yield pin_part(maker, version, other, here)
    except (BackcastError, ValueError) as error:
        yield tag("p", f"this cannot be told: {maker.mask(str(error))}", class_="bad")


def _messages(maker: PanelMaker, trial: FileTrial, first: int) -> Iterator[tuple[int, Markup]]:
    if trial.messages is None:
        return
    store, task, count = maker.reader.store, maker.reader.task, message_counter().count
    run = maker.keep(messages_run_part(maker, trial.messages, trial.other))
    for found in all_under(store, task, trial.other.policy.messages, count):
        if found.recorded.version < first:
            continue
        parts = message_panel_parts(maker, found, trial.other, lambda: run)
        yield found.recorded.version, joined(parts)
