"""The demo tells its story in few lines, and fails where a proof does."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from scripts import demo
from tests.test_git import Repository, odd_history

SECTIONS = [f"# {number}." for number in range(1, 9)]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with everything that git can hold: a submodule and an object it lacks, too."""
    repository = Repository(tmp_path / "shop")
    odd_history(repository)
    other = Repository(tmp_path / "other")
    other.write("x.py", "x = 1\n")
    other.commit()
    repository.git("submodule", "--quiet", "add", str(other.path), "vendored")
    repository.commit("a submodule")
    return repository


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo writes into a folder of the test, which has the fixtures beside it."""
    (tmp_path / "fixtures").symlink_to(demo.FOLDER.parent / "fixtures")
    monkeypatch.setattr(demo, "FOLDER", tmp_path / ".demo")
    monkeypatch.setenv("BACKCAST_STORE", "sqlite:////nowhere/of-the-user.db")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("core", [False, True])
def test_the_story_is_short_and_proven_and_its_store_is_made_anew_in_its_folder(
    core: bool,
    tmp_path: Path,
    repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if core:  # there is more to tell: no tokenizer, and an object that the repository lacks
        monkeypatch.setitem(sys.modules, "mistral_common", None)
        oid = repository.git("rev-parse", "HEAD:dir/c.py")
        (repository.path / ".git/objects" / oid[:2] / oid[2:]).unlink()
    (tmp_path / ".demo").mkdir()
    (tmp_path / ".demo/backcast.db").write_text("of another version")
    demo.main(Path("shop"))
    assert (tmp_path / ".demo/out/validators/validators.py").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".demo",
        "fixtures",
        "other",
        "shop",
    ]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 75
    assert max(map(len, lines)) <= 100
    assert [line[:4] for line in lines if line.startswith("# ") and line[3:4] == "."] == SECTIONS
    for line in (
        "all tests            19 of 19 passed",
        "# Errors",
        "complete",
        "  errors 5 -> 0",
        "5 prompts, 0 failed",
        "4 prompts, 0 failed; 4 are of another program, and only rebuilt",
        "$ backcast import git ../shop --as history",
        "These 8 files are those that git has there, by name and content.",
    ):
        assert line in lines
    assert any(line.startswith("failure:30.1 is in recent errors, signature") for line in lines)
    [regression] = [line for line in lines if line.startswith("REGRESSION")]
    assert "evidence recall fell by 28.6 points, from 100.0 % to 71.4 %" in regression
    after = lines.index("$ backcast map show history")
    assert any(line.startswith("[") for line in lines[after:])


def test_a_history_of_one_commit_has_no_map_and_proves_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = Repository(tmp_path / "short")
    short.write("a b.txt", "one\n")
    short.commit()
    demo.begin()
    demo.tell_of_a_history(short.path)
    out = capsys.readouterr().out
    assert "These 1 files are those that git has there, by name and content.\n" in out
    assert "backcast: no run of task history that changes code is left to be read" in out
    assert "map show" not in out


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("POLICY", 'name = "forget"\n', "needed exit code 1, found 0"),
        ("POLICY", 'name = "forget"\nomissions = "few"\n', "needed exit code 0, found 2"),
    ],
)
def test_where_a_proof_fails_the_demo_does(
    name: str, value: object, message: str, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, name, value)
    with pytest.raises(SystemExit) as end:
        demo.main(repository.path)
    assert message in str(end.value)  # a text: the exit code is 1


def test_where_git_has_other_files_the_demo_fails(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "files", lambda *_: {"a.py": "another"})
    demo.begin()
    with pytest.raises(SystemExit, match="git differs at commit:"):
        demo.tell_of_a_history(repository.path)


def test_git_is_read_at_every_commit_with_all_that_it_holds(repository: Repository) -> None:
    def sizes(found: Mapping[str, str]) -> set[int]:
        return set(map(len, found.values()))

    found = demo.files(repository.path, "HEAD")
    assert found["vendored"] == ""
    assert sizes(found) == {0, 64}
    assert "caf\\xe9.py" in found
    assert "new\nline.py" in found
    oid = repository.git("rev-parse", "HEAD:dir/c.py")
    (repository.path / ".git/objects" / oid[:2] / oid[2:]).unlink()
    assert demo.files(repository.path, "HEAD") == found | {"dir/c.py": ""}


def test_a_command_that_fails_ends_the_demo_with_exit_code_1(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from scripts import demo;"
    code += "demo.FOLDER = Path('.demo').resolve(); demo.begin();"
    code += "demo.tell_of_a_history(Path(sys.argv[1]).resolve())"
    ended = subprocess.run(
        [sys.executable, "-c", code, os.devnull], capture_output=True, text=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert ended.returncode == 1
    assert "$ backcast import git" in ended.stderr.splitlines()[-1]
