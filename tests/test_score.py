"""Scores: each asked once, kept as a fact, summed up in pairs, and read by nothing that builds."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from backcast.domain.errors import ModelError, UnavailableError
from backcast.domain.events import Imported, StepStarted, TaskComplete
from backcast.domain.policy import COVERAGE
from backcast.domain.score_events import Scored
from backcast.engine.context.strategies import STRATEGIES
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.log.importers.events import export_lines
from backcast.engine.log.importers.versions import Marks, importer_of
from backcast.engine.log.open_logs import opened
from backcast.engine.memory.import_log import run
from backcast.engine.models.likelihood import LikelihoodReader, LineNats, ReadText
from backcast.engine.replay.changes import requests
from backcast.engine.replay.corpus import Setting
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.kept_scores import ScoreBook, ScoreKey
from backcast.engine.replay.outcomes import KnownOutcome
from backcast.engine.replay.score import ScorePlan, reading_profile
from backcast.engine.replay.score_jobs import ScoreJob, StepScore
from backcast.engine.replay.score_run import Scoring
from backcast.engine.replay.score_summary import score_summary
from tests.extras import needs_llama
from tests.models import smollm2, tiny
from tests.sources import Task

LOGS = Path(__file__).parents[1] / "fixtures/logs"
VALIDATORS = LOGS / "validators.jsonl"
SETTINGS = [Setting("default", COVERAGE), Setting("no-cache", STRATEGIES["no-cache"])]
SMALL = 300
"Tokens of the context part."


class Printed(NamedTuple):
    """What a command printed, and its exit code."""

    out: str
    err: str
    code: int


@pytest.fixture
def score(capsys: pytest.CaptureFixture[str]) -> Callable[..., Printed]:
    def command(*arguments: object) -> Printed:
        with pytest.raises(SystemExit) as end:
            main(["score", *map(str, arguments)])
        out, err = capsys.readouterr()
        return Printed(out, err, int(end.value.code or 0))

    return command


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A recorded run in a folder of its own."""
    path = tmp_path / "validators.jsonl"
    path.write_bytes(VALIDATORS.read_bytes())
    return path


@pytest.fixture(scope="module")
def reader() -> LikelihoodReader:
    return LikelihoodReader(
        tiny("mistral"), reading_profile(tiny("mistral"), SMALL).window, threads=1
    )


def history(*, scored: bool = False, task_id: str = "history") -> Task:
    """A project of functions that use each other; with scores between the events, or without."""
    task = Task(task_id)
    for number in range(1, 6):
        before = f"from part{number - 1} import part_{number - 1}\n\n\n" if number > 1 else ""
        use = f"part_{number - 1}(value)" if number > 1 else "value"
        task.wrote(
            f"part{number}.py",
            f'{before}def part_{number}(value: int) -> int:\n    """Part {number}."""\n'
            f"    found = {use} * {number}\n    return found + {number}\n",
        )
        task.outlined()
        if scored:
            task.happened(fact(step=number), writer="score")
    return task


def fact(**stated: Any) -> Scored:
    known = {"model": "m", "template": "t", "prompt": "p" * 64, "outcome": "o" * 64}
    return Scored(**{**known, "line_tokens": (2, 1), "line_nats": (1.5, 0.25), **stated})


# No prompt knows its outcome


def prompts(task: Task) -> list[Any]:
    """Every prompt of a task under every strategy that needs no embedder."""
    found = []
    for policy in STRATEGIES.values():
        if not policy.weights.get("meaning"):
            replay = PolicyReplay(BuilderPool(task.store), None, policy)
            contexts = (replay.context(step) for step in requests(task.store, task.id))
            found += [(one.messages, one.digest, one.omissions) for one in contexts]
    return found


def test_prompts_are_the_same_bytes_with_scores_between_the_events_and_without() -> None:
    plain, scored = prompts(history()), prompts(history(scored=True))
    assert len(plain) >= 4 * 5
    assert scored == plain


