"""llama-server: its tokens, its window and its chat template."""

import json
import os
import re
from http.client import HTTPException
from typing import Any

from backcast.domain.budget import ModelProfile, of_window
from backcast.domain.errors import InputError, UnavailableError
from backcast.engine.models.address import address_of, key_for
from backcast.engine.models.chat import OwnTemplate, chosen, renders
from backcast.engine.models.http_client import NoAnswerError, ask
from backcast.engine.models.templates import TEMPLATES, pieces

SECONDS = 60.0
"For a question and its whole answer."
_TOKENS = re.compile(r"<[^<>\s]{1,60}>|\[/?[A-Z][A-Z_]*\]")
"What control tokens look like."
PROBE = (("system", "S"), ("user", "U"))


class Server:
    """llama-server at a URL; `InputError` where that can be none."""

    exact = True

    def __init__(self, url: str) -> None:
        self.url = address_of(url)
        self.id = f"llama-server at {self.url}"

    def count(self, text: str) -> int:
        """Return the tokens of a text between two control tokens."""
        return len(self.encode(text))

    def encode(self, text: str) -> list[int]:
        """Return the tokens themselves, by number."""
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
        """Return the chat template, told by what the server makes of two short messages.

        It is one of ours by its name where it makes the same, else the server's own, whole.
        """
        messages = [{"role": role, "content": text} for role, text in PROBE]
        asked = {"messages": messages, "chat_template_kwargs": {"enable_thinking": False}}
        prompt = self.ask("/apply-template", asked).get("prompt")
        for template in TEMPLATES:
            ours = "".join(piece.text for piece in pieces(template, PROBE))
            # Some templates leave the first control token to the tokenizer, or differ in blanks.
            if isinstance(prompt, str) and _bare(prompt) == _bare(ours):
                return template
        return self._own(str(prompt))

    def _own(self, prompt: str) -> str:
        """Return the template that the server tells, if it makes the same prompt here."""
        props = self.ask("/props")
        source, bos, eos = (
            str(props.get(name) or "") for name in ("chat_template", "bos_token", "eos_token")
        )
        if not source:
            raise InputError(
                f"{self.url}: needed a chat template like {' or '.join(TEMPLATES)}, or one that the"
                f" server tells, found {prompt[:120]!r}"
            )
        try:
            own = chosen(OwnTemplate(source, bos, eos, begins=self._begins(bos)), ())
            shown = "".join(piece.text for piece in pieces(own.text, PROBE))
        except InputError as error:
            raise InputError(f"{self.url}: {error}") from None
        if _bare(shown.removeprefix(bos)) != _bare(prompt.removeprefix(bos)):
            raise InputError(
                f"{self.url}: needed a chat template that makes the same here as there, found"
                f" {shown[:120]!r} here and {prompt[:120]!r} there"
            )
        made = renders(own)
        return chosen(own, filter(self._is_control, {*control_like(made), bos, eos})).text

    def _begins(self, bos: str) -> str:
        """Return the token that the server puts before a prompt; empty for none."""
        added, bare = (self._numbers("x", add_special=added) for added in (True, False))
        return bos if bos and len(added) > len(bare) else ""

    def _is_control(self, text: str) -> bool:
        """Tell whether a text is one control token, which no text of a message becomes."""
        if not text:
            return False
        special = self._numbers(text, parse_special=True)
        return len(special) == 1 and special != self._numbers(text, parse_special=False)

    def _numbers(self, text: str, **options: bool) -> list[int]:
        tokens = self.ask("/tokenize", {"content": text, **options}).get("tokens")
        return tokens if isinstance(tokens, list) else []

    def ask(self, path: str, asked: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the server answers; `UnavailableError` where it does not, or not in JSON."""
        key = key_for(self.url) if os.environ.get("BACKCAST_API_KEY") else ""
        try:
            answer = ask(self.url + path, asked, key, SECONDS)
            if answer.status >= 300:
                raise UnavailableError(f"{self.url}{path}: answered {answer.status}")
            value = json.loads(answer.body)
        except NoAnswerError as error:
            raise UnavailableError(f"{self.url}{path}: answered {error}") from None
        except (OSError, ValueError, HTTPException, RecursionError) as error:
            raise UnavailableError(f"{self.url}{path}: no answer: {error}") from None
        return value if isinstance(value, dict) else {}


def control_like(text: str) -> list[str]:
    """Return the parts of a text that look like control tokens.

    >>> control_like("<s>[INST] a < b[/INST]")
    ['<s>', '[INST]', '[/INST]']
    """
    return _TOKENS.findall(text)


def _bare(prompt: str) -> str:
    return "".join(prompt.removeprefix("<s>").split())
