"""How likely a text is to a model that reads it: against numbers that were computed otherwise."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf.constants import TokenType

from backcast.domain.errors import InputError, ModelError
from backcast.engine.models.likelihood import (
    PIECE,
    LikelihoodReader,
    LineNats,
    by_line,
    trained_window,
)
from scripts import tiny_models
from tests.models import smollm2_file, tiny

SYSTEM = ("system", "You write Python.")
ASKED = (SYSTEM, ("user", "# Task\n\nAdd two numbers; nothing is below 0.\n" * 12))
OTHER = (SYSTEM, ("user", "# Task\n\nAdd two numbers; nothing is below 0.\n" * 10 + "Or so."))
HEADER = "```python sums.py\ndef add(a: int, b: int) -> int:\n"
TEXT = "    total = a + b\n\n    if total < 0:\n        return '字🌍 é'\n    return total"
WINDOW = 512


@pytest.fixture(scope="module", params=["mistral", "qwen3", "SmolLM2"])
def reader(request: pytest.FixtureRequest) -> LikelihoodReader:
    name = str(request.param)
    return LikelihoodReader(smollm2_file() if name == "SmolLM2" else tiny(name), WINDOW)


def assert_near(found: Sequence[LineNats], other: Sequence[LineNats]) -> None:
    """The same tokens in each line, and the same nats to the third digit."""
    np.testing.assert_allclose(np.array(found), np.array(other), rtol=0, atol=1e-3)


def logits_of(path: Path, *parts: Sequence[int]) -> Any:
    """The logits of every token by the bindings' own way, which computes all of them."""
    from llama_cpp import Llama

    llm = Llama(str(path), n_ctx=WINDOW, n_threads=1, logits_all=True, verbose=False)
    for part in parts:
        llm.eval(part)
    logits = llm.scores[: llm.n_tokens].astype(np.float64)
    llm.close()
    return logits


def test_it_is_what_a_softmax_over_all_logits_gives(reader: LikelihoodReader) -> None:
    prompt = reader.prompt(ASKED, HEADER)
    spelled = reader.spelled(prompt, TEXT)
    assert b"".join(spelled.pieces)[spelled.before :].decode() == TEXT
    *begin, last = spelled.prompt
    pieces = [begin[start : start + PIECE] for start in range(0, len(begin), PIECE)]
    # What is read at once decides the last bits, and in a quantised model more than those.
    logits = logits_of(reader.loaded.path, *pieces, [last, *spelled.text])
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    first = len(spelled.prompt) - 1
    other = [-np.log(shares[first + n, token]) for n, token in enumerate(spelled.text)]
    lines = reader.score(prompt, TEXT)
    assert [line.tokens for line in lines][1] in (0, 1), "an empty line"
    assert sum(line.tokens for line in lines) == len(spelled.text)
    assert_near(lines, by_line(spelled.pieces, other, TEXT.count("\n") + 1, spelled.before))


def test_what_was_read_before_changes_nothing_and_is_not_read_again(
    reader: LikelihoodReader,
) -> None:
    both = [reader.prompt(messages, HEADER) for messages in (ASKED, OTHER)]
    fresh = LikelihoodReader(reader.loaded.path, WINDOW)
    for prompt, text in (
        (both[0], TEXT),
        (both[1], TEXT),
        (both[1], "    return a"),
        (both[0], TEXT),
    ):
        alone = LikelihoodReader(reader.loaded.path, WINDOW).score(prompt, text)
        assert_near(fresh.score(prompt, text), alone)
    before = fresh.tokens_read
    fresh.score(both[0], TEXT)
    spelled = fresh.spelled(both[0], TEXT)
    whole = (len(spelled.prompt) - 1) // PIECE * PIECE
    assert whole >= PIECE
    assert fresh.tokens_read - before == len(spelled.prompt) - whole + len(spelled.text) - 1


def test_a_window_in_pieces_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = LikelihoodReader(tiny("mistral"), WINDOW)
    prompt = reader.prompt(ASKED, HEADER)
    whole = reader.score(prompt, TEXT)
    monkeypatch.setattr("backcast.engine.models.likelihood.LOGITS", 3 * reader.loaded.size)
    assert_near(reader.score(prompt, TEXT), whole)


def test_real_weights_hold_code_for_likelier_than_what_no_one_writes() -> None:
    reader = LikelihoodReader(smollm2_file(), WINDOW)
    assert reader.counted_as == "chatml"
    prompt = reader.prompt(ASKED, HEADER)
    [sense] = reader.score(prompt, "    return a + b")
    [nonsense] = reader.score(prompt, "    yield if + b")
    assert sense.nats / sense.tokens < 1 < nonsense.nats / nonsense.tokens
    shown = reader.prompt((SYSTEM, ("user", f"{ASKED[1][1]}\n{HEADER}{TEXT}\n")), HEADER)
    nats = [sum(line.nats for line in reader.score(one, TEXT)) for one in (prompt, shown)]
    assert nats[1] < nats[0] / 3, "the second prompt holds the text itself"


def test_a_prompt_is_known_by_what_it_holds() -> None:
    reader = LikelihoodReader(tiny("mistral"), WINDOW)
    digests = {
        reader.prompt(messages, header).digest
        for messages in (ASKED, OTHER)
        for header in (HEADER, HEADER + "#")
    }
    assert len(digests) == 4
    assert reader.prompt(ASKED, HEADER).digest in digests
    assert reader.template
    assert reader.model.startswith("tiny-mistral.gguf ")
    assert reader.window == WINDOW
    assert trained_window(tiny("mistral")) == 32_768


