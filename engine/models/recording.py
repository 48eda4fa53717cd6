"""A recording: what a model answered to exactly these prompts, a line for each.

It answers a prompt that it holds, to the byte, and refuses any other: what a model would have said
to a changed prompt, nobody knows.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from backcast.domain.errors import InputError, ModelError
from backcast.engine.models import NOTHING, Call, Completion, Limits, Message
from backcast.engine.models.wire import name_of

_COMPLETION = TypeAdapter(Completion)


def digest_of(messages: Sequence[Message], limits: Limits, schema: object) -> str:
    """Return what a prompt is known by: SHA-256 over all that a model is asked.

    What may be thought counts only where something may: else it is as it was before that counted.
    """
    asked = [[list(message) for message in messages], limits.max_tokens, schema]
    asked += [limits.thinking] if limits.thinking else []
    text = json.dumps(asked, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return sha256(text.encode(errors="surrogatepass")).hexdigest()


def is_recording(path: Path) -> bool:
    """Return whether a file holds answers by prompt, none or some, and not the log of a run."""
    try:
        with path.open(encoding="utf-8") as lines:
            first = next((line for line in lines if line.strip()), "")
        return not first or (isinstance(line := json.loads(first), dict) and "prompt" in line)
    except (OSError, ValueError, RecursionError):
        return False


class Recording:
    """The answers of one model, read from a file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.stem
        self.answers: dict[str, Completion] = {}
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except OSError as error:
            raise InputError(f"{path}: needed a recording: {error.strerror}") from None
        except ValueError:
            raise InputError(f"{path}: needed a recording in UTF-8") from None
        for number, line in enumerate(lines, 1):
            if line.strip():
                self._take(number, line)

    def _take(self, number: int, line: str) -> None:
        try:
            fields = json.loads(line)
            values = {name: fields[name] for name in Completion._fields if name in fields}
            answer = _COMPLETION.validate_python(values, strict=True)
            self.id = name_of(answer.model) or self.id
            self.answers[fields["prompt"]] = answer._replace(model=name_of(answer.model))
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            raise InputError(
                f"{self.path}, line {number}: needed an object with prompt and text"
            ) from None

    def complete(
        self,
        messages: Sequence[Message],
        limits: Limits,
        *,
        schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        call: Call = NOTHING,
    ) -> Completion:
        """Return the recorded answer; `ModelError` for a prompt that was not recorded."""
        digest = digest_of(messages, limits, schema)
        if digest not in self.answers:
            raise ModelError(
                f"{self.path}: holds no answer to this prompt, {digest}: record it again"
            )
        answer = self.answers[digest]
        return answer._replace(model="" if answer.model == self.id else answer.model)
