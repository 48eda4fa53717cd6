"""Inspect's `.eval`: a ZIP archive of a header and of the samples, one JSON file each.

The archive is not trusted: a member is read up to a limit, whatever it claims, and only if it
begins like JSON. Newer versions of Inspect compress by zstd, which is method 93 of ZIP.
"""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from struct import unpack
from typing import Any, BinaryIO, cast

from backcast.domain.errors import InputError
from backcast.engine.log.importers import Report
from backcast.engine.log.importers.compressed import unpacked
from backcast.engine.log.importers.documents import UNREAD
from backcast.engine.log.importers.json_values import named, parse
from backcast.engine.log.importers.lines import unreadable

MAX_MEMBER = 2**29
"Bytes of the longest member that is read."
STEP = 2**20
ZSTD = 93
"The method of ZIP that Python does not know before 3.14."
HELP = "; 'inspect log convert --to json' gives a log as JSON"

_SAMPLE = re.compile(r"samples/(.+)_epoch_(\d{1,9})\.json")


def is_archive(path: Path) -> bool:
    """Return whether a file begins like a ZIP archive."""
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except OSError as error:
        raise unreadable(path, error) from None


def read_archive(path: Path, report: Report) -> tuple[dict[str, Any], Iterator[Any]]:
    """Return the log without its samples, and the samples in Inspect's order."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            header = next((n for n in ("header.json", "_journal/start.json") if n in names), None)
            if header is None:
                listed = ", ".join(repr(name[:30]) for name in sorted(names)[:3]) or "nothing"
                raise InputError(
                    f"{path}: needed an Inspect archive with 'header.json', found a ZIP archive of"
                    f" {listed}"
                )
            document = _value(archive, header)
            if not isinstance(document, dict) or not isinstance(document.get("eval"), dict):
                raise InputError(f"needed an object with 'eval', found {named(document)}")
            if header != "header.json":
                report.notes.append("the evaluation was not finished: its archive has no header")
            if "reductions.json" in names:
                document = {"reductions": _value(archive, "reductions.json"), **document}
    except zipfile.BadZipFile as error:
        raise InputError(
            f"{path}: needed a whole Inspect archive, found a ZIP archive that is cut off or"
            f" damaged: {error}"
        ) from None
    except InputError as error:
        whole = str(error)
        raise InputError(whole if whole.startswith(str(path)) else f"{path}: {whole}") from None
    return document, _samples(path, sorted(filter(_SAMPLE.fullmatch, names), key=_place), report)


def _place(name: str) -> tuple[int, str]:
    """Return the place of a sample: by epoch, then by id, as Inspect sorts them."""
    found = _SAMPLE.fullmatch(name)
    assert found
    return int(found[2]), found[1].zfill(20) if found[1].isdigit() else found[1]


def _samples(path: Path, names: list[str], report: Report) -> Iterator[Any]:
    with zipfile.ZipFile(path) as archive:
        for name in names:
            try:
                yield _value(archive, name)
            except InputError as error:
                report.skipped.append(str(error))
                yield UNREAD


def _value(archive: zipfile.ZipFile, name: str) -> Any:
    """Return the JSON value of a member; `InputError` that names it otherwise."""
    try:
        with _member(archive, name) as file:
            text = file.read(1)
            if text not in (b"{", b"["):
                raise InputError(f"{name}: needed a JSON object, found other bytes")
            pieces = [text]
            for _ in range(MAX_MEMBER // STEP):
                pieces.append(file.read(STEP))
                if not pieces[-1]:
                    return parse(b"".join(pieces))
            raise InputError(f"{name}: needed at most {MAX_MEMBER:,} bytes, found more")
    except InputError as error:
        whole = str(error)
        raise InputError(whole if whole.startswith(name) else f"{name}: {whole}") from None
    except (OSError, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise InputError(f"{name}: needed a readable member, found: {error}{HELP}") from None
    except Exception as error:  # zlib, lzma and zipfile have errors of their own for damage
        raise InputError(f"{name}: needed a whole member, found: {error}") from None


def _member(archive: zipfile.ZipFile, name: str) -> BinaryIO:
    info = archive.getinfo(name)
    if info.compress_type != ZSTD:
        return cast(BinaryIO, archive.open(info))
    assert archive.filename
    with Path(archive.filename).open("rb") as file:
        file.seek(info.header_offset)
        head = file.read(30)
        if head[:4] != b"PK\x03\x04":
            raise InputError(f"{name}: needed a whole member, found none")
        file.seek(sum(unpack("<HH", head[26:30])), 1)
        return unpacked(file.read(min(info.compress_size, MAX_MEMBER)))
