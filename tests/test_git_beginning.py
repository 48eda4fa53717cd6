"""Histories that are imported from a commit on, and imports that were broken off."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from _pytest.capture import CaptureResult

import backcast
from backcast.domain.errors import InputError, MomentError
from backcast.domain.events import Committed
from backcast.engine.history.commits import is_broken_off, lacks_before
from backcast.engine.history.moments import moment_at
from backcast.engine.history.snapshots import state_at
from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.task_summaries import summary_of
from backcast.engine.log import EventStore
from backcast.engine.log.importers.git_beginning import Beginning
from backcast.engine.memory.import_log import Progress, counted, run
from backcast.projections import versions
from tests.oracle import git_says, log_says
from tests.test_git import Repository

COMMITS = 9


@pytest.fixture
def history(tmp_path: Path) -> Repository:
    """A history of a commit a minute, in which a module is renamed and another one goes."""
    repository = Repository(tmp_path / "repo")
    for number in range(COMMITS):
        repository.write(f"m{number % 3}.py", f"def f():\n    return {number}\n" * 5)
        if number == 4:
            repository.git("mv", "m0.py", "renamed.py")
        if number == 7:
            repository.git("rm", "--quiet", "m2.py")
        repository.commit(f"commit {number}")
        repository.git("tag", f"v{number}")
    return repository


def shas(repository: Repository) -> list[str]:
    return repository.git("rev-list", "--first-parent", "--reverse", "HEAD").split()


@pytest.mark.parametrize("last", [1, 4, 6, COMMITS, 100])
def test_a_history_of_the_last_commits_says_what_git_says(
    history: Repository, store: EventStore, last: int
) -> None:
    report = run(store, "git", history.path, begin=Beginning(last=last))
    taken = shas(history)[-last:]
    events = store.read("repo", types=["COMMITTED"])
    assert [event.fact.sha for event in events if isinstance(event.fact, Committed)] == taken
    for sha in taken:
        state = state_at(store, versions, "repo", moment_at(store, "repo", f"commit:{sha}"))
        assert log_says(store, state) == git_says(history.path, sha)
    left_out = max(0, COMMITS - last)
    assert any(f"{left_out} earlier commits are left out" in note for note in report.notes) == (
        left_out > 0
    )
    assert bool(lacks_before(store, "repo")) == (left_out > 0)


def test_a_history_since_a_date_begins_behind_the_last_commit_before_it(
    history: Repository, store: EventStore
) -> None:
    dates = history.git("log", "--reverse", "--format=%ct").split()
    since = datetime.fromtimestamp(int(dates[3]), UTC)
    run(store, "git", history.path, begin=Beginning(since=since))
    first = next(store.read("repo", types=["COMMITTED"]))
    assert isinstance(first.fact, Committed)
    assert (first.fact.sha, first.fact.begins_after) == tuple(shas(history)[n] for n in (3, 2))
    with pytest.raises(InputError, match="--since: needed a date up to that of the last commit"):
        counted("git", history.path, Beginning(since=datetime(2099, 1, 1, tzinfo=UTC)))


def test_what_was_before_the_beginning_is_named_as_missing(
    history: Repository, store: EventStore
) -> None:
    run(store, "git", history.path, begin=Beginning(last=3))
    first = shas(history)[-3]
    begins = f"begins with commit {first[:10]} of 2023-11-14"
    assert summary_of(store, "repo").lacks == begins
    with pytest.raises(MomentError, match=f"which is not in it: it {begins}"):
        moment_at(store, "repo", "commit:v2")
    with pytest.raises(MomentError, match=f"the history {begins}: earlier ones were not imported"):
        moment_at(store, "repo", f"commit:{shas(history)[0]}")

    history.write("new.py", "1\n")
    history.commit()
    again = run(store, "git", history.path, begin=Beginning(last=100))
    assert again.known == 3 + 4 + 3 + 1  # commits, modules of the first, of the others, names
    assert any("goes on where it ends, whatever --last" in note for note in again.notes)
    assert any("what was before cannot be added to it" in note for note in again.notes)
    assert sum(1 for _ in store.read("repo", types=["COMMITTED"])) == 4


def test_the_options_reach_the_import(
    history: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def backcast(*arguments: str) -> CaptureResult[str]:
        with pytest.raises(SystemExit):
            main([*arguments, "--store", f"sqlite:///{tmp_path}/x.db"])
        return capsys.readouterr()

    path = str(history.path)
    assert "7 earlier commits are left out" in backcast("import", "git", path, "--last", "2").err
    assert "begins with commit" in backcast("tasks").out
    since = backcast("import", "git", path, "--as", "b", "--since", "2023-11-14T22:19:30")
    assert "6 earlier commits are left out" in since.err
    assert "needed a date such as" in backcast("import", "git", path, "--since", "soon").err
    missing = backcast("show", "versions", "repo@2023-11-01").err
    assert "with which the import began: earlier commits are not in it" in missing


def test_an_import_that_was_broken_off_says_so_and_counts_from_there(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repo")
    stream = "".join(
        f"commit refs/heads/main\ncommitter A <a@b.c> {1_600_000_000 + number} +0000\n"
        f"data 1\nc\nM 100644 inline m{number}.txt\ndata 2\n1\n\n"
        for number in range(700)
    )

    subprocess.run(
        ["git", "-C", repository.path, "fast-import", "--quiet"], input=stream.encode(), check=True
    )
    shown: list[tuple[str, int | None]] = []

    def ending(after: int) -> Progress:
        @contextmanager
        def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
            shown.append((what, total))
            done = 0

            def advance(step: int) -> None:
                nonlocal done
                done += step
                if done == after:
                    raise KeyboardInterrupt

            yield advance

        return progress

    with EventStore.open(f"sqlite:///{tmp_path}/x.db") as store:
        with pytest.raises(KeyboardInterrupt):
            run(store, "git", repository.path, progress=ending(600))
        assert is_broken_off(store, "repo")
        assert "'backcast import git' goes on" in summary_of(store, "repo").words
        run(store, "git", repository.path, progress=ending(10**6))
        stored = int(shown[1][0].split()[2])
        assert shown[0] == ("importing repo", 700)
        assert shown[1] == (f"importing repo, {stored} commits stand already", 700 - stored)
        assert 0 < stored < 700
        assert not is_broken_off(store, "repo")
        assert sum(1 for _ in store.read("repo", types=["COMMITTED"])) == 700


def test_a_program_imports_the_last_commits_too(history: Repository) -> None:
    with backcast.open("sqlite://") as store:
        store.import_log("git", history.path, last=2)
        found = [event.fact.sha for event in store.events.read("repo", types=["COMMITTED"])
                 if isinstance(event.fact, Committed)]  # fmt: skip
        assert found == shas(history)[-2:]
        with pytest.raises(InputError, match=r"last: needed 1 or more, found 0"):
            store.import_log("git", history.path, "other", last=0)
        with pytest.raises(InputError, match=r"since: needed a time with its zone"):
            store.import_log("git", history.path, "other", since=datetime(2026, 1, 1))  # noqa: DTZ001
        with pytest.raises(InputError, match=r"needed a git history, found 'events'"):
            store.import_log("events", history.path, since=datetime(2026, 1, 1, tzinfo=UTC))
