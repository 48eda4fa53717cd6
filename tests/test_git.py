"""A git history as a task: what the log says is what git says."""

import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from backcast.domain.errors import InputError, MomentError
from backcast.domain.events import (
    Committed,
    ModuleIteration,
    ModuleRenamed,
    RefsRead,
)
from backcast.engine.history.address import parse
from backcast.engine.history.moments import moment_at
from backcast.engine.history.snapshots import state_at
from backcast.engine.interfaces.addresses import require
from backcast.engine.log import EventStore
from backcast.engine.log.importers.events import export_lines
from backcast.engine.memory.import_log import run
from backcast.projections import versions
from tests.oracle import differences, git_says, log_says

HERE = Path(__file__).parents[1]
ENVIRONMENT = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.org",
}


class Repository:
    """A git repository that a test writes."""

    def __init__(self, path: Path) -> None:
        self.path, self.clock = path, 1_700_000_000
        path.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str, author: str = "Ann") -> str:
        when = f"@{self.clock} +0100"
        ours = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when, "GIT_AUTHOR_NAME": author}
        command = ["git", "-c", "protocol.file.allow=always", *arguments]
        done = subprocess.run(
            command, cwd=self.path, env=ENVIRONMENT | ours, capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    def write(self, name: str | bytes, content: str | bytes) -> None:
        path = os.path.join(os.fsencode(self.path), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)

    def commit(self, message: str = "change", author: str = "Ann") -> str:
        self.clock += 60
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message, author=author)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repo")


@pytest.fixture
def store() -> EventStore:
    return EventStore.open("sqlite://")


def text(word: str) -> str:
    return "".join(f"{word} line {n}\n" for n in range(30))


def odd_history(repository: Repository) -> None:
    """Everything that a file in git can be, and everything that can become of it."""
    repository.write("a.py", text("a"))
    repository.write("b.py", text("b"))
    repository.write("dir/c.py", text("c"))
    repository.write("binary", bytes(range(256)))
    repository.write(b"caf\xe9.py", b"# latin-1: \xe9\n")
    repository.write("new\nline.py", "x = 1\n")
    repository.write("empty", "")
    (repository.path / "link").symlink_to("a.py")
    repository.commit("everything at once")
    repository.git("mv", "a.py", "renamed.py")
    repository.commit("an exact rename")
    repository.write("moved.py", text("b") + "one more\n")
    (repository.path / "b.py").unlink()
    repository.commit("a rename with a change")
    repository.write("renamed.py", text("b"))
    repository.write("moved.py", text("a"))
    repository.commit("a swap")
    (repository.path / "moved.py").rename(repository.path / "moved2.py")
    (repository.path / "renamed.py").rename(repository.path / "moved.py")
    repository.commit("a chain of renames")
    (repository.path / "moved2.py").chmod(0o755)
    repository.commit("a mode only")
    (repository.path / "link").unlink()
    repository.write("link/inside.py", "y = 2\n")
    repository.commit("a link becomes a folder")
    repository.commit("nothing at all")
    repository.git("checkout", "--quiet", "-b", "side", "HEAD~3")
    repository.write("side.py", "z = 3\n")
    repository.commit("on a branch", author="Bob")
    repository.git("checkout", "--quiet", "main")
    repository.write("dir/c.py", text("c") + "more\n")
    repository.commit("meanwhile")
    repository.git("merge", "--quiet", "--no-ff", "-m", "merge side", "side")
    (repository.path / "dir/c.py").unlink()
    repository.commit("a deletion")
    repository.write("dir/c.py", text("c"))
    repository.commit("it comes back")


def test_at_every_commit_the_log_says_what_git_says(
    repository: Repository, store: EventStore
) -> None:
    odd_history(repository)
    run(store, "git", repository.path)
    shas = repository.git("rev-list", "--first-parent", "HEAD").split()
    assert len(shas) == 12
    for sha in shas:
        moment = moment_at(store, "repo", f"commit:{sha}")
        state = state_at(store, versions, "repo", moment)
        assert log_says(store, state) == git_says(repository.path, sha)


def test_at_random_commits_of_this_repository_the_log_says_what_git_says(
    store: EventStore,
) -> None:
    if not (HERE / ".git").exists():
        pytest.skip("this copy of the project has no git history")
    run(store, "git", HERE, "backcast", outlines=False)
    assert differences(store, HERE, "backcast", 50) == []


