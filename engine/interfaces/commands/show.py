"""`backcast show`: the state of a task at a moment, one sub-command a projection."""

from collections.abc import Callable, Sized
from pathlib import Path
from typing import Any

import click

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.domain.ledger import STALLS
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import Place, address_argument, task_at
from backcast.engine.interfaces.empty import FILLED_BY, note_empty
from backcast.engine.interfaces.options import json_option, opened, store_option
from backcast.engine.interfaces.profiles import TOKENIZERS
from backcast.engine.interfaces.terminal import message, say

ANY_TASK = "[TASK][@WHEN]"
SHOWN = {
    "progress": ("progress", "How far the task has come, and what it is waiting for."),
    "versions": ("versions", "Which version of each module is the latest, and who wrote it."),
    "online": ("online_cache", "What is in hand for the task: its working set, in order."),
    "checks": ("checks", "What the last runs of checks said, and what was tried between them."),
    "changes": ("changes", "Which modules change together, and which have changed of late."),
    "prefixes": ("prefixes", "What was read before its prompts were asked, and who used it."),
    "spending": (
        "spending",
        "What calls have cost, by our clock; what is set aside, and what is allowed.",
    ),
}
"What can be shown of a task: the projection that is folded, and its question."


@click.group(name="show")
def command() -> None:
    """Show the state of a task at a moment, by projection.

    \b
    backcast show progress fixtures/logs/addresses.jsonl@2026-11-20T10:31
    backcast show versions httpx@commit:a226c60
    """


def _projection(name: str, projection: str, help: str) -> None:
    @command.command(name=name, help=help)
    @address_argument()
    @store_option
    @json_option
    def show_state(address: Address, url: str, as_json: bool) -> None:
        from backcast.engine.history.snapshots import state_at
        from backcast.projections import BY_NAME

        with task_at(address, url) as place:
            moment = place.moment
            state = state_at(place.store, BY_NAME[projection], place.task, moment)
            unknown = {} if name != "versions" or as_json else _unknown_texts(place)
            if _is_empty(name, state):
                note_empty(place.store, place.task, moment, *FILLED_BY[name])
            elif name == "checks":
                _note_lacking(place, state)
        if unknown:
            _print_versions(state, unknown)
        else:
            _print(name, state, as_json)


for _name, (_folded, _help) in SHOWN.items():
    _projection(_name, _folded, f"{_help}\n\n\b\nbackcast show {_name} till@79")


@command.command()
@address_argument()
@store_option
@click.option("--stalls", type=Path, metavar="FILE.toml",
              help="Try the thresholds of its table [stalls].")  # fmt: skip
@json_option
def ledger(address: Address, url: str, stalls: Path | None, as_json: bool) -> None:
    """What is done, doing and to do; given, guessed and planned; and whether it goes in circles.

    \b
    backcast show ledger till@79
    backcast show ledger fixtures/recorded/dispatch.jsonl --json

    Of a run over a list of tasks also what each agent claims, and what we found: 'backcast help
    ledger'.
    """
    from backcast.engine.interfaces.ledgers import show_ledgers

    policy = STALLS
    if stalls is not None:
        from backcast.engine.workflow.dispatch.routing_file import routing_in

        policy = routing_in(stalls).stalls
    with task_at(address, url) as place:
        show_ledgers(place, policy, as_json=as_json)


@command.command()
@address_argument(metavar="TASK")
@store_option
@json_option
def answer(address: Address, url: str, as_json: bool) -> None:
    """What a question came to, by which quotes, and which of their sources have moved since.

    
    backcast show answer ask-3f2a5c17
    """
    from backcast.engine.interfaces.questions import print_answer

    if address.when:
        raise InputError(
            f"needed a task, found {str(address)!r}: an answer is told as it stands now"
        )
    with task_at(address, url) as place:
        print_answer(place.store, place.task, as_json=as_json)


@command.command()
@address_argument(required=False, metavar="@WHEN")
@store_option
@json_option
def offline(address: Address | None, url: str, as_json: bool) -> None:
    """What finished tasks have left for later ones, in the whole store."""
    from backcast.engine.history.moments import moment_at
    from backcast.engine.history.snapshots import state_at
    from backcast.projections import offline_cache

    if address and (address.task or address.log):
        raise InputError(f"needed @WHEN: the whole store is asked, found {str(address)!r}")
    with opened(url) as store:
        moment = moment_at(store, None, address.when if address else "")
        state = state_at(store, offline_cache, None, moment)
        if not (offline_cache.finished(state) or offline_cache.unfinished(state)):
            note_empty(store, None, moment, "finished task", ("TASK_COMPLETE", "TASK_FAILED"))
    _print("offline", state, as_json)


