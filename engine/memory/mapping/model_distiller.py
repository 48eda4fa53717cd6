"""Reads a run with a model: what it taught, beside what its events tell by themselves.

What a run used and changed are facts, and so is that an item was made of code that has moved on:
of these a model has no say. It says what an item was good for, and what would help later runs.
"""

from collections.abc import Iterator, Mapping, Sequence

from backcast.domain.context_map import SECTIONS, TAGS, Distilled, MapEntry, Tokens, plain, rendered
from backcast.domain.names import Reader
from backcast.domain.node import kind_of, name_of, node_id, path_of
from backcast.domain.outline import SOURCE
from backcast.domain.policy import MapSettings
from backcast.domain.summary import built_from
from backcast.engine.memory.mapping import FinishedRun
from backcast.engine.memory.mapping.asking import asked
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
    told_schema,
)
from backcast.engine.memory.mapping.prompts import VERSION, reading
from backcast.engine.memory.mapping.trajectory import trajectory
from backcast.engine.models import Call, Limits, Model
from backcast.projections.context_map import ContextMap, ranked

RECORD = 3_000
"Tokens of the record of a run."
ANSWER = 3_000
"Tokens of an answer, at the most."
ITEMS = 64
"Of a map, the most worth, that are shown and tagged."
NODES = 24
"That a candidate may be about: what the run changed most, then what it used."


class FromModel:
    """What a model makes of a run, with what its events tell."""

    def __init__(self, model: Model, count: Tokens, settings: MapSettings) -> None:
        self.model, self.settings = model, settings
        self._count, self._events = count, FromEvents()

    @property
    def id(self) -> str:
        """Name and version, of both."""
        return f"{self.model.id} {VERSION}, {self._events.id}"

    def distil(self, run: FinishedRun, map: ContextMap) -> Distilled:
        """What a run tells, and of what use each item of the map was to it."""
        told = self._events.distil(run, map)
        if not run.events:
            return told
        items = ranked(map, self.settings)[:ITEMS]
        ids, nodes = sorted(one.id for one in items), about(run, told)
        record = trajectory(run, RECORD, self._count)
        messages = reading(rendered(items), "\n".join(nodes), record)
        call = Call(kind="distil", module=map.context)
        schema = told_schema(ids, nodes)
        form, answers, problem = asked(self.model, messages, Limits(ANSWER), RunForm, schema, call)
        if form is None:
            said = f"{told.diagnosis}; nothing that the model said could be used: {problem}"
            return told._replace(diagnosis=plain(said, THOUGHT), answers=answers)
        return told._replace(
            tags=dict(_tags(told.tags, form.tags)),
            entries=(*told.entries, *_entries(run, told, form.candidates, nodes)),
            diagnosis=plain(form.diagnosis, THOUGHT),
            answers=answers,
            by=self.id,
        )


def about(run: FinishedRun, told: Distilled) -> list[str]:
    """The nodes that a candidate may speak of: the modules that a run changed, what it changed in
    them, and what that uses, as far as they are there after it."""
    modules = dict.fromkeys(node_id("module", path_of(one)) for one in told.changed)
    share = NODES // 3
    some = [*list(modules)[:share], *told.changed[:share], *told.used]
    return [one for one in dict.fromkeys(some) if path_of(one) in run.after][:NODES]


def _tags(known: Mapping[str, str], said: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for item, tag in known.items():
        new = said.get(item, tag)
        yield item, new if tag != "stale" and new in TAGS else tag


def _entries(
    run: FinishedRun, told: Distilled, candidates: Sequence[ItemForm], nodes: Sequence[str]
) -> Iterator[MapEntry]:
    """Candidates that may be drawn, with what each was made of."""
    for one in candidates[:CANDIDATES]:
        text = _text(run, one)
        if one.section not in SECTIONS or one.transferability == FAR[-1] or not text:
            continue
        named = tuple(dict.fromkeys(node for node in one.about if node in nodes))[:ABOUT]
        # Who names nothing was made of all that it was shown.
        reader = _read(run, named or tuple(nodes))
        yield MapEntry(one.section, text, named, built_from(reader), plain(one.rationale, REASON))


def _text(run: FinishedRun, one: ItemForm) -> str:
    """A candidate as one line; a result tells how it was found, and as of when."""
    if one.section != "REUSABLE RESULTS":
        return plain(one.value, VALUE)
    method = plain(one.method, REASON)
    if not method or not plain(one.value, VALUE):
        return ""
    tail = f" (found by {method}, as of {run.name or 'the end of the run'})"
    return plain(f"{plain(one.value, VALUE - len(tail))}{tail}", VALUE)


def _read(run: FinishedRun, nodes: Sequence[str]) -> Reader:
    """A reader of the code that nodes are: of functions and classes their lines and bodies."""
    reader = Reader(run.after)
    for node in nodes:
        name, kind = name_of(node), kind_of(node)
        if kind == "module" or not name:
            reader.facet(path_of(node), SOURCE)
            continue
        reader.facet(path_of(node), f"sig:{name}")
        reader.facet(path_of(node), f"body:{name}")
    return reader
