"""What agents' actions used of long results alone: how much of it is left in shorter forms?

A thing counts where a long result shows it and nothing else in the prompt does. Each form of a
result has the tokens of our own, so that only the choice of lines is compared.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from backcast.domain.action_evidence import ActionEvidence, evidence_in, shown_in
from backcast.domain.compression_settings import CompressionSettings
from backcast.domain.histories import compressed_results
from backcast.engine.log.store import EventStore
from backcast.engine.replay.agent_prompts import agent_prompts, has_messages

Count = Callable[[str], int]
Forms = Mapping[str, str]


def head_and_tail(text: str, tokens: int, count: Count) -> str:
    """Return the first and last lines of a text within some tokens, half of them each."""
    lines = text.split("\n")
    first, room = 0, (tokens - 8) // 2
    while first < len(lines) and (size := count(lines[first][:4_000]) + 1) <= room:
        room -= size
        first += 1
    last, room = len(lines), (tokens - 8) // 2
    while last > first and (size := count(lines[last - 1][:4_000]) + 1) <= room:
        room -= size
        last -= 1
    if first + len(lines) - last == 0:  # one line is longer than all of it
        share = tokens / max(1, count(text)) / 2
        cut = int(len(text) * share)
        return f"{text[:cut]}\n[…]\n{text[len(text) - cut :]}"
    return "\n".join((*lines[:first], f"[… {last - first:,} lines]", *lines[last:]))


def recalled(
    folder: Path, settings: CompressionSettings, count: Count
) -> Iterator[tuple[str, Counter[str], int, int]]:
    """Yield each run with what it used of long results, and how much of that each form shows."""
    with EventStore.open(f"sqlite:///{folder}") as store:
        for task in store.task_ids() if hasattr(store, "task_ids") else store.tasks():
            if has_messages(store, task):
                yield _run(store, task, settings, count)


def _run(
    store: EventStore, task: str, settings: CompressionSettings, count: Count
) -> tuple[str, Counter[str], int, int]:
    counted = lru_cache(None)(count)
    found, before, after = Counter[str](), 0, 0
    seen = dict[str, Forms]()
    for prompt in agent_prompts(store, task, counted):
        used = frozenset(thing for text in prompt.action for thing in evidence_in(text))
        forms = list[Forms]()
        for part, short in zip(
            prompt.parts, compressed_results(prompt.parts, settings, counted), strict=True
        ):
            if part.text == short.text:
                used = used - _in(part.text)
                continue
            if part.text not in seen:
                seen[part.text] = {
                    "full": part.text,
                    "ours": short.text,
                    "head and tail": head_and_tail(part.text, short.tokens, counted),
                }
                before, after = before + part.tokens, after + short.tokens
            forms.append(seen[part.text])
        for name in ("full", "ours", "head and tail"):
            shown = {thing for form in forms for thing in used if _shows(form[name], thing)}
            found[name] += len(shown)
    return task, found, before, after


@lru_cache(8192)
def _shown(text: str):
    return shown_in(text)


def _shows(text: str, thing: ActionEvidence) -> bool:
    return _shown(text).shows(thing)


class _in:
    def __init__(self, text: str) -> None:
        self.text = text

    def __rsub__(self, used: frozenset[ActionEvidence]) -> frozenset[ActionEvidence]:
        return frozenset(thing for thing in used if not _shows(self.text, thing))
