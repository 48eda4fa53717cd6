"""Versions of modules come of what the tools of an agent write, edit and read; none is guessed."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backcast.domain.events import ModuleIteration, WorkflowEvent
from backcast.engine.history.compared_modules import OutsidePathError, in_folder
from backcast.engine.history.snapshots import state_at
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.log.importers import Report
from backcast.engine.log.importers.call_counts import PARTS, WORDS
from backcast.engine.log.importers.file_edits import FileEdit, ReplacedPiece
from backcast.engine.log.importers.file_texts import FileTexts
from backcast.engine.log.importers.patch_edits import FilePatch, hunks_of, patched
from backcast.engine.memory.import_log import run
from backcast.projections import dependency_graph, versions

HOME = "/home/ann/shop"
REAL = Path(__file__).parent.parent.parent / "shared" / "data" / "logs"
Backcast = Callable[..., tuple[int, str, str]]
Call = tuple[str, dict[str, Any], str, dict[str, Any]]
"A tool, its arguments, what it answers, and more of the line that tells the answer."


@pytest.fixture
def backcast(capsys: pytest.CaptureFixture[str]) -> Backcast:
    """Run a command; return its exit code, output and messages."""

    def ran(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        return int(end.value.code or 0), *capsys.readouterr()

    return ran


def call(
    tool: str,
    answer: str = "done",
    *,
    failed: bool = False,
    result: object = None,
    **arguments: Any,
) -> Call:
    more: dict[str, Any] = {} if result is None else {"toolUseResult": result}
    more |= {"failed": True} if failed else {}
    return tool, arguments, answer, more


def session(path: Path, *calls: Call, home: str = HOME) -> Path:
    """A session of Claude Code in which some tools are called."""
    lines: list[dict[str, Any]] = [{"type": "user", "message": {"role": "user", "content": "Go."}}]
    for number, (tool, arguments, answer, more) in enumerate(calls):
        use = {"type": "tool_use", "id": f"call-{number}", "name": tool, "input": arguments}
        message = {"role": "assistant", "id": f"m{number}", "model": "opus", "content": [use]}
        lines.append({"type": "assistant", "message": message})
        block: dict[str, Any] = {
            "type": "tool_result",
            "tool_use_id": f"call-{number}",
            "content": answer,
        }
        block |= {"is_error": True} if more.pop("failed", False) else {}
        lines.append({"type": "user", "message": {"role": "user", "content": [block]}} | more)
    for number, line in enumerate(lines):
        line |= {"uuid": f"u{number}", "sessionId": "s", "cwd": home,
                 "parentUuid": f"u{number - 1}" if number else None,
                 "timestamp": f"2026-03-01T10:{number // 60:02}:{number % 60:02}Z"}  # fmt: skip
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def shell(path: Path, *steps: tuple[str, str, int]) -> Path:
    """A trajectory of mini-swe-agent: commands, their output and exit code."""
    messages = [{"role": "system", "content": "Work."}, {"role": "user", "content": "Go."}]
    for command, output, code in steps:
        said = f"```mswea_bash_command\n{command}\n```"
        answer = f"<returncode>{code}</returncode>\n<output>\n{output}</output>"
        messages += [{"role": "assistant", "content": said}, {"role": "user", "content": answer}]
    path.write_text(json.dumps(messages))
    return path


class ImportedRun:
    """A log in a store of its own."""

    def __init__(self, format: str, path: Path) -> None:
        self.store = EventStore.open("sqlite://")
        self.report: Report = run(self.store, format, path)
        [self.task] = self.store.tasks()

    @property
    def texts(self) -> dict[str, str | None]:
        """The text of each module that there is; None where it is unknown."""
        modules = state_at(self.store, dependency_graph, self.task).modules
        found = {
            path: modules[path].source for path in sorted(modules) if not modules[path].deleted
        }
        return {
            path: None if ref is None else self.store.get(ref).decode()
            for path, ref in found.items()
        }

    def changes(self, *types: str) -> list[WorkflowEvent]:
        return list(self.store.read(self.task, types=types or ["MODULE_ITERATION"]))

    @property
    def reasons(self) -> list[str]:
        """Why texts are unknown, in order."""
        facts = (event.fact for event in self.changes())
        return [
            fact.unknown for fact in facts if isinstance(fact, ModuleIteration) and fact.unknown
        ]


def coded(path: Path, *calls: Call, home: str = HOME) -> ImportedRun:
    return ImportedRun("claude-code", session(path / "s.jsonl", *calls, home=home))


def write(path: str, content: str) -> Call:
    return call("Write", file_path=path, content=content)


def edit(path: str, old: str, new: str, **more: Any) -> Call:
    return call("Edit", file_path=path, old_string=old, new_string=new, **more)


def test_writes_and_edits_are_iterations_with_their_texts_and_outlines(tmp_path: Path) -> None:
    both = [{"old_string": "1", "new_string": "2"}, {"old_string": "x", "new_string": "y"}]
    made = coded(
        tmp_path,
        write(f"{HOME}/a.py", "def one():\n    return 1\n"),
        edit(f"{HOME}/a.py", "one", "first"),
        call("MultiEdit", file_path=f"{HOME}/a.py", edits=[both[0]]),
        write(f"{HOME}/b.py", "x = x\n"),
        edit(f"{HOME}/b.py", "x", "z", replace_all=True),
    )
    assert made.texts == {"a.py": "def first():\n    return 2\n", "b.py": "z = z\n"}
    assert [(e.fact.data["module_name"], e.fact.data["iteration"]) for e in made.changes()] == [
        ("a.py", 1), ("a.py", 2), ("a.py", 3), ("b.py", 1), ("b.py", 2)
    ]  # fmt: skip
    for event in made.changes():
        [*_, answer] = made.store.read(made.task, last=event.version - 1, types=["TOOL_RETURNED"])
        assert answer.version in event.because
    state = state_at(made.store, dependency_graph, made.task)
    assert "sig:first" in state.modules["a.py"].facets
    assert dependency_graph.behind(state) == []
    latest = versions.latest(state_at(made.store, versions, made.task))
    assert {path: (head.iteration, head.writer) for path, head in latest.items()} == {
        "a.py": (3, "agent"), "b.py": (2, "agent")
    }  # fmt: skip
    assert made.report.notes == [f"5 calls: 5 {WORDS[PARTS]}"]


def test_an_edit_of_a_text_that_was_never_shown_is_an_unknown_text(
    tmp_path: Path, backcast: Backcast
) -> None:
    log = session(tmp_path / "s.jsonl", edit(f"{HOME}/a.py", "1", "2"))
    url = f"sqlite:///{tmp_path}/t.db"
    code, out, err = backcast("import", "claude-code", log, "--as", "s", "--store", url)
    assert code == 0
    assert "edits: 0 with the text they left, 1 with an unknown text\n" in err
    assert "unknown text: its text was never shown as a whole: a.py\n" in err
    code, out, _ = backcast("show", "versions", "s", "--store", url)
    assert out.splitlines()[1].endswith("unknown text: its text was never shown as a whole")
    code, _, err = backcast("cat", "storage://s/a.py", "--store", url)
    assert (code, "its text is unknown at this moment: its text was never" in err) == (2, True)
    with EventStore.open(url) as store:
        [event] = store.read("s", types=["MODULE_ITERATION"])
        assert event.fact.data["pieces"] == [["1", "2"]]


def test_a_whole_read_makes_a_text_known_and_known_again(tmp_path: Path) -> None:
    def shown(text: str, first: int = 1, total: int | None = None) -> dict[str, Any]:
        lines = text.count("\n") + 1
        return {"type": "text", "file": {
            "filePath": f"{HOME}/a.py", "content": text, "startLine": first, "numLines": lines,
            "totalLines": total or lines}}  # fmt: skip

    read: dict[str, Any] = {"file_path": f"{HOME}/a.py"}
    made = coded(
        tmp_path,
        call("Read", "part", result=shown("x = 1\n", total=90), **read),
        edit(f"{HOME}/a.py", "1", "2"),
        call("Read", "     1\tx = 2\n     2\ty = 3", **read),
        edit(f"{HOME}/a.py", "y", "z"),
        call("Bash", "", command="sed -i s/z/q/ a.py"),
        edit(f"{HOME}/a.py", "q", "r"),
        call("Read", "...", result=shown("x = 2\nr = 3\n"), **read),
        edit(f"{HOME}/a.py", "r", "s"),
    )
    assert made.texts == {"a.py": "x = 2\ns = 3\n"}
    told_by = [event.fact.data.get("unknown", "known") for event in made.changes()]
    never = "its text was never shown as a whole"
    assert told_by == [never, "known", "`sed` changed it", never, "known"]
    reads = made.changes("SOURCE_READ")
    assert [event.fact.data["line_ends"] for event in reads] == ["assumed", "assumed"]
    graph = state_at(made.store, dependency_graph, made.task)
    assert graph.modules["a.py"].outlined == graph.modules["a.py"].source
    lost = made.changes()[2].version
    before = state_at(made.store, dependency_graph, made.task, _upto(lost))
    assert dict(before.modules["a.py"].facets) == {}


def _upto(version: int) -> Any:
    from backcast.domain.moment import Moment

    return Moment(position=version)


@pytest.mark.parametrize(
    ("known", "old", "why"),
    [
        ("x = 1\n", "y = 1", "the replaced text is not in the text that is known"),
        ("x = 1\nx = 1\n", "x = 1", "the replaced text stands 2 times in the text that is known"),
        ("x = 1\n", "", "the edit replaces nothing in a text that is not empty"),
    ],
)
def test_an_old_text_that_is_not_there_leaves_an_unknown_text_and_no_wrong_one(
    tmp_path: Path, known: str, old: str, why: str
) -> None:
    made = coded(tmp_path, write(f"{HOME}/a.py", known), edit(f"{HOME}/a.py", old, "z = 9"))
    assert (made.texts, made.reasons) == ({"a.py": None}, [why])
    assert any(why in note for note in made.report.notes)
    assert made.changes()[-1].fact.data["pieces"] == [[old, "z = 9"]]


def test_an_edit_of_nothing_makes_a_file_that_was_not_there(tmp_path: Path) -> None:
    both = [{"old_string": "", "new_string": "x = 1\n"}, {"old_string": "1", "new_string": "2"}]
    made = coded(tmp_path, call("MultiEdit", file_path=f"{HOME}/a.py", edits=both))
    assert made.texts == {"a.py": "x = 2\n"}


def test_an_edit_that_failed_changes_nothing(tmp_path: Path) -> None:
    made = coded(
        tmp_path,
        write(f"{HOME}/a.py", "x = 1\n"),
        call("Edit", "String to replace not found", failed=True, file_path=f"{HOME}/a.py",
             old_string="q", new_string="r"),
    )  # fmt: skip
    assert (made.texts, len(made.changes()), made.report.edits.failed) == (
        {"a.py": "x = 1\n"},
        1,
        1,
    )


def test_what_the_log_tells_beside_a_result_is_taken_and_a_change_from_elsewhere_is_seen(
    tmp_path: Path,
) -> None:
    made = coded(
        tmp_path,
        write(f"{HOME}/a.py", "x=1\n"),
        call("Edit", file_path=f"{HOME}/a.py", old_string="x = 1", new_string="x = 2",
             result={"filePath": f"{HOME}/a.py", "originalFile": "x = 1\n", "oldString": "x = 1"}),
    )  # fmt: skip
    assert made.texts == {"a.py": "x = 2\n"}
    assert [(e.writer, e.fact.data["iteration"]) for e in made.changes()] == [
        ("agent", 1), ("environment", 2), ("agent", 3)
    ]  # fmt: skip
    assert versions.conflicts(state_at(made.store, versions, made.task)) == {}


def test_line_ends_of_windows_stay_and_odd_bytes_are_kept(tmp_path: Path) -> None:
    made = coded(
        tmp_path,
        write(f"{HOME}/a.py", "x = 1\r\ny = 2\r\n"),
        edit(f"{HOME}/a.py", "x = 1\ny", "x = 1\nz"),
        write(f"{HOME}/b.bin", "a\0b\n"),
        edit(f"{HOME}/b.bin", "a", "c"),
        write(f"{HOME}/c\0d.py", "never = 1\n"),
    )
    assert made.texts == {"a.py": "x = 1\r\nz = 2\r\n", "b.bin": "c\0b\n"}
    assert made.changes()[1].fact.data["line_ends"] == "assumed"


def test_files_outside_of_the_working_folder_are_kept_apart_and_said(tmp_path: Path) -> None:
    made = coded(
        tmp_path,
        write("/tmp/a.py", "x = 1\n"),
        write(f"{HOME}/a.py", "x = 2\n"),
        call("Bash", "", command="cd src && cat > ../b.py <<'EOF'\ny = 1\nEOF"),
    )
    assert made.texts == {"../../../tmp/a.py": "x = 1\n", "a.py": "x = 2\n", "b.py": "y = 1\n"}
    outside = "outside of the working folder: ../../../tmp/a.py"
    assert made.report.notes == [outside, f"3 calls: 3 {WORDS[PARTS]}"]


def test_plain_commands_of_a_shell_are_followed_and_others_are_not_guessed(tmp_path: Path) -> None:
    made = ImportedRun("swe-agent", shell(
        tmp_path / "run.traj.json",
        ("cat > a.py <<'EOF'\nx = '$HOME'\nEOF", "", 0),
        ("cat > b.py <<EOF\nx = 1\nEOF\npython b.py", "Traceback: boom\n", 1),
        ("cat > c.py <<EOF\nx = '$HOME'\nEOF", "", 0),
        ("echo 'y = 2' >> a.py && git mv b.py d.py && rm -f gone.txt", "", 0),
        ("cat e.py", "z = 1\n", 0),
        ("sed -i 's/z/q/' e.py", "", 0),
        ("if true; then cat > f.py <<'EOF'\nw = 1\nEOF\nfi", "", 0),
        ("python make.py > out.txt 2>/dev/null", "", 0),
        ("rm missing.py", "rm: cannot remove 'missing.py': No such file or directory\n", 1),
    ))  # fmt: skip
    assert made.texts == {
        "a.py": "x = '$HOME'\ny = 2\n", "c.py": None, "d.py": "x = 1\n", "e.py": None, "f.py": None,
        "out.txt": None,
    }  # fmt: skip
    assert made.reasons == [
        "the shell expanded the text that was written", "`sed` changed it",
        "it was changed by a command under a condition", "`python` wrote it",
    ]  # fmt: skip
    assert [e.fact.data["module_name"] for e in made.changes("MODULE_DELETED")] == ["gone.txt"]


def test_what_may_have_changed_any_file_leaves_later_edits_unknown(tmp_path: Path) -> None:
    made = ImportedRun("swe-agent", shell(
        tmp_path / "run.traj.json",
        ("cat > a.py <<'EOF'\nx = 1\nEOF", "", 0),
        ("git stash", "", 0),
        ("echo 'y = 2' >> a.py", "", 0),
    ))  # fmt: skip
    assert made.texts == {"a.py": None}
    assert any(note.startswith("git stash may have changed files") for note in made.report.notes)


PATCH = """*** Begin Patch
*** Update File: a.py
@@ def f():
-    return 1
+    return 2
*** Add File: new.py
+n = 1
*** Delete File: old.py
*** End Patch"""


@pytest.mark.parametrize(
    ("text", "left"), [("def f():\n    return 1\n", "def f():\n    return 2\n"), ("other\n", None)]
)
def test_a_patch_is_applied_where_its_context_is_there(
    tmp_path: Path, text: str, left: str | None
) -> None:
    made = coded(
        tmp_path, write(f"{HOME}/a.py", text), write(f"{HOME}/old.py", "o\n"),
        call("apply_patch", "Success", input=PATCH),
    )  # fmt: skip
    assert made.texts == {"a.py": left, "new.py": "n = 1\n"}
    assert made.reasons == (
        [] if left else ["the context of the patch is not in the text that is known"]
    )


def test_an_editor_that_takes_commands_creates_replaces_inserts_and_undoes() -> None:
    texts = FileTexts()

    def after(**edit: Any) -> str | None:
        [change] = texts.apply(FileEdit("a.py", **edit))
        return None if change.text is None else change.text.text

    assert after(kind="write", text="a\nb\n") == "a\nb\n"
    assert after(kind="insert", text="new", place=(1, 1)) == "a\nnew\nb\n"
    assert after(kind="replace", pieces=(ReplacedPiece("new", "old"),)) == "a\nold\nb\n"
    assert after(kind="undo") == "a\nnew\nb\n"
    assert after(kind="undo") == "a\nb\n"
    assert after(kind="lines", text="c", place=(2, 2)) == "a\nc\n"
    assert after(kind="lines", text="c", place=(7, 9)) is None


def test_the_texts_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backcast.engine.log.importers.file_texts.MOST_KEPT", 100)
    texts = FileTexts()
    for number in range(5):
        texts.apply(FileEdit(f"{number}.py", "write", "x" * 40))
    known = [path for path in texts.files if texts.files[path].text is not None]
    assert known == ["3.py", "4.py"]
    [change] = texts.apply(FileEdit("0.py", "replace", pieces=(ReplacedPiece("x", "y", True),)))
    assert change.text is None


def test_a_large_write_is_stored_and_edited(tmp_path: Path) -> None:
    large = "x = 1  # padding\n" * 600_000
    made = coded(tmp_path, write(f"{HOME}/a.txt", large), edit(f"{HOME}/a.txt", large[:17] * 2, ""))
    assert made.reasons == ["the replaced text stands 300000 times in the text that is known"]
    [first, _] = made.changes()
    assert len(made.store.get(first.fact.data["source"])) == len(large)


def test_a_log_in_parts_gives_the_versions_of_the_whole(tmp_path: Path) -> None:
    whole = session(
        tmp_path / "whole.jsonl",
        write(f"{HOME}/a.py", "x = 1\n"), edit(f"{HOME}/a.py", "1", "2"),
        call("Bash", "", command="sed -i s/2/3/ a.py"),
        call("Read", "     1\tx = 3", file_path=f"{HOME}/a.py"), edit(f"{HOME}/a.py", "3", "4"),
    )  # fmt: skip
    lines = whole.read_text().splitlines(keepends=True)
    with EventStore.open("sqlite://") as parts, EventStore.open("sqlite://") as at_once:
        for count in range(1, len(lines) + 1):
            (tmp_path / "part.jsonl").write_text("".join(lines[:count]))
            run(parts, "claude-code", tmp_path / "part.jsonl")
        run(at_once, "claude-code", whole)
        assert [e[1:] for e in _plain(parts)] == [e[1:] for e in _plain(at_once)]


def _plain(store: EventStore) -> list[tuple[Any, ...]]:
    return [(e.position, e.version, e.fact, e.writer, e.because) for e in store.read("s")]


def test_a_run_is_compared_with_a_folder_and_with_a_task(
    tmp_path: Path, backcast: Backcast
) -> None:
    log = session(
        tmp_path / "s.jsonl",
        write(f"{HOME}/same.py", "x = 1\n"), write(f"{HOME}/other.py", "a\nb\n"),
        write(f"{HOME}/gone.py", "g\n"), edit(f"{HOME}/unseen.py", "1", "two"),
        call("Read", "     1\tr = 1\n     2\t", file_path=f"{HOME}/read.py"),
    )  # fmt: skip
    url, folder = f"sqlite:///{tmp_path}/t.db", tmp_path / "repository"
    folder.mkdir()
    texts = {"same.py": b"x = 1\n", "other.py": b"a\nc\n", "unseen.py": b"two\n",
             "read.py": b"r = 1\r\n"}  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_bytes(text)
    backcast("import", "claude-code", log, "--as", "s", "--store", url)
    code, out, err = backcast("compare", "s", folder, "--store", url)
    assert (code, err) == (1, "backcast: 1 differs, 1 missing, 2 same, 1 unknown text\n")
    rows = [line.split() for line in out.splitlines()[1:]]
    assert [row[:2] for row in rows] == [
        ["gone.py", "missing"], ["other.py", "differs"], ["read.py", "same"], ["same.py", "same"],
        ["unseen.py", "unknown"],
    ]  # fmt: skip
    assert rows[1][2:] == ["2", "b", "c"]
    assert "1 of 1 written pieces stand there" in out
    code, out, err = backcast("compare", "s", "s", "--store", url, "--json")
    assert code == 0
    assert {json.loads(line)["verdict"] for line in out.splitlines()} == {"same", "unknown text"}
    code, out, err = backcast("compare", "s", "nowhere", "--store", url)
    assert (code, out, len(err.splitlines())) == (2, "", 1)


def git_patches(text: str) -> list[FilePatch]:
    """Return what a difference of git changes, file by file; binary files have no pieces."""
    found: list[FilePatch] = []
    for part in re.split(r"^diff --git ", text.replace("\r\n", "\n"), flags=re.MULTILINE)[1:]:
        head, _, _ = part.partition("\n@@ ")
        names = dict(re.findall(r"^(---|\+\+\+) (?:[ab]/)?([^\t\n]+)", head, re.MULTILINE))
        moved = dict(re.findall(r"^rename (from|to) (.+)", head, re.MULTILINE))
        old, new = names.get("---", moved.get("from")), names.get("+++", moved.get("to"))
        if old is None or new is None:
            continue
        kind = "add" if old == "/dev/null" else "delete" if new == "/dev/null" else "update"
        body = part[part.index("\n@@ ") + 1 :] if "\n@@ " in part else ""
        hunks = tuple(hunks_of(body.split("\n")))
        path = new if kind == "add" else old
        found.append(FilePatch(kind, path, new if new not in (old, path) else "", hunks))
    return found


SUBMITTED = [pytest.param(path) for path in sorted((REAL / "swe-agent").glob("*.traj"))] or [
    pytest.param(REAL, marks=pytest.mark.skip(f"no real logs: {REAL} is not there"))
]


@pytest.mark.parametrize("path", SUBMITTED)
def test_known_texts_are_what_the_patch_that_a_run_submits_makes_of_the_text_it_read(
    path: Path,
) -> None:
    document = json.loads(path.read_text())
    patch = (document.get("info") or {}).get("submission") or next(
        m["content"] for m in reversed(document["history"]) if "diff --git" in m["content"]
    )
    made = ImportedRun("swe-agent", path)
    first: dict[str, str] = {}
    for event in made.changes("SOURCE_READ"):
        text = made.store.get(event.fact.data["source"]).decode()
        first.setdefault(event.fact.data["path"], text)
    compared = [
        patched(first[part.path], part.hunks) == made.texts[part.path]
        for part in git_patches(patch)
        if made.texts[part.path] is not None
    ]
    unknown = [path for path, text in made.texts.items() if text is None]
    assert all(compared)
    assert bool(compared) != bool(unknown)


def _openhands(path: Path) -> Path:
    create = {"command": "create", "path": "/w/a.py", "file_text": "x = 1\n"}
    replace = {"command": "str_replace", "path": "/w/a.py", "old_str": "1", "new_str": "2"}
    lines: list[dict[str, Any]] = []
    for number, (arguments, left) in enumerate([(create, "x = 1\n"), (replace, "x = 2\n")]):
        call_id, common = (
            f"c{number}",
            {"tool_name": "file_editor", "timestamp": "2026-01-02T03:04"},
        )
        lines.append({"kind": "ActionEvent", "id": f"a{number}", "source": "agent", "thought": [],
                      "tool_call_id": call_id, "action": arguments, **common})  # fmt: skip
        seen = {"path": "/w/a.py", "new_content": left, "content": [], "is_error": False}
        lines.append({"kind": "ObservationEvent", "id": f"o{number}", "source": "environment",
                      "tool_call_id": call_id, "action_id": f"a{number}", "observation": seen,
                      **common})  # fmt: skip
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def _trajectory(path: Path) -> Path:
    actions = [
        ("str_replace_editor create /w/a.py --file_text 'x = 1\n'", "File created successfully at"),
        ("str_replace_editor str_replace /w/a.py --old_str '1' --new_str '2'",
         "The file /w/a.py has been edited. A snippet:\n     1\tx = 2  # not found in file\n"),
        ("str_replace_editor str_replace /w/a.py --old_str '7' --new_str '8'",
         "No replacement was performed, old_str `7` did not appear verbatim in /w/a.py."),
    ]  # fmt: skip
    steps = [
        {"action": action, "observation": seen, "response": "I do.", "thought": "",
         "state": {"working_dir": "/w"}}
        for action, seen in actions
    ]  # fmt: skip
    path.write_text(json.dumps({"trajectory": steps, "history": [], "info": {}}))
    return path


def _cline(path: Path) -> Path:
    whole = {"type": "file", "path": "/w/a.py", "content": "x = 1\n"}
    use = {"type": "tool_use", "id": "c1", "name": "editor",
           "input": {"path": "/w/a.py", "old_text": "1", "new_text": "2"}}  # fmt: skip
    done = {"type": "tool_result", "tool_use_id": "c1", "content": '{"success": true}'}
    path.write_text(json.dumps({
        "sessionId": "s", "system_prompt": "Working Directory: /w\n", "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Go."}, whole]},
            {"role": "assistant", "content": [use]}, {"role": "user", "content": [done]},
        ],
    }))  # fmt: skip
    return path


def _inspect(path: Path) -> Path:
    create = {"command": "create", "path": "a.py", "file_text": "x = 1\n"}
    replace = {"command": "str_replace", "path": "a.py", "old_str": "1", "new_str": "2"}
    events: list[dict[str, Any]] = []
    for number, arguments in enumerate((create, replace)):
        call = {"id": f"c{number}", "function": "text_editor", "arguments": arguments}
        message = {"role": "assistant", "content": "", "tool_calls": [call]}
        events.append({"event": "model", "output": {"choices": [{"message": message}]}})
        events.append({"event": "tool", "function": "text_editor", "id": f"c{number}",
                       "result": "done", "arguments": arguments})  # fmt: skip
    sample = {"id": 1, "uuid": "s", "input": "Go.", "events": events}
    path.write_text(json.dumps({"eval": {"eval_id": "e"}, "samples": [sample]}))
    return path


@pytest.mark.parametrize(
    ("format", "name", "write_log"),
    [
        ("openhands", "e.jsonl", _openhands), ("swe-agent", "r.traj", _trajectory),
        ("cline", "s.json", _cline), ("inspect", "i.json", _inspect),
    ],
)  # fmt: skip
def test_the_editor_of_each_agent_is_followed(
    format: str, name: str, write_log: Callable[[Path], Path], tmp_path: Path
) -> None:
    with EventStore.open("sqlite://") as store:
        report = run(store, format, write_log(tmp_path / name))
        [last] = list(store.read(types=["MODULE_ITERATION"]))[-1:]
        path = "w/a.py" if format == "openhands" else "a.py"  # it names no working folder
        assert (last.fact.data["module_name"], report.edits.unknown) == (path, 0)
        assert store.get(last.fact.data["source"]) == b"x = 2\n"
        assert report.edits.failed == (format == "swe-agent")


def test_compare_reads_nothing_outside_of_the_folder(tmp_path: Path) -> None:
    outside, folder = tmp_path / "private.txt", tmp_path / "repo"
    outside.write_text("a private line\n")
    folder.mkdir()
    (folder / "link.py").symlink_to(outside)
    (folder / "round.py").symlink_to("round.py")
    (folder / "inner.py").symlink_to("own.py")
    (folder / "own.py").write_text("x = 1\n")
    text = in_folder(folder)
    for path in (str(outside), "link.py", "sub/../../private.txt"):
        with pytest.raises(OutsidePathError):
            text(path)
    assert text("round.py") is None
    assert text("inner.py") == text("own.py") == b"x = 1\n"
