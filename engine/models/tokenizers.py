"""How many tokens is a text? Each model counts its own.

- `mistral-v3`, `mistral-v1`: Mistral's own SentencePiece of 32,768 or 32,000 pieces; needs
  `mistral-common`.
- `gguf:FILE`: llama.cpp with the vocabulary of a model file and nothing else of it; needs
  `llama-cpp-python`. Where the file lies elsewhere here, see `backcast.engine.models.places`.
- `qwen3:FILE`: the same for a vocabulary of Qwen2, with the tokens that Qwen3 adds; `qwen3` takes
  the one that `scripts/install all` fetched, and where there is none the bound.
- `server:URL`: llama-server's `/tokenize`.
- `upper-bound`: a bound that no such tokenizer exceeds.

Control tokens, as chat templates hold them, are one token each and are never made of text.
"""

import logging
import re
import sys
import warnings
from array import array
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from backcast.domain.errors import InputError, MissingExtraError, install_advice
from backcast.engine.models.address import shown
from backcast.engine.models.places import model_file

log = logging.getLogger("backcast")

QWEN_VOCABULARY = Path(sys.prefix) / "share" / "backcast" / "ggml-vocab-qwen2.gguf"
"Where `scripts/install all` puts the vocabulary of Qwen2."
PIECES = {3: "mistral_instruct_tokenizer_240323.model.v3", 1: "tokenizer.model.v1"}
"The files of mistral-common that hold the pieces of each version."
LINES, WORDS = 200_000, 100_000
"Lines whose size is kept, and words whose tokens are; then all are asked for anew."
WORD = re.compile(r" *[A-Za-z]+|[0-9]| *[^A-Za-z0-9 ]+| +")
GLUED = "[REFERENCE_DOC_"
"How pieces begin that are made of letters, digits and signs; no other is."


class Encodes(Protocol):
    """Makes tokens of a text."""

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text between two control tokens, by number."""


class Tokenizer(Encodes, Protocol):
    """Counts the tokens of a text as one model does."""

    @property
    def id(self) -> str:
        """A name that tells it from every other that could count differently."""

    @property
    def exact(self) -> bool:
        """Whether `count` is the number itself, or a bound that it never exceeds."""

    def count(self, text: str) -> int:
        """Return the tokens of a text between two control tokens; as many as are encoded."""


class UpperBound:
    """A bound for every tokenizer whose tokens each stand for at least one byte of UTF-8.

    That holds for byte-level BPE (Qwen) and for SentencePiece with byte fallback (Mistral), which
    may put one space in front. The true number is a third of it for English, or less.
    """

    id = "upper bound 1"
    exact = False

    def count(self, text: str) -> int:
        """Return the bytes of the text in UTF-8, and one for a space in front."""
        return len(text.encode(errors="replace")) + 1 if text else 0

    def encode(self, text: str) -> list[int]:
        """Return the bytes of the text in UTF-8 after one space: no model's tokens, but as many."""
        return list(f" {text}".encode(errors="replace")) if text else []


