"""The command that compares two prompts."""

from typing import TYPE_CHECKING, Any

import click

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.contexts import asked_for
from backcast.engine.interfaces.options import DEFAULT_STORE, json_option
from backcast.engine.interfaces.replaying import note_prompt
from backcast.engine.interfaces.terminal import escaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backcast.domain.budget import ModelProfile
    from backcast.engine.log.open_logs import Log
    from backcast.engine.log.store import EventStore
    from backcast.engine.replay.diff import Diff
    from backcast.engine.replay.pairs import Side
    from backcast.engine.replay.steps import ReplayStep

RECORDED, NOW = "recorded", "as recorded"
SETTINGS = 12
"Settings in which two policies differ that are told one by one."


@click.command()
@click.argument("logs", nargs=-1, metavar="[LOG [OTHER]]")
@click.option("--store", "url", envvar="BACKCAST_STORE", default=DEFAULT_STORE, show_default=True,
              metavar="URL", help="Where no LOG is named. Also BACKCAST_STORE.")  # fmt: skip
@click.option("--task", "tasks", multiple=True, metavar="TASK",
              help="Where a log holds several; twice to compare two.")  # fmt: skip
@click.option("--at", metavar="STEP", help="A prompt: its event's number, first or last.")
@click.option("--policy", "policies", multiple=True, metavar="NAME",
              help="TOML, a name, or recorded; one beside the recorded prompt.")  # fmt: skip
@click.option("--profile", "profiles", multiple=True, metavar="NAME", help="One window, or two.")
@click.option(
    "--from", "begin", metavar="T1", help="A moment: an event's number, TIME, commit:SHA."
)
@click.option("--to", "end", metavar="T2", help="A later moment.")
@click.option("--for", "target", metavar="NODE", help="With moments: what is asked for.")
@click.option("--query", default="", metavar="TEXT", help="With moments: in words.")
@json_option
def diff(
    logs: tuple[str, ...], url: str, tasks: tuple[str, ...], at: str | None,
    policies: tuple[str, ...], profiles: tuple[str, ...], begin: str | None, end: str | None,
    target: str | None, query: str, as_json: bool,
) -> None:  # fmt: skip
    """Tell what differs between two prompts, section by section: in, out, by more or less, and why.

    \b
    backcast diff fixtures/logs/till.jsonl --at 164 --policy recorded --policy mine.toml
    backcast diff fixtures/logs/till.jsonl --at 164 --profile qwen3-8b-32k
    backcast diff fixtures/logs/till.jsonl --from 79 --to 164     # and by which events
    backcast diff --store sqlite:///runs.db --task till --task till~1      # a branch

    LOG is a file that 'backcast export' wrote, or the URL of a store. A prompt that is compared
    under two policies is built twice now; with one, the recorded prompt is the other.
    """
    from backcast.engine.log.open_logs import opened

    if len(logs) > 2 or len(tasks) > 2:
        raise click.UsageError("needed one log or two, and a task of each")
    first, *more = logs or (url,)
    own = tasks[0] if tasks else None
    with opened(first, own) as log:
        if more or len(tasks) == 2:
            with opened(more[0] if more else first, tasks[-1] if tasks else None) as other:
                return _logs(log, other, at, as_json)
        task = only_task(log)
        if begin or end:
            return _moments(log.store, task, (begin, end), (target, query), profiles, as_json)
        return _settings(log.store, task, at or "last", policies, profiles, as_json)


def only_task(log: "Log") -> str:
    """The task of a log that holds one."""
    if len(log.tasks) == 1:
        return log.tasks[0]
    raise InputError(f"{log.name} holds {len(log.tasks)} tasks: needed --task of"
                     f" {', '.join(log.tasks[:5])}")  # fmt: skip


def _settings(
    store: "EventStore", task: str, at: str, policies: tuple[str, ...], profiles: tuple[str, ...],
    as_json: bool,
) -> None:  # fmt: skip
    """Compare one prompt under two policies or profiles."""
    from backcast.domain.policy import DEFAULT
    from backcast.engine.context.policies import changed
    from backcast.engine.replay.derive import BuilderPool
    from backcast.engine.replay.find import step_at
    from backcast.engine.replay.pairs import compared

    if not (policies or profiles) or len(policies) > 2 or len(profiles) > 2:
        raise click.UsageError(
            "needed --policy once or twice, --profile, --from and --to, or two logs"
        )
    step = step_at(store, task, at)
    note_prompt(at, step)
    before, after = _sides(step, policies, profiles)
    pool = BuilderPool(store)
    found = compared(pool, step, before, after)
    recorded = pool.settings(step.built)[1] if step.built else DEFAULT
    told = changed(before.policy or recorded, after.policy or recorded)
    _tell(found, as_json, f"{task}@{step.version} {step.name}", settings=told)


