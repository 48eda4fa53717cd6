"""Commands that ask what is known at a moment: the graph, summaries, and what no longer holds."""

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from backcast.domain.errors import InputError, MomentError, UnavailableError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.options import (
    json_option,
    moment_options,
    opened,
    store_option,
    task_option,
)
from backcast.engine.interfaces.terminal import escaped, message

if TYPE_CHECKING:
    from backcast.domain.moment import Moment
    from backcast.engine.context.search import Document, SearchHit
    from backcast.engine.log.store import EventStore

MEANING = ("faiss", "sentence_transformers")
"What a search by meaning is made with."


def known(store: "EventStore", task: str, moment: dict[str, Any]) -> "Moment":
    """The moment that options name, once every text of the task is outlined."""
    from backcast.engine.history.moments import moment_of

    store.require(task)
    at = moment_of(store, task, **moment)
    outline_all(store, task)
    return at


def outline_all(store: "EventStore", task: str) -> int:
    """Outline what the log has brought since it was last asked, and say so on stderr."""
    from backcast.engine.interfaces.terminal import progress_bar
    from backcast.engine.memory.outlines import Outlining

    outlining = Outlining(store, task, os.cpu_count() or 1)
    waiting = outlining.waiting_for()
    if waiting:
        try:
            with progress_bar("outlining", waiting) as advance:
                outlining.catch_up(advance)
        except UnavailableError as error:
            raise UnavailableError(
                f"{waiting} texts of task {task!r} are not outlined yet ('backcast outline'), and"
                f" outlines are kept: {error}"
            ) from error
        message(f"outlined {waiting} texts of task {task}, once for all")
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
    from backcast.engine.history.moments import moment_of
    from backcast.engine.history.staleness import stale as stale_at
    from backcast.engine.history.state_json import plain

    with opened(url) as store:
        at = known(store, task, moment)
        begin = moment_of(store, task, at=since) if since else None
        if begin is not None:
            need_outlines(store, task, begin)
            need_outlines(store, task, at)
        found = stale_at(store, task, at, begin)
    for one in found:
        click.echo(json_text(plain(one)) if as_json else escaped(str(one)))
    if not as_json:
        click.echo(f"{len(found)} stale", err=True)


def need_outlines(store: "EventStore", task: str, moment: "Moment") -> None:
    """Refuse a moment by position or commit that stands before the outlines of its texts."""
    from backcast.engine.history.snapshots import state_at
    from backcast.engine.memory.outliner import outliner_of
    from backcast.projections import dependency_graph

    state = state_at(store, dependency_graph, task, moment)
    behind = [path for path in dependency_graph.behind(state) if outliner_of(path)]
    if behind:
        raise MomentError(
            f"{len(behind)} modules were outlined after that moment was recorded, {behind[0]!r}"
            f" among them: name it by a time, such as --since 2026-11-20T10:31"
        )


@click.command()
@store_option
@task_option
@moment_options
@click.option("--node", metavar="NODE", help="Only what is around this one.")
@click.option(
    "--hops", type=click.IntRange(min=1), default=1, show_default=True, help="How far around it."
)
@json_option
def graph(url: str, task: str, node: str | None, hops: int, as_json: bool, **moment: Any) -> None:
    """What needs what: modules, functions, classes, tests, libraries, concepts.

    \b
    backcast show graph --task backcast --node module:domain/clock.py
    """
    from backcast.engine.history.snapshots import state_at
    from backcast.engine.interfaces.graphs import graph_json, show_graph, show_node
    from backcast.engine.interfaces.views import console
    from backcast.engine.memory.outliner import outliner_of
    from backcast.projections import dependency_graph

    with opened(url) as store:
        state = state_at(store, dependency_graph, task, known(store, task, moment))
    found = dependency_graph.graph_of(state)
    behind = [path for path in dependency_graph.behind(state) if outliner_of(path)]
    if node is not None and node not in found.nodes:
        raise InputError(f"needed a node of task {task!r} such as module:PATH, found {node!r}")
    if as_json:
        around = None if node is None else found.neighbours(node, hops)
        click.echo(json_text(graph_json(found, around)))
    elif node is None:
        show_graph(found, behind, console())
    else:
        show_node(found, node, hops, console())


@click.command()
@store_option
@task_option
@moment_options
@click.option("--node", metavar="NODE", help="Only this one: function:PATH::NAME.")
@click.option("--window", type=click.Choice(["8k", "32k"]), help="Cut to what fits such models.")
@click.option("--whole", is_flag=True, help="Derived ones without a limit of tokens.")
@json_option
def summaries(
    url: str,
    task: str,
    node: str | None,
    window: str | None,
    whole: bool,
    as_json: bool,
    **moment: Any,
) -> None:
    """What each node is, in a few lines: derived, and as somebody wrote it.

    \b
    backcast show summaries --task backcast --node module:domain/clock.py
    """
    from backcast.domain.summary import LIMITS, LIMITS_BY_WINDOW
    from backcast.engine.interfaces.summaries import node_summaries

    limits = None if whole else LIMITS_BY_WINDOW[window] if window else LIMITS
    with opened(url) as store:
        at = known(store, task, moment)
        count = 0
        for one in node_summaries(store, task, at, node, limits):
            shown = json_text(one.plain()) if as_json else str(one)
            click.echo(shown if as_json or not count else f"\n{shown}")
            count += 1
    if node is not None and not count:
        raise InputError(f"needed a node of task {task!r} such as module:PATH, found {node!r}")