def test_a_submodule_is_a_module_without_a_source(
    repository: Repository, store: EventStore, tmp_path: Path
) -> None:
    other = Repository(tmp_path / "other")
    other.write("x.py", "x = 1\n")
    inner = other.commit()
    repository.git("submodule", "--quiet", "add", str(other.path), "vendored")
    sha = repository.commit()
    run(store, "git", repository.path)
    [fact] = [e.fact for e in store.read("repo") if e.fact.data.get("mode") == "160000"]
    assert fact.data["submodule"] == inner
    state = state_at(store, versions, "repo")
    assert log_says(store, state) == git_says(repository.path, sha)


def test_importing_twice_adds_nothing(repository: Repository, store: EventStore) -> None:
    odd_history(repository)
    first = run(store, "git", repository.path)
    again = run(store, "git", repository.path)
    assert first.added > 20
    assert (again.added, again.skipped) == (0, [])


def told(store: EventStore) -> list[object]:
    """What a log tells of the code, by whom, when, and because of what."""
    events = {event.version: event for event in store.read("repo")}
    return [
        (one.fact, one.timestamp, one.writer, [events[cause].fact for cause in one.because])
        for one in events.values()
        if not isinstance(one.fact, RefsRead)
    ]


def test_a_history_that_grew_adds_only_what_is_new_and_ends_as_if_imported_at_once(
    repository: Repository, store: EventStore
) -> None:
    repository.write("a.py", text("a"))
    repository.commit()
    run(store, "git", repository.path)
    repository.git("mv", "a.py", "b.py")
    repository.commit()
    repository.write("b.py", text("b"))
    repository.commit()
    run(store, "git", repository.path)
    at_once = EventStore.open("sqlite://")
    run(at_once, "git", repository.path)
    assert told(store) == told(at_once)


def test_a_rewritten_history_is_refused(repository: Repository, store: EventStore) -> None:
    for text_of_a in ("1\n", "2\n"):
        repository.write("a.py", text_of_a)
        repository.commit()
    run(store, "git", repository.path)
    repository.git("commit", "--quiet", "--amend", "-m", "another")
    with pytest.raises(InputError, match=r"the last of task 'repo', .*was it rewritten\?"):
        run(store, "git", repository.path)


def test_another_repository_of_the_same_folder_name_is_said_to_be_one(
    repository: Repository, store: EventStore, tmp_path: Path
) -> None:
    repository.write("a.py", "1\n")
    repository.commit()
    run(store, "git", repository.path)
    (tmp_path / "elsewhere").mkdir()
    other = Repository(tmp_path / "elsewhere" / repository.path.name)
    other.write("b.py", "1\n")
    other.commit("not the same")
    with pytest.raises(InputError, match=r"task 'repo' holds another history: .*--as NAME"):
        run(store, "git", other.path)


def test_a_rename_says_so_and_goes_on_counting(repository: Repository, store: EventStore) -> None:
    repository.write("a.py", text("a"))
    repository.commit()
    repository.git("mv", "a.py", "b.py")
    repository.commit()
    run(store, "git", repository.path)
    [renamed] = [e.fact for e in store.read("repo", types=["MODULE_RENAMED"])]
    assert isinstance(renamed, ModuleRenamed)
    assert (renamed.previous_name, renamed.module_name, renamed.iteration) == ("a.py", "b.py", 2)
    assert list(versions.latest(state_at(store, versions, "repo"))) == ["b.py"]


def test_who_and_when_come_from_the_commit(repository: Repository, store: EventStore) -> None:
    repository.write("a.py", "1\n")
    repository.commit(author="Bob")
    run(store, "git", repository.path)
    head = versions.latest(state_at(store, versions, "repo"))["a.py"]
    assert (head.writer, head.timestamp.timestamp()) == ("Bob", repository.clock)


def test_an_author_date_before_the_parents_is_raised_to_it_and_kept_as_it_was(
    repository: Repository, store: EventStore
) -> None:
    repository.write("a.py", "1\n")
    repository.commit()
    first = repository.clock
    repository.clock -= 100_000
    repository.write("a.py", "2\n")
    repository.commit()
    run(store, "git", repository.path)
    *_, last = store.read("repo", types=["COMMITTED"])
    assert last.timestamp.timestamp() == first
    assert last.fact.data["authored_at"] == "2023-11-13T19:28:40+01:00"


