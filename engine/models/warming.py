"""Has a llama-server read what prompts begin with before they are asked, and copy it to slots.

`n_predict: 0` reads and writes nothing. A server that was started with `--slot-save-path` writes
what a slot has read to a file there, and reads it into another slot: the one way by which several
slots come to have one beginning that was read once. Nothing here can fail a call.
"""

import logging
from collections.abc import Sequence
from time import monotonic
from typing import Any, NamedTuple

from backcast.domain.call_events import PrefixWarmed
from backcast.domain.errors import ModelError
from backcast.engine.models import Completion, Limits, Message, Model
from backcast.engine.models.cancelling import Cancellation
from backcast.engine.models.prefixes import (
    PrefixCall,
    SharedPrefix,
    SlotPlan,
    SlotTexts,
    planned,
    shared,
)
from backcast.engine.models.server import ServerModel

log = logging.getLogger("backcast")

SECONDS = 300.0
"The longest that reading a beginning may take."


class AskedPrompt(NamedTuple):
    """A call that is about to be made, as whoever makes it has it."""

    id: int
    messages: Sequence[Message]
    limits: Limits
    tokens: int
    "Of the prompt."


class PlacedCalls(NamedTuple):
    """Where calls are read, and facts of what was read before them."""

    order: tuple[int, ...]
    slots: dict[int, int]
    "By call, for `Limits.slot` and `SideCall.queue`; none where the server chooses."
    facts: list[PrefixWarmed]


class PrefixScheduler:
    """The prefixes of one server's slots. Of any other model it places nothing."""

    def __init__(self, model: Model | None, *, copies: bool = True) -> None:
        """`copies`: whether slots are copied, where the server can do that."""
        self.server = model if isinstance(model, ServerModel) and model.native else None
        self.slots = self.server.slots or 1 if self.server and not self.server.deterministic else 1
        self.known = SlotTexts()
        self.copies = copies and self.slots > 1
        "Whether it can copy slots, as far as is known: a failure tells otherwise for good."
        self._calls: dict[int, tuple[int, PrefixCall]] = {}
        "Calls that were placed and have not ended, with their slots."
        self._copied: dict[int, int] = {}
        "Of these, calls whose slot was given a copy, with its tokens."
        self._answers = _Mean()

    def place(self, prompts: Sequence[AskedPrompt], concurrency: int) -> PlacedCalls:
        """Return where calls are read; what several of them begin with is read at once."""
        calls = [self._call(prompt) for prompt in prompts]
        slots = min(self.slots, concurrency)
        plan = planned(calls, self.known, slots, copies=self.copies)
        facts = list[PrefixWarmed]()
        if plan.read_first and self.server:
            asked = {prompt.id: prompt for prompt in prompts}
            for prefix in plan.read_first:
                if self.copies:
                    facts.append(self._warm(self.server, prefix, asked))
            if not self.copies:  # it had to be tried once
                plan = planned(calls, self.known, slots)
        self._note(plan, calls)
        return PlacedCalls(plan.order, dict(plan.slots), facts)

    def best(self, prompt: AskedPrompt) -> int:
        """Return the slot that has most of a call that is made alone, and note that it reads it."""
        call = self._call(prompt)
        slot = self._slots_by(call.text)[0]
        self._calls[call.id] = slot, call
        return slot

    def spare(self, messages: Sequence[Message]) -> int:
        """Return the slot that a prompt is read into ahead: not that of the last call."""
        last = max(self.known.sent, key=lambda slot: self.known.sent[slot], default=-1)
        text = text_of(messages)
        slot = next(slot for slot in self._slots_by(text) if slot != last)
        self.known = self.known.after(slot, text)._replace(sent=self.known.sent)
        return slot

    def _slots_by(self, text: str) -> list[int]:
        """Return the slots, that which has most of a text first, and then the one idle longest."""
        known = self.known
        return sorted(range(self.slots), key=lambda slot: (
            -shared(known.texts.get(slot, ""), text), known.sent.get(slot, 0), slot
        ))  # fmt: skip

    def ended(self, call: int, answer: Completion | None) -> None:
        """Note how much of a call's prompt its slot had, as the server tells."""
        if answer is not None and answer.tokens is not None:
            self._answers.add(answer.tokens)
        placed = self._calls.pop(call, None)
        if placed is None:
            return
        slot, asked = placed
        cached = answer.cached_tokens if answer else None
        if cached is not None and cached * 2 < self._copied.pop(call, 0) and self.copies:
            # With one buffer for all slots (-kvu) it clears those that are idle.
            log.info("a slot did not keep what was copied to it: no more is copied")
            self.copies = False
        self.known = self.known.told(slot, asked, cached)

    def _call(self, prompt: AskedPrompt) -> PrefixCall:
        answer = min(prompt.limits.max_tokens, self._answers.value or prompt.limits.max_tokens)
        return PrefixCall(prompt.id, text_of(prompt.messages), prompt.tokens, answer)

    def _note(self, plan: SlotPlan, calls: Sequence[PrefixCall]) -> None:
        for call in calls:
            if call.id in plan.slots:
                self._calls[call.id] = plan.slots[call.id], call
        for prefix in plan.read_first:
            given = (call for call in prefix.calls if plan.slots[call] in prefix.copies)
            self._copied |= dict.fromkeys(given, prefix.tokens)

    def _warm(
        self, server: ServerModel, prefix: SharedPrefix, asked: dict[int, AskedPrompt]
    ) -> PrefixWarmed:
        """Have a beginning read, and copied; the fact tells what became of it."""
        began, prompts = monotonic(), [asked[call] for call in prefix.calls]
        fact = PrefixWarmed(meant_for=prefix.calls, slot=prefix.slot)
        try:
            ends = min(prompts, key=_text), max(prompts, key=_text)
            first, last = (templated(server, one.messages, one.limits) for one in ends)
            read = warmed(server, first[: shared(first, last)], prefix.slot)
            fact = fact.model_copy(update=read._asdict())
            copied = copied_slots(server, prefix)
            fact = fact.model_copy(update={"copies": copied})
        except ModelError as error:
            self.copies = False
            log.info("%s: no slot is copied: %s", server.url, error)
            fact = fact.model_copy(update={"reason": str(error)})
        return fact.model_copy(update={"seconds": round(monotonic() - began, 3)})


