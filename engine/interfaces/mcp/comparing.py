"""The tool `compare`: two prompts of a run, or one under another policy."""

from collections.abc import Iterator
from typing import Any

from backcast.domain.errors import InputError
from backcast.engine.interfaces.anatomy_text import difference_text, prefixes_text
from backcast.engine.interfaces.differing import (
    between_moments,
    between_settings,
    difference_lines,
)
from backcast.engine.interfaces.histories import counter_of, settings_of
from backcast.engine.interfaces.history_text import difference_lines as history_lines
from backcast.engine.interfaces.mcp.answers import ToolAnswer
from backcast.engine.interfaces.mcp.runs import AskedRun, RunShelf, named_policy
from backcast.engine.interfaces.profiles import message_counter
from backcast.engine.interfaces.terminal import escaped
from backcast.engine.interfaces.views import one_line
from backcast.engine.replay.foreign_prompts import compared, request_at
from backcast.engine.replay.history_prompt import prompt_under
from backcast.engine.replay.prefix_rows import prefix_rows

MOST = 20
"Events that a line names."


def compare(shelf: RunShelf, asked: dict[str, Any]) -> ToolAnswer:
    """Compare two prompts of a run, one under another policy, or all in a row."""
    run = shelf.run(asked["task"])
    event, other, policy = asked["event"], asked["with_event"], asked["policy"]
    if other and policy:
        raise InputError("needed with_event or policy, found both: ask twice")
    if other and not event:
        raise InputError("with_event: needed an event beside it, found none: name event, too")
    if not (event or policy):
        lines = list(_in_a_row(run))
        return ToolAnswer(lines, run.stale(run.moment("")), "name two events to see them closer")
    version = run.prompt(event or str(run.reader.sequence.version))
    if policy:
        lines = list(_under(run, version, named_policy(policy)))
    else:
        lines = list(_two(run, version, other))
    return ToolAnswer(lines, run.stale(run.reader.moment(version)), "raise max_tokens")


def _two(run: AskedRun, version: int, other: str) -> Iterator[str]:
    if other:
        first, last = sorted((version, run.prompt(other)))
    elif before := run.before(version):
        first, last = before.prompt, version
    else:
        raise InputError(f"{run.task}: event {version} is the first prompt: needed with_event")
    if first == last:
        raise InputError(f"{run.task}: needed two prompts, found event {version} twice")
    yield from against_before(run, first, last)


def against_before(run: AskedRun, first: int, last: int) -> Iterator[str]:
    """Yield how a prompt differs from an earlier one."""
    if not run.foreign:
        yield from difference_lines(between_moments(run.place(first), run.place(last)))
        return
    before, after = (request_at(run.store, run.task, str(at)) for at in (first, last))
    found = compared(run.store, run.task, before, after, message_counter().count)
    yield from difference_text(found, run.task).split("\n")


def _under(run: AskedRun, version: int, policy: str) -> Iterator[str]:
    if not run.foreign:
        yield from difference_lines(between_settings(run.place(version), (policy,)))
        return
    found = prompt_under(
        run.store, run.task, str(version), settings_of(policy), counter_of(None).count
    )
    yield f"{escaped(run.task)}@{found.recorded.version}, recorded and {policy}"
    yield from history_lines(found)


def _in_a_row(run: AskedRun) -> Iterator[str]:
    """Yield each prompt of a run, and where it leaves the one before."""
    if run.foreign:
        last = run.reader.sequence.version
        rows = list(prefix_rows(run.store, run.task, last, message_counter().count))
        broken = [row for row in rows if row.broken]
        if broken:
            names = ", ".join(str(row.version) for row in broken[:MOST])
            yield f"{len(broken)} of {len(rows)} prompts break the prefix: events {names}"
        else:
            yield f"nothing broke the prefix: each of {len(rows)} prompts goes on from the last"
        yield from prefixes_text(rows, run.task).split("\n")
        return
    prompts = run.reader.prompts()
    if not prompts:
        raise InputError(f"{run.task}: needed a run with recorded prompts, found none")
    yield f"{len(prompts)} prompts: event, step, tokens, of them as in the prompt before"
    for version, prompt in prompts.items():
        step = run.reader.sequence.at(version)
        shared = prompt.fact.shared_prefix
        kept = "" if shared is None else f", {shared:,} as before"
        outcome = f" ({step.label})" if step.label else ""
        yield (
            f"{version} step {step.number} {one_line(prompt.name, 60)}{outcome}:"
            f" {prompt.fact.tokens or 0:,}{kept}"
        )
