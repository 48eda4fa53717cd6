"""Addresses of model servers: what one must be, and what an error may repeat of it."""

import re
from urllib.parse import urlsplit

from domain.errors import InputError


def address_of(url: str, path: str = "") -> str:
    """The address in one form; `InputError`, which repeats nothing of it, where it can be none.

    `path` is what an example ends by.

    >>> address_of(" HTTP://127.0.0.1:8080/v1/ ")
    'http://127.0.0.1:8080/v1'
    """
    url = url.strip()
    needed = f"needed http://HOST:PORT{path}"
    if "?" in url or "#" in url:
        raise InputError(
            f"{needed} without a query or fragment, found one: a key goes into BACKCAST_API_KEY"
        )
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    # A password may hold a slash: then what follows "@" is no longer the host's part.
    if not sound or "@" in url or not url.isprintable() or " " in url:
        raise InputError(f"{needed} without a user, found another address")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def shown(name: str) -> str:
    """What somebody named, for an error: without what may be a password or key.

    >>> shown("ftp://me:secret@host/v1?api_key=secret"), shown("recording:what?")
    ('ftp://...@host/v1?...', 'recording:what?')
    """
    if "//" not in name:
        return name
    return re.sub(r"(?s)[?#].*", "?...", re.sub(r"(?s)//.*@", "//...@", name))
