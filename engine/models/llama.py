"""A model file in this process, by llama.cpp: the model `llama:/path/model.gguf`."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any

from backcast.domain.errors import InputError, ModelError
from backcast.engine.models import NOTHING, Call, Completion, Limits, Message
from backcast.engine.models.cancelling import CallCancelledError, Cancellation
from backcast.engine.models.chat import PLAIN, PROBE, Chat, RenderedRun, is_own, own_of
from backcast.engine.models.drawing import drawing
from backcast.engine.models.grammar import gbnf
from backcast.engine.models.kept_states import NO_STATES, StateCaps, StateTree
from backcast.engine.models.loaded import Loaded, llama_cpp_version
from backcast.engine.models.reply import CLOSE, OPEN, ReplyReader
from backcast.engine.models.so_far import AnswerPart
from backcast.engine.models.templates import TEMPLATES

log = logging.getLogger("backcast")
_ENDS = 1 << 20


class LlamaModel:
    """llama.cpp with a GGUF file. It answers one call at a time."""

    slots = 1
    "The calls that it answers at once."

    def __init__(
        self,
        path: Path,
        window: int,
        *,
        template: str = "",
        yarn: int = 1,
        seed: int = 0,
        temperature: float = 0.0,
        threads: int | None = None,
        keeps: StateCaps = NO_STATES,
    ) -> None:
        """Load a file, for prompt and answer of `window` tokens together.

        `template` names the one by which prompts were counted, is one in Jinja, or one as a log
        holds it: it is used, and `differs` tells where the file has another. Without it the
        file's own is used, and where it has none, texts are read as they are. `yarn` is the
        factor by which the window is stretched, where the model was trained for less. `keeps`
        bounds what is kept of prompts that would be lost: they are taken up again unread.
        """
        if template and template not in TEMPLATES and "{" not in template:
            raise InputError(f"needed a chat template of {', '.join(TEMPLATES)}, found {template}")
        self.loaded = loaded = Loaded(path, window, yarn, threads)
        self._of = f"{_fingerprint(path)} of {path.stat().st_size} bytes, {window}, YaRN x{yarn}"
        self.keep(keeps)
        self._alone = Lock()
        self.window, self._seed, self._temperature = window, seed, temperature
        known = loaded.known
        # SentencePiece writes a space in front of a text, which is none of it.
        self._spaced = (
            known.get("tokenizer.ggml.model") == "llama"
            and known.get("tokenizer.ggml.add_space_prefix") != "false"
        )
        self._closing = loaded.encode(f"\n{CLOSE}\n\n", control=True)
        self._marks = [loaded.encode(text, control=True) for text in (OPEN, CLOSE)]
        own = known.get("tokenizer.chat_template", "") or PLAIN
        if is_own(template):
            template = own_of(template).source
        used = TEMPLATES.get(template, template) or own
        try:
            self._chat = self._chat_of(used)
        except InputError as error:
            raise InputError(f"{path}: {error}; --template names another") from None
        self.differs = self._difference(own) if template and template != own else ""
        "What the file's own chat template would make of two messages, where it is not the same."
        if self.differs:
            log.warning("%s: %s", path, self.differs)
        stretch = f", YaRN x{yarn}" if loaded.stretched else ""
        self.id = (
            f"llama:{path.name} {_fingerprint(path)}, template {_digest(used.encode())}{stretch},"
            f" seed {seed}, temperature {temperature:g}"
        )

    @property
    def identity(self) -> str:
        """All that an answer depends on beside what is asked."""
        return self.id

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self._temperature == 0

    def complete(
        self,
        messages: Sequence[Message],
        limits: Limits,
        *,
        schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        call: Call = NOTHING,
    ) -> Completion:
        """Return the answer; `ModelError` where the prompt is too long, or the time too short.

        The time is looked at between tokens, and while the prompt is read after every 512; a
        cancelled call ends in the midst of them too. A call waits for the one before it.
        """
        began, cancellation = monotonic(), limits.cancellation or Cancellation()
        while not self._alone.acquire(timeout=0.05):
            if cancellation.said:
                raise CallCancelledError(0)
            if monotonic() > began + limits.seconds:
                raise ModelError(
                    f"needed an answer in {limits.seconds:g} seconds, found another call", "timeout"
                )
        # A callback is Python's: in the main thread an interrupt would be lost in it.
        heard = limits.cancellation and self.loaded.cancelled_by(limits.cancellation)
        try:
            with heard or nullcontext():
                return self._complete(messages, limits, schema, stop, began, cancellation)
        finally:
            self._alone.release()

    def _complete(
        self,
        messages: Sequence[Message],
        limits: Limits,
        schema: Mapping[str, Any] | None,
        stop: Sequence[str],
        began: float,
        cancellation: Cancellation,
    ) -> Completion:
        runs = self._runs(messages, limits.thinking > 0 and schema is None)
        prompt = self._numbers(runs)
        if len(prompt) + limits.max_tokens > self.window:
            raise ModelError(
                f"needed {len(prompt):,} tokens of prompt and {limits.max_tokens:,} of answer,"
                f" found a window of {self.window:,}",
                "overflow",
            )
        if not prompt:
            raise ModelError("needed messages, found none", "refused")
        grammar = gbnf(schema) if schema is not None else ""
        ending = "".join(run.text for run in runs[-2:]).rstrip()
        reply = ReplyReader(stop, opened=ending.endswith(OPEN))
        if limits.so_far is not None:
            limits.so_far.begin(partial(self._part, reply, len(prompt)))
        try:
            cached = self.loaded.read(prompt, began + limits.seconds)
            whole = self._answer(reply, limits, grammar, began + limits.seconds)
        except ModelError as error:
            if cancellation.said:
                raise CallCancelledError(self.loaded.llm.n_tokens) from None
            if error.kind != "timeout":
                raise
            raise ModelError(
                f"needed an answer in {limits.seconds:g} seconds, found {error}", "timeout"
            ) from None
        return Completion(
            text=reply.answer.removeprefix(" ") if self._spaced else reply.answer,
            prompt_tokens=len(prompt),
            tokens=reply.tokens,
            finish="stop" if whole else "length",
            cached_tokens=cached,
            thinking=reply.thought.strip(),
            seconds=monotonic() - began,
        )

    def _part(self, reply: ReplyReader, prompt: int) -> AnswerPart:
        """Return what has come of an answer to a prompt of so many tokens."""
        read = min(prompt, self.loaded.llm.n_tokens)
        return AnswerPart(reply.answer, reply.thought, read, reply.tokens, reply.tokens)

    def keep(self, caps: StateCaps) -> None:
        """Keep from here on what prompts would lose, up to so many bytes."""
        kind = f"{self._of}, llama.cpp {llama_cpp_version()}"
        self.loaded.states = StateTree(kind, caps) if max(caps.memory, caps.disk) > 0 else None

    def warm(self, messages: Sequence[Message], limits: Limits) -> tuple[int, int]:
        """Read a prompt and answer nothing; return the tokens of it that are read, and those of
        them that were read anew: fewer than the prompt's where it is cancelled.

        `CallCancelledError` where another call runs.
        """
        cancellation = limits.cancellation or Cancellation()
        prompt = self.tokens(messages, limits.thinking > 0)[: self.window - 1]
        if not prompt or not self._alone.acquire(blocking=False):
            raise CallCancelledError(0)
        try:
            with self.loaded.cancelled_by(cancellation), suppress(ModelError):
                self.loaded.read(prompt, monotonic() + limits.seconds)
            return self.loaded.llm.n_tokens, self.loaded.llm.n_tokens - self.loaded.kept
        finally:
            self._alone.release()

    def count(self, text: str) -> int:
        """Return the tokens of a text between two control tokens."""
        return len(self.loaded.encode(text))

    def tokens(self, messages: Sequence[Message], thinking: bool = False) -> list[int]:
        """A prompt as the model reads it, token by token; with `thinking`, for one that thinks."""
        return self._numbers(self._runs(messages, thinking))

    def _runs(self, messages: Sequence[Message], thinking: bool) -> list[RenderedRun]:
        return self._chat.runs(messages, thinking)

    def _numbers(self, runs: Sequence[RenderedRun]) -> list[int]:
        loaded = self.loaded
        tokens = []
        for text, control in runs:
            tokens += [loaded.controls[text]] if control else loaded.encode(text)
        first = loaded.llm.token_bos()
        begun = tokens[:1] == [first] or not loaded.begins
        return tokens if begun else [first, *tokens]

    def _answer(self, reply: ReplyReader, limits: Limits, grammar: str, until: float) -> bool:
        """Have the model answer; whether it came to its end."""
        loaded = self.loaded
        room = 0 if grammar else limits.thinking
        with drawing(loaded, grammar, self._seed, self._temperature) as draw:
            while reply.tokens < limits.max_tokens:
                if monotonic() > until:
                    raise ModelError(f"{reply.tokens:,} tokens of it", "timeout")
                if limits.cancellation and limits.cancellation.said:
                    raise CallCancelledError
                bound = reply.thinking and reply.thought_tokens >= room
                token = None if bound else draw()
                if reply.thinking and (token is None or loaded.ends(token)):
                    if reply.tokens + len(self._closing) >= limits.max_tokens:
                        return False
                    reply.close(len(self._closing))
                    loaded.add(self._closing)
                elif token is None or loaded.ends(token) or self._take(reply, token):
                    return True
                elif reply.tokens < limits.max_tokens:
                    loaded.add([token])
        return False

    def _take(self, reply: ReplyReader, token: int) -> bool:
        return reply.take(self.loaded.piece(token, [token] in self._marks))

    def _chat_of(self, template: str) -> Chat:
        loaded = self.loaded
        bos, eos = loaded.name(loaded.llm.token_bos()), loaded.name(loaded.llm.token_eos())
        return Chat(template, bos, eos, loaded.controls)

    def _difference(self, own: str) -> str:
        if own == PLAIN:
            return ""
        try:
            theirs = self._chat_of(own).runs(PROBE, thinking=True)
        except (InputError, ModelError) as error:
            return str(error)
        ours = self._chat.runs(PROBE, thinking=True)
        if self._numbers(theirs) == self._numbers(ours):
            return ""
        own, used = ("".join(run.text for run in runs) for runs in (theirs, ours))
        return f"its own chat template makes {own[:200]!r} where {used!r} is used"


def _fingerprint(path: Path) -> str:
    """Return what tells a file from others of its name: by its size, beginning and end."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(_ENDS)
        file.seek(max(0, size - _ENDS))
        return _digest(b"%d " % size + first + file.read())


def _digest(body: bytes) -> str:
    return sha256(body).hexdigest()[:8]