def _sides(
    step: "ReplayStep", policies: tuple[str, ...], profiles: tuple[str, ...]
) -> "tuple[Side, Side]":
    """By what the two prompts are built; what is named once is compared with the recorded one."""
    from backcast.engine.context.policies import policy_named
    from backcast.engine.replay.pairs import Side
    from backcast.engine.workflow.runtime import profile_named

    try:
        named = [None if name == RECORDED else policy_named(name) for name in policies] or [None]
        windows: list[ModelProfile | None] = [profile_named(name) for name in profiles] or [None]
    except InputError as error:
        raise click.UsageError(str(error)) from None
    two = len(policies) == 2 or len(profiles) == 2
    if not two and step.built:
        first = Side(NOW, now=False)
    else:
        first = Side(policies[0] if policies else RECORDED, named[0], windows[0] if two else None)
    told = [*policies[-1:], *profiles[-1:]]
    return first, Side(" ".join(told), named[-1], windows[-1])


def _moments(
    store: "EventStore", task: str, moments: tuple[str | None, str | None],
    asked: tuple[str | None, str], profiles: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Compare the prompts of two moments, and tell the events between that made the difference."""
    from backcast.engine.interfaces.views import event_line
    from backcast.engine.replay.derive import BuilderPool
    from backcast.engine.replay.pairs import moved
    from backcast.engine.workflow.runtime import profile_named

    if None in moments:
        raise click.UsageError("needed both --from and --to")
    begin, end = (_step(store, task, str(one), asked) for one in moments)
    if begin.version > end.version:
        raise InputError(
            f"--to: needed a moment behind --from, event {begin.version}, found {end.version}"
        )
    profile = profile_named(profiles[0]) if profiles else None
    found = moved(BuilderPool(store), begin, end, profile)
    after, last = _stood(begin), _stood(end)
    made = {one for change in found.changes for one in change.because if after < one <= last}
    events = [event for event in store.read(task, after=after, last=last) if event.version in made]
    lines = [event_line(event) for event in events]
    _tell(found, as_json, f"{task}, from {begin.name} to {end.name}", lines)


def _stood(step: "ReplayStep") -> int:
    return max(1, step.version) - 1


def _step(store: "EventStore", task: str, at: str, asked: tuple[str | None, str]) -> "ReplayStep":
    """The prompt at a moment: a recorded one by its event, else one for what is asked."""
    from backcast.engine.context.builder import Request
    from backcast.engine.history.moments import moment_of
    from backcast.engine.replay.find import known_at, request_at, step_at
    from backcast.engine.replay.steps import ReplayStep

    store.require(task)
    wanted = asked[0] or asked[1]
    if at.isdigit() and not wanted:
        found = step_at(store, task, at)
        note_prompt(at, found)
        return found
    named: dict[str, Any] = {"at": at}
    if at.isdigit():
        there = list(store.read(task, after=int(at) - 1, last=int(at)))
        if not there:
            raise InputError(f"{task}@{at}: there is no such event")
        named = {"position": there[0].position}
    moment = moment_of(store, task, **named)
    version = store.version_at(task, moment)
    request = Request(asked_for(*asked), asked[1]) if wanted else request_at(store, task, version)
    if request is None:
        raise InputError(f"no prompt was asked for by {at}: needed --for NODE or --query TEXT")
    known = known_at(store, task, moment)
    return ReplayStep(task, version + 1, at, request, None, known, known)


def _logs(log: "Log", other: "Log", at: str | None, as_json: bool) -> None:
    """Compare the recorded prompts of two logs, and show the first pair that differs."""
    from backcast.engine.replay.pairs import between, pairs

    stores = log.store, other.store
    found = pairs(stores, (only_task(log), only_task(other)))
    named = [n for n, pair in enumerate(found) if pair.before and str(pair.before.version) == at]
    differing = [n for n, pair in enumerate(found) if not pair.same]
    if at and not named:
        raise InputError(
            f"{only_task(log)}@{at}: needed the event of a prompt: 'backcast log' shows them"
        )
    if not as_json:
        click.echo(f"{len(found)} pairs of prompts, {len(differing)} differ")
        if differing:
            pair = found[differing[0]]
            where = [f"{one.version} {one.name}" if one else "none" for one in pair]
            click.echo(escaped(f"the first that differ: {where[0]} and {where[1]}"))
    for number in named or differing[:1]:
        if told := between(stores, found[number]):
            _tell(told, as_json, "")
    if as_json and not (named or differing):
        click.echo(json_text({"pairs": len(found), "differ": 0}))


def _tell(
    found: "Diff", as_json: bool, about: str, events: "Sequence[str]" = (), settings:
    "Sequence[str]" = (),
) -> None:  # fmt: skip
    """Print a difference, the events that made it, and the settings that did."""
    from backcast.engine.interfaces.diff_text import diff_text

    if as_json:
        from backcast.engine.history.state_json import plain

        told = plain(found) | {"same": found.same, "events": events, "settings": settings}
        click.echo(json_text(told))
        return
    if about:
        click.echo(escaped(about))
    for line in settings[:SETTINGS]:
        click.echo(escaped(f"  {line}"))
    if len(settings) > SETTINGS:
        click.echo(f"  and {len(settings) - SETTINGS} more settings")
    click.echo(diff_text(found, 200))
    if events:
        click.echo("made so by")
        for line in events:
            click.echo(line)


COMMANDS = (diff,)
