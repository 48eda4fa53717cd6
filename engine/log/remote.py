"""Logs that lie elsewhere: listed, and copied here while they are read.

fsspec does the reading, and is imported, as all that takes long, when the first such log is named:
every command asks here whether a name is that of a log elsewhere. What comes from elsewhere
is trusted no more than any log: it is copied byte for byte, up to a size, and read as a file is.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from backcast.domain.errors import BackcastError, InputError, MissingExtraError

EXTRAS = {"https": "remote", "http": "remote", "s3": "remote", "gs": "gcs", "gcs": "gcs"}
"The extra that each scheme needs."
LIBRARIES = ("fsspec", "s3fs", "gcsfs", "aiobotocore", "botocore", "aiohttp", "google", "asyncio")
COPIES = "BACKCAST_LOG_COPIES"
"The environment variable by which a command's processes share its folder of copies."
LARGEST = 16 * 2**30
"Bytes of the largest log that is copied."
CONNECT, SILENT = 10, 60
"Seconds to reach a server, and without a byte from it."
CHUNK = 2**20
_LOGIN = re.compile(r"(?s)//.*@")
_QUERY = re.compile(r"(?s)\?.*")


class RemoteCopy(NamedTuple):
    """A copy of a log that lies elsewhere."""

    path: Path
    problem: str = ""
    "Why it is not whole; empty where it is."


def scheme_of(name: str) -> str:
    """Return the scheme of a URL in lower case; empty for what is none."""
    scheme, mark, _ = name.partition("://")
    return scheme.lower() if mark else ""


def is_remote(name: str) -> bool:
    """Return whether a name is the URL of a file that lies elsewhere."""
    return scheme_of(name) in EXTRAS


def shown(name: str) -> str:
    """Return the name of a log as a message may repeat it: without a password or a key.

    >>> shown("https://me:secret@host/a.jsonl?key=secret"), shown("s3://runs/a@b.jsonl")
    ('https://...@host/a.jsonl?...', 's3://runs/a@b.jsonl')
    """
    if scheme_of(name) in ("", "sqlite", "s3", "gs", "gcs"):
        return name
    return _QUERY.sub("?...", _LOGIN.sub("//...@", name))


def listed(url: str) -> list[str] | None:
    """Return the URLs of the files in a folder or under a pattern, sorted; None for a single file.

    A pattern over HTTP follows the links of the index pages, and no `**`: a site has no end.
    """
    web = scheme_of(url) in ("http", "https")
    path = urlsplit(url).path if web else url
    pattern = "*" in path or (not web and bool(re.search(r"[?\[]", path)))
    if web and "**" in path:
        raise InputError(f"{shown(url)}: needed a pattern without ** for a web server, found one")
    if not pattern and (web or Path(path).suffix) and not path.endswith("/"):
        return None
    with _explained(url):
        system = _system(url)
        if pattern:
            found = system.glob(url)
        elif web:
            found = system.ls(url, detail=False)
        elif system.isfile(url):
            return None
        else:
            found = system.find(url)
        return sorted(system.unstrip_protocol(name) for name in found if not name.endswith("/"))


@contextmanager
def copies_kept() -> Iterator[None]:
    """Keep copies for as long as this lasts, for all processes that start in it."""
    if COPIES in os.environ:
        yield
        return
    import tempfile

    with tempfile.TemporaryDirectory(prefix="backcast-logs-") as folder:
        os.environ[COPIES] = folder
        try:
            yield
        finally:
            del os.environ[COPIES]


@contextmanager
def copied(url: str) -> Iterator[RemoteCopy]:
    """Copy a log here, unless a copy is kept that is the same; where none is kept it goes again.

    A log that is cut on its way is copied as far as it came. `InputError` where nothing came.
    """
    import tempfile

    kept = os.environ.get(COPIES)
    with nullcontext(kept) if kept else tempfile.TemporaryDirectory(prefix="backcast-log-") as home:
        with _explained(url):
            copy = _copy(_system(url), url, Path(home), kept=bool(kept))
        yield copy


def _copy(system: Any, url: str, home: Path, *, kept: bool) -> RemoteCopy:
    import tempfile
    from hashlib import sha256

    stamp = _stamp(system.info(url)) if kept else ""
    name = Path(unquote(urlsplit(url).path)).name[-100:] or "log"
    key = sha256(f"{url} {stamp}".encode()).hexdigest()[:32]
    place = home / f"log-{key}"
    if stamp and (place / name).is_file():
        return RemoteCopy(place / name)
    folder = Path(tempfile.mkdtemp(dir=home))
    problem = _fetch(system, url, folder / name)
    if problem or not stamp:
        return RemoteCopy(folder / name, problem)
    with suppress(OSError):  # another process was first
        folder.rename(place)
        return RemoteCopy(place / name)
    return RemoteCopy(folder / name)


def _stamp(info: dict[str, Any]) -> str:
    """Return what differs where a file does; empty where its server does not tell."""
    marks = [info.get(key) for key in ("ETag", "etag", "Last-Modified", "LastModified", "updated")]
    return f"{marks} {info.get('size')}" if any(marks) else ""


def _fetch(system: Any, url: str, path: Path) -> str:
    """Copy a file; return why it is not whole, and raise where nothing of it came."""
    from fsspec.callbacks import Callback

    def check(size: int | None, value: int, **_: Any) -> None:
        if value > LARGEST or (size or 0) > LARGEST:
            raise InputError(
                f"{shown(url)}: needed at most {LARGEST:,} bytes, found {max(size or 0, value):,}"
            )

    counted = Callback(hooks={"check": check})
    try:
        system.get_file(url, str(path), callback=counted)
    except BackcastError:
        raise
    except Exception as error:  # of any library underneath
        if not path.is_file() or not path.stat().st_size:
            raise
        return _cut(path, counted.size, _reason(url, error))
    if counted.size and path.stat().st_size < counted.size:
        return _cut(path, counted.size, "it ended")
    return ""


def _cut(path: Path, size: int | None, reason: str) -> str:
    needed = f"all {size:,} bytes" if size else "the whole log"
    return f"needed {needed}, found {path.stat().st_size:,}: cut while it was read ({reason})"


def _system(url: str) -> Any:
    """Return fsspec's file system for a URL; `InputError` where what it needs is not installed."""
    import logging

    scheme = scheme_of(url)
    for name in LIBRARIES:  # what they warn of is told in one line of ours, where it matters
        logging.getLogger(name).addHandler(logging.NullHandler())
    try:
        import fsspec

        return fsspec.filesystem(scheme, use_listings_cache=False, **_options(scheme))
    except ImportError:
        raise MissingExtraError(f"{scheme}://", EXTRAS[scheme]) from None


