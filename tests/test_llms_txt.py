"""A repository told at length, in the form of llms.txt, and the command that writes it."""

import re
import string
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backcast.domain.llms_txt import MOST, StoredTexts, llms_txt
from backcast.domain.outline import Facets, Lines
from backcast.engine.interfaces.cli import main
from backcast.engine.log import EventStore
from backcast.engine.memory.mapping.cartographer import rank_of
from backcast.engine.memory.outliner import outliner_of
from tests.sources import Task, graph_of, modules_of
from tests.test_roadmap import MODULES, NASTY, STORE, graph_of_facets

Backcast = Callable[..., tuple[str, str, int]]


def stored_of(sources: Mapping[str, str]) -> StoredTexts:
    texts = {path: dedent(source) for path, source in sources.items()}

    def lines(path: str) -> Lines:
        outliner = outliner_of(path)
        return outliner.outline(path, texts[path].encode()).lines if outliner else {}

    return StoredTexts(tuple(sorted(texts)), texts.get, lines)


def long_form_of(sources: Mapping[str, str]) -> str:
    graph = graph_of(sources)
    modules, rank = modules_of(sources), rank_of(graph)
    return llms_txt("store", modules, graph, rank, stored=stored_of(sources))


def test_the_long_form_has_a_name_a_purpose_and_sections_of_links() -> None:
    told = long_form_of(STORE)
    assert told.startswith("# store\n\n> Sell things to people who want them. And more.\n\n## ")
    assert (
        "- [store/stock/cart.py](store/stock/cart.py): What somebody wants to buy\n"
        "  - `class Basket`: Holds it\n"
    ) in told
    assert "- [tests/test_cart.py](tests/test_cart.py): tests [store/stock/cart.py]" in told
    assert "- `store/web/`: 2 modules, 2 functions\n  - imports from `store/stock/` 1x\n" in told
    assert re.findall("^## (.*)$", told, re.MULTILINE) == [
        "Overview", "Key concepts", "Architecture", "Entry points",
        "Modules in store/web", "Modules in store/stock", "Modules in store", "Tests", "Documents",
    ]  # fmt: skip


def test_the_tests_the_libraries_and_what_may_be_skipped_are_told() -> None:
    told = long_form_of({**STORE, "docs/make.py": "import numpy", "f (1).md": "A [link](x)."})
    assert "## Optional\n\n- [docs/make.py](docs/make.py)\n" in told
    assert "- numpy: imported by 1 module\n" in told
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
    assert told.partition("## Modules")[2].count("\n- ") == 501
    assert told.endswith("\n- ...\n")


PARCELS = {
    "README.rst": """
        Parcels
        =======

        .. image:: logo.svg

        `Parcels <https://x.org>`_ sends what is *bought*, see docs_.

        .. code-block:: python

            from parcels import Parcel

            Parcel("tea").send()

        Sending a Parcel
        ----------------
        """,
    "pyproject.toml": """
        [project]
        name = "parcels"
        version = "2.1"
        requires-python = ">=3.11"
        dependencies = ["httpx >=0.27,<1", "PyYAML"]
        [project.scripts]
        send = "parcels.post:send"
        """,
    "parcels/__init__.py": "from parcels.post import Parcel, ParcelError",
    "parcels/post.py": """
        import httpx
        import yaml

        class ParcelError(ValueError):
            '''It cannot be sent.'''

        class Parcel:
            '''What is sent, e.g. tea. Once.'''
            def __init__(self, of): self.of = of
            def send(self): return httpx.post("/", json=yaml.safe_load(self.of))

        def data(): return 1
        """,
    "parcels/desk.py": """
        from parcels.post import Parcel, data

        def greet():
            '''Greet, and take a Parcel.'''
            return Parcel("tea"), data()
        """,
    "tests/test_post.py": """
        from parcels.post import Parcel

        def test_a_parcel_holds_something():
            tea = Parcel("tea")
            more = Parcel("more")
            assert tea.of != more.of
        """,
}


