"""How likely is a given text behind a prompt, to a model behind a server?

vLLM and those who speak as it does return the log-probability of each token of a prompt, beside
`prompt_logprobs` or where `echo` repeats the prompt. Which of the two, is found out by asking once;
llama-server does neither. The server splits texts into tokens and says where each one ends.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from time import monotonic
from typing import Any

from backcast.domain.errors import InputError, ModelError
from backcast.engine.models import Message
from backcast.engine.models.address import address_of, key_for
from backcast.engine.models.asking import Connection
from backcast.engine.models.chat import PLAIN, SHAPES, OwnTemplate, chosen, renders
from backcast.engine.models.likelihood import (
    DIGITS,
    ReadText,
    RenderedPrompt,
    SpelledText,
    rendered_prompt,
)
from backcast.engine.models.llama_server import control_like
from backcast.engine.models.templates import TEMPLATES, merged, pieces
from backcast.engine.models.token_names import by_bytes, by_pieces
from backcast.engine.models.wire import name_of

VERSION = 1
"Grows when the same answers of a server would give other numbers."
SECONDS = 600.0
"For one prompt, where no time is given."
ASKED = 30.0
"Seconds for what is asked before the first prompt."
BACKOFF = 0.5
KEPT = 4_096
"Texts whose tokens are remembered: prompts are built of the same ones again and again."
PROBE = "def one() -> int:\n    return 1\n"
TRIED = (*SHAPES, (Message("user", "U"),))
"Messages by which the chat template of a server is found out."
LEAST = -9999.0
"What vLLM says for a probability of 0, as JSON has no infinity."


class ServerReader:
    """The model at `http://HOST:PORT/v1`, which is asked at once whether it can read."""

    exact = True

    def __init__(self, url: str) -> None:
        """`InputError` in a line where it cannot, or where its chat template is not known."""
        self.heard: Callable[[int], None] = lambda tokens: None
        "Is never called: a server reads a prompt as a whole."
        self.root = address_of(url, "/v1").removesuffix("/v1")
        self.place = f"{self.root}/v1"
        self._line = Connection(self.place, key_for(self.place) or "no-key", BACKOFF)
        served = self._served()
        self._name = str(served["id"])
        self._echoes = self._way()
        self.encode = lru_cache(KEPT)(self._encode)  # type: ignore[method-assign]
        asked = self._tokenized({"prompt": PROBE, "add_special_tokens": False})
        self.trained = self.window = int(asked.get("max_model_len") or served["max_model_len"])
        known = f"{self._name}\n{served.get('root', '')}\n{self.window}"
        self.model = f"{name_of(self._name)} {sha256(known.encode()).hexdigest()[:DIGITS]}"
        "The name of the model, and a digest of all that the server tells of it."
        self.id = f"vocabulary of {self.model}"
        self.tokenizer = f"server:{self.root}"
        self._begins = False
        "Whether the server puts a token of its own before a prompt."
        self.counted_as = self._template()
        self.template = sha256(self.counted_as.encode()).hexdigest()[:DIGITS]
        self.reader = f"{VERSION}, {self._program(served)}"

    # What it is

    def _served(self) -> dict[str, Any]:
        listed = self._line.get(f"{self.place}/models", ASKED).get("data")
        first = listed[0] if isinstance(listed, list) and listed else None
        if not isinstance(first, dict) or not first.get("id"):
            raise InputError(f"{self.place}/models: needed the name of a model, found none")
        return {"max_model_len": 0, **first}

    def _program(self, served: Mapping[str, Any]) -> str:
        try:
            version = str(self._line.get(f"{self.root}/version", ASKED).get("version", ""))
        except ModelError:
            version = ""
        return f"{served.get('owned_by') or 'a server'} {version}".strip()

    def _way(self) -> bool:
        """Return whether prompts are echoed; `InputError` where their tokens have no numbers."""
        for echoes in (False, True):
            try:
                choice = self._completed(PROBE, ASKED, echoes)
            except ModelError as error:
                if error.kind in ("unavailable", "timeout"):
                    raise
                continue
            given = _echoed(choice) if echoes else choice.get("prompt_logprobs")
            if isinstance(given, list) and len(given) > 1:
                return echoes
        raise InputError(
            f"{self.place}: needed a server that tells log-probabilities of a prompt"
            " (prompt_logprobs, or echo with logprobs, as vLLM does), found none: llama-server"
            " tells none, so name its file, as llama:FILE"
        )

    def _template(self) -> str:
        """Return the chat template, by what the server makes of some messages."""
        shapes = [self._rendered(shape) or self._rendered(merged(shape)) for shape in TRIED]
        if not any(shapes):
            self._begins = self._tokens(PROBE, True) != self._tokens(PROBE, False)
            return OwnTemplate(PLAIN).text

        def same(template: str) -> bool:
            return all(
                made is None or self._tokens(_joined(pieces(template, shape)), False) == made
                for shape, made in zip(TRIED, shapes, strict=True)
            )

        if found := next(filter(same, TEMPLATES), ""):
            return found
        if (own := self._own()) and same(own):
            return own
        raise InputError(
            f"{self.place}: needed a chat template of {', '.join(TEMPLATES)}, or one that the"
            " server tells, found another: vLLM tells it if it was started with"
            " --enable-tokenizer-info-endpoint"
        )

    def _rendered(self, messages: Sequence[tuple[str, str]]) -> list[int] | None:
        """Return the tokens that the server makes of messages; None where it takes none."""
        turns = [{"role": role, "content": text} for role, text in messages]
        switch = {"enable_thinking": False}
        try:
            return _numbers(
                self._tokenized({"messages": turns, "chat_template_kwargs": switch}), self.place
            )
        except ModelError as error:
            if error.kind in ("unavailable", "timeout"):
                raise
            return None

    def _own(self) -> str:
        """Return the template that the server tells; empty where it tells none."""
        try:
            info = self._line.get(f"{self.root}/tokenizer_info", ASKED)
        except ModelError:
            return ""
        source, bos, eos = (_text(info.get(n)) for n in ("chat_template", "bos_token", "eos_token"))
        try:
            own = chosen(OwnTemplate(source, bos, eos), ()) if source else None
            made = renders(own) if own else ""
        except InputError:
            return ""
        added = info.get("added_tokens_decoder")
        known = [_text(one) for one in added.values()] if isinstance(added, dict) else []
        return chosen(own, [*known, *control_like(made), bos, eos]).text if own else ""

    # Counting, as a tokenizer of prompts does

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text between two control tokens, by number."""
        return self._encode(text)

    def _encode(self, text: str) -> list[int]:
        return self._tokens(text, False) if text else []

    def count(self, text: str) -> int:
        """Return the tokens of a text between two control tokens."""
        return len(self.encode(text))

    def _tokens(self, text: str, begun: bool) -> list[int]:
        sent = text.encode(errors="replace").decode()
        found = self._tokenized({"prompt": sent, "add_special_tokens": begun})
        return _numbers(found, self.place)

    # Reading

    def prompt(self, messages: Sequence[tuple[str, str]], header: str = "") -> RenderedPrompt:
        """Return messages as the server's template renders them: see `rendered_prompt`."""
        return rendered_prompt(self.counted_as, messages, header)

    def spelled(self, prompt: RenderedPrompt, text: str) -> SpelledText:
        """Return a prompt and a text as the server's tokens; see `LikelihoodReader.spelled`.

        `InputError` where a text would be read as a control token, as a server cannot be kept
        from doing.
        """
        if not text.strip():
            raise InputError("the outcome: needed a text to read, found an empty one")
        whole = _joined(prompt.runs) + text
        controls = [run.text for run in prompt.runs if run.control]
        for control in dict.fromkeys(controls):
            if whole.count(control) > controls.count(control):
                raise InputError(
                    f"needed texts without control tokens, found {control!r}, which {self.place}"
                    " reads as one"
                )
        sent = whole.encode(errors="replace").decode()
        found = self._tokenized(
            {"prompt": sent, "add_special_tokens": self._begins, "return_token_strs": True}
        )
        tokens, names = _numbers(found, self.place), found.get("token_strs")
        if not isinstance(names, list) or len(names) != len(tokens):
            raise InputError(
                f"{self.place}: needed token_strs, which say where each token ends, found none:"
                " vLLM tells them since 0.10"
            )
        body = text.encode(errors="replace")
        for spelled in (by_bytes, by_pieces):
            ends, size = list[bytes](), 0
            while size < len(body) and len(ends) < len(tokens):
                ends.insert(0, spelled(str(names[-1 - len(ends)])))
                size += len(ends[0])
            if b"".join(ends).endswith(body) and len(ends) < len(tokens):
                split = len(tokens) - len(ends)
                return SpelledText(tokens[:split], tokens[split:], ends, size - len(body))
        raise InputError(
            f"needed a vocabulary that spells the text, found that {self.model} makes"
            f" {''.join(map(str, names))[-40:]!r} of its end"
        )

    def read(self, prompt: RenderedPrompt, text: str, until: float = math.inf) -> ReadText:
        """Return how likely each token of a text is; see `LikelihoodReader.read`."""
        spelled = self.spelled(prompt, text)
        tokens = [*spelled.prompt, *spelled.text]
        if len(tokens) >= self.window:  # one more is generated, and thrown away
            raise ModelError(
                f"needed {len(tokens) + 1:,} tokens, {len(spelled.text):,} of them what was"
                f" written, found a window of {self.window:,}",
                "overflow",
            )
        choice = self._completed(tokens, min(SECONDS, until - monotonic()), self._echoes)
        given = _echoed(choice) if self._echoes else choice.get("prompt_logprobs")
        first = len(spelled.prompt)
        try:
            if not isinstance(given, list):
                raise TypeError
            found = [_of_token(given[n], tokens[n]) for n in range(first, len(tokens))]
        except (LookupError, TypeError, ValueError):
            raise ModelError(
                f"{self.place}: needed a log-probability of each token of the prompt, found none",
                "garbled",
            ) from None
        if not all(LEAST < nats <= 0 for nats in found):
            raise ModelError(
                f"{self.place}: needed log-probabilities, found NaN or infinity", "garbled"
            )
        return ReadText(tuple(spelled.pieces), tuple(-nats for nats in found), spelled.before)

    def _completed(self, prompt: str | list[int], seconds: float, echoes: bool) -> dict[str, Any]:
        """Return the only choice of a completion of one token behind a prompt."""
        asked: dict[str, Any] = {"model": self._name, "prompt": prompt, "max_tokens": 1}
        asked |= {"temperature": 0, "seed": 1}
        asked |= {"echo": True, "logprobs": 1} if echoes else {"prompt_logprobs": 1}
        if seconds <= 0:
            raise ModelError("the time is up", "timeout")
        choices = self._line.post(f"{self.place}/completions", asked, seconds).get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        return choice if isinstance(choice, dict) else {}

    def _tokenized(self, asked: dict[str, Any]) -> dict[str, Any]:
        return self._line.post(f"{self.root}/tokenize", {"model": self._name, **asked}, ASKED)


def _numbers(found: Mapping[str, Any], place: str) -> list[int]:
    tokens = found.get("tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
        raise ModelError(f"{place}: needed tokens of /tokenize, found {tokens!r:.80}", "garbled")
    return tokens


def _echoed(choice: Mapping[str, Any]) -> object:
    given = choice.get("logprobs")
    return given.get("token_logprobs") if isinstance(given, dict) else None


def _of_token(given: object, token: int) -> float:
    """Return the log-probability of a token: a number, or one of some tokens by their numbers."""
    return float(given[str(token)]["logprob"] if isinstance(given, dict) else given)  # type: ignore[arg-type]


def _text(value: object) -> str:
    """Return a token that a tokenizer's settings write as a text, or as an object with it."""
    value = value.get("content") if isinstance(value, dict) else value
    return value if isinstance(value, str) else ""


def _joined(runs: Sequence[tuple[str, bool]]) -> str:
    return "".join(text for text, _ in runs)
