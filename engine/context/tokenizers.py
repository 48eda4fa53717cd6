"""How many tokens is a text? Each model counts its own.

- `mistral-v3`, `mistral-v1`: Mistral's own SentencePiece of 32,768 or 32,000 pieces; needs
  `mistral-common`.
- `gguf:FILE`: llama.cpp with the vocabulary of a model file and nothing else of it; needs
  `llama-cpp-python`.
- `server:URL`: llama-server's `/tokenize`.
- `upper-bound`, and for now `qwen3`: a bound that no such tokenizer exceeds.

Control tokens, as chat templates hold them, are one token each and are never made of text.
"""

import json
import warnings
from functools import lru_cache
from typing import Any, Protocol
from urllib.error import URLError
from urllib.request import Request, urlopen

from domain.errors import InputError, UnavailableError


class Tokenizer(Protocol):
    """Counts the tokens of a text as one model does."""

    @property
    def id(self) -> str:
        """A name that tells it from every other that could count differently."""

    @property
    def exact(self) -> bool:
        """Whether `count` is the number itself, or a bound that it never exceeds."""

    def count(self, text: str) -> int:
        """The tokens of a text between two control tokens."""

    def encode(self, text: str) -> list[int]:
        """The tokens themselves, by number; as many as are counted."""


class UpperBound:
    """A bound for every tokenizer whose tokens each stand for at least one byte of UTF-8.

    That holds for byte-level BPE (Qwen) and for SentencePiece with byte fallback (Mistral), which
    may put one space in front. The true number is a third of it for English, or less.
    """

    id = "upper bound 1"
    exact = False

    def count(self, text: str) -> int:
        """The bytes of the text in UTF-8, and one for a space in front."""
        return len(text.encode(errors="replace")) + 1 if text else 0

    def encode(self, text: str) -> list[int]:
        """The bytes of the text in UTF-8 after one space: no model's tokens, but as many."""
        return list(f" {text}".encode(errors="replace")) if text else []


class Mistral:
    """The tokenizer of Mistral 7B Instruct: version 3 for v0.3, version 1 for the earlier ones."""

    exact = True

    def __init__(self, version: int) -> None:
        try:
            from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
        except ImportError:
            raise InputError(
                "counting as Mistral does needs 'pip install backcast[mistral]'; or choose"
                " --tokenizer upper-bound"
            ) from None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            whole: Any = MistralTokenizer.v3() if version == 3 else MistralTokenizer.v1()
        self._pieces = whole.instruct_tokenizer.tokenizer
        self.id = f"mistral-common v{version}, {self._pieces.n_words} pieces"

    def count(self, text: str) -> int:
        """The tokens of a text between two control tokens."""
        return len(self.encode(text))

    def encode(self, text: str) -> list[int]:
        """The tokens themselves, by number."""
        clean = text.encode(errors="replace").decode()
        return list(self._pieces.encode(clean, bos=False, eos=False)) if clean else []


class Vocabulary:
    """llama.cpp, with only the vocabulary of a model file loaded."""

    exact = True

    def __init__(self, path: str) -> None:
        try:
            from llama_cpp import Llama
        except ImportError:
            raise InputError(
                "counting by a model file needs 'pip install backcast[llama]'"
            ) from None
        try:
            self._model = Llama(model_path=path, vocab_only=True, verbose=False)
        except (ValueError, OSError, RuntimeError, AssertionError) as error:
            raise InputError(f"{path}: needed a GGUF file with a vocabulary: {error}") from None
        self.id = f"vocabulary of {path.rpartition('/')[2]}, {self._model.n_vocab()} tokens"

    def count(self, text: str) -> int:
        """The tokens of a text between two control tokens."""
        return len(self.encode(text))

    def encode(self, text: str) -> list[int]:
        """The tokens themselves, by number."""
        body = text.encode(errors="replace")
        return list(self._model.tokenize(body, add_bos=False, special=False)) if body else []


class Server:
    """llama-server's own count."""

    exact = True

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.id = f"llama-server at {self.url}"

    def count(self, text: str) -> int:
        """The tokens of a text between two control tokens."""
        return len(self.encode(text))

    def encode(self, text: str) -> list[int]:
        """The tokens themselves, by number."""
        asked = {"content": text.encode(errors="replace").decode(), "parse_special": False}
        answer = self._ask("/tokenize", asked)
        tokens = answer.get("tokens")
        if not isinstance(tokens, list):
            raise UnavailableError(f"{self.url}/tokenize: needed tokens, found {str(answer)[:80]}")
        return tokens

    def _ask(self, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        if not self.url.startswith(("http://", "https://")):
            raise InputError(f"needed http://HOST:PORT, found {self.url!r}")
        body = json.dumps(asked).encode()
        request = Request(self.url + path, body, {"Content-Type": "application/json"})
        try:
            with urlopen(request, timeout=60) as answer:
                found = json.load(answer)
        except (URLError, OSError, ValueError) as error:
            raise UnavailableError(f"{self.url}{path}: no answer: {error}") from None
        return found if isinstance(found, dict) else {}


@lru_cache(maxsize=8)
def tokenizer_of(name: str) -> Tokenizer:
    """The tokenizer of a name; `InputError` where there is none, or where it cannot be loaded."""
    kind, _, place = name.partition(":")
    if kind == "gguf" and place:
        return Vocabulary(place)
    if kind == "server" and place:
        return Server(place)
    match name:
        case "mistral-v3":
            return Mistral(3)
        case "mistral-v1":
            return Mistral(1)
        case "upper-bound" | "qwen3":
            return UpperBound()
    raise InputError(
        f"needed mistral-v3, mistral-v1, gguf:FILE, server:URL or upper-bound, found {name!r}"
    )
