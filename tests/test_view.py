"""The page of `backcast view` without a browser: what it says, and whom it answers."""

import http.client
import json
import re
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.context_events import ContextBuilt
from backcast.domain.dispatch_events import (
    BuiltParts,
    DispatchEnded,
    DispatchPart,
    DispatchStarted,
    ResultClaimed,
)
from backcast.domain.errors import InputError
from backcast.domain.events import (
    AnswerRefused,
    Claim,
    Fact,
    ModelReplied,
    ModuleIteration,
    StepStarted,
    TaskFailed,
    TaskStarted,
)
from backcast.engine.history.snapshots import states_of
from backcast.engine.interfaces import cli
from backcast.engine.interfaces.commands.view import noting_damage
from backcast.engine.interfaces.view.answering import PageServer
from backcast.engine.interfaces.view.file import RunNames, whole_page
from backcast.engine.interfaces.view.line_pool import pooled
from backcast.engine.interfaces.view.markup import BLOCK, Markup, cut, escape, table, tag
from backcast.engine.interfaces.view.reading import ON_PAGE, RunReader
from backcast.engine.interfaces.view.searching import search
from backcast.engine.interfaces.view.sequence import RunSequence
from backcast.engine.interfaces.view.serving import listening
from backcast.engine.log.blobs import Blob
from backcast.engine.log.open_logs import opened
from backcast.engine.log.recorder.sqlite import SQLiteRecorder
from backcast.engine.log.store import EventStore
from backcast.engine.replay.steps import steps
from tests.extras import needs_llama
from tests.hostile_log import ALL, SCRIPT, write
from tests.view_files import parts_of, texts_of

TILL = "fixtures/logs/till.jsonl"


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


@contextmanager
def serving(name: str = TILL) -> Iterator[int]:
    """Serve a log in a thread, and give the port."""
    with opened(name) as log, listening(log.store, log.tasks[0], 0, 0, []) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def ask(port: int, path: str, method: str = "GET", body: str = "", **headers: str) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body or None, headers=named)
        answer = connection.getresponse()
        return Reply(answer.status, dict(answer.getheaders()), answer.read().decode())
    finally:
        connection.close()


# Steps


def facts_as_steps(*facts: Fact) -> list[tuple[int, int, int, str, str]]:
    with EventStore.open("sqlite://") as store:
        store.append("t", [Claim(fact, None, "loop", ()) for fact in facts], after=0)
        found = RunSequence(store, "t").read_on()
        return [(step.number, step.first, step.last, step.name, step.outcome) for step in found]


def test_events_are_told_as_steps_by_what_came_of_them() -> None:
    assert facts_as_steps(
        TaskStarted(goal="g"),
        StepStarted(kind="plan"), ContextBuilt(), ModelReplied(), AnswerRefused(reason="no"),
        StepStarted(kind="code", module_name="a.py", iteration=1, attempt=2), ContextBuilt(),
        ModelReplied(), ModuleIteration(module_name="a.py", iteration=1),
        ModelReplied(), TaskFailed(reason="gave up"),
    ) == [
        (0, 1, 1, "before the first step", "begin"),
        (1, 2, 5, "plan", "refused"),
        (2, 6, 9, "code a.py #1 attempt 2", "code"),
        (3, 10, 11, "answer", "failed"),
    ]  # fmt: skip


def test_steps_are_the_same_whether_read_at_once_or_as_the_log_grows() -> None:
    with opened(TILL) as log, EventStore.open("sqlite://") as store:
        whole = RunSequence(log.store, "till").read_on()
        growing = RunSequence(store, "till")
        for event in log.store.read("till"):
            claim = Claim(event.fact, event.timestamp, event.writer, event.because)
            store.append("till", [claim], after=event.version - 1)
            growing.read_on()
        assert growing.steps == whole


# What is computed


def test_a_step_of_another_program_is_named_by_what_it_did() -> None:
    """Its first call names it, else what it said: what it was asked begins with a result."""
    with opened("fixtures/recorded/mender.jsonl") as log:
        found = RunSequence(log.store, "mender").read_on()
    names = [step.name for step in found]
    assert names[1:4] == ["run wc -l *.py", "read_file till.py", "read_file money.py"]
    assert names[-1].startswith("Done: split_cents in money.py hands out")


