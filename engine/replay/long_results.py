"""Long results of an agent's run, with what its later actions used of each and of nothing else.

A thing counts where a long result shows it and no shorter part of the prompt does, once for each
action that used it: where a compressed form does not show it either, that is a failure of the form.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from backcast.domain.action_evidence import ActionEvidence, ShownText, evidence_in, shown_in
from backcast.domain.compression import CompressedText, compressed
from backcast.domain.compression_settings import CompressionSettings
from backcast.domain.histories import asked_at
from backcast.domain.message_parts import RESULT, Count, MessagePart
from backcast.domain.text_request import TextRequest
from backcast.engine.log.store import EventStore
from backcast.engine.replay.agent_prompts import agent_prompts


class LongResult(NamedTuple):
    """A long result, what was asked when it came, and what was used of it."""

    run: str
    text: str
    tokens: int
    request: TextRequest
    used: tuple[ActionEvidence, ...]
    "Each thing as often as an action used it."

    def short(self, settings: CompressionSettings, count: Count) -> CompressedText:
        """Return it as some settings compress it."""
        return compressed(self.text, self.request, settings, count, tokens=self.tokens)


class KeptEvidence(NamedTuple):
    """What short forms of results show of what was used."""

    used: int = 0
    shown: int = 0
    before: int = 0
    "Tokens of the results."
    after: int = 0

    @property
    def recall(self) -> float:
        """Percent of what was used that is shown."""
        return 100 * self.shown / self.used if self.used else 100.0


def long_results(store: EventStore, task: str, over: int, count: Count) -> list[LongResult]:
    """Return the results of more tokens than `over` in a run, each once, in order."""
    counted, seen = lru_cache(100_000)(count), lru_cache(8_192)(shown_in)
    found: dict[tuple[int, str, str], LongResult] = {}
    for prompt in agent_prompts(store, task, counted):
        used = frozenset(thing for text in prompt.action for thing in evidence_in(text))
        long = list[tuple[int, MessagePart]]()
        for place, part in enumerate(prompt.parts):
            if part.kind == RESULT and part.tokens > over:
                long.append((place, part))
            elif used:
                shown = seen(part.text)
                used = frozenset(thing for thing in used if not shown.shows(thing))
        for place, part in long:
            key = (part.turn, part.call, part.ref or part.text[:200])
            result = found.get(key)
            if result is None:
                request = asked_at(prompt.parts, place)
                result = LongResult(task, part.text, part.tokens, request, ())
            shown = seen(part.text)
            more = tuple(sorted(thing for thing in used if shown.shows(thing)))
            found[key] = result._replace(used=(*result.used, *more))
    return list(found.values())


def kept_evidence(
    results: Sequence[LongResult], settings: CompressionSettings, count: Count
) -> KeptEvidence:
    """Return what the short forms of some results show of what was used."""
    shown = before = after = 0
    for result in results:
        short = result.short(settings, count)
        form = shown_in(short.text)
        shown += sum(form.shows(thing) for thing in result.used)
        before, after = before + result.tokens, after + short.tokens
    return KeptEvidence(sum(len(result.used) for result in results), shown, before, after)


def dropped_lines(
    result: LongResult, settings: CompressionSettings, count: Count
) -> list[tuple[int, ActionEvidence]]:
    """Return the lines that were left out and that show what was used, by number from 1."""
    short = result.short(settings, count)
    if not short.state:
        return []
    form = shown_in(short.text)
    missing = [thing for thing in dict.fromkeys(result.used) if not form.shows(thing)]
    lines = result.text.split("\n")
    found = list[tuple[int, ActionEvidence]]()
    for first, last in short.dropped if missing else ():
        for number in range(first, min(last, len(lines)) + 1):
            shown: ShownText = shown_in(lines[number - 1])
            found += [(number, thing) for thing in missing if shown.shows(thing)]
    return found
