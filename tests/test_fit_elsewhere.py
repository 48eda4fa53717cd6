"""A policy is fitted here to what workers read, with the bytes of one process."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from backcast.domain.errors import WorkerError
from backcast.domain.policy import DEFAULT
from backcast.engine.log.engines import WorkEngine, engine_at
from backcast.engine.log.open_logs import opened
from backcast.engine.models.likelihood import LikelihoodReader
from backcast.engine.replay.corpus import Setting
from backcast.engine.replay.kept_scores import ScoreBook
from backcast.engine.replay.pieces import read_piece, work
from backcast.engine.replay.read_elsewhere import ElsewhereReader
from backcast.engine.replay.readers import sent
from backcast.engine.replay.score import ScorePlan, reading_profile
from backcast.engine.replay.score_run import Scoring
from tests import pieces
from tests.clusters import cluster
from tests.models import tiny
from tests.test_engines import linux
from tests.test_fit import SMALL, arguments, copies, families, fit, signatures, written

__all__ = ["copies", "fit"]  # fixtures
Run = Callable[..., tuple[str, str, int]]


@contextmanager
def planned(folder: Path, scores: str, steps: int = 6) -> Iterator[tuple[ScorePlan, ScoreBook]]:
    """Whole prompts of some steps under two policies, and a book in which nothing stands yet."""
    path = tiny("mistral")
    profile = reading_profile(path, SMALL)
    reader = LikelihoodReader(path, profile.window, threads=1)
    plan = ScorePlan(reader, [Setting("default", DEFAULT),
                              Setting("bare", DEFAULT.model_copy(update={"opening": False}))],
                     profile)  # fmt: skip
    with opened(str(written(folder / "log.jsonl", families(steps)))) as log:
        plan.add([log])
        yield plan, ScoreBook(log.store, folder / scores)


def reads(plan: ScorePlan, book: ScoreBook, engine: WorkEngine) -> ElsewhereReader:
    needed = sent(plan.reader, SMALL, 1)
    return ElsewhereReader(engine, needed, {plan.jobs[0].log: book})


@pytest.fixture
def here(tmp_path: Path) -> bytes:
    """The scores that one process keeps."""
    with planned(tmp_path, "here") as (plan, book):
        scoring = Scoring(plan, {plan.jobs[0].log: book})
        scoring.run()
        assert len(scoring.steps) == len(plan.jobs) >= 5
    return (tmp_path / "here").read_bytes()


def test_a_policy_that_workers_read_for_is_that_of_one_process(
    fit: Run, copies: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backcast.engine.replay.fit_search.ROUNDS", 1)
    monkeypatch.setattr("backcast.engine.replay.fit_run.MOST", 4)
    log, out = written(tmp_path / "log.jsonl", families(24)), tmp_path / "mine.toml"
    found = []
    for place, more in (("here", ()), ("there", ("--on", "tests.pieces:threads"))):
        scores = tmp_path / place
        printed, err, code = fit(
            *arguments(log, out, "--policy", signatures(tmp_path), "--force", "--scores", scores),
            *more,
        )
        assert code == 0, err
        found.append((printed, out.read_bytes(), scores.read_bytes(), sorted(copies)))
        assert len(copies) == len(set(copies)) > 40, "no prompt is read twice"
        copies.clear()
    assert found[0] == found[1]


@linux
def test_the_prompts_of_a_killed_worker_are_read_elsewhere_and_kept_once(
    here: bytes, tmp_path: Path
) -> None:
    with cluster(tmp_path / "dask", BACKCAST_THREADS="1") as started, ExitStack() as stack:
        for name in ("good", "mortal"):
            started.start(name, tmp_path)
        started.wait(2)
        plan, book = stack.enter_context(planned(tmp_path, "there"))
        engine = stack.enter_context(engine_at(started.name, 1))
        reading = reads(plan, book, engine)
        reading.read([plan], lambda tokens: started.workers["mortal"].kill())
        assert started.workers["mortal"].wait(5) == -9
    assert (tmp_path / "there").read_bytes() == here


def test_ctrl_c_keeps_what_was_read_and_the_rest_is_asked_for_later(
    here: bytes, tmp_path: Path
) -> None:
    def interrupt(tokens: int) -> None:
        raise KeyboardInterrupt

    with ExitStack() as stack:
        engine = stack.enter_context(WorkEngine("threads", pieces.one_thread, 1))
        plan, book = stack.enter_context(planned(tmp_path, "there"))
        with pytest.raises(KeyboardInterrupt):
            reads(plan, book, engine).read([plan], interrupt)
        kept = (tmp_path / "there").read_bytes()
        assert 0 < len(kept) < len(here)
        assert here.startswith(kept)
        reads(plan, book, engine).read([plan])
        # What is known already is asked of nobody: this engine would fail.
        with WorkEngine("short-lived", pieces.short_lived, 1) as broken:
            reads(plan, book, broken).read([plan])
    assert (tmp_path / "there").read_bytes() == here


def test_a_worker_with_another_model_refuses_to_read(tmp_path: Path) -> None:
    with planned(tmp_path, "scores", 2) as (plan, _):
        other = sent(plan.reader, SMALL, 1)._replace(template="0123456789abcdef")
        piece = read_piece([(("default", "bare"), plan.jobs[0])], other)
    _, reason, whole = json.loads(work(piece))["refused"]
    assert reason.startswith("needed 0123456789abcdef at llama:")
    assert whole


# Bad input


def test_where_all_workers_die_nothing_is_fitted_and_what_was_read_is_kept(
    tmp_path: Path,
) -> None:
    with (
        planned(tmp_path, "scores", 2) as (plan, book),
        WorkEngine("short-lived", pieces.short_lived, 1) as engine,
    ):
        with pytest.raises(WorkerError, match="what was read is kept, run it again"):
            reads(plan, book, engine).read([plan])
        assert not book.known


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--seconds", "5", "--on", "processes"), "--seconds: needed no --on beside it"),
        (("--processes", "2"), "--processes: needed --on processes, found no --on"),
        (("--on", "cloud"), "needed processes, dask://HOST:8786"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    more: tuple[str, ...], message: str, fit: Run, tmp_path: Path
) -> None:
    log = written(tmp_path / "log.jsonl", families(2))
    out, err, code = fit(*arguments(log, tmp_path / "mine.toml", *more))
    assert (out, code, err.count("\n")) == ("", 2, 1)
    assert message in err
    assert not (tmp_path / "mine.toml").exists()


def test_rules_on_what_to_keep_need_no_workers(fit: Run, tmp_path: Path) -> None:
    log = written(tmp_path / "log.jsonl", families(2))
    asked = ("fit", log, "--keep", "--out", tmp_path / "mine.toml", "--on", "processes")
    out, err, code = fit(*asked)
    assert (out, code) == ("", 2)
    assert "--on: needed --model, which reads there, found --keep" in err
