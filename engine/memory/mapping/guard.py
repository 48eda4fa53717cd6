"""What may not be done to a map: such edits are recorded with why, and change nothing."""

from backcast.domain.context_map import SECTIONS, Tokens, lawful
from backcast.domain.events import MapEdit
from backcast.projections.context_map import ContextMap


def guarded(edit: MapEdit, map: ContextMap, count: Tokens, most: int) -> MapEdit:
    """An edit as it is recorded; `most` are the tokens that an item may have."""
    why = edit.refused or _refusal(edit, map, count, most)
    return edit.model_copy(update={"refused": why}) if why else edit


def _refusal(edit: MapEdit, map: ContextMap, count: Tokens, most: int) -> str:
    if edit.operation != "ADD" and edit.item not in map.items:
        return f"there is no item {edit.item!r}"[:80]
    if edit.operation == "ADD" and edit.section not in SECTIONS:
        return f"there is no section {edit.section!r}"[:80]
    if edit.operation == "DELETE":
        return ""
    if not lawful(edit.text):
        return "its text could be taken for more than an item, or is too long"
    if (tokens := count(edit.text)) > most:
        return f"it has {tokens} tokens, an item may have {most}"
    return ""
