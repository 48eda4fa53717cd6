"""`backcast audit`: the life of a node."""

from typing import TYPE_CHECKING

import click

from backcast.domain.errors import InputError, MomentError
from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import address_argument, task_at
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.terminal import escaped, message

if TYPE_CHECKING:
    from backcast.domain.moment import Moment
    from backcast.engine.log.store import EventStore

NEAR = 3
"Names that are offered where one was not found."


@click.command(name="audit")
@address_argument()
@click.argument("node")
@store_option
@json_option
def command(address: Address, node: str, url: str, as_json: bool) -> None:
    """Tell the life of a node: its versions, summaries and prompts.

    \b
    backcast audit task-abc123 function:validators.py::validate_email
    backcast audit task-abc123@2026-11-20T10:31 validators.py::validate_email
    backcast audit fixtures/logs/till.jsonl money.py::to_cents --json

    NODE is module:PATH, function:PATH::NAME (or class, method, test, attribute), failure:V.N,
    iteration:PATH@N, task:ID, or a bare PATH or PATH::NAME.

    Each row names its event: 'backcast log TASK' shows what stands around it, and 'backcast context
    TASK@N' the prompt of a row that tells of one. A prompt that showed the full text of what the
    node stands in has it "within". The last line, or JSON object, counts.
    """
    from backcast.engine.history.state_json import plain
    from backcast.engine.interfaces.foreign_prompts import is_foreign
    from backcast.engine.interfaces.lives import show, summed_up
    from backcast.engine.interfaces.terminal import progress_bar
    from backcast.engine.interfaces.views import console
    from backcast.engine.replay.audit import life_of

    with task_at(address, url) as place:
        store, task, at = place.store, place.task, place.outlined()
        _need_outline(store, task, node, at)
        resolved = _resolved(store, task, node, at)
        with progress_bar("auditing", store.version_at(task, at)) as advance:
            life = life_of(store, task, resolved, at, advance)
        if not life.occurrences:
            raise _unknown(store, task, node, at)
        if is_foreign(place):
            message(
                "note: the prompts of this task are another program's and name no nodes: 'backcast"
                f" blame {escaped(task)} TEXT' tells where a text in them came from"
            )
    if not as_json:
        show(life, console())
        click.echo(f"\n{summed_up(life.standing)}")
        return
    for occurrence in life.occurrences:
        usual = occurrence._field_defaults
        fields = {k: v for k, v in occurrence._asdict().items() if k not in usual or v != usual[k]}
        fields["timestamp"] = plain(occurrence.timestamp)
        click.echo(json_text(fields))
    click.echo(json_text(life.standing._asdict()))


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
            f" {task}@2026-11-20T10:31"
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
        names = ", ".join(map(repr, found))
        raise InputError(f"needed one node, found that {text!r} is {len(found)} of them: {names}")
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
    names = ", ".join(map(repr, list(dict.fromkeys(near))[:NEAR]))
    meant = f"; near it: {names}" if names else ""
    if any(store.read(task, types=["DISPATCH_STARTED"])):
        return InputError(
            f"task {task!r} is a run of agents over a list of tasks, whose log holds no modules:"
            f" 'backcast show facts {task} --about {place}' tells what it has of them"
        )
    such = "" if _has_kind(text) else " such as module:PATH"
    return InputError(f"needed a node of task {task!r}{such}, found {text!r}{meant}")
