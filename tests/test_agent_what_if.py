"""What would a history policy have shown an agent? On the page, in a file, and pinned by a test."""

import html
import json
import re
import shlex
from pathlib import Path

import pytest

import backcast.library  # noqa: F401 - a run of pytest in this process drops what it imports
from backcast.domain.errors import InputError
from backcast.domain.events import (
    Claim,
    Fact,
    MessageReceived,
    ModelReplied,
    ToolCalled,
    ToolReturned,
)
from backcast.engine.interfaces import cli
from backcast.engine.interfaces.testing import plugin
from backcast.engine.interfaces.view.answering import PageServer
from backcast.engine.interfaces.view.file import whole_page
from backcast.engine.interfaces.view.whatif import whatif_parts
from backcast.engine.interfaces.view.whatif_all import all_parts
from backcast.engine.interfaces.view.whatif_worker import AskedPolicy, PolicyWorker
from backcast.engine.log.blobs import Blob
from backcast.engine.log.open_logs import opened
from backcast.engine.log.store import EventStore
from backcast.engine.replay.what_if import MESSAGE_NAMES, other_policy, policy_asked
from tests.view_files import parts_of

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[1]
AGENT, MENDER = "fixtures/recorded/agent.jsonl", "fixtures/recorded/mender.jsonl"
FOREIGN = {
    "claude-code": "fixtures/foreign/claude-code.jsonl",
    "codex": "fixtures/foreign/codex.jsonl",
    "cline": "fixtures/foreign/cline.json",
    "openhands": "fixtures/foreign/openhands.jsonl",
    "pi": "fixtures/foreign/pi.jsonl",
    "swe-agent": "fixtures/foreign/mini-swe-agent.traj.json",
}  # fmt: skip
"A run of each importer; the last is mini-swe-agent's."


