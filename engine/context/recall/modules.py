"""A module that is asked for and is not there: what an earlier task left under that path, or what
stood there before it was deleted."""

from collections.abc import Iterator, Mapping

from backcast.domain.context import Candidate
from backcast.domain.errors import DamagedError
from backcast.domain.node import Reference, node_id
from backcast.domain.outline import lines_by_name
from backcast.engine.context.evidence import DECIMALS
from backcast.engine.context.request_scope import RequestScope
from backcast.projections.dependency_graph import ModuleNode

SECTION = "historical patterns"
SAME_PATH = 0.5
"The chance that a module of the same path helps, whatever its task's goal; that adds the rest."


def missing_module(scope: RequestScope, goals: Mapping[str, float]) -> Iterator[Candidate]:
    """Yield the modules under the path that is asked for, where the project has none: its own
    first, then that of the task that ended last."""
    path = scope.path
    if not path or scope.name or path in scope.facets:
        return
    own = scope.states.graph
    module = own.modules.get(path)
    if module is not None and module.deleted and module.outlined:
        yield from _offered(scope, "", module, module.outlined, 1.0)
        return
    read = scope.cache.legacies
    order = sorted(scope.states.legacies, key=lambda legacy: -goals.get(legacy.task, 0.0))
    for legacy in order if read else ():
        module = read(legacy).modules.get(path) if read else None
        if module is not None and not module.deleted and module.source:
            alike = SAME_PATH + goals.get(legacy.task, 0.0) / 2
            yield from _offered(scope, legacy.task, module, module.source, alike)
            return


def _offered(
    scope: RequestScope, task: str, module: ModuleNode, source: str, chance: float
) -> Iterator[Candidate]:
    holder, path, lines = task or scope.states.graph.task_id, scope.path, scope.cache.lines
    node = f"left:{holder}/{node_id('module', path)}"
    try:
        text = "\n".join(lines.of(source)).strip("\n")
    except (DamagedError, ValueError):
        return
    removed = f"Removed here: {Reference(f'{holder}@{module.source_version}', path)}"
    head = f"# Left by earlier task {task}: {Reference(task, path)}" if task else f"# {removed}"
    every, heads = lines.of(source), list[str]()
    if source == module.outlined:
        places = lines_by_name(module.facets, module.lines)
        for name in (name for name in places if "." not in name):
            first, last = places[name]
            heads.append(lines.piece(every[first - 1 : last], first).signature)
    texts = [
        ("full", f"{head}\n{text}"),
        ("signature", "\n".join([head, *filter(None, heads)])),
        ("name", head),
    ]
    worth = scope.policy.recalled * chance
    yield Candidate(
        node, SECTION, scope.policy.priority(SECTION),
        scope.levels(texts, round(worth, DECIMALS), round(worth, DECIMALS)),
        round(worth, DECIMALS), task=task,
    )  # fmt: skip
