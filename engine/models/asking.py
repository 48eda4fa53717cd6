"""Questions to a model server: tried again while it is busy, each failure told by its kind.

A server that is down for a moment, while it starts again or a proxy swaps its model, is waited for
by time and not by tries; one that asks to wait is waited for as long as it asks. Both are said.
"""

import json
import logging
import ssl
from collections.abc import Mapping
from functools import partial
from http.client import HTTPException
from time import monotonic, sleep
from typing import Any

from backcast.domain.errors import ModelError
from backcast.engine.models import Limits
from backcast.engine.models.cancelling import CallCancelledError, Cancellation
from backcast.engine.models.http_client import NoAnswerError, SilentError, ask
from backcast.engine.models.so_far import AnswerPart
from backcast.engine.models.streaming import AnswerStream
from backcast.engine.models.wire import garbled, refusal

log = logging.getLogger("backcast")

TRIES = 4
"Tries where a failure may well come again: the server failed itself, or was never met."
PATIENCE = 60.0
"Seconds for which a server that is down for a moment is waited for."
MOST = 300.0
"Seconds that are waited at once where a server asks for it."
PAUSE = 4.0
"The longest pause between two tries that the server has not asked for."
DOWN = (408, 425, 429, 502, 503, 504, 529)
"Statuses of a server, or of the proxy before it, that will answer soon."
BROKEN = (ssl.SSLError, ConnectionResetError, BrokenPipeError)
"Failures of a connection that stands: the question itself may be their cause."
LOADING = "Loading model"
"So llama-server answers 503 while it reads the weights; that is waited for until time is out."


class PassingError(Exception):
    """A failure that may pass."""

    def __init__(self, error: ModelError, *, down: bool = False, wait: float | None = None) -> None:
        """`down`: the server is there again soon; `wait`: the seconds that it asks to wait."""
        self.error, self.down, self.wait = error, down, wait
        super().__init__(str(error))


class Patience:
    """The pauses between the tries of one question."""

    def __init__(self, backoff: float, patience: float, seconds: float) -> None:
        self.backoff, self.patience = backoff, patience
        self.end = monotonic() + seconds
        "When the time for the answer is out."
        self.tries = self.failed = 0
        self.since: float | None = None
        self.said: float | None = None

    def after(self, failure: PassingError) -> float:
        """Return the seconds to wait after a failure; raises its error where nothing is left."""
        now = monotonic()
        self.since = now if self.since is None else self.since
        self.tries += 1
        if failure.wait is not None:
            return self._asked(failure, failure.wait, self.end - now)
        self.failed += not failure.down
        rest = self.end - now
        if LOADING not in str(failure):
            rest = min(rest, self.since + self.patience - now)
        own = min(PAUSE, self.backoff * 2 ** min(self.tries - 1, 16))
        pause: float = min(own, rest / 2)
        if self.failed >= TRIES or pause < min(own, self.backoff):
            raise self._given_up(failure, now)
        if self.tries > 1 and self.said is None:
            self.said = 0.0
            log.warning("%s: trying again, for %s at most", failure, _seconds(rest))
        return pause

    def _asked(self, failure: PassingError, wait: float, rest: float) -> float:
        """Return the seconds that a server asks to wait."""
        if wait > MOST or wait >= rest:
            least = f"{_seconds(max(0, rest))} are left for this answer"
            why = f"at most {MOST:.0f} are waited" if wait > MOST else least
            asked = f"it asks to wait {_seconds(wait)}, and {why}: go on when that is over"
            raise ModelError(f"{failure}; {asked}", failure.error.kind)
        if self.said is None or wait > 2 * self.said:
            self.said = wait
            log.warning("%s; it asks to wait %s: waiting", failure, _seconds(wait))
        return max(wait, min(self.backoff, rest / 2))

    def _given_up(self, failure: PassingError, now: float) -> ModelError:
        assert self.since is not None
        if not failure.down or now - self.since < 1:
            return failure.error
        tried = f"tried {self.tries} times in {_seconds(now - self.since)}"
        return ModelError(f"{failure}; {tried}", failure.error.kind)


def _seconds(seconds: float) -> str:
    shown = f"{seconds:,.0f}" if seconds >= 10 else f"{seconds:.2g}"
    return f"{shown} second{'' if shown == '1' else 's'}"


