"""Answers that the log has already, used again where exactly the same is asked.

The cache is no store of its own: it is a fold of the log, in which every answer names its question.
A question differs by the model, its sampling, the rendered prompt, the form of the answer and its
limits, so that no answer of another model or at another temperature is ever taken. That it is used
is asked for: whoever makes something anew mostly wants to see another answer.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from backcast.domain.context_events import ContextBuilt
from backcast.engine.log.store import EventStore
from backcast.engine.models import Limits, Model
from backcast.projections import completions

NEVER, GREEDY, DRAWN = "", "greedy", "drawn"
"No answer is used again; those at temperature 0; those that were drawn at a higher one too."


def question_of(
    model: Model, prompt: ContextBuilt, limits: Limits, schema: Mapping[str, Any] | None
) -> str:
    """Return the digest of all that a model is asked; empty where the model cannot be told apart.

    Whole messages are in the digest of the rendered prompt.
    """
    identity = getattr(model, "identity", "")
    if not identity or not prompt.digest:
        return ""
    asked = [identity, prompt.template, prompt.digest, limits.max_tokens, limits.thinking, schema]
    text = json.dumps(asked, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return sha256(text.encode(errors="surrogatepass")).hexdigest()


class ReusedAnswers:
    """The answers of a store's log, read on as it grows."""

    def __init__(self, store: EventStore, which: str) -> None:
        """`which` answers are used again: NEVER, GREEDY or DRAWN."""
        self.store, self.which = store, which
        self._state: completions.State = completions.initial
        self._read = 0

    def find(self, model: Model, question: str) -> completions.KnownAnswer | None:
        """Return the answer to a question; None where there is none, or it is not to be used."""
        drawn = not getattr(model, "greedy", False)
        if not question or self.which == NEVER or (drawn and self.which != DRAWN):
            return None
        last = self.store.last_position()
        for event in self.store.read(after=self._read, last=last, types=["MODEL_REPLIED"]):
            self._state = completions.evolve(self._state, event)
        self._read = last
        return self._state.answers.get(question)