def test_steps_of_questions_and_of_dispatched_agents_say_what_came_of_them() -> None:
    with opened("fixtures/recorded/asked.jsonl") as log:
        sequence = RunSequence(log.store, "asked")
        found = [(step.name, step.outcome) for step in sequence.read_on()]
    assert found == [
        ("before the first step", "tool"), ("ask q #1", "tool"), ("ask q #2", "tool"),
        ("ask q.2a #1", "begin"), ("ask q.2b #1", "reply"), ("answer to q.2b", "reply"),
        ("ask q #3", "reply"),
    ]  # fmt: skip
    with opened("fixtures/recorded/dispatch.jsonl") as log:
        server = PageServer(log.store, "shop", 0, [], "dispatch.jsonl")
        first, second, third = list(server.maker({}).reader.sequence.steps)[1:4]
        assert (first.name, first.outcome) == ("1.1 implementer coder", "checks")
        assert "claims that 'pytest -q' passed; 1 of 1 fails" in first.why
        assert "test_cart.py::test_total: assert 4 == 3.5" in first.why
        assert (second.name, second.outcome) == ("1.1 implementer coder attempt 2", "passed")
        assert (third.name, third.outcome) == ("1.1 reviewer critic attempt 2", "reply")
        shown = server.answer("/step", {"e": str(first.first)})[1]
        assert "You are the implementer of one task of a project." in shown
        assert "the patch" in shown
        assert "the work does not stand" in shown
        assert '<td data-h="claimed">pytest -q: passed</td>' in shown
        assert '<td data-h="found">1 failed (test_cart.py)</td>' in shown
        assert "357 tokens in 3 sections" in shown
        assert 'data-i="Task 1.1"' in shown
        assert "required fixes" not in shown


def test_the_prompt_of_a_dispatch_is_shown_by_the_parts_that_it_was_built_of() -> None:
    whole, short, rules = Blob(b"all of the ledger"), Blob(b"the ledger"), Blob(b"<rules>")
    parts = (
        DispatchPart(name="rules", group="kept", levels=(rules.ref,), tokens=40),
        DispatchPart(name="ledger", level=1, levels=(whole.ref, short.ref), tokens=10),
        DispatchPart(name="files", level=1, levels=(whole.ref, Blob(b"").ref), tokens=0),
    )
    built = BuiltParts(parts=parts, stage="delta", room=200, window=8_192, tokenizer="t")
    fact = DispatchStarted(item="1", role="implementer", agent="a", built=built, prompt_tokens=50,
                           prompt=Blob(b"both").ref, recorded_as="calls")  # fmt: skip
    with EventStore.open("sqlite://") as store:
        claims = [Claim(fact, None, "dispatch", ())]
        blobs = [whole, short, rules, Blob(b""), Blob(b"both")]
        store.append("run", claims, after=0, blobs=blobs)
        shown = PageServer(store, "run", 0, []).answer("/step", {"e": "1"})[1]
    assert "50 tokens in 2 sections, of 200 that it may have in a window of 8,192" in shown
    assert "stage: delta" in shown
    assert "free: 150" in shown
    assert "ledger, level 2 of 2 · 10 tokens" in shown
    assert ">the ledger<" in shown
    assert "all of the ledger" not in shown
    assert "&lt;rules&gt;" in shown
    assert "Its own calls were recorded as calls" in shown


def test_what_agents_that_work_side_by_side_do_is_told_of_each() -> None:
    facts = (
        TaskStarted(goal="go"), DispatchStarted(item="1", role="implementer", agent="a"),
        DispatchStarted(item="2", role="implementer", agent="b"),
        DispatchEnded(dispatch=2, outcome="time limit", reason="after 9 s"),
        ResultClaimed(dispatch=3, error="marker_missing", message="no result"),
    )  # fmt: skip
    with EventStore.open("sqlite://") as store:
        store.append("run", [Claim(fact, None, "dispatch", ()) for fact in facts], after=0)
        steps = RunSequence(store, "run").read_on()
    assert [(step.name, step.outcome, step.why) for step in steps[1:]] == [
        ("1 implementer a", "begin", ""), ("2 implementer b", "begin", ""),
        ("1 implementer a, further", "failed", "time limit: after 9 s"),
        ("2 implementer b, further", "refused", "marker_missing: no result"),
    ]  # fmt: skip