def test_an_object_that_is_missing_is_told_and_the_import_goes_on(
    repository: Repository, store: EventStore
) -> None:
    repository.write("a.py", text("a"))
    repository.write("large.bin", "large\n" * 100)
    repository.commit()
    oid = repository.git("rev-parse", "HEAD:large.bin")
    repository.write("b.py", text("a") + "more\n")
    repository.write("large.bin", "small\n")
    sha = repository.commit()
    (repository.path / ".git/objects" / oid[:2] / oid[2:]).unlink()
    report = run(store, "git", repository.path)
    assert len(report.skipped) == 1
    assert oid in report.skipped[0]
    state = state_at(store, versions, "repo")
    assert log_says(store, state) == git_says(repository.path, sha)
    assert run(store, "git", repository.path).added == 0


def test_a_moment_is_named_by_a_commit(repository: Repository, store: EventStore) -> None:
    repository.write("a.py", "1\n")
    first = repository.commit()
    repository.write("b.py", "2\n")
    second = repository.commit()
    run(store, "git", repository.path)

    def modules(when: str) -> list[str]:
        moment = moment_at(store, "repo", when)
        return list(versions.latest(state_at(store, versions, "repo", moment)))

    assert modules(f"commit:{first}") == ["a.py"]
    assert modules(f"commit:{second[:8]}") == ["a.py", "b.py"]
    assert modules(f"before:commit:{second}") == ["a.py"]
    assert modules(f"before:commit:{first}") == []
    with pytest.raises(
        MomentError, match="found no '0123456789'; a history follows first parents: if git has it"
    ):
        modules("commit:0123456789")


def test_an_exported_history_knows_its_commits_and_goes_on_in_another_store(
    repository: Repository, store: EventStore, tmp_path: Path
) -> None:
    repository.write("a.py", "1\n")
    first = repository.commit()
    repository.git("tag", "v1.0")
    repository.write("b.py", "2\n")
    second = repository.commit()
    run(store, "git", repository.path)
    exported = tmp_path / "exported.jsonl"
    exported.write_text("".join(f"{line}\n" for line in export_lines(store, "repo")))

    with EventStore.open(f"sqlite:///{tmp_path}/other.db") as other:
        run(other, "events", exported)
        for name in (first, first[:7], first.upper(), "v1.0", second, "HEAD", "main"):
            for when in (f"commit:{name}", f"before:commit:{name}"):
                assert moment_at(other, "repo", when) == moment_at(store, "repo", when)
        repository.write("c.py", "3\n")
        third = repository.commit()
        run(other, "git", repository.path)  # its ids stand beside commits that have none
        assert moment_at(other, "repo", f"commit:{first}") == moment_at(
            store, "repo", "commit:v1.0"
        )
        assert moment_at(other, "repo", "commit:HEAD") == moment_at(
            other, "repo", f"commit:{third}"
        )


def test_a_commit_goes_by_the_names_that_it_had_at_the_last_import(
    repository: Repository, store: EventStore
) -> None:
    repository.write("a.py", "1\n")
    first = repository.commit()
    repository.git("tag", "-am", "first", "v1.0")
    run(store, "git", repository.path)
    repository.write("a.py", "2\n")
    second = repository.commit()

    def sha_of(name: str) -> str:
        moment = moment_at(store, "repo", f"commit:{name}")
        shas = [event.fact.sha for event in store.read("repo", moment=moment)
                if isinstance(event.fact, Committed)]  # fmt: skip
        return shas[-1]

    assert sha_of("HEAD") == sha_of("v1.0") == first
    report = run(store, "git", repository.path)
    assert report.added == 4  # the commit, its module, what is in it, the names of commits
    assert (sha_of("HEAD"), sha_of("main"), sha_of("v1.0")) == (second, second, first)
    assert run(store, "git", repository.path).added == 0
    repository.git("checkout", "-q", "-b", "side", first)
    repository.write("b.py", "3\n")
    aside = repository.commit()
    repository.git("checkout", "-q", "main")
    run(store, "git", repository.path)
    with pytest.raises(MomentError, match=f"'side' is {aside[:12]}, which is not on its line"):
        sha_of("side")
    with pytest.raises(MomentError, match=r"names that are there: v1\.0; others go by 4 or more"):
        sha_of("v1.1")
    asked = f"'git rev-list --first-parent --ancestry-path {aside[:8]}..HEAD | tail -1' prints the"
    with pytest.raises(MomentError, match=re.escape(asked)):
        sha_of(aside[:8])
    with pytest.raises(MomentError, match=r"HEAD; .* SHA, which 'git rev-parse HEAD~5' prints"):
        sha_of("HEAD~5")
    meant = {"HEAD": "HEAD", "v1.0": "v1.0", second[:8]: second[:8], "1.0": "v1.0", "mian": "main"}
    for typed, name in meant.items():
        hint = re.escape(f"; did you mean commit:{name}?")
        with pytest.raises(MomentError, match=f"behind repo@, .*{hint}"):
            require(store, parse(f"repo@{typed}"))
    with pytest.raises(MomentError, match=r"behind repo@, found 'soon'$"):
        require(store, parse("repo@soon"))


