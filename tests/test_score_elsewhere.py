"""Scores that workers make are those of one process, each asked once and kept once."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.errors import WorkerError
from backcast.domain.score_events import Scored
from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.profiles import setting_of
from backcast.engine.interfaces.scoring import Reading
from backcast.engine.log.engines import WorkEngine, engine_at
from backcast.engine.log.open_logs import opened
from backcast.engine.log.stamps import stamps_of
from backcast.engine.log.store import EventStore
from backcast.engine.memory.import_log import run as imported
from backcast.engine.replay.kept_scores import score_books
from backcast.engine.replay.pieces import score_piece, work
from backcast.engine.replay.readers import SentReader, sent
from backcast.engine.replay.score_elsewhere import CutPlan, ScoringElsewhere
from backcast.engine.replay.score_stretch import stretch_of
from tests import pieces
from tests.clusters import Cluster, cluster
from tests.models import smollm2_file, tiny
from tests.reading_clusters import LOGS, reading_cluster, reading_folder
from tests.reading_servers import reading_server
from tests.test_engines import HERE, linux

NAMES = ("palindrome", "shop", "till", "validators")
SMALL = 300
"Tokens of the context part."
SOME = 9
"Steps that make three pieces."
POLICIES = ("recorded", "no-cache")
MODEL = f"llama:{HERE}/model.gguf"
"Another file in each folder where a process stands."

Ran = tuple[int, str, str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs, and the model that reads."""
    return reading_folder(tmp_path_factory.mktemp("logs"), NAMES)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Cluster]:
    """A good worker, and one with the same logs and another model of the same name."""
    with reading_cluster(tmp_path_factory.mktemp("machines"), folder) as started:
        yield started


@pytest.fixture
def score(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    monkeypatch.setenv("BACKCAST_THREADS", "1")
    monkeypatch.chdir(folder)

    def command(*arguments: object, model: str = MODEL) -> Ran:
        asked = ("score", *arguments, "--model", model, "--context-tokens", SMALL)
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in asked])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return command


def logs(*names: str) -> list[str]:
    return [f"{HERE}/{name}.jsonl" for name in names]


def under(*policies: str) -> list[str]:
    return [text for policy in policies for text in ("--policy", policy)]


# The same as by one process


@linux
def test_a_worker_with_another_model_is_passed_by_and_no_byte_changes(
    machines: Cluster, score: Callable[..., Ran], tmp_path: Path
) -> None:
    asked = (*logs("palindrome", "validators"), *under(*POLICIES), "--json", "--scores")
    here = score(*asked, tmp_path / "here")
    there = score(*asked, tmp_path / "there", "--on", machines.name)
    assert here[0] == there[0] == 0, there
    assert here[1] == there[1]
    assert json.loads(here[1])["steps"]
    kept = (tmp_path / "here").read_bytes()
    assert kept.count(b"\n") > 6
    assert (tmp_path / "there").read_bytes() == kept
    # Asked again, nothing is scored again, and what is told of it is the same.
    assert score(*asked, tmp_path / "there", "--on", machines.name)[:2] == here[:2]
    assert (tmp_path / "there").read_bytes() == kept


@linux
def test_the_work_of_a_killed_worker_is_done_elsewhere_and_counts_once(
    machines: Cluster, folder: Path, score: Callable[..., Ran], tmp_path: Path
) -> None:
    asked = (*logs("till"), *under("recorded"), "--sample", SOME, "--scores")
    assert score(*asked, tmp_path / "here")[0] == 0
    machines.start("mortal", folder)
    machines.wait(3)
    killed = machines.workers["mortal"]

    def advance(steps: int) -> None:
        killed.kill()

    with ExitStack() as stack:
        engine = stack.enter_context(engine_at(machines.name, 1))
        scoring = planned(stack, engine, logs("till"), tmp_path / "there", ["recorded"])
        scoring.run(advance)
    assert killed.wait(5) == -9
    assert (scoring.lost, scoring.not_reached) == (0, 0)
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()


def planned(
    stack: ExitStack, engine: WorkEngine, names: list[str], scores: Path, policies: list[str]
) -> ScoringElsewhere:
    """The scores of some logs, not yet begun."""
    reading = Reading(MODEL, SMALL, scores=scores)
    reader = reading.reader()
    plan = CutPlan(reading.plan(reader, [setting_of(name) for name in policies]))
    every = [stack.enter_context(opened(name)) for name in names]
    plan.add(every, SOME)
    return ScoringElsewhere(
        plan, score_books(every, scores), engine, sent(reader, SMALL, 1)
    )  # fmt: skip


