"""Try history policies on an agent's recorded prompts: tokens, prefix kept, and evidence recall.

What a prompt would have been, never what a model would have answered to it: the recorded action
stands for the next step, whatever the policy shows.

Evidence recall: what the next action used (see `domain.action_evidence`) and the recorded prompt
showed, but neither in what was said before the first answer, which every policy shows, nor in the
last results. The share of it that the prompt under the policy still shows. What stood in the last
results is counted apart, as only offloading takes from it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from backcast.domain.action_evidence import (
    LINE,
    PATH,
    ActionEvidence,
    ShownText,
    evidence_in,
    shown_in,
)
from backcast.domain.histories import last_turn, shaped
from backcast.domain.message_parts import RESULT, SUMMARY, Count, MessagePart, total
from backcast.domain.message_settings import MessageSettings
from backcast.engine.log.store import EventStore
from backcast.engine.replay.agent_prompt import AgentPrompt
from backcast.engine.replay.agent_prompts import agent_prompts


class HistoryPolicy(NamedTuple):
    """A policy that is tried."""

    name: str
    settings: MessageSettings


class HistoryStep(NamedTuple):
    """A prompt under a policy."""

    tokens: int
    kept: int
    "Tokens of the leading parts that the prompt before it, under the same policy, began with."
    again: int
    "Tokens behind these that the prompt before had told already, in this form or another."
    shown: int
    "Of the earlier evidence, what it shows."
    last_shown: int
    "Of the evidence in the last results, what it shows."
    lost: tuple[ActionEvidence, ...]
    "All the evidence that it does not show."


class TriedPrompt(NamedTuple):
    """A prompt under each policy."""

    version: int
    follows: bool
    "Whether a prompt came before it in its conversation."
    used: int
    "Earlier evidence that the next action used."
    last_used: int
    "Evidence of the last results that it used."
    steps: tuple[HistoryStep, ...]


class TriedRun(NamedTuple):
    """A run under each policy."""

    name: str
    "Its task, behind its log where another one has the same."
    formed: bool
    prompts: tuple[TriedPrompt, ...]
    unread: int = 0
    "Requests whose texts are masked or gone."
    cut: bool = False
    "Whether time was over before its last prompt."


class NextUse(NamedTuple):
    """What the answer to a prompt used of it, and what another form of the prompt lacks of that."""

    used: int
    "Things that stood in earlier turns."
    last_used: int
    "Things that stood in the last results."
    lost: tuple[ActionEvidence, ...]
    "All of them that the other form does not show."


class _Counter:
    """Counts each text once."""

    def __init__(self, count: Count) -> None:
        self._count = count
        self._known: dict[str, int] = {}
        self._shown: dict[str, ShownText] = {}

    def count(self, text: str) -> int:
        """Return the tokens of a text."""
        if text not in self._known:
            self._known[text] = self._count(text)
        return self._known[text]

    def shown(self, part: MessagePart) -> ShownText:
        """Return what a part shows."""
        if part.text not in self._shown:
            self._shown[part.text] = shown_in(part.text)
        return self._shown[part.text]


class _LastPrompt(NamedTuple):
    """The prompt before, in full and under each policy."""

    parts: tuple[MessagePart, ...]
    shown: tuple[tuple[MessagePart, ...], ...]
    compacted: tuple[int, ...]


def tried(
    store: EventStore, task_id: str, policies: Sequence[HistoryPolicy], count: Count,
    is_over: Callable[[], bool] = lambda: False,
) -> TriedRun:  # fmt: skip
    """Try policies on a task's prompts, until `is_over` says that time is."""
    counter = _Counter(count)
    threads: dict[str, _LastPrompt] = {}
    found, unread, formed, cut = list[TriedPrompt](), list[int](), False, False
    for prompt in agent_prompts(store, task_id, counter.count, unread):
        if cut := bool(found) and is_over():
            break
        formed = formed or prompt.formed
        before = threads.get(prompt.thread)
        result, threads[prompt.thread] = _tried(prompt, before, policies, counter)
        found.append(result)
    return TriedRun(task_id, formed, tuple(found), len(unread), cut)


