"""The panel of a moment: progress, modules, what is stale and why, the map, what is in hand."""

from functools import partial
from typing import NamedTuple

from backcast.domain.errors import BackcastError
from backcast.domain.events import WorkflowEvent
from backcast.domain.staleness import Modules
from backcast.engine.context.maps import stale_in
from backcast.engine.history.branches import lineage_of
from backcast.engine.history.maps import map_known
from backcast.engine.history.staleness import Stale, stale
from backcast.engine.interfaces.view.markup import Markup, cut, folded, joined, table, tag
from backcast.engine.interfaces.view.panels import PanelMaker, in_chunks
from backcast.engine.interfaces.view.reading import RunReader
from backcast.engine.interfaces.view.status_words import status_words
from backcast.engine.interfaces.view.summary_tree import (
    OUTLINED,
    folded_symbols,
    module_tree,
    summary_section,
    summary_trees,
)
from backcast.projections import (
    context_map,
    dependency_graph,
    online_cache,
    progress,
    summaries,
    versions,
)

FEW = 40
"Modules whose texts are in the panel; of more only their names."
FIRST = 12
"Entries in hand that are shown at once."
MOST = 400
"Rows of a table."
LISTED = 4_000
"Modules of which the versions are listed; behind the first `MOST` folded."
GOAL = 400
"Characters of a goal that are shown."


class MomentStates(NamedTuple):
    """What is shown of a moment."""

    progress: progress.State
    versions: versions.State
    online: online_cache.State
    graph: dependency_graph.State
    summaries: summaries.State
    map: context_map.ContextMap
    stale: list[Stale]
    "Summaries that no longer hold."


def moment_states(reader: RunReader, version: int) -> MomentStates:
    """Return what is shown of the moment of an event."""
    moment, store, task = reader.moment(version), reader.store, reader.task
    folded_states = reader.states.moment(version)
    known = map_known(store, lineage_of(store, task), moment)
    graph, written = folded_states[3:]
    found = stale(store, task, moment, states=(graph, written)) if written.nodes else []
    return MomentStates._make([*folded_states, known, found])


def moment_panel(maker: PanelMaker, version: int) -> Markup:
    """Return the panel of the moment after an event."""
    title = moment_title(version, maker.shown.event(version))
    try:
        body = moment_parts(maker, moment_states(maker.shown, version), version)
    except (BackcastError, ValueError) as error:
        body = tag("p", f"this moment cannot be shown: {error}", class_="bad")
    return joined([title, body])


def moment_title(version: int, event: WorkflowEvent | None) -> Markup:
    """Return the title of the panel of a moment."""
    when = event.timestamp.strftime("%Y-%m-%d %H:%M:%S") if event else ""
    kind = event.type if event else "which cannot be read"
    return tag("h2", "As of event ", tag("b", version), ", ", kind, " ", tag("time", when))


def moment_parts(maker: PanelMaker, states: MomentStates, version: int) -> Markup:
    """Return the parts of the panel as of an event; each is kept by itself, since few change at
    an event."""
    modules = states.progress.modules, states.versions.modules
    outdated = states.stale, states.summaries.nodes, states.graph.modules
    parts = (
        maker.keep(_progress(maker, states, version)),
        maker.keep(_changed(maker, states, version)),
        maker.unless_same("modules", modules, lambda: _modules(maker, states)),
        maker.unless_same("summaries", outdated, lambda: _summaries(maker, states)),
        maker.unless_same("stale", (states.map, outdated[2]), lambda: _stale_items(states)),
        maker.unless_same("map", (states.map,), lambda: _map(states)),
        maker.keep(_in_hand(maker, states)),
        _absent(states),
    )
    return joined(parts)


def _progress(maker: PanelMaker, states: MomentStates, version: int) -> Markup:
    state = states.progress
    words, waits = status_words(maker.shown.sequence, state, version)
    goal = " ".join((state.goal or "").split())
    rows = [
        ("goal", goal if len(goal) <= GOAL else f"{goal[: GOAL - 1]}…"), ("status", words),
        ("reason", state.reason or ""), ("waiting for", waits),
        ("answers", str(state.replies or "")),
    ]  # fmt: skip
    lines = [tag("div", tag("dt", name), tag("dd", value), class_=name if name == "goal" else None)
             for name, value in rows if value]  # fmt: skip
    return tag("section", tag("h3", "Progress"), tag("dl", *lines))


def _modules(maker: PanelMaker, states: MomentStates) -> Markup:
    heads = versions.latest(states.versions)
    conflicts = versions.conflicts(states.versions)
    if not heads:
        return Markup("")
    rows = []
    for path, head in list(heads.items())[:LISTED]:
        module = states.progress.modules.get(path, progress.ModuleProgress())
        failing = f"{module.failed} failing" if module.failed else ""
        failing = "checks pass" if module.failed == 0 else failing
        status = module.status if maker.shown.sequence.plans else ""
        said = ("deleted" if head.deleted else status, failing,
                "conflict" if path in conflicts else "")  # fmt: skip
        words = ", ".join(filter(None, said))
        is_open = bool(head.source) and len(heads) <= FEW
        rows.append(_module_row(maker, path, head, words, is_open))
    listed = tag("div", in_chunks(maker, rows[:MOST]), class_="modules")
    more, cut = None, len(heads) - LISTED
    if rows[MOST:]:
        rest = tag("div", in_chunks(maker, rows[MOST:]), class_="modules")
        note = tag("p", f"… and {cut:,} more") if cut > 0 else None
        more = folded(f"and {len(heads) - MOST:,} more", rest, note, key="more modules")
    return tag("section", tag("h3", f"Modules: {len(heads)}"), listed, more,
               data_cut=f"{LISTED:,}" if cut > 0 else None)  # fmt: skip


