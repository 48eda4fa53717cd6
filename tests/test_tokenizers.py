"""Each model counts its own tokens; where none can be asked a bound is used, and said aloud."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.budget import PROFILES, ModelProfile, of_window
from backcast.domain.errors import InputError, UnavailableError
from backcast.engine.interfaces.cli import main
from backcast.engine.models.llama_server import Server
from backcast.engine.models.templates import pieces
from backcast.engine.models.tokenizers import (
    GLUED,
    QWEN_VOCABULARY,
    WORD,
    Mistral,
    Qwen3,
    UpperBound,
    tokenizer_of,
)
from backcast.engine.workflow.runtime import open_runtime
from tests.servers import Handler, hostile

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


CODE = st.lists(
    st.sampled_from(
        ["def ", "self.", "x1", " " * 9, "\n", "\n    ", "\t", "\r\n", "(", '"""', "_a", "\u2581",
         "²", "²..", "é", "字", "🌍", "\0", "[INST]", "[REFERENCE_DOC_10]", "…", "\ud800", "http://"]
    ) | st.text(st.characters(codec="ascii"), max_size=9)
).map("".join)  # fmt: skip


@pytest.mark.parametrize("version", [1, 3])
@given(text=CODE)
def test_words_apart_are_the_tokens_that_sentencepiece_makes_of_the_whole(
    version: int, text: str
) -> None:
    counter = tokenizer_of(f"mistral-v{version}")
    assert isinstance(counter, Mistral)
    clean = text.encode(errors="replace").decode()
    assert counter.encode(text) == list(counter._pieces.encode(clean))
    assert counter.count(text) == len(counter.encode(text))


def test_a_counter_that_has_to_forget_counts_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("LINES", "WORDS"):
        monkeypatch.setattr(f"backcast.engine.models.tokenizers.{limit}", 3)
    forgetful, whole = Mistral(3), tokenizer_of("mistral-v3")
    texts = [f"def f{n}(a, b):\n    return a + b\n    g(a)\n" * (n % 3) for n in range(20)]
    for text in [*texts, *reversed(texts)]:
        assert forgetful.count(text) == whole.count(text)
        assert forgetful.encode(text) == whole.encode(text)
    assert len(forgetful._sizes) < 12
    assert len(forgetful._words) < 20


@pytest.mark.parametrize("version", [1, 3])
def test_no_piece_of_a_vocabulary_goes_beyond_a_word(version: int) -> None:
    counter = tokenizer_of(f"mistral-v{version}")
    assert isinstance(counter, Mistral)
    whole = counter._pieces
    every = (number for number in range(whole.vocab_size())
             if not (whole.is_control(number) or whole.is_byte(number)))  # fmt: skip
    plain = [whole.id_to_piece(number).replace("\u2581", " ") for number in every]
    plain = [piece for piece in plain if piece.isascii() and GLUED not in piece]
    assert len(plain) > 20_000
    assert [piece for piece in plain if WORD.findall(piece) != [piece] or "\n" in piece] == [
        "<unk>"
    ]


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
        InputError, match="needed a chat template like mistral or chatml or qwen3, or one"
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


QWEN3 = CHATML + "<think>\n\n</think>\n\n"


@pytest.fixture
def native(url: str) -> str:
    """The URL of a server that says of itself that it is llama.cpp's."""
    Answers.said["/v1/models"] = {"data": [{"id": "double"}]}
    Answers.said["/props"] = {
        "build_info": "b1", "chat_template": "{{ messages }}",
        "default_generation_settings": {"n_ctx": 16384},
    }  # fmt: skip
    return url


def profile_of(tokenizer: str, template: str) -> ModelProfile:
    return of_window("mine", 16384, tokenizer, template)


@pytest.mark.parametrize(
    ("prompt", "template", "found"),
    [(CHATML, "mistral", "chatml"), (CHATML, "qwen3", "chatml"), (QWEN3, "chatml", "qwen3"),
     (MISTRAL, "qwen3", "mistral")],
)  # fmt: skip
def test_a_profile_divides_the_window_and_the_server_tells_its_template(
    native: str, prompt: str, template: str, found: str
) -> None:
    Answers.said["/apply-template"] = {"prompt": prompt}
    given = profile_of("upper-bound", template)
    assert open_runtime(native, profile=given).profile == given._replace(template=found)


def test_a_server_of_other_tokens_than_the_profiles_counts_itself(native: str) -> None:
    pytest.importorskip("mistral_common", reason="needs the extra 'mistral'")
    given = profile_of("mistral-v3", "chatml")
    counted = given._replace(tokenizer=f"server:{native}")
    assert open_runtime(native, profile=given).profile == counted


OWN = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"
SHOWN = "<|system|>S<|end|><|user|>U<|end|><|assistant|>"


def test_a_server_of_a_template_of_its_own_tells_it_whole(url: str) -> None:
    Answers.said["/props"] = {
        "chat_template": OWN, "bos_token": "<s>", "eos_token": "</s>",
        "default_generation_settings": {"n_ctx": 16384},
    }  # fmt: skip
    Answers.said["/apply-template"] = {"prompt": SHOWN}
    profile = Server(url).profile()
    told = pieces(profile.template, [("system", "S"), ("user", "<|user|>{{ 1 }}")])
    assert "".join(piece.text for piece in told) == SHOWN.replace("U", "<|user|>{{ 1 }}")
    assert json.loads(profile.template)["source"] == OWN
    Answers.said["/apply-template"] = {"prompt": f"{SHOWN}!"}
    with pytest.raises(InputError, match="that makes the same here as there, found"):
        Server(url).profile()


