"""Repositories of every layout are opened as git opens them, and damage is told in a line."""

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backcast.domain.errors import InputError
from backcast.domain.events import Committed, RefsRead
from backcast.engine.history.moments import moment_at
from backcast.engine.history.snapshots import state_at
from backcast.engine.interfaces.views import event_line
from backcast.engine.log import EventStore
from backcast.engine.log.importers import Report, git, git_repository, import_batches
from backcast.engine.memory.import_log import counted, run
from backcast.projections import versions
from tests.oracle import git_says, log_says
from tests.test_git import ENVIRONMENT, Repository, text


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path / "repo")
    for number in range(1, 4):
        repository.write("a.py", f"a = {number}\n")
        repository.write(f"b{number}.py", text(str(number)))
        repository.commit(f"number {number}")
    return repository


@pytest.fixture
def store() -> EventStore:
    return EventStore.open("sqlite://")


def agrees(store: EventStore, task_id: str, repository: Path, format: str = "sha1") -> bool:
    """Return whether the log says what git says at every commit."""
    shas = [e.fact.sha for e in store.read(task_id) if isinstance(e.fact, Committed)]
    states = (state_at(store, versions, task_id, moment_at(store, task_id, f"commit:{sha}"))
              for sha in shas)  # fmt: skip
    says = [log_says(store, state, format) for state in states]
    return len(says) > 0 and says == [git_says(repository, sha) for sha in shas]


# Layouts


def test_the_same_history_comes_from_each_of_its_places(
    repository: Repository, store: EventStore, tmp_path: Path
) -> None:
    (repository.path / "inside").mkdir()
    repository.git("clone", "--quiet", "--bare", ".", "../bare.git")
    repository.git("clone", "--quiet", "--shared", ".", "../borrowing")
    repository.git("worktree", "add", "--quiet", "../linked")
    repository.git("clone", "--quiet", "--separate-git-dir=../apart", ".", "../parted")
    (tmp_path / "by-link").symlink_to(repository.path, target_is_directory=True)
    places = ("repo", "repo/.git", "repo/inside", "bare.git", "borrowing", "linked", "linked/.git",
              "apart", "parted", "parted/.git", "by-link")  # fmt: skip
    for number, place in enumerate(places):
        assert counted("git", tmp_path / place) == 3
        report = run(store, "git", tmp_path / place, f"t{number}", outlines=False)
        assert report.skipped == []
        assert agrees(store, f"t{number}", tmp_path / "bare.git")
        inside = [note for note in report.notes if "lies in" in note]
        assert len(inside) == (place == "repo/inside")