def test_a_failed_step_names_what_its_prompt_lacked_and_shows_the_line() -> None:
    with opened(TILL) as log:
        server = PageServer(log.store, "till", 0, [], TILL)
        sequence = server.maker({}).reader.sequence
        lacking = {
            step.number: server.answer("/step", {"e": str(step.event)})[1]
            .partition('said lacked">')[2]
            .partition("</p>")[0]
            for step in sequence.steps
            if step.why
        }
        missed = {
            step.number: server.maker({}).reader.figures(step.prompt)
            for step in sequence.steps
            if step.why and step.prompt
        }
        for number, figures in missed.items():
            assert figures is not None
            assert bool(figures.missed) == bool(lacking[number])
            assert all(node in lacking[number] for node in figures.missed[:4])
        step = server.answer("/step", {"e": "162"})[1]
    assert "return int(Decimal(text) * CENTS)" in step.partition("raised at")[2]


def test_the_states_of_each_moment_are_those_that_the_log_gives() -> None:
    with opened(TILL) as log:
        reader = RunReader(log.store, "till")
        reader.sequence.read_on()
        reader.states.read_on()
        for version in range(1, log.store.version("till") + 1):
            folded = states_of(log.store, ON_PAGE, "till", reader.moment(version))
            assert reader.states.moment(version) == list(folded)


@needs_llama
def test_the_figures_of_a_prompt_are_those_of_a_replay_of_the_whole_log() -> None:
    with opened(TILL) as log:
        one, other = RunReader(log.store, "till"), RunReader(log.store, "till")
        for step in steps(log.store, "till", outcomes=True):
            figures = one.figures(step.version)
            assert figures == other.figures_of(step)
            assert figures is not None
            assert (figures.rebuilt, figures.derived) == ("same", "same")
            assert step.built is not None
            assert len(figures.ranks) == len(step.built.items)
            assert None not in figures.ranks


def test_of_any_function_it_can_be_asked_why_a_prompt_does_not_show_it() -> None:
    with opened("fixtures/recorded/forgotten.jsonl") as log:
        server = PageServer(log.store, "till", 0, [], "forgotten.jsonl")
        step = next(one for one in server.maker({}).reader.sequence.steps if one.number == 12)
        shown = server.answer("/step", {"e": str(step.first)})[1]
        assert f'data-why="{step.prompt}"' in shown
        assert '<option value="money.py::to_text">' in shown
        for node, words in (("money.py::to_text", "why: over budget"), ("nothing", "there was no")):
            said = server.answer("/why", {"e": str(step.prompt), "i": node})[1]
            assert words in said
        page = whole_page(log.store, "till", 0, [], redact=False, names=RunNames("a log.jsonl"))[0]
    command = f"backcast blame &#x27;a log.jsonl&#x27;@{step.prompt} NODE"
    assert any(command in text for text in parts_of(page)["texts"])


def test_a_changed_text_is_not_called_the_same_bytes() -> None:
    with opened(TILL) as log:
        reader = RunReader(log.store, "till")
        step = next(steps(log.store, "till", outcomes=True))
        assert step.built is not None
        other = log.store.put(b"another text")
        items = (step.built.items[0].model_copy(update={"text": other}), *step.built.items[1:])
        forged = step._replace(built=step.built.model_copy(update={"items": items}))
        assert reader.figures_of(forged).rebuilt.startswith("different")


def test_what_is_searched_is_as_of_the_moment() -> None:
    with opened(TILL) as log:
        reader = RunReader(log.store, "till")
        before = search(reader, "DEF SHARE", 25)
        assert (before.found, before.texts, before.next) == ([], 0, 26)
        assert before.later > 2
        found, texts, later, _ = search(reader, "DEF SHARE", 27)
        assert later == before.later - 2
        assert texts == 2
        assert [(one.version, one.what, one.line) for one in found] == [
            (26, "answer", 21), (27, "code: money.py #1", 18)
        ]  # fmt: skip


# HTML


