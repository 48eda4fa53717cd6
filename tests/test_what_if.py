"""What would another policy have shown? On the page and in a file, bounded and pinned."""

import html
import json
import re
import shlex
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest

from backcast.domain.errors import InputError
from backcast.engine.interfaces import cli
from backcast.engine.interfaces.view.answering import PageServer
from backcast.engine.interfaces.view.file import whole_page
from backcast.engine.interfaces.view.whatif_worker import AskedPolicy, PolicyWorker
from backcast.engine.log.open_logs import opened
from backcast.engine.replay.what_if import NAMES, other_policy, policy_asked, run_trial
from tests.view_files import parts_of

TILL = "fixtures/logs/till.jsonl"
LESS = "errors = 0\n\n[weights]\nsiblings = 1.0"


def words(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", markup))


def asked(policy: str = "no-cache", text: str = "", version: int = 124) -> AskedPolicy:
    return AskedPolicy(TILL, "till", TILL, "", version, policy, text)


def test_a_named_policy_shows_the_difference_the_run_and_the_lines_that_pin_it() -> None:
    with opened(TILL) as log:
        server = PageServer(log.store, "till", 0, [], TILL)
        query = {"w": "79", "policy": "no-cache", "toml": ""}
        body = server.compute("/whatif", query)
        said = words(body)
        assert "tokens must be read again" in said
        assert "Over the run: 34 prompts" in said
        assert "Evidence recall +0.0 points (one run, so that no interval can be told)" in said
        assert f"backcast diff {TILL}@79 --policy recorded --policy no-cache" in said
        assert f"backcast regress {TILL} --policy no-cache" in said
        assert "pytest --backcast-policy no-cache" in said
        page = server.compute("/", query)
        assert body in page
        assert "<!doctype html>" in page
        assert server.compute("/whatif", query) == body
        for path in ("/step", "/whatever"):
            with pytest.raises(InputError):
                server.compute(path, query)


def test_the_lines_that_pin_an_edited_policy_do_what_they_say(tmp_path: Path) -> None:
    body, is_whole = PolicyWorker().ask(asked("coverage", LESS, 79))
    assert is_whole
    pins = re.findall(r'<pre class="text pin">(.*?)</pre>', body, re.DOTALL)
    texts = [html.unescape(text) for text in pins]
    assert texts[0] == f'base = "coverage"\n{LESS}'
    edited = tmp_path / "edited.toml"
    edited.write_text(texts[0])
    for line in texts[1].splitlines():
        command = shlex.split(line.replace("edited.toml", str(edited)))
        with pytest.raises(SystemExit) as ended:
            cli.main(command[1:])
        assert ended.value.code in (0, 1, None)
    here = Path.cwd()
    test = tmp_path / "test_pinned.py"
    test.write_text(texts[2].replace(TILL, str(here / TILL)))
    ran = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly",
           "--rootdir", str(tmp_path), str(test)]  # fmt: skip
    kept = subprocess.run(ran, capture_output=True, text=True, check=False, cwd=here)
    assert "1 passed" in kept.stdout, kept.stdout
    lost = subprocess.run([*ran, "--backcast-policy", str(edited)], capture_output=True, text=True,
                          check=False, cwd=here)  # fmt: skip
    assert "Lost: failure:76.1" in words(body)
    assert "1 failed" in lost.stdout, lost.stdout
    assert "failure:76.1" in lost.stdout


@pytest.mark.parametrize(
    ("policy", "text", "line"),
    [
        ("no-cache", "errors = [", "the policy: needed TOML: "),
        ("no-cache", "errors = -1", "the policy: errors: needed "),
        ("no-cache", "<script>alert(1)</script> = 1", "the policy: needed TOML: "),
        ("no-cache", "nothing = 1", "the policy: needed one of name, "),
        ("no-cache", 'base = "/etc/passwd"', "the policy: base: needed one of "),
        ("no-cache", "[weights]\nmeaning = 1.0", "weights.meaning: needed 0"),
        ("no-cache", "[regress]\nrecall = 'x'", "the policy: regress.recall: needed "),
        ("/etc/passwd", "", "policy: needed one of reader, "),
        ("graph-semantic", "", "policy: needed one of reader, "),
    ],
)  # fmt: skip
def test_a_policy_that_does_not_parse_gets_a_line(policy: str, text: str, line: str) -> None:
    with pytest.raises(InputError, match=re.escape(line)) as raised:
        other_policy(policy, text)
    assert "\n" not in str(raised.value)


def test_the_page_tells_what_is_wrong_in_a_line_and_keeps_what_was_typed() -> None:
    with opened(TILL) as log:
        server = PageServer(log.store, "till", 0, [], TILL)
        text = "errors = [ </textarea><script>"
        body = server.compute("/whatif", {"w": "79", "policy": "coverage", "toml": text})
    assert "this cannot be told: the policy: needed TOML" in words(body)
    assert "<script" not in body
    assert 'value="coverage" selected' in body
    assert html.escape(text) in body


FORGOTTEN = "fixtures/recorded/forgotten.jsonl"


def test_the_step_alone_and_within_the_run_are_told_apart() -> None:
    """A prompt is built after the one before it: the recorded one, or the policy's own."""
    body = PolicyWorker().ask(AskedPolicy(FORGOTTEN, "till", FORGOTTEN, "", 84, "reader", ""))[0]
    said = " ".join(words(body).split())
    assert "after the prompts before it as they were recorded" in said
    assert "its own prompt showed 3, this one 3." in said
    assert "function:cart.py::subtotal within another item within another item" in said
    assert "function:money.py::to_text not at all not at all" in said
    assert "function:orders.py::read_order within another item full" in said
    assert (
        "this step shows 2 of 4; its own policy, built so, 3. It misses function:money.py" in said
    )
    assert "was out: over budget" in said


