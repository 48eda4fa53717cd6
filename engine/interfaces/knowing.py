"""Commands that ask what is known at a moment: the graph, summaries, and what no longer holds."""

import json
from typing import TYPE_CHECKING, Any

import click

from domain.errors import InputError
from engine.interfaces.options import (
    json_option,
    moment_options,
    opened,
    store_option,
    task_option,
)

if TYPE_CHECKING:
    from domain.moment import Moment
    from engine.log.store import EventStore


def known(store: "EventStore", task: str, moment: dict[str, Any]) -> "Moment":
    """The moment that options name, once every text of the task is outlined."""
    from engine.interfaces.moments import moment_of

    store.require(task)
    at = moment_of(store, task, **moment)
    outline_all(store, task)
    return at


def outline_all(store: "EventStore", task: str) -> int:
    """Outline what the log has brought since it was last asked, and say so on stderr."""
    from engine.interfaces.progress_bar import progress_bar
    from engine.memory.outlines import Outlining

    outlining = Outlining(store, task)
    waiting = outlining.waiting_for()
    if waiting:
        with progress_bar("outlining", waiting) as advance:
            outlining.catch_up(advance)
        click.echo(f"backcast: outlined {waiting} texts of task {task}, once for all", err=True)
    return waiting


@click.command()
@store_option
@task_option
def outline(url: str, task: str) -> None:
    """Record what is in the modules of a task: functions, classes, imports, calls.

    Commands that need it do it by themselves; this does it beforehand.

    \b
    backcast outline --task backcast
    """
    with opened(url) as store:
        store.require(task)
        click.echo(f"outlined {outline_all(store, task)} texts")


@click.command()
@store_option
@task_option
@moment_options
@click.option("--since", metavar="TIME", help="Ask the extractive summaries of then: commit:SHA.")
@json_option
def stale(url: str, task: str, since: str | None, as_json: bool, **moment: Any) -> None:
    """Print every summary that no longer holds, and the proof.

    Without --since, the summaries that somebody wrote are asked. Ends with 0 either way.

    \b
    backcast stale --task backcast
    backcast stale --task backcast --since commit:4fd36e1 --at commit:9b1c2d3
    """
    from engine.interfaces.moments import moment_of
    from engine.replay.staleness import stale as stale_at
    from engine.replay.state_json import plain

    with opened(url) as store:
        at = known(store, task, moment)
        begin = moment_of(store, task, at=since) if since else None
        found = stale_at(store, task, at, begin)
    for one in found:
        click.echo(json.dumps(plain(one), ensure_ascii=False) if as_json else str(one))
    if not as_json:
        click.echo(f"{len(found)} stale", err=True)


@click.command()
@store_option
@task_option
@moment_options
@click.option("--node", metavar="NODE", help="Only what is around this one.")
@click.option("--hops", default=1, show_default=True, help="How far around it.")
@json_option
def graph(url: str, task: str, node: str | None, hops: int, as_json: bool, **moment: Any) -> None:
    """What needs what: modules, functions, classes, tests, libraries, concepts.

    \b
    backcast show graph --task backcast --node module:domain/clock.py
    """
    from engine.interfaces.graphs import graph_json, show_graph, show_node
    from engine.interfaces.views import console
    from engine.replay.states import state_at
    from projections import dependency_graph

    with opened(url) as store:
        state = state_at(store, dependency_graph, task, known(store, task, moment))
    found = dependency_graph.graph_of(state)
    if node is not None and node not in found.nodes:
        raise InputError(f"needed a node of task {task!r} such as module:PATH, found {node!r}")
    if as_json:
        around = None if node is None else found.neighbours(node, hops)
        click.echo(json.dumps(graph_json(found, around), ensure_ascii=False))
    elif node is None:
        show_graph(found, dependency_graph.behind(state), console())
    else:
        show_node(found, node, hops, console())


@click.command()
@store_option
@task_option
@moment_options
@click.option("--node", metavar="NODE", help="Only this one: function:PATH::NAME.")
@json_option
def summaries(url: str, task: str, node: str | None, as_json: bool, **moment: Any) -> None:
    """What each node is, in a few lines: derived, and as somebody wrote it.

    \b
    backcast show summaries --task backcast --node module:domain/clock.py
    """
    from engine.interfaces.summaries import told

    with opened(url) as store:
        at = known(store, task, moment)
        count = 0
        for one in told(store, task, at, node):
            click.echo(json.dumps(one.plain(), ensure_ascii=False) if as_json else f"{one}\n")
            count += 1
    if node is not None and not count:
        raise InputError(f"needed a node of task {task!r} such as module:PATH, found {node!r}")


SHOWN = (graph, summaries)
COMMANDS = (outline, stale)
