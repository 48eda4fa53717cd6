"""History policies tried on agents' runs, recorded and imported: what is kept, lost, and said."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.action_evidence import ActionEvidence
from backcast.domain.context_events import ContextBuilt, ForeignRequest, RequestPart
from backcast.domain.events import (
    Claim,
    Fact,
    MessageReceived,
    ModelReplied,
    ModuleIteration,
    TaskStarted,
    ToolCalled,
    ToolReturned,
)
from backcast.domain.message_parts import RESULT, FileRead, MessagePart, total
from backcast.domain.message_settings import MessageSettings
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from backcast.engine.log.exchanges.bodies import split_body
from backcast.engine.log.exchanges.requests import digest_of_body
from backcast.engine.log.open_logs import opened
from backcast.engine.replay.agent_prompts import agent_prompts, has_messages
from backcast.engine.replay.history_figures import figures, losses
from backcast.engine.replay.history_trial import HistoryPolicy, tried

FIXTURES = Path(__file__).parents[1] / "fixtures"
MENDER, AGENT = str(FIXTURES / "recorded/mender.jsonl"), str(FIXTURES / "recorded/agent.jsonl")
TILL = str(FIXTURES / "logs/till.jsonl")
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def count(text: str) -> int:
    return len(text) // 4 + 1


def ran(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


@pytest.fixture
def store() -> Iterator[EventStore]:
    with EventStore.open("sqlite://") as store:
        yield store


class Agent:
    """An agent's run while it is written, without requests, as importers write it."""

    def __init__(self, store: EventStore, task: str = "agent") -> None:
        self.store, self.task = store, task
        self.add(TaskStarted(goal="Mend it."))

    def add(self, fact: Fact, because: tuple[int, ...] = (), **texts: str) -> int:
        """Append a fact, with texts as blobs in its fields; return its version."""
        blobs = {name: Blob(text.encode()) for name, text in texts.items()}
        fact = fact.model_copy(update={name: blob.ref for name, blob in blobs.items()})
        version = self.store.version(self.task) + 1
        row = self.store.row(self.task, version, Claim(fact, NOON, "agent", because))
        self.store.write_rows([row], list(blobs.values()), [])
        return version

    def said(self, text: str, role: str = "user", **fields: object) -> int:
        return self.add(MessageReceived.model_validate({"role": role} | fields), text=text)

    def answered(self, text: str, **fields: object) -> int:
        return self.add(ModelReplied.model_validate(fields), text=text)

    def turn(self, text: str, command: str, output: str, tool: str = "bash") -> int:
        """Add an answer with a call and its result; return the answer's version."""
        reply = self.answered(text)
        called = self.add(ToolCalled(tool=tool, arguments={"command": command}), (reply,))
        self.add(ToolReturned(tool=tool), (called,), output=output)
        return reply


def results(parts: tuple[MessagePart, ...]) -> list[str]:
    return [part.text for part in parts if part.kind == RESULT]


def test_prompts_are_formed_of_what_came_before_each_answer(store: EventStore) -> None:
    agent = Agent(store)
    agent.said("You mend.", "system")
    agent.said("Mend it.")
    first = agent.turn("I look.", "ls", "till.py")
    second = agent.turn("I read.", "cat till.py", "x = 1")
    prompts = list(agent_prompts(store, "agent", count))
    assert [prompt.version for prompt in prompts] == [first, second]
    assert [(part.kind, part.turn, part.text) for part in prompts[1].parts] == [
        ("system", 0, "You mend."),
        ("message", 0, "Mend it."),
        ("message", 1, "I look."),
        ("call", 1, "bash\ncommand: ls"),
        ("result", 1, "till.py"),
    ]
    assert prompts[1].action == ("I read.", "bash\ncommand: cat till.py")
    assert prompts[1].formed


