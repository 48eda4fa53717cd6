r"""What a file is that is no log, by its first bytes.

>>> kind_of(b"\x89PNG\r\n\x1a\n")
'a PNG picture'
>>> kind_of(b"  <!DOCTYPE html><html>")
'an HTML page, perhaps the error of a server'
>>> is_binary(b"{" + bytes(80))
False
"""

import re
from pathlib import Path

from backcast.domain.errors import InputError
from backcast.engine.log.importers.compressed import CutError, opened

LENGTH = 512
"Bytes that are looked at."
KINDS = {
    b"PK\x03\x04": "a ZIP archive",
    b"PK\x05\x06": "an empty ZIP archive",
    b"SQLite format 3\0": "a SQLite database",
    b"%PDF-": "a PDF document",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"GGUF": "the weights of a model (GGUF)",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"bplist00": "a property list",
    b"# v2 git bundle": "a git bundle",
    b"PACK": "a git pack",
    b"version https://git-lfs": "a pointer of Git LFS, whose content 'git lfs pull' brings",
    b"<?xml": "an XML document",
    b"-----BEGIN ": "a key or a signature",
    b"\x80\x04\x95": "a Python pickle",
    b"#!": "a script",
}
BINARY = 0.1
"The share of control characters from which on the beginning of a file is no text."
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\x1b"))
_HTML = re.compile(rb"(?i)<(?:!doctype html|html|head|body)\b")


def kind_of(head: bytes) -> str | None:
    """Return what a file with these first bytes is, in words; None if they do not tell."""
    for magic, kind in KINDS.items():
        if head.startswith(magic):
            return kind
    if head[257:262] == b"ustar":
        return "a tar archive"
    if _HTML.match(head.removeprefix(b"\xef\xbb\xbf").lstrip()):
        return "an HTML page, perhaps the error of a server"
    return None


def is_binary(head: bytes) -> bool:
    """Return whether a file with these first bytes is no text; zeros around one do not count."""
    text = head.strip(b"\0 \t\r\n")
    if not text or text.startswith((b"{", b"[", b"\xef\xbb\xbf")):
        return False
    return len(text) - len(text.translate(None, _CONTROLS)) > BINARY * len(text)


def refuse_binary(path: Path, needed: str) -> None:
    """Raise `InputError` with `needed` where the first block of a file is no text.

    Else a file of gigabytes would be searched for a line to its end. A pipe, which cannot be read
    twice, and what cannot be opened is left to its reader.
    """
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            packed = file.read(LENGTH)
        with opened(path) as file:
            head = file.read(LENGTH)
    except (OSError, CutError):
        return
    if is_binary(head):
        kind = kind_of(packed) or kind_of(head) or "a binary file"
        raise InputError(f"{path}: needed {needed}, found {kind}")