def test_a_shallow_clone_is_imported_and_told(
    repository: Repository, store: EventStore, tmp_path: Path
) -> None:
    for n in range(3):
        repository.write("a.py", f"{n}\n")
        repository.commit()
    repository.git("clone", "--quiet", "--depth=1", f"file://{repository.path}", "../shallow")
    report = run(store, "git", tmp_path / "shallow")
    assert report.added == 5  # a commit, the importer, a module, its outline, the names
    assert "shallow" in report.notes[0]


@pytest.mark.parametrize("kind", ["no commits", "no repository", "nothing"])
def test_what_is_no_history_is_one_clear_error(
    kind: str, store: EventStore, tmp_path: Path
) -> None:
    if kind == "no commits":
        Repository(tmp_path / "x")
    elif kind == "no repository":
        (tmp_path / "x").mkdir()
    with pytest.raises(InputError) as caught:
        run(store, "git", tmp_path / "x")
    assert "\n" not in str(caught.value)
    assert {"no commits": "no commits yet", "no repository": "not a git", "nothing": "no such"}[
        kind
    ] in str(caught.value)


def test_many_files_in_one_commit_do_not_fill_the_pipes(
    repository: Repository, store: EventStore
) -> None:
    for n in range(1500):
        repository.write(f"f{n}.py", f"{n}\n" * 200)
    sha = repository.commit()
    run(store, "git", repository.path)
    assert log_says(store, state_at(store, versions, "repo")) == git_says(repository.path, sha)


def test_nothing_that_the_repository_configures_is_run(
    repository: Repository, store: EventStore, tmp_path: Path
) -> None:
    trap = f"touch {tmp_path}/trapped;"
    for key in ("core.fsmonitor", "diff.external", "core.pager", "core.sshCommand"):
        repository.git("config", key, trap)
    repository.git("config", "diff.x.textconv", trap)
    repository.write(".gitattributes", "*.py diff=x\n")
    repository.write("a.py", "1\n")
    subprocess.run(
        ["git", "-c", "core.fsmonitor=false", "add", "--all"],
        cwd=repository.path, env=ENVIRONMENT, check=True,
    )  # fmt: skip
    subprocess.run(
        ["git", "-c", "core.fsmonitor=false", "commit", "--quiet", "-m", "x"],
        cwd=repository.path, env=ENVIRONMENT, check=True,
    )  # fmt: skip
    (tmp_path / "trapped").unlink(missing_ok=True)
    run(store, "git", repository.path)
    assert not (tmp_path / "trapped").exists()
    assert [e.fact for e in store.read("repo") if isinstance(e.fact, ModuleIteration)]


def test_a_commit_that_is_ambiguous_names_those_that_it_may_be(
    repository: Repository, store: EventStore
) -> None:
    stream = "".join(
        f"commit refs/heads/main\ncommitter A <a@b.c> {1_700_000_000 + n} +0000\ndata 1\nx\n"
        for n in range(600)
    )
    subprocess.run(["git", "-C", str(repository.path), "fast-import", "--quiet", "--force"],
                   input=stream, text=True, check=True)  # fmt: skip
    run(store, "git", repository.path)
    shas = sorted(repository.git("rev-list", "main").split())
    first, second = next(pair for pair in pairwise(shas) if pair[0][:4] == pair[1][:4])
    with pytest.raises(MomentError) as refused:
        moment_at(store, "repo", f"commit:{first[:4]}")
    assert str(refused.value) == (
        f"task 'repo': needed one commit, found several that begin with {first[:4]!r}:"
        f" {first[:10]}, {second[:10]}"
    )
