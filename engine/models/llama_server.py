"""llama-server: its tokens, its window and its chat template."""

import json
import os
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from io import BufferedReader, RawIOBase
from socket import socket
from time import monotonic
from typing import Any, cast
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

from backcast.domain.budget import ModelProfile, of_window
from backcast.domain.errors import InputError, UnavailableError
from backcast.engine.models.address import address_of, is_here, key_for
from backcast.engine.models.templates import TEMPLATES, pieces
from backcast.engine.models.wire import BYTES

SECONDS = 60.0
"Until a server takes a connection, and from then on for its whole answer."
PROBE = (("system", "S"), ("user", "U"))


class Server:
    """llama-server at a URL; `InputError` where that can be none."""

    exact = True

    def __init__(self, url: str) -> None:
        self.url = address_of(url)
        self.id = f"llama-server at {self.url}"

    def count(self, text: str) -> int:
        """The tokens of a text between two control tokens."""
        return len(self.encode(text))

    def encode(self, text: str) -> list[int]:
        """The tokens themselves, by number."""
        asked = {"content": text.encode(errors="replace").decode(), "parse_special": False}
        tokens = self.ask("/tokenize", asked).get("tokens")
        if not isinstance(tokens, list):
            raise UnavailableError(f"{self.url}/tokenize: needed tokens, found {str(tokens)[:80]}")
        return tokens

    def profile(self) -> ModelProfile:
        """The profile of the model that is served: the nearer budget table, for its own window."""
        settings = self.ask("/props").get("default_generation_settings")
        window = settings.get("n_ctx") if isinstance(settings, dict) else None
        if not isinstance(window, int):
            raise UnavailableError(f"{self.url}/props: needed n_ctx, found {str(settings)[:80]}")
        return of_window(f"server:{self.url}", window, f"server:{self.url}", self.template())

    def template(self) -> str:
        """The chat template, told by what the server makes of two short messages."""
        told = [{"role": role, "content": text} for role, text in PROBE]
        asked = {"messages": told, "chat_template_kwargs": {"enable_thinking": False}}
        prompt = self.ask("/apply-template", asked).get("prompt")
        for template in TEMPLATES:
            ours = "".join(piece.text for piece in pieces(template, PROBE))
            # Some templates leave the first control token to the tokenizer, or differ in blanks.
            if isinstance(prompt, str) and _bare(prompt) == _bare(ours):
                return template
        raise InputError(
            f"{self.url}: needed a chat template like {' or '.join(TEMPLATES)}, found"
            f" {str(prompt)[:120]!r}"
        )

    def ask(self, path: str, asked: dict[str, Any] | None = None) -> dict[str, Any]:
        """What the server answers; `UnavailableError` where it does not, or not in JSON."""
        body = None if asked is None else json.dumps(asked).encode()
        headers = {"Content-Type": "application/json"}
        if os.environ.get("BACKCAST_API_KEY"):
            headers["Authorization"] = f"Bearer {key_for(self.url)}"
        request = Request(self.url + path, body, headers)
        try:
            with _opener(is_here(self.url)).open(request, timeout=SECONDS) as answer:
                told = answer.read(BYTES + 1)
            if len(told) > BYTES:
                raise UnavailableError(f"{self.url}{path}: answered more than {BYTES:,} bytes")
            found = json.loads(told)
        except HTTPError as error:
            error.close()
            raise UnavailableError(f"{self.url}{path}: answered {error.code}") from None
        except (URLError, OSError, ValueError, HTTPException, RecursionError) as error:
            raise UnavailableError(f"{self.url}{path}: no answer: {error}") from None
        return found if isinstance(found, dict) else {}


class _Until(RawIOBase):
    """What a socket receives until a moment of the monotonic clock; then `TimeoutError`.

    The socket's own timeout is that between two bytes.
    """

    def __init__(self, under: socket, end: float) -> None:
        self._socket, self._end = under, end
        self._bytes = under.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if (left := self._end - monotonic()) <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)
        return self._bytes.readinto(buffer)

    def close(self) -> None:
        self._bytes.close()
        super().close()

    def makefile(self, _: str) -> BufferedReader:
        """All that an `HTTPResponse` asks of a socket."""
        return BufferedReader(self)


class _Response(HTTPResponse):
    def __init__(self, sock: socket, *args: Any, **options: Any) -> None:
        super().__init__(cast(socket, _Until(sock, monotonic() + SECONDS)), *args, **options)


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _HTTP(HTTPHandler):
    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_Connection, req)


class _HTTPS(HTTPSHandler):
    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_SecureConnection, req)


class _Stay(HTTPRedirectHandler):
    """Follows no redirect: it would take the key, and what is asked, to who knows whom."""

    def redirect_request(self, *_: object) -> None:
        return None


@lru_cache
def _opener(here: bool) -> OpenerDirector:
    """What asks a server; one on this machine without a proxy, whatever the environment names."""
    direct = [ProxyHandler({})] if here else []
    return build_opener(_HTTP, _HTTPS, _Stay, *direct)


def _bare(prompt: str) -> str:
    return "".join(prompt.removeprefix("<s>").split())
