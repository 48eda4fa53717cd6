"""The note on a policy that weighs ratings which a log does not have: they count for nothing."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from backcast.domain.moment import NOW
from backcast.engine.interfaces.terminal import escaped, message
from backcast.projections.ratings import TYPES

if TYPE_CHECKING:
    from backcast.domain.moment import Moment
    from backcast.domain.policy import Policy
    from backcast.engine.log.store import EventStore


def lacking(
    names: Iterable[str], store: "EventStore", task: str, moment: "Moment" = NOW
) -> list[str]:
    """Return the names of which a task has no rating by a moment."""
    wanted = list(names)
    events = store.read(task, moment=moment, types=TYPES) if wanted else ()
    known = {event.fact.data.get("name") for event in events}
    return [name for name in wanted if name not in known]


def note_lacking(names: Iterable[str], where: str) -> None:
    """Say on stderr which ratings are not there."""
    for name in names:
        message(
            f"note: {where} no rating {escaped(name)!r}: its weight counts for nothing"
            " ('backcast help python' records one)"
        )


def note_unrated(policy: "Policy", store: "EventStore", task: str, moment: "Moment" = NOW) -> None:
    """Say on stderr which ratings a policy weighs that a task does not have at a moment."""
    found = lacking(policy.ratings, store, task, moment)
    note_lacking(found, f"{escaped(task)} has by then")
