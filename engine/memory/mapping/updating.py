"""Updates a map after a finished run: distil, edit, evict, and fill the free room."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from backcast.domain.context_map import (
    SECTIONS,
    MapAnswered,
    MapItem,
    Tokens,
    lawful,
    within,
)
from backcast.domain.errors import InputError
from backcast.domain.memory_events import MapAnswer, MapEdit, MapEdited
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
    """The update of a map by one run."""

    fact: MapEdited
    blobs: tuple[Blob, ...] = ()
    "The settings of the update, and the answers of models."


class ByWorth:
    """An Evictor that keeps the most valuable items.

    It leaves lines of code alone, since they only fill free room.
    """

    id = "worth 1"

    def __init__(self, count: Tokens) -> None:
        self._count = count

    def evict(self, map: ContextMap, tokens: int, settings: MapSettings) -> Sequence[MapEdit]:
        """Return deletions of the items that do not fit `tokens`, headings included."""
        items: list[MapItem] = [item for item in ranked(map, settings) if not is_lines(item)]
        kept = {item.id for item in within(items, tokens, self._count)}
        gone = [item.id for item in items if item.id not in kept]
        return [MapEdit(operation="DELETE", item=item) for item in reversed(gone)]


@dataclass
class MapUpdater:
    """The updater of a map: its roles, and its tokens."""

    settings: MapSettings
    tokens: int
    "Tokens of the map, without the heading above it in a prompt."
    distiller: Distiller
    cartographer: Cartographer
    evictor: Evictor
    lines: LineChooser
    count: Tokens
    embedder: "Embedder | None" = None
    "The embedder that finds texts of the same meaning; None merges equal words only."

    @classmethod
    def of(
        cls, settings: MapSettings, tokens: int, count: Tokens, model: Model | None = None,
        embedder: "Embedder | None" = None,
    ) -> "MapUpdater":  # fmt: skip
        """Return an updater with the roles that the settings name.

        `InputError` where they need a model or an embedder, and there is none.
        """
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
        """Return a run's update of a map; None where the map is frozen.

        `ModelError` where a model gives no answer.
        """
        if not self.evolves(map, run):
            return None
        distilled = self.distiller.distil(run, map)
        fact = MapEdited(
            context=map.context, run=run.name, used=distilled.used, changed=distilled.changed,
            tags=dict(distilled.tags), diagnosis=distilled.diagnosis, distiller=distilled.by,
        )  # fmt: skip
        proposal = self.cartographer.propose(run, distilled, edited(map, fact))
        fact = fact.model_copy(update={"cartographer": f"{proposal.by}, {self.lines.id}"})
        if proposal.problem:
            why = f"nothing that the model drew could be used: {proposal.problem}"
            fact = fact.model_copy(update={"diagnosis": f"{distilled.diagnosis}; {why}"})
        edits = self._edits(map, run, fact, proposal.edits)
        return self._record(fact, edits, (*distilled.answers, *proposal.answers))

    def _edits(
        self, map: ContextMap, run: FinishedRun, fact: MapEdited, proposed: Sequence[MapEdit]
    ) -> list[MapEdit]:
        """Return all edits: proposed ones, evictions, and lines of code."""
        tagged, most = edited(map, fact), self.settings.item_tokens
        if self.embedder:
            from backcast.engine.memory.mapping.merging import merged  # of the extra 'semantic'

            proposed = merged(proposed, tagged, self.embedder, self.settings.merge)
        edits = [guarded(edit, tagged, self.count, most) for edit in proposed]
        after = edited(map, fact.model_copy(update={"edits": tuple(edits)}))
        share = int(self.tokens * self.settings.others)
        # All other items may use the room that the lines leave free.
        free = self.tokens - self.lines.needed(run, after, self.tokens, self.settings)
        edits += self.evictor.evict(after, max(share, free), self.settings)
        after = edited(map, fact.model_copy(update={"edits": tuple(edits)}))
        return [*edits, *self.lines.edits(run, after, self.tokens, self.settings)]

    def _record(
        self, fact: MapEdited, edits: Sequence[MapEdit], answers: Sequence[MapAnswered]
    ) -> Update:
        """Return the fact with its edits and answers, and the bodies that it names."""
        policy = Blob(self.settings.model_dump_json().encode())
        # JSON can write halves of surrogate pairs, which UTF-8 cannot encode.
        bodies = [Blob(answer.text.encode(errors="surrogatepass")) for answer in answers]
        update = {
            "edits": tuple(edits),
            "policy": policy.ref,
            "answers": tuple(
                MapAnswer(
                    role=answer.role,
                    text=body.ref,
                    prompt_tokens=answer.prompt_tokens,
                    tokens=answer.tokens,
                    seconds=answer.seconds,
                )
                for answer, body in zip(answers, bodies, strict=True)
            ),
        }
        return Update(fact.model_copy(update=update), (policy, *bodies))

    @property
    def asks(self) -> bool:
        """Whether a model is asked."""
        return "model" in (self.settings.distiller, self.settings.cartographer)

    def evolves(self, map: ContextMap, run: FinishedRun) -> bool:
        """Return whether a run may edit the map: a frozen one only for stale items, if at all."""
        most = self.settings.evolve
        if not most or map.updates < most:
            return True
        return self.settings.reopen and any(
            run.moved(map.items[item]) for item in sorted(map.items)
        )


def _needed(model: Model | None, role: str) -> Model:
    if model is None:
        raise InputError(
            f"the policy's map.{role}: needed a model, found none: name one by --model"
        )
    return model


def guarded(edit: MapEdit, map: ContextMap, count: Tokens, most: int) -> MapEdit:
    """Return an edit as it is recorded: a forbidden one is refused, with the reason.

    `most` is the token limit of an item.
    """
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