def test_every_text_is_escaped_and_what_cannot_be_seen_is_shown() -> None:
    shown = escape(ALL)
    assert "<script" not in shown
    assert '"' not in re.sub(r'<i class="unseen">', "", shown)
    for sign in ("\x1b", "\u202e", "\u2066", "\u200b", "\x00", "\x85", "\ud800"):
        assert sign not in shown
        assert repr(sign)[1:-1] in shown
    assert SCRIPT not in tag("a", SCRIPT, title=ALL, href=ALL)
    assert escape(escape("<")) == "&lt;"


def test_a_long_text_says_how_much_of_it_is_left_out() -> None:
    assert cut("abc", 3) == ["abc"]
    assert cut("abcd", 3) == ["abc", tag("em", " … 1 characters more", class_="more")]


def test_a_long_text_stands_in_blocks_of_whole_lines_and_is_the_same_text() -> None:
    lines = "".join(f"line {n} of <a> text\n" for n in range(2_000))
    for text in (lines, lines + "the last one", "x" * 50_000, lines[:4_000], "", "a\n"):
        parts = cut(text)
        blocks = [part for part in parts if isinstance(part, Markup)]
        assert bool(blocks) == (text.startswith(lines))
        inner = [part.removeprefix('<span class="block">').removesuffix("</span>")
                 for part in blocks]  # fmt: skip
        assert all(part.endswith("\n") and len(part) < 6_000 for part in inner)
        assert "".join([*inner, escape(parts[-1])]) == escape(text)
        assert len(str(parts[-1])) <= (2 * BLOCK if "\n" in text else len(text))


def test_a_table_leaves_out_empty_columns_and_an_empty_table_is_nothing() -> None:
    assert table(("a", "b"), []) == ""
    shown = table(("a", "b"), [("x", ""), (Markup("<b>y</b>"), "")])
    assert ">b<" not in shown
    assert "<b>y</b>" in shown


# The server


def test_only_the_page_itself_is_answered() -> None:
    with serving() as port:
        here = f"127.0.0.1:{port}"
        assert ask(port, "/").status == 200
        assert ask(port, "/", Host=f"localhost:{port}").status == 200
        assert ask(port, "/", Host="evil.example").status == 403
        assert ask(port, "/", Host=f"evil.example:{port}").status == 403
        assert ask(port, "/step?e=16", Origin="http://evil.example").status == 403
        assert ask(port, "/step?e=16", Origin="null").status == 403
        assert ask(port, "/step?e=16", Origin=f"http://{here}").status == 200
        assert ask(port, "/step?e=16", Sec_Fetch_Site="cross-site").status == 403
        for method in ("PUT", "DELETE", "OPTIONS"):
            assert ask(port, "/", method).status == 501
        for headers in ({}, {"Origin": "null"}, {"Origin": "http://evil.example"},
                        {"Origin": f"http://{here}", "Sec_Fetch_Site": "same-site"}):  # fmt: skip
            assert ask(port, "/whatif", "POST", "w=16", **headers).status == 403
        own = {"Origin": f"http://{here}"}
        assert ask(port, "/step", "POST", "e=16", **own).status == 404
        large = ask(port, "/whatif", "POST", f"toml={'x' * 70_000}", **own)
        assert (large.status, "needed at most 64,000 bytes" in large.body) == (404, True)


def test_it_listens_on_this_machine_alone() -> None:
    with opened(TILL) as log, listening(log.store, "till", 0, 0, []) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_what_is_asked_for_wrongly_gets_a_line_and_the_server_goes_on() -> None:
    with serving() as port:
        for path in (
            "/nothing", "/../view.css", "/step?task=other", "/difference?d=1..x", "/view.css%00",
            "/difference?d=1..2", "/whatif?w=16&policy=no-cache", "/?w=16&policy=no-cache",
            "/step?e=" + "9" * 400, "/search?q=" + "%ff" * 99,
        ):  # fmt: skip
            answer = ask(port, path)
            assert answer.status in (200, 404), path
            assert "Traceback" not in answer.body
        answer = ask(port, "/")
        assert answer.status == 200
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        assert " style=" not in answer.body
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_port_in_use_gets_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(SystemExit) as ended:
            cli.main(["view", TILL, "--port", port])
    assert ended.value.code == 2
    assert f"needed a free port, found {port}" in capsys.readouterr().err


