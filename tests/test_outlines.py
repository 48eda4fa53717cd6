"""Outlines as facts: small, in order, the same however late they are recorded."""

import subprocess
from pathlib import Path

import pytest

from backcast.domain.errors import UnavailableError
from backcast.domain.events import ModuleOutlined, TaskComplete, WorkflowEvent
from backcast.engine.history.snapshots import state_at
from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.outlining import outline_all
from backcast.engine.log import EventStore
from backcast.engine.memory import outlines
from backcast.engine.memory.import_log import run
from backcast.engine.memory.outliner import python
from backcast.engine.memory.outlines import Outlining
from backcast.projections import dependency_graph, fold
from tests.sources import SHOP, Task


def told(task: Task) -> list[ModuleOutlined]:
    events = task.store.read(task.id, types=["MODULE_OUTLINED"])
    return [event.fact for event in events if isinstance(event.fact, ModuleOutlined)]


def facets(task: Task) -> dict[str, dict[str, tuple[str, ...]]]:
    present = dependency_graph.present(state_at(task.store, dependency_graph, task.id))
    return {path: dict(one) for path, one in present.items()}


def test_an_outline_is_the_difference_to_the_one_before() -> None:
    task = Task()
    task.wrote("a.py", "def f(): pass\ndef g(): pass")
    task.wrote("a.py", "def f(): pass\ndef g(x): pass")
    task.outlined()
    first, second = told(task)
    assert (first.base, second.base) == (None, first.source)
    assert sorted(second.set) == ["body:g", "sig:g"]
    assert (second.gone, second.lines) == ((), (1, 1, 2, 2))


def test_an_outline_stands_at_the_time_of_its_text_and_because_of_it() -> None:
    task = Task()
    version = task.wrote("a.py", "def f(): pass")
    task.outlined()
    text, outline = task.store.read(task.id)
    assert outline.timestamp == text.timestamp
    assert outline.because == (version,)


def test_nothing_is_outlined_twice() -> None:
    task = Task()
    task.wrote("a.py", "def f(): pass")
    assert [task.outlined(), task.outlined()] == [1, 0]
    assert Outlining(task.store, task.id).catch_up() == 0
    task.wrote("b.py", "")
    assert Outlining(task.store, task.id).catch_up() == 1


@pytest.mark.parametrize("every", [1, 2, 5])
def test_outlines_made_at_once_or_later_tell_the_same(every: int) -> None:
    task = Task()
    texts = [*SHOP.items(), ("utils.py", "def other(): pass"), ("utils.py", "def ("), ("n.js", "")]
    for number, (path, source) in enumerate(texts, 1):
        task.wrote(path, source)
        if number % every == 0:
            task.outlined()
    task.outlined()
    whole = Task()
    for path, source in texts:
        whole.wrote(path, source)
    whole.outlined()
    assert facets(task) == facets(whole)


def test_an_old_text_that_is_outlined_last_does_not_hide_the_latest() -> None:
    task = Task()
    old = task.wrote("a.py", "def f(): pass")
    task.outlining.waiting_for()
    del task.outlining.waiting[old]
    task.wrote("a.py", "def g(): pass")
    task.outlined()
    assert Outlining(task.store, task.id).catch_up() == 1
    assert "sig:g" in facets(task)["a.py"]
    task.outlining = Outlining(task.store, task.id)
    task.wrote("a.py", "def g(): pass\ndef h(): pass")
    task.outlined()
    assert "sig:h" in facets(task)["a.py"]


def test_a_text_that_claims_an_earlier_time_is_outlined_whole() -> None:
    task = Task()
    task.wrote("a.py", "def f(): pass")
    task.minutes = -10
    task.wrote("a.py", "def f(): pass\ndef g(): pass")
    task.outlined()
    assert [fact.base for fact in told(task)] == [None, None]


def test_a_newer_outliner_outlines_the_latest_texts_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = Task()
    for source in ("def f(): pass", "def g(): pass"):
        task.wrote("a.py", source)
    task.outlined()
    monkeypatch.setattr(python, "VERSION", python.VERSION + 1)
    assert Outlining(task.store, task.id).catch_up() == 1
    assert told(task)[-1].outliner == f"python {python.VERSION}"
    assert "sig:g" in facets(task)["a.py"]
    assert Outlining(task.store, task.id).catch_up() == 0


def test_counts_go_on_when_a_newer_outliner_outlines_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = Task()
    for source in ("def f(): pass", "def f(): return 1"):
        task.wrote("a.py", source)
    task.outlined()
    before = facets(task)["a.py"]["body:f"]
    monkeypatch.setattr(python, "VERSION", python.VERSION + 1)
    assert Outlining(task.store, task.id).catch_up() == 1
    assert facets(task)["a.py"]["body:f"] == before
    assert before[1] == "2"


