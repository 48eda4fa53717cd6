"""llama-server: its tokens, its window and its chat template."""

import json
import os
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from domain.budget import ModelProfile, of_window
from domain.errors import InputError, UnavailableError
from engine.context.rendering import TEMPLATES, pieces
from engine.models.address import address_of

SECONDS = 60
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
        if key := os.environ.get("BACKCAST_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        request = Request(self.url + path, body, headers)
        try:
            with urlopen(request, timeout=SECONDS) as answer:
                found = json.load(answer)
        except HTTPError as error:
            raise UnavailableError(f"{self.url}{path}: answered {error.code}") from None
        except (URLError, OSError, ValueError, HTTPException) as error:
            raise UnavailableError(f"{self.url}{path}: no answer: {error}") from None
        return found if isinstance(found, dict) else {}


def _bare(prompt: str) -> str:
    return "".join(prompt.removeprefix("<s>").split())
