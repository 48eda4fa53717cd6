"""A recording: what a model answered to exactly these prompts, a line for each.

It answers a prompt that it holds, to the byte, and refuses any other: what a model would have said
to a changed prompt, nobody knows.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from domain.errors import InputError, ModelError
from engine.models import NOTHING, Call, Completion, Limits, Message, Model


def digest_of(messages: Sequence[Message], limits: Limits, schema: object) -> str:
    """What a prompt is known by: SHA-256 over all that a model is asked."""
    asked = [[list(message) for message in messages], limits.max_tokens, schema]
    text = json.dumps(asked, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return sha256(text.encode(errors="surrogatepass")).hexdigest()


class Recording:
    """The answers of one model, read from a file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.stem
        self.answers: dict[str, Completion] = {}
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise InputError(f"{path}: needed a recording: {error.strerror}") from None
        except ValueError:
            raise InputError(f"{path}: needed a recording in UTF-8") from None
        for number, line in enumerate(filter(str.strip, lines), 1):
            self._take(number, line)

    def _take(self, number: int, line: str) -> None:
        try:
            told = json.loads(line)
            self.id = str(told.get("model", self.id))
            answer = Completion(told["text"], told.get("prompt_tokens"), told.get("tokens"))
            self.answers[told["prompt"]] = answer
        except (ValueError, KeyError, AttributeError, TypeError):
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
        """The recorded answer; `ModelError` for a prompt that was not recorded."""
        digest = digest_of(messages, limits, schema)
        if digest not in self.answers:
            raise ModelError(
                f"{self.path}: holds no answer to this prompt, {digest}: record it again"
            )
        return self.answers[digest]


class Recorder:
    """Asks another model, and writes down what it answers."""

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
        """The model's answer, which is a line of the recording from now on."""
        answer = self.model.complete(messages, limits, schema=schema, stop=stop, call=call)
        line = {"prompt": digest_of(messages, limits, schema), "model": self.id}
        with self.path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line | answer._asdict(), ensure_ascii=False) + "\n")
        return answer
