"""Distils a run with a model, beside what its events tell by themselves.

Uses, changes and stale items are facts, on which the model has no say. It judges the use of items,
and proposes candidates that would help later runs.
"""

from collections.abc import Iterator, Mapping, Sequence

from backcast.domain.context_map import SECTIONS, TAGS, Distilled, MapEntry, Tokens, plain, rendered
from backcast.domain.node import kind_of, name_of, node_id, path_of
from backcast.domain.outline import SOURCE
from backcast.domain.policy import MapSettings
from backcast.domain.reader import Reader
from backcast.domain.summary import built_from
from backcast.engine.memory.mapping import FinishedRun
from backcast.engine.memory.mapping.asking import fill_in
from backcast.engine.memory.mapping.distiller import FromEvents
from backcast.engine.memory.mapping.forms import (
    ABOUT,
    CANDIDATES,
    FAR,
    REASON,
    THOUGHT,
    VALUE,
    ItemForm,
    RunForm,
    run_schema,
)
from backcast.engine.memory.mapping.prompts import VERSION, reading
from backcast.engine.memory.mapping.trajectory import trajectory
from backcast.engine.models import Call, Limits, Model
from backcast.projections.context_map import ContextMap, ranked

RECORD = 3_000
"Tokens of a run's record."
ANSWER = 3_000
"Most tokens of an answer."
ITEMS = 64
"The most valuable items of a map, which are shown and tagged."
NODES = 24
"Nodes that a candidate may be about: changed ones first, then used ones."


class FromModel:
    """A Distiller that asks a model, and keeps the facts of the events."""

    def __init__(self, model: Model, count: Tokens, settings: MapSettings) -> None:
        self.model, self.settings = model, settings
        self._count, self._events = count, FromEvents()

    @property
    def id(self) -> str:
        """Name and version, of model and rules."""
        return f"{self.model.id} {VERSION}, {self._events.id}"

    def distil(self, run: FinishedRun, map: ContextMap) -> Distilled:
        """Return the lessons of a run, and the use of each item of the map to it."""
        facts = self._events.distil(run, map)
        if not run.events:
            return facts
        items = ranked(map, self.settings)[:ITEMS]
        ids, nodes = sorted(item.id for item in items), about(run, facts)
        record = trajectory(run, RECORD, self._count)
        messages = reading(rendered(items), "\n".join(nodes), record)
        call = Call(kind="distil", module=map.context)
        schema = run_schema(ids, nodes)
        form, answers, problem = fill_in(
            self.model, messages, Limits(ANSWER), RunForm, schema, call
        )
        if form is None:
            said = f"{facts.diagnosis}; nothing that the model said could be used: {problem}"
            return facts._replace(diagnosis=plain(said, THOUGHT), answers=answers)
        return facts._replace(
            tags=dict(_tags(facts.tags, form.tags)),
            entries=(*facts.entries, *_entries(run, form.candidates, nodes)),
            diagnosis=plain(form.diagnosis, THOUGHT),
            answers=answers,
            by=self.id,
        )


def about(run: FinishedRun, facts: Distilled) -> list[str]:
    """Return the nodes that a candidate may be about: changed modules, changed symbols, and the
    symbols that these use, as far as they exist after the run."""
    modules = dict.fromkeys(node_id("module", path_of(node)) for node in facts.changed)
    share = NODES // 3
    nodes = dict.fromkeys([*list(modules)[:share], *facts.changed[:share], *facts.used])
    return [node for node in nodes if path_of(node) in run.after][:NODES]


def _tags(known: Mapping[str, str], said: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for item, tag in known.items():
        new = said.get(item, tag)
        yield item, new if tag != "stale" and new in TAGS else tag


def _entries(
    run: FinishedRun, candidates: Sequence[ItemForm], nodes: Sequence[str]
) -> Iterator[MapEntry]:
    """Yield the usable candidates, each with its sources."""
    for form in candidates[:CANDIDATES]:
        text = _text(run, form)
        if form.section not in SECTIONS or form.transferability == FAR[-1] or not text:
            continue
        named = tuple(dict.fromkeys(node for node in form.about if node in nodes))[:ABOUT]
        # A candidate that names no node depends on all that the model was shown.
        reader = _read(run, named or tuple(nodes))
        why = plain(form.rationale, REASON)
        yield MapEntry(form.section, text, named, built_from(reader), why)


def _text(run: FinishedRun, form: ItemForm) -> str:
    """Return a candidate as one line; a result with its method and its time."""
    if form.section != "REUSABLE RESULTS":
        return plain(form.value, VALUE)
    method = plain(form.method, REASON)
    if not method or not plain(form.value, VALUE):
        return ""
    tail = f" (found by {method}, as of {run.name or 'the end of the run'})"
    return plain(f"{plain(form.value, VALUE - len(tail))}{tail}", VALUE)


def _read(run: FinishedRun, nodes: Sequence[str]) -> Reader:
    """Return a reader that has read the nodes' code: of symbols their signatures and bodies."""
    reader = Reader(run.after)
    for node in nodes:
        name, kind = name_of(node), kind_of(node)
        if kind == "module" or not name:
            reader.facet(path_of(node), SOURCE)
            continue
        reader.facet(path_of(node), f"sig:{name}")
        reader.facet(path_of(node), f"body:{name}")
    return reader
