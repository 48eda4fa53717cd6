"""Influences of many logs: answered by workers as by one process, in a report that is gone on
from, and of logs in a PostgreSQL store whose password is shown to nobody."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from backcast.domain.errors import BackcastError
from backcast.engine.history.address import parse
from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.influencing import InfluenceRun
from backcast.engine.interfaces.profiles import setting_of
from backcast.engine.interfaces.scoring import Reading
from backcast.engine.log.engines import engine_at
from backcast.engine.log.open_logs import opened
from backcast.engine.log.stamps import stamps_of
from backcast.engine.log.store import EventStore
from backcast.engine.memory.import_log import run as imported
from backcast.engine.replay.influence_run import InfluenceQuestion
from backcast.engine.replay.pieces import influence_piece, work
from backcast.engine.replay.readers import sent
from tests.clusters import Cluster
from tests.models import smollm2_file
from tests.reading_clusters import LOGS, reading_cluster, reading_folder
from tests.test_engines import HERE, linux

NAMES = ("palindrome", "shop", "validators")
SMALL = 200
"Tokens of the context part."
MODEL = f"llama:{HERE}/model.gguf"
"Another file in each folder where a process stands."
PASSWORD = "never-to-be-shown"

Ran = tuple[int, str, str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs, one of them without an outcome, and the model that reads."""
    return reading_folder(tmp_path_factory.mktemp("logs"), NAMES)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Cluster]:
    """A good worker, and one with the same logs and another model of the same name."""
    with reading_cluster(tmp_path_factory.mktemp("machines"), folder) as started:
        yield started