class Connection:
    """The way to one server."""

    def __init__(self, url: str, key: str, backoff: float, patience: float = PATIENCE) -> None:
        self.url, self.backoff, self.patience = url, backoff, patience
        self.met = False
        "Whether it has ever answered: what was never there may be an address with a slip in it."
        self._key = key

    def chat(self, options: Mapping[str, Any], limits: Limits) -> bytes:
        """Return the body of a chat completion, put together where it comes as a stream.

        `CallCancelledError` where it is cancelled.
        """
        url = f"{self.url}/chat/completions"
        return self._ask(url, options, limits.seconds, limits.cancellation, limits)

    def get(self, url: str, seconds: float) -> dict[str, Any]:
        """Return the JSON object that lies at a URL."""
        return self._object(self._ask(url, None, seconds))

    def post(
        self, url: str, body: object, seconds: float, cancellation: Cancellation | None = None
    ) -> dict[str, Any]:
        """Return the JSON object that a URL makes of a body."""
        return self._object(self._ask(url, body, seconds, cancellation))

    def _object(self, body: bytes) -> dict[str, Any]:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise garbled(self.url, repr(body[:60].decode(errors="replace")))
        return value

    def _ask(
        self, url: str, body: object, seconds: float, cancellation: Cancellation | None = None,
        limits: Limits | None = None,
    ) -> bytes:  # fmt: skip
        """Return the body of an answer; `ModelError` after the last try.

        With `limits` it is a chat's, of which is told what has come.
        """
        pauses = Patience(self.backoff, self.patience, seconds)
        call = cancellation or Cancellation()
        wait = cancellation.pause if cancellation else sleep
        while True:
            stream = AnswerStream(limits.silence) if limits else None
            if limits and limits.so_far and stream:
                limits.so_far.begin(partial(_part_of, stream))
            try:
                return self._once(url, body, seconds, pauses.end, call, stream)
            except PassingError as failure:
                pause = pauses.after(failure)
            wait(pause)

    def _once(
        self, url: str, body: object, seconds: float, end: float, call: Cancellation,
        stream: AnswerStream | None,
    ) -> bytes:  # fmt: skip
        try:
            answer = ask(url, body, self._key, end - monotonic(), call, stream)
            if stream:
                stream.end()
        except (OSError, HTTPException, ValueError, NoAnswerError) as error:
            if stream and stream.finished and not isinstance(error, NoAnswerError):
                return stream.body()  # all of it came but for the end of the connection
            if call.said:
                raise CallCancelledError from None
            raise self._failure(error, seconds) from None
        self.met = True
        if answer.status >= 300:
            raise self._refused(answer.status, answer.body, answer.wait)
        if stream is None:
            return answer.body
        if stream.error is not None:
            said = stream.error.get("error")
            code = (said if isinstance(said, dict) else stream.error).get("code")
            status = code if type(code) is int and 400 <= code < 600 else 500
            raise self._refused(status, json.dumps(stream.error).encode(), None)
        if stream.is_stream and not stream.finished and not stream.ended:
            broken = "the stream ended before the answer did"
            raise PassingError(ModelError(f"{self.url}: no answer: {broken}"))
        return stream.body()

    def _refused(self, status: int, body: bytes, wait: float | None) -> Exception:
        """Return what an error that the server tells is raised as."""
        refused = refusal(status, body, self.url, self._key)
        if refused.kind != "unavailable":
            return refused
        return PassingError(refused, down=status in DOWN, wait=wait)

    def _failure(self, error: Exception, seconds: float) -> Exception:
        """Return what a failed try is raised as."""
        if isinstance(error, SilentError):
            return ModelError(f"{self.url}: the answer broke off: {error}", "timeout")
        if isinstance(error, TimeoutError):
            needed = f"{self.url}: needed an answer within {seconds:.3g} seconds, found none"
            return ModelError(needed, "timeout")
        if isinstance(error, NoAnswerError):
            return garbled(self.url, str(error))
        line = " ".join(str(error).split())[:200] or type(error).__name__
        gone = isinstance(error, OSError) and not isinstance(error, BROKEN)
        return PassingError(ModelError(f"{self.url}: no answer: {line}"), down=self.met and gone)


def _part_of(stream: AnswerStream) -> AnswerPart:
    return stream.part
