"""What needs what? The graph over all modules of one moment, and questions asked of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from backcast.domain.links import NEVER, OWN, Links, headed, links_of
from backcast.domain.node import Edge, kind_of, node_id
from backcast.domain.outline import Facets, part_of
from backcast.domain.reader import past_tree
from backcast.domain.relinks import Moved, moved_inside, relinked
from backcast.domain.tree import TREE, Tree, moved_tops, tops_in, tree_of

if TYPE_CHECKING:
    import networkx

NEEDS = ("imports", "calls", "inherits", "uses_attribute", "reads_config", "references")
"The kinds of edge along which a change of the target matters to the source."


class OutlinedModule(Protocol):
    """A module as the graph reads it."""

    @property
    def facets(self) -> Facets:
        """The facets of its outline."""

    @property
    def surface(self) -> str:
        """A digest of the facets through which other modules resolve names."""

    @property
    def since(self) -> Mapping[str, int]:
        """Per import, as written, the version of the event since which the module has had it."""


class Graph:
    """Nodes and typed edges of one task at one moment."""

    def __init__(
        self,
        task_id: str,
        links: Mapping[str, Links],
        modules: Mapping[str, OutlinedModule],
        concepts: Mapping[str, Sequence[str]],
        gone: Mapping[str, int],
        tree: Tree | None = None,
    ) -> None:
        self.task_id, self.links = task_id, links
        self._modules, self._concepts, self._gone = modules, concepts, gone
        self._tree = tree or tree_of(modules)

    @classmethod
    def of(
        cls,
        task_id: str,
        modules: Mapping[str, OutlinedModule],
        concepts: Mapping[str, Sequence[str]],
        before: "Graph | None" = None,
        gone: Mapping[str, int] = NEVER,
    ) -> "Graph":
        """Build the graph of some modules, reusing the links of an earlier graph that still hold.

        `concepts` gives the concepts in the summary of each node; `gone` gives the removed modules,
        each with the version of the event that removed it.
        """
        kept: Mapping[str, Links] = before.links if before else {}
        anew: Mapping[str, Moved | None] = dict.fromkeys(modules)
        tree = tree_of(modules)
        if before is not None:
            anew = _moved_on(before._modules, modules, kept)
            anew |= dict.fromkeys(_left_alone(before, modules, gone))
            anew |= dict.fromkeys(_elsewhere(before, modules, tree))
        facets = {path: module.facets for path, module in modules.items()} if anew else {}
        trees = tree, past_tree(modules, gone) if anew and gone else None
        made = {
            path: links_of(facets, path, modules[path].since, gone, trees)
            if moved is None
            else relinked(facets, path, modules[path].since, gone, kept[path], moved, trees)
            for path, moved in anew.items()
        }
        # Equal links stay the ones that they were: what is made of them then need not be compared.
        made = {path: now for path, now in made.items() if now != kept.get(path)}
        links = {path: made.get(path) or kept[path] for path in sorted(modules)}
        return cls(task_id, links, modules, concepts, gone, tree)

    @property
    def gone(self) -> Mapping[str, int]:
        """The removed modules, each with the version of the event that removed it."""
        return self._gone

    @cached_property
    def edges(self) -> Sequence[Edge]:
        """All edges, sorted, once each."""
        edges = {edge: None for links in self.links.values() for edge in links.edges}
        edges.update(
            dict.fromkeys(headed({path: module.facets for path, module in self._modules.items()}))
        )
        edges.update(dict.fromkeys(self._spoken_of(edges)))
        task = node_id("task", self.task_id)
        edges.update((Edge(task, "contains", node_id("module", path)), None) for path in self.links)
        edges.update(
            (Edge(edge.target, "tested_by", edge.source), None)
            for edge in list(edges)
            if edge.kind == "tests"
        )
        return sorted(edges)

    def _spoken_of(self, edges: Iterable[Edge]) -> Iterator[Edge]:
        """Yield edges between existing nodes and the concepts in their summaries."""
        contained = {edge.target for edge in edges if edge.kind == "contains"}
        contained.update(node_id("module", path) for path in self.links)
        for node in sorted(contained & set(self._concepts)):
            for concept in self._concepts[node]:
                yield Edge(node, "references", concept)
                yield Edge(concept, "references", node)

    @cached_property
    def nodes(self) -> Sequence[str]:
        """All nodes, sorted."""
        ends = {end for edge in self.edges for end in (edge.source, edge.target)}
        return sorted(ends | {node_id("task", self.task_id)})

    @cached_property
    def out(self) -> Mapping[str, Sequence[Edge]]:
        """The edges that begin at each node."""
        return _by(self.edges, 0)

    @cached_property
    def into(self) -> Mapping[str, Sequence[Edge]]:
        """The edges that end at each node."""
        return _by(self.edges, 2)

    @property
    def unresolved(self) -> Sequence[tuple[str, str]]:
        """Nodes, and names that could not be followed from them; sorted."""
        return sorted(pair for links in self.links.values() for pair in links.unresolved)

    @property
    def libraries(self) -> Mapping[str, str]:
        """The origin of each library: standard or third-party."""
        pairs = sorted(pair for links in self.links.values() for pair in links.libraries)
        return dict(reversed(pairs))  # standard wins if two modules do not agree

    def neighbours(self, node: str, hops: int = 1) -> dict[str, int]:
        """Return the nodes within some hops, either way along the edges, and their distances."""
        return dict(_walk([node], hops, lambda at: self._either_way(at)))

    def _either_way(self, node: str) -> Iterator[str]:
        yield from (edge.target for edge in self.out.get(node, ()))
        yield from (edge.source for edge in self.into.get(node, ()))

    def dependencies(self, node: str) -> list[str]:
        """Return the nodes that a node needs, directly or through others; sorted."""

        def step(at: str) -> Iterator[str]:
            for edge in self.out.get(at, ()):
                # A concept joins all nodes that name it, which do not need each other.
                if edge.kind in NEEDS and kind_of(edge.source) != "concept":
                    yield edge.target

        return sorted({reached for reached, _ in _walk([node], -1, step)} - {node})

    def order(self) -> list[str]:
        """Return the task's modules, each after those that it imports; circles by path."""
        import networkx as nx

        circles = nx.condensation(self._imports())
        members = nx.get_node_attributes(circles, "members")
        smallest = {number: min(members[number]) for number in circles}
        order = nx.lexicographical_topological_sort(circles.reverse(), key=smallest.__getitem__)
        return [path for number in order for path in sorted(members[number])]

    def cycles(self) -> list[list[str]]:
        """Return the groups of modules that import each other in a circle, each sorted."""
        import networkx as nx

        groups = nx.strongly_connected_components(self._imports())
        return sorted(sorted(group) for group in groups if len(group) > 1)

    def path(self, start: str, end: str) -> list[str]:
        """Return the shortest way from a module to one that it imports, as paths; ties by name;
        empty for none."""
        came: dict[str, str] = {start: ""}
        queue = [start]
        for at in queue:
            for path in self._imported(at):
                if path not in came:
                    came[path] = at
                    queue.append(path)
        if end not in came:
            return []
        way = [end]
        while came[way[-1]]:
            way.append(came[way[-1]])
        return way[::-1]

    def _imported(self, path: str) -> list[str]:
        links = self.links.get(path)
        edges = links.edges if links else ()
        targets = (edge.target for edge in edges if edge.kind == "imports")
        return [target[7:] for target in targets if target.startswith("module:")]

    def _imports(self) -> "networkx.DiGraph[str]":
        import networkx as nx

        graph: networkx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(self.links)
        for path in self.links:
            graph.add_edges_from((path, other) for other in self._imported(path))
        return graph