def test_a_side_chain_is_a_run_of_its_own(store: EventStore) -> None:
    agent = Agent(store)
    agent.said("Mend it.")
    agent.turn("I ask a helper.", "ls", "till.py")
    side: dict[str, Any] = {"isSidechain": True, "agentId": "helper"}
    agent.said("Look at till.py.", **side)
    reply = agent.answered("I look.", **side)
    called = agent.add(ToolCalled(tool="bash", arguments={"command": "cat"}), (reply,))
    agent.add(ToolReturned(tool="bash"), (called,), output="only the helper sees this")
    agent.answered("It is done.", **side)
    last = agent.answered("Thanks.")
    prompts = {prompt.version: prompt for prompt in agent_prompts(store, "agent", count)}
    assert results(prompts[last].parts) == ["till.py"]
    helped = [prompt for prompt in prompts.values() if prompt.thread == "helper"]
    assert [results(prompt.parts) for prompt in helped] == [[], ["only the helper sees this"]]


def test_where_an_agent_began_anew_its_prompts_do(store: EventStore) -> None:
    agent = Agent(store)
    agent.said("You mend.", "system")
    agent.said("Mend it.")
    agent.turn("I look.", "ls", "till.py")
    agent.said("So far: till.py was seen.", isCompactSummary=True)
    agent.answered("I go on.")
    *_, last = agent_prompts(store, "agent", count)
    assert [(part.turn, part.text) for part in last.parts] == [
        (0, "You mend."),
        (0, "So far: till.py was seen."),
    ]


def test_results_without_a_call_and_several_in_a_turn_stand_in_it(store: EventStore) -> None:
    agent = Agent(store)
    agent.said("Mend it.")
    reply = agent.answered("Both.")
    calls = [
        agent.add(
            ToolCalled(tool="Read", call_id=key, arguments={"file_path": f"{key}.py"}), (reply,)
        )
        for key in ("a", "b")
    ]
    for key, called in reversed(list(zip(("a", "b"), calls, strict=True))):
        agent.add(ToolReturned(call_id=key), (called,), output=f"{key} " * 400)
    agent.add(ToolReturned(), (), output="nobody called " * 100)
    agent.turn("Next.", "ls", "till.py")
    agent.answered("Done.")
    *_, last = agent_prompts(store, "agent", count)
    found = [(part.tool, part.arguments, part.turn) for part in last.parts if part.kind == RESULT]
    assert found == [("Read", "b.py", 1), ("Read", "a.py", 1), ("", "", 1), ("bash", "ls", 2)]


def test_a_text_that_is_gone_is_named_so_and_costs_what_its_name_costs(store: EventStore) -> None:
    agent = Agent(store)
    agent.said("Mend it.")
    reply = agent.answered("I look.")
    gone = Blob(b"never stored").ref
    agent.add(ToolReturned(tool="bash", output=gone), (reply,))
    agent.answered("Done.")
    *_, last = agent_prompts(store, "agent", count)
    assert results(last.parts) == ["[its text is not in the log]"]


def test_a_changed_file_ends_the_read_before_it_where_the_log_knows_its_text(
    store: EventStore,
) -> None:
    agent = Agent(store)
    agent.said("Mend it.")
    agent.turn("I read.", "cat /work/till.py", "old line of code\n" * 50)
    reply = agent.answered("I change it.")
    called = agent.add(
        ToolCalled(tool="bash", arguments={"command": "sed -i s/a/b/ till.py"}), (reply,)
    )
    returned = agent.add(ToolReturned(tool="bash"), (called,), output="")
    agent.add(ModuleIteration(module_name="till.py", iteration=1), (returned,), source="new line")
    agent.answered("Done.")
    policy = [HistoryPolicy("latest", MessageSettings(drop_superseded=True))]
    run = tried(store, "agent", policy, count)
    *_, last = agent_prompts(store, "agent", count)
    saved = total(last.parts) - run.prompts[-1].steps[0].tokens
    assert saved > 150