def words(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def pins(body: str) -> list[str]:
    found = re.findall(r'<pre class="text pin">(.*?)</pre>', body, re.DOTALL)
    return [html.unescape(text) for text in found]


def imported(folder: Path, form: str) -> str:
    """Import the run of a form, and return its store."""
    url = f"sqlite:///{folder / 'runs.db'}"
    with pytest.raises(SystemExit):
        cli.main(["import", form, str(ROOT / FOREIGN[form]), "--as", "run", "--store", url])
    return url


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of pytest within a test has the plugin that it names, and no other."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def pinned(pytester: pytest.Pytester, test: str, *options: str) -> pytest.RunResult:
    """Run a test that was pinned."""
    pytester.makepyfile(test_it=test)
    return pytester.runpytest_inprocess("-p", plugin.__name__, *options)


def test_an_agents_prompt_is_asked_about_under_history_policies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(AGENT) as log:
        server = PageServer(log.store, "till-agent", 0, [], AGENT)
        step = server.answer("/step", {"e": "9"})[1]
        assert {"mask-3", "compress-2000"} <= set(re.findall(r'<option value="([^"]+)"', step))
        assert not re.findall('<option value="(?:reader|coverage|no-cache)"', step)
        body = server.compute("/whatif", {"w": "9", "policy": "last-1", "toml": ""})
    said = words(body)
    assert "183 → 138 tokens" in said
    assert "gone 2 parts of turn 1 45" in said
    assert "Over the run: 4 prompts" in said
    typed = PolicyWorker().ask(
        AskedPolicy(AGENT, "till-agent", AGENT, "", 9, "mask-3", "[messages]\nlast_turns = 1")
    )[0]
    toml, edited_lines, _ = pins(typed)
    edited = tmp_path / "edited.toml"
    edited.write_text(toml)
    lines = pins(body)[0].splitlines() + [
        line.replace("edited.toml", str(edited)) for line in edited_lines.splitlines()
    ]
    capsys.readouterr()
    for line in lines:
        with pytest.raises(SystemExit) as ended:
            cli.main(shlex.split(line)[1:])
        assert ended.value.code in (0, None), line
        out = capsys.readouterr().out
        assert "183 -> 138" in out if " diff " in line else "439" in out, line
    refused = PolicyWorker().ask(AskedPolicy(AGENT, "till-agent", AGENT, "", 9, "reader", ""))[0]
    assert "reader shows an agent's messages as they were: needed one of mask-1" in words(refused)


def test_what_the_answer_used_and_the_policy_hides_is_named_and_pinned(
    pytester: pytest.Pytester,
) -> None:
    with opened(str(ROOT / MENDER)) as log:
        maker = PageServer(log.store, "mender", 0, [], MENDER).maker({})
        body = "".join(whatif_parts(maker, 30, other_policy("mask-3"), lambda: False))
    lost = "line return [cents // people for _ in range(people)]"
    assert "that the answer used next, " in words(body)
    assert f"Lost: {lost}" in words(body)
    assert "[result of read_file till.py" in words(body)
    assert f"backcast diff {MENDER}@30 --policy mask-3" in pins(body)[0]
    test = pins(body)[1].replace(MENDER, str(ROOT / MENDER))
    pinned(pytester, test).assert_outcomes(passed=1)
    failed = pinned(pytester, test, "--backcast-policy", "mask-3")
    failed.assert_outcomes(failed=1)
    assert "return [cents // people for _ in range(people)]" in failed.stdout.str()


@pytest.mark.parametrize("form", FOREIGN)
def test_each_step_of_an_imported_run_can_be_tried(
    tmp_path: Path, form: str, pytester: pytest.Pytester
) -> None:
    url, found = imported(tmp_path, form), []
    with opened(url, "run") as log:
        server = PageServer(log.store, "run", 0, [], url=url)
        maker = server.maker({})
        steps = [step for step in maker.reader.sequence.steps if step.replied or step.prompt]
        for step in steps:
            panel = server.answer("/step", {"e": str(step.event)})[1]
            [version] = re.findall(r'data-w="(\d+)"', panel)
            assert "What the model saw" in panel
            assert "formed " in panel
            assert "rebuilt: other bytes" not in panel
            parts = whatif_parts(maker, int(version), other_policy("last-1"), lambda: False)
            found.append("".join(parts))
            assert f"Over the run: {len(steps)} prompts" in words(found[-1])
            assert (
                f"backcast diff run@{version} --store {url} --policy last-1" in pins(found[-1])[0]
            )
            if step is not steps[0]:
                [pair] = re.findall(r'data-d="([0-9.]+)"', panel)[:1]
                difference = server.answer("/difference", {"d": pair})[1]
                assert re.search("are new|must be read again", words(difference)), pair
    assert len(found) > 1
    test = pins(found[-1])[1]
    assert f'history_at(event_log("{url}", task="run"), {version})' in test
    pinned(pytester, test, "--backcast-policy", "last-1").assert_outcomes(passed=1)


def test_every_history_policy_stands_side_by_side_at_a_step() -> None:
    with opened(MENDER) as log:
        body = "".join(all_parts(PageServer(log.store, "mender", 0, [], MENDER).maker({}), 30))
    rows = [words(row) for row in re.findall("<tr>.*?</tr>", body)]
    masked = next(row for row in rows if row.startswith("mask-3 "))
    assert masked.startswith("mask-3 1,528 ")
    assert "line return [cents // people for _ in range(people)]" in masked
    assert rows[1].startswith("recorded 2,318 ")
    assert len(rows) == 2 + len(MESSAGE_NAMES)


def test_where_time_is_over_the_prompts_until_then_are_told() -> None:
    asked = AskedPolicy(MENDER, "mender", MENDER, "", 30, "mask-3", "")
    body, is_whole = PolicyWorker(seconds=0.0).ask(asked)
    assert is_whole
    assert "Over the first 1 prompts Time was over" in words(body)


@pytest.mark.parametrize("redact", [False, True])
@pytest.mark.parametrize("run", ["recorded", "claude-code", "swe-agent"])
def test_a_file_of_an_agents_run_tells_of_the_policies_that_were_asked_for(
    tmp_path: Path, run: str, redact: bool
) -> None:
    name = MENDER if run == "recorded" else imported(tmp_path, run)
    policies = [policy_asked(policy) for policy in ("mask-3", "last-1")]
    with opened(name) as log:
        page, _ = whole_page(log.store, log.tasks[0], 0, [], redact=redact, policies=policies)
    data = parts_of(page)
    links = set(re.findall(r"#w=(\d+:[a-z0-9-]+)", json.dumps(data["texts"])))
    assert set(data["whatif"]) == links
    assert len(links) == 2 * sum(1 for version in {link.partition(":")[0] for link in links})
    assert {link.partition(":")[2] for link in links} == {"mask-3", "last-1"}
    if run == "recorded":
        texts = data["texts"]
        panel = texts[data["whatif"]["30:mask-3"]]
        while "<r " in panel:
            panel = re.sub(r"<r (\d+)>", lambda found: texts[int(found[1])], panel)
        assert "2,318 → 1,528 tokens" in words(panel)
        assert "Over the run: 12 prompts" in words(panel)
        assert "Lost: line return [cents // people for _ in range(people)]" in words(panel)


def test_a_secret_of_an_imported_run_is_masked_in_every_panel_of_its_file() -> None:
    key = "AKIA" + "IOSFODNN7EXAMPLX"
    said = Blob(f"the aws key is {key} in conf/keys.py".encode())
    facts: list[Fact] = [MessageReceived(role="user", text=said.ref)]
    for number in range(4):
        facts += [
            ModelReplied(text=said.ref),
            ToolCalled(tool="bash", arguments={"command": f"echo {key}"}, call_id=str(number)),
            ToolReturned(tool="bash", output=said.ref, call_id=str(number)),
        ]
    with EventStore.open("sqlite://") as store:
        claims = [Claim(fact, None, "agent", ()) for fact in facts]
        store.append("run", claims, after=0, blobs=[said])
        policies = [policy_asked("last-1")]
        page, masked = whole_page(store, "run", 0, [], redact=True, policies=policies)
    inside = json.dumps(parts_of(page))
    assert "aws_key" in masked
    assert key not in page + inside
    assert "MASKED_aws_key_1" in inside
    assert "gone" in inside


def test_a_policy_that_has_nothing_to_do_with_a_run_gets_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["view", AGENT, "--html", str(tmp_path / "x.html"), "--what-if", "reader"])
    assert ended.value.code
    [line] = capsys.readouterr().err.splitlines()
    assert "reader shows an agent's messages as they were: needed one of mask-1" in line
    with opened("fixtures/recorded/dispatch.jsonl") as log, pytest.raises(InputError) as raised:
        whole_page(log.store, "shop", 0, [], redact=False, policies=[policy_asked("mask-3")])
    assert "needed a prompt" in str(raised.value)
