"""The prompts of a task in a row: what each shares with the last, and what the server kept."""

from collections.abc import Iterator
from typing import NamedTuple

from backcast.engine.log.exchanges.requests import RecordedRequest, RequestReader
from backcast.engine.log.store import EventStore
from backcast.engine.replay.foreign_prompts import Count, PrefixBreak, compared, reply_to


class PrefixRow(NamedTuple):
    """A prompt of a conversation, beside the one before it."""

    version: int
    tokens: int | None
    "Of the whole prompt: as its server counted."
    foretold: int | None
    "Leading tokens that it shares with the prompt before."
    kept: int | None
    "Tokens that the server did not read again."
    broken: PrefixBreak | None
    "Where it stops being the prompt before; None where it goes on from that, or is the first."
    first: bool = False

    @property
    def agrees(self) -> bool | None:
        """Whether the server kept at least what was foretold; None where one is not known.

        It keeps more where what it answered stands in the next prompt as it wrote it.
        """
        if self.foretold is None or self.kept is None:
            return None
        return self.kept >= self.foretold


def prefix_rows(store: EventStore, task_id: str, last: int, count: Count) -> Iterator[PrefixRow]:
    """Yield the prompts of a task's conversation up to an event."""
    before: RecordedRequest | None = None
    for found in RequestReader(store, task_id).all():
        if found.version > last or found.request.purpose:
            continue
        reply = reply_to(store, task_id, found.version)
        tokens = found.fact.tokens or reply.prompt_tokens
        shared = found.fact.shared_prefix
        broken = None
        if before and (shared is None or shared != before.fact.tokens):
            broken = compared(store, task_id, before, found, count).broken
        yield PrefixRow(
            found.version, tokens, shared, reply.cached_tokens, broken, first=before is None
        )
        before = found