def test_what_an_action_used_of_earlier_results_is_what_a_policy_can_lose(
    store: EventStore,
) -> None:
    agent = Agent(store)
    agent.said("Mend known_name.")
    agent.turn("I look.", "ls", "shop/deep/till.py\n" + "padding of the listing\n" * 50)
    agent.turn("I read.", "cat x", "def total_of(cart):\n" + "padding of the file\n" * 50)
    last = agent.turn(
        "I mend known_name.", "sed -i s/total_of/sum_of/ shop/deep/till.py  # not_shown", "ok"
    )
    policies = [HistoryPolicy("none", MessageSettings()),
                HistoryPolicy("mask-1", MessageSettings(mask_after=1)),
                HistoryPolicy("last-1", MessageSettings(last_turns=1))]  # fmt: skip
    run = tried(store, "agent", policies, count)
    prompt = run.prompts[-1]
    assert (prompt.version, prompt.used, prompt.last_used) == (last, 1, 1)
    assert list(losses(run, 0)) == []
    assert list(losses(run, 1)) == [(last, ActionEvidence("path", "shop/deep/till.py"))]
    none, mask, least = figures([run], policies)
    assert (none.recall, mask.recall, least.recall) == (100.0, 0.0, 0.0)
    assert (none.last_recall, mask.last_recall) == (100.0, 100.0)
    assert none.again == 0
    assert mask.interval is None  # one run tells nothing of others


def test_a_window_that_moves_each_turn_makes_servers_read_again(store: EventStore) -> None:
    agent = Agent(store)
    agent.said("Mend it.")
    for number in range(30):
        agent.turn(f"Step {number}.", f"step {number}", f"line of {number}\n" * 60)
    policies = [
        HistoryPolicy("none", MessageSettings()),
        HistoryPolicy("mask-5", MessageSettings(mask_after=5)),
        HistoryPolicy("mask-5-by-5", MessageSettings(mask_after=5, mask_step=5)),
    ]
    none, window, steps = figures([tried(store, "agent", policies, count)], policies)
    assert window.tokens < steps.tokens < none.tokens
    assert none.again == 0 < steps.again < window.again
    assert (window.prefix or 0) < (steps.prefix or 0) < (none.prefix or 0)
    assert none.read < steps.read < window.read


def test_a_recorded_request_is_taken_from_its_body(store: EventStore) -> None:
    body = json.dumps({
        "model": "m", "system": [{"type": "text", "text": "You mend."}],
        "tools": [{"name": "Read", "input_schema": {}}],
        "messages": [
            {"role": "user", "content": "Mend it."},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "I read."},
                {"type": "tool_use", "id": "t1", "name": "Read", "input": {"file_path": "a.py"}},
                {"type": "tool_use", "id": "t2", "name": "Shot", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "is_error": True,
                 "content": [{"type": "text", "text": "no such file"}]},
                {"type": "tool_result", "tool_use_id": "t2", "content": [
                    {"type": "image", "source": {"data": "AAAA" * 1000}}]},
                {"type": "text", "text": "Go on."}]},
        ],
    }).encode()  # fmt: skip
    split = split_body(body, "messages")
    parts = tuple(
        RequestPart(kind=one.kind, role=one.role, name=one.name, before=one.before,
                    text=Blob(one.text).ref)
        for one in split.parts
    )  # fmt: skip
    request = ForeignRequest(
        path="/v1/messages", dialect="messages", parts=parts, rest=split.rest,
        digest=digest_of_body(body),
    )  # fmt: skip
    store.append("agent", [TaskStarted(), ContextBuilt(request=request)], after=0,
                 blobs=[Blob(one.text) for one in split.parts])  # fmt: skip
    [prompt] = agent_prompts(store, "agent", count)
    assert [(part.role, part.kind, part.tool, part.turn) for part in prompt.parts] == [
        ("system", "system", "", 0), ("system", "tool", "Read", 0), ("user", "message", "", 0),
        ("assistant", "thinking", "", 1), ("assistant", "message", "", 1),
        ("assistant", "call", "Read", 1), ("assistant", "call", "Shot", 1),
        ("tool", "result", "Read", 1), ("tool", "result", "Shot", 1), ("tool", "image", "", 1),
        ("user", "message", "", 1),
    ]  # fmt: skip
    failed = prompt.parts[7]
    assert (failed.text, failed.failed, failed.arguments) == ("no such file", True, "a.py")
    assert failed.reads == FileRead("a.py")
    assert not prompt.formed


