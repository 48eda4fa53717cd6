"""`backcast regress --live`: some prompts asked of a real model under each policy."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.domain.policy import Policy
from backcast.engine.interfaces.options import opened
from backcast.engine.interfaces.terminal import message

if TYPE_CHECKING:
    from backcast.engine.log.store import EventStore
    from backcast.engine.replay.corpus import ReplayRun, Setting, Tried
    from backcast.engine.replay.live import Asking, LiveAnswer
    from backcast.engine.replay.steps import RecordedPrompt


def ask(
    found: "Sequence[Tried]", settings: "Sequence[Setting]", model: str, many: int, yes: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Tell the cost, ask whether it is wanted, and ask the model; answers stand on branches."""
    from backcast.engine.replay.live import answers, cost, sampled
    from backcast.engine.workflow.runtime import open_runtime

    run, versions = _differing(found)
    with opened(run.log) as store:
        served_by = open_runtime(model, run.task)
        sample = sampled(store, run.task, versions, many)
        told = cost(sample, settings, served_by.profile)
        _agreed(told, run.task, model, yes)
        for one in sample:
            both = [(each.name, _policy(store, each, one)) for each in settings]
            for answered in answers(
                store, run.task, [one], both, served_by.model, served_by.profile
            ):
                _tell(answered, as_json)


def _differing(found: "Sequence[Tried]") -> "tuple[ReplayRun, list[int]]":
    """The run with most prompts that the policies build otherwise, and the events of those."""
    there = [
        (tried.run, [s.version for s in tried.steps if len({f.digest for f in s.figures}) > 1])
        for tried in found
        if tried.run.prompts
    ]
    run, versions = max(there, key=lambda one: len(one[1]), default=(None, []))
    if run is None or not versions:
        raise InputError("--live: needed a prompt that the policies build otherwise, found none")
    return run, versions


def _policy(store: "EventStore", setting: "Setting", one: "RecordedPrompt") -> Policy:
    from backcast.engine.replay.derive import BuilderPool

    return setting.policy or BuilderPool(store).settings(one.fact)[1]


def _agreed(told: "Asking", task: str, model: str, yes: bool) -> None:
    """Say what it costs; `UsageError` where nobody can agree, `Abort` where somebody does not."""
    calls = "1 call" if told.calls == 1 else f"{told.calls} calls"
    cost = (
        f"{calls} of {model} about task {task}: about {told.tokens:,} tokens of prompts, and"
        f" answers of {told.answers:,} tokens at most"
    )
    message(cost)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("--live: needed --yes, since nobody is there to be asked")
        click.confirm("go on?", abort=True, err=True)


def _tell(one: "LiveAnswer", as_json: bool) -> None:
    if as_json:
        click.echo(json_text({"live": one._asdict()}))
        return
    came = f"failed: {one.error}" if one.error else f"{one.tokens} tokens of answer"
    from backcast.engine.interfaces.views import one_line

    asked = f"{one.version} {one.name} under {one.policy}: {one.prompt_tokens} tokens asked"
    click.echo(one_line(f"live: {asked}, {came}, recorded as task {one.branch}", 1_000))
