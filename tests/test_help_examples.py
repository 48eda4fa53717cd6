"""What `--help` shows can be typed: it names what is there, or what README or the demo makes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from backcast.engine.history.address import Address
from backcast.engine.interfaces.cli import cli, main
from backcast.engine.log import EventStore
from backcast.engine.log.importers import Report, import_batches
from backcast.engine.log.importers.events import read
from backcast.engine.log.remote import is_remote

HERE = Path(__file__).parents[1]
ROOT = click.Context(cli, info_name="backcast")
YOURS = re.compile(r"(runs/|trajectories/|more/|(run|session)\.(jsonl|traj))")
"Paths that stand for a reader's own files."
NEEDS = re.compile(
    r"--model|https?:|s3:|dask:|~/|commit:|--recent|--follow|--on |>>|\bhttpx|\bhistory|\btasks@"
    r"|\bdispatch |\brecord |\bmcp|\bresume|\bredact recorded|\bledger tasks|\bask-|runs/"
    r"|trajectories|till~1|view (?!.*--html)|run\.jsonl"
)
"What no model, net, server or history of others is there for."


def commands(
    group: click.Group = cli, context: click.Context = ROOT
) -> Iterator[tuple[click.Command, click.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        below = click.Context(command, context, info_name=name)
        yield command, below
        if isinstance(command, click.Group):
            yield from commands(command, below)


def examples() -> list[str]:
    """Return the examples of all helps, each as one line."""
    found = []
    for command, _ in commands():
        text = (command.help or "").replace("\\\n", " ")
        found += re.findall(r"^ *(backcast [a-z].*?)(?:  +#.*)?$", text, re.MULTILINE)
    return found


EXAMPLES = examples()


def made() -> set[str]:
    """Return the tasks of the fixtures, and those that README or the demo makes."""
    readme, demo = ((HERE / name).read_text() for name in ("README.md", "scripts/demo.py"))
    words = readme + demo
    names = {"recorded", *re.findall(r"backcast dispatch (\w+)\.md", words)}
    names |= set(re.findall(r"import git ~/src/(\w+)", words))
    names |= set(re.findall(r'"--as", "(\w+)"', words))
    for log in (HERE / "fixtures").glob("*/*.jsonl"):
        names |= set(re.findall(r'"task_id": ?"([^"]+)"', log.read_text()))
    return names


def parsed(example: str) -> click.Context:
    """Return what a command line means, as its command reads it; `UsageError` where it is none."""
    words, command, context = shlex.split(example.partition(" >> ")[0])[1:], cli, ROOT
    below: click.Command = command
    while isinstance(below, click.Group):
        found = below.get_command(context, words[0])
        assert found, example
        context = click.Context(found, context, info_name=words.pop(0))
        below = found
    return below.make_context(below.name, words, parent=context.parent)


def test_the_commands_that_are_typed_first_show_how() -> None:
    shown = {context.command_path: command.help or "" for command, context in commands()}
    for name in ("tasks", "fsck", "import git", "import events", "show versions", "verify"):
        assert f"backcast {name}" in shown[f"backcast {name}"]
    assert len(EXAMPLES) > 100


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_names_what_is_there_or_is_made(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fixtures").symlink_to(HERE / "fixtures")
    monkeypatch.chdir(tmp_path)
    values = parsed(example).params.values()
    addresses = [
        one for value in values for one in (value if isinstance(value, tuple) else (value,))
        if isinstance(one, Address)
    ]  # fmt: skip
    for address in addresses:
        if address.log:
            there = Path(address.log).exists() or is_remote(address.log)
            assert there or YOURS.match(address.log), example
        elif address.task and not YOURS.match(address.task):
            name = address.task.partition("~")[0]
            assert name in made() or name.startswith("ask-"), example
    for path in re.findall(r"(?<![\w/])fixtures/[\w./-]+", example):
        assert Path(path).exists(), example


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the logs that README imports."""
    path = tmp_path_factory.mktemp("examples") / "backcast.db"
    with EventStore.open(f"sqlite:///{path}") as opened:
        for name in ("till", "validators"):
            report = Report()
            log = HERE / f"fixtures/logs/{name}.jsonl"
            import_batches(opened, "events", read(log, None, report), report)
    return path


@pytest.mark.parametrize("example", [line for line in EXAMPLES if not NEEDS.search(line)])
def test_each_example_that_needs_no_model_and_no_net_works(
    example: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "fixtures").symlink_to(HERE / "fixtures")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BACKCAST_STORE", raising=False)
    for name in ("backcast.db", "runs.db"):
        Path(name).write_bytes(store.read_bytes())
    Path("mine.toml").write_text('base = "coverage"\nerrors = 0\n')
    with pytest.raises(SystemExit) as end:
        main(shlex.split(example)[1:])
    said = capsys.readouterr().err
    worse = example.startswith("backcast regress")  # as a policy that shows no failures is
    assert end.value.code in ((0, None, 1) if worse else (0, None)), said
