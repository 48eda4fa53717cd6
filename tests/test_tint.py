"""The accepted code on the page, tinted by how much a model was surprised that read it."""

import html
import json
import re
from hashlib import sha256
from math import log
from pathlib import Path

import pytest

from backcast.domain.events import Claim, Fact
from backcast.domain.score_events import Scored
from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.engine.interfaces.view.reading import RunReader
from backcast.engine.interfaces.view.step_panel import step_panel
from backcast.engine.interfaces.view.tint import tinted
from backcast.engine.log.blobs import Blob
from backcast.engine.log.open_logs import opened
from backcast.engine.log.store import EventStore
from backcast.engine.memory.import_log import run
from backcast.engine.replay.find import step_at
from backcast.engine.replay.outcomes import outcome_of
from tests.models import smollm2
from tests.test_git import Repository

TILL = "fixtures/logs/till.jsonl"


def scored(text: str, nats: tuple[float, ...]) -> Scored:
    digest = sha256(text.encode()).hexdigest()
    return Scored(
        step=79, policy="recorded", model="models/tiny.gguf 1a2b", prompt="p", template="",
        outcome=digest, line_tokens=(4,) * len(nats), line_nats=nats,
    )  # fmt: skip


def panel(*facts: Fact) -> str | None:
    with opened(TILL) as till, EventStore.open("sqlite://") as store:
        for event in till.store.read("till"):
            claim = Claim(event.fact, event.timestamp, event.writer, event.because)
            refs = set(re.findall(r"blob:[0-9a-f]{64}", event.fact.model_dump_json()))
            bodies = [Blob(till.store.get(ref)) for ref in sorted(refs) if till.store.holds(ref)]
            store.append("till", [claim], after=event.version - 1, blobs=bodies)
        claims = [Claim(fact, None, "score", ()) for fact in facts]
        store.append("till", claims, after=store.version("till"))
        return tinted(PanelMaker(RunReader(store, "till")), 79)


@pytest.fixture(scope="module")
def text() -> str:
    with opened(TILL) as till:
        step = RunReader(till.store, "till").step(79)
        assert step is not None
        outcome = outcome_of(step, till.store.get)
        assert outcome is not None
        return outcome.text


def test_each_line_is_tinted_by_its_bits_with_and_without_an_item(text: str) -> None:
    count = text.count("\n") + 1
    nats = tuple(0.0 if n % 2 else 4 * 0.6931 * 3 for n in range(count))
    worse = tuple(one + 4 * 0.6931 * 5 for one in nats)
    shown = panel(
        scored(text, nats),
        scored(text, worse).model_copy(
            update={"prompt": "q", "without": "module:money.py", "whole": "p"}
        ),
    )
    assert shown is not None
    whole, less = shown.split("<details", 2)[1:]
    assert whole.count('class="b3"') == (count + 1) // 2
    assert whole.count('class="b0"') == count // 2
    assert 'data-b="3.0"' in whole
    assert "3.00 bits per token, 4 tokens" in whole
    assert "Read by tiny.gguf under the prompt of recorded" in whole
    assert less.count('class="b4"') == count
    assert "without <code>module:money.py</code>: 5.00 bits per token more surprised" in less


def test_what_a_commit_changed_is_tinted_below_it(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repo")
    for body in ("1", "2"):
        repository.write("a.py", f"def f():\n    return {body}\n")
        repository.commit()
    with EventStore.open("sqlite://") as store:
        run(store, "git", repository.path)
        second = [event.version for event in store.read("repo", types=["COMMITTED"])][-1]
        outcome = outcome_of(step_at(store, "repo", str(second)), store.get)
        assert outcome is not None
        lines = outcome.text.count("\n") + 1
        fact = scored(outcome.text, (4 * 0.6931 * 3,) * lines).model_copy(update={"step": second})
        store.append("repo", [Claim(fact, None, "score", ())], after=store.version("repo"))
        reader = RunReader(store, "repo")
        first, last = [step for step in reader.sequence.read_on() if step.commit]
        maker = PanelMaker(reader)
        assert "Read by tiny.gguf under the prompt of recorded: 3.00" in step_panel(maker, last)
        assert "Read by" not in step_panel(maker, first)


def test_scores_of_another_text_or_with_too_few_lines_tint_nothing(text: str) -> None:
    assert panel(scored("another", (1.0,))) is None
    assert panel(scored(text, (1.0, 2.0))) is None
    assert panel() is None


def test_what_a_real_model_read_tints_the_lines_by_its_own_bits(tmp_path: Path) -> None:
    path = tmp_path / "palindrome.jsonl"
    path.write_bytes(Path("fixtures/logs/palindrome.jsonl").read_bytes())
    model = smollm2()
    with pytest.raises(SystemExit) as end:
        main(["influence", str(path), "--model", f"llama:{model}", "--context-tokens", "400",
              "--most", "1"])  # fmt: skip
    assert not end.value.code
    lines = Path(f"{path}.scores").read_text().splitlines()
    facts = [Scored.model_validate(json.loads(line)["data"]) for line in lines]
    [whole] = [fact for fact in facts if fact.without is None]
    [less] = [fact for fact in facts if fact.without is not None]
    with opened(str(path)) as run:
        shown = tinted(PanelMaker(RunReader(run.store, "palindrome"), log=str(path)), 10)
    assert shown is not None
    assert f"Read by {model.removesuffix('.gguf')}" in html.unescape(shown)
    parts = shown.split("<details")[1:]
    of_whole, of_less = parts[0], next(part for part in parts if str(less.without) in part)
    assert _figures(of_whole) == [
        f"{nats / log(2) / max(1, tokens):.2f}"
        for nats, tokens in zip(whole.line_nats, whole.line_tokens, strict=True)
    ]
    assert _figures(of_less) == [
        f"{(after - before) / log(2) / max(1, tokens):+.2f}"
        for before, after, tokens in zip(
            whole.line_nats, less.line_nats, whole.line_tokens, strict=True
        )
    ]
    assert len({re.sub("title.*", "", line) for line in re.findall("<span class=.*", shown)}) > 1


def _figures(part: str) -> list[str]:
    return re.findall(r'title="(\S+) bits per token', part)