def test_the_list_of_tasks_tells_what_each_is() -> None:
    with EventStore.open("sqlite://") as store:
        facts = TaskStarted(goal="Make circles <round>"), TaskFailed(reason="exit_cost")
        claims = [Claim(fact, datetime(2026, 1, 2, tzinfo=UTC), "user", ()) for fact in facts]
        store.append("t", claims, after=0)
        kind, shown = PageServer(store, None, 0, []).answer("/", {})
        assert kind == "text/html"
        assert ">2026-01-02 00:00</time>" in shown
        assert ">failed (exit_cost)</td>" in shown
        assert ">Make circles &lt;round&gt;</td>" in shown


def test_a_store_without_tasks_gets_one_line(tmp_path: Path) -> None:
    with EventStore.open(f"sqlite:///{tmp_path / 'empty.db'}"):
        pass
    with pytest.raises(SystemExit) as ended:
        cli.main(["view", "--store", f"sqlite:///{tmp_path / 'empty.db'}"])
    assert ended.value.code == 2


def test_a_step_whose_texts_are_gone_is_shown_with_what_is_missing() -> None:
    from backcast.domain.context_events import ContextItem

    gone = Blob(b"gone").ref
    with EventStore.open("sqlite://") as store:
        fact = ContextBuilt(items=(ContextItem(node="module:a.py", text=gone, tokens=3),), tokens=9)
        store.append("t", [Claim(fact, None, "loop", ())], after=0)
        server = PageServer(store, "t", 0, [])
        body = server.answer("/step", {"e": "1"})[1]
        assert "the messages cannot be put together" in body
        assert "[this text cannot be read: " in body


def test_what_was_looked_at_is_held_by_its_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backcast.engine.interfaces.view.reading.HELD_LETTERS", 100)
    with opened(TILL) as log:
        reader, made = RunReader(log.store, "till"), list[int]()

        def ask(key: int, letters: int) -> str:
            def make() -> str:
                made.append(key)
                return "x" * letters

            return reader.held(key, make)

        for key, letters in ((1, 60), (1, 60), (2, 30), (1, 60), (3, 20), (1, 60), (2, 30),
                             (4, 200), (4, 200)):  # fmt: skip
            assert ask(key, letters) == "x" * letters
    assert made == [1, 2, 3, 2, 4, 4]


def test_a_damaged_event_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "damaged.db"
    url = f"sqlite:///{path}"
    with pytest.raises(SystemExit) as ended:
        cli.main(["import", "events", TILL, "--store", url])
    assert ended.value.code in (0, None)
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("DROP TRIGGER events_are_not_rewritten")
        raw.execute("UPDATE events SET writer='bob' WHERE position=28")
    with EventStore.open(url) as store:
        notes = noting_damage(store)
        page = PageServer(store, "till", 0, notes).answer("/", {"e": "28"})[1]
    assert "event 28" in notes[0]
    assert "it is left out, and the rest is shown" in page
    assert "As of event <b>28</b>, which cannot be read" in page
    assert "Step 3 of 36: code money.py #1" in page


