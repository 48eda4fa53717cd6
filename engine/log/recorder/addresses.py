"""What does the URL of a store name? Where it would keep nothing, or lead elsewhere: an error."""

import re
import stat
from pathlib import Path

from backcast.domain.errors import InputError

IN_MEMORY = "sqlite://"
"A store that is gone when it is closed; for programs."
SCHEMES = ("sqlite", "postgresql", "postgres")
ENDINGS = (".db", ".sqlite", ".sqlite3")
"Endings by which the path of a file names a store, without a scheme."
LOG_ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst")
MAGIC = b"SQLite format 3\0"
_FORMS = "FILE.db, sqlite:///FILE or postgresql://HOST/NAME"
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BARE = re.compile(r"(?:sqlite:|file:)?(?!//|.*://)([^\s:](?:[^\n:]*[^\s:])?)")
"A path where a URL is needed."
_LOGIN = re.compile(r"(://)[^/?#]*@")


def scheme_of(url: str) -> str:
    """Return the scheme of a store's URL; `InputError` for any other text."""
    scheme, given, rest = url.partition("://")
    if given and scheme in SCHEMES and rest == rest.strip() and not _CONTROL.search(rest):
        return scheme
    bare = _BARE.fullmatch(url)
    raise _error(url, f": did you mean sqlite:///{bare[1]}" if bare else "")


def store_url(text: str) -> str:
    """Return the URL of a store that somebody typed: a URL as it is, or one for the path of a file.

    A path is taken where it can be nothing else: it has the ending of a database, or leads to one.
    `InputError` for any other text.
    """
    if "://" in text:
        return text
    if text.endswith(LOG_ENDINGS):
        raise _error(text, ", a log: its path stands alone, without --store")
    bare = _BARE.fullmatch(text)
    if bare and bare[1] == text and (text.endswith(ENDINGS) or is_database(text)):
        return f"{IN_MEMORY}/{text}"
    scheme_of(text)
    return text


def is_database(path: str) -> bool:
    """Tell whether a path leads to a file of SQLite."""
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except (OSError, ValueError):
        return False


def sqlite_file(url: str) -> str:
    """Return the path in a URL of SQLite; `InputError` where it names no file."""
    rest = url.removeprefix(IN_MEMORY)
    if not rest.startswith("/"):
        raise _error(url, f": three slashes come before a path: sqlite:///{rest}")
    path = re.sub("^//+", "/", rest[1:])  # SQLite would take what follows two for a host
    if not path or path == ":memory:" or path.startswith("file:"):
        raise _error(url, ", which names no file")
    if path.endswith("/"):
        raise _error(url, ", which is a folder: name a file in it")
    mode = _mode_of(path)
    if mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise _error(url, ", which is no file that keeps anything")
    return path


def check_kept(url: str) -> None:
    """Refuse a URL whose store is gone when the command ends, or has a name that nobody meant."""
    if url == IN_MEMORY:
        raise _error(url, ", a store in memory, which is gone when the command ends")
    if scheme_of(url) == "sqlite":
        path = sqlite_file(url)
        if ("?" in path or _ESCAPE.search(Path(path).name)) and _mode_of(path) is None:
            raise _error(url, ": a path stands there as it is, without escapes or settings")


def _mode_of(path: str) -> int | None:
    try:
        return Path(path).stat().st_mode
    except (OSError, ValueError):
        return None


def _error(url: str, reason: str) -> InputError:
    shown = _LOGIN.sub(r"\1...@", url)
    return InputError(f"store: needed {_FORMS}, found {shown!r}{reason}")
