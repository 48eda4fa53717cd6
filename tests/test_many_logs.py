"""Commands over logs take many of them: by patterns, by folders, and by the URL of a store."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from backcast.domain.errors import InputError
from backcast.domain.events import TaskStarted
from backcast.engine.history.address import parse
from backcast.engine.interfaces.log_shelf import LogShelf
from backcast.engine.interfaces.profiles import setting_of
from backcast.engine.interfaces.scoring import Reading
from backcast.engine.log.open_logs import opened
from backcast.engine.log.places import places_of
from backcast.engine.log.store import EventStore
from backcast.engine.memory.import_log import run
from backcast.engine.replay.score import SPARE
from tests.extras import needs_llama
from tests.models import tiny

LOGS = Path(__file__).parents[1] / "fixtures/logs"
FOREIGN = LOGS.parent / "foreign"
Ran = tuple[str, str, int]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of logs, one in a folder below, with other files among them."""
    folder = tmp_path / "runs"
    (folder / "deep/er").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    shutil.copy(LOGS / "validators.jsonl", folder / "b.jsonl")
    shutil.copy(LOGS / "palindrome.jsonl", folder / "deep/er/a.jsonl")
    shutil.copy(LOGS / "palindrome.jsonl", folder / ".hidden/a.jsonl")
    (folder / "b.jsonl.scores").write_text("")
    (folder / "notes.txt").write_text("no log\n")
    return folder


def verified(ran: Ran) -> list[str]:
    return [line.split("@")[0] for line in ran[0].splitlines()]


# What a name stands for


@pytest.mark.parametrize(
    ("name", "logs"),
    [
        ("runs", ["runs/b.jsonl", "runs/deep/er/a.jsonl"]),
        ("runs/", ["runs/b.jsonl", "runs/deep/er/a.jsonl"]),
        ("runs/*.jsonl", ["runs/b.jsonl"]),
        ("runs/**/*.jsonl", ["runs/b.jsonl", "runs/deep/er/a.jsonl"]),
        ("runs/*", ["runs/b.jsonl", "runs/deep/er/a.jsonl"]),
        ("runs/**", ["runs/b.jsonl", "runs/deep/er/a.jsonl"]),
        ("r?ns", ["runs/b.jsonl", "runs/deep/er/a.jsonl"]),
        ("runs/*.txt", ["runs/notes.txt"]),
        ("runs/[ab].jsonl", ["runs/b.jsonl"]),
        ("runs/.*/*.jsonl", ["runs/.hidden/a.jsonl"]),
        ("runs/b.jsonl", ["runs/b.jsonl"]),
        ("runs/none.jsonl", ["runs/none.jsonl"]),
    ],
)
def test_a_name_stands_for_a_file_or_for_all_in_a_folder_or_under_a_pattern(
    runs: Path, monkeypatch: pytest.MonkeyPatch, name: str, logs: list[str]
) -> None:
    monkeypatch.chdir(runs.parent)
    assert list(places_of(name).names) == logs


def test_a_pattern_from_the_root_and_a_file_whose_name_looks_like_one(runs: Path) -> None:
    assert places_of(f"{runs}/**/*.jsonl").names == (
        f"{runs}/b.jsonl", f"{runs}/deep/er/a.jsonl",
    )  # fmt: skip
    odd = runs / "a[1].jsonl"
    odd.write_text("")
    assert places_of(str(odd)).names == (str(odd),)


def test_a_ring_of_folders_ends(runs: Path) -> None:
    os.symlink(runs, runs / "deep/ring")
    assert len(places_of(str(runs)).names) == 2
    assert len(places_of(f"{runs}/**/*.jsonl").names) == 2


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("none/*.jsonl", "none/*.jsonl: needed a pattern that matches a log (.jsonl, .jsonl.gz,"
         " .jsonl.zst), found none"),
        ("other", "other: needed a folder with logs (.jsonl, .jsonl.gz, .jsonl.zst), found none"
         " among 1, such as other/notes.txt"),
        ("empty", "empty: needed a folder with logs (.jsonl, .jsonl.gz, .jsonl.zst), found none"),
        ("runs/**.jsonl", "runs/**.jsonl: needed ** between slashes, found it beside other signs"),
    ],
)  # fmt: skip
def test_a_name_that_stands_for_no_log_is_refused_in_a_line(
    runs: Path, monkeypatch: pytest.MonkeyPatch, name: str, line: str
) -> None:
    monkeypatch.chdir(runs.parent)
    for folder in ("other", "empty"):
        Path(folder).mkdir()
    Path("other/notes.txt").write_text("no log\n")
    with pytest.raises(InputError) as refused:
        places_of(name)
    assert str(refused.value) == line


