"""A search over all tasks of a store as of one moment: their texts, and where what was found is."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from backcast.domain.errors import InputError, MomentError
from backcast.domain.moment import Moment
from backcast.domain.node import Reference, kind_of, name_of, node_id, path_of
from backcast.domain.staleness import Modules
from backcast.engine.context.search import NO_CODE, CodePlace, Document, SearchHit
from backcast.engine.history.branches import Branch, branches
from backcast.engine.history.moments import moment_at
from backcast.engine.history.snapshots import state_at
from backcast.engine.history.source_text import text_in
from backcast.engine.interfaces.addresses import require
from backcast.engine.interfaces.outlining import need_outlines, outline_all
from backcast.engine.interfaces.summaries import documents
from backcast.engine.interfaces.terminal import escaped, message
from backcast.engine.log.store import EventStore
from backcast.projections import dependency_graph, progress, summaries

IN_CODE = ("module", "function", "method", "class", "test", "attribute")
"Kinds of nodes whose text is a module, or a part of one."
NAMED = 4
"Other nodes with the same text that a line names."


def moment_of_all(store: EventStore, when: str) -> Moment:
    """Return the moment of a whole store: a time, an event's number in it, or TASK@WHEN."""
    from backcast.engine.history.address import parse

    named = parse(f"@{when}") if when else parse("@last")
    if named.task is None:
        return moment_at(store, None, when)
    place = parse(when)
    if not place.task or not place.when or place.log:
        raise MomentError(
            "--at: needed a time such as 2026-11-20T10:31, the number of an event of the store,"
            f" recorded:TIME, or TASK@WHEN, found {when!r}"
        )
    require(store, place)
    return moment_at(store, place.task, place.when)


class TaskNode(NamedTuple):
    """A node of a task."""

    task: str
    node: str
    code: CodePlace = NO_CODE


class StoreTexts(NamedTuple):
    """The texts of all tasks at a moment, each once, with the nodes whose text it is."""

    moment: Moment
    nodes: dict[str, list[TaskNode]]
    "By text; those of finished tasks first, those of branches last. The first stands for all."
    statuses: dict[str, str]
    "Of each task, such as generating, complete or failed."
    branches: dict[str, Branch]

    def documents(self) -> list[Document]:
        """Return what a search takes: a document for each text."""
        return [Document(_id(nodes[0]), text, nodes[0].code) for text, nodes in self.nodes.items()]


def _id(place: TaskNode) -> str:
    # Between them a character that ends before all others do, so that ties go by task, then node.
    return f"{place.task}\0{place.node}"


def store_texts(store: EventStore, moment: Moment) -> StoreTexts:
    """Return the texts of all tasks as of a moment: what finished ones left, and what others have.

    A task is found by its goal, by its modules, functions and classes, and by what was written
    about anything else, such as a library.
    """
    forked, statuses = branches(store), dict[str, str]()
    found: dict[str, list[TaskNode]] = {}
    for task in store.tasks():
        if not store.version_at(task, moment):
            continue
        outline_all(store, task)
        state: progress.State = state_at(store, progress, task, moment)
        if not state.events:
            continue  # it began later
        if moment.position is not None:
            _note_outlines(store, task, moment)
        statuses[task] = state.status
        root = forked[task].root if task in forked else task
        for document in _documents(store, task, root, moment, state.goal):
            node = TaskNode(task, document.id, document.code)
            found.setdefault(document.text, []).append(node)
    for nodes in found.values():
        nodes.sort(key=lambda node: (node.task in forked, statuses[node.task] != "complete", node))
    known = {task: branch for task, branch in forked.items() if task in statuses}
    return StoreTexts(moment, found, statuses, known)


def _note_outlines(store: EventStore, task: str, moment: Moment) -> None:
    try:
        need_outlines(store, task, moment)
    except MomentError as error:
        message(f"note: task {task!r} is not searched whole: {error}")