def test_a_run_verifies_the_same_once_it_is_scored(
    score: Callable[..., Printed], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = f"sqlite:///{tmp_path}/store.db"

    def verified() -> str:
        with pytest.raises(SystemExit):
            main(["verify", "validators", "--store", store, "--json"])
        return capsys.readouterr().out

    main_of(["import", "events", str(VALIDATORS), "--store", store])
    capsys.readouterr()
    before = verified()
    printed = score(
        "validators", "--store", store, "--model", f"llama:{tiny('mistral')}",
        "--context-tokens", SMALL,
    )  # fmt: skip
    assert printed.code == 0
    with EventStore.open(store, create=False) as opened_store:
        kinds = [event.type for event in opened_store.read("validators")]
    assert kinds[-4:] == ["SCORED"] * 4
    assert kinds[-5] != "SCORED"
    main_of(["log", "validators", "--store", store, "--type", "SCORED"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert re.search(
        r"SCORED +module:constants.py [\d.]+ nats of \d+ tokens under recorded", lines[0]
    )
    assert verified() == before


def main_of(arguments: list[str]) -> None:
    """Run a command."""
    with suppress(SystemExit):
        main(arguments)


def test_a_log_with_scores_is_exported_imported_and_known(tmp_path: Path) -> None:
    task = history(scored=True)
    path = tmp_path / "log.jsonl"
    path.write_text("".join(f"{line}\n" for line in export_lines(task.store, task.id)))
    with EventStore.open("sqlite://") as store:
        run(store, "events", path)
        known = ScoreBook(store).known
    assert known == ScoreBook(task.store).known
    assert list(known) == [ScoreKey("m", "t", "p" * 64, "o" * 64)]


def test_a_foreign_log_that_grows_after_it_was_scored_tells_the_same(tmp_path: Path) -> None:
    session = (LOGS.parent / "foreign/claude-code.jsonl").read_text().splitlines(keepends=True)
    path, whole, parts = tmp_path / "session.jsonl", *(EventStore.open("sqlite://") for _ in "ab")
    path.write_text("".join(session))
    run(whole, "claude-code", path)
    [task] = whole.tasks()
    path.write_text("".join(session[: len(session) // 2]))
    run(parts, "claude-code", path)
    stood = parts.version(task)
    parts.append(task, [fact(step=1)], after=stood)
    path.write_text("".join(session))
    run(parts, "claude-code", path)

    def told(store: EventStore) -> list[Any]:
        """The events without scores, with the versions that they would have without them."""
        places = {e.version: e.version - (e.version > stood + 1) for e in store.read(task)}
        own = places if store is parts else {place: place for place in places}
        return [
            (e.fact, e.timestamp, own[e.version], tuple(own[cause] for cause in e.because))
            for e in store.read(task)
            if e.type not in ("SCORED", "IMPORTED")
        ]

    assert len(told(whole)) > stood
    assert told(parts) == told(whole)


def test_a_cause_that_lies_some_events_back_is_counted_without_scores() -> None:
    with EventStore.open("sqlite://") as store:
        store.append("task", [TaskComplete(), TaskComplete(), TaskComplete()], after=0)
        store.append("task", [Imported(format="cline", version=2), fact(step=1)], after=3)
        marks = Marks(store, "cline", importer_of("cline"))
        assert [marks.back("task", 6, distance) for distance in (1, 2, 3)] == [3, 2, 1]


# Asked once


class CountingReader(LikelihoodReader):
    """A reader that counts what it was asked."""

    asked = 0

    def read(self, *arguments: Any) -> ReadText:
        self.asked += 1
        return super().read(*arguments)


@pytest.fixture
def counting(reader: LikelihoodReader, monkeypatch: pytest.MonkeyPatch) -> Iterator[CountingReader]:
    monkeypatch.setattr(reader, "__class__", CountingReader)
    counted: Any = reader
    counted.asked = 0
    yield counted
    reader.__class__ = LikelihoodReader


def planned(reader: LikelihoodReader, path: Path, sample: int | None = None) -> ScorePlan:
    plan = ScorePlan(reader, SETTINGS, reading_profile(tiny("mistral"), SMALL))
    with opened(str(path)) as log:
        plan.add([log], sample)
    return plan


def test_each_score_is_asked_for_once_and_comes_back_to_the_bit(
    counting: CountingReader, log: Path
) -> None:
    plan, file = planned(counting, log), log.with_name("beside.scores")
    with opened(str(log)) as held:
        first = Scoring(plan, {str(log): ScoreBook(held.store, file)})
        first.run()
        digests = {prompt.digest for job in plan.jobs for prompt in job.prompts}
        assert counting.asked == len(digests) < 2 * len(plan.jobs)
        assert len(file.read_text().splitlines()) == len(digests)
        again = Scoring(plan, {str(log): ScoreBook(held.store, file)})
        assert plan.to_read(again.books) == {}
        again.run()
    assert counting.asked == len(digests)
    assert again.steps == first.steps
    assert len(again.steps) == len(plan.jobs) == 4
    assert log.read_bytes() == VALIDATORS.read_bytes()


def test_another_model_prompt_or_outcome_is_another_score() -> None:
    with EventStore.open("sqlite://") as store:
        store.append("task", [fact()], after=0)
        book = ScoreBook(store)
    key = ScoreKey("m", "t", "p" * 64, "o" * 64)
    assert book.find(key) == fact()
    for name in key._fields:
        assert book.find(key._replace(**{name: "other"})) is None


def test_a_prompt_is_the_same_in_any_sample_and_a_sample_is_within_a_larger_one(
    reader: LikelihoodReader,
) -> None:
    till = LOGS / "till.jsonl"
    every = {job.place: job.prompts for job in planned(reader, till).jobs}
    found: list[set[str]] = []
    for size in (1, 3, 6, 100):
        plan = planned(reader, till, size)
        assert {job.place: job.prompts for job in plan.jobs}.items() <= every.items()
        assert len(plan.jobs) + plan.not_sampled == len(every) == 11
        versions = [job.version for job in plan.jobs]
        assert versions == sorted(versions)
        found.append({job.place for job in plan.jobs})
    assert found[0] < found[1] < found[2] < found[3] == set(every)


def test_a_damaged_line_among_scores_is_named_and_the_others_count(tmp_path: Path) -> None:
    with EventStore.open("sqlite://") as store:
        store.append("task", [StepStarted()], after=0)
        file = tmp_path / "s.scores"
        ScoreBook(store, file).keep("task", fact(step=1))
        line = json.loads(file.read_text())
        assert (line["type"], line["task_id"]) == ("SCORED", "task")
        assert datetime.fromisoformat(line["timestamp"]).tzinfo
        with file.open("a") as out:
            out.write('{"data": 3}\n\n{"type": "SCORED"\n')
        book = ScoreBook(store, file)
        assert book.find(ScoreKey("m", "t", "p" * 64, "o" * 64)) == fact(step=1)
        assert [note.partition(":")[0] for note in book.notes] == [
            f"{file}, line 2", f"{file}, line 4",
        ]  # fmt: skip


def test_where_nothing_can_be_written_scores_are_known_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ScoreKey("m", "t", "p" * 64, "o" * 64)
    with EventStore.open("sqlite://") as store:
        store.append("task", [TaskComplete()], after=0)
        book = ScoreBook(store, tmp_path / "none" / "s.scores")
        book.keep("task", fact(step=1))
        assert "No such file" in book.unkept
        assert book.find(key)

        def refuse(*_: Any, **__: Any) -> None:
            raise UnavailableError("read-only: needed a store that can be written")

        monkeypatch.setattr(store, "append", refuse)
        book = ScoreBook(store)
        book.keep("task", fact(step=1))
        assert book.unkept == "read-only: needed a store that can be written"
        assert book.find(key)


def test_a_run_that_has_not_ended_gets_none_and_one_that_has_gets_them_behind_others() -> None:
    with EventStore.open("sqlite://") as store:
        store.append("task", [StepStarted(kind="code")], after=0)
        book = ScoreBook(store)
        book.keep("task", fact(step=1))
        assert book.unkept.startswith("task 'task' has not ended")
        assert store.version("task") == 1
        store.append("task", [TaskComplete()], after=1)
        ScoreBook(store).keep("task", fact(step=1))
        *_, last = store.read("task")
    assert (last.version, last.fact, last.because, last.writer) == (3, fact(step=1), (1,), "score")


# Arithmetic


def step(unit: str, new: tuple[bool, ...], *lines: tuple[LineNats, ...]) -> StepScore:
    outcome = KnownOutcome("", "\n".join("x" for _ in new), new)
    sizes = tuple(100 + sum(line.tokens for line in under) for under in lines)
    return StepScore(ScoreJob("log", "t", 1, unit, unit, "", outcome, (), sizes), lines)


def test_only_new_lines_count_and_both_means_are_told() -> None:
    a = step("a", (True, False), (LineNats(2, 4.0), LineNats(5, 9.0)), (LineNats(2, 1.0),) * 2)
    b = step("b", (True, True), (LineNats(1, 1.0), LineNats(1, 2.0)), (LineNats(1, 3.0),) * 2)
    c = step("c", (False, False), (LineNats(3, 1.0),) * 2, (LineNats(3, 0.5),) * 2)
    first, other = score_summary([a, b, c], ["one", "two"])
    assert (first.new.tokens, first.new.nats) == (4, 7.0)
    assert (first.new.per_token, first.new.per_step) == (7 / 4, (4 / 2 + 3 / 2) / 2)
    assert (first.whole.tokens, first.whole.nats) == (9 + 6, 18.0)
    assert first.prompt_tokens == 100
    assert first.beside is None
    assert (other.new.per_token, other.new.per_step) == (7 / 4, (1 / 2 + 6 / 2) / 2)
    beside = other.beside
    assert beside is not None
    assert (beside.per_token, beside.per_step) == (0.0, (-1.5 + 1.5) / 2)
    assert (beside.worse, beside.better, beside.steps) == (1, 1, 2), "c has no new line"


def test_intervals_are_drawn_by_run_and_are_the_same_each_time() -> None:
    random = np.random.default_rng(1)

    def scores(units: int, shift: float) -> list[StepScore]:
        found = []
        for number in range(40):
            nats = float(random.normal(2, 0.5))
            lines = ((LineNats(10, nats * 10),), (LineNats(10, (nats + shift) * 10),))
            found.append(step(f"run {number % units}", (True,), *lines))
        return found

    for shift in (-0.2, 0.3):
        beside = score_summary(scores(8, shift), ["a", "b"])[1].beside
        assert beside is not None
        assert beside.per_token == pytest.approx(shift)
        assert beside.interval == pytest.approx((shift, shift)), "each step moves by the same"
        assert beside.step_interval == pytest.approx((shift, shift))
        assert (beside.worse, beside.better) == ((40, 0) if shift > 0 else (0, 40))
    alone = score_summary(scores(1, 0.1), ["a", "b"])[1].beside
    assert alone is not None
    assert alone.interval is None, "a single run"
    mixed = [step(f"r{n}", (True,), (LineNats(1, 1.0),), (LineNats(1, n / 10),)) for n in range(20)]
    twice = [score_summary(mixed, ["a", "b"])[1].beside for _ in "ab"]
    assert twice[0] == twice[1]
    assert twice[0] is not None
    assert twice[0].interval is not None
    low, high = twice[0].interval
    assert low < twice[0].per_token < high
    assert score_summary([], ["a"])[0].new.per_token == 0


# Bad input


def test_a_step_that_cannot_be_read_is_left_out_with_its_reason(
    reader: LikelihoodReader, monkeypatch: pytest.MonkeyPatch, log: Path
) -> None:
    plan = planned(reader, log)
    calls = iter(range(100))

    def fail_first(self: Any, prompt: Any, text: str, until: float) -> ReadText:
        if next(calls) == 0:
            raise ModelError("needed numbers, found NaN among its logits", "garbled")
        return ReadText((text.encode(),), (1.0,), 0)

    monkeypatch.setattr(LikelihoodReader, "read", fail_first)
    with opened(str(log)) as held:
        scoring = Scoring(plan, {str(log): ScoreBook(held.store, log.with_name("s"))})
        scoring.run()
    assert [out.reason for out in scoring.failed] == ["needed numbers, found NaN among its logits"]
    assert scoring.failed[0].step == plan.jobs[0].place
    assert scoring.waiting == []
    assert len(scoring.steps) == 3


def test_an_outcome_longer_than_the_window_and_a_prompt_without_room_are_left_out(
    reader: LikelihoodReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "window", 500)
    plan = planned(reader, VALIDATORS)
    reasons = [out.reason for out in plan.left_out]
    assert plan.jobs == []
    assert all("what was written, found a window of 500" in reason for reason in reasons)
    assert len(reasons) == 4


def test_in_the_place_of_a_step_that_cannot_be_read_another_one_is_drawn(
    reader: LikelihoodReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    till = LOGS / "till.jsonl"
    sizes = sorted(max(job.tokens) for job in planned(reader, till).jobs)
    monkeypatch.setattr(reader, "window", sizes[-4])  # too small for three steps
    found = list[set[str]]()
    for size in (1, 4, 6, 8):
        plan = planned(reader, till, size)
        assert len(plan.jobs) == size
        assert len(plan.jobs) + len(plan.left_out) + plan.not_sampled == 11
        versions = [job.version for job in plan.jobs]
        assert versions == sorted(versions)
        found.append({job.place for job in plan.jobs})
    assert found[0] < found[1] < found[2] < found[3]
    assert len(planned(reader, till, 9).jobs) == 8


@pytest.mark.parametrize(
    ("options", "needed", "code"),
    [
        (["--policy", "mask-3"], "mask-3 changes an agent's messages, under which no model", 2),
        (["--policy", "nobody"], "needed a TOML file or one of reader", 2),
        (["--model", "http://me@127.0.0.1:1"], "needed http://HOST:PORT/v1 without a user", 2),
        (["--model", "recording:x"], "needed llama:FILE, http://HOST:PORT/v1 or copy, found", 2),
        pytest.param(
            ["--model", "llama:none.gguf"],
            "none.gguf: needed a GGUF file: No such file",
            2,
            marks=needs_llama,
        ),
        (["--context-tokens", "99999"], "trained for 32,768 tokens: needed a context part of", 2),
        (["--sample", "0"], "Invalid value for '--sample'", 2),
    ],
)
def test_what_cannot_be_begun_is_one_line(
    score: Callable[..., Printed], log: Path, options: list[str], needed: str, code: int
) -> None:
    named = [] if "--model" in options else ["--model", f"llama:{tiny('mistral')}"]
    printed = score(log, *named, *options)
    assert (printed.out, printed.code) == ("", code)
    assert sum(needed in line for line in printed.err.splitlines()) == 1
    assert not log.with_name(f"{log.name}.scores").exists()


def test_a_log_without_a_known_outcome_is_told(
    score: Callable[..., Printed], tmp_path: Path
) -> None:
    path = tmp_path / "none.jsonl"
    path.write_text(
        '{"type": "TASK_STARTED", "task_id": "t", "data": {}, "timestamp": "2026-11-20T10:00:00Z"}'
    )
    printed = score(path, "--model", f"llama:{tiny('mistral')}")
    assert printed.code == 2
    assert printed.err.count("\n") == 1
    assert "needed a step whose outcome can be read: found none" in printed.err


# The command


def test_a_run_is_scored_under_two_policies(score: Callable[..., Printed], log: Path) -> None:
    arguments = [
        log, "--model", f"llama:{tiny('mistral')}", "--policy", "default", "--policy", "no-cache",
        "--context-tokens", SMALL,
    ]  # fmt: skip
    first = score(*arguments, "--lines")
    assert first.code == 0
    assert "8 prompts of 4 steps:" in first.err
    assert "tokens at most" in first.err
    assert "more, at" in first.err
    assert "it is not what a model would have answered" in first.out
    assert "validators@13 code constants.py #1 -> module:constants.py" in first.out
    rows = dict(line.split(maxsplit=1) for line in first.out.splitlines() if line[:5] == "steps")
    assert rows["steps"].split() == ["4", "4"]
    again = score(*arguments, "--json")
    assert "0 differ and were never read" in again.err
    report = json.loads(again.out)
    assert report["note"] in first.out
    assert report["reader"]["model"].startswith("tiny-mistral.gguf ")
    assert (report["kept"], report["outcome_unknown"], report["not_reached"]) == (True, 1, 0)
    assert [policy["name"] for policy in report["policies"]] == ["default", "no-cache"]
    figure = report["policies"][0]["new"]
    assert f"{figure['nats'] / figure['tokens']:.3f}" in first.out
    for found in report["steps"]:
        for under in found["policies"]:
            assert sum(under["lines"]) == pytest.approx(under["all"]["nats"])
            chosen = [under["lines"][number - 1] for number in found["new_lines"]]
            assert sum(chosen) == pytest.approx(under["new"]["nats"])


def test_a_history_is_scored_by_its_changes_in_a_time(
    score: Callable[..., Printed], tmp_path: Path
) -> None:
    task, path = history(), tmp_path / "history.jsonl"
    path.write_text("".join(f"{line}\n" for line in export_lines(task.store, task.id)))
    arguments = [path, "--model", f"llama:{tiny('mistral')}", "--context-tokens", SMALL]
    scores = tmp_path / "elsewhere.scores"
    late = score(*arguments, "--seconds", "0.000001", "--scores", scores)
    assert late.code == 2
    assert "nothing was read in 1e-06 s: needed more --seconds" in late.err
    assert "note: 5 steps were not reached" in late.err
    assert late.out == ""
    sampled = score(*arguments, "--sample", "2", "--scores", scores)
    assert "note: the sample leaves out 3 steps" in sampled.err
    assert len(scores.read_text().splitlines()) == 2
    whole = json.loads(score(*arguments, "--scores", scores, "--seconds", 60, "--json").out)
    assert len(whole["steps"]) == 5
    assert len(scores.read_text().splitlines()) == 5
    assert not path.with_name("history.jsonl.scores").exists()
    [second] = [found for found in whole["steps"] if found["target"].endswith("part_2")]
    assert second["new_lines"] == [1, 2]


def test_an_interrupt_loses_nothing_and_ends_with_130(
    score: Callable[..., Printed], log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, calls = LikelihoodReader.read, iter(range(100))

    def interrupted(*arguments: Any) -> ReadText:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return read(*arguments)

    monkeypatch.setattr(LikelihoodReader, "read", interrupted)
    arguments = [log, "--model", f"llama:{tiny('mistral')}", "--context-tokens", SMALL]
    stopped = score(*arguments)
    assert stopped.code == 130
    assert "interrupted by Ctrl-C; the scores so far are kept" in stopped.err
    assert "note: 2 steps were not reached" in stopped.err
    assert len(log.with_name(f"{log.name}.scores").read_text().splitlines()) == 2
    monkeypatch.setattr(LikelihoodReader, "read", read)
    assert "4 prompts of 4 steps: 2 differ and were never read" in score(*arguments).err


def test_where_scores_cannot_be_kept_that_is_told_at_the_first(
    score: Callable[..., Printed], log: Path
) -> None:
    model = ["--model", f"llama:{tiny('mistral')}", "--context-tokens", SMALL]
    printed = score(log, *model, "--scores", log.with_name("none") / "s.scores", "--json")
    assert printed.code == 0
    assert printed.err.count("note: the scores are printed, and not kept: ") == 1
    report = json.loads(printed.out)
    assert (report["kept"], len(report["steps"])) == (False, 4)


def test_a_log_that_cannot_be_read_is_told_and_the_others_are_scored(
    score: Callable[..., Printed], log: Path
) -> None:
    model = ["--model", f"llama:{tiny('mistral')}", "--context-tokens", SMALL]
    printed = score(log, log.with_name("none.jsonl"), *model)
    assert printed.code == 2
    assert "none.jsonl: needed a log" in printed.err
    assert "4 prompts of 4 steps" in printed.err
    assert score(log.with_name("none.jsonl"), *model).code == 2


def test_real_weights_hold_a_body_for_likelier_below_bodies_like_it_than_below_names(
    score: Callable[..., Printed], tmp_path: Path
) -> None:
    task, path = history(), tmp_path / "history.jsonl"
    path.write_text("".join(f"{line}\n" for line in export_lines(task.store, task.id)))
    names = tmp_path / "names.toml"
    worth = "[worth]\nname = 1.0\nsignature = 0.001\nsummary = 0.001\nfull = 0.001\n"
    names.write_text(f'base = "coverage"\n{worth}')
    printed = score(
        path, "--model", f"llama:{smollm2()}", "--context-tokens", SMALL, "--sample", "3",
        "--policy", "default", "--policy", names, "--json",
    )  # fmt: skip
    report = json.loads(printed.out)
    shown, named = (
        policy["new"]["nats"] / policy["new"]["tokens"] for policy in report["policies"]
    )
    assert 0 < shown < named


def test_regress_has_scores_as_a_row_and_a_rule(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def regressed(*options: object) -> Printed:
        arguments = [log, "--policy", "no-cache", "--baseline", "default", *options]
        with pytest.raises(SystemExit) as end:
            main(["regress", *map(str, arguments), "--processes", "1"])
        out, err = capsys.readouterr()
        return Printed(out, err, int(end.value.code or 0))

    model = ["--model", f"llama:{tiny('mistral')}", "--context-tokens", SMALL]
    limits = [f"--limit={name}=100" for name in ("recall", "critical", "unfit")]
    assert "nats per token" not in regressed(*limits, "--context-tokens", SMALL).out
    shown = regressed(*model, *limits)
    assert shown.code == 0
    assert "new lines, nats per token" in shown.out
    assert "it is not what a model would have answered" in shown.err
    read = LikelihoodReader.read

    def worse(reader: LikelihoodReader, *arguments: Any) -> ReadText:
        calls.append(1)
        more = 0.1 * (len(calls) % 2 == 0)  # the second policy's
        found = read(reader, *arguments)
        return found._replace(nats=tuple(nats + more for nats in found.nats))

    calls: list[int] = []
    log.with_name(f"{log.name}.scores").unlink()
    monkeypatch.setattr(LikelihoodReader, "read", worse)
    monkeypatch.setattr(ScoreBook, "find", lambda book, key: None)
    broken = regressed(*model, *limits)
    assert broken.code == 1
    said = (
        r"REGRESSION under no-cache: outcomes got less likely by 0\.[\d]+ nats per token"
        r" \(not certain: 4 steps of 1 run\); 0\.02 are"
    )
    assert re.search(said, broken.out)
    assert regressed(*model, *limits, "--limit", "nats=9").code == 0
    report = tmp_path / "report.json"
    assert regressed(*model, *limits, "--limit", "nats=9", "--report", report).code == 0
    policies = json.loads(report.read_text())["policies"]
    assert policies[1]["score"]["beside"]["per_token"] > 0.02
    refused = regressed(*model, "--baseline", report)
    assert refused.code == 2
    assert "needed a policy as the baseline, found a report" in refused.err


def test_a_redacted_export_keeps_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = f"sqlite:///{tmp_path}/store.db"
    file = tmp_path / "log.jsonl"
    stated = fact(
        step=1, target="function:part1.py::part_1", policy="default",
        model="tiny.gguf 0123456789abcdef",
        template="fedcba9876543210", prompt=f"{7**76:064x}"[:64], outcome=f"{5**90:064x}"[:64],
        reader="1, llama-cpp-python 0.3.36", prompt_tokens=90, name_tokens=(1, 0),
        name_nats=(0.75, 0.0), without="module:part0.py", within="dependencies",
        whole=f"{3**150:064x}"[:64], shown=f"{11**70:064x}"[:64],
    )  # fmt: skip
    with EventStore.open(store) as kept:
        task = history()
        for event in task.store.read():
            kept.append("history", [event.fact], after=event.version - 1)
        kept.append("history", [stated], after=kept.version("history"))
    main_of(["export", "history", str(file), "--store", store, "--redact"])
    capsys.readouterr()
    with opened(str(file)) as log:
        *_, last = log.store.read("history")
    assert last.fact == stated