def test_processes_here_score_a_store_as_one_process_does(
    score: Callable[..., Ran], tmp_path: Path
) -> None:
    kept = []
    for name, more in (("here", ()), ("there", ("--on", "processes", "--processes", 2))):
        url = f"sqlite:///{tmp_path}/{name}.db"
        with EventStore.open(url) as store:
            for log in ("palindrome", "validators"):
                imported(store, "events", LOGS / f"{log}.jsonl")
            before = stamps_of(store)
        code, out, err = score("--store", url, *under(*POLICIES), *more)
        assert code == 0, err
        with EventStore.open(url, create=False) as store:
            facts = [(event.task_id, event.version, event.because, event.fact)
                     for event in store.read(types=["SCORED"])]  # fmt: skip
            # What scores add, no prompt knows: pieces of work that were cut before still fit.
            assert stamps_of(store) == before
        kept.append((out, facts))
    assert len(kept[0][1]) > 6
    assert kept[0] == kept[1]


def test_regress_has_the_model_read_where_the_work_is_done(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setenv("BACKCAST_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    asked = ["regress", "validators.jsonl", "--model", MODEL, "--context-tokens", str(SMALL),
             "--policy", "no-cache", "--sample", "2"]  # fmt: skip
    found = []
    for more in (["--processes", "1"], ["--on", "tests.pieces:threads"]):
        for name in ("validators.jsonl", "model.gguf"):
            shutil.copy(folder / name, tmp_path)
        (tmp_path / "validators.jsonl.scores").unlink(missing_ok=True)
        with pytest.raises(SystemExit) as end:
            main([*asked, *more])
        out, err = capsys.readouterr()
        assert "new lines, nats per token" in out, err
        found.append((end.value.code, out, (tmp_path / "validators.jsonl.scores").read_bytes()))
    assert found[0] == found[1]


def test_real_weights_in_a_process_of_their_own_give_the_same_numbers(
    score: Callable[..., Ran], tmp_path: Path
) -> None:
    model = f"llama:{smollm2_file()}"
    asked = ("palindrome.jsonl", "--json", "--scores")
    here = score(*asked, tmp_path / "here", model=model)
    there = score(*asked, tmp_path / "there", "--on", "processes", model=model)
    assert here[0] == there[0] == 0, there
    assert json.loads(here[1])["policies"][0]["new"]["nats"] > 1
    assert (here[1], (tmp_path / "here").read_bytes()) == (
        there[1], (tmp_path / "there").read_bytes(),
    )  # fmt: skip


def test_steps_that_are_left_out_and_a_sample_are_told_alike(
    score: Callable[..., Ran], tmp_path: Path
) -> None:
    asked = ("till.jsonl", "shop.jsonl", "validators.jsonl", "--sample", 6, "--json",
             *under("recorded"), "--scores")  # fmt: skip
    here = score(*asked, tmp_path / "here")
    there = score(*asked, tmp_path / "there", "--on", "tests.pieces:threads")
    assert here[0] == there[0] == 0, there
    assert here[1] == there[1]
    assert json.loads(here[1])["not_sampled"] > 0


# Asked once


def test_what_is_known_travels_with_the_piece_and_is_not_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    reader = Reading(MODEL, SMALL, threads=1).reader()
    settings = [setting_of(name) for name in POLICIES]
    with opened("palindrome.jsonl") as log:
        [task], stamps = log.tasks, stamps_of(log.store)
        [version] = [event.version for event in log.store.read(types=["CONTEXT_BUILT"])]

    meant = sent(reader, SMALL, 1)

    def done(*known: Any, needed: SentReader = meant) -> Any:
        piece = score_piece("palindrome.jsonl", task, stamps[task], [version], settings, needed,
                            known)  # fmt: skip
        return json.loads(work(piece))

    first = stretch_of(done()["done"])
    assert len(first.facts) == len({Scored.model_validate(fact).prompt for fact in first.facts})
    again = stretch_of(done(*first.facts)["done"])
    assert again.facts == ()
    assert again.jobs == first.jobs
    other = sent(reader, SMALL, 1)._replace(model="model.gguf 0123456789abcdef")
    _, reason, whole = done(needed=other)["refused"]
    assert reason.startswith("needed model.gguf 0123456789abcdef at llama:")
    assert whole


def test_a_server_that_workers_reach_is_asked_once_for_each_prompt(
    score: Callable[..., Ran], tmp_path: Path
) -> None:
    asked = ("palindrome.jsonl", *under(*POLICIES), "--json", "--scores", tmp_path / "scores",
             "--on", "tests.pieces:threads")  # fmt: skip
    with reading_server(tiny("mistral"), 4096) as server:
        first = score(*asked, model=server.url)
        prompts = server.completed
        again = score(*asked, model=server.url)
        assert server.completed == prompts + 1, "only whether it can"
    assert first[0] == 0, first
    assert json.loads(first[1])["reader"]["model"].startswith("tiny ")
    assert again[:2] == first[:2]


def test_what_two_pieces_score_alike_is_kept_once(
    score: Callable[..., Ran], folder: Path, tmp_path: Path
) -> None:
    twin = shutil.copy(folder / "validators.jsonl", tmp_path / "twin.jsonl")
    asked = ("validators.jsonl", twin, *under("recorded"), "--scores")
    assert score(*asked, tmp_path / "here")[0] == 0
    code, _, err = score(*asked, tmp_path / "there", "--on", "tests.pieces:threads")
    assert code == 0, err
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()


def test_ctrl_c_keeps_what_came_and_the_next_call_asks_for_the_rest(
    folder: Path, score: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("till.jsonl", *under("recorded"), "--sample", SOME, "--scores")
    assert score(*asked, tmp_path / "here")[0] == 0
    whole = (tmp_path / "here").read_bytes()
    there = tmp_path / "there"

    def interrupt(steps: int) -> None:
        raise KeyboardInterrupt

    with ExitStack() as stack:
        engine = stack.enter_context(WorkEngine("threads", pieces.one_thread, 1))
        scoring = planned(stack, engine, ["till.jsonl"], there, ["recorded"])
        with pytest.raises(KeyboardInterrupt):
            scoring.run(interrupt)
    kept = there.read_bytes()
    assert 0 < len(kept) < len(whole)
    assert whole.startswith(kept)
    assert 0 < len(scoring.steps) == len(scoring.plan.cut) - scoring.not_reached
    assert score(*asked, there)[0] == 0
    assert there.read_bytes() == whole


@linux
def test_a_scheduler_that_goes_away_leaves_what_came(
    folder: Path, score: Callable[..., Ran], tmp_path: Path
) -> None:
    asked = (*logs("till"), *under("recorded"), "--sample", SOME, "--scores")
    assert score(*asked, tmp_path / "here")[0] == 0
    with cluster(tmp_path / "dask", BACKCAST_THREADS="1") as started, ExitStack() as stack:
        started.start("good", folder)
        started.wait(1)
        engine = stack.enter_context(engine_at(started.name, 1))
        scoring = planned(stack, engine, logs("till"), tmp_path / "there", ["recorded"])
        with pytest.raises(WorkerError, match="to the end, found it gone"):
            scoring.run(lambda steps: started.scheduler.kill())
    kept = (tmp_path / "there").read_bytes()
    assert kept
    assert (tmp_path / "here").read_bytes().startswith(kept)
    assert score(*asked, tmp_path / "there")[0] == 0
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()


# Bad input


@linux
def test_a_model_that_no_worker_has_is_one_line(
    machines: Cluster, score: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(LOGS / "palindrome.jsonl", tmp_path)
    shutil.copy(tiny("mistral"), tmp_path / "only.gguf")
    monkeypatch.chdir(tmp_path)
    code, out, err = score(
        *logs("palindrome"), "--on", machines.name, model=f"llama:{HERE}/only.gguf"
    )
    assert (code, out) == (2, "")
    said, last = err.splitlines()
    assert said.startswith("backcast: 1 prompts of 1 steps")
    assert last.startswith("backcast: needed the model only.gguf ")
    assert "found none: " in last


@linux
def test_a_log_that_no_worker_has_is_named_and_the_rest_is_scored(
    machines: Cluster, score: Callable[..., Ran], folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shutil.copytree(folder, tmp_path / "logs")
    monkeypatch.chdir(tmp_path / "logs")
    shutil.copy("validators.jsonl", "only.jsonl")
    code, out, err = score(
        *logs("only", "palindrome"), "--on", machines.name, "--json", "--scores", "scores"
    )
    assert code == 1
    found = json.loads(out)
    assert [Path(step["log"]).stem for step in found["steps"]] == ["palindrome"]
    assert len(found["left_out"]) >= 3
    assert f"{HERE}/only.jsonl: needed the log {HERE}/only.jsonl, found none" in err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--seconds", "5", "--on", "processes"), "--seconds: needed no --on beside it"),
        (("--processes", "2"), "--processes: needed --on processes, found no --on"),
        (("--processes", "2", "--on", "tests.pieces:threads"), "--processes: needed --on process"),
        (("--on", "cloud"), "needed processes, dask://HOST:8786"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    more: tuple[str, ...], message: str, score: Callable[..., Ran]
) -> None:
    code, out, err = score("palindrome.jsonl", *more)
    assert (code, out) == (2, "")
    assert message in err


def test_an_engine_whose_workers_all_die_names_the_log(score: Callable[..., Ran]) -> None:
    code, _, err = score("palindrome.jsonl", "--on", "tests.pieces:short_lived")
    assert code == 1
    assert "palindrome.jsonl: each worker that did it was killed" in err
