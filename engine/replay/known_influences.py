"""What parts of a prompt were worth, as far as kept scores say: nothing is read or built for it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from backcast.domain.errors import BackcastError
from backcast.domain.score_events import Scored
from backcast.engine.log.store import EventStore
from backcast.engine.models.likelihood import LineNats
from backcast.engine.replay.influence import Influence, influences, step_with_outcome
from backcast.engine.replay.kept_scores import ScoreBook, ScoreKey
from backcast.engine.replay.outcomes import outcome_of
from backcast.engine.replay.prompt_variants import PromptPart
from backcast.engine.replay.score_jobs import ScoreJob, StepScore, digest_of_messages


class KnownInfluences(NamedTuple):
    """What `influence` has found of a prompt."""

    model: str
    policy: str
    "The name of the policy whose prompt was read."
    same: bool
    "Whether it was this very prompt; else it was another of the same step."
    sections: Mapping[str, Influence]
    items: Mapping[tuple[str, str], Influence]
    "By node and section."

    def of(self, node: str, section: str, *, alone: bool) -> Influence | None:
        """Return what an item was worth; None where nobody knows.

        An item that is `alone` in its section was left out with that, by the same prompt.
        """
        found = self.items.get((node, section))
        if found is None and alone and not any(where == section for _, where in self.items):
            return self.sections.get(section)
        return found


def known_influences(
    book: ScoreBook, store: EventStore, task_id: str, messages: Sequence[tuple[str, str]], step: int
) -> KnownInfluences | None:
    """Return what kept scores say of a prompt, or of another of its step; None for nothing.

    `step` is 0 where the prompt was never recorded: then only this very prompt counts. Of several
    models that is taken which knows most parts.
    """
    shown = digest_of_messages(messages)
    groups: dict[tuple[ScoreKey, str, int], list[tuple[ScoreKey, Scored]]] = {}
    for key, fact in book.known.items():
        if fact.without is not None and fact.whole and (fact.shown == shown or fact.step == step):
            whole = key._replace(prompt=fact.whole)
            groups.setdefault((whole, fact.shown or "", fact.step or 0), []).append((key, fact))
    order = sorted(groups, key=lambda group: (group[1] != shown, -len(groups[group]), group))
    for whole, digest, version in order:
        before = book.find(whole)
        if before is not None and version:
            parts = [fact for _, fact in groups[whole, digest, version]]
            if found := _found(store, task_id, version, before, parts):
                policy = (parts[0].policy or "").partition(" without ")[0]
                return _sorted(whole.model, policy, digest == shown, found)
    return None


def _found(
    store: EventStore, task_id: str, version: int, whole: Scored, parts: Sequence[Scored]
) -> list[Influence]:
    """Return what some parts were worth; nothing where the step's outcome is another now."""
    try:
        step = step_with_outcome(store, task_id, str(version))
        outcome = outcome_of(step, store.get)
    except BackcastError:
        return []
    every = [whole, *parts]
    if outcome is None or any(len(fact.line_tokens) != len(outcome.new) for fact in every):
        return []
    lines = tuple(
        tuple(LineNats(*pair) for pair in zip(fact.line_tokens, fact.line_nats, strict=True))
        for fact in every
    )
    job = ScoreJob("", task_id, version, "", "", "", outcome, (), ())
    named = [
        PromptPart(
            "item" if fact.within else "section", fact.without or "",
            fact.within or fact.without or "", "", 0,
        )
        for fact in parts
    ]  # fmt: skip
    return influences(StepScore(job, lines), named)


def _sorted(model: str, policy: str, same: bool, found: Sequence[Influence]) -> KnownInfluences:
    sections = {fact.part.section: fact for fact in found if fact.part.kind == "section"}
    items = {
        (fact.part.name, fact.part.section): fact for fact in found if fact.part.kind == "item"
    }
    return KnownInfluences(model, policy, same, sections, items)