def test_a_repository_with_longer_names_is_imported(store: EventStore, tmp_path: Path) -> None:
    path = tmp_path / "long"
    command = ["git", "init", "--quiet", "--object-format=sha256", str(path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this git knows no sha256")
    repository = Repository.__new__(Repository)
    repository.path, repository.clock = path, 1_700_000_000
    repository.write("a.py", text("a"))
    repository.commit()
    repository.git("mv", "a.py", "b.py")
    sha = repository.commit()
    run(store, "git", path)
    assert len(sha) == 64
    assert agrees(store, "long", path, "sha256")


def test_folders_with_odd_names_name_a_task(repository: Repository, store: EventStore) -> None:
    for name in (b"caf\xe9", b"new\nline", b"-n", b"a:b;c"):
        place = Path(os.fsdecode(os.path.join(os.fsencode(repository.path.parent), name)))
        repository.path.rename(place)
        repository.path = place
        report = run(store, "git", place, outlines=False)
        assert list(report.tasks) == [name.decode(errors="backslashreplace")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("trusted", ["*", "{path}", "by system", "by variable", "no"])
def test_what_git_opens_for_its_user_is_opened(
    trusted: str,
    repository: Repository,
    store: EventStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for folder, _, _ in os.walk(repository.path):
        os.chown(folder, 12345, 12345)
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "SUDO_UID"):
        monkeypatch.delenv(name, raising=False)
    value = trusted.format(path=repository.path) if trusted in ("*", "{path}") else "*"
    text = f"[safe]\n\tdirectory = {value}\n[log]\n\tdiffMerges = off\n"
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "system"))
    if trusted == "by system":
        (tmp_path / "system").write_text(text)
    elif trusted == "by variable":
        for name, word in (("COUNT", "1"), ("KEY_0", "safe.directory"), ("VALUE_0", "*")):
            monkeypatch.setenv(f"GIT_CONFIG_{name}", word)
    elif trusted != "no":
        (tmp_path / "home/.gitconfig").write_text(text)
    if trusted == "no":
        with pytest.raises(InputError, match="dubious ownership") as refused:
            counted("git", repository.path)
        assert "; to trust it: git config --global --add safe.directory" in str(refused.value)
        assert "\n" not in str(refused.value)
    else:
        assert run(store, "git", repository.path, outlines=False).added > 6
        assert agrees(store, "repo", repository.path) or trusted == "by variable"


# What is not followed, and said


def test_replaced_and_grafted_history_is_read_as_committed_and_said(
    repository: Repository, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = repository.git("rev-parse", "HEAD~2", "HEAD~1").split()
    repository.git("replace", second, first)
    (repository.path / ".git/info/grafts").write_text(f"# a comment\n{second}\n")
    assert counted("git", repository.path) == 3
    report = run(store, "git", repository.path, outlines=False)
    assert report.notes == [
        "the history is read as it was committed: 1 replaced objects (refs/replace) and"
        " 1 grafts (info/grafts) are not followed"
    ]
    monkeypatch.setenv("GIT_NO_REPLACE_OBJECTS", "1")  # for git's own answers
    assert agrees(store, "repo", repository.path)


def test_nothing_is_fetched_into_a_partial_clone(
    repository: Repository, store: EventStore, tmp_path: Path
) -> None:
    repository.git("config", "uploadpack.allowFilter", "true")
    url = f"file://{repository.path}"
    repository.git("clone", "--quiet", "--no-checkout", "--filter=blob:none", url, "../partial")
    clone = tmp_path / "partial"
    trap = f"ext::touch {tmp_path}/fetched"
    for key, value in (("remote.origin.url", trap), ("protocol.ext.allow", "always")):
        subprocess.run(["git", "-C", str(clone), "config", key, value], check=True)
    report = run(store, "git", clone, outlines=False)
    assert not (tmp_path / "fetched").exists()
    assert report.notes == ["a partial clone: objects that are not here are not fetched"]
    assert len(report.skipped) == 6
    assert all("the repository lacks it" in line for line in report.skipped)


# Damage


def damaged(repository: Repository, name: str, content: bytes | None) -> str:
    """Overwrite the file of an object, or remove it, and return the object's name."""
    oid = repository.git("rev-parse", name)
    file = repository.path / ".git/objects" / oid[:2] / oid[2:]
    file.chmod(0o644)
    file.unlink() if content is None else file.write_bytes(content)
    return oid


@pytest.mark.parametrize("content", [None, b"", b"junk", b"x\x9c\x4b"], ids=str)
def test_a_file_that_cannot_be_read_is_left_out_by_name(
    content: bytes | None, repository: Repository, store: EventStore
) -> None:
    oid = damaged(repository, "HEAD~1:a.py", content)
    report = run(store, "git", repository.path, outlines=False)
    assert len(report.skipped) == 1
    assert report.skipped[0].startswith("a.py at ")
    assert oid in report.skipped[0]
    modules = versions.latest(state_at(store, versions, "repo"))
    assert set(modules) == {"a.py", "b1.py", "b2.py", "b3.py"}
    assert all(head.source for head in modules.values())


@pytest.mark.parametrize("content", [None, b"", b"junk"], ids=str)
def test_a_tree_that_cannot_be_read_ends_the_history_before_it(
    content: bytes | None, repository: Repository, store: EventStore
) -> None:
    tree = damaged(repository, "HEAD~1^{tree}", content)
    first = repository.git("rev-parse", "HEAD~2")
    report = run(store, "git", repository.path, outlines=False)
    [line] = report.skipped
    assert line.startswith(f"the history after commit {first[:12]}: git: ")
    assert tree in line
    assert [e.fact.sha for e in store.read("repo") if isinstance(e.fact, Committed)] == [first]


@pytest.mark.parametrize("content", [None, b"", b"junk"], ids=str)
@pytest.mark.parametrize("name", ["HEAD", "HEAD~1", "HEAD~2", "HEAD~2^{tree}"])
def test_a_history_that_cannot_be_begun_is_refused_in_a_line(
    name: str, content: bytes | None, repository: Repository, store: EventStore
) -> None:
    damaged(repository, name, content)
    with pytest.raises(InputError) as refused:
        run(store, "git", repository.path, outlines=False)
    assert str(refused.value).startswith(f"{repository.path}: git: ")
    assert "\n" not in str(refused.value)
    assert list(store.read("repo")) == []


@pytest.mark.parametrize(
    ("file", "content", "found"),
    [
        ("HEAD", "ref: refs/heads/none\n", "needed a commit at HEAD, found 'ref: refs/heads/none'"),
        ("HEAD", "what\n", "git: not a git repository"),
        ("HEAD", "", "git: not a git repository"),
        ("refs/heads/main", "what\n", "needed a commit at HEAD, found 'ref: refs/heads/main'"),
        ("refs/heads/main", "", "needed a commit at HEAD, found 'ref: refs/heads/main'"),
        ("refs/heads/main", f"{'1' * 40}\n", "git: bad object 1111"),
        ("config", "[core\n", "git: bad config line 1 in file"),
        ("config", "[core]\n\tworktree = /nowhere/at/all\n", ""),
        ("objects/info/alternates", "/nowhere\n", ""),
        ("packed-refs", "what\n", "git: unexpected line in .*packed-refs: what"),
        ("shallow", "what\n", "git: bad shallow line: what"),
    ],
)
def test_a_damaged_repository_is_refused_in_a_line(
    file: str, content: str, found: str, repository: Repository, store: EventStore
) -> None:
    repository.git("branch", "spare") if "none" in content else None
    (repository.path / ".git" / file).write_text(content)
    if not found:
        run(store, "git", repository.path, outlines=False)
        assert len([e for e in store.read("repo") if isinstance(e.fact, Committed)]) == 3
        return
    with pytest.raises(InputError, match=found) as refused:
        counted("git", repository.path)
    assert "\n" not in str(refused.value)


def test_a_branch_that_is_called_head_is_not_head(
    repository: Repository, store: EventStore
) -> None:
    repository.git("update-ref", "refs/heads/HEAD", "HEAD~2")
    repository.git("update-ref", "refs/tags/HEAD", "HEAD~1")
    run(store, "git", repository.path, outlines=False)
    [refs] = [e.fact.refs for e in store.read("repo") if isinstance(e.fact, RefsRead)]
    assert refs["HEAD"] == refs["main"]


def test_a_git_that_is_not_there_is_told(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="needed git, found no such program on PATH"):
        counted("git", repository.path)


def test_a_program_in_the_repository_is_not_taken_for_git(
    repository: Repository, store: EventStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (repository.path, repository.path / ".git"):
        (folder / "git").write_text(f"#!/bin/sh\ntouch {tmp_path}/trapped\n")
        (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f".::{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    assert run(store, "git", repository.path, outlines=False).skipped == []
    assert not (tmp_path / "trapped").exists()


# Dates and names as commits hold them

PEOPLE = {
    "odd zone": (b"A <a@b.c> 1600000000 +051800", "2020-10-05T02:26:40+518:00", "A"),
    "no zone": (b"A <a@b.c> 1600000000", "1600000000", "A"),
    "before 1970": (b"A <a@b.c> -86400 +0000", "-86400 +0000", "A"),
    "no date": (b"A <a@b.c>", "", "A"),
    "no number": (b"A <a@b.c> soon +0000", "soon +0000", "A"),
    "huge": (b"A <a@b.c> 99999999999999999999 +0000", "99999999999999999999 +0000", "A"),
    "far": (b"A <a@b.c> 4000000000000 +0000", "128724-12-15T07:06:40+00:00", "A"),
    "no name": (b" <> 1600000000 +0000", "2020-09-13T12:26:40+00:00", ""),
    "no address": (b"A 1600000000 +0000", "1600000000 +0000", "A"),
    "utc": (b"A <a@b.c> 1600000000 +0000", "2020-09-13T12:26:40+00:00", "A"),
    "latin": (b"Andr\xe9 <a@b.c> 1600000000 +0000", "2020-09-13T12:26:40+00:00", "Andr\\xe9"),
}


@pytest.mark.parametrize("name", PEOPLE)
def test_a_commit_that_git_can_hardly_read_comes_with_its_own_words(
    name: str, repository: Repository, store: EventStore
) -> None:
    person, date, author = PEOPLE[name]
    tree, parent = repository.git("rev-parse", "HEAD^{tree}"), repository.git("rev-parse", "HEAD")
    when = b"C <c@d.e> 1700001000 +0000"
    body = b"tree %s\nparent %s\nauthor %s\ncommitter %s\n\nodd\n" % (
        tree.encode(), parent.encode(), person, when,
    )  # fmt: skip
    command = ["git", "hash-object", "-t", "commit", "--literally", "-w", "--stdin"]
    done = subprocess.run(
        command, input=body, cwd=repository.path, env=ENVIRONMENT, capture_output=True, check=True
    )
    repository.git("update-ref", "HEAD", done.stdout.decode().strip())
    repository.write("after.py", "1\n")
    repository.commit()
    run(store, "git", repository.path, outlines=False)
    *_, odd, last = [e for e in store.read("repo") if isinstance(e.fact, Committed)]
    assert isinstance(odd.fact, Committed)
    assert (odd.fact.authored_at, odd.writer) == (date, author)
    assert odd.fact.committed_at == "2023-11-14T22:30:00+00:00"
    assert last.timestamp.timestamp() == repository.clock or odd.timestamp == last.timestamp
    assert last.timestamp.year == 2023


# Wild dates


def test_a_wild_date_spoils_no_later_one_and_is_counted(
    repository: Repository, store: EventStore
) -> None:
    before = repository.clock
    repository.clock = 4_733_510_400
    repository.write("wild.py", "1\n")
    sha = repository.commit("from 2120")
    repository.clock = before + 86_400
    repository.write("later.py", "2\n")
    repository.commit("later")
    report = run(store, "git", repository.path)
    assert [note for note in report.notes if "wild" in note] == [
        "wild times: 1 commit takes its committer date or the time of the one before it:"
        f" {sha[:7]} (2120-01-01T01:01:00+01:00)"
    ]
    state = state_at(store, versions, "repo", moment_at(store, "repo", "2023-12-01"))
    assert set(versions.latest(state)) == {"a.py", "b1.py", "b2.py", "b3.py", "wild.py", "later.py"}
    [wild] = [e for e in store.read("repo") if getattr(e.fact, "sha", None) == sha]
    assert wild.timestamp.timestamp() == before
    assert wild.fact.data["authored_at"] == "2120-01-01T01:01:00+01:00"
    line = event_line(wild)
    assert f" {sha[:12]} from 2120 dated 2120-01-01T01:01:00+01:00  Ann" in line
    assert run(store, "git", repository.path).notes == []


def test_a_history_with_wild_dates_comes_alike_in_parts_and_at_once(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repo")
    years = (2015, 2120, 2120, 2016, 2040, 1970, 2017, 2036, 2018, 2031, 2031, 2032)
    now = datetime(2035, 1, 1, tzinfo=UTC)
    parts, shas = EventStore.open("sqlite://"), []

    def take(store: EventStore) -> None:
        report = Report()
        import_batches(store, "git", git.read(repository.path, "t", store, report, now), report)

    for number, year in enumerate(years):
        repository.clock = int(datetime(year, 1, 1 + number, tzinfo=UTC).timestamp())
        repository.write(f"f{number}.py", f"{number}\n")
        shas.append(repository.commit())
        take(parts)
    at_once = EventStore.open("sqlite://")
    take(at_once)
    code = ["COMMITTED", "MODULE_ITERATION"]
    given = [
        [(e.timestamp, e.fact, e.writer) for e in store.read("t", types=code)]
        for store in (parts, at_once)
    ]
    assert given[0] == given[1]
    commits = [e for e in at_once.read("t") if isinstance(e.fact, Committed)]
    found = [e.timestamp.year for e in commits]
    assert found == [2015, 2015, 2015, 2016, 2016, 2016, 2017, 2017, 2018, 2018, 2031, 2032]


def test_renames_beside_a_missing_object_come_alike_in_parts_and_at_once(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repo")
    for name in "abc":
        repository.write(f"{name}.py", text(name))
    repository.commit()
    oid = repository.git("rev-parse", "HEAD:b.py")
    shas = []
    for name in "abc":  # each renamed with a change, for which git compares the contents
        repository.git("mv", f"{name}.py", f"new-{name}.py")
        repository.write(f"new-{name}.py", text(name) + "more\n")
        shas.append(repository.commit(name))
    (repository.path / ".git/objects" / oid[:2] / oid[2:]).unlink()
    parts, at_once = EventStore.open("sqlite://"), EventStore.open("sqlite://")
    for sha in shas:
        repository.git("update-ref", "HEAD", sha)
        run(parts, "git", repository.path, outlines=False)
    report = run(at_once, "git", repository.path, outlines=False)
    code = ["COMMITTED", "MODULE_ITERATION", "MODULE_RENAMED", "MODULE_DELETED"]
    facts = [[(e.type, e.fact) for e in store.read("repo", types=code)]
             for store in (parts, at_once)]  # fmt: skip
    assert facts[0] == facts[1]
    renamed = [e.fact.data["module_name"] for e in at_once.read("repo", types=["MODULE_RENAMED"])]
    assert renamed == ["new-a.py", "new-c.py"]
    assert report.notes == [
        "objects are missing: for 1 commit only renames with equal content are recognised"
    ]


def test_a_git_file_that_leads_elsewhere_is_followed_and_noted(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path / "real"], check=True)
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.org")
    commit = ("commit", "-qm", "begin", "--allow-empty")
    subprocess.run(["git", "-C", tmp_path / "real", *who, *commit], check=True)
    (tmp_path / "lone").mkdir()
    (tmp_path / "lone/.git").write_text(f"gitdir: {tmp_path}/real/.git\n")
    found = git_repository.opened(tmp_path / "lone")
    assert found.notes({}) == [
        f"{tmp_path}/lone/.git is a file that leads to {tmp_path}/real/.git: that is read"
    ]
    assert git_repository.opened(tmp_path / "real").notes({}) == []