def test_only_agents_runs_have_messages() -> None:
    for log, expected in ((MENDER, True), (AGENT, True), (TILL, False)):
        with opened(log) as found:
            assert [has_messages(found.store, task) for task in found.tasks] == [expected]


def test_regress_tables_every_policy(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ran(capsys, "regress", MENDER, "--histories", "--json")
    assert code == 0
    rows = {row["name"]: row for row in map(json.loads, out.splitlines())}
    assert list(rows)[:3] == ["none", "mask-1", "mask-3"]
    assert (rows["none"]["recall"], rows["none"]["lost"], rows["none"]["again"]) == (100, [], 0)
    assert rows["mask-1"]["recall"] < rows["mask-3"]["recall"] < 100
    assert rows["last-1"]["recall"] < rows["mask-1"]["recall"]
    lost = rows["mask-3"]["lost"]
    line = """lines.append(f"{'total':24}{shown(self.total()):>12}")"""
    assert {"run": "mender", "event": 39, "kind": "line", "text": line} in lost
    assert len(lost) == rows["mask-3"]["used"] - rows["mask-3"]["shown"]
    assert "what a model would have answered to them, nobody can tell" in err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--policy", "mask-1"), 1),
        (("--policy", "mask-1", "--limit", "recall=50"), 0),
        (("--policy", "mask-1", "--limit", "recall=50", "--limit", "prefix=10"), 1),
        (("--policy", "mask-20"), 0),
    ],
)
def test_rules_decide_the_exit_code(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], expected: int
) -> None:
    code, out, _ = ran(capsys, "regress", MENDER, *words)
    assert code == expected
    assert out.startswith("REGRESSION under mask-1") is bool(expected)


def test_a_policy_that_leaves_messages_as_they_were_is_the_first_row(
    capsys: pytest.CaptureFixture[str],
) -> None:
    limits = ("--limit", "recall=90")
    _, alone, _ = ran(capsys, "regress", MENDER, "--policy", "mask-1", *limits)
    for other in ("reader", "recorded"):
        names = ("--policy", other, "--policy", "mask-1")
        code, out, err = ran(capsys, "regress", MENDER, *names, *limits)
        assert (code, out) == (0, alone)
        assert ("shows an agent's messages as they were, as the row 'none'" in err) is (
            other == "reader"
        )


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (("regress", TILL, "--policy", "mask-3"), "needed an agent's run, as 'backcast record'"),
        (("regress", MENDER, "--histories", "--strategies"), "--strategies: needed no policy of"),
        (("regress", MENDER, "--histories", "--report", "x.md"), "--report: needed no policy of"),
        (("regress", MENDER, "--explain"), "--explain: needed --histories"),
        (("context", f"{MENDER}@12", "--explain"), "--anatomy tells of what an agent's is made"),
        (("regress", MENDER, "--policy", "mask-0"), "needed a TOML file or one of reader,"),
        (("regress", MENDER, "--policy", "offload-99"), "needed more than the 300 tokens of a"),
        (("context", MENDER, "--policy", "reader"), "needed a policy with [messages]"),
        (("context", f"{MENDER}@2", "--policy", "mask-3"), "the nearest are mender@3 and"),
        (("diff", MENDER, "--policy", "mask-3", "--policy", "mask-1"), "under one policy"),
    ],
)
def test_what_cannot_be_tried_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], needed: str
) -> None:
    code, out, err = ran(capsys, *words)
    assert (code, out) == (2, "")
    [line] = [line for line in err.splitlines() if needed in line]
    assert line


