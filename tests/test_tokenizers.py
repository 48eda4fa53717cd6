"""Each model counts its own tokens; where none can be asked a bound is used, and said aloud."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from domain.budget import PROFILES
from domain.errors import InputError, UnavailableError
from engine.context.server import Server
from engine.context.tokenizers import QWEN_VOCABULARY, Qwen3, UpperBound, tokenizer_of
from engine.interfaces.cli import main

LOG = Path(__file__).parents[1] / "fixtures/logs/shop.jsonl"
CHATML = "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
MISTRAL = "<s>[INST] S\n\nU[/INST]"
needs_vocabulary = pytest.mark.skipif(
    not QWEN_VOCABULARY.exists(), reason="the vocabulary of Qwen2 could not be fetched"
)


@needs_vocabulary
def test_qwen_counts_as_the_vectors_of_llama_cpp_have_it() -> None:
    pytest.importorskip("llama_cpp", reason="needs the extra 'llama'")
    counter = tokenizer_of("qwen3")
    inputs = QWEN_VOCABULARY.with_name("ggml-vocab-qwen2.gguf.inp").read_bytes().decode()
    outputs = QWEN_VOCABULARY.with_name("ggml-vocab-qwen2.gguf.out").read_text().split("\n")
    texts = inputs.split("\n__ggml_vocab_test__\n")
    assert len(texts) == len(outputs) > 40
    assert [counter.encode(text) for text in texts] == [
        [int(number) for number in line.split()] for line in outputs
    ]


@needs_vocabulary
def test_what_qwen3_adds_is_one_token_each() -> None:
    pytest.importorskip("llama_cpp", reason="needs the extra 'llama'")
    counter = tokenizer_of("qwen3")
    assert [counter.count(text) for text in Qwen3.ADDED] == [1] * len(Qwen3.ADDED)
    assert counter.encode("<think>a</think>")[::2] == [151667, 151668]
    assert counter.count("<think") > 1
    assert counter.count("<|im_start|>") > 1, "text never becomes a control token"


@pytest.mark.parametrize("name", ["mistral-v3", "mistral-v1", "qwen3"])
@pytest.mark.parametrize(
    "text", ["", "a", "def f(x): return x\n", "🌍字" * 9, "\0\t  \n\n", "x" * 99]
)
def test_the_bound_is_never_under_and_encode_gives_what_is_counted(name: str, text: str) -> None:
    counter = tokenizer_of(name)
    assert counter.count(text) == len(counter.encode(text)) <= UpperBound().count(text)
    assert UpperBound().count(text) == len(UpperBound().encode(text))


class Answers(BaseHTTPRequestHandler):
    """llama-server's answers, in the form in which it gave them."""

    said: ClassVar[dict[str, object]] = {}

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        asked = json.loads(self.rfile.read(length)) if length else {}
        said = self.said.get(self.path)
        if self.path == "/tokenize" and said is None:
            said = {"tokens": [ord(c) for c in asked["content"]]}
        self.send_response(404 if said is None else 200)
        self.end_headers()
        self.wfile.write(b"{}" if said is None else json.dumps(said).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Answers.said = {
        "/props": {"total_slots": 4, "default_generation_settings": {"n_ctx": 16384}},
        "/apply-template": {"prompt": CHATML},
    }
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_profile_is_made_from_the_window_and_template_of_a_server(url: str) -> None:
    profile = Server(url).profile()
    assert (profile.window, profile.template) == (16384, "chatml")
    assert sum(profile.rows.values()) == 16384
    assert tokenizer_of(profile.tokenizer).count("abc") == 3
    Answers.said["/apply-template"] = {"prompt": MISTRAL}
    assert Server(url).profile().template == "mistral"


def test_a_server_that_says_something_else_is_told_in_a_line(url: str) -> None:
    Answers.said["/apply-template"] = {"prompt": "SYSTEM: S USER: U"}
    with pytest.raises(
        InputError, match="needed a chat template like mistral or chatml or qwen3, found"
    ):
        Server(url).profile()
    Answers.said["/props"] = {"default_generation_settings": {}}
    with pytest.raises(UnavailableError, match="/props: needed n_ctx, found"):
        Server(url).profile()
    del Answers.said["/props"]
    with pytest.raises(UnavailableError, match="/props: answered 404"):
        Server(url).profile()
    Answers.said["/tokenize"] = {"tokens": "many"}
    with pytest.raises(UnavailableError, match="/tokenize: needed tokens, found many"):
        Server(url).count("x")


def test_a_context_is_made_for_a_server_that_is_running(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ("--store", f"sqlite:///{tmp_path}/store.db")
    asked = ("--task", "task-def456", "--for", "module:validators.py", "--json")
    for arguments in (
        ("import", "events", str(LOG), *store),
        ("context", *asked, "--profile", f"server:{url}", *store),
    ):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["window"] == 16384
    assert told["tokens"] > sum(len(one["content"]) for one in told["messages"])


def test_a_stretched_window_is_warned_of_where_the_prompt_is_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert PROFILES["qwen3-8b-65k"].yarn == 2
    store = ("--store", f"sqlite:///{tmp_path}/store.db")
    asked = ("--task", "task-def456", "--for", "module:validators.py")
    for arguments in (
        ("import", "events", str(LOG), *store),
        ("context", *asked, "--profile", "qwen3-8b-65k", *store),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
    assert "warning:" in (said := capsys.readouterr().err)
    assert "loaded with YaRN x2" in said