def _moved_on(
    before: Mapping[str, OutlinedModule],
    modules: Mapping[str, OutlinedModule],
    kept: Mapping[str, Links],
) -> dict[str, Moved | None]:
    """Return the modules whose links may no longer hold, with the parts that may not, or None for
    all of them."""
    changed = {path for path, module in modules.items() if before.get(path) is not module}
    anew: dict[str, Moved | None] = {}
    for path in changed:
        moved = _inside(path, before[path], modules[path]) if path in kept else None
        if moved is None or any(moved):
            anew[path] = moved
    shown = {
        path
        for path in changed.union(path for path in before if path not in modules)
        if _surface(before, path) != _surface(modules, path)
    }
    if shown:
        for path, links in kept.items():
            if shown.isdisjoint(links.reads):
                continue
            if path in modules and anew.get(path, ()) is not None:
                asked = ((other, links.reads[other]) for other in shown if other in links.reads)
                if any(_differ(before.get(o), modules.get(o), keys) for o, keys in asked):
                    anew[path] = None
    return anew


def _inside(path: str, before: OutlinedModule, after: OutlinedModule) -> Moved | None:
    """Return the changed parts of a module; None for all, or if an import's age has changed."""
    if any(after.since.get(one, version) != version for one, version in before.since.items()):
        return None
    return moved_inside(path, before.facets, after.facets)