def test_a_few_outlines_by_a_newer_outliner_are_no_news(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = Task()
    task.wrote("a.py", "def f(): pass")
    assert outline_all(task.store, task.id) == 1
    assert "outlined 1 texts" in capsys.readouterr().err
    monkeypatch.setattr(python, "VERSION", python.VERSION + 1)
    assert outline_all(task.store, task.id) == 1
    assert capsys.readouterr().err == ""
    assert told(task)[-1].outliner == f"python {python.VERSION}"


def test_a_question_writes_nothing_behind_the_end_of_a_run_to_renew_its_outlines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = Task()
    task.wrote("a.py", "def f(): pass")
    task.outlined()
    task.happened(TaskComplete(task=task.id))
    monkeypatch.setattr(python, "VERSION", python.VERSION + 1)
    last = task.store.version(task.id)
    assert outline_all(task.store, task.id) == 0
    assert task.store.version(task.id) == last
    assert outline_all(task.store, task.id, anew=True) == 1
    task.wrote("b.py", "def g(): pass")
    assert outline_all(task.store, task.id) == 1
    assert told(task)[-1].module_name == "b.py"


def test_outlines_of_an_older_outliner_do_where_nothing_can_be_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise UnavailableError("needed a store that can be written")

    task = Task()
    task.wrote("a.py", "def f(): pass")
    task.outlined()
    monkeypatch.setattr(python, "VERSION", python.VERSION + 1)
    monkeypatch.setattr(task.store, "append", refuse)
    assert outline_all(task.store, task.id) == 0
    monkeypatch.undo()
    task.wrote("b.py", "")
    monkeypatch.setattr(task.store, "append", refuse)
    with pytest.raises(UnavailableError, match="1 texts of task 'task' are not outlined yet"):
        outline_all(task.store, task.id)


def test_many_texts_are_outlined_by_several_processes_as_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks = Task("task"), Task("task")
    for task in tasks:
        for number in range(12):
            task.wrote(f"m{number % 5}.py", f"def f{number}(): pass")
    tasks[0].outlined()
    tasks[1].outlining.processes = 2
    monkeypatch.setattr(outlines, "ALONE", 1)
    monkeypatch.setattr(outlines, "TOGETHER", 7)
    tasks[1].outlined()
    assert told(tasks[0]) == told(tasks[1])


def test_a_missing_text_is_passed_over() -> None:
    task = Task()
    task.wrote("a.py", "def f(): pass")
    with task.store.recorder.transact(write=True) as cursor:
        cursor.execute("DELETE FROM blobs")
    task.store._recent.clear()
    task.outlined()
    assert told(task) == []
    assert dependency_graph.behind(state_at(task.store, dependency_graph, task.id)) == ["a.py"]


def git(path: Path, *arguments: str) -> None:
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.org")
    subprocess.run(["git", "-C", str(path), *who, *arguments], check=True, capture_output=True)


def commit(path: Path, **sources: str) -> None:
    for name, source in sources.items():
        (path / f"{name}.py").write_text(source)
    git(path, "add", "-A")
    git(path, "commit", "-q", "-m", "more")


def test_the_outlines_of_a_commit_stand_right_behind_it(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    commit(tmp_path, a="def f(): pass", b="import a")
    commit(tmp_path, a="def g(): pass")
    git(tmp_path, "mv", "b.py", "c.py")
    git(tmp_path, "commit", "-q", "-m", "moved")
    with EventStore.open("sqlite://") as store:
        run(store, "git", tmp_path, "t")
        events = list(store.read("t"))
        assert Outlining(store, "t").catch_up() == 0
        commit(tmp_path, a="def h(): pass")
        run(store, "git", tmp_path, "t")
        assert Outlining(store, "t").catch_up() == 0
        state = state_at(store, dependency_graph, "t")
        assert state == fold(dependency_graph, store.read("t"))
    assert [event.type for event in events] == [
        "COMMITTED", "MODULE_ITERATION", "MODULE_ITERATION", "MODULE_OUTLINED", "MODULE_OUTLINED",
        "IMPORTED", "COMMITTED", "MODULE_ITERATION", "MODULE_OUTLINED",
        "COMMITTED", "MODULE_RENAMED", "MODULE_OUTLINED", "REFS_READ",
    ]  # fmt: skip
    assert [_brought(event, events) for event in events if event.type == "MODULE_OUTLINED"] == [
        "a.py", "b.py", "a.py", "c.py",
    ]  # fmt: skip
    assert dependency_graph.behind(state) == []
    assert "sig:h" in state.modules["a.py"].facets


def test_commits_without_outlines_are_not_asked_as_if_they_had_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "-q")
    commit(repository, a="def f(): pass")
    sha = subprocess.check_output(["git", "-C", str(repository), "rev-parse", "HEAD"], text=True)
    commit(repository, a="def g(): pass")
    store = ("--store", f"sqlite:///{tmp_path}/store.db")
    for arguments, code in (
        (("import", "git", str(repository), "--no-outlines", *store), 0),
        (("stale", "repository", "--since", f"commit:{sha.strip()}", *store), 2),
    ):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == code
    told = capsys.readouterr()
    assert "were outlined after that moment was recorded" in told.err
    assert "stale" not in told.out


def _brought(outline: WorkflowEvent, events: list[WorkflowEvent]) -> str:
    """The module of the event that an outline names as its cause."""
    return str(events[outline.because[0] - 1].fact.data["module_name"])
