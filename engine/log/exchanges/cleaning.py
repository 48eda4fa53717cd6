"""Facts of texts that cannot be written: half a surrogate, as JSON may name one, has no bytes."""

from typing import Any

from backcast.domain.errors import InputError
from backcast.domain.events import Claim
from backcast.engine.log.recorder import NewRow
from backcast.engine.log.store import EventStore


def row_for(store: EventStore, task: str, version: int, claim: Claim) -> NewRow:
    """Return a claim as a row; what of its texts cannot be written becomes U+FFFD."""
    try:
        return store.row(task, version, claim)
    except InputError:
        fact = type(claim.fact).model_validate(_clean(claim.fact.model_dump(exclude_unset=True)))
        return store.row(task, version, claim._replace(fact=fact))


def _clean(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case dict():
            return {_clean(key): _clean(item) for key, item in value.items()}
        case list() | tuple():
            return [_clean(item) for item in value]
    return value
