"""A model whose answers are written down, for a `Recording` to answer with."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backcast.engine.models import NOTHING, Call, Completion, Limits, Message, Model
from backcast.engine.models.recording import digest_of


class AnswerRecorder:
    """Another model, whose answers are written to a recording."""

    def __init__(self, model: Model, path: Path) -> None:
        self.model, self.path, self.id = model, path, model.id

    def complete(
        self,
        messages: Sequence[Message],
        limits: Limits,
        *,
        schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        call: Call = NOTHING,
    ) -> Completion:
        """Return the model's answer, which is a line of the recording from now on."""
        answer = self.model.complete(messages, limits, schema=schema, stop=stop, call=call)
        fields = answer._asdict() | {"model": answer.model or self.id}
        line = {"prompt": digest_of(messages, limits, schema)} | fields
        with self.path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")
        return answer