@command.command()
@address_argument(required=False, metavar=ANY_TASK)
@store_option
@json_option
def plans(address: Address | None, url: str, as_json: bool) -> None:
    """Plans of finished tasks; with a task, whether each would hold for it at that moment.

    \b
    backcast show plans @2026-11-20
    backcast show plans till@8
    """
    from backcast.engine.interfaces.plans import show_plans

    if address is None or not (address.task or address.log):
        from backcast.engine.history.moments import moment_at

        with opened(url) as store:
            moment = moment_at(store, None, address.when if address else "")
            show_plans(store, None, moment, as_json=as_json)
        return
    with task_at(address, url) as place:
        show_plans(place.store, place.task, place.outlined(), as_json=as_json)


def _is_empty(name: str, state: Any) -> bool:
    from backcast.projections import changes, checks, online_cache, prefixes, spending, versions

    rows: dict[str, Callable[[Any], Sized]] = {
        "versions": versions.latest, "changes": changes.lately, "online": online_cache.working_set,
        "checks": checks.every, "prefixes": lambda state: range(prefixes.counted(state)),
        "spending": lambda state: range(spending.committed(state).calls),
    }  # fmt: skip
    return not rows[name](state) if name in rows else not state.events


def _note_lacking(place: Place, state: Any) -> None:
    """Note what the runs of checks that are shown were run without, by what is recorded."""
    from backcast.domain.events import ChecksRan
    from backcast.domain.missing_layers import without_layers
    from backcast.projections import checks

    for version in sorted(run.version for _, run in checks.every(state)):
        event = next(iter(place.store.read(place.task, after=version - 1)))
        if isinstance(event.fact, ChecksRan) and (lacking := without_layers(event.fact.isolation)):
            message(f"note: {lacking}")
            return


def _unknown_texts(place: Place) -> dict[str, str]:
    """Return why the log does not tell the text of a module, for each of which it does not."""
    from backcast.engine.history.snapshots import state_at
    from backcast.engine.history.text_origin import origin_of
    from backcast.projections import dependency_graph

    modules = state_at(place.store, dependency_graph, place.task, place.moment).modules
    return {
        path: f"unknown text: {origin_of(place.store, place.task, modules[path].version).unknown}"
        for path in sorted(modules)
        if modules[path].source is None and not modules[path].deleted
    }


def _print_versions(state: Any, unknown: dict[str, str]) -> None:
    from backcast.engine.interfaces.views import console, show_versions

    show_versions(state, console(), unknown)


def _print(name: str, state: object, as_json: bool) -> None:
    from backcast.engine.history.state_json import plain
    from backcast.engine.interfaces.views import console, show

    if as_json:
        say(json_text(plain(state)))
    else:
        show(name, state, console())


@command.command()
@address_argument()
@store_option
@click.option("--node", metavar="NODE", help="Only the surroundings of this one.")
@click.option(
    "--hops", type=click.IntRange(min=1), default=1, show_default=True, help="How far around it."
)
@json_option
def graph(address: Address, url: str, node: str | None, hops: int, as_json: bool) -> None:
    """Which module, function, class, test, library and concept needs which.

    \b
    backcast show graph history --node module:domain/clock.py
    """
    from backcast.engine.history.snapshots import state_at
    from backcast.engine.interfaces.graphs import graph_json, show_graph, show_node
    from backcast.engine.interfaces.views import console
    from backcast.engine.memory.outliner import outliner_of
    from backcast.projections import dependency_graph

    with task_at(address, url) as place:
        state = state_at(place.store, dependency_graph, place.task, place.outlined())
        if not dependency_graph.present(state):
            note_empty(place.store, place.task, place.moment, *FILLED_BY["versions"])
    found = dependency_graph.graph_of(state)
    behind = [path for path in dependency_graph.behind(state) if outliner_of(path)]
    if node is not None and node not in found.nodes:
        raise _no_node(place.task, node)
    if as_json:
        around = None if node is None else found.neighbours(node, hops)
        say(json_text(graph_json(found, around)))
    elif node is None:
        show_graph(found, behind, console())
    else:
        show_node(found, node, hops, console())