def _changed(maker: PanelMaker, states: MomentStates, version: int) -> Markup:
    """Return the modules that a commit has changed up to an event: they lead, of many."""
    step = maker.shown.sequence.at(version)
    if not step.commit:
        return Markup("")
    heads = versions.latest(states.versions).items()
    found = [(path, head) for path, head in heads if head.version >= step.first]
    rows = [joined([
        _module_row(maker, path, head, "deleted" * head.deleted, is_open=bool(head.source)),
        _outlined(maker, states, path),
    ]) for path, head in found[:FEW]]  # fmt: skip
    more = tag("p", f"… and {len(found) - FEW:,} more") if len(found) > FEW else None
    listed = tag("div", *rows, class_="modules")
    title = tag("h3", f"Changed in this commit: {len(found)}")
    return tag("section", title, listed, more, class_="commit") if found else Markup("")


def _outlined(maker: PanelMaker, states: MomentStates, path: str) -> Markup:
    """Return the classes and functions of a module that a commit changed, once it is outlined."""
    module = states.graph.modules.get(path)
    if module is None or not module.facets or module.outlined != module.source:
        return Markup("")
    if states.summaries.nodes or len(states.graph.modules) <= OUTLINED:
        return Markup("")  # it stands in the tree of all modules
    tree = module_tree(states.graph, path)
    return maker.made(("changed", *tree.key), lambda: folded_symbols(maker, tree))


def _module_row(
    maker: PanelMaker, path: str, head: versions.ModuleVersion, words: str, is_open: bool
) -> Markup:
    key = "module", path, head.version, head.iteration, head.writer, words, is_open
    return maker.made(key, partial(_made_row, maker, path, head, words, is_open))


def _made_row(
    maker: PanelMaker, path: str, head: versions.ModuleVersion, words: str, is_open: bool
) -> Markup:
    line = joined([
        tag("code", path), " ", tag("span", f"#{head.iteration}", title=f"by {head.writer}"),
        " ", tag("small", words), " ", maker.link(head.version),
    ])  # fmt: skip
    if not is_open:
        return maker.keep(tag("p", line, data_k=f"module {path}"))
    kept = maker.keep(joined(cut(maker.shown.text(head.source))))
    return maker.keep(folded(line, tag("pre", kept, class_="text"), key=f"module {path}"))


def _summaries(maker: PanelMaker, states: MomentStates) -> Markup:
    trees = summary_trees(states.graph, states.summaries, states.stale)
    return summary_section(maker, trees)


def _stale_items(states: MomentStates) -> Markup:
    """Return the items of the map that are made of what has changed."""
    if not states.map.items:
        return Markup("")
    modules = Modules(dependency_graph.present(states.graph))
    rows = [(tag("code", item), "what it was made of has changed")
            for item in stale_in(states.map, modules)]  # fmt: skip
    body = table(("item of the map", "why"), rows[:MOST])
    return tag("section", tag("h3", f"Stale in the map: {len(rows)}"), body) if rows else body


def _map(states: MomentStates) -> Markup:
    items = [states.map.items[name] for name in sorted(states.map.items)]
    if not items:
        return Markup("")
    rows = [tag("p", tag("code", item.id), f" {item.section}: {item.text}", data_k=f"map {item.id}")
            for item in items[:MOST]]  # fmt: skip
    return tag("section", tag("h3", f"Map: {len(items)} items"), *rows)


def _absent(states: MomentStates) -> Markup:
    """Return which parts of the panel are left out, as nothing is in them."""
    parts = (("modules", states.versions.modules), ("summaries", states.summaries.nodes),
             ("map", states.map.items),
             ("working set", online_cache.working_set(states.online)))  # fmt: skip
    words = [name for name, part in parts if not len(part)]
    return tag("p", f"None by then: {', '.join(words)}.", class_="note") if words else Markup("")


def _in_hand(maker: PanelMaker, states: MomentStates) -> Markup:
    entries = online_cache.working_set(states.online)
    if not entries:
        return Markup("")
    held = online_cache.tokens_held(states.online)
    rows = [maker.made(("in hand", entry), partial(_held_row, maker, entry))
            for entry in entries[:MOST]]  # fmt: skip
    said = f"{held:,} of {states.online.limit:,} tokens" if held else ""  # an agent's are unknown
    return tag(
        "section",
        tag("h3", f"In hand: {len(entries)}"),
        tag("p", said, class_="note") if said else None,
        _rows(rows[:FIRST]),
        folded(f"and {len(rows) - FIRST} more", _rows(rows[FIRST:])) if rows[FIRST:] else None,
    )


def _rows(rows: list[Markup]) -> Markup:
    table = tag("table", _HEAD, tag("tbody", *rows)) if rows else None
    return tag("div", table, class_="wide")


_TITLES = ("priority", "what", "event")
_HEAD = tag("thead", tag("tr", *(tag("th", title, scope="col") for title in _TITLES)))


def _held_row(maker: PanelMaker, entry: online_cache.HeldEntry) -> Markup:
    text = "" if entry.id.startswith("task:") else entry.text  # the goal stands under progress
    words = tag("span", text[:300], class_="sub") if text else None
    tokens = f"{entry.tokens:,} tokens" if entry.tokens else ""
    level = ", ".join(filter(None, (entry.level, tokens)))
    event = maker.link(entry.version) if entry.version else ""
    held = tag("span", level, class_="sub") if level else None
    cells = (entry.priority, joined([tag("code", entry.id), held, words]), event)
    pairs = zip(_TITLES, cells, strict=True)
    row = (tag("td", cell, data_h=title) for title, cell in pairs)
    return maker.keep(tag("tr", *row, data_k=f"held {entry.id}"))