# Commands


@needs_llama
def test_all_logs_of_a_folder_are_verified_and_what_is_left_out_is_told(
    backcast: Callable[..., Ran], runs: Path
) -> None:
    ran = backcast("verify", "runs")
    assert verified(ran) == ["validators"] * 5 + ["palindrome"]
    assert ran[1:] == (
        "backcast: note: runs: left out 1 file not named as logs: runs/notes.txt\n"
        "6 prompts, 0 failed\n", 0,
    )  # fmt: skip
    # What is named twice comes once.
    assert backcast("verify", "runs/**/*.jsonl", "runs/b.jsonl")[1:] == ("6 prompts, 0 failed\n", 0)


def test_a_log_that_cannot_be_read_is_named_and_the_others_go_on(
    backcast: Callable[..., Ran], runs: Path
) -> None:
    (runs / "a.jsonl").write_text("shopping list\n")
    out, err, code = backcast("verify", "none/*.jsonl", "runs/*.jsonl", "gone.jsonl")
    assert (out.count("rebuilt: same; derived: same"), code) == (5, 2)
    first, second, third, last = err.splitlines()
    assert first.startswith("backcast: none/*.jsonl: needed a pattern that matches a log")
    assert second.startswith("backcast: runs/a.jsonl: needed a log that 'backcast export' wrote")
    assert third == (
        "backcast: gone.jsonl: needed a log that 'backcast export' wrote, found no such file"
    )
    assert last == "5 prompts, 0 failed"


def test_a_task_of_the_store_is_meant_before_a_folder_of_its_name(
    backcast: Callable[..., Ran], runs: Path, tmp_path: Path
) -> None:
    with EventStore.open(f"sqlite:///{tmp_path}/backcast.db") as store:
        run(store, "events", LOGS / "validators.jsonl", "runs")
    assert verified(backcast("verify", "runs")) == ["runs"] * 5
    assert "palindrome" in verified(backcast("verify", "./runs"))


@needs_llama
def test_a_store_by_url_gives_each_of_its_tasks_or_the_one_behind_the_sign(
    backcast: Callable[..., Ran], shared_url: str
) -> None:
    with EventStore.open(shared_url) as store:
        for name in ("validators", "palindrome"):
            run(store, "events", LOGS / f"{name}.jsonl")
    assert verified(backcast("verify", shared_url)) == ["palindrome"] + ["validators"] * 5
    assert verified(backcast("verify", f"{shared_url}#palindrome")) == ["palindrome"]
    out, _, code = backcast("regress", shared_url, "--policy", "hierarchical", "--processes", 2)
    assert code == 0
    assert "no regression under hierarchical" in out


@needs_llama
def test_regress_is_the_same_over_a_pattern_and_over_each_log(
    backcast: Callable[..., Ran], runs: Path
) -> None:
    asked = ("--policy", "hierarchical", "--json", "--processes", 1)
    named = backcast("regress", "runs/b.jsonl", "runs/deep/er/a.jsonl", *asked)
    found = backcast("regress", "runs/**/*.jsonl", *asked)
    assert [timeless(line) for line in named[0].splitlines()] == [
        timeless(line) for line in found[0].splitlines()
    ]
    assert json.loads(found[0].splitlines()[1])["summary"]["prompts"] == 6


def timeless(line: str) -> object:
    report = json.loads(line)
    return {name: value for name, value in report.items() if name == "recall"} | {
        name: value for name, value in report["summary"].items() if "milliseconds" not in name
    }


def test_the_slowest_of_many_logs_are_named(backcast: Callable[..., Ran], tmp_path: Path) -> None:
    for number in range(100):
        with EventStore.open("sqlite://") as store:
            store.append(f"t{number}", [TaskStarted(goal="x")], after=0)
            line = {"type": "TASK_STARTED", "task_id": f"t{number}", "data": {"goal": "x"},
                    "timestamp": "2026-11-20T10:00:00Z"}  # fmt: skip
        (tmp_path / f"{number:03}.jsonl").write_text(json.dumps(line) + "\n")
    slow = tmp_path / "050.jsonl"
    slow.write_bytes((LOGS / "till.jsonl").read_bytes())
    out, err, code = backcast("verify", "*.jsonl")
    assert (out.count("rebuilt: same"), code) == (34, 0)
    slowest, last = err.splitlines()
    assert slowest.startswith("backcast: the slowest of 100 logs: 050.jsonl ")
    assert slowest.count(".jsonl") == 3
    assert last == "34 prompts, 0 failed"


