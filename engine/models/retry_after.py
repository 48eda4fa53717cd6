"""The wait that a server asks for before the next try, as its headers tell it.

>>> wait_asked({"retry-after": "6"}, 503)
6.0
>>> wait_asked({"retry-after-ms": "1500", "retry-after": "2"}, 429)
1.5
>>> wait_asked({"retry-after": "soon"}, 503) is None
True
"""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite

BUSY = (408, 425, 429, 500, 502, 503, 504, 529)
"Statuses beside which a wait is meant for the same request."
LONGEST = 7 * 86_400.0
"Seconds: a longer wait is no wait that anybody means."
LIMITED = ("requests", "tokens")
"What a server counts against a rate, as the names of its headers have it."
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def wait_asked(headers: Mapping[str, str], status: int) -> float | None:
    """Return the seconds that a server asks to wait; None where it asks nothing that makes sense.

    `headers` are by their names in small letters.
    """
    if status not in BUSY:
        return None
    for wait in (
        _number(headers.get("retry-after-ms", ""), 0.001),
        _number(headers.get("retry-after", "")),
        _until(headers.get("retry-after", ""), headers.get("date", "")),
        _rate(headers) if status == 429 else None,
    ):
        if wait is not None and 0 < wait <= LONGEST:
            return wait
    return None


def _number(text: str, unit: float = 1.0) -> float | None:
    try:
        value = float(text) * unit
    except ValueError:
        return None
    return value if isfinite(value) else None


def _until(text: str, now: str) -> float | None:
    """Return the seconds to a date, by the server's own clock where it tells the time."""
    try:
        end = _aware(parsedate_to_datetime(text))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    try:
        start = _aware(parsedate_to_datetime(now)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        start = time.time()
    return end.timestamp() - start


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _rate(headers: Mapping[str, str]) -> float | None:
    """Return the longest of the waits for what is used up, such as `6m0s` or `8.64s`."""
    used_up = [
        _duration(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in LIMITED
        if headers.get(f"x-ratelimit-remaining-{what}", "").strip() == "0"
    ]
    return max((wait for wait in used_up if wait is not None), default=None)


def _duration(text: str) -> float | None:
    if _PART.sub("", text.strip()):
        return _number(text)
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)) or None
