"""What if a run had gone on otherwise from a step on? It is forked there, and gone on with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import TaskStarted
from backcast.domain.moment import NOW
from backcast.engine.context.recorded import context_at
from backcast.engine.context.request import Request
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.log.fsck import check
from backcast.engine.replay.verify import verified
from tests.test_git import Repository

HERE = Path(__file__).parents[1]
LOG = HERE / "fixtures/logs/validators.jsonl"
RECORDED = f"answers:{LOG}"


class Ran(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def object(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.out)
        return told


Backcast = Callable[..., Ran]


@pytest.fixture
def backcast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Backcast:
    """Runs a command in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Ran:
        code = 0
        try:
            main([str(one) for one in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        return Ran(code, *capsys.readouterr())

    return run


def prompts(task: str) -> list[tuple[int, ContextBuilt]]:
    with EventStore.open(create=False) as store:
        events = store.read(task, types=["CONTEXT_BUILT"])
        return [(e.version, e.fact) for e in events if isinstance(e.fact, ContextBuilt)]


def digests(task: str) -> list[str | None]:
    return [fact.digest for _, fact in prompts(task)]


def assert_sound(*tasks: str) -> None:
    with EventStore.open(create=False) as store:
        assert list(check(store)) == []
        for task in tasks:
            verdicts = list(verified(store, task))
            assert verdicts
            assert [one for one in verdicts if not one.holds] == []


def rows(task: str) -> list[Any]:
    with EventStore.open(create=False) as store:
        return store.recorder.rows(task, 0, limit=1000)


# Going on otherwise


def test_a_run_is_forked_in_its_middle_and_goes_on_under_another_policy(
    backcast: Backcast,
) -> None:
    backcast("import", "events", LOG)
    before, origin = rows("validators"), digests("validators")
    Path("out/validators").mkdir(parents=True)
    Path("out/validators/validators.py").write_text("# that of the origin\n")
    Path("other.toml").write_text("errors = 0\n")

    ran = backcast("fork", "validators@27")
    assert ran.out == "forked validators before the step of event 27 as validators~1: 25 events\n"
    assert ran.err == (
        "backcast: 'backcast resume validators~1 --policy FILE' goes on from there under another"
        " policy\n"
    )
    ran = backcast("resume", "validators~1", "--policy", "other.toml", "--model", RECORDED)
    assert ran.code == 0, ran.err
    assert ran.out.endswith("complete after 5 answers; the code is in out/validators~1\n")

    branch = digests("validators~1")
    assert [one == other for one, other in zip(branch, origin, strict=True)] == [
        True, True, True, False, False,
    ]  # fmt: skip
    own = [fact for version, fact in prompts("validators~1") if version > 25]
    assert {item.task for fact in own for item in fact.items} == {None}
    assert "validators" in offered_to_another_task("validators.py")
    assert rows("validators") == before
    assert Path("out/validators/validators.py").read_text() == "# that of the origin\n"
    assert_sound("validators", "validators~1")


def offered_to_another_task(path: str) -> set[str]:
    """The tasks whose work another task is shown."""
    profile = MISTRAL_7B_8K._replace(tokenizer="upper-bound").with_context(6000, 12_000)
    with EventStore.open(create=False) as store:
        store.append("another", [TaskStarted(goal="validate addresses")], after=0)
        found = context_at(store, "another", NOW, Request(f"module:{path}"), profile)
    return {item.task for item in found.items if item.task}


@pytest.mark.parametrize(("at", "held"), [(33, 31), (34, 34)])
def test_under_the_same_policy_a_branch_is_asked_the_very_prompts_of_its_origin(
    backcast: Backcast, at: int, held: int
) -> None:
    forked = backcast("fork", f"{LOG}@{at}", "--as", "again", "--json").object
    assert forked == {"task_id": "again", "origin": "validators", "version": held}
    ran = backcast("resume", "again", "--strict", "--model", RECORDED)
    assert ran.code == 0, ran.err
    assert digests("again") == digests("validators")
    assert_sound("again")


def test_a_branch_of_a_run_that_has_ended_has_ended(backcast: Backcast) -> None:
    ran = backcast("fork", LOG)
    assert ran.out == "forked validators at its last event as validators~1: 42 events\n"
    ran = backcast("resume", "validators~1", "--model", RECORDED)
    assert (ran.code, ran.out.splitlines()[-1].startswith("complete after 5")) == (0, True)
    assert Path("out/validators~1/validators.py").exists()


def test_a_recording_of_several_tasks_answers_a_branch_as_its_origin(
    backcast: Backcast, tmp_path: Path
) -> None:
    other = (HERE / "fixtures/logs/till.jsonl").read_text()
    both = tmp_path / "both.jsonl"
    both.write_text(LOG.read_text() + other)
    backcast("fork", f"{LOG}@34")
    ran = backcast("resume", "validators~1", "--model", f"answers:{both}")
    assert ran.code == 0, ran.err


# What it tells


def test_a_log_that_the_store_holds_already_is_not_imported_again(backcast: Backcast) -> None:
    for number in (1, 2):
        ran = backcast("fork", f"{LOG}@13")
        where = "before the step of event 13"
        assert ran.out == f"forked validators {where} as validators~{number}: 11 events\n"
    listed = [json.loads(line) for line in backcast("tasks", "--json").out.splitlines()]
    known = ("task_id", "events", "origin", "version")
    assert [{name: one[name] for name in known if name in one} for one in listed] == [
        {"task_id": "validators", "events": 42},
        {"task_id": "validators~1", "events": 12, "origin": "validators", "version": 11},
        {"task_id": "validators~2", "events": 12, "origin": "validators", "version": 11},
    ]
    first, second, _ = backcast("tasks").out.splitlines()
    assert first.startswith("      42  validators  complete, 5 answers: Build a validator")
    assert second.startswith("      12  validators~1  (branch of validators@11)  ")


def test_of_a_file_with_several_tasks_one_has_to_be_named(
    backcast: Backcast, tmp_path: Path
) -> None:
    both = tmp_path / "both.jsonl"
    both.write_text(LOG.read_text() + LOG.read_text().replace('"validators"', '"others"'))
    ran = backcast("fork", f"{both}@5")
    assert ran.err == (
        f"backcast: {both}: needed {both}#TASK, since the log holds several, found others,"
        " validators\n"
    )
    ran = backcast("fork", f"{both}#nobody@5")
    assert "needed task 'nobody' in it, found others, validators\n" in ran.err
    assert backcast("fork", f"{both}#others@5").code == 0


@pytest.mark.parametrize(
    ("arguments", "complaint", "code"),
    [
        (["@5"], "needed TASK[@WHEN] to fork", 2),
        (["validators@2026-11-20"], "needed an event or a commit to fork at, found a time", 2),
        (["validators@soon"], "commit:SHA or recorded:TIME behind validators@, found 'soon'", 2),
        (["validators@43"], "needed an event from 1 to 42, found", 2),
        (["validators@0"], "needed an event from 1 to 42, found", 2),
        (["nobody@1"], "no task 'nobody' in this store", 2),
        (
            ["validators@1", "--as", "validators"],
            "is in this store already",
            2,
        ),
        (["validators@1", "--as", ""], "needed a task that is not empty", 2),
        (["none.jsonl@1"], "needed a log to import, found nothing", 2),
        (["odd.jsonl@1"], "needed a log that 'backcast export' wrote, found line 2", 2),
        (["empty.jsonl@1"], "needed a log that 'backcast export' wrote, found noth", 2),
        (["other.jsonl@1"], "another event stands at version 1", 2),
        (["validators@1", "--store", "sqlite:///no.db"], "no such store", 2),
    ],
)
def test_what_cannot_be_forked_is_told_and_nothing_is_made(
    backcast: Backcast, arguments: list[str], complaint: str, code: int
) -> None:
    backcast("import", "events", LOG)
    first = LOG.read_text().splitlines()[1]
    Path("odd.jsonl").write_text(f"{first}\n{{cut off")
    Path("empty.jsonl").write_text("")
    Path("other.jsonl").write_text(
        '{"type": "TASK_STARTED", "task_id": "validators", "timestamp": "2026-11-20T10:00:00Z",'
        ' "version": 1}\n'
    )
    ran = backcast("fork", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert complaint in " ".join(ran.err.split())
    assert [line.split()[:2] for line in backcast("tasks").out.splitlines()] == [
        ["42", "validators"]
    ]


def test_a_name_of_a_log_does_not_reach_the_terminal_as_it_is(backcast: Backcast) -> None:
    line = {"type": "TASK_STARTED", "task_id": "\x1b[2Jgone", "timestamp": "2026-11-20T10:00:00Z"}
    Path("odd.jsonl").write_text(json.dumps(line))
    ran = backcast("fork", "odd.jsonl@1")
    assert "\x1b" not in ran.out + ran.err
    assert "'backcast context \\x1b[2Jgone~1 --for NODE --policy FILE' shows" in ran.err
    assert backcast("tasks").out.splitlines() == [
        "       1  \\x1b[2Jgone  started",
        "       2  \\x1b[2Jgone~1  (branch of \\x1b[2Jgone@1)  started",
    ]


# A history that was imported


def test_a_git_history_is_forked_as_any_task_and_keeps_its_commits(
    backcast: Backcast, tmp_path: Path
) -> None:
    repository = Repository(tmp_path / "repo")
    shas = []
    for number in range(3):
        repository.write("a.py", f"def f(): return {number}\n")
        shas.append(repository.commit(f"change {number}"))
    backcast("import", "git", "repo", "--as", "repo", "--no-outlines")
    with EventStore.open(create=False) as store:
        second = [e.version for e in store.read("repo", types=["COMMITTED"])][2] - 1
    assert backcast("fork", f"repo@{second}").code == 0

    def module(task: str, at: str) -> str:
        return backcast("cat", f"storage://{task}/a.py", f"@{at}").out

    assert module("repo~1", f"commit:{shas[0]}") == "def f(): return 0\n"
    assert module("repo~1", f"commit:{shas[1]}") == "def f(): return 1\n"
    ran = backcast("cat", "storage://repo~1/a.py", f"@commit:{shas[2]}")
    assert (ran.code, "found no " in ran.err) == (2, True)
