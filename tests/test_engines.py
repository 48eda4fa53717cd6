"""Work that is done elsewhere gives the bytes of one process, whatever dies meanwhile."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backcast.engine.context.strategies import STRATEGIES
from backcast.engine.interfaces.cli import main
from backcast.engine.log.code import code_digest
from backcast.engine.log.engines import ProcessEngine, WorkEngine, engine_at
from backcast.engine.log.open_logs import opened
from backcast.engine.log.spread import spread
from backcast.engine.log.store import EventStore
from backcast.engine.replay import pieces as replay_pieces
from backcast.engine.replay.corpus import ReplayRun, Setting, Tried, runs_in
from backcast.engine.replay.try_runs import FailedRuns, tried
from backcast.engine.replay.verify import Verdict, verified
from tests import pieces
from tests.clusters import Cluster, cluster

FIXTURES = Path(__file__).parents[1] / "fixtures" / "logs"
SEED, KILLED = 7, 2
HERE = "/proc/self/cwd"
"Another folder in each process: what lies in one need not lie in another."
linux = pytest.mark.skipif(sys.platform != "linux", reason=f"needs {HERE}")
SETTINGS = [Setting("recorded", None), Setting("no-cache", STRATEGIES["no-cache"])]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of logs, small and larger ones."""
    folder = tmp_path_factory.mktemp("logs")
    for name in ("addresses", "caches", "contexts", "shop", "till", "validators"):
        shutil.copy(FIXTURES / f"{name}.jsonl", folder)
    return folder


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory, logs: Path) -> Iterator[Cluster]:
    """Two good workers, one with other code, and one that lacks the logs."""
    folder = tmp_path_factory.mktemp("four")
    (folder / "empty").mkdir()
    sources = Path(sys.modules[code_digest.__module__].__file__ or "").parents[2]
    shutil.copytree(
        sources, folder / "other" / "backcast", ignore=shutil.ignore_patterns("__pycache__", "api")
    )
    with (folder / "other" / "backcast" / "domain" / "budget.py").open("a") as file:
        file.write("# changed\n")
    with cluster(folder / "dask") as started:
        started.start("other code", logs, PYTHONPATH=str(folder / "other"))
        started.start("no log", folder / "empty")
        started.start("good", logs)
        started.start("also good", logs)
        started.wait(4)
        yield started


def names(logs: Path) -> list[str]:
    return [f"{HERE}/{file.name}" for file in sorted(logs.iterdir()) if file.suffix == ".jsonl"]


def runs_of(logs: Path) -> list[ReplayRun]:
    """All runs; of histories each change is one."""
    found: list[ReplayRun] = []
    for name in names(logs):
        with opened(name) as log:
            found += runs_in(log, 1)
    return found


def untimed(found: Tried) -> Tried:
    """All but how long it took."""
    steps = (
        step._replace(figures=tuple(each._replace(seconds=0.0) for each in step.figures))
        for step in found.steps
    )
    return found._replace(steps=tuple(steps))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The exit code of a command, and what it printed."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


# Dask


