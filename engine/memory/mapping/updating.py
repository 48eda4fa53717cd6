"""One update of a map after a finished run: distil, edit, evict, and fill what is left."""

from dataclasses import dataclass

from domain.context_map import Tokens
from domain.events import MapEdited
from domain.policy import MapSettings
from domain.staleness import Modules
from engine.context.maps import HEADING
from engine.memory.mapping import Cartographer, Distiller, Evictor, Run
from engine.memory.mapping.cartographer import ByRules
from engine.memory.mapping.distiller import FromEvents
from engine.memory.mapping.evictor import ByWorth
from engine.memory.mapping.guard import guarded
from engine.memory.mapping.lines import Lines
from projections.context_map import ContextMap, edited


@dataclass
class Keeping:
    """Who keeps a map, and within how many tokens."""

    settings: MapSettings
    tokens: int
    "Without those of what a prompt puts above it."
    distiller: Distiller
    cartographer: Cartographer
    evictor: Evictor
    lines: Lines
    count: Tokens

    @classmethod
    def of(cls, settings: MapSettings, tokens: int, count: Tokens) -> "Keeping":
        """The one that asks no model."""
        room = tokens - count(HEADING) - 1
        return cls(settings, room, FromEvents(), ByRules(), ByWorth(count), Lines(count), count)

    def update(self, map: ContextMap, run: Run) -> MapEdited | None:
        """What a run does to a map; None where the map stands as it is."""
        if not self.evolves(map, run):
            return None
        told = self.distiller.distil(run, map)
        fact = MapEdited(
            context=map.context, run=run.name, used=told.used, changed=told.changed,
            tags=dict(told.tags), diagnosis=told.diagnosis, distiller=self.distiller.id,
            cartographer=f"{self.cartographer.id}, {self.lines.id}",
        )  # fmt: skip
        tagged, most = edited(map, fact), self.settings.item_tokens
        edits = [
            guarded(edit, tagged, self.count, most)
            for edit in self.cartographer.edits(run, told, tagged)
        ]
        after = edited(map, fact.model_copy(update={"edits": tuple(edits)}))
        share = int(self.tokens * self.settings.others)
        # What the lines leave free is for all else.
        free = self.tokens - self.lines.needed(run, after, self.tokens, self.settings)
        edits += self.evictor.evicted(after, max(share, free), self.settings)
        after = edited(map, fact.model_copy(update={"edits": tuple(edits)}))
        edits += self.lines.edits(run, after, self.tokens, self.settings)
        return fact.model_copy(update={"edits": tuple(edits)})

    def evolves(self, map: ContextMap, run: Run) -> bool:
        """Whether the map is still edited, or again: once it is frozen, only for what is stale."""
        most = self.settings.evolve
        if not most or map.updates < most:
            return True
        modules = Modules(run.after)
        return self.settings.reopen and not all(
            modules.holds(map.items[item].made_of) for item in sorted(map.items)
        )
