"""Addresses of model servers: what one must be, who gets which key, what an error may repeat."""

import ipaddress
import os
import re
from urllib.parse import urlsplit

from backcast.domain.errors import InputError


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


def key_for(url: str, key: str = "") -> str:
    """Return the key for a server: the one given, else BACKCAST_API_KEY; empty where there is none.

    OPENAI_API_KEY is for OpenAI's own server only. `InputError` where a header cannot hold it.
    """
    key = (key or os.environ.get("BACKCAST_API_KEY", "")).strip()
    if not key and is_openai(url):
        key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key.isascii() or not key.isprintable():
        raise InputError("needed an API key of printable ASCII, found another")
    return key


def is_openai(url: str) -> bool:
    """Tell whether an address is that of OpenAI's own server.

    >>> is_openai("https://api.openai.com/v1"), is_openai("https://api.openai.com.example.org")
    (True, False)
    """
    parts = urlsplit(url)
    return (parts.scheme, parts.hostname, parts.port or 443) == ("https", "api.openai.com", 443)


def is_here(url: str) -> bool:
    """Tell whether an address is that of this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def shown(name: str) -> str:
    """Return a name as an error may repeat it: without a password or key.

    >>> shown("ftp://me:secret@host/v1?api_key=secret"), shown("recording:what?")
    ('ftp://...@host/v1?...', 'recording:what?')
    """
    if "//" not in name:
        return name
    return re.sub(r"(?s)[?#].*", "?...", re.sub(r"(?s)//.*@", "//...@", name))