def _left_alone(
    before: Graph, modules: Mapping[str, OutlinedModule], gone: Mapping[str, int]
) -> set[str]:
    """Return the modules that name a module which has been removed, or is back, since."""
    times = [*before._gone.items(), *gone.items()]
    moved = {path for path, _ in times if gone.get(path) != before._gone.get(path)}
    tops_moved = tops_in(moved)
    found = set()
    for path, links in before.links.items() if times else ():
        if path in modules:
            asked, tops = moved, tops_moved
            since = _open_since(before._modules[path].since, modules[path].since, links)
            if since is not None:
                asked = moved.union(other for other, version in times if version > since)
                tops = tops_in(asked)
            if asked and not (
                asked.isdisjoint(links.reads) and tops.isdisjoint(links.reads.get(TREE, ()))
            ):
                found.add(path)
    return found


def _open_since(before: Mapping[str, int], after: Mapping[str, int], links: Links) -> int | None:
    """Return a version: which names meant a module removed since then may be told anew, by other
    imports of a module; None where no name can.

    An import that is younger than a removal did not mean the removed module.
    """
    if before is after or before == after:
        return None
    went = [one for one in before if one not in after]
    if OWN in links.reads.get(TREE, ()) or any(
        one.startswith(f"{other}.") for one in went for other in after
    ):
        return 0
    return min((after[one] for one in after if before.get(one) != after[one]), default=None)


def _elsewhere(before: Graph, modules: Mapping[str, OutlinedModule], tree: Tree) -> set[str]:
    """Return the modules that ask for a name whose places in the tree are others now."""
    tops = moved_tops(before._tree, tree)
    return {
        path
        for path, links in (before.links.items() if tops else ())
        if path in modules and not tops.isdisjoint(links.reads.get(TREE, ()))
    }


def _surface(modules: Mapping[str, OutlinedModule], path: str) -> str | None:
    return modules[path].surface if path in modules else None


def _differ(
    before: OutlinedModule | None, after: OutlinedModule | None, keys: Iterable[str]
) -> bool:
    """Return whether a facet differs between two versions of a module that may not exist."""
    if before is None or after is None:
        return True
    return any(part_of(before.facets, key) != part_of(after.facets, key) for key in keys)


def _by(edges: Iterable[Edge], end: int) -> dict[str, list[Edge]]:
    found: dict[str, list[Edge]] = {}
    for edge in edges:
        found.setdefault(edge[end], []).append(edge)
    return found


def _walk(
    starts: Iterable[str], hops: int, step: Callable[[str], Iterable[str]]
) -> Iterator[tuple[str, int]]:
    """Yield reached nodes and distances, nearest first, then by id; hops -1 for no end."""
    seen = dict.fromkeys(starts, 0)
    front, distance = sorted(seen), 0
    while front:
        yield from ((node, distance) for node in front)
        if distance == hops:
            return
        distance += 1
        new = {node for at in front for node in step(at) if node not in seen}
        front = sorted(new)
        seen.update(dict.fromkeys(front, distance))
