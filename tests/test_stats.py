"""What the calls of a run cost and were shown, as tables, as JSON and as pictures."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from backcast.domain.call_events import CallSettled
from backcast.domain.context_events import (
    CompressedItem,
    ContextBuilt,
    ContextItem,
    TextCompressed,
)
from backcast.domain.events import (
    AnswerOrigin,
    AnswerRefused,
    Fact,
    ModelFailed,
    ModelReplied,
    StepStarted,
    WorkflowEvent,
)
from backcast.engine.interfaces.plots import PolicyMark, recall_plot, run_plot
from backcast.engine.interfaces.run_stats import CallSections, compressed_lines
from backcast.projections import calls, compressions, fold
from tests.strategies import NOON

Call = Callable[..., tuple[str, str, int]]
FIXTURES = Path(__file__).parents[1] / "fixtures"
TILL, AGENT = FIXTURES / "logs" / "till.jsonl", FIXTURES / "recorded" / "agent.jsonl"


def folded(*facts: Fact) -> calls.State:
    events = [
        WorkflowEvent(n, "t", n, fact, NOON, NOON, "ann", ()) for n, fact in enumerate(facts, 1)
    ]
    state: calls.State = fold(calls, events)
    return state


def test_what_nobody_tells_of_a_call_is_none_and_no_zero() -> None:
    state = folded(
        StepStarted(kind="code"), ContextBuilt(tokens=100), ModelReplied(tokens=7),
        StepStarted(kind="code"), ContextBuilt(tokens=90, shared_prefix=0),
        ModelReplied(prompt_tokens=91, cached_tokens=0, seconds=float("nan")),
    )  # fmt: skip
    [row] = calls.by_kind(state)
    assert (row.kind, row.calls, row.prompt, row.answer, row.cached) == ("code", 2, 191, 7, 0)
    assert row.seconds is None
    assert dict(row.untold) == {"answer": 1, "cached": 1, "seconds": 2}
    assert calls.prefix_kept(state.calls.values()) == (1, 0, 90)


def test_replies_side_by_side_belong_to_their_own_calls() -> None:
    state = folded(
        StepStarted(kind="code", module_name="a.py", wave=1), ContextBuilt(tokens=10),
        StepStarted(kind="summary", module_name="b.py", wave=1), ContextBuilt(tokens=20),
        ModelReplied(tokens=2, call=3), ModelReplied(tokens=1, call=1),
        StepStarted(kind="code", module_name="c.py", wave=1), ContextBuilt(tokens=30),
        CallSettled(call=7, outcome="cut"), ModelFailed(kind="answer"),
    )  # fmt: skip
    found = {call.about: (call.kind, call.prompt, call.answer, call.outcome)
             for call in state.calls.values()}  # fmt: skip
    assert found == {
        "a.py": ("code", 10, 1, "answered"), "b.py": ("summary", 20, 2, "answered"),
        "c.py": ("code", 30, None, "cut"),
    }  # fmt: skip


def test_a_prompt_that_was_asked_twice_is_two_calls() -> None:
    state = folded(ContextBuilt(tokens=10), ModelReplied(tokens=1), ModelReplied(tokens=2))
    [row] = calls.by_kind(state)
    assert (row.calls, row.prompt, row.answer) == (2, 20, 3)


def test_every_call_ends_in_one_way_and_counts_under_its_kind() -> None:
    code, summary = StepStarted(kind="code"), StepStarted(kind="summary", wave=1)
    state = folded(
        code, ContextBuilt(tokens=10), ModelReplied(call=1, seconds=0.0), AnswerRefused(call=1),
        code, ContextBuilt(tokens=20),
        ModelReplied(call=5, tokens=7, answer_of=AnswerOrigin(task="t", version=3)),
        code, ContextBuilt(tokens=40), ModelFailed(call=8), CallSettled(call=8, outcome="failed"),
        summary, CallSettled(call=12, outcome="lost"),
        summary, ContextBuilt(tokens=80), CallSettled(call=14, outcome="failed"),
    )  # fmt: skip
    told = [(row.kind, row.calls, row.outcomes, row.seconds) for row in calls.by_kind(state)]
    assert told == [
        ("code", 3, (("failed", 1), ("refused", 1), ("reused", 1)), 0.0),
        ("summary", 2, (("failed", 1), ("lost", 1)), None),
    ]
    # Of the two answers one was there already, and its prompt of 20 tokens was read by nobody.
    assert calls.reused(state.calls.values()) == (2, 1, 20)


def test_items_are_summed_by_section_cache_and_level() -> None:
    def item(node: str, found: str, level: str, tokens: int) -> ContextItem:
        return ContextItem(node=node, section="code", found=found, level=level, tokens=tokens)

    state = folded(
        ContextBuilt(items=(item("a", "online", "full", 5), item("b", "online", "full", 6))),
        ContextBuilt(items=(item("a", "offline", "name", 1), item("b", "online", "full", 6))),
    )
    assert dict(state.shown) == {
        ("code", "online", "full"): calls.ShownThere(2, 3, 17),
        ("code", "offline", "name"): calls.ShownThere(1, 1, 1),
    }
    assert state.calls[2].sections == (("code", 7),)


def test_texts_that_were_compressed_are_told_by_kind() -> None:
    def short(before: int, tokens: int, **more: object) -> CompressedItem:
        return CompressedItem(whole="blob:" + "0" * 64, before=before, tokens=tokens, **more)

    shown = ContextItem(node="failure:a", section="recent errors", compressed=short(9_000, 2_000))
    again = shown.model_copy(update={"compressed": short(6_000, 3_000, protected=3, target=2)})
    events = [
        WorkflowEvent(n, "t", n, fact, NOON, NOON, "ann", ())
        for n, fact in enumerate(
            (
                ContextBuilt(items=(shown, ContextItem(node="a", section="code"))),
                ContextBuilt(items=(again,)),
                TextCompressed(about="answer", compressed=short(40_000, 2_000, state="offloaded")),
                TextCompressed(about="answer"),
            ),
            1,
        )
    ]
    assert list(compressed_lines(fold(compressions, events))) == [
        "compressed, answer: 1 text, 40,000 -> 2,000 tokens (20.0 x); 1 as a preview",
        "compressed, recent errors: 2 texts, 15,000 -> 5,000 tokens (3.0 x);"
        " 1 over the target by what must stay",
    ]
    assert not list(compressed_lines(fold(compressions, events[:0])))


def test_stats_of_a_run_of_our_own_agree_with_what_other_commands_tell(backcast: Call) -> None:
    out, _, code = backcast("stats", TILL, "--json")
    assert code == 0
    found = json.loads(out)
    online = json.loads(backcast("show", "online", TILL, "--json")[0])["counters"]
    assert found["caches"] == {**online, "stale": 7}
    spent = json.loads(backcast("show", "spending", TILL, "--json")[0])["spent"]
    assert sum(row["calls"] for row in found["calls"]) == spent["calls"] == 34
    built = backcast("log", TILL, "--type", "CONTEXT_BUILT", "--json")[0].splitlines()
    prompts = [json.loads(line)["data"] for line in built]
    assert found["prefix"]["kept"] == sum(one["shared_prefix"] or 0 for one in prompts)
    assert [row["tokens"] for row in found["prompts"]] == [one["sections"] for one in prompts]
    assert found["server"] is found["first_byte"] is None
    assert {row["kind"]: row["seconds"] for row in found["calls"]} == dict.fromkeys(
        ("summary", "code", "plan")
    )
    text, _, _ = backcast("stats", TILL)
    assert "caches: 292 hits online, 0 offline, 0 promotions, 48 misses, 0 evictions, 7" in text
    assert "not told: answer tokens of 33 of 34 calls" in text
    assert "0.0" not in text


def test_stats_are_as_of_any_moment(backcast: Call) -> None:
    found = [json.loads(backcast("stats", f"{TILL}@{n}", "--json")[0]) for n in (16, 17, 40)]
    assert [row["version"] for row in found] == [16, 17, 40]
    assert [one["calls"][0]["outcomes"] for one in found[:2]] == [{"": 1}, {"answered": 1}]
    first = found[1]["prompts"]
    assert found[2]["prompts"][: len(first)] == first


def test_a_recorded_run_is_told_by_kind_of_part_and_by_what_its_server_kept(backcast: Call) -> None:
    out, _, code = backcast("stats", AGENT, "--json")
    assert code == 0
    found = json.loads(out)
    [row] = found["calls"]
    assert (row["prompt"], row["answer"], row["cached"]) == (706, 89, 322)
    assert found["server"] == {"prompts": 4, "kept": 322, "tokens": 706}
    assert len(found["first_byte"]) == 4
    assert found["caches"] is None
    parts = json.loads(backcast("context", f"{AGENT}@12", "--anatomy", "--json")[0])["parts"]
    assert sum(found["prompts"][-1]["tokens"].values()) == sum(part["tokens"] for part in parts)
    assert "hits and misses: no prompt names" in backcast("stats", AGENT)[0]


def test_thoughts_of_an_imported_run_are_counted(backcast: Call) -> None:
    backcast("import", "pi", FIXTURES / "foreign" / "pi.jsonl", "--as", "pi")
    [row] = json.loads(backcast("stats", "pi", "--json")[0])["calls"]
    assert row["thinking"] > 0
    assert row["outcomes"] == {"answered": 4, "failed": 1}
    assert row["seconds"] is None


def test_a_task_without_calls_says_so(backcast: Call) -> None:
    out, told, code = backcast("stats", FIXTURES / "logs" / "addresses.jsonl")
    assert (out, code) == ("", 0)
    assert "no call" in told


def test_a_picture_is_the_same_bytes_each_time_and_well_formed(
    backcast: Call, tmp_path: Path
) -> None:
    for name in ("a.svg", "b.svg"):
        assert backcast("stats", TILL, "--plot", name)[2] == 0
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    titles = [node.text for node in ET.fromstring(text).iter("{http://www.w3.org/2000/svg}title")]
    assert "event 16, test results: 1,192 tokens" in titles
    assert "event 20: 80%" in titles


def test_the_recall_of_policies_is_drawn_with_its_intervals(backcast: Call, tmp_path: Path) -> None:
    logs = [FIXTURES / "logs" / f"{name}.jsonl" for name in ("till", "contexts", "validators")]
    backcast("regress", *logs, "--policy", "no-cache", "--processes", "1", "--plot", "out.svg")
    text = (tmp_path / "out.svg").read_text()
    assert "recorded: 98.0 % (48 of 49)" in text
    assert "no-cache: 89.8 % (44 of 49)<" in text
    assert "too few runs or changes for an interval" in text
    drawn = recall_plot([PolicyMark("mine", 89.8, (78.0, 98.0), "44 of 49")])
    assert "mine: 89.8 % (44 of 49) 95 % 78.0 to 98.0<" in drawn
    assert "a bar is the 95 % interval of the difference to it, over runs or changes" in drawn
    backcast("regress", AGENT, "--histories", "--plot", "histories.svg")
    assert "mask-10-by-10" in (tmp_path / "histories.svg").read_text()


@pytest.mark.parametrize("command", ["stats", "regress"])
def test_a_picture_needs_a_name_that_opens_as_such(backcast: Call, command: str) -> None:
    _, told, code = backcast(command, TILL, "--plot", "out.png")
    assert code == 2
    assert "needed a file that ends in .svg, found 'out.png'" in told
    _, told, code = backcast(command, TILL, "--plot", "nowhere/out.svg")
    assert code == 2
    assert "nowhere/out.svg: cannot be written" in told


def test_names_of_a_log_cannot_leave_their_place_in_a_picture() -> None:
    odd = "<script>alert(1)</script>\x00\x1b[31m\u202e\ud800"
    prompt = CallSections(1, "code", ((odd, 5),), None)
    for text in (run_plot(odd, [prompt]), recall_plot([PolicyMark(odd, 50.0, None, "1 of 2")])):
        assert [node.tag for node in ET.fromstring(text).iter() if "script" in node.tag] == []
        assert "\x1b" not in text
        assert text.encode()


def test_of_very_many_prompts_a_column_is_a_mean() -> None:
    prompts = [CallSections(n, "code", (("code", 100 * (n % 2)),), None) for n in range(1, 8001)]
    text = run_plot("t", prompts)
    assert "8,000 prompts, events 1 to 8000; of 8,000 nobody tells what was kept" in text
    assert "each column is the mean of 20" in text
    assert text.count("code: 50 tokens</title>") == 400


def test_pictures_of_nothing_say_so() -> None:
    assert "no prompt is known" in run_plot("t", [])
    assert "nothing was used" in recall_plot([])
    assert "1 prompt, event 1" in run_plot("t", [CallSections(1, "", (), 0.0)])
