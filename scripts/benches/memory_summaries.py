"""The fields that summaries at the limits of an 8K window show, of those that have a source.

What has a source is asked of the graph and not of the summaries: a docstring, parameters, a
returned type, tests that call it, more than one version. What is shown is what `backcast show
summaries --window 8k` prints within the limit; the control is what it printed in an earlier commit.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backcast.domain.levels import split_list
from backcast.domain.node import SYMBOLS, kind_of, name_of, node_id, path_of
from backcast.domain.outline import Facet, names_in
from backcast.domain.summary import LIMITS_BY_WINDOW
from backcast.engine.history.snapshots import state_at
from backcast.engine.log.store import EventStore
from backcast.engine.memory.summariser import limit_of
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.projections import dependency_graph
from scripts.benches.control import control, environment
from scripts.benches.figures import Bench, Bound, Figure
from scripts.benches.peer import PeerMissing
from scripts.benches.regress_windows import stored

GROUP = "fields with a source that summaries show within the limits of an 8K window"
BEFORE = "7315894"
"The commit before parts were shortened."
SHOW = "import sys; from backcast.engine.interfaces.cli import main; main(sys.argv[1:])"
FIELDS = ("purpose", "inputs", "outputs", "tests", "refinements")
LABELS = {
    "purpose": ("Purpose",), "inputs": ("Inputs",), "outputs": ("Outputs",),
    "tests": ("Tests", "Tested by"), "refinements": ("Refined", "Iteration"),
}  # fmt: skip
"How the lines of each field begin, now and in the control."
Rows = Mapping[str, Mapping[str, Any]]


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table: for each repository the share that is shown, and how."""
    figures = list[Figure]()
    for repository in bench.repositories:
        url, task = stored(bench, repository)
        with EventStore.open(url) as store:
            graph_state = state_at(store, dependency_graph, task)
            sources = dict(with_source(graph_state))
        bench.say(f"{task}: {sum(map(len, sources.values()))} fields with a source")
        ours = shown(url, task, None)
        try:
            with control(bench, BEFORE) as old:
                before: Rows = shown(url, task, environment(old.tree))
        except PeerMissing as error:
            bench.say(f"{BEFORE}: {error}")
            before = {}
        figures += _figures(task, sources, ours, before)
    return figures


def _figures(
    task: str, sources: Mapping[str, Sequence[str]], ours: Rows, before: Rows
) -> Iterator[Figure]:
    now, then = share(sources, ours), share(sources, before)
    each = ", ".join(f"{name} {share(sources, ours, name):.0f} %" for name in FIELDS)
    control = f"{then:.1f} % ({BEFORE})" if before else ""
    yield Figure(
        GROUP, f"{task}: shown", [now], "%", each, control, Bound(">=", 95),
    )  # fmt: skip
    whole = share(sources, ours, cut=False)
    yield Figure(GROUP, f"{task}: shown whole", [whole], "%", "not shortened")
    reasons = [
        line
        for node, names in sources.items()
        if "refinements" in names and (line := lines_of(ours.get(node)).get("Refined"))
    ]
    told = 100 * sum(": " in line for line in reasons) / max(1, len(reasons))
    yield Figure(GROUP, f"{task}: refinements with a reason", [told], "%", f"of {len(reasons)}")
    count = tokenizer_of("mistral-v3").count
    limits = LIMITS_BY_WINDOW["8k"]
    over = [node for node, row in ours.items() if count(row["text"]) > limit_of(limits, node)]
    yield Figure(
        GROUP, f"{task}: summaries above their limit", [len(over)], "", f"of {len(ours):,}",
        must=Bound("<=", 0),
    )  # fmt: skip


def share(
    sources: Mapping[str, Sequence[str]], rows: Rows, field: str = "", *, cut: bool = True
) -> float:
    """Return the percentage of fields that are shown; with `cut`, the shortened ones too."""
    counted = found = 0
    for node, names in sources.items():
        lines = lines_of(rows.get(node))
        short = () if cut else rows.get(node, {}).get("shortened", ())
        for name in names:
            if field in ("", name):
                counted += 1
                found += any(label in lines and label not in short for label in LABELS[name])
    return 100 * found / max(1, counted)


def lines_of(row: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the lines of a summary that its limit holds, by label."""
    lines = (row or {"text": ""})["text"].splitlines()
    return {label: text for label, _, text in (line.partition(": ") for line in lines)}


def shown(url: str, task: str, environment: Mapping[str, str] | None) -> Rows:
    """Return what `show summaries` prints, by node, by today's code or by that of a control."""
    command = [sys.executable, "-P", "-c", SHOW, "show", "summaries", task, "--window", "8k"]
    done = subprocess.run(
        [*command, "--json", "--store", url], capture_output=True, text=True, check=False,
        env=environment,
    )  # fmt: skip
    if done.returncode:
        raise PeerMissing(f"show summaries ended with exit code {done.returncode}: {done.stderr}")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["node"]: row for row in rows if row["summariser"].startswith("extractive")}


def with_source(state: dependency_graph.State) -> Iterator[tuple[str, list[str]]]:
    """Yield each module, function and class with the fields of it that have a source."""
    graph = dependency_graph.graph_of(state)
    tested = {
        target
        for target, edges in graph.into.items()
        if any(edge.kind == "tests" for edge in edges)
    }
    for path, facets in dependency_graph.present(state).items():
        inside = [node_of(facets, path, name) for name in names_in(facets)]
        yield (
            node_id("module", path),
            [
                *(["purpose"] if any(facets.get("doc") or ()) else []),
                *(
                    ["tests"]
                    if any(_from_outside(graph.into, node, path) for node in inside)
                    else []
                ),
                *(["refinements"] if state.modules[path].iteration > 1 else []),
            ],
        )
        for node in inside:
            yield node, list(_of_symbol(facets, node, tested))


def node_of(facets: Mapping[str, Facet], path: str, name: str) -> str:
    """Return the node of a function or class."""
    return node_id((facets[f"sig:{name}"] or ("function",))[0], path, name)


def _from_outside(into: Mapping[str, Any], node: str, path: str) -> bool:
    edges = into.get(node, ())
    return any(edge.kind == "tests" and path_of(edge.source) != path for edge in edges)


def _of_symbol(facets: Mapping[str, Facet], node: str, tested: set[str]) -> Iterator[str]:
    name = name_of(node)
    assert kind_of(node) in SYMBOLS
    _, signature, *_ = (*facets[f"sig:{name}"], "", "")
    if any(facets.get(f"doc:{name}") or ()):
        yield "purpose"
    inputs, arrow, _ = signature.rpartition(" -> ")
    parameters = split_list((inputs if arrow else signature).partition("(")[2].removesuffix(")"))
    called = parameters[:1] in (["self"], ["cls"]) and kind_of(node) == "method"
    if set(parameters[1:] if called else parameters) - {"/", "*"}:
        yield "inputs"
    if arrow:
        yield "outputs"
    if node in tested and kind_of(node) != "test":
        yield "tests"
    _, versions, *_ = (*facets.get(f"body:{name}", ()), "", "")
    if versions.isdigit() and int(versions) > 1:
        yield "refinements"
