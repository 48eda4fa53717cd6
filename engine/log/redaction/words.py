"""The very secrets to strike out of a store, in every way in which a file may have them."""

import gzip
import json
import re
import zlib
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable
from urllib.parse import quote

import zstandard

from backcast.engine.log.redaction.masks import KEPT, Masks
from backcast.engine.log.redaction.patterns import KIND, Patterns

SHORTEST = 8
"Letters of the shortest secret that is looked for inside of base64, too."
MOST = 512 * 2**20
"Bytes that a compressed body may unpack to."
_GZIP, _ZSTD = b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"


class NamedSecrets(Masks):
    """A finder of what patterns match, and of nothing else."""

    def __init__(self, patterns: Patterns) -> None:
        super().__init__(patterns)

    def learn(self, text: str, name: str = "") -> None:
        """Learn what the patterns match in a text."""
        self.learn_masks(text)
        for found in self.patterns.found_in(text):
            secret = text[found.start : found.end].strip()
            if secret and not KEPT.fullmatch(secret):
                self.known[secret] = KIND


class SecretWords:
    """Secrets, each with the mask that takes its place."""

    def __init__(self, secrets: Iterable[tuple[str, str]], taken: Counter[str]) -> None:
        """`secrets` come with their kinds; `taken` are the numbers of masks that stand already."""
        self.masks: dict[bytes, bytes] = {}
        "By each way of writing a secret."
        self.counts: Counter[str] = Counter()
        "How often each mask took the place of a secret."
        last = Counter(taken)
        for secret, kind in sorted(secrets):
            if secret.encode(errors="surrogatepass") in self.masks:
                continue  # another way of writing one before it
            last[kind] += 1
            mask = f"MASKED_{kind}_{last[kind]}".encode()
            for written in ways_of(secret):
                self.masks.setdefault(written, mask)
        longest = sorted(self.masks, key=lambda way: (-len(way), way))
        self._pattern = re.compile(b"|".join(map(re.escape, longest)) or b"(?!)")

    def within(self, body: bytes) -> bool:
        """Return whether a secret stands in a body."""
        return bool(self._pattern.search(body))

    def struck(self, body: bytes) -> bytes:
        """Return a body, compressed or not, without the secrets; itself where it has none."""
        if body[:3] == _GZIP:
            plain = _gunzipped(body)
            found = plain if plain is None else self._whole(plain)
            return body if found == plain or found is None else gzip.compress(found, mtime=0)
        if body[:4] == _ZSTD:
            plain = _unzstd(body)
            found = plain if plain is None else self._whole(plain)
            return body if found == plain or found is None else zstandard.compress(found)
        return self._whole(body)

    def text(self, text: str) -> str:
        """Return a text without the secrets."""
        body = text.encode(errors="surrogatepass")
        return self._plain(body).decode(errors="surrogatepass") if self.within(body) else text

    def _whole(self, body: bytes) -> bytes:
        return self._plain(self._stream(body))

    def _plain(self, body: bytes) -> bytes:
        return self._pattern.sub(self._mask, body)

    def _mask(self, match: re.Match[bytes]) -> bytes:
        mask = self.masks[match[0]]
        self.counts[mask.decode()] += 1
        # Else a digit behind it would become part of the mask's number.
        after = match.string[match.end() : match.end() + 1]
        return mask + b"_" if after.isdigit() else mask

    def _stream(self, body: bytes) -> bytes:
        """Return a stream of JSON objects in which no secret is spread over several of them."""
        lines = body.split(b"\n")
        events = {
            number: (start, value) for number, line in enumerate(lines)
            if (start := line.find(b"{")) >= 0 and line[:start].strip() in (b"", b"data:")
            and isinstance(value := _json(line[start:]), dict)
        }  # fmt: skip
        if len(events) < 2:
            return body
        pieces: dict[tuple[object, ...], list[tuple[int, object, object, str]]] = {}
        for number, (_, value) in events.items():
            _gather(value, (), number, pieces)
        changed = set[int]()
        for found in pieces.values():
            changed |= self._joined(found)
        for number in changed:
            start, value = events[number]
            end = b"\r" if lines[number].endswith(b"\r") else b""
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            lines[number] = lines[number][:start] + text.encode(errors="surrogatepass") + end
        return b"\n".join(lines) if changed else body

    def _joined(self, pieces: "list[tuple[int, object, object, str]]") -> set[int]:
        """Mask what is spread over several pieces of a text; return the events that changed."""
        bodies = [text.encode(errors="surrogatepass") for *_, text in pieces]
        whole = b"".join(bodies)
        changed = set[int]()
        starts, at = [], 0
        for body in bodies:
            starts.append(at)
            at += len(body)
        for match in [*self._pattern.finditer(whole)][::-1]:
            touched = [
                place for place, start in enumerate(starts)
                if start < match.end() and start + len(bodies[place]) > match.start()
            ]  # fmt: skip
            if len(touched) < 2:
                continue
            mask = self._mask(match)
            for place in touched:
                start = starts[place]
                first = max(0, match.start() - start)
                bodies[place] = bodies[place][:first] + mask + bodies[place][match.end() - start :]
                mask = b""
                changed.add(place)
        for place in changed:
            _, holder, key, _ = pieces[place]
            holder[key] = bodies[place].decode(errors="replace")  # type: ignore[index]
        return {pieces[place][0] for place in changed}


def ways_of(secret: str) -> list[bytes]:
    """Return a secret as it is written in texts, in JSON, in JSON within JSON, URLs and base64."""
    texts = {secret: None} | {quote(secret, safe, errors="replace"): None for safe in ("", "/")}
    for ascii in (True, False):
        packed = secret
        for _ in range(3):
            packed = json.dumps(packed, ensure_ascii=ascii)[1:-1]
            texts[packed] = None
    ways = [text.encode(errors="surrogatepass") for text in texts]
    plain = ways[0]
    if len(plain) >= SHORTEST:
        for shift in range(3):
            # The letters at both ends depend on what stands beside the secret.
            packed_bytes = b64encode(b"\0" * shift + plain)
            first = -(-shift * 8 // 6) if shift else 0
            last = (shift + len(plain)) * 8 // 6
            ways.append(packed_bytes[first:last])
            ways.append(packed_bytes[first:last].translate(bytes.maketrans(b"+/", b"-_")))
    return list(dict.fromkeys(ways))


def _gather(
    value: object,
    path: tuple[object, ...],
    number: int,
    pieces: "dict[tuple[object, ...], list[tuple[int, object, object, str]]]",
) -> None:
    """Gather the texts of an event by their place in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value)  # type: ignore[arg-type]
    for key, item in items:
        if isinstance(item, str):
            pieces.setdefault((*path, key), []).append((number, value, key, item))
        elif isinstance(item, dict | list):
            _gather(item, (*path, key), number, pieces)


def _json(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _gunzipped(body: bytes) -> bytes | None:
    """Return what is in a gzip body, a torn one as far as it goes; None where it is none."""
    try:
        return zlib.decompressobj(31).decompress(body, MOST)
    except zlib.error:
        return None


def _unzstd(body: bytes) -> bytes | None:
    try:
        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    except zstandard.ZstdError:
        return None
