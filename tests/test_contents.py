"""The same content is parsed once, wherever it comes back, and its outline tells the same."""

import ast
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.outline import Outline
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import ref_of
from backcast.engine.memory import contents
from backcast.engine.memory.contents import Contents, Preceding, Versions
from backcast.engine.memory.import_log import run
from backcast.engine.memory.outliner import outliner_of, python_parse, python_pieces
from tests.sources import Task

PATHS = ("a.py", "b.py", "tests/a.py", "test_b.pyi", "README.md")
SOURCES = (
    b"",
    b"def f(): pass",
    b"def f(): return 1",
    b"import os\ndef f(): os.remove('x')\ndef test_it(): f()",
    b"from os import remove as f\nclass C:\n    def test_it(self): return f(1)",
    b"class C:\n    def test_it(self): return f(1)\n# Title",
    b"def f(: pass",
    b"def g(:\npass",
    b"\xff\xfe",
)


@pytest.fixture
def parsing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the language's own parser was given."""
    given, real = [], ast.parse

    def parse(source: str) -> ast.Module:
        given.append(source)
        return real(source)

    # Only the outliner's own: pytest parses modules, too.
    for module in (python_parse, python_pieces):
        monkeypatch.setattr(module, "ast", SimpleNamespace(**{**vars(ast), "parse": parse}))
    return given


def test_a_content_that_comes_back_is_not_parsed_again(parsing: list[str]) -> None:
    one, two = "def f(): pass", "def f(): return 2"
    task = Task()
    task.wrote("a.py", one)
    task.wrote("a.py", two)
    task.wrote("a.py", one)
    task.wrote("copy.py", two)
    task.outlined()
    task.wrote("a.py", two)
    task.deleted("copy.py")
    task.wrote("copy.py", one)
    task.renamed("moved.py", "a.py", two)
    assert task.outlined() == 3
    assert [text.strip() for text in parsing] == [one, two]


def test_a_branch_that_goes_to_and_fro_is_parsed_once(tmp_path: Path, parsing: list[str]) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=ann", "-c", "user.email=ann@example.org")
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True)

    git("init", "-q")
    for source in ("x = 1", "x = 2", "x = 1", "x = 2"):
        (tmp_path / "a.py").write_text(source)
        (tmp_path / "copy.py").write_text(source)
        git("add", "-A")
        git("commit", "-q", "-m", source)
    with EventStore.open("sqlite://") as store:
        run(store, "git", tmp_path, "t")
        assert len(list(store.read("t", types=["MODULE_OUTLINED"]))) == 8
    assert sorted(map(str.strip, parsing)) == ["x = 1", "x = 2"]


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(PATHS), st.sampled_from(SOURCES)), max_size=8),
        max_size=4,
    ),
    st.sampled_from([0, 40, 2**20]),
)
def test_outlines_are_those_of_the_outliner_one_after_the_other(
    stretches: list[list[tuple[str, bytes]]], kept: int
) -> None:
    plainly: dict[str, Outline] = {}
    known: dict[str, Outline] = {}
    seen = Contents()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "KEPT_BYTES", kept)
        for stretch in stretches:
            by_path: dict[str, list[bytes]] = {}
            for path, source in stretch:
                by_path.setdefault(path, []).append(source)
            modules = [
                Versions(path, [(ref_of(source), source) for source in sources])
                for path, sources in by_path.items()
            ]
            made = seen.outlines(modules, [Preceding(known.get(path)) for path in by_path])
            for module, outlines in zip(modules, made, strict=True):
                for (_, text), outline in zip(module.texts, outlines, strict=True):
                    assert text is not None
                    before, outliner = plainly.get(module.path), outliner_of(module.path)
                    assert outliner is not None
                    wanted = outliner.outline(module.path, text, before)
                    plainly[module.path] = known[module.path] = wanted
                    assert outline == wanted
            assert seen.held <= kept


def test_a_missing_text_has_no_outline_and_is_no_version() -> None:
    texts = [("blob:a", b"def f(): pass"), ("blob:b", None), ("blob:a", b"def f(): pass")]
    [[first, missing, last]] = Contents().outlines([Versions("a.py", texts)], [Preceding()])
    assert missing is None
    assert first == last
