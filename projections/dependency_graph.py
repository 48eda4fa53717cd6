"""Which modules, functions, tests and libraries are there, and what needs what?

The state keeps the latest outline of every module. The edges are not stored but derived from it
(`backcast.domain.graph`), so that a renamed or deleted module takes its links along, and a restored
one finds them again.

An outline may be recorded long after the version that it describes. It counts from then on; until
then a module shows the last good one, and `behind` names it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from immutables import Map

from backcast.domain.events import (
    ModuleDeleted,
    ModuleIteration,
    ModuleOutlined,
    ModuleRenamed,
    SourceRead,
    WorkflowEvent,
)
from backcast.domain.graph import Graph
from backcast.domain.links import concepts_in
from backcast.domain.memory_events import SummaryWritten
from backcast.domain.outline import (
    ITERATION,
    SOURCE,
    Facet,
    Facets,
    Lines,
    lines_by_name,
    moves_surface,
    surface_of,
)
from backcast.domain.removed import OutlinedText, RemovedSymbol, moved_on
from backcast.domain.score_events import Scored

NAME = "dependency_graph"
VERSION = 3
SCOPE: Literal["task", "store"] = "task"


class ModuleNode(NamedTuple):
    """The latest version of a module, and its outline."""

    source: str | None = None
    "The blob of its text; None if the module is deleted or its text unknown."
    deleted: bool = False
    iteration: int = 0
    version: int = 0
    "The task version of the event that made it."
    outlined: str | None = None
    "The text that the facets describe."
    facets: Facets = Map()
    lines: tuple[int, ...] = ()
    "First and last line of each qualified name, in the order of the sorted names."
    source_version: int = 0
    "The version of the event that brought that text."
    surface: str = ""
    "A digest of the facets through which other modules resolve names."
    since: Map[str, int] = Map()
    "Per import, as written, the version of the event since which the module has had it."


class DependencyGraphState(NamedTuple):
    """Every module ever seen."""

    task_id: str = ""
    modules: Map[str, ModuleNode] = Map()
    concepts: Map[str, tuple[str, ...]] = Map()
    "The concepts in the latest summary of each node."
    removed: Map[str, RemovedSymbol] = Map()
    "Functions and classes of present modules that are there no more, by path and name."


State = DependencyGraphState

initial = State()


def evolve(state: State, event: WorkflowEvent) -> State:
    """Return the state after one more event."""
    modules, fact, version = state.modules, event.fact, event.version
    removed = state.removed
    match fact:
        case ModuleOutlined(module_name=name):
            modules = _outlined(modules, name, fact, event.because[0] if event.because else version)
            if modules is not state.modules:
                texts = _text(state.modules[name]), _text(modules[name])
                removed = moved_on(removed, name, *texts)
        case ModuleIteration(module_name=name, iteration=iteration, source=source):
            modules = _moved_on(modules, name, source, iteration, version, fact.unknown)
        case SourceRead(path=name, source=source):
            before = modules.get(name, ModuleNode())
            if before.source != source or before.deleted:
                modules = _moved_on(modules, name, source, before.iteration, version)
        case ModuleDeleted(module_name=name):
            modules = _deleted(modules, name, version)
        case ModuleRenamed(module_name=name, previous_name=previous):
            since = modules.get(previous, ModuleNode()).since
            modules = _deleted(modules, previous, version)
            modules = _moved_on(modules, name, fact.source, fact.iteration, version, fact.unknown)
            modules = modules.set(name, modules[name]._replace(since=since))
        case SummaryWritten(node=str(node), text=str(text)):
            concepts = state.concepts.set(node, tuple(concepts_in(text)))
            return State(event.task_id, modules, concepts, removed)
        case Scored():
            return state
        case _:
            return state if state.task_id else State(event.task_id)
    return State(event.task_id, modules, state.concepts, removed)


def graph_of(state: State, before: Graph | None = None) -> Graph:
    """Return the graph of a state, reusing an earlier state's graph where it still holds."""
    modules = {path: state.modules[path] for path in sorted(state.modules)}
    existing = {path: module for path, module in modules.items() if not module.deleted}
    gone = {path: module.version for path, module in modules.items() if module.deleted}
    concepts = {node: state.concepts[node] for node in sorted(state.concepts)}
    return Graph.of(state.task_id, existing, concepts, before, gone)