@click.command()
@store_option
@task_option
@moment_options
@click.option(
    "--summariser",
    required=True,
    metavar="recording:FILE",
    help="Who is asked: the recorded answers of a model; or extractive.",
)
@click.option(
    "--tokenizer",
    default="upper-bound",
    show_default=True,
    metavar="NAME",
    help="Whose tokens are counted: mistral-v3, gguf:FILE, server:URL, ...",
)
@click.option("--node", "nodes", multiple=True, metavar="NODE", help="Only these; repeatable.")
@json_option
def resummarise(
    url: str,
    task: str,
    summariser: str,
    tokenizer: str,
    nodes: tuple[str, ...],
    as_json: bool,
    **moment: Any,
) -> None:
    """Ask a model for the summaries that are missing or stale, and record what it writes.

    Older moments keep the summaries that they had. What still holds is not asked again; nodes that
    the model fails on keep what they had, and are told on stderr (exit code 1). The extractive
    summaries are derived when they are asked for, hence never missing or stale, and not recorded.

    \b
    backcast resummarise --task backcast --summariser recording:answers.jsonl \\
        --node module:domain/clock.py --tokenizer mistral-v3

    A recording is JSON lines, one for each answer:

    \b
    {"prompt": "9f86d081884c7d65...", "model": "qwen3-8b", "text": "{\\"purpose\\": ...}"}

    text is the answer as it came, and model names who gave it. prompt is the SHA-256, in hex, of
    [[[ROLE, CONTENT], ...], MAX_TOKENS, SCHEMA] as UTF-8 JSON with sorted keys and no blanks; where
    an answer is missing, the error names its prompt.
    """
    from backcast.engine.interfaces.summaries import nodes_of, summariser_of
    from backcast.engine.interfaces.terminal import progress_bar
    from backcast.engine.memory.resummarise import resummarise as ask
    from backcast.engine.models.tokenizers import tokenizer_of

    asked, counter = summariser_of(summariser), tokenizer_of(tokenizer)
    with opened(url) as store:
        at = known(store, task, moment)
        wanted = list(nodes) or list(nodes_of(store, task, at))
        with progress_bar("summing up", len(wanted)) as advance:
            done = ask(store, task, asked, wanted, at, counter, progress_of=advance)
    if asked.derived:
        note = "extractive summaries are derived, and not recorded: 'backcast show summaries'"
        message(f"note: {note}")
    elif not counter.exact:
        message(f"note: tokens are counted by an {counter.id}")
    for node, problem in done.failed:
        message(f"{node}: {problem}")
    if as_json:
        click.echo(json_text(done._asdict()))
    else:
        click.echo(f"wrote {done.written}, {done.kept} still hold, {len(done.failed)} failed")
    raise SystemExit(1 if done.failed else 0)


@click.command()
@click.argument("query")
@store_option
@task_option
@moment_options
@click.option("-k", "count", default=10, show_default=True, help="How many to find.")
@click.option(
    "--embedder", metavar="NAME", help="A sentence-transformers model, by name or folder."
)
@click.option("--words", is_flag=True, help="By words alone, as where no model is installed.")
@json_option
def search(
    query: str, url: str, task: str, count: int, embedder: str | None, words: bool, as_json: bool,
    **moment: Any,
) -> None:  # fmt: skip
    """Find modules and functions by what they do, as they were then: by meaning and by words.

    The meaning needs the extra 'semantic', in a clone 'scripts/install all'.

    \b
    backcast search "is this an e-mail address?" --task task-abc123 --at 2026-11-20T12:30
    """
    from backcast.engine.interfaces.summaries import documents

    if words and embedder:
        raise click.UsageError("--words needs no --embedder")
    with opened(url) as store:
        at = known(store, task, moment)
        current = documents(store, task, at)
        hits = _hits(store, current, query, count, embedder, words=words)
    texts = {document.id: document.text for document in current}
    for hit in hits:
        if as_json:
            click.echo(json_text(hit._asdict() | {"text": texts[hit.id]}))
        else:
            click.echo(f"{hit.score:.4f}  {escaped(hit.id)}")


def _hits(
    store: "EventStore", current: "list[Document]", query: str, count: int, embedder: str | None, *,
    words: bool,
) -> "list[SearchHit]":  # fmt: skip
    """What is found by words, and by meaning too where it is not asked to be left out, or the model
    that tells it is not installed."""
    from backcast.engine.context.search import search as find
    from backcast.engine.context.search import search_words, sentence_embedder
    from backcast.engine.interfaces.terminal import progress_bar

    if not words and not embedder and not all(find_spec(name) for name in MEANING):
        words = True
        message(
            "note: found by words alone; by meaning too after 'pip install backcast[semantic]', in"
            " a clone 'scripts/install all'"
        )
    if words:
        return search_words(current, query, count)
    with progress_bar("embedding", len(current)) as advance:
        return find(store, sentence_embedder(embedder), current, query, count, advance)


SHOWN = (graph, summaries)
COMMANDS = (outline, stale, resummarise, search)
