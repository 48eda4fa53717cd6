"""A repository told at length, in the form of llms.txt, and the command that writes it."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings

from backcast.domain.llms_txt import llms_txt
from backcast.domain.outline import Facets
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.memory.mapping.cartographer import rank_of
from tests.sources import Task, graph_of, modules_of
from tests.test_roadmap import MODULES, NASTY, STORE, graph_of_facets

Backcast = Callable[..., tuple[str, str, int]]


def long_form_of(sources: Mapping[str, str]) -> str:
    graph = graph_of(sources)
    return llms_txt("store", modules_of(sources), graph, rank_of(graph))


def test_the_long_form_has_a_name_a_purpose_and_sections_of_links() -> None:
    told = long_form_of(STORE)
    assert told.startswith("# store\n\n> Sell things to people who want them. And more.\n\n## ")
    assert (
        "- [store/stock/cart.py](store/stock/cart.py): What somebody wants to buy\n"
        "  - `class Basket`: Holds it\n"
    ) in told
    assert "- [tests/test_cart.py](tests/test_cart.py): tests [store/stock/cart.py]" in told
    assert "- store/web needs store/stock\n" in told
    assert re.findall("^## (.*)$", told, re.MULTILINE) == [
        "Modules in store/web", "Modules in store/stock", "Modules in store",
        "Entry points", "Tests", "Dependencies", "Documents",
    ]  # fmt: skip


def test_the_tests_the_libraries_and_what_may_be_skipped_are_told() -> None:
    told = long_form_of({**STORE, "docs/make.py": "import numpy", "f (1).md": "A [link](x)."})
    assert "## Optional\n\n- [docs/make.py](docs/make.py)\n" in told
    assert "- libraries: numpy\n" in told
    assert "- [f (1).md](f%20%281%29.md): A link\n" in told


def test_a_source_that_imitates_markup_is_told_as_text() -> None:
    nasty = NASTY * 400
    told = long_form_of(
        {
            "README.md": f"{nasty}\n",
            "a.py": f"'''{nasty}'''\nclass C:\n  '''<img src=x> [zz](b) {nasty}'''",
            f"{'long/' * 60}b.py": f"'''{'x' * 5000}'''\ndef {'f' * 3000}(): pass",
        }
    )
    assert all(line.isprintable() and len(line) < 2000 for line in told.split("\n") if line)
    assert not re.search(r"\[INST\]|<\||^#+ H|\[cr-|(?<!\\)<img|[^\\]\[zz", told, re.MULTILINE)


def test_many_modules_are_told_of_in_part() -> None:
    told = long_form_of({f"m{number}.py": "" for number in range(600)})
    assert told.count("\n- ") == 501
    assert told.endswith("\n- ...\n")


@settings(max_examples=100, deadline=None)
@given(MODULES)
def test_of_any_facets_the_long_form_is_whole_lines_whatever_the_order(
    modules: dict[str, Facets],
) -> None:
    graph = graph_of_facets(modules)
    told = llms_txt("odd", modules, graph, {})
    assert llms_txt("odd", dict(sorted(modules.items(), reverse=True)), graph, {}) == told
    assert all(line.isprintable() for line in told.split("\n"))


@pytest.fixture
def backcast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Backcast:
    url = f"sqlite:///{tmp_path}/store.db"
    monkeypatch.setenv("BACKCAST_STORE", url)
    with EventStore.open(url, create=True) as store:
        task = Task("shop", store)
        for path, source in STORE.items():
            task.wrote(path, source)
        task.wrote("README.md", "# Store\n\nMail ACME-123456 from /home/ann/x now.\n")

    def run(*arguments: object) -> tuple[str, str, int]:
        at = arguments[0] if str(arguments[0]).startswith("@") else ""
        rest = map(str, arguments[bool(at) :])
        with pytest.raises(SystemExit) as end:
            main(["export", f"shop{at}", *rest])
        return *capsys.readouterr(), int(end.value.code or 0)

    return run


def test_the_long_form_is_exported_as_of_a_moment(backcast: Backcast, tmp_path: Path) -> None:
    file = tmp_path / "llms.txt"
    assert backcast(file)[2] == 0
    assert "> Mail ACME-123456 from /home/ann/x now.\n" in file.read_text()
    assert backcast("@2026-11-20T12:08", file)[2] == 0
    assert file.read_text() == long_form_of(STORE).replace("# store", "# shop", 1)
    _, err, code = backcast("@2026-11-20", tmp_path / "log.jsonl")
    assert (code, "a moment goes with FILE.txt" in err) == (2, True)
    _, err, code = backcast("@3", tmp_path / "early.txt")
    assert (code, "outlined after that moment" in err) == (2, True)
    assert not (tmp_path / "early.txt").exists()


def test_the_long_form_is_redacted_as_a_log_is(backcast: Backcast, tmp_path: Path) -> None:
    file = tmp_path / "llms.txt"
    _, err, code = backcast("--redact", "--pattern", "ACME-[0-9]{6}", file)
    assert (code, "masked " in err) == (0, True)
    assert "> Mail MASKED_pattern_1 from /home/user/x now.\n" in file.read_text()