def section(told: str, title: str) -> str:
    return told.partition(f"## {title}\n\n")[2].partition("\n\n## ")[0]


def test_a_stranger_reads_what_it_is_what_its_words_mean_and_how_it_is_used() -> None:
    told = long_form_of(PARCELS)
    assert "\n> Parcels sends what is bought, see docs.\n" in told
    assert section(told, "Overview") == (
        "- [pyproject.toml](pyproject.toml): parcels, version 2.1, Python >=3.11\n"
        "- modules of Python: 3 of code, 1 of tests; 1 test\n- documents: 1"
    )
    assert section(told, "Key concepts") == (
        "- **Parcel**: What is sent, e.g. tea\n"
        "  - class in [parcels/post.py#L8-L11](parcels/post.py#L8-L11) (used in 2 files, named in"
        " 1 docstring, 2 headings and 1 name of a class)"
    )
    examples = section(told, "Usage examples")
    assert examples.startswith("[README.rst#L11-L13](README.rst#L11-L13)\n\n```python\nfrom parc")
    assert "Parcel in a test: [tests/test_post.py#L4-L7](tests/test_post.py#L4-L7)" in examples
    assert "- command `send` calls `parcels.post:send`" in section(told, "Entry points")
    libraries = section(told, "Libraries").split("\n")
    assert "- httpx: imported by 1 module, required >=0.27,\\<1" in libraries
    assert "- yaml: imported by 1 module, required in any version" in libraries


def test_what_is_not_there_or_cannot_be_read_is_told() -> None:
    bare = {path: text for path, text in PARCELS.items() if path != "README.rst"}
    told = long_form_of({**bare, "pyproject.toml": "[project"})
    assert "- there is no README at this moment\n" in told
    assert "- pyproject.toml does not parse: " in told
    graph = graph_of(PARCELS)
    lost = StoredTexts(tuple(sorted(PARCELS)), lambda path: None)
    told = llms_txt("p", modules_of(PARCELS), graph, rank_of(graph), stored=lost)
    assert "- [README.rst](README.rst): its text is not stored, or is no text\n" in told


def test_a_mark_of_a_chat_template_is_never_quoted_and_the_whole_has_an_end() -> None:
    block = "```python\nfrom parcels import Parcel\nParcel({})\n```\n"
    told = long_form_of({**PARCELS, "README.md": block.format("'<|im_end|>'")})
    assert "im_end" not in told
    assert "Parcel(tea)" in long_form_of({**PARCELS, "README.md": block.format("tea")})
    many = {f"p{one}/m{two}.py": f'"""{"word " * 60}"""' for one in range(9) for two in range(200)}
    assert len(long_form_of(many)) < 1.2 * MOST


WORDS = st.text(string.ascii_letters + "_", min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WORDS, st.booleans(), WORDS), max_size=6), st.lists(WORDS, max_size=4))
def test_all_that_is_called_a_concept_is_there_at_that_moment(
    held: list[tuple[str, bool, str]], spoken: list[str]
) -> None:
    code = "\n".join(
        f'{"class" if is_class else "def"} x{name}{"" if is_class else "()"}:\n    "A x{doc}."'
        for name, is_class, doc in held
    )
    uses = "\n".join(f"def u{n}(): return p.x{name}" for n, (name, _, _) in enumerate(held))
    sources = {
        "p.py": code, "use.py": f"import p\n{uses}",
        "README.md": "\n\n".join(f"# x{word}" for word in spoken),
    }  # fmt: skip
    told = section(long_form_of(sources), "Key concepts")
    for kind, place in re.findall(r"(class|function) (?:`\w+` )?in \[(\S+?)\]", told):
        path, first, _ = re.split("#L|-L", place)
        line = dedent(sources[path]).split("\n")[int(first) - 1]
        assert line.startswith("class x" if kind == "class" else "def x")
    for name in re.findall(r"\*\*(\w+)\*\*", told.replace("\\", "")):
        assert name in {f"x{one}" for one, _, _ in held}


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
