"""The tool `brief`: what a run is and how far it came, then map and summaries while they fit."""

from collections.abc import Iterator
from typing import Any

from backcast.domain.moment import Moment
from backcast.domain.node import kind_of
from backcast.domain.policy import DEFAULT
from backcast.engine.context.search.code_words import search_words_kept
from backcast.engine.context.search.questions import found_by_words
from backcast.engine.history.snapshots import state_at
from backcast.engine.interfaces.map_text import MapMoment
from backcast.engine.interfaces.mcp.answers import ToolAnswer
from backcast.engine.interfaces.mcp.runs import AskedRun, RunShelf
from backcast.engine.interfaces.terminal import escaped
from backcast.engine.interfaces.view.run_step import RunStep
from backcast.engine.interfaces.views import one_line
from backcast.engine.models.tokenizers import Tokenizer
from backcast.projections import progress

STEPS, TROUBLES = 8, 3
"Last steps, and last troubles, that are named."
MODULES, DELETED = 12, "deleted"
FOUND = 30
"Nodes that a focus may find."
MAP_SHARE = 3
"A third of a brief is for the map."


def brief(shelf: RunShelf, asked: dict[str, Any], counter: Tokenizer) -> ToolAnswer:
    """Tell what a run is, how far it came, and what is known of its code."""
    run = shelf.run(asked["task"])
    run.outlined()  # which may add events
    moment = run.moment(asked["at"])
    version = run.store.version_at(run.task, moment)
    when = asked["at"] if asked["at"].isdecimal() else str(version) if asked["at"] else ""
    chunks = [*_map(run, when, asked["max_tokens"] // MAP_SHARE, counter)]
    chunks += _summaries(run, moment, asked["focus"], counter)
    more = "ask with focus, or explain a step"
    return ToolAnswer(list(_head(run, moment, version)), run.stale(moment), more, chunks)


def _head(run: AskedRun, moment: Moment, version: int) -> Iterator[str]:
    state: progress.State = state_at(run.store, progress, run.task, moment, run.reader.recent)
    steps = [step for step in run.reader.sequence.steps if step.first <= version]
    kind = "; prompts of another program" if run.foreign else ""
    yield f"{run.task}@{version}: {state.status}, {steps[-1].number} steps{kind}"
    if goal := state.goal or run.reader.sequence.goal:
        yield f"goal: {one_line(goal, 300)}"
    waiting = progress.waiting_for(state) if any(step.prompt for step in steps) else None
    for name, value in (("reason", state.reason), ("waiting for", waiting)):
        if value:
            yield f"{name}: {one_line(str(value), 300)}"
    modules = [name for name in sorted(state.modules) if state.modules[name].status != DELETED]
    for name in modules[:MODULES]:
        module = state.modules[name]
        score = "" if module.score is None else f", score {module.score:g}"
        yield f"module {escaped(name)} #{module.iteration}: {module.status}{score}"
    if len(modules) > MODULES:
        yield f"and {len(modules) - MODULES} more modules: focus, or find, names them"
    bad = [step for step in steps if step.outcome in ("failed", "refused", "checks")]
    if bad:
        yield f"steps with trouble: {', '.join(str(step.number) for step in bad)}"
    yield from (f"  {_step(step)}" for step in bad[-TROUBLES:])
    yield "last steps:"
    yield from (f"  {_step(step, why=False)}" for step in steps[-STEPS:])


def _step(step: RunStep, *, why: bool = True) -> str:
    reason = f": {one_line(' / '.join(step.why.splitlines()), 200)}" if why and step.why else ""
    outcome = f" ({step.label})" if step.label else ""
    return f"step {step.number}, event {step.event}: {one_line(step.name, 80)}{outcome}{reason}"


def _map(run: AskedRun, when: str, tokens: int, counter: Tokenizer) -> Iterator[str]:
    found = MapMoment.at(run.store, run.task, when, DEFAULT.map, tokens, counter)
    if found.shown.text:
        yield f"{found.line}\n{found.shown.text}"


def _summaries(run: AskedRun, moment: Moment, focus: str, counter: Tokenizer) -> list[str]:
    """Return the summaries of the nodes, those that a focus finds first, else modules first."""
    view = run.view(moment, counter)
    nodes = list(view.nodes())
    nodes.sort(key=lambda node: kind_of(node) != "module")
    if focus:
        with search_words_kept(run.store, "words of nodes", run.task, moment) as counted:
            hits = found_by_words(run.documents(moment), focus, FOUND, counted)
        named = [node for node in nodes if focus in node]
        found = [*named, *(hit.id for hit in hits if hit.id in nodes and hit.id not in named)]
        nodes = [*found, *(node for node in nodes if node not in set(found))]
    shown = nodes[: 2 * FOUND]
    return [str(text) for node in shown for text in view.summaries_of(node)]
