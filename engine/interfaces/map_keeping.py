"""Update a context map by a command: choose the updater, read runs, and report the result."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple

from backcast.domain.budget import BOUND, MAP_TOKENS
from backcast.domain.errors import ModelError
from backcast.domain.memory_events import MapEdited
from backcast.domain.policy import MapSettings
from backcast.engine.context.policies import policy_named
from backcast.engine.context.search.embedders import sentence_embedder
from backcast.engine.history.maps import EDITS
from backcast.engine.history.snapshots import state_at
from backcast.engine.interfaces.asked import model_asked
from backcast.engine.log.store import EventStore
from backcast.engine.memory.mapping.runs import BEGIN, begin_anew, ended, keep_map, unread
from backcast.engine.memory.mapping.updating import MapUpdater
from backcast.engine.models.tokenizers import Tokenizer, counted_by, tokenizer_of
from backcast.projections import progress
from backcast.projections.context_map import ContextMap

RUNS = 100
"""Runs that are read where nothing says how many, the newest ones. What lies further back hardly
weighs, and to read thousands of runs takes hours."""
REASONS = 3
"Reasons of refused edits that are named."


def counting(tokens: int | None = None, tokenizer: str | None = None) -> tuple[int, Tokenizer]:
    """Return the tokens that a map may have, and the tokenizer that counts them.

    Without a name that is Mistral's, or an upper bound where Mistral's is not installed.
    """
    counter = tokenizer_of(tokenizer or counted_by("mistral-v3"))
    return tokens or MAP_TOKENS * (1 if counter.exact else BOUND), counter


def keeping_of(
    policy: str, tokens: int, tokenizer: Tokenizer, model: str | None, profile: str | None
) -> MapUpdater:
    """Return the updater for a policy; a named model takes both roles if the policy names none."""
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
    """The result of an update."""

    map: ContextMap | None
    "None where no run remained to be read."
    runs: int
    edits: tuple[MapEdited, ...]
    "The recorded edits, with one before the first run where the map begins."
    settings: MapSettings
    passed_over: int = 0
    "Older runs that no update has read, nor ever will but with `anew`."

    @property
    def reasons(self) -> Counter[str]:
        """The number of refused edits, by reason."""
        return Counter(edit.refused for fact in self.edits for edit in fact.edits if edit.refused)

    @property
    def refused(self) -> int:
        """Number of edits that were refused."""
        return self.reasons.total()

    @property
    def asked(self) -> int:
        """Number of calls of a model."""
        return sum(len(fact.answers) for fact in self.edits)

    @property
    def tokens(self) -> int:
        """Tokens of prompts and answers, as far as the model reports them."""
        answers = [one for fact in self.edits for one in fact.answers]
        return sum((one.prompt_tokens or 0) + (one.tokens or 0) for one in answers)

    @property
    def unchanged(self) -> int:
        """Number of runs that were read and left the map as it was."""
        return self.runs - sum(fact.run != BEGIN for fact in self.edits)

    def plain(self) -> dict[str, Any]:
        """Return the result as JSON."""
        map = self.map or ContextMap()
        return {
            "context": map.context, "runs": self.runs, "passed_over": self.passed_over,
            "edits": len(self.edits),
            "updates": map.updates, "items": len(map.items), "refused": self.refused,
            "asked": self.asked, "tokens": self.tokens,
        }  # fmt: skip

    def __str__(self) -> str:
        map = self.map or ContextMap()
        updates = f"{map.updates} update{'s' * (map.updates != 1)}"
        if any(fact.run == BEGIN for fact in self.edits):
            updates += ", the first of them of the code as it stood before these runs"
        parts = [f"map of {map.context}: {len(map.items)} items after {updates}"]
        if self.unchanged:
            parts.append(
                f"{self.unchanged} of {self.runs} runs left it as it was: it is frozen"
                f" (evolve = {self.settings.evolve})"
            )
        if self.asked:
            parts.append(f"a model was asked {self.asked} times, {self.tokens:,} tokens")
        if self.refused:
            ranked = sorted(self.reasons.items(), key=lambda pair: (-pair[1], pair[0]))
            why = [f"{reason} ({count})" for reason, count in ranked[:REASONS]]
            why += [f"{len(ranked) - REASONS} more reasons"] * (len(ranked) > REASONS)
            parts.append(f"{self.refused} edits were refused: {'; '.join(why)}")
        return "; ".join(parts)


def note_of_open(store: EventStore, task: str) -> str:
    """Return what to say of a task that has not ended; empty for another, and for a history."""
    if next(store.read(task, types=["COMMITTED"]), None):
        return ""
    status = state_at(store, progress, task).status
    if status in progress.ENDED:
        return ""
    return (
        f"note: task {task} is {status}, not complete: its map is of what has happened so far, and"
        " the same command goes on from there"
    )


def kept(
    store: EventStore, task: str, keeping: MapUpdater, last: int | None, *, anew: bool,
    advancing: Callable[[int, int], Callable[[int], None]],
) -> MapUpdate:  # fmt: skip
    """Update the map of a task's context by its newest `last` runs, or `RUNS`.

    `advancing` takes the number of runs, and that of those passed over, and returns the function to
    call after each run. `ModelError` says how far the update came where a model gives no answer.
    """
    stood, made, map = store.version(task), 0, None
    newest = last or RUNS
    older = len(ended(store, task) if anew else unread(store, task)) - newest
    runs = begin_anew(store, task, newest) if anew else unread(store, task, newest)
    advance = advancing(len(runs), max(older, 0))
    try:
        with closing(keep_map(store, task, runs, keeping)) as updates:
            for updated in updates:
                map = updated
                made += 1
                advance(1)
    except ModelError as error:
        again = "the same command without --anew" if anew else "the same command"
        text = f"{error}; the map as of {made} runs stands, {again} goes on from there"
        raise ModelError(text if made or anew else str(error), error.kind) from None
    facts = (event.fact for event in store.read(task, after=stood, types=EDITS))
    edits = tuple(one for one in facts if isinstance(one, MapEdited) and not one.anew)
    return MapUpdate(map, len(runs), edits, keeping.settings, max(older, 0))
