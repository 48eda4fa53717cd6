"""Draws a map with a model: which candidates earn a place on it, and what they replace.

What the code itself tells, the roadmap, and what no longer holds, are left to rules.
"""

from collections.abc import Iterator, Sequence

from backcast.domain.context_map import Distilled, MapEntry, MapItem, Tokens, plain, rendered
from backcast.domain.events import MapEdit, MapEdited
from backcast.domain.policy import MapSettings
from backcast.engine.memory.mapping import FinishedRun, Proposal
from backcast.engine.memory.mapping.asking import asked
from backcast.engine.memory.mapping.cartographer import ByRules, normal_form, plainly
from backcast.engine.memory.mapping.forms import EDITS, VALUE, Edit, Edits, edits_schema
from backcast.engine.memory.mapping.lines import is_lines
from backcast.engine.memory.mapping.prompts import VERSION, drawing
from backcast.engine.models import Call, Limits, Model
from backcast.projections.context_map import ContextMap, edited, ranked

ANSWER = 3_000
"Tokens of an answer, at the most."
ITEMS = 64
"Of a map, the most worth, that may be edited."
WHY = 120
"Characters of why an edit is refused."


class ByModel:
    """Edits that a model proposes, as far as they may be made, and those that rules make."""

    def __init__(self, model: Model, count: Tokens, settings: MapSettings, tokens: int) -> None:
        self.model, self.settings, self.tokens = model, settings, tokens
        self._count, self._rules = count, ByRules()

    @property
    def id(self) -> str:
        """Name and version, of both."""
        return f"{self.model.id} {VERSION}, {self._rules.id}"

    def drawn(self, run: FinishedRun, told: Distilled, map: ContextMap) -> Proposal:
        """Edits of all but the lines of code."""
        items = [one for one in ranked(map, self.settings) if not is_lines(one)][:ITEMS]
        idle = not told.entries and all(told.tags.get(one.id) == "neutral" for one in items)
        if idle or not run.events:
            return self._rules.drawn(run, told, map)
        messages = drawing(rendered(items), told, told.entries, self.tokens)
        schema = edits_schema(sorted(one.id for one in items), len(told.entries))
        call = Call(kind="draw", module=map.context)
        form, answers, problem = asked(self.model, messages, Limits(ANSWER), Edits, schema, call)
        if form is None:
            return self._rules.drawn(run, told, map)._replace(answers=answers, problem=problem)
        made = list(_made(form.edits, told.entries, items))
        after = edited(map, MapEdited(context=map.context, edits=tuple(made)))
        rest = self._rules.drawn(run, told._replace(entries=()), after)
        return Proposal([*made, *rest.edits], answers, self.id)


def _made(
    edits: Sequence[Edit], entries: Sequence[MapEntry], items: Sequence[MapItem]
) -> Iterator[MapEdit]:
    """Edits of a model as they are recorded, those that may not be made with why."""
    known = {one.id: one for one in items}
    said = {normal_form(one.text): one.id for one in items}
    for one in edits[:EDITS]:
        number = (one.candidate or 0) - 1
        entry = entries[number] if 0 <= number < len(entries) else None
        made = _edit(one, entry)
        why = _refusal(one, entry, known, said, made.text)
        if made.operation != "DELETE" and not why:
            said[normal_form(made.text)] = made.item or "another edit"
        yield made.model_copy(update={"refused": plain(why, WHY)}) if why else made
    if len(edits) > EDITS:
        why = f"{len(edits) - EDITS:,} more edits: needed at most {EDITS} at once"
        yield MapEdit(operation="ADD", refused=why)


def _edit(one: Edit, entry: MapEntry | None) -> MapEdit:
    item, text = plain(one.item, WHY), plain(one.text or (entry.text if entry else ""), VALUE)
    if one.operation == "DELETE":
        return MapEdit(operation="DELETE", item=item)
    written = MapEdit(operation="ADD", text=text) if not entry else MapEdit(
        operation="ADD", section=entry.section, text=text, nodes=entry.nodes,
        built_from=plainly(entry.built_from),
    )  # fmt: skip
    if one.operation == "REPLACE":
        return written.model_copy(update={"operation": "REPLACE", "item": item, "section": ""})
    return written


def _refusal(
    one: Edit, entry: MapEntry | None, known: dict[str, MapItem], said: dict[str, str], text: str
) -> str:
    if one.operation not in ("ADD", "REPLACE", "DELETE"):
        return f"there is no operation {one.operation!r}"
    if one.operation != "ADD" and one.item not in known:
        return f"there is no item {one.item!r} that may be edited"
    if one.operation == "DELETE":
        return ""
    if entry is None:
        return f"there is no candidate {one.candidate}"
    if one.operation == "REPLACE" and known[one.item].section != entry.section:
        return f"{one.item} is of {known[one.item].section}, the candidate of {entry.section}"
    own = one.item if one.operation == "REPLACE" else ""
    there = said.get(normal_form(text), own)
    return f"{there} says so already" if there != own else ""