def test_every_named_policy_stands_side_by_side_at_a_step() -> None:
    with opened(FORGOTTEN) as log:
        server = PageServer(log.store, "till", 0, [], FORGOTTEN)
        body = server.compute("/whatif", {"w": "84", "policy": "all", "toml": ""})
        wrong = server.compute("/whatif", {"w": "84", "policy": "all", "toml": "errors = 0"})
    rows = [" ".join(words(row).split()) for row in re.findall("<tr>.*?</tr>", body)]
    assert rows[0].startswith("policy tokens shows of what was used function to_text")
    assert rows[1].startswith("recorded 860 3 of 4 not at all")
    found = {row.split()[0]: row.split()[2:5] for row in rows[1:]}
    assert set(found) == {"recorded", *NAMES} - {"default"}
    assert found["coverage"] == found["recorded"]
    assert found["no-cache"] == ["2", "of", "4"]
    assert "#w=84:no-cache" in body
    assert "policy: needed one of reader" in words(wrong)


def test_no_prompt_no_answer() -> None:
    body, is_whole = PolicyWorker().ask(asked(version=1))
    assert "needed the event of a prompt, found event 1" in words(body)
    assert is_whole


def test_where_time_is_over_what_was_found_is_shown() -> None:
    body, is_whole = PolicyWorker(seconds=0.0).ask(asked())
    assert "Over the first 1 of 34 prompts" in words(body)
    assert "Time was over" in words(body)
    assert is_whole


def test_a_process_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backcast.engine.interfaces.view.whatif_worker.GRACE", 0.0)
    begun = time.monotonic()
    body, is_whole = PolicyWorker(seconds=0.01).ask(asked())
    assert time.monotonic() - begun < 10
    assert not is_whole
    assert "Time was over: 0.01 s are given to a question." in words(body)


def test_a_process_has_no_more_memory_than_it_is_given() -> None:
    body, is_whole = PolicyWorker(memory=20_000_000).ask(asked())
    assert not is_whole or "Memory was over" in words(body)


def test_who_asks_anew_ends_what_was_asked_before() -> None:
    worker, found = PolicyWorker(), list[tuple[str, bool]]()
    before = Thread(target=lambda: found.append(worker.ask(asked())))
    before.start()
    while worker._process is None:
        time.sleep(0.01)
    assert worker.ask(asked())[1]
    before.join()
    assert "It was ended: another question came" in words(found[0][0])
    worker.close()


def test_nothing_is_written_into_a_store_that_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    with pytest.raises(SystemExit):
        cli.main(["import", "events", TILL, "--store", f"sqlite:///{path}"])
    with closing(sqlite3.connect(path)) as raw:
        before = list(raw.execute("SELECT * FROM events"))
    url = f"sqlite:///{path}"
    body, is_whole = PolicyWorker().ask(AskedPolicy(url, "till", "", url, 79, "no-cache", ""))
    assert is_whole
    said = words(body)
    assert f"backcast diff till@79 --store {url} --policy recorded" in said
    assert f'context_at(event_log("{url}", task="till"), 79)' in said
    with closing(sqlite3.connect(path)) as raw:
        assert list(raw.execute("SELECT * FROM events")) == before


def test_the_figures_are_those_of_regress(capsys: pytest.CaptureFixture[str]) -> None:
    with opened(TILL) as log:
        trial = run_trial(log.store, "till", other_policy("full-replay"))
    with pytest.raises(SystemExit):
        cli.main(["regress", TILL, "--policy", "full-replay", "--json", "--processes", "1"])
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    beside, after = told[1], trial.comparison.after
    assert (beside["summary"]["shown"], beside["summary"]["used"]) == (after.shown, after.used)
    assert (beside["came"], beside["went"]) == (trial.comparison.came, trial.comparison.went)
    assert len(trial.steps) == trial.prompts == beside["summary"]["prompts"]


@pytest.mark.parametrize("redact", [False, True])
def test_a_file_tells_of_the_policies_that_were_asked_for(tmp_path: Path, redact: bool) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('base = "coverage"\nerrors = 0\n')
    policies = [policy_asked("no-cache"), policy_asked(str(mine))]
    with opened("fixtures/logs/validators.jsonl") as log:
        page, _ = whole_page(log.store, log.tasks[0], 0, [], redact=redact, policies=policies)
    data = parts_of(page)
    events = {int(name.partition(":")[0]) for name in data["whatif"]}
    assert {name.partition(":")[2] for name in data["whatif"]} == {"no-cache", "mine"}
    assert len(data["whatif"]) == 2 * len(events) > 4
    inside = json.dumps(data["texts"])
    assert str(tmp_path) not in inside + page
    assert "evidence recall" in inside
    assert f"#w={min(events)}:mine" in inside.replace('\\"', '"')


def test_a_policy_of_a_file_that_is_none_gets_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for given in (["--html", str(tmp_path / "x.html"), "--what-if", "nothing"],
                  ["--what-if", "no-cache"]):  # fmt: skip
        with pytest.raises(SystemExit) as ended:
            cli.main(["view", TILL, *given])
        assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "needed a TOML file or one of reader" in told
    assert "--what-if goes with --html" in told
    assert "no-cache" in NAMES