@pytest.mark.parametrize(
    ("pieces", "before", "lines"),
    [
        ([b"a", b" b", b"\n", b"c"], 0, [3, 1]),
        ([b"a", b"\n\n   ", b" b"], 0, [2, 0, 1]),
        ([b"a", b"\n    b", b"\n"], 0, [1, 2, 0]),
        ([b"\n   ", b" a", b"\nb"], 1, [2, 1]),
        ([b"a:\n", b"  ", b"b"], 0, [1, 2]),
        ([b"\xe5\xad", b"\x97", b"\n", b"\xc3", b"\xa9"], 0, [3, 2]),
    ],
)
def test_a_token_belongs_to_the_line_of_what_is_written_in_it(
    pieces: list[bytes], before: int, lines: list[int]
) -> None:
    nats = [2.0**-n for n in range(len(pieces))]
    found = by_line(pieces, nats, len(lines), before)
    assert [line.tokens for line in found] == lines
    assert sum(line.nats for line in found) == sum(nats)


# Bad input


def test_a_text_that_is_empty_or_longer_than_the_window_is_told() -> None:
    reader = LikelihoodReader(tiny("mistral"), WINDOW)
    prompt = reader.prompt(ASKED, HEADER)
    with pytest.raises(InputError, match="needed a text to read, found an empty one"):
        reader.score(prompt, " \n")
    size = len(reader.spelled(prompt, "a\n" * 400).text)
    with pytest.raises(
        ModelError, match=rf"{size} of them what was written, found a window of 512"
    ):
        reader.score(prompt, "a\n" * 400)
    with pytest.raises(ModelError) as late:
        reader.score(prompt, TEXT, until=0.0)
    assert late.value.kind == "timeout"
    assert_near(reader.score(prompt, TEXT), LikelihoodReader(tiny("mistral")).score(prompt, TEXT))


Write = Callable[..., LikelihoodReader]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """A reader of a model file of random weights with something odd in it."""
    tiny("mistral")  # or a skip

    def write(template: str = "{{ messages[0].content }}", **odd: Any) -> LikelihoodReader:
        for name, value in odd.items():
            monkeypatch.setattr(tiny_models, name, value)
        path = tmp_path / "odd.gguf"
        tiny_models.write(path, "llama", tiny_models.mistral_vocabulary, template)
        return LikelihoodReader(path, WINDOW)

    return write


def test_a_base_model_reads_plain_text(written: Write) -> None:
    reader = written("")
    prompt = reader.prompt(ASKED, HEADER)
    assert [run.text for run in prompt.runs if not run.control] == [
        "".join(f"{text}\n\n" for _, text in ASKED), HEADER,
    ]  # fmt: skip
    lines = reader.score(prompt, TEXT)
    assert reader.spelled(prompt, TEXT).prompt[0] == reader.loaded.llm.token_bos()
    assert len(lines) == 5
    assert all(line.nats >= 0 for line in lines)


def test_a_template_that_refuses_is_told(written: Write) -> None:
    with pytest.raises(InputError, match="found one that refuses it: no such turn"):
        written("{{ raise_exception('no such turn') }}")


def test_a_vocabulary_that_cannot_spell_a_text_is_told(written: Write) -> None:
    tokens = tiny_models.tokens

    def without_bytes(writer: Any, texts: Any, kinds: Any) -> None:
        changed = [TokenType.NORMAL if kind == TokenType.BYTE else kind for kind in kinds]
        tokens(writer, texts, changed)

    reader = written(tokens=without_bytes)
    prompt = reader.prompt(ASKED, HEADER)
    assert len(reader.score(prompt, "return 'ab'")) == 1
    with pytest.raises(InputError, match=r"needed a vocabulary that spells the text, found .*<0x"):
        reader.score(prompt, "return '\U0001f9e8'")


def test_numbers_that_are_none_are_told(written: Write) -> None:
    add = tiny_models.add

    def spoiled(writer: Any, name: str, shape: tuple[int, ...]) -> None:
        if name == "output_norm":
            writer.add_tensor(f"{name}.weight", np.full(shape, np.nan, np.float32))
        else:
            add(writer, name, shape)

    reader = written(add=spoiled)
    with pytest.raises(ModelError, match="needed numbers, found NaN among its logits") as garbled:
        reader.score(reader.prompt(ASKED, HEADER), TEXT)
    assert garbled.value.kind == "garbled"


def test_a_file_that_is_cut_or_no_model_is_told(tmp_path: Path) -> None:
    cut, other = tmp_path / "cut.gguf", tmp_path / "other.gguf"
    body = tiny("mistral").read_bytes()
    cut.write_bytes(body[: len(body) // 2])
    other.write_bytes(b"none")
    for path, needed in (
        (cut, "needed a model that llama.cpp can run: .*file bounds"),
        (other, "needed a GGUF file, found another"),
        (tmp_path / "none.gguf", "needed a GGUF file: No such file"),
    ):
        with pytest.raises(InputError, match=needed) as refused:
            LikelihoodReader(path)
        assert "\n" not in str(refused.value)
