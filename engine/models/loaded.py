"""A model file, loaded by llama.cpp: its tokens, and what it has read.

What it read stays in its cache: of the next prompt only what follows the common prefix is read.
"""

import ctypes
import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any

from backcast.domain.errors import InputError, MissingExtraError, ModelError
from backcast.engine.models.cancelling import Cancellation
from backcast.engine.models.kept_states import LEAST, StateTree
from backcast.engine.models.prefixes import shared
from backcast.engine.models.quiet import complaint, quiet
from backcast.engine.models.threads import threads_free


class ModelFile:
    """A model file, opened for its vocabulary and what it says of itself, or for all of it."""

    def __init__(self, path: Path, **options: Any) -> None:
        try:
            import llama_cpp
        except ImportError:
            raise MissingExtraError(f"{path}: to run it", "llama") from None
        self.path, self._c = path, llama_cpp
        self.llm: Any = _open(path, **(options or {"vocab_only": True}))
        # At the very end it could not be closed any more, and would say so.
        weakref.finalize(self, self.llm.close)
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.llm.model)
        self.size = self.llm.n_vocab()

    @property
    def known(self) -> Mapping[str, str]:
        """What the file says of itself."""
        known: Mapping[str, str] = self.llm.metadata
        return known

    @property
    def trained(self) -> int:
        """Tokens of the window that the model was trained for; 0 where the file does not say."""
        kind = self.known.get("general.architecture", "")
        return int(self.known.get(f"{kind}.context_length", 0))

    @property
    def begins(self) -> str:
        """The token that stands before every prompt; empty for none."""
        added = self._c.llama_vocab_get_add_bos(self.vocabulary)
        return self.name(self.llm.token_bos()) if added else ""

    def encode(self, text: str, control: bool = False) -> list[int]:
        """Return the tokens of a text between two control tokens, or with such tokens in it."""
        body = text.encode(errors="replace")
        return list(self.llm.tokenize(body, add_bos=False, special=control)) if body else []

    def piece(self, token: int, control: bool = False) -> bytes:
        """Return the bytes of a token; none of a control token, unless asked for."""
        return bytes(self.llm.detokenize([token], special=control))

    def name(self, token: int) -> str:
        """How the vocabulary writes a token; empty where there is no such token."""
        text = self._c.llama_vocab_get_text(self.vocabulary, token) if token >= 0 else b""
        return bytes(text).decode(errors="replace")

    @cached_property
    def controls(self) -> dict[str, int]:
        """The control tokens, by how the vocabulary writes them."""
        kinds = (self._c.llama_vocab_get_attr(self.vocabulary, n) for n in range(self.size))
        control = int(self._c.LLAMA_TOKEN_ATTR_CONTROL)
        return {self.name(number): number for number, kind in enumerate(kinds) if kind & control}