@linux
def test_other_code_and_lacking_logs_are_refused_and_change_no_byte(
    four: Cluster,
    logs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(logs)
    command = ("regress", *names(logs), "--policy", "no-cache", "--window", "1", "--report")
    alone = told(capsys, *command, str(tmp_path / "alone.json"), "--processes", "1")
    spread_out = told(capsys, *command, str(tmp_path / "spread.json"), "--on", four.name)
    assert alone[0] == spread_out[0] == 1, spread_out
    assert alone[1] == spread_out[1]
    assert (tmp_path / "alone.json").read_bytes() == (tmp_path / "spread.json").read_bytes()
    assert "skipped" not in spread_out[2]


@linux
def test_killed_workers_change_no_byte(
    four: Cluster, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(logs)
    runs = runs_of(logs)
    expected = [untimed(one) for one in tried(runs, SETTINGS)]
    for number in range(KILLED):
        four.start(f"mortal {number}", logs)
    four.wait(4 + KILLED)
    drawn = random.Random(SEED)
    moments = sorted(drawn.sample(range(1, len(runs) // 2), KILLED))
    mortal = [f"mortal {number}" for number in range(KILLED)]
    measured = 0

    def advance(count: int) -> None:
        nonlocal measured
        measured += count
        while moments and measured >= moments[0]:
            moments.pop(0)
            four.workers[mortal.pop(drawn.randrange(len(mortal)))].kill()

    with engine_at(four.name, 1) as engine:
        found = [untimed(one) for one in tried(runs, SETTINGS, engine=engine, advance=advance)]
    assert not mortal
    assert all(four.workers[f"mortal {number}"].wait(5) == -9 for number in range(KILLED))
    assert found == expected


@linux
def test_a_log_that_no_worker_has_is_named_and_the_rest_goes_on(
    four: Cluster, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where no worker stands
    shutil.copy(FIXTURES / "validators.jsonl", tmp_path / "only.jsonl")
    shutil.copy(FIXTURES / "till.jsonl", tmp_path / "shop.jsonl")  # there it is another log
    shutil.copy(FIXTURES / "contexts.jsonl", tmp_path)
    runs = runs_of(tmp_path)
    failed: list[FailedRuns] = []
    with engine_at(four.name, 1) as engine:
        found = list(tried(runs, SETTINGS, engine=engine, failed=failed.append))
    assert {one.run.log for one in found} == {f"{HERE}/contexts.jsonl"}
    reasons = sorted(map(str, failed))
    assert len(reasons) == 2, reasons
    assert f"needed the log {HERE}/only.jsonl, found none" in reasons[0]
    assert f"{HERE}/shop.jsonl: till: needed " in reasons[1]
    assert all("of 2 more workers" in reason for reason in reasons), reasons


@linux
def test_a_scheduler_that_goes_away_is_one_line_and_the_report_goes_on(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(logs)
    report = tmp_path / "grows.jsonl"
    command = ("regress", *names(logs), "--policy", "no-cache", "--window", "1")
    with cluster(tmp_path / "dask") as started:
        started.start("worker", logs)
        started.wait(1)
        kills = _killed_at(report, 5, started.scheduler.pid)
        code, out, err = told(capsys, *command, "--report", str(report), "--on", started.name)
        kills.join()
    assert (code, out) == (1, "")
    assert err.count("\n") == 1, err
    assert "to the end, found it gone" in err
    kept = len(report.read_bytes().splitlines()) - 1
    assert kept >= 5
    code, out, err = told(capsys, *command, "--report", str(report), "--processes", "1")
    assert f"{kept} of {len(runs_of(logs))} runs stand in {report}" in err
    assert out == told(capsys, *command, "--processes", "1")[1]


@linux
def test_ctrl_c_takes_back_what_was_handed_out(four: Cluster, logs: Path, tmp_path: Path) -> None:
    from distributed import Client

    report = tmp_path / "grows.jsonl"
    program = "from backcast.engine.interfaces.cli import main; main()"
    command = [sys.executable, "-c", program, "regress", *names(logs), "--policy", "no-cache",
               "--window", "1", "--on", four.name, "--report", str(report)]  # fmt: skip
    with subprocess.Popen(
        command, cwd=logs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not (
            report.exists() and report.read_bytes().count(b"\n") > 3
        ):
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out, err.count("\n")) == (130, "", 1), err
    assert "the same command goes on from there" in err
    with Client(four.address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        deadline = time.monotonic() + 30
        tasks = 1
        while tasks and time.monotonic() < deadline:
            tasks = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
    assert tasks == 0


def _killed_at(report: Path, lines: int, process: int) -> Any:
    """A thread that kills a process once a report has so many lines behind its head."""
    from threading import Thread

    def watch() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if report.exists() and report.read_bytes().count(b"\n") > lines:
                os.kill(process, signal.SIGKILL)
                return
            time.sleep(0.005)

    thread = Thread(target=watch)
    thread.start()
    return thread


@linux
def test_verify_elsewhere_prints_what_it_prints_here(
    four: Cluster, logs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(logs)
    for options in ((), ("--json", "--bisect")):
        here = told(capsys, "verify", *names(logs)[:3], *options)
        assert here[1].count("\n") > 4
        assert told(capsys, "verify", *names(logs)[:3], *options, "--on", four.name) == here


def test_a_dask_that_is_lacking_or_another_is_one_line(
    four: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import dask
    import distributed

    log = str(FIXTURES / "validators.jsonl")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"dask://127.0.0.1:{free.getsockname()[1]}"
        with dask.config.set({"distributed.comm.timeouts.connect": "500ms"}):
            unreachable = told(capsys, "regress", log, "--on", nobody)
    with monkeypatch.context() as patch:
        patch.setattr(distributed, "__version__", "2020.1.0")
        other = told(capsys, "regress", log, "--on", four.name)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "distributed", None)
        lacking = told(capsys, "regress", log, "--on", four.name)
    for found in (unreachable, other, lacking):
        assert (found[0], found[1], found[2].count("\n")) == (2, "", 1), found
    assert "needed a Dask scheduler, found none that answers" in unreachable[2]
    assert "needed distributed 2020.1.0, as it is here, found 20" in other[2]
    assert "needs the extra 'dask': pip install 'backcast[dask]'" in lacking[2]


def test_a_scheduler_without_workers_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from backcast.engine.log import dask_engine

    monkeypatch.setattr(dask_engine, "PATIENCE", 1.0)
    with cluster(tmp_path / "dask") as started:
        found = told(capsys, "regress", str(FIXTURES / "validators.jsonl"), "--on", started.name)
    assert (found[0], found[1], found[2].count("\n")) == (2, "", 1)
    assert "needed a worker, found none: start one by 'dask worker tcp://" in found[2]


def test_the_certificates_of_dask_hold_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dask = pytest.importorskip("dask", reason="needs the extra 'dask'")
    if not shutil.which("openssl"):
        pytest.skip("no openssl: it makes the certificate")
    certificate, key = str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
               "/CN=backcast", "-keyout", key, "-out", certificate]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    log = str(FIXTURES / "validators.jsonl")
    tls = {"ca-file": certificate}
    for role in ("scheduler", "worker", "client"):
        tls |= {f"{role}.cert": certificate, f"{role}.key": key}
    environment = {
        f"DASK_DISTRIBUTED__COMM__TLS__{name.upper().replace('.', '__').replace('-', '_')}": value
        for name, value in tls.items()
    }
    with cluster(tmp_path / "dask", "tls://127.0.0.1", **environment) as started:
        started.start("worker", tmp_path)
        without = told(capsys, "regress", log, "--on", started.address)
        with dask.config.set({f"distributed.comm.tls.{name}": one for name, one in tls.items()}):
            found = told(capsys, "regress", log, "--on", started.address)
    assert started.address.startswith("tls://")
    assert (without[0], without[1], without[2].count("\n")) == (2, "", 1), without
    assert "needed certificates in Dask's own configuration" in without[2]
    assert found[:2] == told(capsys, "regress", log, "--processes", "1")[:2]


# Other engines


@pytest.mark.parametrize("make", ["threads", "processes"])
def test_any_executor_gives_the_bytes_of_one_process(
    make: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("regress", str(FIXTURES / "till.jsonl"), str(FIXTURES / "shop.jsonl"),
               "--policy", "no-cache", "--window", "1")  # fmt: skip
    alone = told(capsys, *command, "--processes", "1")
    assert told(capsys, *command, "--on", f"tests.pieces:{make}")[:2] == alone[:2]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cloud", "needed processes, dask://HOST:8786, tls://HOST:8786 or package.module:make"),
        ("ftp://host", "found 'ftp://host'"),
        ("no_such_module:make", "found none: ModuleNotFoundError: No module named 'no_such"),
        ("tests.pieces:lacking", "found none: AttributeError: "),
        ("tests.pieces:DEADLY", "needed a function, found 3"),
        ("tests.pieces:no_executor", "executor of concurrent.futures, found a list"),
        ("tests.pieces:failing", "found OSError: no such cluster"),
    ],
)
def test_an_engine_that_is_none_is_one_line(
    name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = told(capsys, "regress", str(FIXTURES / "validators.jsonl"), "--on", name)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_a_piece_that_kills_its_workers_is_named_and_the_rest_is_done_once(tmp_path: Path) -> None:
    numbers = [json.dumps([number, str(tmp_path)]) for number in range(12)]
    with ProcessEngine(2) as engine:
        found = sorted(spread(engine, pieces.deadly, numbers))
    assert [one.number for one in found] == list(range(12))
    assert [one.number for one in found if one.failed] == [3]
    assert [one.result for one in found] == [0, 1, 2, None, *range(4, 12)]
    assert "each worker that did it was killed" in found[3].failed
    assert 2 <= len(list(tmp_path.glob("3-*"))) <= 3  # perhaps first with another, then alone


def test_a_log_that_needs_too_much_memory_is_named_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def hungry(store: EventStore, task: str) -> Iterator[Verdict]:
        if task == "till":
            bytearray(sys.maxsize)  # which no machine has
        return verified(store, task)

    monkeypatch.setattr(replay_pieces, "verified", hungry)
    every = [str(FIXTURES / f"{name}.jsonl") for name in ("till", "validators")]
    code, out, err = told(capsys, "verify", *every, "--on", "tests.pieces:threads")
    assert (code, out.count("rebuilt: same")) == (1, 5)
    assert "till.jsonl: needed more memory than there was" in err


def test_workers_that_die_before_they_do_anything_are_not_started_for_ever() -> None:
    with WorkEngine("short-lived", pieces.short_lived, 1) as engine:
        [found] = spread(engine, pieces.deadly, ["[1, '']"])
    assert "each worker that did it was killed" in found.failed


@pytest.mark.parametrize("text", ["whole", "one"])
def test_an_engine_that_refuses_all_is_not_asked_for_ever(text: str) -> None:
    with WorkEngine("threads", pieces.threads, 2) as engine:
        [found] = spread(engine, pieces.picky, [text])
    assert found.failed.startswith(f"needed another text, found {text}: that is the answer of")
