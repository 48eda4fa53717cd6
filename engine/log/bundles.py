r"""How are small bodies stored that come at once, as those of an exchange do? Together.

A hash, its index and its row cost more than a short text. So a bundle holds several bodies, and is
compressed as the next piece of one stream with the bundles before it: what they said already costs
nothing. A text that stands quoted in another one of its bundle is no more than a place there; and
of a stream of events, the texts stand together, with what is around them.

>>> import json
>>> said, result = b"two\nlines of a text, quoted", b'"two\\nlines of a text, quoted"'
>>> bundle = bundled([result, said, b'data: {"content": "x"}'])
>>> [result, said, b'data: {"content": "x"}'] == sorted(members(bundle), key=len, reverse=True)
True
>>> len(bundle.partition(b"\n")[0]), said in bundle
(31, False)
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

from backcast.domain.errors import DamagedError

LARGEST = 64 * 2**10
"Bytes of a body that is stored in a bundle; a larger one is worth a row of its own."
FULL = 256 * 2**10
"Bytes from which on a bundle is closed."
_WHOLE, _QUOTED, _WOVEN, _PACED = 0, 1, 2, 3
_SHORT = 24
"Bytes of a text that is not looked for in others."
_SAID = re.compile(
    rb'("(?:content|text|delta|arguments|partial_json|thinking|reasoning|reasoning_content)": ?")'
    rb'([^"\\]*(?:\\.[^"\\]*)*)'
)
"The texts in the events of a stream, in every dialect."
_END = re.compile(rb"\r?\n\r?\n")


@dataclass
class NewBundle:
    """A bundle that is to be stored."""

    before: "NewBundle | None"
    "The bundle before it in its stream."
    size: int
    packed: bytes
    digests: tuple[bytes, ...]
    "The hashes of its members."
    id: int = 0
    "Its number, as soon as it is stored."


class StoredBundle(NamedTuple):
    """A bundle as it is stored."""

    id: int
    base: int | None
    "The bundle before it in its stream; None for the first."
    size: int
    packed: bytes


def key_of(digest: bytes) -> int:
    """Return the key under which the bundle of a body is found: half of a hash, as an integer.

    Two bodies could share it; so a member is known by its whole hash.
    """
    return int.from_bytes(digest[:8]) >> 1


def bundled(bodies: Sequence[bytes]) -> bytes:
    """Return a bundle of bodies."""
    table, payload = list[list[int]](), bytearray()
    streams = [(body, woven) for body in bodies
               if body[:5] in (b"data:", b"event") and (woven := _unwoven(body))]  # fmt: skip
    for _, (said, around) in streams:
        table.append([_WOVEN, len(said), len(around)])
        payload += said + around
    quoting = [body for body in bodies if body[:1] in (b'"', b"{", b"[")]
    for body in quoting:
        pace = b""
        for number, (stream, _) in enumerate(streams if body[:1] == b"[" else ()):
            if pace := _unpaced(body, stream):
                table.append([_PACED, number, len(pace)])
                break
        else:
            table.append([_WHOLE, len(body)])
        payload += pace or body
    known = {stream for stream, _ in streams}.union(quoting)
    for body in bodies:
        if body in known:
            continue
        if len(body) >= _SHORT and (place := _place(body, payload)):
            table.append([_QUOTED, *place])
        else:
            table.append([_WHOLE, len(body)])
            payload += body
    return json.dumps(table, separators=(",", ":")).encode() + b"\n" + payload


def members(bundle: bytes) -> Iterator[bytes]:
    """Yield the bodies in a bundle. `DamagedError` where it is none."""
    table, _, payload = bundle.partition(b"\n")
    streams = list[bytes]()
    try:
        at = 0
        for how, *numbers in json.loads(table):
            if how == _QUOTED:
                start, size = numbers
                text: str = json.loads(b'"%s"' % payload[start : start + size])
                yield text.encode(errors="surrogatepass")
                continue
            sizes = numbers[how == _PACED :]
            pieces = [payload[at : (at := at + size)] for size in sizes]
            if how == _WOVEN:
                streams.append(_woven(*pieces))
                yield streams[-1]
            else:
                yield _paced(pieces[0], streams[numbers[0]]) if how == _PACED else pieces[0]
    except (ValueError, TypeError, IndexError) as error:
        raise DamagedError(f"a bundle of blobs cannot be read: {error}") from None


def _place(body: bytes, payload: bytearray) -> tuple[int, int] | None:
    """Return where a text stands quoted."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    for ascii in (False, True):
        quoted = json.dumps(text, ensure_ascii=ascii)[1:-1].encode()
        if (start := payload.find(quoted)) >= 0:
            return start, len(quoted)
    return None


def _unwoven(body: bytes) -> tuple[bytes, bytes] | None:
    """Return the texts of a stream, and what is around them, with the size of each text."""
    said = b"".join(match[2] for match in _SAID.finditer(body))
    around = _SAID.sub(lambda match: match[1] + b"%d" % len(match[2]), body)
    try:
        return (said, around) if _woven(said, around) == body else None
    except ValueError:
        return None


def _woven(said: bytes, around: bytes) -> bytes:
    at = 0

    def text(match: re.Match[bytes]) -> bytes:
        nonlocal at
        begin, at = at, at + int(match[2])
        return match[1] + said[begin:at]

    return _SAID.sub(text, around)


def _unpaced(body: bytes, stream: bytes) -> bytes:
    """Return when the pieces of a stream came, each as so many events; nothing where they did not
    come by whole events."""
    ends = {end: number for number, end in enumerate(_ends(stream))}
    try:
        steps = json.loads(body)
        places = [ends[place] for place in accumulate(steps[1::2], initial=0)]
        counts = (last - first for first, last in pairwise(places))
        pace = json.dumps([number for step in zip(steps[::2], counts, strict=True)
                           for number in step], separators=(",", ":")).encode()  # fmt: skip
        return pace if _paced(pace, stream) == body else b""
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return b""


def _paced(pace: bytes, stream: bytes) -> bytes:
    ends, steps, at = list(_ends(stream)), json.loads(pace), 0
    for place in range(1, len(steps), 2):
        begin, at = at, at + steps[place]
        steps[place] = ends[at] - ends[begin]
    return json.dumps(steps, separators=(",", ":")).encode()


def _ends(stream: bytes) -> Iterator[int]:
    """Yield where a stream begins, and where each of its events ends."""
    yield 0
    last = 0
    for match in _END.finditer(stream):
        yield (last := match.end())
    if last < len(stream):
        yield len(stream)