class ReadPrefix(NamedTuple):
    """What a server tells of a beginning that it has read."""

    tokens: int
    fresh: int
    "Tokens that it had not read before."


def templated(server: ServerModel, messages: Sequence[Message], limits: Limits) -> str:
    """Return messages as the server's model reads them; `ModelError` where it does not tell."""
    prompt = server.own("/apply-template", server.asked(messages, limits), SECONDS).get("prompt")
    if not isinstance(prompt, str):
        raise ModelError(f"{server.root}/apply-template: needed a prompt, found none", "garbled")
    return prompt


def warmed(
    server: ServerModel, prompt: str, slot: int | None, cancellation: Cancellation | None = None
) -> ReadPrefix:
    """Have a slot read a beginning, and return what the server tells of it."""
    asked: dict[str, Any] = {"prompt": prompt, "n_predict": 0, "cache_prompt": True}
    if slot is not None:
        asked["id_slot"] = slot
    found = server.own("/completion", asked, SECONDS, cancellation).get("timings")
    had, read = (
        (found.get(name) if isinstance(found, dict) else None) for name in ("cache_n", "prompt_n")
    )
    if not isinstance(had, int) or not isinstance(read, int):
        raise ModelError(f"{server.root}/completion: needed timings, found none", "garbled")
    return ReadPrefix(had + read, read)


def copied_slots(server: ServerModel, prefix: SharedPrefix) -> int:
    """Copy what a slot has read to others; `ModelError` where the server cannot do that.

    The file has one name for each slot, so that no more of them are ever kept.
    """
    file = {"filename": f"backcast-{prefix.slot}.kv"}
    server.own(f"/slots/{prefix.slot}?action=save", file, SECONDS)
    for slot in prefix.copies:
        server.own(f"/slots/{slot}?action=restore", file, SECONDS)
    return len(prefix.copies)


def text_of(messages: Sequence[Message]) -> str:
    """Return messages as one text, by which beginnings are compared."""
    return "\0".join(f"{role}\0{text}" for role, text in messages)


def _text(prompt: AskedPrompt) -> str:
    return text_of(prompt.messages)


class _Mean:
    """The mean of what answers had in tokens."""

    def __init__(self) -> None:
        self.sum = self.count = 0

    def add(self, tokens: int) -> None:
        """Count one more."""
        self.sum += tokens
        self.count += 1

    @property
    def value(self) -> int:
        return -(-self.sum // self.count) if self.count else 0
