"""The command that tells a node's life."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backcast.domain.errors import InputError, MomentError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.knowing import known
from backcast.engine.interfaces.options import json_option, moment_options, opened, store_option
from backcast.engine.interfaces.terminal import message

if TYPE_CHECKING:
    from backcast.domain.moment import Moment
    from backcast.engine.log.store import EventStore

NEAR = 3
"Names that are offered where one was not found."


@click.command()
@click.argument("node")
@click.argument("log", required=False, type=Path, metavar="[LOG]")
@store_option
@click.option("--task", metavar="TASK", help="See 'backcast tasks'; a LOG of one task needs none.")
@moment_options
@json_option
def audit(
    node: str, log: Path | None, url: str, task: str | None, as_json: bool, **moment: Any
) -> None:
    """Tell the life of a node: each version, summary and prompt, and what it came to.

    \b
    backcast audit function:validators.py::validate_email --task task-abc123
    backcast audit validators.py::validate_email --task task-abc123 --at 2026-11-20T10:31
    backcast audit money.py::to_cents fixtures/logs/till.jsonl --json

    NODE is module:PATH, function:PATH::NAME (or class, method, test, attribute), failure:V.N,
    iteration:PATH@N, task:ID, or a bare PATH or PATH::NAME. LOG is a file that 'backcast export'
    wrote; without one the store is asked.

    Each row names its event: 'backcast log --task TASK' shows what stands around it, and 'backcast
    context --task TASK --event N' the prompt of a row that tells of one. A prompt that showed the
    full text of what the node stands in has it "within". The last line, or JSON object, counts.
    """
    from backcast.engine.history.state_json import plain
    from backcast.engine.interfaces.lives import show, summed_up
    from backcast.engine.interfaces.terminal import progress_bar
    from backcast.engine.interfaces.views import console
    from backcast.engine.replay.audit import life_of

    with _opened(log, url, task) as (store, named):
        at = known(store, named, moment)
        _need_outline(store, named, node, at)
        asked = _resolved(store, named, node, at)
        with progress_bar("auditing", store.version_at(named, at)) as advance:
            life = life_of(store, named, asked, at, advance)
        if not life.occurrences:
            raise _unknown(store, named, node, at)
    if not as_json:
        show(life, console())
        click.echo(f"\n{summed_up(life.standing)}")
        return
    for one in life.occurrences:
        usual = one._field_defaults
        told = {k: v for k, v in one._asdict().items() if k not in usual or v != usual[k]}
        told["timestamp"] = plain(one.timestamp)
        click.echo(json_text(told))
    click.echo(json_text(life.standing._asdict()))


@contextmanager
def _opened(log: Path | None, url: str, task: str | None) -> Iterator[tuple["EventStore", str]]:
    """The store that is asked, and the task."""
    if log is None:
        if task is None:
            raise click.UsageError("needed --task TASK, or a LOG of one task")
        with opened(url) as store:
            yield store, task
        return
    from backcast.engine.log.open_logs import opened as opened_log

    with opened_log(str(log), task) as there:
        for problem in there.problems:
            message(f"skipped {problem}")
        tasks = there.tasks
        if len(tasks) > 1:
            shown = ", ".join(map(repr, tasks[:NEAR])) + (", ..." if tasks[NEAR:] else "")
            raise click.UsageError(f"needed --task TASK, found {len(tasks)} in {log}: {shown}")
        yield there.store, tasks[0]


def _need_outline(store: "EventStore", task: str, text: str, at: "Moment") -> None:
    """Refuse a moment by position that stands before the outline of what a name is in."""
    from backcast.engine.history.snapshots import state_at
    from backcast.engine.memory.outliner import outliner_of
    from backcast.projections import dependency_graph

    place = text.partition(":")[2] if _has_kind(text) else text
    path, mark, _ = place.partition("::")
    if at.position is None or not mark or not outliner_of(path):
        return
    if path in dependency_graph.behind(state_at(store, dependency_graph, task, at)):
        raise MomentError(
            f"{path!r} was outlined after that moment was recorded: name it by a time, such as"
            " --at 2026-11-20T10:31"
        )


def _resolved(store: "EventStore", task: str, text: str, at: "Moment") -> str:
    """The node that a text names, be it without its kind."""
    from backcast.domain.events import EventType
    from backcast.domain.node import node_id
    from backcast.engine.replay.audit import named

    if _has_kind(text):
        return text
    path, mark, name = text.partition("::")
    if not mark:
        return node_id("module", path)
    outlines = store.read(task, moment=at, types=[EventType.MODULE_OUTLINED])
    found = named(outlines, path, name)
    if len(found) > 1:
        told = ", ".join(map(repr, found))
        raise InputError(f"needed one node, found that {text!r} is {len(found)} of them: {told}")
    if not found:
        raise _unknown(store, task, text, at)
    return found[0]


def _has_kind(text: str) -> bool:
    """Whether a text is a node's id, and not a bare path."""
    from backcast.domain.node import KINDS

    kind, mark, place = text.partition(":")
    return kind in (*KINDS, "failure", "iteration") and bool(mark and place)


def _unknown(store: "EventStore", task: str, text: str, at: "Moment") -> InputError:
    """What to say where the log tells nothing of a node: what may have been meant."""
    from difflib import get_close_matches

    from backcast.domain.cache import names_of
    from backcast.domain.node import node_id
    from backcast.domain.outline import names_in
    from backcast.engine.history.snapshots import state_at
    from backcast.projections import dependency_graph

    state = state_at(store, dependency_graph, task, at)
    nodes = [node_id("task", task)]
    for path in sorted(state.modules):
        facets = state.modules[path].facets
        nodes.append(node_id("module", path))
        kinds = ((name, facets[f"sig:{name}"]) for name in names_in(facets))
        nodes += [node_id(sig[0], path, name) for name, sig in kinds if sig]
    place = text.partition(":")[2] if _has_kind(text) else text
    places = {node.partition(":")[2]: node for node in reversed(nodes)}
    near = [node for node in nodes if place in names_of(node)]
    near += [places[one] for one in get_close_matches(place, places, NEAR)]
    told = ", ".join(map(repr, list(dict.fromkeys(near))[:NEAR]))
    meant = f"; near it: {told}" if told else ""
    return InputError(f"needed a node of task {task!r} such as module:PATH, found {text!r}{meant}")


COMMANDS = (audit,)
