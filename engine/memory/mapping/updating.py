"""One update of a map after a finished run: distil, edit, evict, and fill what is left."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from backcast.domain.context_map import (
    SECTIONS,
    Distilled,
    MapAnswered,
    MapItem,
    Tokens,
    lawful,
    within,
)
from backcast.domain.errors import InputError
from backcast.domain.events import MapAnswer, MapEdit, MapEdited
from backcast.domain.policy import MapSettings
from backcast.engine.context.maps import HEADING
from backcast.engine.log.blobs import Blob
from backcast.engine.memory.mapping import Cartographer, Distiller, Evictor, FinishedRun
from backcast.engine.memory.mapping.cartographer import ByRules
from backcast.engine.memory.mapping.distiller import FromEvents
from backcast.engine.memory.mapping.lines import LineChooser, is_lines
from backcast.engine.memory.mapping.model_cartographer import ByModel
from backcast.engine.memory.mapping.model_distiller import FromModel
from backcast.engine.models import Model
from backcast.projections.context_map import ContextMap, edited, ranked

if TYPE_CHECKING:
    from backcast.engine.context.search.embedders import Embedder


class Update(NamedTuple):
    """What a run does to a map."""

    fact: MapEdited
    blobs: tuple[Blob, ...] = ()
    "The settings by which it was made, and what models answered."


class ByWorth:
    """Keeps what is worth most; lines of code are left alone, since they fill what is left."""

    id = "worth 1"

    def __init__(self, count: Tokens) -> None:
        self._count = count

    def evicted(self, map: ContextMap, tokens: int, settings: MapSettings) -> Sequence[MapEdit]:
        """Edits that take away what does not fit so many tokens, headings counted."""
        there: list[MapItem] = [one for one in ranked(map, settings) if not is_lines(one)]
        kept = {one.id for one in within(there, tokens, self._count)}
        gone = [one.id for one in there if one.id not in kept]
        return [MapEdit(operation="DELETE", item=item) for item in reversed(gone)]


@dataclass
class MapUpdater:
    """Who keeps a map, and within how many tokens."""

    settings: MapSettings
    tokens: int
    "Without those of what a prompt puts above it."
    distiller: Distiller
    cartographer: Cartographer
    evictor: Evictor
    lines: LineChooser
    count: Tokens
    embedder: "Embedder | None" = None
    "By which what means the same is merged; only the same words are, where there is none."

    @classmethod
    def of(
        cls, settings: MapSettings, tokens: int, count: Tokens, model: Model | None = None,
        embedder: "Embedder | None" = None,
    ) -> "MapUpdater":  # fmt: skip
        """Those that the settings name; `InputError` where they need a model, or an embedder, and
        there is none."""
        room = tokens - count(HEADING) - 1
        distiller: Distiller = FromEvents()
        cartographer: Cartographer = ByRules()
        if settings.distiller == "model":
            distiller = FromModel(_needed(model, "distiller"), count, settings)
        if settings.cartographer == "model":
            cartographer = ByModel(_needed(model, "cartographer"), count, settings, room)
        if settings.merge and embedder is None:
            raise InputError("the policy's map.merge: needed an embedder, found none")
        return cls(
            settings, room, distiller, cartographer, ByWorth(count), LineChooser(count), count,
            embedder if settings.merge else None,
        )  # fmt: skip

    def update(self, map: ContextMap, run: FinishedRun) -> Update | None:
        """What a run does to a map; None where the map stands as it is. `ModelError` where a model
        gives no answer."""
        if not self.evolves(map, run):
            return None
        told = self.distiller.distil(run, map)
        fact = MapEdited(
            context=map.context, run=run.name, used=told.used, changed=told.changed,
            tags=dict(told.tags), diagnosis=told.diagnosis, distiller=told.by,
        )  # fmt: skip
        drawn = self.cartographer.drawn(run, told, edited(map, fact))
        fact = fact.model_copy(update={"cartographer": f"{drawn.by}, {self.lines.id}"})
        if drawn.problem:
            said = f"{told.diagnosis}; nothing that the model drew could be used: {drawn.problem}"
            fact = fact.model_copy(update={"diagnosis": said})
        edits = self._edits(map, run, fact, drawn.edits)
        return self._recorded(fact, edits, told, drawn.answers)

    def _edits(
        self, map: ContextMap, run: FinishedRun, fact: MapEdited, drawn: Sequence[MapEdit]
    ) -> list[MapEdit]:
        """All edits: those that were drawn, what has no room, and the lines of code."""
        tagged, most = edited(map, fact), self.settings.item_tokens
        if self.embedder:
            from backcast.engine.memory.mapping.merging import merged  # of the extra 'semantic'

            drawn = merged(drawn, tagged, self.embedder, self.settings.merge)
        edits = [guarded(edit, tagged, self.count, most) for edit in drawn]
        after = edited(map, fact.model_copy(update={"edits": tuple(edits)}))
        share = int(self.tokens * self.settings.others)
        # What the lines leave free is for all else.
        free = self.tokens - self.lines.needed(run, after, self.tokens, self.settings)
        edits += self.evictor.evicted(after, max(share, free), self.settings)
        after = edited(map, fact.model_copy(update={"edits": tuple(edits)}))
        return [*edits, *self.lines.edits(run, after, self.tokens, self.settings)]

    def _recorded(
        self,
        fact: MapEdited,
        edits: Sequence[MapEdit],
        told: Distilled,
        drawn: Sequence[MapAnswered],
    ) -> Update:
        """The fact, and the bodies that it names."""
        policy = Blob(self.settings.model_dump_json().encode())
        # An answer may hold halves of surrogate pairs, which JSON can write and UTF-8 cannot.
        said = [*told.answers, *drawn]
        answers = [Blob(one.text.encode(errors="surrogatepass")) for one in said]
        update = {
            "edits": tuple(edits),
            "policy": policy.ref,
            "answers": tuple(
                MapAnswer(
                    role=one.role,
                    text=body.ref,
                    prompt_tokens=one.prompt_tokens,
                    tokens=one.tokens,
                    seconds=one.seconds,
                )
                for one, body in zip(said, answers, strict=True)
            ),
        }
        return Update(fact.model_copy(update=update), (policy, *answers))

    @property
    def asks(self) -> bool:
        """Whether a model is asked."""
        return "model" in (self.settings.distiller, self.settings.cartographer)

    def evolves(self, map: ContextMap, run: FinishedRun) -> bool:
        """Whether the map is still edited, or again: once it is frozen, only for what is stale."""
        most = self.settings.evolve
        if not most or map.updates < most:
            return True
        return self.settings.reopen and any(run.moved(map.items[one]) for one in sorted(map.items))


def _needed(model: Model | None, role: str) -> Model:
    if model is None:
        raise InputError(
            f"the policy's map.{role}: needed a model, found none: name one by --model"
        )
    return model


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
