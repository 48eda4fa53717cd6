"""How many parts of a recorded prompt are contents of files that a later part has superseded?"""

from backcast.domain.errors import DamagedError
from backcast.domain.histories import latest_reads
from backcast.domain.message_parts import SUPERSEDED
from backcast.engine.log.exchanges.requests import RecordedRequest
from backcast.engine.log.store import EventStore
from backcast.engine.replay.request_parts import KeptTexts, RequestPartsReader

LARGEST = 4 * 2**20
"Bytes of a request that is looked into while others wait."


def stale_parts(store: EventStore, found: RecordedRequest) -> int | None:
    """Return how many are; None where that cannot be told: no part is known to read a file."""
    if found.request.size > LARGEST:
        return None
    try:
        # Whether a line in its place would be shorter is no matter here: so each counts as one.
        reader = RequestPartsReader(KeptTexts(store), lambda part, _: part._replace(tokens=1))
        parts = reader.parts(found)
    except (ValueError, TypeError, AttributeError, RecursionError, DamagedError):
        return None  # a body that is not as its interface has it
    if not any(part.reads for part in parts):
        return None
    return sum(part.state == SUPERSEDED for part in latest_reads(parts, lambda text: 0))