def sharing(state: State, before: State) -> State:
    """Return an equal state that shares its equal parts with the state of another moment."""
    with state.modules.mutate() as changing:
        for path in sorted(before.modules):
            if state.modules.get(path) == before.modules[path]:
                changing[path] = before.modules[path]
        modules = changing.finish()
    return state._replace(modules=modules)


class Present(Mapping[str, Facets]):
    """The facets of the existing modules, by path, in the order of the paths.

    `source`, the name of the outlined text, and `iteration` are added to each outline.
    """

    def __init__(self, state: State) -> None:
        self._modules = state.modules
        self._made: dict[str, Facets] = {}

    def __getitem__(self, path: str) -> Facets:
        made = self._made.get(path)
        if made is None:
            module = self._modules[path]
            if module.deleted:
                raise KeyError(path)
            outlined = module.facets.set(SOURCE, (module.outlined or "",))
            made = self._made[path] = outlined.set(ITERATION, (str(module.iteration),))
        return made

    def __iter__(self) -> Iterator[str]:
        return (path for path in sorted(self._modules) if not self._modules[path].deleted)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and path in self._modules and not self._modules[path].deleted


def present(state: State) -> Mapping[str, Facets]:
    """Return the facets of the existing modules."""
    return Present(state)


def behind(state: State) -> list[str]:
    """Return the modules whose latest text has no outline yet, sorted."""
    return [
        path
        for path in sorted(state.modules)
        if not (module := state.modules[path]).deleted and module.source != module.outlined
    ]


def lines_of(state: State, path: str) -> Lines:
    """Return the first and last line of each function and class in a module's text.

    Empty if unknown: the text does not parse, or has no outline yet.
    """
    module = state.modules.get(path, ModuleNode())
    if module.deleted or module.source != module.outlined or "error" in module.facets:
        return {}
    return lines_by_name(module.facets, module.lines)


def clock_of(state: State, paths: Iterable[str]) -> dict[str, int]:
    """Return the iteration of each existing module among some paths, in their order."""
    modules = {path: state.modules[path] for path in paths if path in state.modules}
    return {path: module.iteration for path, module in modules.items() if not module.deleted}


def built_at(state: State) -> int:
    """Return the task version of the latest event that changed a module; 0 for none."""
    return max((module.version for module in state.modules.values()), default=0)


def _moved_on(
    modules: Map[str, ModuleNode], name: str, source: str | None, iteration: int, version: int,
    unknown: str | None = None,
) -> Map[str, ModuleNode]:  # fmt: skip
    """Return the modules after one got a new text; one that no log tells outdates its outline."""
    module = modules.get(name, ModuleNode())
    if unknown is not None and source is None:
        module = ModuleNode(source_version=version)  # outlines of earlier texts come too late
    return modules.set(
        name,
        module._replace(source=source, deleted=False, iteration=iteration, version=version),
    )


def _deleted(modules: Map[str, ModuleNode], name: str, version: int) -> Map[str, ModuleNode]:
    module = modules.get(name, ModuleNode())
    return modules.set(name, module._replace(source=None, deleted=True, version=version))


def _outlined(
    modules: Map[str, ModuleNode], name: str, fact: ModuleOutlined, version: int
) -> Map[str, ModuleNode]:
    """Return the modules with one's new outline, unless it has the outline of a later text.

    A difference to an unknown outline is ignored.
    """
    module = modules.get(name)
    if module is None or version < module.source_version:
        return modules
    if fact.base is not None and fact.base != module.outlined:
        return modules
    facets: Facets = Map() if fact.base is None else module.facets
    with facets.mutate() as changing:
        for key in fact.gone:
            changing.pop(key, None)
        changing.update(fact.set)
        facets = changing.finish()
    touched = fact.base is None or moves_surface(module.facets, fact)
    surface = surface_of(facets) if touched else module.surface
    module = module._replace(
        outlined=fact.source, facets=facets, lines=fact.lines, source_version=version,
        surface=surface, since=_since(module.since, facets.get("imports", ()), version),
    )  # fmt: skip
    return modules.set(name, module)


def _text(module: ModuleNode) -> OutlinedText:
    return OutlinedText(module.outlined, module.source_version, module.facets, module.lines)


def _since(before: Map[str, int], imports: Facet, version: int) -> Map[str, int]:
    """Return the version since which a module has had each import, some of which may be new."""
    if len(before) == len(imports) and all(written in before for written in imports):
        return before
    return Map({written: before.get(written, version) for written in imports})