def _options(scheme: str) -> dict[str, Any]:
    """Return the settings under which a server that is silent is given up."""
    if scheme == "s3":
        retries = {"max_attempts": 2}
        limits = {"connect_timeout": CONNECT, "read_timeout": SILENT, "retries": retries}
        return {"config_kwargs": limits}
    if scheme in ("http", "https"):
        from aiohttp import ClientTimeout

        limit = ClientTimeout(total=None, sock_connect=CONNECT, sock_read=SILENT)
        return {"client_kwargs": {"timeout": limit, "trust_env": True}}
    return {}


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Say in one line what keeps a URL from being read."""
    try:
        yield
    except BackcastError:
        raise
    except Exception as error:  # of any library underneath
        raise InputError(
            f"{shown(url)}: needed a log that can be read, found {_reason(url, error)}"
        ) from None


def _reason(url: str, error: BaseException) -> str:
    # fsspec says so of any failure over HTTP.
    if isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    status = _status(error)
    if status in (404, 410) or isinstance(error, FileNotFoundError):
        return "none there: is the name right?"
    if status in (401, 403) or isinstance(error, PermissionError):
        return "that it may not be read: are there credentials for it, and are they the right ones?"
    if type(error).__name__ in ("NoCredentialsError", "DefaultCredentialsError"):
        return "no credentials: set those of its service (backcast help scale)"
    if status:
        return f"the answer HTTP {status}"
    kind, text = type(error).__name__, " ".join(str(error).split())
    # What a library says may repeat the URL.
    return kind if not text or shown(url) != url else f"{kind}: {text:.200}"


def _status(error: BaseException) -> int | None:
    """Return the status of HTTP that an error tells, as aiohttp or as botocore does."""
    answer = getattr(error, "response", None)
    about = answer.get("ResponseMetadata", {}) if isinstance(answer, dict) else {}
    status = about.get("HTTPStatusCode") or getattr(error, "status", None)
    return status if isinstance(status, int) else None
