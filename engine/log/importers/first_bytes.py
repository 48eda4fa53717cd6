r"""What a file is that is no log, by its first bytes.

>>> kind_of(b"\x89PNG\r\n\x1a\n")
'a PNG picture'
>>> kind_of(b"  <!DOCTYPE html><html>")
'an HTML page, perhaps the error of a server'
"""

import re

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