@command.command()
@address_argument()
@store_option
@click.option("--node", metavar="NODE", help="Only this one: function:PATH::NAME.")
@click.option("--window", type=click.Choice(["8k", "32k"]), help="Cut to what fits such models.")
@click.option("--whole", is_flag=True, help="Without a limit of tokens.")
@click.option("--profile", metavar="NAME", help="Whose tokens are counted; else the last run's.")
@click.option("--tokenizer", metavar="NAME", help=f"Another than the profile's: {TOKENIZERS}.")
@json_option
def summaries(
    address: Address, url: str, node: str | None, window: str | None, whole: bool,
    profile: str | None, tokenizer: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Each node in a few lines: the derived summary, and those that somebody wrote.

    \b
    backcast show summaries history --node module:domain/clock.py
    backcast cat storage://history/domain/clock.py            # as 'Full code' names it
    """
    from backcast.domain.summary import LIMITS, LIMITS_BY_WINDOW
    from backcast.engine.interfaces.profiles import counter_by
    from backcast.engine.interfaces.summaries import node_summaries

    limits = None if whole else LIMITS_BY_WINDOW[window] if window else LIMITS
    with task_at(address, url) as place:
        counter = counter_by(profile, tokenizer, place.store, place.task, window or "")
        behind = f"{place.log}{'@' if place.when else ''}{place.when}"
        at, count = place.outlined(), 0
        for summary in node_summaries(
            place.store, place.task, at, node, limits, counter, opened_by=behind
        ):
            text = json_text(summary.plain()) if as_json else str(summary)
            say(text if as_json or not count else f"\n{text}")
            count += 1
    if node is not None and not count:
        raise _no_node(place.task, node)


@command.command()
@address_argument()
@store_option
@json_option
def patterns(address: Address, url: str, as_json: bool) -> None:
    """How the project writes its code: what the outlines count, where the counts show it clearly.

    \b
    backcast show patterns httpx@commit:a226c60

    Types, imports, errors, data and checks, docstrings, logging, tests, names. A share is told from
    70 % on. A prompt has a row of them where its policy sets `habits`, with rounded shares.
    """
    from backcast.engine.interfaces.knowledge import habits, habits_json

    with task_at(address, url) as place:
        found, modules = habits(place)
        if not modules:
            note_empty(place.store, place.task, place.moment, *FILLED_BY["versions"])
        elif not found:
            say(f"no habit shows clearly in {modules} modules", err=True)
    if as_json:
        say(json_text(habits_json(found)))
    else:
        say("".join(f"{pattern.said()}\n" for pattern in found), nl=False)


@command.command()
@address_argument()
@store_option
@click.option("--library", "names", multiple=True, metavar="NAME", help="Only this one.")
@click.option("--module", default="", metavar="PATH", help="Only those that this module imports.")
@json_option
def libraries(
    address: Address, url: str, names: tuple[str, ...], module: str, as_json: bool
) -> None:
    """Which third-party libraries are used, how, in which versions, and what failed with them.

    \b
    backcast show libraries httpx@commit:a226c60 --library httpcore

    Versions are those that pyproject.toml and requirements*.txt ask for. Failures are those of
    finished tasks whose message names the library.
    """
    from backcast.engine.interfaces.knowledge import (
        libraries as known,
    )
    from backcast.engine.interfaces.knowledge import libraries_json, library_lines, module_of

    with task_at(address, url) as place:
        found = known(place, names, module_of(module))
    if as_json:
        say(json_text(libraries_json(found)))
        return
    for library in found:
        say("\n".join(library_lines(library)))
    if not found:
        say("no third-party library is imported at this moment", err=True)


@command.command()
@address_argument()
@store_option
@click.option("--about", default="", metavar="THING", help="Only of a path, a node or a name.")
@click.option("--known-at", default="", metavar="WHEN",
              help="As far as the log was known by then; a time: of recording.")  # fmt: skip
@click.option(
    "--tag", default="", metavar="TAG", help="Only file change, convention, decision, ..."
)
@click.option("--ended", is_flag=True, help="Those too that had ended by the moment.")
@click.option("--query", default="", metavar="TEXT", help="Only those that answer it best.")
@click.option("--tokens", type=click.IntRange(min=1), default=500, show_default=True,
              help="With --query: tokens of their text at the most.")  # fmt: skip
@click.option("--embedder", metavar="NAME", help="With --query: find by meaning, too.")
@click.option("--tokenizer", metavar="NAME", help=f"What counts them: {TOKENIZERS}.")
@json_option
def facts(
    address: Address, url: str, about: str, known_at: str, tag: str, ended: bool, query: str,
    tokens: int, embedder: str | None, tokenizer: str | None, as_json: bool,
) -> None:  # fmt: skip
    """What holds at a moment: from when to when, by which event, and what ended it.

    \b
    backcast show facts history --about domain/clock.py
    backcast show facts till@2026-11-20T12:30 --known-at 2026-11-21 --ended

    What a model or a person states is marked as claimed: 'backcast help facts'.
    """
    from backcast.engine.interfaces.timed_facts import FactsAsked, show_facts

    asked = FactsAsked(known_at, about, tag, query, tokens, embedder, tokenizer, ended=ended)
    with task_at(address, url) as place:
        show_facts(place, asked, as_json=as_json)


def _no_node(task: str, node: str) -> InputError:
    return InputError(f"needed a node of task {task!r} such as module:PATH, found {node!r}")