def test_influence_tells_of_each_log_and_names_those_without_such_a_step(
    backcast: Callable[..., Ran], runs: Path
) -> None:
    asked = ("--model", f"llama:{tiny('mistral')}", "--context-tokens", 300, "--most", 1, "--json")
    out, err, code = backcast("influence", "runs/b.jsonl@27", f"{LOGS}/contexts.jsonl", *asked)
    [report] = map(json.loads, out.splitlines())
    assert (report["log"], report["version"], code) == ("runs/b.jsonl", 27, 2)
    [reason] = [line for line in err.splitlines() if "contexts.jsonl" in line]
    assert "needed a step whose outcome is known, found none" in reason
    assert backcast("influence", *asked)[2] == 2  # it does not read a whole store unasked


def test_a_sample_keeps_the_logs_open_whose_steps_it_takes(runs: Path) -> None:
    for number in range(2 * SPARE):
        shutil.copy(LOGS / "palindrome.jsonl", runs / f"{number}.jsonl")
    reading = Reading(f"llama:{tiny('mistral')}", 300, sample=2)
    reader, settings = reading.reader(), [setting_of("recorded")]
    plan, whole = reading.plan(reader, settings), reading.plan(reader, settings)
    with LogShelf([parse(f"{runs}/")], "") as shelf, ExitStack() as stack:
        reading.take(plan, shelf)
        assert shelf.read == 2 + 2 * SPARE
        # Some are there for steps that cannot be read.
        assert {job.log for job in plan.jobs} <= {log.name for log in shelf.logs}
        assert len(shelf.logs) <= 2 + SPARE
        every = [stack.enter_context(opened(name)) for name in places_of(str(runs)).names]
        whole.add(every, 2)
    assert plan.jobs == whole.jobs
    assert (plan.not_sampled, plan.unknown) == (whole.not_sampled, whole.unknown)
    assert plan.not_sampled > 0


# Imports


def test_each_log_of_a_folder_is_imported_and_one_that_is_none_is_named(
    backcast: Callable[..., Ran], runs: Path
) -> None:
    (runs / "a.jsonl").write_text("shopping list\n")
    out, err, code = backcast("import", "events", "runs")
    assert out.splitlines() == [
        "runs/b.jsonl: added 42 events (42 to task validators), 0 known already, 0 skipped",
        "runs/deep/er/a.jsonl: added 19 events (19 to task palindrome), 0 known already, 0 skipped",
        "2 of 3 logs imported: added 61 events, 0 known already, 0 skipped",
    ]
    note, failed = err.splitlines()
    assert note == (
        "backcast: note: runs: left out 1 file not named as logs of events: runs/notes.txt"
    )
    assert failed.startswith("backcast: runs/a.jsonl: needed Backcast's own lines")
    assert code == 1
    (runs / "a.jsonl").unlink()
    out, _, code = backcast("import", "events", "runs/**/*.jsonl", "--json")
    assert [json.loads(line)["known"] for line in out.splitlines()] == [42, 19]
    assert code == 0


def test_a_folder_of_trajectories_is_imported_each_as_its_own_task(
    backcast: Callable[..., Ran],
) -> None:
    out, _, code = backcast("import", "swe-agent", FOREIGN)
    assert (out.splitlines()[-1], code) == (
        "3 of 3 logs imported: added 30 events, 0 known already, 0 skipped", 0,
    )  # fmt: skip
    assert backcast("import", "swe-agent", FOREIGN, "--anew")[2] == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("none/*.jsonl",), "none/*.jsonl: needed a pattern that matches a log"),
        (("none.jsonl",), "none.jsonl: needed a log to import, found nothing"),
        (("runs", "--as", "x"), "--as: needed a single log, found 2"),
    ],
)
def test_an_import_that_cannot_begin_makes_no_store(
    backcast: Callable[..., Ran], runs: Path, arguments: tuple[str, ...], line: str
) -> None:
    _, err, code = backcast("import", "events", *arguments)
    assert line in err
    assert code == 2
    assert not (runs.parent / "backcast.db").exists()
