"""Which requests may a server on this machine answer? None that a foreign web page sends.

A browser lets any page send requests to this machine, and a name that is made to lead here lets it
read the answers as well. Programs that are no browser send neither an Origin nor a foreign Host.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")


def own_names(port: int) -> list[str]:
    """Return the addresses of a server on this machine alone: HOST:PORT."""
    return [f"{name}:{port}" for name in NAMES]


class AllowedPages(NamedTuple):
    """The addresses by which a server may be asked, and the pages that may ask."""

    hosts: frozenset[str]
    "HOST:PORT, or a HOST at any port."
    origins: frozenset[str] = frozenset()
    "Of other pages: http://HOST:PORT."
    any_address: bool = False
    "Whether any IP address may be the Host: no page can make one lead elsewhere."

    def refusal(self, headers: Mapping[str, str]) -> str:
        """Return why a request is not answered; empty where it is. Names are in lower case."""
        host = headers.get("host", "").lower()
        if not self._is_own(host):
            return "needed the address that was printed, found another Host"
        origin = headers.get("origin")
        if origin is not None and origin in self.origins:
            return ""
        own = origin is not None and origin.removeprefix("http://") in (host, *self.hosts)
        if origin is not None and not own:
            return "needed a request of the page itself, found another Origin"
        site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
        if site in ("cross-site", "same-site") and mode != "navigate":
            return "needed a request of the page itself, found one of another site"
        return ""

    def _is_own(self, host: str) -> bool:
        with suppress(ValueError):
            name = urlsplit(f"//{host}").hostname or ""
            if host in self.hosts or name in self.hosts:
                return True
            return self.any_address and bool(ip_address(name))
        return False


def pages_of(host: str, allowed: Iterable[str]) -> AllowedPages:
    """Return who may ask a server that listens at a host; `allowed` are hosts and origins.

    >>> pages = pages_of("127.0.0.1", ["http://localhost:3000", "box"])
    >>> [bool(pages.refusal(asked)) for asked in (
    ...     {"host": "box:8099"}, {"host": "evil.example:8099"},
    ...     {"host": "[::1]:1", "origin": "http://localhost:3000"},
    ...     {"host": "127.0.0.1:1", "origin": "http://localhost:1"})]
    [False, True, False, True]
    """
    named = [one.rstrip("/").lower() for one in allowed]
    hosts = frozenset(one for one in named if "://" not in one)
    origins = frozenset(one for one in named if "://" in one)
    return AllowedPages(hosts | {host.lower(), "localhost"}, origins, any_address=True)