def test_an_audit_counts_the_prompts_of_an_agent_that_hold_the_path(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = ran(capsys, "audit", MENDER, "money.py")
    with opened(MENDER) as log:
        prompts = list(agent_prompts(log.store, "mender", len))
    held = [
        prompt.version
        for prompt in prompts
        if any("money.py" in part.text for part in prompt.parts)
    ]
    assert (code, len(prompts) > len(held) > 1) == (0, True)
    last = out.splitlines()[-1]
    assert last.endswith(
        f"prompts: {len(prompts)} of an agent, the text 'money.py' stands in {len(held)}, first in"
        f" mender@{held[0]}"
    )
    assert f"'backcast blame mender@{held[0]} money.py' tells where the text came from" in err
    assert ran(capsys, "blame", f"{MENDER}@{held[0]}", "money.py")[0] == 0


def test_a_prompt_under_a_policy_is_printed_and_compared(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = ran(capsys, "context", f"{MENDER}@48", "--policy", "mask-3")
    assert code == 0
    assert "\n[result of read_file till.py: 430 tokens, masked; blob:36562c5026f2]\n" in out
    assert "1,195 tokens under mask-3, 2,922 as it was" in err
    _, out, _ = ran(capsys, "context", f"{MENDER}@48", "--policy", "mask-3", "--json")
    found = json.loads(out)
    assert (found["tokens"], found["recorded_tokens"]) == (1195, 2922)
    assert sum(part["state"] == "masked" for part in found["parts"]) == 5
    _, out, _ = ran(capsys, "diff", f"{MENDER}@48", "--policy", "mask-3")
    assert "  masked      result read_file, turn 2: 430 -> 34 tokens\n" in out
    assert out.endswith("  in all      2,922 -> 1,195 tokens\n")


def test_the_name_of_a_masked_text_opens_it(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ran(capsys, "cat", "blob:36562c5026f2", MENDER)
    assert code == 0
    assert out.startswith('"""A till: items, a total, receipts."""')
    code, _, err = ran(capsys, "cat", "blob:36562c5026ff", MENDER)
    assert (code, err) == (2, "backcast: blob:36562c5026ff is not in this store\n")


def test_an_imported_run_is_tried_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    files = ("claude-code.jsonl", "cline.json", "openhands.jsonl", "inspect.json", "swe-agent.traj",
             "mini-swe-agent.traj.json")  # fmt: skip
    for file in files:
        kind = file.partition(".")[0].removeprefix("mini-")
        ran(capsys, "import", kind, str(FIXTURES / "foreign" / file), "--store", url)
    code, out, err = ran(capsys, "regress", "--store", url, "--histories", "--json")
    assert code == 0
    rows = {row["name"]: row for row in map(json.loads, out.splitlines())}
    assert rows["none"]["runs"] == 6
    assert "6 of 6 runs hold no recorded requests: their prompts are formed of messages" in err
    assert rows["none"]["prompts"] > 6
    _, tasks, _ = ran(capsys, "tasks", "--store", url)
    shown = [ran(capsys, "context", line.split()[1], "--store", url) for line in tasks.splitlines()]
    formed = [out for code, out, err in shown if code == 0 and "formed of the run's" in err]
    assert formed
    assert all(", turn 0]\n" in out for out in formed)
    assert rows["none"]["tokens"] > 200


def test_requests_whose_texts_are_gone_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines = Path(MENDER).read_text(encoding="utf-8").splitlines(keepends=True)
    log = tmp_path / "gone.jsonl"
    log.write_text("".join(line for line in lines if "A till: items, a total" not in line[:200]))
    code, out, err = ran(capsys, "regress", str(log), "--policy", "mask-3", "--json")
    assert code == 0
    assert json.loads(out.splitlines()[0])["prompts"] == 2
    assert "note: 10 requests of mender cannot be read, as texts of theirs are masked or" in err


def test_files_that_the_run_changed_are_stale_where_they_were_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = ran(capsys, "stale", MENDER)
    assert code == 0
    assert out == (
        "the result read_file in message 6 shows till.py as it was at mender@10;"
        " mender@43: changed\n"
        "the result read_file in message 8 shows money.py as it was at mender@15;"
        " mender@34: changed\n"
    )
    _, out, _ = ran(capsys, "log", MENDER, "--type", "MODULE_ITERATION")
    assert [line.split()[4].rstrip(",") for line in out.splitlines()] == ["money.py", "till.py"]


def test_figures_do_not_depend_on_the_hash_seed() -> None:
    script = "from backcast.engine.interfaces.cli import main; main()"
    command = [sys.executable, "-c", script, "regress", MENDER, "--histories", "--json"]
    printed = {
        subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True,
                       check=True).stdout
        for seed in ("1", "77")
    }  # fmt: skip
    assert len(printed) == 1