def test_a_locked_store_gets_one_line_and_the_page_goes_on_when_it_is_free(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SQLiteRecorder, "lock_timeout", 0.2)
    url = f"sqlite:///{tmp_path / 'run.db'}"
    with pytest.raises(SystemExit):
        cli.main(["import", "events", TILL, "--store", url])
    capsys.readouterr()
    with closing(sqlite3.connect(tmp_path / "run.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SystemExit) as ended:
            cli.main(["view", "till", "--store", url, "--html", str(tmp_path / "run.html")])
        assert ended.value.code == 2
        [line] = capsys.readouterr().err.splitlines()
        assert "locked by another process for 0.2 s" in line
        other.execute("ROLLBACK")
    with EventStore.open(url) as store:
        assert "Step 13 of 36" in PageServer(store, "till", 73, []).answer("/", {})[1]


# The file


def test_a_file_is_the_same_bytes_each_time_and_asks_for_nothing_outside() -> None:
    with opened(TILL) as log:
        first, second = (whole_page(log.store, "till", 164, [], redact=False)[0] for _ in "ab")
    assert first == second
    assert "http://" not in first.replace("http://127", "")
    assert not re.search(r"""(?:src|href)=["']?(?:https?:|//)""", first)
    assert "script-src &#x27;sha256-" in first
    assert "2,515 of 5,692 tokens used" in first


@pytest.mark.parametrize("redact", [False, True])
def test_a_file_may_hold_the_last_steps_of_a_long_run_alone(*, redact: bool) -> None:
    counted, done = list[int](), list[int]()

    def advancing(total: int) -> Callable[[int], None]:
        counted.append(total)
        return done.append

    with opened(TILL) as log:
        every = RunSequence(log.store, "till").read_on()
        whole = parts_of(whole_page(log.store, "till", 0, [], redact=redact)[0])
        page, _ = whole_page(
            log.store, "till", 0, [], redact=redact, last=3, advancing=advancing
        )  # fmt: skip
        with pytest.raises(InputError, match="event 4 stands before the last 3 steps, which begin"):
            whole_page(log.store, "till", 4, [], redact=redact, last=3)
    held, first = parts_of(page), every[-3].first
    assert [int(event) for event in held["step"]] == [step.first for step in every[-3:]]
    assert [int(event) for event in held["moment"]] == [*range(first, every[-1].last + 1)]
    assert min(place[0] for place in held["search"]) >= first
    for kind in ("step", "moment"):
        shown = {event: expanded(held, held[kind][event]) for event in held[kind]}
        assert shown == {event: expanded(whole, whole[kind][event]) for event in shown}
    assert (
        f"Of {len(every)} steps this file holds the last 3: --last {len(every)} keeps all." in page
    )
    assert f'min="{first}" max="{every[-1].last}"' in page
    assert page.count("<li ") == 3
    assert (sum(done), len(counted)) == (counted[0], 1)


def expanded(parts: Any, number: int) -> str:
    """A panel of a file, with what stands for its parts put in."""
    return re.sub(
        r"<r (\d+)>", lambda found: expanded(parts, int(found[1])), parts["texts"][number]
    )


words = st.sampled_from(
    ["a\n", "b\n", "a", "\n", "<b>", "<r 1>", "x" * 99, "y" * 70 + "\n", "é\r\n"]
)


@given(st.lists(st.lists(words, max_size=40).map("".join), max_size=6))
def test_texts_that_are_kept_as_runs_of_lines_are_the_same_texts(texts: list[str]) -> None:
    kept = pooled(texts)
    assert texts_of(kept.lines, kept.runs) == texts


def test_versions_of_a_text_are_kept_as_what_is_new_in_each() -> None:
    lines = [f"    value_{n} = compute({n}, {n * n})\n" for n in range(400)]
    texts = list[str]()
    for n in range(100):
        lines[n * 37 % 400] = f"    changed_{n} = at({n})\n"
        texts.append("".join(lines))
    kept = pooled(texts)
    assert texts_of(kept.lines, kept.runs) == texts
    assert len(kept.lines) < 100 * 400 / 10


def test_a_redacted_file_holds_no_secret_and_says_that_it_was_rebuilt_before(
    tmp_path: Path,
) -> None:
    key = "AKIA" + "IOSFODNN7EXAMPLX"
    with opened(TILL) as log, EventStore.open("sqlite://") as store:
        for event in log.store.read("till"):
            fact = event.fact
            if isinstance(fact, TaskStarted):
                fact = fact.model_copy(update={"goal": f"{fact.goal} with aws key {key}"})
            claim = Claim(fact, event.timestamp, event.writer, event.because)
            refs = set(re.findall(r"blob:[0-9a-f]{64}", fact.model_dump_json()))
            bodies = [Blob(log.store.get(ref)) for ref in sorted(refs) if log.store.holds(ref)]
            store.append("till", [claim], after=event.version - 1, blobs=bodies)
        store.put(b"unused")
        page, masked = whole_page(store, "till", 0, [], redact=True)
    inside = json.dumps(parts_of(page))
    assert masked.endswith("aws_key")
    assert key not in page + inside
    assert "MASKED_aws_key_1" in page
    assert "same bytes before its secrets were masked" in inside


def test_a_hostile_log_makes_a_page_without_its_tags(tmp_path: Path) -> None:
    task = write(tmp_path / "evil.db")
    with EventStore.open(f"sqlite:///{tmp_path / 'evil.db'}") as store:
        page = whole_page(store, task, 4, [], redact=False)[0]
    assert page.count("<script") == 2
    assert "<img" not in page
    assert len(page) < 2_000_000