@pytest.mark.parametrize(
    "tokenizer", ["upper-bound", "gguf:/not/there.gguf", "server:http://127.0.0.1:9", "server:"]
)
def test_a_profile_whose_tokens_agree_or_cannot_be_told_is_taken(
    native: str, tokenizer: str
) -> None:
    tokenizer += native if tokenizer == "server:" else ""
    profile = profile_of(tokenizer, "chatml")
    assert open_runtime(native, profile=profile).profile == profile


def test_a_server_is_served_by_its_own_profile_where_no_other_tokenizer_is_installed(
    native: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    tokenizer_of.cache_clear()
    assert open_runtime(native).profile.tokenizer == f"server:{native}"


SECRET = "a-secret-key"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_neither_the_key_nor_a_question_elsewhere(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKCAST_API_KEY", SECRET)
    seen: list[str] = []
    monkeypatch.setattr(Handler, "do_GET", lambda handler: seen.append(handler.path))
    with hostile(lambda handler: seen.append(handler.path)) as other:

        def answer(handler: Handler) -> None:
            assert handler.server.told == [f"Bearer {SECRET}"]
            handler.say("", status, Location=f"{other.url}/tokenize")

        with hostile(answer) as server:
            with pytest.raises(UnavailableError, match=f"/tokenize: answered {status}$"):
                Server(server.url).count("x")
            assert server.told == [f"Bearer {SECRET}"]
    assert seen == []


def test_only_the_key_of_our_own_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BACKCAST_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with hostile(lambda handler: handler.say({"tokens": [1]})) as server:
        assert Server(server.url).count("x") == 1
        assert server.told == [None]
        monkeypatch.setenv("BACKCAST_API_KEY", f"{SECRET}\nX: y")
        with pytest.raises(InputError, match="needed an API key of printable ASCII") as error:
            Server(server.url).count("x")
    assert SECRET not in str(error.value)


def test_a_server_on_this_machine_is_asked_without_a_proxy(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert Server(url).count("abc") == 3


def test_of_an_answer_without_end_only_so_much_is_read() -> None:
    def pour(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(OSError):
            for _ in range(100):
                handler.wfile.write(b" " * 1_000_000)

    with (
        hostile(pour) as server,
        pytest.raises(UnavailableError, match="/tokenize: answered more than 16,000,000 bytes"),
    ):
        Server(server.url).count("x")


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: ", b"H"])
def test_an_answer_that_trickles_ends_where_its_time_does(
    begin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trickle(handler: Handler) -> None:
        handler.wfile.write(begin)
        with suppress(OSError):
            for _ in range(600):
                if handler.server.over.wait(0.1):
                    return
                handler.wfile.write(b" ")

    monkeypatch.setattr("backcast.engine.models.llama_server.SECONDS", 0.5)
    started = time.monotonic()
    with (
        hostile(trickle) as server,
        pytest.raises(UnavailableError, match="/tokenize: no answer: timed out"),
    ):
        Server(server.url).count("x")
    assert time.monotonic() - started < 30


def test_an_answer_too_deep_to_be_read_is_told_in_a_line() -> None:
    with (
        hostile(lambda handler: handler.say("[" * 100_000)) as server,
        pytest.raises(UnavailableError, match="/tokenize: no answer: maximum recursion"),
    ):
        Server(server.url).count("x")


def test_a_context_is_made_for_a_server_that_is_running(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ("--store", f"sqlite:///{tmp_path}/store.db")
    asked = ("task-def456", "--for", "module:validators.py", "--json")
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
    asked = ("task-def456", "--for", "module:validators.py")
    for arguments in (
        ("import", "events", str(LOG), *store),
        ("context", *asked, "--profile", "qwen3-8b-65k", *store),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
    assert "warning:" in (said := capsys.readouterr().err)
    assert "loaded with YaRN x2" in said


@pytest.mark.parametrize("version", [3, 1])
@settings(max_examples=200, deadline=None)
@given(
    texts=st.lists(
        st.text(st.sampled_from("ab_ (\n\r\t\u2028\u00e9\U0001f600\x0b[]INST</s>")) | st.text(),
        min_size=1,
        max_size=4,
    )
)
def test_mistral_counts_line_by_line_what_it_counts_of_the_whole(
    version: int, texts: list[str]
) -> None:
    tokenizer = tokenizer_of(f"mistral-v{version}")
    for text in texts:
        clean = text.encode(errors="replace").decode()
        whole = _of_mistral_common(version).encode(clean, bos=False, eos=False) if clean else []
        assert tokenizer.encode(text) == whole
        assert tokenizer.count(text) == len(whole)


@cache
def _of_mistral_common(version: int) -> Any:
    """Mistral's own tokenizer, by the library that has it."""
    library = pytest.importorskip("mistral_common.tokens.tokenizers.mistral")
    whole = library.MistralTokenizer
    return (whole.v3() if version == 3 else whole.v1()).instruct_tokenizer.tokenizer


def test_a_count_by_mistrals_pieces_does_not_import_their_library() -> None:
    pytest.importorskip("sentencepiece", reason="needs the extra 'mistral'")
    code = (
        "import sys; from backcast.engine.models.tokenizers import tokenizer_of;"
        "assert tokenizer_of('mistral-v3').count('a word'); print('mistral_common' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
