"""The reader without weights: what can be copied out of a prompt is likely, and nothing else."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.errors import InputError, ModelError
from backcast.engine.interfaces.cli import main
from backcast.engine.models.chat import RenderedRun
from backcast.engine.models.copying import CopyReader, copied
from backcast.engine.models.likelihood import RenderedPrompt

TOKENS = st.lists(st.integers(0, 9), max_size=40)
TILL = "fixtures/logs/till.jsonl"
BODY = "    total = sum(line.price for line in lines)\n    return round(total, 2)\n"


@pytest.fixture(scope="module")
def reader() -> CopyReader:
    return CopyReader()


def nats(reader: CopyReader, prompt: str, text: str = BODY) -> float:
    return sum(reader.read(RenderedPrompt((RenderedRun(prompt),)), text).nats)


def test_what_stands_in_the_prompt_is_likely(reader: CopyReader) -> None:
    nothing = nats(reader, "Write the function total_of.\n")
    alike = nats(reader, f"def price_of(lines):\n{BODY}\nWrite the function total_of.\n")
    half = nats(reader, f"def price_of(lines):\n{BODY[:48]}\nWrite the function total_of.\n")
    assert alike < half < nothing
    assert alike < 0.25 * nothing


def test_a_repeated_text_is_copied_out_of_itself(reader: CopyReader) -> None:
    assert nats(reader, "Write.\n", BODY * 4) < 2 * nats(reader, "Write.\n")


@settings(max_examples=60)
@given(st.text(max_size=60), st.text(min_size=1, max_size=60).filter(str.strip))
def test_the_tokens_of_a_text_are_its_bytes(prompt: str, text: str) -> None:
    found = CopyReader().read(RenderedPrompt((RenderedRun("Write " + prompt),)), text)
    assert b"".join(found.pieces)[found.before :] == text.encode(errors="replace")
    assert len(found.nats) == len(found.pieces)
    assert all(0 < value < 4 for value in found.nats)


@settings(max_examples=200)
@given(TOKENS, TOKENS)
def test_it_depends_on_nothing_but_what_was_read(prompt: list[int], text: list[int]) -> None:
    values = list(copied(prompt, text))
    assert values == list(copied([token + 7 for token in prompt], [token + 7 for token in text]))
    assert values[:3] == list(copied(prompt, text[:3]))


def test_what_stands_nowhere_costs_the_same_whatever_it_is() -> None:
    [value] = copied([1, 2, 3], [9])
    assert [value] == list(copied([4, 5, 6], [7]))
    assert value == pytest.approx(2.2 - math.log(0.8))


def test_no_text_no_prompt_and_no_time_are_errors(reader: CopyReader) -> None:
    prompt = RenderedPrompt((RenderedRun("Write."),))
    with pytest.raises(InputError, match="needed a text to read, found an empty one"):
        reader.read(prompt, " \n")
    with pytest.raises(InputError, match="needed a prompt before the text, found none"):
        reader.read(RenderedPrompt(()), "a")
    with pytest.raises(ModelError, match="0 tokens read"):
        reader.read(prompt, "a", until=0.0)


def test_a_run_is_scored_without_a_model_and_each_score_is_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["score", TILL, "--model", "copy", "--policy", "recorded", "--policy", "no-cache"]
    texts = []
    for _ in range(2):
        with pytest.raises(SystemExit) as end:
            main([*command, "--scores", str(tmp_path / "kept.scores")])
        assert end.value.code == 0
        texts.append(capsys.readouterr())
    assert texts[0].out == texts[1].out
    assert "under copy 1; it is not what a model would have answered" in texts[0].out
    assert "'copy' has no weights" in texts[0].err
    assert ": 0 differ and were never read" in texts[1].err