@pytest.fixture
def ask(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Run a command that has the model read little."""
    monkeypatch.setenv("BACKCAST_THREADS", "1")
    monkeypatch.chdir(folder)

    def command(name: str, *arguments: object, model: str = MODEL) -> Ran:
        small = () if name in ("verify", "regress") else ("--model", model, "--context-tokens",
                                                          SMALL)  # fmt: skip
        few = ("--most", 1) if name == "influence" else ()
        with pytest.raises(SystemExit) as end:
            main([name, *map(str, (*arguments, *small, *few))])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return command


def logs(*names: str) -> list[str]:
    return [f"{HERE}/{name}.jsonl" for name in names]


# The same as by one process


@linux
def test_steps_of_many_logs_are_answered_by_workers_as_by_one_process(
    machines: Cluster, ask: Callable[..., Ran], tmp_path: Path
) -> None:
    steps = [f"{HERE}/validators.jsonl@{version}" for version in (8, 27)]
    asked = ("influence", *logs("palindrome", "shop"), *steps, "--json", "--scores")
    here = ask(*asked, tmp_path / "here")
    there = ask(*asked, tmp_path / "there", "--on", machines.name)
    assert here[0] == there[0] == 2, there
    assert here[1] == there[1]
    found = [json.loads(line) for line in here[1].splitlines()]
    assert [step["task"] for step in found] == ["palindrome", "task-def456", "validators"]
    reason = (
        f"backcast: {steps[0].partition('@')[0]}: validators@8 plan: needed a step whose outcome"
    )
    for _, _, err in (here, there):
        assert sum(line.startswith(reason) for line in err.splitlines()) == 1
    kept = (tmp_path / "here").read_bytes()
    assert kept.count(b"\n") > 6
    assert (tmp_path / "there").read_bytes() == kept
    assert ask(*asked, tmp_path / "there", "--on", machines.name)[:2] == here[:2]
    assert (tmp_path / "there").read_bytes() == kept


@linux
def test_a_killed_worker_changes_no_byte(
    machines: Cluster, folder: Path, ask: Callable[..., Ran], tmp_path: Path
) -> None:
    names = [*logs("palindrome"), *(f"{HERE}/validators.jsonl@{n}" for n in (27, 33, 39))]
    assert ask("influence", *names, "--scores", tmp_path / "here")[0] in (0, 2)
    machines.start("mortal", folder)
    machines.wait(3)
    reading = Reading(MODEL, SMALL, scores=tmp_path / "there")
    question = InfluenceQuestion(setting_of("recorded"), 1)
    run = InfluenceRun(reading, reading.reader(), question, "", None)
    came = 0
    with engine_at(machines.name, 1) as engine:
        for step in run.elsewhere(engine, [parse(name) for name in names]):
            came += bool(step.found)
            machines.workers["mortal"].kill()
    assert machines.workers["mortal"].wait(5) == -9
    assert came
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()


def test_real_weights_in_processes_of_their_own_give_the_same_numbers(
    ask: Callable[..., Ran], tmp_path: Path
) -> None:
    asked = ("influence", "palindrome.jsonl", "--json", "--scores")
    model = f"llama:{smollm2_file()}"
    here = ask(*asked, tmp_path / "here", model=model)
    there = ask(*asked, tmp_path / "there", "--on", "processes", model=model)
    assert (here[0], json.loads(here[1])["new"]["nats"] > 1) == (0, True)
    assert there[:2] == here[:2]
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()


def test_a_worker_with_another_model_or_another_log_refuses(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    reader = Reading(MODEL, SMALL, threads=1).reader()
    needed, question = sent(reader, SMALL, 1), InfluenceQuestion(setting_of("recorded"), 1)
    with opened("palindrome.jsonl") as log:
        [task], stamps = log.tasks, stamps_of(log.store)
        [version] = [event.version for event in log.store.read(types=["CONTEXT_BUILT"])]
    cut = ("palindrome.jsonl", task)
    other = needed._replace(model="model.gguf 0123456789abcdef")
    piece = influence_piece(*cut, stamps[task], version, question, other, ())
    _, reason, whole = json.loads(work(piece))["refused"]
    assert (reason.startswith("needed model.gguf 0123456789abcdef at"), whole) == (True, True)
    piece = influence_piece(*cut, f"3-{'0' * 64}", version, question, needed, ())
    _, reason, whole = json.loads(work(piece))["refused"]
    assert ("it was changed, or is another" in reason, whole) == (True, False)


# The report


@pytest.mark.parametrize("more", [(), ("--on", "tests.pieces:threads")])
def test_what_stands_in_a_report_is_not_asked_again_and_its_scores_are_kept(
    more: tuple[str, ...], ask: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("palindrome", "validators"):
        shutil.copy(f"{name}.jsonl", tmp_path)
    shutil.copy("model.gguf", tmp_path)
    monkeypatch.chdir(tmp_path)
    asked = ("influence", "validators.jsonl@27", "palindrome.jsonl", "--report", "grows.jsonl")
    whole = ask("influence", "validators.jsonl@27", "palindrome.jsonl", "--scores", "whole")
    # The first alone, as if the rest had been killed.
    assert ask("influence", "validators.jsonl@27", "--report", "grows.jsonl", "--scores", "lost")
    assert Path("grows.jsonl").read_bytes().count(b"\n") == 2
    again = ask(*asked, "--scores", "again", *more)
    assert again[:2] == whole[:2]
    assert Path("again").read_bytes() == Path("whole").read_bytes()
    assert "note: 1 of 2 steps stand in grows.jsonl" in again[2]
    assert Path("grows.jsonl").read_bytes().count(b"\n") == 3
    # A log that has changed is asked again, one that was only moved is not.
    Path("moved").mkdir()
    Path("palindrome.jsonl").rename("moved/palindrome.jsonl")
    lines = Path("validators.jsonl").read_text().splitlines(keepends=True)
    Path("validators.jsonl").write_text("".join(lines[:1] + lines[:1] + lines[1:]))
    asked = ("influence", "moved/palindrome.jsonl", "validators.jsonl", "--report", "grows.jsonl")
    assert "note: 1 of 2 steps stand in grows.jsonl" in ask(*asked, *more)[2]


def test_a_question_that_is_another_finds_nothing_in_a_report(
    ask: Callable[..., Ran], tmp_path: Path
) -> None:
    asked = ("influence", "palindrome.jsonl", "--scores", tmp_path / "kept", "--report",
             tmp_path / "grows.jsonl")  # fmt: skip
    assert ask(*asked)[0] == 0
    assert "1 of 1 steps stand in" in ask(*asked)[2]
    assert "stand in" not in ask(*asked, "--policy", "no-cache")[2]
    assert "stand in" not in ask(*asked, "--texts")[2]
    (tmp_path / "grows.jsonl").write_text('{"report": "backcast verify, a line for each task"}\n')
    code, out, err = ask(*asked)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "needed a report of 'influence --report FILE.jsonl', found another file" in err


# Logs in a PostgreSQL store


@pytest.fixture
def with_password(postgres: str) -> str:
    """The URL of a store with some logs, with a password in it."""
    with EventStore.open(postgres) as store:
        for log in ("palindrome", "validators"):
            imported(store, "events", LOGS / f"{log}.jsonl")
    parts = urlsplit(postgres)
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user.partition(':')[0]}:{PASSWORD}@{host}").geturl()


@linux
def test_workers_open_a_postgresql_store_themselves_and_no_password_is_shown(
    with_password: str, machines: Cluster, ask: Callable[..., Ran], tmp_path: Path
) -> None:
    report = tmp_path / "grows.jsonl"
    for command in (
        ("verify", with_password, "--report", report),
        ("regress", with_password, "--policy", "no-cache"),
        ("influence", f"{with_password}#palindrome", "--json", "--report", report),
    ):
        there = ask(*command, "--on", machines.name)
        assert there[0] in (0, 1), there
        report.unlink(missing_ok=True)
        alone = () if command[0] != "regress" else ("--processes", 1)
        here = ask(*command, *alone)
        assert here[:2] == there[:2]
        assert here[1]
        texts = [*here[1:], *there[1:], report.read_text() if report.exists() else ""]
        assert not [text for text in texts if PASSWORD in text]
        report.unlink(missing_ok=True)
    with EventStore.open(with_password) as store:
        scored = [event.fact.data for event in store.read(types=["SCORED"])]
    assert len({(fact["prompt"], fact["outcome"]) for fact in scored}) == len(scored) > 1
    assert PASSWORD not in machines.output()


@linux
def test_a_store_that_no_worker_can_open_is_named_without_its_password(
    with_password: str, machines: Cluster, ask: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    with EventStore.open(with_password) as store:
        stamp = stamps_of(store)["palindrome"]
    reader = Reading(MODEL, SMALL, threads=1).reader()
    gone = f"postgresql://me:{PASSWORD}@127.0.0.1:9/none"
    question, needed = InfluenceQuestion(setting_of("recorded")), sent(reader, SMALL, 1)
    said = work(influence_piece(gone, "palindrome", stamp, 3, question, needed, ()))
    _, reason, whole = json.loads(said)["refused"]
    assert not whole
    assert reason.startswith("needed the log postgresql://...@127.0.0.1:9/none, found none: ")
    assert PASSWORD not in said
    code, out, err = ask("influence", f"{gone}#palindrome", "--on", machines.name)
    assert (code, out, PASSWORD in err) == (2, "", False)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{PASSWORD}%zz@host/name", f"postgresql://me:{PASSWORD}@[::1/name",
        f"postgresql://me:a/{PASSWORD}@host/name", f"postgresql://me:1/{PASSWORD}@host/name",
        f"postgresql://me:a@{PASSWORD}@host/name", f"postgresql://me:{PASSWORD}#a@host/name",
        f"postgresql://me@host/name?password={PASSWORD}%zz",
    ],
)  # fmt: skip
def test_a_url_that_is_none_is_refused_without_what_may_be_its_password(url: str) -> None:
    with pytest.raises(BackcastError) as refused:
        EventStore.open(url)
    assert PASSWORD not in str(refused.value)


# Bad input


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--processes", "2"), "--processes: needed --on processes, found no --on"),
        (("--on", "cloud"), "needed processes, dask://HOST:8786"),
        (("--report", "grows.json"), "--report: needed a name that ends in .jsonl, found grows"),
        (("--report", "none/grows.jsonl"), "none/grows.jsonl: cannot be written: No such file"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    more: tuple[str, ...], message: str, ask: Callable[..., Ran]
) -> None:
    code, out, err = ask("influence", "palindrome.jsonl", *more)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


@pytest.mark.parametrize("more", [(), ("--on", "tests.pieces:threads")])
def test_a_log_that_is_not_whole_is_read_as_far_as_it_goes_and_told(
    more: tuple[str, ...], ask: Callable[..., Ran], tmp_path: Path
) -> None:
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(Path("palindrome.jsonl").read_bytes()[:-20])
    for command in ("influence", "score"):
        code, out, err = ask(command, cut, "--json", *more)
        assert (code, len(out.splitlines())) == (1, 1)
        assert sum(f"skipped {cut}: line " in line for line in err.splitlines()) == 1


@pytest.mark.parametrize(
    ("format", "found"), [("events", "found postgresql://"), ("git", "found postgresql://")]
)
def test_an_import_names_a_url_that_it_cannot_read_without_its_password(
    format: str, found: str, backcast: Callable[..., tuple[str, str, int]]
) -> None:
    out, err, code = backcast("import", format, f"postgresql://me:{PASSWORD}@host/name")
    assert (out, code, err.count("\n"), PASSWORD in err) == ("", 2, 1, False)
    assert found in err
    _, err, code = backcast("import", "git", f"https://me:{PASSWORD}@host/name.git")
    assert (code, PASSWORD in err) == (2, False)
    assert "needed the folder of a repository, found a URL: clone it first" in err
