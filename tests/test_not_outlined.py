"""What an import brings that has no outline of its own is said at once, with the reason."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from backcast.domain.graph import Graph
from backcast.engine.history.snapshots import state_at
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.log.importers import Report
from backcast.engine.memory.import_log import run
from backcast.projections import dependency_graph
from tests.sources import Task

PYTHON = ".".join(map(str, sys.version_info[:2]))
POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


def git(path: Path, *arguments: str) -> None:
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.org")
    subprocess.run(["git", "-C", str(path), *who, *arguments], check=True, capture_output=True)


def committed(folder: Path, files: dict[str, str | bytes], links: dict[str, str]) -> None:
    """Commit files, and symbolic links with what they lead to."""
    git(folder, "init", "-q")
    for path, body in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(body.encode() if isinstance(body, str) else body)
    for path, target in links.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).symlink_to(target)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "all")


def imported(folder: Path, processes: int = 1) -> tuple[Report, Graph]:
    with EventStore.open("sqlite://") as store:
        report = run(store, "git", folder, "t", processes=processes)
        state = state_at(store, dependency_graph, "t")
    return report, dependency_graph.graph_of(state)


def notes(folder: Path) -> list[str]:
    return imported(folder)[0].notes


@pytest.mark.parametrize(
    ("path", "body", "note"),
    [
        ("a.py", POINTER, "1 module cannot be outlined: a.py (a Git LFS pointer: the file itself"
         " of 12,345 bytes is not in the history)"),
        ("a.md", POINTER, "1 module cannot be outlined: a.md (a Git LFS pointer: the file itself"
         " of 12,345 bytes is not in the history)"),
        ("a.py", "def f(\n", "1 module cannot be outlined: a.py:1 ('(' was never closed)"),
        ("a.py", "print 'x'\n", "1 module cannot be outlined: a.py:1 (Python 2: Missing"
         " parentheses in call to 'print'. Did you mean print(...)?)"),
        ("a.py", "x = 1".encode("utf-16"), "1 module cannot be outlined: a.py (UTF-16, which"
         " Python does not read)"),
        ("a.py", b"x = 1\ny = '\xe9'\n", "1 module cannot be outlined: a.py:2 (bytes that are not"
         " utf-8: invalid continuation byte)"),
        ("a.py", b"x = 1\0", "1 module cannot be outlined: a.py (source code string cannot contain"
         " null bytes)"),
        ("a.py", b"#" * (4 * 2**20 + 1), "1 module cannot be outlined: a.py (needed a source of at"
         " most 4,194,304 bytes, found 4,194,305)"),
        ("a.py", "x = " + "-" * 100_000 + "1", "1 module cannot be outlined: a.py (needed a module"
         " that can be parsed, found too deep nesting)"),
        ("a.py", "lazy import x\n", f"1 module needs a newer Python than this {PYTHON}; outlined as"
         " if in older syntax: a.py (3.15: lazy imports)"),
        ("a.toml", "", "1 module without an outline, since neither Python nor Markdown: 1 .toml"),
        ("Makefile", "all:\n", "1 module without an outline, since neither Python nor Markdown:"
         " 1 no suffix"),
    ],
)  # fmt: skip
def test_each_reason_is_said(path: str, body: str | bytes, note: str, tmp_path: Path) -> None:
    committed(tmp_path, {path: body, "whole.py": "def g(): pass\n"}, {})
    assert notes(tmp_path) == [note]


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf# -*- coding: utf-8 -*-\nx = 1\n",
        b"# coding: latin-1\nx = '\xe9'\n",
        b"x = 1\r\ny = 2\r\n",
        b"x = 1\n\x0c\ndef f(): pass\n",
        b"",
    ],
)
def test_what_python_reads_needs_no_note(body: bytes, tmp_path: Path) -> None:
    committed(tmp_path, {"a.py": body}, {})
    assert notes(tmp_path) == []


def test_a_reason_that_a_later_commit_removed_is_not_said(tmp_path: Path) -> None:
    committed(tmp_path, {"a.py": "def f(\n", "b.py": "def (\n"}, {})
    (tmp_path / "a.py").write_text("def f(): pass\n")
    (tmp_path / "b.py").unlink()
    git(tmp_path, "commit", "-q", "-a", "-m", "mended")
    assert notes(tmp_path) == []


def test_many_are_counted_and_some_are_named(tmp_path: Path) -> None:
    committed(tmp_path, {f"m{n}.py": "def (" for n in range(8)}, {})
    [note] = notes(tmp_path)
    assert note.startswith("8 modules cannot be outlined: m0.py:1 (invalid syntax); ")
    assert note.endswith("; and 3 more")


@pytest.mark.parametrize("processes", [1, 2])
def test_what_imports_a_link_imports_the_file_that_it_leads_to(
    processes: int, tmp_path: Path
) -> None:
    f = "def f(): pass\n"
    committed(
        tmp_path,
        {
            "p/__init__.py": "", "p/real.py": f, "lib/odd-name.py": f, "lib/util/__init__.py": f,
            "a.py": "from p.alias import f\ndef a(): f()\n",
            "b.py": "from twice import f\ndef b(): f()\n",
            "src/c.py": "import odd\ndef c(): odd.f()\n",
            "src/d.py": "from all.util import f\ndef d(): f()\n",
            "p/e.py": "from .tools import f\ndef e(): f()\n",
            "g.py": "from away import f\ndef g(): f()\n",
        },
        {
            "p/alias.py": "real.py", "twice.py": "p/alias.py", "src/odd.py": "../lib/odd-name.py",
            "src/all": "../lib", "p/tools": "../lib/util", "away.py": "/usr/lib/x.py",
            "round.py": "round.py",
        },
    )  # fmt: skip
    report, graph = imported(tmp_path, processes)
    calls = [(e.source[9:], e.target[9:]) for e in graph.edges if e.kind == "calls"]
    assert calls == [
        ("a.py::a", "p/real.py::f"),
        ("b.py::b", "p/real.py::f"),
        ("p/e.py::e", "lib/util/__init__.py::f"),
        ("src/c.py::c", "lib/odd-name.py::f"),
        ("src/d.py::d", "lib/util/__init__.py::f"),
    ]
    assert ("function:g.py::g", "f") in graph.unresolved
    [note] = report.notes
    assert note.startswith("7 modules without an outline, since symbolic links: away.py -> /usr/")


def test_a_file_in_place_of_a_link_is_outlined_and_the_other_way_round(tmp_path: Path) -> None:
    f = "def f(): pass\n"
    committed(tmp_path, {"real.py": f, "b.py": f, "a.py": "from b import f\ndef a(): f()\n"}, {})
    called = []
    for link in (True, False):
        (tmp_path / "b.py").unlink()
        if link:
            (tmp_path / "b.py").symlink_to("real.py")
        else:
            (tmp_path / "b.py").write_text(f)
        git(tmp_path, "commit", "-q", "-a", "-m", "other")
        called += [e.target for e in imported(tmp_path)[1].edges if e.kind == "calls"]
    assert called == ["function:real.py::f", "function:b.py::f"]


def test_the_command_says_it_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    committed(repository, {"a.py": "def f(\n"}, {})
    with pytest.raises(SystemExit) as end:
        main(("import", "git", str(repository), "--store", f"sqlite:///{tmp_path}/s.db"))
    assert end.value.code == 0
    assert "note: 1 module cannot be outlined: a.py:1" in capsys.readouterr().err


def test_other_logs_say_it_when_they_are_outlined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    with EventStore.open(url, create=True) as store:
        Task("task", store).wrote("a.py", "def f(")
    with pytest.raises(SystemExit):
        main(("outline", "task", "--store", url))
    assert "note: 1 module cannot be outlined: a.py:1" in capsys.readouterr().err


def test_programs_learn_how_many_texts_were_outlined_and_which_were_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    with EventStore.open(url, create=True) as store:
        Task("task", store).wrote("a.py", "def f(")
    for count in (1, 0):
        with pytest.raises(SystemExit):
            main(("outline", "task", "--store", url, "--json"))
        found = json.loads(capsys.readouterr().out)
        assert (found["task"], found["outlined"]) == ("task", count)
        assert found["without"][0].startswith("1 module cannot be outlined: a.py:1")


def test_a_context_of_what_has_no_inside_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "web"
    folder.mkdir()
    retry = "// Retries when the server is busy\nexport function retry() {}\n"
    large = "// Tries again\n" * 1_000
    module = "def hello() -> int:\n    return 1\n"
    committed(folder, {"src/retry.ts": retry, "src/large.ts": large, "lat.py": module}, {})
    said = list[str]()
    for words in (
        ("import", "git", "web"), ("context", "web", "--query", "retry when busy"),
        ("context", "web", "--for", "src/large.ts", "--query", "longer"),
        ("context", "web", "--for", "src/retry.ts", "--query", "longer"),
    ):  # fmt: skip
        with pytest.raises(SystemExit) as ended:
            main([*words, "--tokenizer", "upper-bound"] if words[0] == "context" else words)
        assert ended.value.code == 0
        out, err = capsys.readouterr()
        said.append(err)
    assert "of 2 of 3 modules nothing can be shown but their names" in said[1]
    assert "of src/large.ts the name alone is shown: only Python and Markdown have" in said[2]
    assert "of 2 of 3" not in said[2]
    assert "the name alone" not in said[3]
    assert retry in out
