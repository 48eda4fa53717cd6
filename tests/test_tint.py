"""The accepted code on the page, tinted by how much a model was surprised that read it."""

import re
from hashlib import sha256

import pytest

from backcast.domain.events import Claim, Fact, Scored
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.engine.interfaces.view.reading import RunReader
from backcast.engine.interfaces.view.tint import tinted
from backcast.engine.log.blobs import Blob
from backcast.engine.log.open_logs import opened
from backcast.engine.log.store import EventStore
from backcast.engine.replay.outcomes import outcome_of

TILL = "fixtures/logs/till.jsonl"


def scored(text: str, nats: tuple[float, ...]) -> Scored:
    digest = sha256(text.encode()).hexdigest()
    return Scored(
        step=79, policy="recorded", model="models/tiny.gguf 1a2b", prompt="p", template="",
        outcome=digest, line_tokens=(4,) * len(nats), line_nats=nats,
    )  # fmt: skip


def panel(*facts: Fact) -> str | None:
    with opened(TILL) as log, EventStore.open("sqlite://") as store:
        for event in log.store.read("till"):
            claim = Claim(event.fact, event.timestamp, event.writer, event.because)
            refs = set(re.findall(r"blob:[0-9a-f]{64}", event.fact.model_dump_json()))
            bodies = [Blob(log.store.get(ref)) for ref in sorted(refs) if log.store.holds(ref)]
            store.append("till", [claim], after=event.version - 1, blobs=bodies)
        claims = [Claim(fact, None, "score", ()) for fact in facts]
        store.append("till", claims, after=store.version("till"))
        return tinted(PanelMaker(RunReader(store, "till")), 79)


@pytest.fixture(scope="module")
def text() -> str:
    with opened(TILL) as log:
        step = RunReader(log.store, "till").step(79)
        assert step is not None
        outcome = outcome_of(step, log.store.get)
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


def test_scores_of_another_text_or_with_too_few_lines_tint_nothing(text: str) -> None:
    assert panel(scored("another", (1.0,))) is None
    assert panel(scored(text, (1.0, 2.0))) is None
    assert panel() is None
