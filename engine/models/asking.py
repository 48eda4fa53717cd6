"""Questions to a model server: tried again while it is busy, and each failure told by its kind.

Needs the extra 'server'.
"""

import json
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

import httpx2
import openai
import tenacity

from backcast.domain.errors import ModelError
from backcast.engine.models.bounded import NoAnswerError, client_of
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
        """The body of a chat completion."""
        return self._ask(
            lambda client: (
                client.chat.completions.with_raw_response.create(**options).http_response
            ),
            seconds,
        )

    def get(self, url: str, seconds: float) -> dict[str, Any]:
        """The JSON object that lies at a URL."""
        return self._object(
            self._ask(lambda client: client.get(url, cast_to=httpx2.Response), seconds)
        )

    def post(self, url: str, body: object, seconds: float) -> dict[str, Any]:
        """The JSON object that a URL makes of a body."""
        return self._object(
            self._ask(lambda client: client.post(url, body=body, cast_to=httpx2.Response), seconds)
        )

    def _object(self, body: bytes) -> dict[str, Any]:
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise garbled(self.url, repr(body[:60].decode(errors="replace")))
        return found

    def _ask(self, question: Callable[[openai.OpenAI], httpx2.Response], seconds: float) -> bytes:
        """The body of an answer; `ModelError` after the last try."""
        end = monotonic() + seconds
        tries = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_passes),
            wait=tenacity.wait_exponential(self.backoff, max=8),
            stop=lambda state: _enough(state, end),
            reraise=True,
        )
        return tries(self._once, question, seconds, end)

    def _once(
        self, question: Callable[[openai.OpenAI], httpx2.Response], seconds: float, end: float
    ) -> bytes:
        try:
            with client_of(self.url, self._key, end) as client:
                return question(client).content
        except openai.APIStatusError as error:
            raise refusal(error.status_code, error.response.content, self.url, self._key) from None
        except openai.APIConnectionError as error:
            raise self._unreached(error, seconds) from None
        except NoAnswerError as error:
            raise garbled(self.url, str(error)) from None
        except (openai.OpenAIError, httpx2.HTTPError, ImportError, ValueError) as error:
            raise ModelError(f"{self.url}: no answer: {_line(error)}") from None

    def _unreached(self, error: openai.APIConnectionError, seconds: float) -> ModelError:
        cause = error.__cause__
        timed_out = isinstance(error, openai.APITimeoutError)
        if timed_out and not isinstance(cause, httpx2.ConnectTimeout):
            told = f"{self.url}: needed an answer within {seconds:.3g} seconds, found none"
            return ModelError(told, "timeout")
        return ModelError(f"{self.url}: no answer: {_line(cause or error)}")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _passes(error: BaseException) -> bool:
    return isinstance(error, ModelError) and error.kind == "unavailable"


def _enough(state: tenacity.RetryCallState, end: float) -> bool:
    """Whether another try makes no sense, or would begin when time is out."""
    error = state.outcome.exception() if state.outcome else None
    tried = state.attempt_number >= TRIES and LOADING not in str(error)
    return tried or monotonic() + state.upcoming_sleep >= end
