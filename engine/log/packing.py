"""How are facts stored? As JSON, compressed where that pays.

JSON never begins like a zstd frame, or with a control character, so a stored body itself shows what
it is. Small facts that come by the thousand, as a proxy's do, are condensed: their hashes stand in
front as bytes, and the rest is compressed with a dictionary, since half of it is the names of
fields.
"""

import re

import zstandard

PACKED_FROM = 8 * 2**10
"Bytes of JSON from which on it is compressed; smaller facts stay readable in the file."
LARGEST = 64 * 2**20
"The most bytes that a compressed body may claim to have."
_FRAME = b"\x28\xb5\x2f\xfd"
_CONDENSED = b"\x01"
_HASH = re.compile(rb"[0-9a-f]{64}")
_GAP = b"\x02"
"What stands in the place of a hash; JSON has no such character."
_WORDS = (
    rb'{"role":"user","text":"blob:\x02"}{"tool":"","call_id":"toolu_","arguments":{"command":"",'
    rb'"path":""}}{"tool":"bash","call_id":"call_","output":"blob:\x02","failed":true}{"reason":"'
    rb'","kind":"cut","text":"blob:\x02","thinking":"blob:\x02","model":"","finish":"tool_calls"'
    rb',"prompt_tokens":1,"tokens":1,"cached_tokens":1,"seconds":0.0,"http_answer":{"status":200,'
    rb'"headers":{"content-type":"application/json; charset=utf-8","server":"llama.cpp",'
    rb'"content-type":"text/event-stream"},"body":"blob:\x02","arrivals":"blob:\x02","first_byte":'
    rb'0.0}}{"tokens":1,"shared_prefix":1,"request":{"path":"/v1/messages","dialect":"messages",'
    rb'"path":"/v1/responses","dialect":"responses","path":"/v1/chat/completions","dialect":"chat"'
    rb',"parts":[{"kind":"reminder","text":"blob:\x02","before":",{\"role\":\"user\",\"content\":['
    rb'","role":"user","tokens":1},{"kind":"message","text":"blob:\x02","before":"},{\"role\":'
    rb'\"assistant\",\"content\":","role":"assistant","tokens":1},{"kind":"call","text":"blob:\x02'
    rb'","before":",\"tool_calls\":[","role":"assistant","name":"bash","tokens":1},{"kind":'
    rb'"result","text":"blob:\x02","before":"]},{\"role\":\"tool\",\"tool_call_id\":\"call_\",'
    rb'\"content\":","role":"tool","tokens":1},{"kind":"message","text":"blob:\x02","before":"}, {'
    rb'\"role\": \"assistant\", \"content\": ","role":"assistant"},{"kind":"call","text":"blob:\x02'
    rb'","before":", \"tool_calls\": [","role":"assistant","name":""},{"kind":"result","text":'
    rb'"blob:\x02","before":"]}, {\"role\": \"tool\", \"tool_call_id\": \"call_\", \"content\": ",'
    rb'"role":"tool"}],"base":1,"copied":[[0,0,1]],"rest":"}],\"stream\":true}","rest":"}]}",'
    rb'"digest":"\x02","size":1,"headers":{"accept":"application/json","content-type":'
    rb'"application/json","user-agent":"OpenAI/Python "}}}'
).replace(rb"\x02", _GAP)
"Of version 1 of condensed facts, and never to be changed."
_DICTIONARY = zstandard.ZstdCompressionDict(_WORDS, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
_MAGICLESS = zstandard.FORMAT_ZSTD1_MAGICLESS


def packed(body: bytes) -> bytes:
    """Return a body as it is stored.

    >>> packed(b"{}"), len(packed(b'{"a": "' + b"x" * 9000 + b'"}')) < 100
    (b'{}', True)
    """
    return body if len(body) < PACKED_FROM else zstandard.compress(body)


def condensed(body: bytes) -> bytes:
    """Return a body, as it is stored, in its condensed form if that is the smaller one.

    >>> fact = b'{"text":"blob:%s","role":"user"}' % (b"0a" * 32)
    >>> len(fact), len(condensed(fact)), plain(condensed(fact)) == fact
    (93, 52, True)
    """
    hashes = _HASH.findall(body)
    if body[:1] != b"{" or len(hashes) > 255 or _GAP in body:
        return body
    rest = _HASH.sub(_GAP, body)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        9, source_size=len(rest), format=_MAGICLESS, write_checksum=False, write_dict_id=False
    )
    packer = zstandard.ZstdCompressor(dict_data=_DICTIONARY, compression_params=parameters)
    front = _CONDENSED + bytes([len(hashes)]) + bytes.fromhex(b"".join(hashes).decode())
    found = front + packer.compress(rest)
    return found if len(found) < len(body) else body


def _thinned(body: bytes) -> bytes:
    """Return a condensed body as JSON."""
    count = body[1]
    unpacker = zstandard.ZstdDecompressor(dict_data=_DICTIONARY, format=_MAGICLESS)
    reader = unpacker.stream_reader(body[2 + 32 * count :])
    rest = reader.read(LARGEST)
    hashes = (body[at : at + 32].hex().encode() for at in range(2, 2 + 32 * count, 32))
    first, *pieces = rest.split(_GAP)
    if len(pieces) != count:
        raise ValueError(f"needed a place for each of {count} hashes, found {len(pieces)}")
    return first + b"".join(found + piece for found, piece in zip(hashes, pieces, strict=True))


def plain(body: bytes) -> bytes:
    """Return a stored body as JSON; `ValueError` if it is damaged."""
    if body[:1] == _CONDENSED:
        try:
            return _thinned(body)
        except (zstandard.ZstdError, IndexError) as error:
            raise ValueError(f"needed a condensed fact: {error}") from None
    if body[:4] != _FRAME:
        return body
    try:
        if zstandard.frame_content_size(body) > LARGEST:
            raise ValueError(f"needed a body of at most {LARGEST:,} bytes")
        return zstandard.decompress(body)
    except zstandard.ZstdError as error:
        raise ValueError(f"needed a zstd frame: {error}") from None