def _tried(
    prompt: AgentPrompt, before: _LastPrompt | None, policies: Sequence[HistoryPolicy],
    counter: _Counter,
) -> tuple[TriedPrompt, _LastPrompt]:  # fmt: skip
    earlier, latest = used_evidence(prompt, counter)
    known = {_place(part) for part in before.parts} if before else set()
    steps, shown, compacted = list[HistoryStep](), list[tuple[MessagePart, ...]](), list[int]()
    for number, policy in enumerate(policies):
        point = before.compacted[number] if before else 0
        history = shaped(prompt.parts, policy.settings, counter.count, point)
        kept = _shared(before.shown[number], history.parts) if before else 0
        behind = history.parts[kept:]
        repeated = [part for part in behind if part.kind == SUMMARY or _place(part) in known]
        missing = _missing(earlier | latest, history.parts, counter)
        steps.append(
            HistoryStep(
                total(history.parts), total(history.parts[:kept]), total(repeated),
                len(earlier - missing), len(latest - missing), tuple(sorted(missing)),
            )
        )  # fmt: skip
        shown.append(history.parts)
        compacted.append(history.compacted)
    result = TriedPrompt(
        prompt.version, before is not None, len(earlier), len(latest), tuple(steps)
    )
    return result, _LastPrompt(prompt.parts, tuple(shown), tuple(compacted))


def next_use(prompt: AgentPrompt, shown: Sequence[MessagePart], count: Count) -> NextUse:
    """Return what the answer to a prompt used, held against the prompt in another form."""
    counter = _Counter(count)
    earlier, latest = used_evidence(prompt, counter)
    lost = _missing(earlier | latest, shown, counter)
    return NextUse(len(earlier), len(latest), tuple(sorted(lost)))


def used_evidence(
    prompt: AgentPrompt, counter: _Counter
) -> tuple[frozenset[ActionEvidence], frozenset[ActionEvidence]]:
    """Return what the action used of the turns before, and of the last results."""
    used = frozenset(thing for text in prompt.action for thing in evidence_in(text))
    last = last_turn(prompt.parts)
    used = _missing(used, (part for part in prompt.parts if not part.turn), counter)
    results = [part for part in prompt.parts if part.turn == last and part.kind == RESULT]
    rest = _missing(used, results, counter) if last else used
    latest = used - rest
    return rest - _missing(rest, prompt.parts, counter), latest


def _missing(
    used: frozenset[ActionEvidence], parts: Iterable[MessagePart], counter: _Counter
) -> frozenset[ActionEvidence]:
    """Return the evidence that no part shows."""
    paths = {thing.text for thing in used if thing.kind == PATH}
    lines = {thing.text for thing in used if thing.kind == LINE}
    words = {thing.text for thing in used if thing.kind not in (PATH, LINE)}
    for part in parts:
        if not (paths or lines or words):
            return frozenset()
        shown = counter.shown(part)
        # The few that are left are looked up: `-=` would go through all that is shown.
        paths, lines, words = paths - shown.paths, lines - shown.lines, words - shown.words
    lacking = {PATH: paths, LINE: lines}
    return frozenset(thing for thing in used if thing.text in lacking.get(thing.kind, words))


def _place(part: MessagePart) -> tuple[int, str, str, str]:
    """Return what tells a part from others whatever it is shown as."""
    return part.turn, part.kind, part.role, part.call


def _shared(before: Sequence[MessagePart], after: Sequence[MessagePart]) -> int:
    """Return how many leading parts two prompts share."""
    count = 0
    for old, new in zip(before, after, strict=False):
        if (old.role, old.kind, old.tool, old.text) != (new.role, new.kind, new.tool, new.text):
            break
        count += 1
    return count