class Loaded(ModelFile):
    """A model with a window of so many tokens. It does one thing at a time."""

    def __init__(
        self,
        path: Path,
        window: int,
        yarn: int = 1,
        threads: int | None = None,
        forgets: bool = False,
        states: StateTree | None = None,
    ) -> None:
        """With `forgets`, layers that look back a short way keep no more than that; `states` are
        kept of what it would otherwise read again."""
        self.states = states
        self.kept = 0
        "Tokens of the last prompt that were in the cache already."
        self.stretched: dict[str, Any] = {}
        if yarn > 1:
            header = ModelFile(path)
            self.stretched = stretched(path, header.known, window, yarn)
            header.llm.close()
        threads = threads or threads_free()
        super().__init__(
            path, n_ctx=window, n_threads=threads, n_threads_batch=threads, n_gpu_layers=-1,
            swa_full=not forgets, **self.stretched,
        )  # fmt: skip
        self.window = window
        if yarn == 1:
            stretched(path, self.known, window, yarn)

    @cached_property
    def broken(self) -> frozenset[int]:
        """The tokens that are no whole characters."""
        return frozenset(n for n in range(self.size) if not _whole(self.piece(n)))

    def ends(self, token: int) -> bool:
        """Tell whether a token ends what a model says."""
        return bool(self._c.llama_vocab_is_eog(self.vocabulary, token))

    def read(self, tokens: Sequence[int], until: float) -> int:
        """Have all of a prompt in the cache; how many of its tokens were there already.

        `until` is a moment of `time.monotonic`; after it, `ModelError`.
        """
        before = self.llm.input_ids[: self.llm.n_tokens].tolist()
        # The last one is read again: what follows it is said right after it was read.
        kept = shared(before, tokens[:-1])
        if self.states is not None:
            kept = self._exchanged(self.states, before, tokens[:-1], kept)
        if not self._cut(kept):
            kept = 0  # some architectures cannot forget a part
            self._c.llama_memory_clear(self._memory, True)
            self.states = None
        self.llm.n_tokens = self.kept = kept
        for start in range(kept, len(tokens), self.llm.n_batch):
            if monotonic() > until:
                raise ModelError(f"{start:,} of {len(tokens):,} tokens of prompt read", "timeout")
            self.add(tokens[start : start + self.llm.n_batch])
        return kept

    def _exchanged(
        self, states: StateTree, before: Sequence[int], tokens: Sequence[int], kept: int
    ) -> int:
        """Keep what would be lost, and take up a kept state where that saves tokens.

        Return how many of the tokens are in the cache then.
        """
        found, body = states.longest(tokens), None
        if found is not None and found[1] >= kept + LEAST:
            body = states.data_of(found[0])
        if len(before) - kept >= LEAST and self._cut(len(before)):
            states.keep(before, self._state())
        if found is None or body is None:
            return kept
        node, common = found
        data = (ctypes.c_uint8 * len(body)).from_buffer_copy(body)
        if self._c.llama_state_seq_set_data(self.llm.ctx, data, len(body), 0) != len(body):
            if node in states.nodes:
                states.drop(node)  # whatever it was, llama.cpp does not take it
            return 0
        self.llm.input_ids[: len(node.tokens)] = node.tokens
        return common

    def _state(self) -> bytes:
        """Return the state of all that was read."""
        size = self._c.llama_state_seq_get_size(self.llm.ctx, 0)
        data = (ctypes.c_uint8 * size)()
        size = self._c.llama_state_seq_get_data(self.llm.ctx, data, size, 0)
        return ctypes.string_at(data, size)

    def _cut(self, tokens: int) -> bool:
        """Forget all after so many tokens; false where a part cannot be forgotten."""
        return bool(self._c.llama_memory_seq_rm(self._memory, 0, tokens, -1))

    @property
    def _memory(self) -> Any:
        return self._c.llama_get_memory(self.llm.ctx)

    @contextmanager
    def cancelled_by(self, cancellation: Cancellation) -> Iterator[None]:
        """Have llama.cpp end what it computes as soon as a call is cancelled."""
        ask = self._c.ggml_abort_callback(lambda _: cancellation.said)
        self._c.llama_set_abort_callback(self.llm.ctx, ask, None)
        try:
            yield
        finally:
            # The callback is Python's: llama.cpp must not hold one that is gone.
            never = self._c.ggml_abort_callback()
            self._c.llama_set_abort_callback(self.llm.ctx, never, None)

    def add(self, tokens: Sequence[int]) -> None:
        """Read some more tokens."""
        try:
            self.llm.eval(tokens)
        except RuntimeError as error:
            raise ModelError(f"{self.path}: llama.cpp could not go on: {error}") from None


def _open(path: Path, **options: Any) -> Any:
    from llama_cpp import Llama

    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise InputError(f"{path}: needed a GGUF file, found another")
        with quiet(), _unread_templates():
            return Llama(model_path=os.fspath(path), verbose=False, **options)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: needed a GGUF file: {error.strerror}") from None
    except Exception as error:
        reason = complaint() or str(error)
        raise InputError(f"{path}: needed a model that llama.cpp can run: {reason}") from None


@contextmanager
def _unread_templates() -> Iterator[None]:
    """Keep the bindings from compiling the templates of a file, which nobody has asked for.

    A broken one would cost the whole model, and a hostile one all memory: `jinja` bounds what it
    compiles.
    """
    from llama_cpp import llama_chat_format

    class UncompiledTemplate:
        def __init__(self, **_: object) -> None: ...

        def to_chat_handler(self) -> None: ...

    formats: Any = llama_chat_format
    kept, formats.Jinja2ChatFormatter = formats.Jinja2ChatFormatter, UncompiledTemplate
    try:
        yield
    finally:
        formats.Jinja2ChatFormatter = kept


def stretched(path: Path, known: Mapping[str, str], window: int, yarn: int) -> dict[str, Any]:
    """What llama.cpp is told of YaRN: nothing where the window is within what was trained."""
    import llama_cpp

    kind = known.get("general.architecture", "")
    trained = int(known.get(f"{kind}.context_length", 0))
    # Qwen3 says 40,960, and means 32,768 and room for an answer.
    original = int(
        known.get(f"{kind}.rope.scaling.original_context_length", 0)
        or 1 << max(trained.bit_length() - 1, 0)
    )
    if not trained or window <= trained:
        return {}
    if original * yarn < window:
        raise InputError(
            f"{path}: needed a window of {trained:,} tokens or fewer, or YaRN, found {window:,}"
            f" and YaRN x{yarn}"
        )
    return {
        "rope_scaling_type": llama_cpp.LLAMA_ROPE_SCALING_TYPE_YARN,
        "rope_freq_scale": 1 / yarn,
        "yarn_orig_ctx": original,
    }


def _whole(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def llama_cpp_version() -> str:
    """Return the version of the bindings: another one's states may be of another form."""
    import llama_cpp

    return str(llama_cpp.__version__)
