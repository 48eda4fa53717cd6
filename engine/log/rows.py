"""Facts as rows of the database, and rows as events."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from backcast.domain.errors import InputError
from backcast.domain.events import Claim, WorkflowEvent
from backcast.engine.log.codec import Codec, from_microseconds, to_microseconds
from backcast.engine.log.packing import PACKED_FROM, packed
from backcast.engine.log.recorder import NewRow, Row

MAX_BODY = 16 * 2**20
"Bytes of one fact's JSON; larger bodies belong in blobs."

_new = tuple.__new__  # makes an event in a third of the time of its own constructor


class Damage(NamedTuple):
    """A row that cannot be read as it was written."""

    position: int
    task_id: str
    reason: str

    def __str__(self) -> str:
        return f"event {self.position} (task {self.task_id!r}): {self.reason}"


class DamageReporter:
    """A reporter that reports each damaged row once, however often it is read."""

    def __init__(self, tell: Callable[[Damage], None]) -> None:
        self.tell = tell
        self.reported: set[Damage] = set()

    def __call__(self, damage: Damage) -> None:
        """Report a damaged row, unless it was reported before."""
        if damage not in self.reported:
            self.reported.add(damage)
            self.tell(damage)


def row_of(codec: Codec, task_id: str, version: int, claim: Claim) -> NewRow:
    """Return a claim as a row; `InputError` if it cannot be stored."""
    return rows_of(codec, task_id, version - 1, [claim])[0]


def rows_of(codec: Codec, task_id: str, after: int, claims: Sequence[Claim]) -> list[NewRow]:
    """Return claims to a task as rows; `InputError` if one cannot be stored."""
    rows = []
    for version, (fact, timestamp, writer, causes) in enumerate(claims, after + 1):
        try:
            topic, body = codec.encode(fact)
            time_us = to_microseconds(timestamp) if timestamp else None
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"task {task_id!r}: cannot be written: {reason}") from None
        writer, because = writer or "", _joined(task_id, version, causes) if causes else ""
        if not task_id or "\0" in task_id or "\0" in writer or "\0" in topic:
            raise InputError(
                f"needed a task that is not empty, and task, writer and type without NUL,"
                f" found {task_id!r}, {writer!r}, {topic!r}"
            )
        if len(body) > MAX_BODY:
            raise InputError(
                f"task {task_id!r}: needed a {topic} of at most {MAX_BODY:,} bytes,"
                f" found {len(body):,}: large bodies belong in blobs"
            )
        if len(body) >= PACKED_FROM:
            body = packed(body)
        rows.append((task_id, version, topic, time_us, writer, because, body))
    return rows


def _joined(task_id: str, version: int, causes: tuple[int, ...]) -> str:
    """Return causes as one text; `InputError` if one of them is no earlier version."""
    because = str(causes[0])
    first = last = causes[0]
    if len(causes) > 1:
        because = ",".join(map(str, causes))
        first, last = min(causes), max(causes)
    if first < 1 or last >= version:
        raise InputError(
            f"task {task_id!r}: because: needed versions from 1 to {version - 1}, found {because}"
        )
    return because


def made_of(rows: Sequence[Row], claims: Sequence[Claim]) -> list[WorkflowEvent]:
    """Return rows as events, with the facts that they were made of."""
    last_us, recorded_at = 0, from_microseconds(0)
    events = []
    for row, (fact, timestamp, _, causes) in zip(rows, claims, strict=True):
        position, task_id, version, _, time_us, recorded_us, writer, _, _, _ = row
        if recorded_us != last_us:
            last_us, recorded_at = recorded_us, from_microseconds(recorded_us)
        if timestamp is None:
            timestamp = recorded_at if time_us == recorded_us else from_microseconds(time_us)
        fields = position, task_id, version, fact, timestamp, recorded_at, writer, causes or ()
        events.append(_new(WorkflowEvent, fields))
    return events


def events_of(
    rows: Sequence[Row], codec: Codec, report: Callable[[Damage], None]
) -> Iterator[WorkflowEvent]:
    """Yield rows as events, with facts decoded from their bodies; report damaged rows."""
    decode = codec.decode
    last_us = last_time_us = 0
    recorded_at = timestamp = from_microseconds(0)
    for row in rows:
        position, task_id, version, topic, time_us, recorded_us, writer, causes, check, body = row
        head = (
            f"{position}\0{task_id}\0{version}\0{topic}\0{time_us}\0{recorded_us}\0"
            f"{writer}\0{causes}\0"
        )
        # checksum_of, in line
        if type(body) is not bytes or xxh3_64_intdigest(head.encode() + body) >> 1 != check:
            report(Damage(position, task_id, "its bytes are not those that were written"))
            continue
        try:
            fact = decode(topic, body)
        except (ValueError, InputError) as error:
            report(Damage(position, task_id, str(error).splitlines()[0]))
            continue
        if recorded_us != last_us:
            last_us, recorded_at = recorded_us, from_microseconds(recorded_us)
        if time_us != last_time_us:
            last_time_us, timestamp = time_us, from_microseconds(time_us)
        because: tuple[int, ...] = ()
        if causes:
            because = tuple(map(int, causes.split(","))) if "," in causes else (int(causes),)
        fields = position, task_id, version, fact, timestamp, recorded_at, writer, because
        yield _new(WorkflowEvent, fields)
