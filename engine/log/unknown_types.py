"""Which events of a log are of types that this program does not know?

They are kept and written again as they came, but no prompt shows what they say. Records that an
importer keeps as they were are no such events: their types begin as it names them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from backcast.domain.fact_types import FACTS
from backcast.engine.log.importers.versions import prefixes
from backcast.engine.log.store import EventStore

EXCHANGE, REDACTED = "HTTP_EXCHANGE", "REDACTED"
"Of what asks no model, as a proxy keeps it, and of what was struck out: facts without a form."
LAST = 2**31 - 1
"More than any version."
NAMED = 6
"Types that a line names."


def unknown_types(
    store: EventStore, tasks: Iterable[str], last: int | None = None
) -> dict[str, int]:
    """Return how many events of some tasks, each up to version `last`, are of unknown types.

    By type, sorted; of a known type in a newer form, as `CHECKS_RAN:2`.
    """
    counts = Counter[str]()
    until = LAST if last is None else last
    for task in tasks:
        for topic, count in store.recorder.all(
            "SELECT topic, COUNT(*) FROM events WHERE task_id=? AND version<=? GROUP BY topic",
            task, until,
        ):  # fmt: skip
            counts[str(topic)] += count
    odd = {topic: count for topic, count in counts.items() if not _known(topic)}
    if not odd:
        return {}
    begin = tuple(f"{prefix}_" for prefix in prefixes())
    return {
        topic.removesuffix(":1"): odd[topic] for topic in sorted(odd) if not topic.startswith(begin)
    }


def counted_types(counts: Mapping[str, int]) -> str:
    """Return unknown types in words.

    >>> counted_types({"CHECKS_RUN": 16, "HAIR_CUT": 2})
    '18 events of unknown types: 16 CHECKS_RUN, 2 HAIR_CUT'
    """
    total = sum(counts.values())
    named = [f"{count} {name}" if len(counts) > 1 else name for name, count in counts.items()]
    more = ", ..." if named[NAMED:] else ""
    events = "1 event of an unknown type" if total == 1 else f"{total:,} events of unknown types"
    return f"{events}: {', '.join(named[:NAMED])}{more}"


def _known(topic: str) -> bool:
    name, _, schema = topic.rpartition(":")
    if name in (EXCHANGE, REDACTED):
        return True
    return name in FACTS and schema.isdigit() and int(schema) <= FACTS[name].schema_version
