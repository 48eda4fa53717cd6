"""The fields of a node's summary beyond its outline: its tests, its refinements, and where next."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from backcast.domain.graph import Graph
from backcast.domain.levels import Field, distinct, list_forms, sentence_forms
from backcast.domain.node import kind_of, name_of, node_id, path_of, plain_name
from backcast.domain.outline import Facet, names_in, part_of
from backcast.domain.summary import rate_of
from backcast.domain.summary_fields import RANKS
from backcast.engine.history.node_histories import FAILED, PASSED, NodeHistories, by_relevance
from backcast.projections import dependency_graph, summaries

NEXT = 6
"Nodes of the next level that are named."


class LevelFields:
    """What is known of the nodes of a moment beside their outlines."""

    def __init__(
        self, state: dependency_graph.State, written: summaries.State, known: NodeHistories
    ) -> None:
        self.state, self.written, self.known = state, written, known
        self.facets: Mapping[str, Mapping[str, Facet]] = dependency_graph.present(state)

    @cached_property
    def graph(self) -> Graph:
        """What needs what."""
        return dependency_graph.graph_of(self.state)

    @cached_property
    def _targets(self) -> dict[str, int]:
        """How many nodes each test tests."""
        counts: dict[str, int] = {}
        for edges in self.graph.into.values():
            for edge in edges:
                if edge.kind == "tests":
                    counts[edge.source] = counts.get(edge.source, 0) + 1
        return counts

    def of(self, node: str) -> Iterator[Field]:
        """Yield the fields of a module, function, class or test that its outline does not have."""
        if kind_of(node) == "test":
            if verdict := self.known.verdict(node):
                yield Field("Last run", (verdict,), RANKS["Tests"])
        elif forms := distinct(self._tests(node)):
            yield Field("Tests", forms, RANKS["Tests"], max(0, len(forms) - 2))
        refined = self.known.of(node)
        count = self._versions(node) or refined.versions
        if count > 1:
            what = "iterations" if kind_of(node) == "module" else "versions"
            forms = distinct(refined_forms(f"{count} {what}", refined.reasons))
            whole = [n for n, form in enumerate(forms[:-1]) if not form.endswith(" ...")]
            yield Field("Refined", forms, RANKS["Refined"], max(whole, default=0))

    def tests(self, node: str) -> list[str]:
        """Return the tests of a function or class, those that tell the most first."""
        found = (edge.source for edge in self.graph.into.get(node, ()) if edge.kind == "tests")
        return by_relevance(found, node, self.known, self._targets)

    def users(self, node: str) -> list[str]:
        """Return the nodes that need a node, tests left out, sorted."""
        edges = self.graph.into.get(node, ())
        needing = (edge.source for edge in edges if edge.kind in ("imports", "calls"))
        return sorted({user for user in needing if kind_of(user) != "test"})

    def below(self, path: str) -> list[str]:
        """Return the nodes of a module, as options take them."""
        facets = self.facets.get(path, {})
        return [
            node_id((facets[f"sig:{name}"] or ("function",))[0], path, name)
            for name in names_in(facets)
        ]

    def top(self, path: str) -> list[str]:
        """Return the functions and classes of a module that are in no other, in its order."""
        facets = self.facets.get(path, {})
        names = (name for name in part_of(facets, "names") or () if "." not in name)
        return [
            node_id((facets.get(f"sig:{name}") or ("function",))[0], path, name) for name in names
        ]

    def _versions(self, node: str) -> int:
        path, name = path_of(node), name_of(node)
        module = self.state.modules.get(path)
        if module is None:
            return 0
        if not name:
            return module.iteration
        body = module.facets.get(f"body:{name}", ())
        return int(body[1]) if len(body) > 1 and body[1].isdigit() else 0

    def _tests(self, node: str) -> list[str]:
        """Return the forms in which the tests of a node are told; none where there are none."""
        if not name_of(node):
            return self._tests_of_module(path_of(node))
        tests = self.tests(node)
        if not tests:
            return []
        verdicts = [self.known.verdict(test) for test in tests]
        entries = [
            f"{plain_name(name_of(test))}{f' ({verdict})' if verdict else ''}"
            for test, verdict in zip(tests, verdicts, strict=True)
        ]
        return [*list_forms(entries), counted(verdicts)]

    def _tests_of_module(self, path: str) -> list[str]:
        checks = self.written.checks.get(path)
        rate = [rate_of(checks[0], checks[1])] if checks else []
        files: dict[str, int] = {}
        for node in self.below(path):
            for edge in self.graph.into.get(node, ()):
                if edge.kind == "tests" and path_of(edge.source) != path:
                    file = path_of(edge.source)
                    files[file] = files.get(file, 0) + 1
        planned = sorted(self.known.tested.get(path, ()))
        by_count = sorted(files, key=lambda file: (-files[file], file))
        names = [f"[{file}]" for file in dict.fromkeys([*planned, *by_count])]
        entries = [*rate, *names]
        return [*list_forms(entries), *rate] if entries else []


def refined_forms(count: str, reasons: Iterable[str]) -> Iterator[str]:
    """Yield how often something was refined, with ever less of why; the latest reason first.

    >>> list(refined_forms("3 versions", ["Keep case", "Fix blanks"]))
    ['3 versions: Keep case; Fix blanks', '3 versions: Keep case', '3 versions']
    """
    known = list(reasons)
    for kept in range(len(known), 1, -1):
        yield f"{count}: {'; '.join(known[:kept])}"
    if known:
        yield from (f"{count}: {form}" for form in sentence_forms(known[0]))
    yield count


def counted(verdicts: list[str]) -> str:
    """Return how many tests there are, and how they went where all of that is known.

    >>> counted(["passed", "failed"]), counted(["", "passed"]), counted(["passed"])
    ('2 tests, 1 failed', '2 tests', '1 test, passed')
    """
    count = f"{len(verdicts)} test{'' if len(verdicts) == 1 else 's'}"
    if failed := verdicts.count(FAILED):
        return f"{count}, {failed} failed"
    if all(verdict == PASSED for verdict in verdicts):
        return f"{count}, {'all ' if len(verdicts) > 1 else ''}passed"
    return count
