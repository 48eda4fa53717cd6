"""The README and the topics of `backcast help` are true: what they show runs, and prints that."""

import ast
import doctest
import re
import shlex
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path

import click
import pytest

import backcast.library  # noqa: F401 - a run of pytest in this process drops what it imports
from backcast.engine.interfaces.cli import cli, main
from backcast.engine.interfaces.commands.help import FOLDER, topics
from backcast.engine.interfaces.testing import plugin
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.workflow.sandbox.run import SandboxLimits
from backcast.engine.workflow.spec import RunLimits, spec_at

pytest_plugins = ["pytester"]

HERE = Path(__file__).parents[1]
README = (HERE / "README.md").read_text(encoding="utf-8")
PAGES = {"README": README} | {
    path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))
}
each_page = pytest.mark.parametrize("page", PAGES)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with the fixtures and no store yet."""
    (tmp_path / "fixtures").symlink_to(HERE / "fixtures")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # processes take longer to start than to work
    return tmp_path


def blocks(page: str) -> list[tuple[str, str]]:
    """Return the code blocks of a page, each behind its language."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", PAGES[page], re.DOTALL | re.MULTILINE)


def ran(command: str) -> tuple[str, int]:
    """Return what a command prints, as a terminal shows it, and its exit code."""
    screen = TextIOWrapper(BytesIO(), "utf-8", write_through=True)
    with redirect_stdout(screen), redirect_stderr(screen), pytest.raises(SystemExit) as end:
        main(shlex.split(command)[1:])
    screen.seek(0)
    return "\n".join(line.rstrip() for line in screen.read().splitlines()), int(end.value.code or 0)


