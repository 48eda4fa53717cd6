"""Compression as runs, agents' histories, questions and `fit --keep` use it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.budget import QWEN3_8B_32K
from backcast.domain.compression_settings import CompressionSettings, KeepRule
from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import (
    CheckFailure,
    ChecksRan,
    Claim,
    Fact,
    ModelReplied,
    TaskStarted,
    ToolCalled,
    ToolReturned,
)
from backcast.domain.message_parts import RESULT
from backcast.domain.moment import NOW
from backcast.domain.policy import DEFAULT, Policy
from backcast.domain.text_request import TextRequest, request_of
from backcast.engine.context.message_policies import message_policy
from backcast.engine.context.policies import policy_at
from backcast.engine.context.recorded import record_context
from backcast.engine.context.request import Request
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from backcast.engine.memory.compress import compress, refusal
from backcast.engine.models import NOTHING, Call, Completion, Limits, Message
from backcast.engine.models.tokenizers import UpperBound
from backcast.engine.replay.fit_keep import fit_keep, held_out
from backcast.engine.replay.long_results import dropped_lines, long_results
from backcast.projections import compressions, fold

NOISE = "".join(f"worker {number} is done with its part of the work\n" for number in range(900))
ERROR = "TillError: the till of pear is empty\n"


def count(text: str) -> int:
    return len(text) // 4 + 1


class Says:
    """A double that gives one answer after the other."""

    id = "double"

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = list(answers), list[str]()

    def complete(
        self, messages: Sequence[Message], limits: Limits, *,
        schema: Mapping[str, Any] | None = None, stop: Sequence[str] = (), call: Call = NOTHING,
    ) -> Completion:  # fmt: skip
        """Answer, and remember what was said last."""
        self.asked.append(messages[-1].content)
        return Completion(self.answers.pop(0))


# Texts for whoever asked


def test_a_compressed_text_is_a_fact_whose_whole_stays_a_blob() -> None:
    text = NOISE + ERROR + NOISE
    found = compress(text, TextRequest(), CompressionSettings(), UpperBound(), about="checks")
    assert ERROR.strip() in found.text
    assert found.fact is not None
    assert found.fact.compressed is not None
    kept = {blob.ref: blob.body for blob in found.blobs}
    assert kept[found.fact.compressed.whole] == text.encode()
    assert kept[str(found.fact.text)] == found.text.encode()
    assert found.fact.compressed.ratio > 3
    assert found.fact.compressed.dropped
    assert (found.fact.by, found.fact.about) == ("extractive", "checks")
    assert compress("short", TextRequest(), CompressionSettings(), UpperBound()).fact is None


def test_a_model_sums_up_the_rest_only_where_it_is_asked_for() -> None:
    text = NOISE + ERROR + NOISE
    model = Says("All workers are done with their part.")
    plain = CompressionSettings()
    assert compress(text, TextRequest(), plain, UpperBound(), model=model).fact is not None
    assert model.asked == []
    asked = plain.model_copy(update={"abstractive": True})
    found = compress(text, TextRequest(), asked, UpperBound(), model=model)
    assert "[summary of the rest, by double]\nAll workers are done" in found.text
    assert ERROR.strip() in found.text
    assert found.fact is not None
    assert (found.fact.by, found.fact.refused) == ("double", "")
    assert Blob(b"All workers are done with their part.") in found.blobs


def test_a_summary_with_invented_names_is_refused_and_the_extracts_stand() -> None:
    text = NOISE + ERROR + NOISE
    model = Says("Mend shop/other.py first.", "Call mend_all() in shop/other.py.")
    asked = CompressionSettings(abstractive=True)
    found = compress(text, TextRequest(), asked, UpperBound(), model=model)
    assert model.asked[1] == (
        "That cannot be used: it names shop/other.py, which the text does not. Answer again."
    )
    assert "[summary" not in found.text
    assert ERROR.strip() in found.text
    assert found.fact is not None
    assert found.fact.by == "extractive"
    assert "which the text does not" in found.fact.refused
    assert refusal("", text, 100, UpperBound()) == "it is empty"


# Prompts of runs


def test_a_long_failure_is_compressed_in_a_prompt_and_the_fact_says_what_went() -> None:
    message = ERROR + "".join(f"    value {n} of {n * 7} is as it was\n" for n in range(700))
    with EventStore.open("sqlite://") as store:
        failure = CheckFailure(name="test_till", message=message, at="till.py:3", kind="failure")
        ran = ChecksRan(passed=0, failed=1, module_name="till.py", failures=(failure,))
        facts = [TaskStarted(goal="Mend the till."), ran]
        store.append("till", [Claim(fact) for fact in facts], after=0)
        request = Request("module:till.py", "Mend the till.")
        profile = QWEN3_8B_32K._replace(tokenizer="upper-bound")
        short = CompressionSettings(target=300, over=400, most=1.0, share=1.0)
        policy = DEFAULT.model_copy(update={"compression": short})
        context = record_context(store, "till", NOW, request, profile, policy)
        [item] = [item for item in context.items if item.node.startswith("failure:")]
        assert item.level == "part"
        assert ERROR.strip() in item.text
        [event] = store.read("till", types=["CONTEXT_BUILT"])
        assert isinstance(event.fact, ContextBuilt)
        [shown] = [one for one in event.fact.items if one.compressed]
        assert shown.compressed is not None
        assert "value 20 of 140" in store.get(shown.compressed.whole).decode()
        assert "value 15 of 105" not in item.text
        assert shown.compressed.whole[:17] in item.text
        assert shown.compressed.tokens < shown.compressed.before
        assert shown.compressed.dropped
        [(section, row)] = fold(compressions, store.read("till")).kinds.items()
        assert (section, row.texts) == (shown.section, 1)
        assert (row.before, row.after) == (shown.compressed.before, shown.compressed.tokens)
        whole = record_context(store, "till", NOW, request, profile)
        assert [one.level for one in whole.items if one.node == item.node] == ["full"]
    # What a log remembers of a failure is shorter than the limit at which that is done by itself.


def test_settings_that_are_as_they_were_leave_a_policys_digest_alone() -> None:
    assert b"compress" not in DEFAULT.body
    masked = message_policy("mask-3")
    assert masked is not None
    assert b"compress" not in masked.body
    ruled = CompressionSettings(guideline=(KeepRule(kind="path"),))
    assert Policy(compression=ruled).digest != Policy().digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[compression]\ntarget = 9000", "compression.over: needed the 9000 tokens of"),
        ("[compression]\nsize = 3", "compression: needed one of target, over, "),
        ("[messages.compress]\nsize = 3", "messages.compress: needed one of target, over, "),
        ("[[messages.compress.guideline]]\nsort = 'error'",
         "messages.compress.guideline.0: needed one of kind, path, name, place, worth"),
        ("[[compression.guideline]]\nkind = 'poem'", "compression.guideline.0.kind"),
    ],
)  # fmt: skip
def test_a_bad_setting_of_compression_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(Exception, match=message.replace("[", r"\[")) as error:
        policy_at(tmp_path / "mine.toml")
    assert "\n" not in str(error.value)


# Agents' histories


def run(store: EventStore, task: str, used: str) -> None:
    """Write an agent's run: it reads a long listing, and then uses one of its lines."""
    version = 0

    def add(fact: Fact, because: tuple[int, ...] = (), **texts: str) -> int:
        nonlocal version
        blobs = {name: Blob(text.encode()) for name, text in texts.items()}
        fact = fact.model_copy(update={name: blob.ref for name, blob in blobs.items()})
        store.append(task, [Claim(fact, None, "agent", because)], after=version,
                     blobs=list(blobs.values()))  # fmt: skip
        version += 1
        return version

    # Names, as lines that differ by their numbers alone are not shown again and again.
    names = [f"{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(400)]
    listing = "".join(f"worker {name} wrote part {name}\n" for name in names)
    listing += "".join(f"pkg/deep/{task}_module_{n}.py\n" for n in range(60))
    listing += "".join(f"worker {name} read part {name}\n" for name in names)
    add(TaskStarted(goal="Mend it."))
    reply = add(ModelReplied(), text="I look.")
    call = add(ToolCalled(tool="bash", arguments={"command": "ls"}), (reply,))
    add(ToolReturned(tool="bash"), (call,), output=listing)
    reply = add(ModelReplied(), text="I read it.")
    call = add(ToolCalled(tool="bash", arguments={"command": f"cat {used}"}), (reply,))
    add(ToolReturned(tool="bash"), (call,), output="x = 1")


def stored(tmp_path: Path, runs: int) -> str:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    with EventStore.open(url) as store:
        for number in range(runs):
            name = f"run{number}"
            run(store, name, f"pkg/deep/{name}_module_{30 + number}.py")
    return url


def test_failures_of_a_compression_are_lines_that_later_actions_used(tmp_path: Path) -> None:
    with EventStore.open(stored(tmp_path, 1)) as store:
        [result] = long_results(store, "run0", 1_000, count)
    settings = CompressionSettings(target=500, over=500, most=1.0, share=1.0)
    assert [str(thing) for thing in result.used] == [
        "path pkg/deep/run0_module_30.py", "symbol run0_module_30",
    ]  # fmt: skip
    assert [line for line, _ in dropped_lines(result, settings, count)] == [431, 431]


def test_rules_that_runs_held_out_confirm_are_kept(tmp_path: Path) -> None:
    with EventStore.open(stored(tmp_path, 6)) as store:
        results = [one for n in range(6) for one in long_results(store, f"run{n}", 1_000, count)]
    settings = CompressionSettings(target=500, over=500, most=1.0, share=1.0)
    found = fit_keep(results, settings, count)
    assert found.refusal == ""
    assert found.settings.guideline
    assert found.after[1].shown > found.before[1].shown
    assert found.after[1].after <= 1.02 * found.before[1].after
    assert set(found.training_runs) & set(found.held_out_runs) == set()
    assert held_out(found.training_runs + found.held_out_runs) == set(found.held_out_runs)


def test_fit_keep_writes_a_policy_that_compresses_by_its_rules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, out, base = stored(tmp_path, 6), tmp_path / "keep.toml", tmp_path / "base.toml"
    base.write_text("[messages.compress]\ntarget = 900\nover = 900\nmost = 1.0\nshare = 1.0\n")
    with pytest.raises(SystemExit) as end:
        main(["fit", "--keep", "--store", url, "--policy", str(base), "--out", str(out), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert end.value.code == 0, report["refusal"]
    compress_settings = policy_at(out).messages.compress
    assert compress_settings is not None
    assert compress_settings.model_dump(mode="json") == report["settings"]
    assert compress_settings.guideline


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--keep", "--model", "llama:x.gguf"), "--keep asks no model"),
        ((), "needed --model llama:FILE, who reads, or --keep"),
        (("--keep", "--policy", "mask-3"), "mask-3 compresses no results"),
        (("--keep",), "needed a log, found no events"),
    ],
)
def test_what_fit_keep_cannot_do_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: Sequence[str], message: str
) -> None:
    url = f"sqlite:///{tmp_path / 'none.db'}"
    with EventStore.open(url):
        pass
    with pytest.raises(SystemExit) as end:
        main(["fit", *words, "--store", url, "--out", str(tmp_path / "keep.toml")])
    assert end.value.code in (1, 2)
    assert not (tmp_path / "keep.toml").exists()
    assert message in capsys.readouterr().err


def test_a_result_is_compressed_for_what_was_asked_when_it_came(tmp_path: Path) -> None:
    from backcast.domain.histories import shaped
    from backcast.engine.replay.agent_prompts import agent_prompts

    policy = message_policy("compress-1000")
    assert policy is not None
    with EventStore.open(stored(tmp_path, 1)) as store:
        *_, last = agent_prompts(store, "run0", count)
    parts = shaped(last.parts, policy.messages, count).parts
    [short] = [part for part in parts if part.kind == RESULT]
    assert short.state in ("compressed", "offloaded")
    assert short.name in short.text
    assert request_of("see pkg/a.py").paths == frozenset({"pkg/a.py"})
