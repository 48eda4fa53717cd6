"""A model behind a server reads as the same file does in this process; what cannot, says so."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backcast.domain.errors import InputError, ModelError
from backcast.engine.interfaces.cli import main
from backcast.engine.models import asking
from backcast.engine.models.server_likelihood import ServerReader
from tests.models import made, tiny
from tests.reading_servers import ReadingServer, reading_server
from tests.servers import llama_server

ASKED = (("system", "You write Python."), ("user", "# Task\n\nAdd two numbers.\n" * 12))
HEADER = "```python sums.py\ndef add(a: int, b: int) -> int:\n"
TEXT = "    total = a + b\n\n    if total < 0:\n        return '字🌍 é'\n    return total"
WINDOW = 1024
TURNS = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>\n{% endfor %}<s>assistant: "


@pytest.fixture(scope="module", params=["mistral", "qwen3", "own"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ReadingServer]:
    name = str(request.param)
    path = made(tmp_path_factory.mktemp("own") / "own.gguf", TURNS) if name == "own" else tiny(name)
    with reading_server(path, WINDOW) as found:
        yield found


@pytest.fixture
def closed(server: ReadingServer) -> Iterator[set[str]]:
    yield server.closed
    server.closed.clear()


@pytest.mark.parametrize("way", ["prompt_logprobs", "echo"])
def test_both_doors_give_the_same(server: ReadingServer, closed: set[str], way: str) -> None:
    closed.add({"echo": "prompt_logprobs", "prompt_logprobs": "echo"}[way])
    local, there = server.reader, ServerReader(server.url)
    assert there.trained == WINDOW
    assert there.reader == "1, vllm 0.12.0"
    assert there.model.startswith("tiny ")
    prompt, own = there.prompt(ASKED, HEADER), local.prompt(ASKED, HEADER)
    assert "".join(run.text for run in prompt.runs) == "".join(run.text for run in own.runs)
    mine, theirs = local.spelled(own, TEXT), there.spelled(prompt, TEXT)
    assert (theirs.prompt, theirs.text) == (mine.prompt, mine.text)
    assert (theirs.pieces, theirs.before) == (mine.pieces, mine.before)
    assert there.encode(TEXT) == local.encode(TEXT)
    assert there.count(TEXT) == len(local.encode(TEXT))
    found, other = there.read(prompt, TEXT), local.read(own, TEXT)
    assert (found.pieces, found.before) == (other.pieces, other.before)
    np.testing.assert_allclose(found.nats, other.nats, rtol=0, atol=1e-3)


def test_a_server_without_a_template_reads_plain_text(
    server: ReadingServer, closed: set[str]
) -> None:
    closed.update(("messages", "tokenizer_info"))
    prompt = ServerReader(server.url).prompt((("user", "a"), ("user", "b")), "c")
    assert "".join(run.text for run in prompt.runs) == "a\n\nb\n\nc"


def test_a_text_that_spells_a_control_token_is_refused(server: ReadingServer) -> None:
    there = ServerReader(server.url)
    [control, *_] = [run.text for run in there.prompt(ASKED).runs if run.control]
    with pytest.raises(InputError, match="needed texts without control tokens, found"):
        there.spelled(there.prompt(ASKED), f"x = '{control}'")


@pytest.mark.parametrize(
    ("shut", "needed"),
    [
        (("prompt_logprobs", "echo"), "needed a server that tells log-probabilities of a prompt"),
        (("tokenize",), "Not Found"),
    ],
)
def test_a_server_that_cannot_is_refused_in_a_line(
    server: ReadingServer, closed: set[str], shut: tuple[str, ...], needed: str
) -> None:
    closed.update(shut)
    with pytest.raises((InputError, ModelError), match=needed) as error:
        ServerReader(server.url)
    assert "\n" not in str(error.value)


def test_without_the_ends_of_tokens_nothing_is_read(
    server: ReadingServer, closed: set[str]
) -> None:
    closed.add("token_strs")
    there = ServerReader(server.url)
    with pytest.raises(InputError, match="needed token_strs, which say where each token ends"):
        there.spelled(there.prompt(ASKED), TEXT)


def test_a_template_that_nobody_tells_is_refused(tmp_path: Path) -> None:
    with reading_server(made(tmp_path / "own.gguf", TURNS), WINDOW) as server:
        server.closed.add("tokenizer_info")
        with pytest.raises(InputError, match="--enable-tokenizer-info-endpoint"):
            ServerReader(server.url)


def short(body: dict[str, Any]) -> None:
    for choice in body.get("choices", ()):
        choice["prompt_logprobs"] = choice["prompt_logprobs"][:-1]


def zero(body: dict[str, Any]) -> None:
    for choice in body.get("choices", ()):
        for told in choice["prompt_logprobs"][1:]:
            for one in told.values():
                one["logprob"] = -9999.0


@pytest.mark.parametrize(
    ("change", "needed"),
    [(short, "needed a log-probability of each token"), (zero, "found NaN or infinity")],
)
def test_numbers_that_are_none_are_told(
    server: ReadingServer, change: Callable[[dict[str, Any]], None], needed: str
) -> None:
    there = ServerReader(server.url)
    server.change = change
    try:
        with pytest.raises(ModelError, match=needed):
            there.read(there.prompt(ASKED), TEXT)
    finally:
        server.change = lambda body: None
    with pytest.raises(ModelError, match=r"found a window of 1,024") as error:
        there.read(there.prompt(ASKED), "one\n" * WINDOW)
    assert error.value.kind == "overflow"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, str, int]:
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments)])
    out, err = capsys.readouterr()
    return out, err, int(end.value.code or 0)


def test_a_run_is_scored_by_a_server_as_by_its_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = tmp_path / "validators.jsonl"
    fixture = Path(__file__).parents[1] / "fixtures/logs/validators.jsonl"
    log.write_bytes(fixture.read_bytes())
    options = ["--context-tokens", 300, "--policy", "default", "--sample", 1]
    with reading_server(tiny("mistral"), 4096) as server:
        there = run(capsys, "score", log, "--model", server.url, *options)
        asked = server.completed
        again = run(capsys, "score", log, "--model", server.url, *options)
        assert server.completed == asked + 1, "only whether it can"
        assert again[0] == there[0]
        influence = run(
            capsys, "influence", f"{log}@13", "--model", server.url, "--context-tokens", 300,
            "--most", 0,
        )  # fmt: skip
        regressed = run(
            capsys, "regress", log, "--model", server.url, "--context-tokens", 300, "--sample", 1,
            "--policy", "no-cache", "--baseline", "default", "--processes", 1, "--limit",
            "critical=99", "--limit", "recall=100", "--limit", "nats=9", "--limit", "unfit=99",
        )  # fmt: skip
    here = run(capsys, "score", log, "--model", f"llama:{tiny('mistral')}", *options)
    assert (there[2], here[2], influence[2], regressed[2]) == (0, 0, 0, 0)
    assert "new lines, nats per token" in regressed[0]
    assert there[0].splitlines()[:-1] == here[0].splitlines()[:-1], "the last one names the model"
    assert "under tiny " in there[0]


def test_llama_server_is_refused_in_a_line_that_names_the_other_way(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = Path(__file__).parents[1] / "fixtures/logs/validators.jsonl"
    with llama_server("mistral", tmp_path) as url:
        out, err, code = run(capsys, "score", log, "--model", f"{url}/v1")
    assert (out, code, err.count("\n")) == ("", 2, 1)
    assert "llama-server tells none, so name its file, as llama:FILE" in err


def test_nobody_at_the_address_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "TRIES", 1)
    log = Path(__file__).parents[1] / "fixtures/logs/validators.jsonl"
    out, err, code = run(capsys, "score", log, "--model", "http://127.0.0.1:1/v1")
    assert (out, code, err.count("\n")) == ("", 2, 1)
    assert "127.0.0.1:1/v1: no answer" in err
