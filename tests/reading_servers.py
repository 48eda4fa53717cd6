"""A server that answers as vLLM documents it, by a real model file that this process reads."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from backcast.engine.models.chat import own_of
from backcast.engine.models.likelihood import PIECE, LikelihoodReader
from backcast.engine.models.templates import pieces

Answer = tuple[int, dict[str, Any]]


class ReadingServer(ThreadingHTTPServer):
    """A server that reads prompts; which of its ways are open can be chosen."""

    daemon_threads = True

    def __init__(self, path: Path, window: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reader = LikelihoodReader(path, window, threads=1)
        self.one = threading.Lock()
        self.closed: set[str] = set()
        "What it does not do: prompt_logprobs, echo, token_strs, messages, tokenizer_info, ..."
        self.change: Callable[[dict[str, Any]], None] = lambda body: None
        "What becomes of each answer."
        self.completed = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.name = "tiny"

    def answer(self, path: str, asked: dict[str, Any]) -> Answer:
        """Return a status and an answer."""
        if path == "/v1/models":
            return 200, {"object": "list", "data": [{
                "id": self.name, "object": "model", "owned_by": "vllm", "root": "org/tiny",
                "max_model_len": self.reader.window,
            }]}  # fmt: skip
        if path == "/version":
            return 200, {"version": "0.12.0"}
        if path == "/tokenizer_info" and "tokenizer_info" not in self.closed:
            return self._info()
        if path == "/tokenize" and "tokenize" not in self.closed:
            return self._tokenized(asked)
        if path == "/v1/completions":
            return self._completed(asked)
        return 404, {"error": {"message": "Not Found", "type": "NotFoundError", "code": 404}}

    def _info(self) -> Answer:
        own = own_of(self.reader.counted_as)
        return 200, {
            "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": own.source,
            "bos_token": own.bos, "eos_token": {"content": own.eos, "special": True},
            "added_tokens_decoder": {
                str(number): {"content": name} for number, name in enumerate(own.controls)
            },
        }  # fmt: skip

    def _tokenized(self, asked: dict[str, Any]) -> Answer:
        loaded = self.reader.loaded
        if "messages" in asked:
            if "messages" in self.closed:
                return 400, {"error": {"message": "no chat template", "code": 400}}
            turns = [(turn["role"], turn["content"]) for turn in asked["messages"]]
            prompt = pieces(self.reader.counted_as, turns)
            tokens = [token for text, control in prompt for token in loaded.encode(text, control)]
        else:
            tokens = loaded.encode(asked["prompt"], control=True)
            begins = loaded.llm.token_bos()
            if asked["add_special_tokens"] and loaded.begins and tokens[:1] != [begins]:
                tokens = [begins, *tokens]
        told = {"count": len(tokens), "max_model_len": self.reader.window, "tokens": tokens}
        if asked.get("return_token_strs") and "token_strs" not in self.closed:
            told["token_strs"] = [_written(self.reader._piece(token)) for token in tokens]
        return 200, told

    def _completed(self, asked: dict[str, Any]) -> Answer:
        self.completed += 1
        tokens = asked["prompt"]
        if isinstance(tokens, str):
            tokens = self.reader.loaded.encode(tokens)
        choice: dict[str, Any] = {"index": 0, "text": "?", "finish_reason": "length"}
        choice |= {"logprobs": None, "prompt_logprobs": None}
        if "prompt_logprobs" in asked and "prompt_logprobs" not in self.closed:
            choice["prompt_logprobs"] = [None, *(self._told(*pair) for pair in self._read(tokens))]
        if asked.get("echo") and "echo" not in self.closed:
            shares = [float(shares[token]) for token, shares in self._read(tokens)]
            choice["logprobs"] = {
                "token_logprobs": [None, *shares, -1.0], "text_offset": [],
                "tokens": [*(self.reader._piece(n).decode(errors="replace") for n in tokens), "?"],
                "top_logprobs": [],
            }  # fmt: skip
        return 200, {"id": "cmpl-1", "object": "text_completion", "choices": [choice]}

    def _read(self, tokens: list[int]) -> Iterator[tuple[int, Any]]:
        """Yield each token behind the first one, with the logarithms of all probabilities."""
        self.reader._read([], float("inf"))
        for start in range(0, len(tokens) - 1, PIECE):
            given = tokens[start : start + PIECE]
            logits = self.reader._logits(given)
            logits = logits - logits.max(axis=1, keepdims=True)
            logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True, dtype=np.float64))
            yield from zip(tokens[start + 1 :], logits, strict=False)

    def _told(self, token: int, shares: Any) -> dict[str, Any]:
        """Return the token and the likeliest one, as vLLM tells them."""
        return {
            str(number): {
                "logprob": max(float(shares[number]), -9999.0),
                "rank": int((shares > shares[number]).sum()) + 1,
                "decoded_token": self.reader._piece(number).decode(errors="replace"),
            }
            for number in (token, int(shares.argmax()))
        }


class _Handler(BaseHTTPRequestHandler):
    server: ReadingServer

    def do_GET(self) -> None:
        self._say({})

    def do_POST(self) -> None:
        self._say(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _say(self, asked: dict[str, Any]) -> None:
        with self.server.one:
            status, body = self.server.answer(self.path, asked)
        self.server.change(body)
        sent = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(sent)

    def log_message(self, *_: object) -> None:
        pass


@lru_cache(1)
def _alphabet() -> dict[int, str]:
    """How byte-level vocabularies write bytes, as their authors give it."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    written = {byte: chr(byte) for byte in shown}
    for byte in range(256):
        if byte not in written:
            written[byte] = chr(256 + len(written) - len(shown))
    return written


def _written(piece: bytes) -> str:
    return "".join(_alphabet()[byte] for byte in piece)


@contextmanager
def reading_server(path: Path, window: int) -> Iterator[ReadingServer]:
    """A server at a URL, with a model file."""
    server = ReadingServer(path, window)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
