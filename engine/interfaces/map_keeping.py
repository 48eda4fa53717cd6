"""Keeps a map by a command: who does it, what was read, and what that came to."""

from collections.abc import Callable
from typing import Any, NamedTuple

from backcast.domain.budget import BOUND, MAP_TOKENS
from backcast.domain.errors import ModelError
from backcast.domain.events import MapEdited
from backcast.domain.policy import MapSettings
from backcast.engine.context.policies import policy_named
from backcast.engine.context.search.embedders import sentence_embedder
from backcast.engine.history.maps import EDITS
from backcast.engine.interfaces.asked import model_asked
from backcast.engine.log.store import EventStore
from backcast.engine.memory.mapping.runs import BEGIN, begin_anew, keep_map, unread
from backcast.engine.memory.mapping.updating import MapUpdater
from backcast.engine.models.tokenizers import Tokenizer, counted_by, tokenizer_of
from backcast.projections.context_map import ContextMap


def counting(tokens: int | None = None, tokenizer: str | None = None) -> tuple[int, Tokenizer]:
    """The most that a map may have, and who counts that: as Mistral does, or where that is not
    installed a bound."""
    counter = tokenizer_of(tokenizer or counted_by("mistral-v3"))
    return tokens or MAP_TOKENS * (1 if counter.exact else BOUND), counter


def keeping_of(
    policy: str, tokens: int, tokenizer: Tokenizer, model: str | None, profile: str | None
) -> MapUpdater:
    """Who keeps a map by a policy; a model that is named takes both roles, where the policy names
    none."""
    used = policy_named(policy)
    settings = used.map
    if model is not None and "model" not in (settings.distiller, settings.cartographer):
        settings = settings.model_copy(update={"distiller": "model", "cartographer": "model"})
    if not tokenizer.exact:
        settings = settings.model_copy(
            update={"item_tokens": min(BOUND * settings.item_tokens, 1_000)}
        )
    asked = model_asked("--model", model, profile) if model is not None else None
    embedder = sentence_embedder(used.embedder or None) if settings.merge else None
    return MapUpdater.of(settings, tokens, tokenizer.count, asked, embedder)


class MapUpdate(NamedTuple):
    """What an update came to."""

    map: ContextMap | None
    "None where no run was left to be read."
    runs: int
    edits: tuple[MapEdited, ...]
    "After these runs, and before the first where the map begins with it."
    settings: MapSettings

    @property
    def refused(self) -> int:
        """Edits that were not made."""
        return sum(bool(edit.refused) for fact in self.edits for edit in fact.edits)

    @property
    def asked(self) -> int:
        """How often a model was asked."""
        return sum(len(fact.answers) for fact in self.edits)

    @property
    def tokens(self) -> int:
        """Of prompts and answers, as far as the model tells them."""
        answers = [one for fact in self.edits for one in fact.answers]
        return sum((one.prompt_tokens or 0) + (one.tokens or 0) for one in answers)

    @property
    def left(self) -> int:
        """Runs that were read and left the map as it was."""
        return self.runs - sum(fact.run != BEGIN for fact in self.edits)

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        map = self.map or ContextMap()
        return {
            "context": map.context, "runs": self.runs, "edits": len(self.edits),
            "updates": map.updates, "items": len(map.items), "refused": self.refused,
            "asked": self.asked, "tokens": self.tokens,
        }  # fmt: skip

    def __str__(self) -> str:
        map = self.map or ContextMap()
        parts = [f"map of {map.context}: {len(map.items)} items after {map.updates} updates"]
        if self.left:
            parts.append(
                f"{self.left} of {self.runs} runs left it as it was: it is frozen"
                f" (evolve = {self.settings.evolve})"
            )
        if self.asked:
            parts.append(f"a model was asked {self.asked} times, {self.tokens:,} tokens")
        if self.refused:
            parts.append(f"{self.refused} edits were refused: 'backcast log --json' tells why")
        return "; ".join(parts)


def kept(
    store: EventStore, task: str, keeping: MapUpdater, last: int | None, *, anew: bool,
    progress: Callable[[int], Callable[[int], None]],
) -> MapUpdate:  # fmt: skip
    """Update the map of what a task works on; `progress` is told how many runs there are, and gives
    what is told of each. `ModelError` with how far it came, where a model gives no answer."""
    stood, made, map = store.version(task), 0, None
    runs = begin_anew(store, task, last) if anew else unread(store, task, last)
    advance = progress(len(runs))
    try:
        for one in keep_map(store, task, runs, keeping):
            map = one
            made += 1
            advance(1)
    except ModelError as error:
        again = "the same command without --anew" if anew else "the same command"
        told = f"{error}; the map as of {made} runs stands, {again} goes on from there"
        raise ModelError(told if made or anew else str(error), error.kind) from None
    facts = (event.fact for event in store.read(task, after=stood, types=EDITS))
    edits = tuple(one for one in facts if isinstance(one, MapEdited) and not one.anew)
    return MapUpdate(map, len(runs), edits, keeping.settings)
