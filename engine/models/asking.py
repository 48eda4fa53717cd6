"""Questions to a model server: tried again while it is busy, each failure told by its kind."""

import json
from collections.abc import Mapping
from http.client import HTTPException
from time import monotonic, sleep
from typing import Any

from backcast.domain.errors import ModelError
from backcast.engine.models.http_client import NoAnswerError, ask
from backcast.engine.models.wire import garbled, refusal

TRIES = 4
LOADING = "Loading model"
"So llama-server answers 503 while it reads the weights; that is waited for until time is out."


class Connection:
    """The way to one server."""

    def __init__(self, url: str, key: str, backoff: float) -> None:
        self.url, self.backoff = url, backoff
        self._key = key

    def chat(self, options: Mapping[str, Any], seconds: float) -> bytes:
        """Return the body of a chat completion."""
        return self._ask(f"{self.url}/chat/completions", options, seconds)

    def get(self, url: str, seconds: float) -> dict[str, Any]:
        """Return the JSON object that lies at a URL."""
        return self._object(self._ask(url, None, seconds))

    def post(self, url: str, body: object, seconds: float) -> dict[str, Any]:
        """Return the JSON object that a URL makes of a body."""
        return self._object(self._ask(url, body, seconds))

    def _object(self, body: bytes) -> dict[str, Any]:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise garbled(self.url, repr(body[:60].decode(errors="replace")))
        return value

    def _ask(self, url: str, body: object, seconds: float) -> bytes:
        """Return the body of an answer; `ModelError` after the last try."""
        end, tries = monotonic() + seconds, 0
        while True:
            tries += 1
            try:
                return self._once(url, body, seconds, end)
            except ModelError as error:
                pause = min(8.0, self.backoff * 2 ** min(tries - 1, 16))
                last = tries >= TRIES and LOADING not in str(error)
                if error.kind != "unavailable" or last or monotonic() + pause >= end:
                    raise
            sleep(pause)

    def _once(self, url: str, body: object, seconds: float, end: float) -> bytes:
        try:
            answer = ask(url, body, self._key, end - monotonic())
        except TimeoutError:
            needed = f"{self.url}: needed an answer within {seconds:.3g} seconds, found none"
            raise ModelError(needed, "timeout") from None
        except NoAnswerError as error:
            raise garbled(self.url, str(error)) from None
        except (OSError, HTTPException, ValueError) as error:
            line = " ".join(str(error).split())[:200] or type(error).__name__
            raise ModelError(f"{self.url}: no answer: {line}") from None
        if answer.status >= 300:
            raise refusal(answer.status, answer.body, self.url, self._key)
        return answer.body