def _documents(
    store: EventStore, task: str, root: str, moment: Moment, goal: str | None
) -> Iterator[Document]:
    written = dict(_written(store, task, moment))
    # What a branch was copied with speaks of its root.
    texts = goal, *(written.pop(node_id("task", name), "") for name in dict.fromkeys((root, task)))
    if known := [text for text in texts if text and text.strip()]:
        yield Document(node_id("task", task), "\n".join(known))
    yield from sorted(documents(store, task, moment))
    yield from (Document(node, text) for node, text in written.items())


def _written(store: EventStore, task: str, moment: Moment) -> Iterator[tuple[str, str]]:
    """Yield what was written about nodes that are in no module, and holds; sorted by node."""
    state: summaries.State = state_at(store, summaries, task, moment)
    if not state.nodes:
        return
    graph: dependency_graph.State = state_at(store, dependency_graph, task, moment)
    present = dependency_graph.present(graph)
    modules = Modules(present)
    for node in sorted(state.nodes):
        if kind_of(node) in IN_CODE and path_of(node) in present:
            continue  # it is there, by whichever text holds, or is gone from its module
        for summary in reversed(state.nodes[node]):
            late = summaries.outlived(summary, moment.at or state.last_at)
            if not (late or summaries.superseded(state, summary)) and modules.holds(
                summary.made_of
            ):
                yield node, summary.text
                break


class FoundText(NamedTuple):
    """A text that was found, the nodes that have it, and where it stands."""

    hit: SearchHit
    text: str
    nodes: list[TaskNode]
    reference: str
    "What `backcast cat` opens; empty where the log holds no text of it."
    when: str
    "The moment behind it, with its @; empty for now."


def found_texts(store: EventStore, texts: StoreTexts, hits: list[SearchHit]) -> Iterator[FoundText]:
    """Yield what was found, with a reference to the code where there is some."""
    by_id = {_id(nodes[0]): text for text, nodes in texts.nodes.items()}
    for hit in hits:
        text = by_id[hit.id]
        nodes = texts.nodes[text]
        at = texts.moment
        when = ""
        if at.at is not None:
            when = f"@{at.at.isoformat()}"
        elif at.position is not None:
            when = f"@{store.version_at(nodes[0].task, at)}"
        yield FoundText(hit, text, nodes, _reference(store, nodes[0], at), when)


def _reference(store: EventStore, place: TaskNode, moment: Moment) -> str:
    task, node = place.task, place.node
    if kind_of(node) not in IN_CODE:
        return ""
    reference = Reference(task, path_of(node), name=name_of(node) or None)
    state: dependency_graph.State = state_at(store, dependency_graph, task, moment)
    try:
        text_in(store, state, reference)
    except InputError:
        return ""
    return str(reference)


def lines(found: FoundText, texts: StoreTexts) -> Iterator[str]:
    """Yield the lines of a text that was found."""
    first, *others = found.nodes
    yield escaped(f"{_named(first.task, texts)}  {first.node}")
    if found.reference:
        yield escaped("        " + " ".join(filter(None, [found.reference, found.when])))
    if others:
        names = [
            _named(other.task, texts) + ("" if other.node == first.node else f" {other.node}")
            for other in others
        ]
        more = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
        yield escaped(f"        the same text in {', '.join(names[:NAMED])}{more}")


def _named(task: str, texts: StoreTexts) -> str:
    branch = texts.branches.get(task)
    of = f", branch of {branch.origin}@{branch.version}" if branch else ""
    return f"{task} ({texts.statuses[task]}{of})"


def plain(found: FoundText, texts: StoreTexts) -> dict[str, Any]:
    """Return a text that was found as JSON."""
    return {
        **_plain(found.nodes[0], texts),
        "score": found.hit.score,
        "by_meaning_rank": found.hit.by_meaning_rank,
        "by_words_rank": found.hit.by_words_rank,
        "reference": found.reference or None,
        "at": found.when.removeprefix("@") or None,
        "text": found.text,
        "also": [_plain(other, texts) for other in found.nodes[1:]],
    }


def _plain(place: TaskNode, texts: StoreTexts) -> dict[str, Any]:
    branch = texts.branches.get(place.task)
    return {
        "task_id": place.task,
        "node": place.node,
        "status": texts.statuses[place.task],
        "branch_of": f"{branch.origin}@{branch.version}" if branch else None,
    }