class Mistral:
    """The tokenizer of Mistral 7B Instruct: version 3 for v0.3, version 1 for the earlier ones."""

    exact = True

    def __init__(self, version: int) -> None:
        try:
            self._pieces = _pieces(version)
        except ImportError:
            raise MissingExtraError("counting as Mistral does", "mistral") from None
        self._words: dict[str, bytes] = {}
        "The tokens of each word, in the form of an array's bytes."
        self._word_sizes: dict[str, int] = {}
        "How many tokens each of these words is."
        self._lines: dict[str, bytes] = {}
        "The tokens of each line that was encoded, without its end."
        self._sizes: dict[str, int] = {}
        "How many tokens each line is that was counted, without its end."
        self._end = self._encoded("\n")[-1]
        self._line_end = array("i", [self._end]).tobytes()
        self.id = f"mistral-common v{version}, {self._pieces.vocab_size()} pieces"

    def count(self, text: str) -> int:
        """Return the tokens of a text between two control tokens."""
        if not text:
            return 0
        lines, size_of = f" {text}".split("\n"), self._sizes.__getitem__
        try:
            return sum(map(size_of, lines)) + len(lines) - 1
        except KeyError:
            self._count(lines)
            return sum(map(size_of, lines)) + len(lines) - 1

    def encode(self, text: str) -> list[int]:
        """Return the tokens themselves, by number."""
        if not text:
            return []
        lines, known = f" {text}".split("\n"), self._lines
        if new := [*dict.fromkeys(line for line in lines if line not in known)]:
            if len(known) > LINES:
                known.clear()
                new = lines
            known.update(zip(new, self._read(new), strict=True))
        return array("i", self._line_end.join([known[line] for line in lines])).tolist()

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token, as it stands in a text."""
        piece = self._pieces
        if piece.is_byte(token):
            return bytes([int(piece.id_to_piece(token)[3:5], 16)])
        return str(piece.id_to_piece(token)).replace("\u2581", " ").encode()

    def _count(self, lines: list[str]) -> None:
        """Count the tokens of those of some lines whose size is not known."""
        sizes, size_of = self._sizes, self._word_sizes.__getitem__
        unknown = dict[str, list[str]]()
        if len(sizes) > LINES:
            sizes.clear()
        for line in lines:
            if line not in sizes:
                words = _words(line)
                try:
                    sizes[line] = sum(map(size_of, words))
                except KeyError:
                    unknown[line] = words
        if unknown:
            self._learn(unknown.values())
            for line, words in unknown.items():
                sizes[line] = sum(map(size_of, words))

    def _read(self, lines: Sequence[str]) -> list[bytes]:
        """Return the tokens of each line, which stands behind a line end, or a space of its own."""
        cut = list(map(_words, lines))
        self._learn(cut)
        known = self._words
        return [b"".join([known[word] for word in words]) for words in cut]

    def _learn(self, lines: Iterable[list[str]]) -> None:
        """Ask for the tokens of those words of some lines that are not known."""
        known = self._words
        if len(known) > WORDS:
            known.clear()
            self._word_sizes.clear()
        words = set[str]().union(*lines)
        if new := [*words.difference(known)]:
            tokens, width = self._apart(new), len(self._line_end)
            known.update(zip(new, tokens, strict=True))
            sizes = [len(of_word) // width for of_word in tokens]
            self._word_sizes.update(zip(new, sizes, strict=True))

    def _apart(self, words: Sequence[str]) -> list[bytes]:
        """Return the tokens of each word."""
        # Only the first line of a text is begun by a space.
        tokens = array("i", self._encoded("\n".join(["", *words])))
        ends = [number for number, token in enumerate(tokens) if token == self._end]
        pairs = pairwise([*ends, len(tokens)])
        return [tokens[begin + 1 : end].tobytes() for begin, end in pairs]

    def _encoded(self, text: str) -> list[int]:
        clean = text.encode(errors="replace").decode()
        return list(self._pieces.encode(clean))


def _words(line: str) -> list[str]:
    """Return the parts of a line that have tokens of their own.

    No piece holds a line end, nor a space behind anything else, nor a letter beside a digit or a
    sign, those of `GLUED` apart, and tokens are only made of pieces. So each word is asked for
    once. Lines with letters of other alphabets are words.
    """
    return [line] if GLUED in line or not line.isascii() else WORD.findall(line)


def _pieces(version: int) -> Any:
    """Return SentencePiece with the pieces that mistral-common brings for a version.

    The package itself takes over half a second to import, for what is not needed to count: it is
    asked only where its pieces lie elsewhere. `ImportError` where it is not installed.
    """
    from sentencepiece import SentencePieceProcessor

    package = find_spec("mistral_common")
    for folder in (package and package.submodule_search_locations) or ():
        file = Path(folder, "data", PIECES[version])
        if file.is_file():
            return SentencePieceProcessor(model_file=str(file))
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole: Any = MistralTokenizer.v3() if version == 3 else MistralTokenizer.v1()
    return SentencePieceProcessor(model_file=str(whole.instruct_tokenizer.tokenizer.file_path))


class Vocabulary:
    """llama.cpp, with only the vocabulary of a model file loaded."""

    exact = True

    def __init__(self, path: str) -> None:
        if find_spec("llama_cpp") is None:
            raise MissingExtraError("counting by a model file", "llama")
        from backcast.engine.models.loaded import ModelFile

        file = ModelFile(model_file(path))
        self._file, self._model = file, file.llm  # which is closed with its file
        self.id = f"vocabulary of {path.rpartition('/')[2]}, {file.size} tokens"

    def count(self, text: str) -> int:
        """Return the tokens of a text between two control tokens."""
        return len(self.encode(text))

    def encode(self, text: str) -> list[int]:
        """Return the tokens themselves, by number."""
        body = text.encode(errors="replace")
        return list(self._model.tokenize(body, add_bos=False, special=False)) if body else []


class Qwen3(Vocabulary):
    """The vocabulary of Qwen2 with the tokens that Qwen3 adds to it, which plain text makes too."""

    ADDED: Mapping[str, int] = {
        "<tool_call>": 151657, "</tool_call>": 151658, "<tool_response>": 151665,
        "</tool_response>": 151666, "<think>": 151667, "</think>": 151668,
    }  # fmt: skip
    _SPLIT = re.compile("(" + "|".join(ADDED) + ")")

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.id = f"qwen3 by {self.id}"

    def encode(self, text: str) -> list[int]:
        """Return the tokens themselves, by number."""
        tokens: list[int] = []
        for part in self._SPLIT.split(text):
            added = self.ADDED.get(part)
            tokens += super().encode(part) if added is None else [added]
        return tokens


@lru_cache(maxsize=8)
def tokenizer_of(name: str) -> Tokenizer:
    """The tokenizer of a name; `InputError` where there is none, or where it cannot be loaded."""
    kind, _, place = name.partition(":")
    if kind == "gguf" and place:
        return Vocabulary(place)
    if kind == "qwen3":
        return Qwen3(place) if place else _qwen3()
    if kind == "server" and place:
        from backcast.engine.models.llama_server import Server

        return Server(place)
    match name:
        case "mistral-v3":
            return Mistral(3)
        case "mistral-v1":
            return Mistral(1)
        case "upper-bound":
            return UpperBound()
    raise InputError(
        "needed mistral-v3, mistral-v1, qwen3, qwen3:FILE, gguf:FILE, server:URL or upper-bound,"
        f" found {shown(name)!r}"
    )


def counted_by(name: str) -> str:
    """The tokenizer of a name, or that of the bound where what counts so is not installed; that is
    told once."""
    try:
        tokenizer_of(name)
    except MissingExtraError as error:
        tell_bound(name, install_advice(error.extra))
        return "upper-bound"
    except InputError:
        tell_bound(name)
        return "upper-bound"
    return name


@lru_cache(maxsize=8)
def tell_bound(name: str, advice: str = "") -> None:
    """Warn that a bound counts, and not what counts as it is named."""
    log.warning(
        "tokens are counted by an upper bound, since what counts as %s does is not installed%s",
        name, f": {advice}" if advice else "",
    )  # fmt: skip


def _qwen3() -> Tokenizer:
    """Qwen3's own count where its vocabulary was installed, else the bound."""
    if QWEN_VOCABULARY.exists() and find_spec("llama_cpp") is not None:
        return Qwen3(str(QWEN_VOCABULARY))
    return UpperBound()
