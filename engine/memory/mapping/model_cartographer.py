"""Lets a model edit a map: which candidates earn a place on it, and which items they replace.

The roadmap, which follows from the code, and deletions of stale items are left to rules.
"""

from collections.abc import Iterator, Sequence

from backcast.domain.context_map import Distilled, MapEntry, MapItem, Tokens, plain, rendered
from backcast.domain.memory_events import MapEdit, MapEdited
from backcast.domain.policy import MapSettings
from backcast.engine.memory.mapping import FinishedRun, Proposal
from backcast.engine.memory.mapping.asking import fill_in
from backcast.engine.memory.mapping.cartographer import ByRules, normal_form, plainly
from backcast.engine.memory.mapping.forms import EDITS, VALUE, Edit, Edits, edits_schema
from backcast.engine.memory.mapping.lines import is_lines
from backcast.engine.memory.mapping.prompts import VERSION, drawing
from backcast.engine.models import Call, Limits, Model
from backcast.projections.context_map import ContextMap, edited, ranked

ANSWER = 3_000
"Most tokens of an answer."
ITEMS = 64
"The most valuable items of a map, which the model may edit."
WHY = 120
"Characters of the reason for a refusal."


class ByModel:
    """A Cartographer that takes a model's permitted edits, and adds edits by rules."""

    def __init__(self, model: Model, count: Tokens, settings: MapSettings, tokens: int) -> None:
        self.model, self.settings, self.tokens = model, settings, tokens
        self._count, self._rules = count, ByRules()

    @property
    def id(self) -> str:
        """Name and version, of model and rules."""
        return f"{self.model.id} {VERSION}, {self._rules.id}"

    def propose(self, run: FinishedRun, distilled: Distilled, map: ContextMap) -> Proposal:
        """Return edits of all items but the lines of code."""
        items = [item for item in ranked(map, self.settings) if not is_lines(item)][:ITEMS]
        entries, tags = distilled.entries, distilled.tags
        idle = not entries and all(tags.get(item.id) == "neutral" for item in items)
        if idle or not run.events:
            return self._rules.propose(run, distilled, map)
        messages = drawing(rendered(items), distilled, entries, self.tokens)
        schema = edits_schema(sorted(item.id for item in items), len(entries))
        call = Call(kind="draw", module=map.context)
        form, answers, problem = fill_in(self.model, messages, Limits(ANSWER), Edits, schema, call)
        if form is None:
            return self._rules.propose(run, distilled, map)._replace(
                answers=answers, problem=problem
            )
        made = list(_made(form.edits, entries, items))
        after = edited(map, MapEdited(context=map.context, edits=tuple(made)))
        rest = self._rules.propose(run, distilled._replace(entries=()), after)
        return Proposal([*made, *rest.edits], answers, self.id)


def _made(
    edits: Sequence[Edit], entries: Sequence[MapEntry], items: Sequence[MapItem]
) -> Iterator[MapEdit]:
    """Yield a model's edits as they are recorded, each forbidden one with the reason."""
    known = {item.id: item for item in items}
    said = {normal_form(item.text): item.id for item in items}
    for edit in edits[:EDITS]:
        number = (edit.candidate or 0) - 1
        entry = entries[number] if 0 <= number < len(entries) else None
        made = _edit(edit, entry)
        why = _refusal(edit, entry, known, said, made.text)
        if made.operation != "DELETE" and not why:
            said[normal_form(made.text)] = made.item or "another edit"
        yield made.model_copy(update={"refused": plain(why, WHY)}) if why else made
    if len(edits) > EDITS:
        why = f"{len(edits) - EDITS:,} more edits: needed at most {EDITS} at once"
        yield MapEdit(operation="ADD", refused=why)


def _edit(edit: Edit, entry: MapEntry | None) -> MapEdit:
    item, text = plain(edit.item, WHY), plain(edit.text or (entry.text if entry else ""), VALUE)
    if edit.operation == "DELETE":
        return MapEdit(operation="DELETE", item=item)
    written = MapEdit(operation="ADD", text=text) if not entry else MapEdit(
        operation="ADD", section=entry.section, text=text, nodes=entry.nodes,
        built_from=plainly(entry.built_from),
    )  # fmt: skip
    if edit.operation == "REPLACE":
        return written.model_copy(update={"operation": "REPLACE", "item": item, "section": ""})
    return written


def _refusal(
    edit: Edit, entry: MapEntry | None, known: dict[str, MapItem], said: dict[str, str], text: str
) -> str:
    if edit.operation not in ("ADD", "REPLACE", "DELETE"):
        return f"there is no operation {edit.operation!r}"
    if edit.operation != "ADD" and edit.item not in known:
        return f"there is no item {edit.item!r} that may be edited"
    if edit.operation == "DELETE":
        return ""
    if entry is None:
        return f"there is no candidate {edit.candidate}"
    if edit.operation == "REPLACE" and known[edit.item].section != entry.section:
        return f"{edit.item} is of {known[edit.item].section}, the candidate of {entry.section}"
    if not set(normal_form(text).split()) & set(normal_form(entry.text).split()):
        return "its text has no word of its candidate's"
    own = edit.item if edit.operation == "REPLACE" else ""
    same = said.get(normal_form(text), own)
    return f"{same} says so already" if same != own else ""
