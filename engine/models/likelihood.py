"""How likely is a given text behind a prompt, to a model file in this process?

The model writes nothing: it reads the prompt and the text, and tells for each token how likely it
held it. Only behind the text are logits computed, since those of a large vocabulary cost as much as
all layers; of a prompt only what follows the common prefix with the one before it is read.
llama-server returns no log-probabilities of a prompt, so that this needs the file itself.
"""

import ctypes
import math
from collections.abc import Callable, Iterator, Sequence
from hashlib import file_digest, sha256
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from backcast.domain.errors import InputError, ModelError
from backcast.engine.models.chat import RenderedRun
from backcast.engine.models.loaded import Loaded, ModelFile
from backcast.engine.models.own import file_profile
from backcast.engine.models.templates import pieces

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 1
"Grows when the same file, prompt and text would give other numbers."
LOGITS = 2**24
"Logits that are held at once: 64 MiB of them."
MOST = 8_192
"Tokens of the window where nothing else is asked for."
PIECE = 128
"Tokens of a prompt that are read at once."
DIGITS = 16
"Hexadecimal digits by which a file and a template are named."


class LineNats(NamedTuple):
    """How likely one line of a text was."""

    tokens: int
    nats: float
    "The negative logarithm of its probability, given all that stands before it."


class RenderedPrompt(NamedTuple):
    """A prompt in a model's own form, up to where the text begins that is read behind it."""

    runs: tuple[RenderedRun, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the prompt, in hex; control tokens count apart from text."""
        parts = (f"{run.control:d}{len(run.text)}:{run.text}" for run in self.runs)
        return sha256("".join(parts).encode(errors="surrogatepass")).hexdigest()


def rendered_prompt(
    template: str, messages: Sequence[tuple[str, str]], header: str = ""
) -> RenderedPrompt:
    """Return messages as a template renders them, with the answer begun by `header`.

    `ModelError` where the template refuses them.
    """
    runs = [RenderedRun(*piece) for piece in pieces(template, messages)]
    return RenderedPrompt((*runs, RenderedRun(header)) if header else tuple(runs))


class ReadText(NamedTuple):
    """How likely each token of a text was."""

    pieces: tuple[bytes, ...]
    "The bytes of each token."
    nats: tuple[float, ...]
    "Of each token the negative logarithm of its probability."
    before: int
    "Bytes of the first token that belong to the prompt."


class SpelledText(NamedTuple):
    """A prompt and the text behind it as tokens."""

    prompt: list[int]
    text: list[int]
    pieces: list[bytes]
    "The bytes of each token of the text."
    before: int
    "Bytes of the first token that belong to the prompt."


class LikelihoodReader:
    """A model file that reads texts. It reads one at a time."""

    exact = True

    def __init__(
        self, path: Path, window: int = 0, *, threads: int | None = None, forgets: bool = False
    ) -> None:
        """Load a file for prompt and text of `window` tokens together.

        Without a window it is as large as the file says that the model was trained for, at most
        `MOST`. Without `threads` as many work as cores are free. With `forgets`, nothing of a
        prompt is used for the next one: where the model looks back a short way in most layers,
        that halves the time of long prompts which share nothing. `InputError` where llama.cpp
        cannot load the file.
        """
        self.forgets = forgets
        self.place, self.tokenizer = str(path), f"gguf:{path}"
        "Where it is, and the name of its tokens in a profile."
        self.trained = trained_window(path)
        self.window = window or min(MOST, self.trained)
        self.loaded = Loaded(path, self.window, threads=threads, forgets=forgets)
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        self.model = f"{path.name} {digest[:DIGITS]}"
        "The name and digest of the file."
        self.id = f"vocabulary of {self.model}"
        self.counted_as = file_profile(str(path), way_out="").profile.template
        "The file's own chat template, as a profile has it."
        self.template = sha256(self.counted_as.encode()).hexdigest()[:DIGITS]
        "The digest of that template."
        self.reader = f"{VERSION}, llama-cpp-python {version('llama-cpp-python')}"
        self._pieces: list[int] = []
        "The tokens of the whole pieces of the last prompt, which are in the cache."
        self.heard: Callable[[int], None] = lambda tokens: None
        "Is called with the tokens of each piece, as soon as it is read or found in the cache."
        self.tokens_read = 0
        "Tokens that were read so far, without those that stood in the cache."

    # Counting, as a tokenizer of prompts does

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text between two control tokens, by number."""
        return self.loaded.encode(text)

    def count(self, text: str) -> int:
        """Return the tokens of a text between two control tokens."""
        return len(self.encode(text))

    # Reading

    def prompt(self, messages: Sequence[tuple[str, str]], header: str = "") -> RenderedPrompt:
        """Return messages as the file's own template renders them: see `rendered_prompt`."""
        return rendered_prompt(self.counted_as, messages, header)

    def tokens(self, prompt: RenderedPrompt, text: str) -> int:
        """Return the tokens of a prompt and the text behind it."""
        spelled = self.spelled(prompt, text)
        return len(spelled.prompt) + len(spelled.text)

    def spelled(self, prompt: RenderedPrompt, text: str) -> SpelledText:
        """Return a prompt and a text as tokens.

        They are encoded together, so that the text is spelled as a model would have written it; a
        token across the border belongs to the text. `InputError` where the vocabulary cannot spell
        it, or where it is empty.
        """
        if not text.strip():
            raise InputError("the outcome: needed a text to read, found an empty one")
        front, last = list(prompt.runs), ""
        while front and not front[-1].control:
            last = front.pop().text + last
        tail = self.encode(last + text)
        body, pieces, size = text.encode(errors="surrogatepass"), list[bytes](), 0
        while tail and size < len(body):
            pieces.insert(0, self._piece(tail[-1 - len(pieces)]))
            size += len(pieces[0])
            if len(pieces) == len(tail):
                break
        if not b"".join(pieces).endswith(body):
            raise InputError(
                f"needed a vocabulary that spells the text, found that {self.model} makes"
                f" {b''.join(pieces)[-40:]!r} of its end"
            )
        split = len(tail) - len(pieces)
        before = self._tokens(front) + tail[:split]
        if not before:
            raise InputError("needed a prompt before the text, found none")
        return SpelledText(before, tail[split:], pieces, size - len(body))

    def score(
        self, prompt: RenderedPrompt, text: str, until: float = math.inf
    ) -> tuple[LineNats, ...]:
        """Return how likely each line of a text is behind a prompt.

        `until` is a moment of `time.monotonic`; after it, `ModelError`, as where both are longer
        than the window, and where the model tells no numbers.
        """
        found = self.read(prompt, text, until)
        return by_line(found.pieces, found.nats, text.count("\n") + 1, found.before)

    def read(self, prompt: RenderedPrompt, text: str, until: float = math.inf) -> ReadText:
        """Return how likely each token of a text is behind a prompt; see `score`."""
        spelled = self.spelled(prompt, text)
        size = len(spelled.prompt) + len(spelled.text)
        if size > self.window:
            raise ModelError(
                f"needed {size:,} tokens, {len(spelled.text):,} of them what was written, found a"
                f" window of {self.window:,}",
                "overflow",
            )
        return ReadText(tuple(spelled.pieces), tuple(self._nats(spelled, until)), spelled.before)

    def _nats(self, spelled: SpelledText, until: float) -> list[float]:
        """Return the negative logarithm of the probability of each token of the text."""
        loaded, nats = self.loaded, list[float]()
        *begin, last = spelled.prompt
        self._read(begin, until)
        given, rows = [last, *spelled.text[:-1]], max(1, LOGITS // loaded.size)
        rows = min(rows, loaded.llm.n_batch)
        for start in range(0, len(given), rows):
            self._in_time(until)
            logits = self._logits(given[start : start + rows])
            nats += _nats_of(logits, spelled.text[start : start + rows])
            self.tokens_read += len(logits)
            self.heard(len(logits))
        if not all(map(math.isfinite, nats)):
            raise ModelError(
                f"{loaded.path}: needed numbers, found NaN among its logits: is the file whole?",
                "garbled",
            )
        return nats

    def _read(self, tokens: Sequence[int], until: float) -> None:
        """Have all of a prompt in the cache, and nothing else.

        It is read in pieces that begin at multiples of `PIECE`, and of another prompt only whole
        pieces are used again: a token that is read beside others gets other bits, which may shift
        a quantised model by some hundredths of a nat. So a score is the same whatever was read
        before.
        """
        kept, most = 0, 0 if self.forgets else min(len(self._pieces), len(tokens) // PIECE * PIECE)
        while kept < most and self._pieces[kept : kept + PIECE] == tokens[kept : kept + PIECE]:
            kept += PIECE
        memory = self.loaded._c.llama_get_memory(self.loaded.llm.ctx)
        if not self.loaded._c.llama_memory_seq_rm(memory, 0, kept, -1):
            kept = 0  # some architectures cannot forget a part
            self.loaded._c.llama_memory_clear(memory, True)
        self.loaded.llm.n_tokens = kept
        self._pieces = self._pieces[:kept]
        self.heard(kept)
        for start in range(kept, len(tokens), PIECE):
            self._in_time(until)
            piece = list(tokens[start : start + PIECE])
            self.loaded.add(piece)
            self.tokens_read += len(piece)
            self.heard(len(piece))
            if len(piece) == PIECE:
                self._pieces += piece

    def _in_time(self, until: float) -> None:
        if monotonic() > until:
            raise ModelError(f"{self.loaded.llm.n_tokens:,} tokens read", "timeout")

    def _logits(self, tokens: Sequence[int]) -> "NDArray[np.float32]":
        """Read some tokens behind those that were read, and return the logits of each."""
        import numpy as np

        llm: Any = self.loaded.llm
        llm._ctx.kv_cache_seq_rm(-1, llm.n_tokens, -1)
        llm._batch.set_batch(batch=tokens, n_past=llm.n_tokens, logits_all=True)
        try:
            llm._ctx.decode(llm._batch)
        except RuntimeError as error:
            raise ModelError(f"{self.loaded.path}: llama.cpp could not go on: {error}") from None
        llm.input_ids[llm.n_tokens : llm.n_tokens + len(tokens)] = tokens
        llm.n_tokens += len(tokens)
        shape = len(tokens), self.loaded.size
        logits: NDArray[np.float32] = np.ctypeslib.as_array(llm._ctx.get_logits(), shape=shape)
        return logits

    def _tokens(self, runs: Sequence[RenderedRun]) -> list[int]:
        """Return rendered runs as tokens, behind the one that begins a text where there is one."""
        tokens = list[int]()
        for text, control in runs:
            tokens += self.loaded.encode(text, control)
        first = self.loaded.llm.token_bos()
        if tokens[:1] == [first] or not self.loaded.begins:
            return tokens
        return [first, *tokens]

    def _piece(self, token: int) -> bytes:
        """Return the bytes of a token, however long."""
        import llama_cpp

        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = llama_cpp.llama_token_to_piece(
                self.loaded.vocabulary, token, buffer, size, 0, True
            )
            if length >= 0:
                return buffer.raw[:length]
            size = -length


def trained_window(path: Path) -> int:
    """Return the tokens that a model file was trained for, as it says."""
    file = ModelFile(path)
    trained = file.trained
    file.llm.close()
    return trained or 2_048


def by_line(
    pieces: Sequence[bytes], nats: Sequence[float], lines: int, before: int = 0
) -> tuple[LineNats, ...]:
    r"""Return tokens, summed up by the lines of their text.

    A token belongs to the line of its first character that is no space, else to that where it
    begins; `before` bytes of the first token lie in front of the text.

    >>> by_line([b"a", b"\n  b", b"\n"], [1.0, 0.5, 0.25], 3)
    (LineNats(tokens=1, nats=1.0), LineNats(tokens=2, nats=0.75), LineNats(tokens=0, nats=0.0))
    """
    counts, sums = [0] * lines, [0.0] * lines
    for number, value in _placed(pieces, nats, before):
        counts[number] += 1
        sums[number] += value
    return tuple(LineNats(count, total) for count, total in zip(counts, sums, strict=True))


def _placed(
    pieces: Sequence[bytes], nats: Sequence[float], before: int
) -> Iterator[tuple[int, float]]:
    line = 0
    for number, (piece, value) in enumerate(zip(pieces, nats, strict=True)):
        own = piece[before:] if number == 0 else piece
        blank = own[: len(own) - len(own.lstrip())]
        yield line + (blank.count(b"\n") if blank != own else 0), value
        line += own.count(b"\n")


def _nats_of(logits: "NDArray[np.float32]", tokens: Sequence[int]) -> list[float]:
    """Return the negative logarithm of the softmax of each row at a token."""
    import numpy as np

    nats = list[float]()
    for row, token in zip(logits, tokens, strict=True):
        most = row.max()
        total = np.exp(row - most).sum(dtype=np.float64)
        nats.append(float(np.log(total) + np.float64(most) - np.float64(row[token])))
    return nats
