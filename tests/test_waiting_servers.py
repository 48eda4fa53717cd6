"""A server that is busy, starts again or asks to wait is waited for, so long and no longer."""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.errors import ModelError
from backcast.engine.models import Limits, Message, asking, http_client
from backcast.engine.models.retry_after import LONGEST, wait_asked
from backcast.engine.models.server import ServerModel
from tests.servers import FINE, Handler, hostile

ASKED = [Message("user", "Why?")]
START = 1_000.0
TEN = "Sun, 06 Nov 1994 08:49:37 GMT"
PLACE = "Sun, 06 Nov 1994 08:49:27 GMT"


class Clock:
    """The time of a test: it stands still but for pauses."""

    def __init__(self) -> None:
        self.now, self.pauses = START, list[float]()

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now

    @property
    def passed(self) -> float:
        return self.now - START


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(asking, "sleep", made.sleep)
    monkeypatch.setattr(asking, "monotonic", made)
    return made


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What was said aloud of waiting."""
    with caplog.at_level(logging.WARNING, "backcast"):
        yield lambda: [m for m in caplog.messages if "is not llama.cpp's server" not in m]


def answering(seconds: float, clock: Clock, status: int, **headers: str) -> Callable[..., None]:
    """Answer with a status until so many seconds have passed, and then as one should."""

    def answer(handler: Handler) -> None:
        if clock.passed < seconds:
            handler.say({"error": {"message": "not yet"}}, status, **headers)
        else:
            handler.say(FINE)

    return answer


WAITS: dict[str, tuple[dict[str, str], float | None]] = {
    "seconds": ({"Retry-After": "6"}, 6),
    "seconds with a fraction": ({"Retry-After": "0.5"}, 0.5),
    "blanks around": ({"Retry-After": " 6 "}, 6),
    "a date": ({"Retry-After": TEN, "Date": PLACE}, 10),
    "a date without a zone": ({"Retry-After": TEN.removesuffix(" GMT"), "Date": PLACE}, 10),
    "a date long past": ({"Retry-After": PLACE, "Date": TEN}, None),
    "a date that is none": ({"Retry-After": "Sun, 99 Nov 1994 08:49:37 GMT"}, None),
    "milliseconds": ({"retry-after-ms": "250", "Retry-After": "1"}, 0.25),
    "odd milliseconds": ({"retry-after-ms": "soon", "Retry-After": "1"}, 1),
    "a day": ({"Retry-After": "86400"}, 86_400),
    "nothing": ({}, None),
    "at once": ({"Retry-After": "0"}, None),
    "negative": ({"Retry-After": "-6"}, None),
    "far too much": ({"Retry-After": "1e9"}, None),
    "no number": ({"Retry-After": "nan"}, None),
    "without end": ({"Retry-After": "inf"}, None),
    "text": ({"Retry-After": "a while"}, None),
    "empty": ({"Retry-After": ""}, None),
    "a long number": ({"Retry-After": "9" * 400}, None),
    "a rate of requests": (
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m6.5s"}, 66.5,
    ),
    "the longer of two rates": (
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20ms",
         "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "2s"}, 2,
    ),
    "a rate that is not used up": (
        {"x-ratelimit-remaining-requests": "7", "x-ratelimit-reset-requests": "1m"}, None,
    ),
    "a rate in no form": (
        {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "later"}, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WAITS)
def test_a_wait_is_read_as_it_is_told_and_nonsense_is_none(name: str) -> None:
    headers, wait = WAITS[name]
    told = {key.lower(): value for key, value in headers.items()}
    assert wait_asked(told, 429) == wait
    assert wait_asked(told, 400) is None


def test_a_date_without_the_servers_clock_is_by_ours() -> None:
    wait = wait_asked({"retry-after": formatdate(usegmt=True, timeval=None)}, 503)
    assert wait is None or wait < 1
    far = wait_asked({"retry-after": formatdate(2**31, usegmt=True)}, 503)
    assert far is None or far <= LONGEST


@given(st.text(max_size=40), st.sampled_from([200, 429, 503]))
def test_no_header_is_an_error(text: str, status: int) -> None:
    names = ("retry-after", "retry-after-ms", "date", "x-ratelimit-remaining-tokens",
             "x-ratelimit-reset-tokens")  # fmt: skip
    for name in names:
        wait = wait_asked({"x-ratelimit-remaining-tokens": "0", name: text}, status)
        assert wait is None or 0 < wait <= LONGEST


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
def test_a_server_is_asked_again_when_it_asked_to_be_and_that_is_said(
    status: int, clock: Clock, said: Callable[[], list[str]]
) -> None:
    with hostile(answering(6, clock, status, Retry_After="6")) as server:
        assert ServerModel(server.url).complete(ASKED, Limits(9)).text == "Yes."
        assert clock.pauses == [6]
        assert said() == [
            f"{server.url}/v1: answered {status}: not yet; it asks to wait 6 seconds: waiting"
        ]


def test_a_model_that_loads_may_ask_to_wait(
    clock: Clock, said: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    loading = {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}

    def models(handler: Handler) -> None:
        if clock.passed < 6:
            handler.say(loading, 503, Retry_After="2")
        else:
            handler.say({"data": [{"id": "double"}]})

    monkeypatch.setattr(Handler, "do_GET", models)
    with hostile(lambda handler: handler.say(FINE)) as server:
        assert ServerModel(server.url).id == "double"
    assert clock.pauses == [2, 2, 2]
    assert len(said()) == 1


@pytest.mark.parametrize("wait", ["-1", "1e9", "soon", "0", "nan"])
def test_a_wait_that_makes_no_sense_leaves_the_pauses_as_they_are(wait: str, clock: Clock) -> None:
    with hostile(answering(3, clock, 503, Retry_After=wait)) as server:
        assert ServerModel(server.url).complete(ASKED, Limits(9)).text == "Yes."
    assert clock.pauses == [0.5, 1, 2]


@pytest.mark.parametrize(
    ("wait", "seconds", "reason"),
    [
        ("3600", 600, "it asks to wait 3,600 seconds, and at most 300 are waited"),
        ("20", 12, "it asks to wait 20 seconds, and 12 seconds are left for this answer"),
    ],
)
def test_who_asks_to_wait_too_long_is_not_waited_for(
    wait: str, seconds: float, reason: str, clock: Clock
) -> None:
    with hostile(answering(1e9, clock, 429, Retry_After=wait)) as server:
        model = ServerModel(server.url)
        with pytest.raises(ModelError) as caught:
            model.complete(ASKED, Limits(9, seconds=seconds))
        assert str(caught.value) == (
            f"{server.url}/v1: answered 429: not yet; {reason}: go on when that is over"
        )
        assert caught.value.kind == "unavailable"
    assert clock.pauses == []


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_proxy_that_swaps_models_is_waited_for(
    status: int, clock: Clock, said: Callable[[], list[str]]
) -> None:
    with hostile(answering(12, clock, status)) as server:
        assert ServerModel(server.url).complete(ASKED, Limits(9, seconds=20)).text == "Yes."
        assert said() == [
            f"{server.url}/v1: answered {status}: not yet: trying again, for 19 seconds at most"
        ]
    assert 12 <= clock.passed < 20
    assert max(clock.pauses) <= asking.PAUSE


def test_patience_ends_and_says_how_long_it_was(clock: Clock) -> None:
    with hostile(answering(1e9, clock, 502)) as server:
        model = ServerModel(server.url)
        with pytest.raises(ModelError, match=r"not yet; tried \d+ times in (59|60) seconds"):
            model.complete(ASKED, Limits(9))
    assert 55 < clock.passed <= asking.PATIENCE


def test_a_server_that_fails_itself_is_tried_a_few_times(clock: Clock) -> None:
    with hostile(answering(1e9, clock, 500)) as server:
        model = ServerModel(server.url)
        with pytest.raises(ModelError, match=r"answered 500: not yet$"):
            model.complete(ASKED, Limits(9))
        assert len(server.bodies) == asking.TRIES


def test_a_server_that_starts_again_is_waited_for(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = http_client.ask

    def refused(*arguments: object) -> object:
        if clock.passed < 12:
            raise ConnectionRefusedError(111, "Connection refused")
        return real(*arguments)  # type: ignore[arg-type]

    with hostile(lambda handler: handler.say(FINE)) as server:
        model = ServerModel(server.url)
        monkeypatch.setattr(asking, "ask", refused)
        assert model.complete(ASKED, Limits(9, seconds=20)).text == "Yes."
    assert clock.passed >= 12


def test_a_server_that_was_never_there_is_not_waited_for_long(clock: Clock) -> None:
    with hostile(lambda handler: handler.say(FINE)) as server:
        url = server.url
    with pytest.raises(ModelError, match=r"Connection refused$"):
        ServerModel(url)
    assert len(clock.pauses) == asking.TRIES - 1


@given(
    failures=st.lists(st.tuples(st.booleans(), st.none() | st.floats(0.001, 400)), max_size=60),
    seconds=st.floats(1, 600),
)
def test_no_question_waits_beyond_its_time(
    failures: list[tuple[bool, float | None]], seconds: float
) -> None:
    clock = Clock()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(asking, "monotonic", clock)
        pauses = asking.Patience(0.5, asking.PATIENCE, seconds)
        with suppress(ModelError):
            for down, wait in failures:
                failure = asking.PassingError(ModelError("no"), down=down, wait=wait)
                clock.sleep(pauses.after(failure))
                assert wait is None or clock.pauses[-1] >= wait
    assert clock.passed <= seconds + 1e-6
    assert all(0 < pause <= asking.MOST for pause in clock.pauses)
