"""Bytes of tokens by how vocabularies write them: byte by byte in letters, or in pieces of text."""

import re
from functools import lru_cache


@lru_cache(1)
def _letters() -> dict[str, int]:
    """Return the bytes by the letters for which byte-level vocabularies write them.

    Printable ones stand for themselves, the others for the letters from U+0100 on, in order.
    """
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in shown]
    return {chr(b): b for b in shown} | {chr(0x100 + n): b for n, b in enumerate(others)}


def by_bytes(name: str) -> bytes:
    r"""Return the bytes of a token of a byte-level vocabulary.

    >>> by_bytes("ĠĊÃ©"), by_bytes("<|im end|>")
    (b' \n\xc3\xa9', b'<|im end|>')
    """
    letters = _letters()
    if all(letter in letters for letter in name):
        return bytes(letters[letter] for letter in name)
    return name.encode(errors="surrogatepass")


def by_pieces(name: str) -> bytes:
    r"""Return the bytes of a token of a vocabulary of pieces.

    >>> by_pieces("▁if"), by_pieces("<0x0A>")
    (b' if', b'\n')
    """
    if found := re.fullmatch("<0x([0-9A-F]{2})>", name):
        return bytes([int(found[1], 16)])
    return name.replace("▁", " ").encode(errors="surrogatepass")
