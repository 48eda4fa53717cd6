"""Items of the last prompt that are shown as they were, so that a model need not read them again.

Only a prompt of the same request counts: about the same target, or where none is named of the same
question, and chosen by the same settings. What another policy chose would pass for this one's.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from backcast.domain.context import Candidate, Item
from backcast.domain.errors import DamagedError, InputError
from backcast.domain.policy import ADDED, COVERAGE, STABLE, Policy
from backcast.engine.context.module_order import ModuleOrder
from backcast.engine.context.policies import policy_of
from backcast.engine.context.request import Request
from backcast.engine.context.sources import Read
from backcast.engine.log.blobs import ref_of
from backcast.projections import prompts

ALIKE = {"name": "", "version": 1, "omissions": 0}
"Settings that choose nothing of a prompt."


class Retained(NamedTuple):
    """How an item was shown in the prompt before, and is shown again."""

    place: int
    section: str
    level: int


class Retention:
    """Finds what the prompts of one policy show again."""

    def __init__(self, policy: Policy, read: Read) -> None:
        self._policy, self._read = policy, read
        self._settings = policy.model_copy(update=ALIKE)
        self._same: dict[str, bool] = {}
        "Whether a recorded policy chooses as this one does, by its blob."

    def retained(
        self, before: prompts.State, request: Request, offered: Sequence[Candidate],
        modules: ModuleOrder | None,
    ) -> dict[str, Retained]:  # fmt: skip
        """Return the nodes of the last prompt of the request that can be shown as they were.

        Only stable sections count; nothing is retained where less than half of them remains.
        """
        if not (self._policy.keep and before.version and self._follows(before, request)):
            return {}
        stable, by_node = (*STABLE, ADDED), {candidate.node: candidate for candidate in offered}
        parts = [part for part in before.parts if part.section in stable]
        retained = {}
        for place, part in enumerate(parts):
            candidate = by_node.get(part.node)
            for number, level in enumerate(candidate.levels if candidate else ()):
                shown = modules.forms(candidate, level) if modules and candidate else [level.text]
                same = level.name == part.level and any(_ref(text) == part.text for text in shown)
                # What is wanted is shown in full now, if it was shown by less.
                if candidate and same and not (candidate.wanted and number):
                    retained[part.node] = Retained(place, part.section, number)
        return retained if 2 * len(retained) >= len(parts) else {}

    def _follows(self, before: prompts.State, request: Request) -> bool:
        """Return whether the prompt before was one of this request, by these settings."""
        if before.target != request.target or not (request.target or before.query == request.query):
            return False
        if before.policy not in self._same:
            self._same[before.policy] = self._is_alike(before.policy)
        return self._same[before.policy]

    def _is_alike(self, recorded: str) -> bool:
        if recorded == ref_of(self._policy.body):
            return True
        with suppress(DamagedError, InputError):
            other = policy_of(self._read(recorded)) if recorded else COVERAGE
            return other.model_copy(update=ALIKE) == self._settings
        return False


def placed(item: Item, retained: Mapping[str, Retained]) -> Item:
    """Return an item in the section where it stood; a new stable one is added behind those."""
    section = ADDED if retained and item.section in STABLE else item.section
    if item.node in retained:
        section = retained[item.node].section
    return item if section == item.section else item._replace(section=section)


def _ref(text: str) -> str:
    return ref_of(text.encode(errors="surrogatepass"))