@each_page
def test_what_it_shows_runs_and_prints_that(
    page: str, folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for language, text in blocks(page):
        if language == "console":
            type_in(text)
        elif language == "python" and "def test_" in text:
            (folder / "test_it.py").write_text(text)
            tokenizer_of("mistral-v3")  # imported before that run, too
            monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
            pytester: pytest.Pytester = request.getfixturevalue("pytester")
            monkeypatch.chdir(folder)
            result = pytester.runpytest_inprocess("-p", plugin.__name__, "test_it.py")
            assert result.ret == 0
            assert result.parseoutcomes()["passed"] > 0
        elif language == "python":
            exec(compile(text, f"Python of {page}", "exec"), {})


def type_in(text: str) -> None:
    """Type what stands behind each `$`; files are written as `cat` shows them."""
    code = 0
    for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
        if command.startswith("cat "):
            Path(command.removeprefix("cat ")).write_text(shown)
        elif command == "echo $?":
            assert (command, shown) == (command, f"{code}\n")
            code = 0
        else:
            assert code == 0, f"exit code before: {command}"
            printed, code = ran(command)
            check = doctest.OutputChecker().check_output
            assert check(shown, f"{printed}\n", doctest.ELLIPSIS), f"$ {command}\n{printed}"
    assert code == 0


def command_of(words: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """Return the command that words name, and the words behind its name."""
    command: click.Command = cli
    context = click.Context(cli, info_name="backcast")
    while isinstance(command, click.Group) and words and not words[0].isupper():
        found = command.get_command(context, words[0])
        assert found, f"{words[0]} is no command of {command.name}"
        command, words = found, words[1:]
        context = click.Context(command, context)
    return command, context, words


@each_page
def test_each_command_in_it_is_one_with_its_options(page: str) -> None:
    plain = "".join(text for language, text in blocks(page) if not language).replace("\\\n", " ")
    for line in re.findall(r"^backcast (.*?)(?: [|>].*)?$", plain, re.MULTILINE):
        command, context, words = command_of(shlex.split(line, comments=True))
        command.make_context(command.name, words, parent=context.parent)  # it runs nothing


@each_page
def test_each_command_in_its_text_has_the_options_that_stand_behind_it(page: str) -> None:
    text = re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.DOTALL | re.MULTILINE)
    for span in re.findall(r"`backcast ([^`]+)`", text):
        command, context, rest = command_of(re.split(r"\s--\s", span)[0].split())
        known = {option for one in command.get_params(context) for option in one.opts}
        assert {word for word in rest if word.startswith("-")} <= known, span


def test_what_the_text_says_behind_a_pipeline_works_as_it_stands() -> None:
    text = PAGES["pipelines"]
    exec(compile(blocks("pipelines")[0][1], "Python of pipelines", "exec"), {})
    [command] = re.findall(r"Then `(backcast verify [^`]+)` rebuilds the three prompts", text)
    printed, code = ran(command)
    assert (printed.splitlines()[-1], code) == ("3 prompts, 0 failed", 0)


def said(source: str) -> Iterator[str]:
    """Yield the texts in a module's source, with an X for each value that stands in one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_each_command_that_the_package_speaks_of_has_the_options_behind_it() -> None:
    spans = set()
    for file in (HERE / "engine").rglob("*.py"):
        for text in said(file.read_text(encoding="utf-8")):
            spans |= set(re.findall(r"(?:'|^    )backcast ([a-z]+\b[^'#\n]*)", text, re.MULTILINE))
    assert len(spans) > 60
    for span in sorted(spans):
        command, context, rest = command_of(re.split(r"\s--\s", span)[0].split())
        known = {option for one in command.get_params(context) for option in one.opts}
        assert {word for word in rest if re.match("--?[a-z]", word)} <= known, span


@each_page
def test_it_is_short_and_fits_a_screen(page: str) -> None:
    lines, file = PAGES[page].splitlines(), f"{page}.md"
    # A table is looked up, and grows by a row with each thing that it lists; nobody reads it whole.
    counted, most = (lines, 250) if page == "README" else (
        [line for line in lines if not line.startswith("|")], 90
    )  # fmt: skip
    over = len(counted) - most
    assert over <= 0, f"{file}: {over} lines too many beside its tables: cut what it says twice"
    assert [line for line in lines if len(line) > 110] == [], f"{file}: more than 110 columns"


def test_the_pictures_of_the_readme_are_there() -> None:
    paths = re.findall(r"^!\[[^\]]+\]\((\S+)\)$", README, re.MULTILINE)
    assert paths
    for path in paths:
        assert (HERE / path).read_bytes().startswith(b"\x89PNG"), path


def test_topics_are_listed_with_their_first_sentence_and_printed_as_they_stand() -> None:
    listed, code = ran("backcast help")
    assert code == 0
    lines = listed.splitlines()
    named = [line.split()[0] for line in lines if line.startswith("  ")]
    assert (lines[0], named[0]) == ("Start here", "moments")
    assert sorted(named) == sorted(topics()) != []
    for name, sentence in topics().items():
        assert re.fullmatch(r"[A-Z`].*[.]", sentence)
        assert sentence in listed
        assert ran(f"backcast help {name}")[0] == PAGES[name].strip("\n")
        assert PAGES[name].startswith("# ")
    assert "`backcast help` lists the topics" in " ".join(README.split())


def test_an_unknown_topic_is_one_line_that_tells_what_is_near() -> None:
    printed, code = ran("backcast help policie")
    assert code == 2
    assert printed.count("\n") == 0
    assert printed.startswith("backcast: no topic 'policie'; near it: policies")


def test_every_file_of_the_reading_list_is_there() -> None:
    paths = re.findall(r"^\d+\. `(\S+)`", README, re.MULTILINE)
    assert len(paths) == 12
    assert [path for path in paths if not (HERE / path).exists()] == []


def test_the_specification_that_is_shown_is_one_and_shows_the_defaults(folder: Path) -> None:
    [toml] = [text for language, text in blocks("specifications") if language == "toml"]
    (folder / "task.toml").write_text(toml)
    (folder / "test_validators.py").write_text("def test(): pass")
    spec = spec_at(folder / "task.toml")
    assert (spec.limits, spec.checks, spec.summaries) == (RunLimits(), SandboxLimits(), "derived")
    shown = tomllib.loads(toml)
    # What has no limit by default cannot be written, and stands there as a comment.
    unset = [name for name, value in RunLimits() if value is None]
    assert all(f"# {name} = " in toml for name in unset)
    assert [*shown["limits"], *unset] == [*RunLimits.model_fields]
    assert list(shown["checks"]) == list(SandboxLimits.model_fields)


def test_each_test_that_the_table_of_a_specification_names_is_one() -> None:
    named = set(re.findall(r"\btest_\w+", PAGES["spec-08"]))
    texts = [
        path.read_text(encoding="utf-8") for path in sorted((HERE / "tests").glob("test_*.py"))
    ]
    known = {
        name for text in texts for name in re.findall(r"^def (test_\w+)\(", text, re.MULTILINE)
    }
    assert len(named) >= 8
    assert named <= known


def test_on_a_terminal_a_topic_is_rendered_within_its_width(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "72")
    monkeypatch.setenv("NO_COLOR", "1")
    for words in (["help"], ["help", "testing"], ["help", "importing"]):
        with pytest.raises(SystemExit):
            main(words)
        out = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
        assert max(map(len, out.splitlines())) <= 72
        assert "##" not in out
