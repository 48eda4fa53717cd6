"""The page of an agent's run: what it read again, whose events nothing reads, kinds and colours."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from backcast.engine.interfaces.view.moment_panel import moment_panel
from backcast.engine.interfaces.view.panels import KINDS, PanelMaker, shade
from backcast.engine.interfaces.view.reading import RunReader
from backcast.engine.interfaces.view.step_panel import step_panel
from backcast.engine.log.importers import Report, import_batches, swe_agent
from backcast.engine.log.open_logs import opened
from backcast.engine.log.store import EventStore
from backcast.engine.memory.import_log import run

VIEW = "str_replace_editor view /shapes/area.py --view_range"


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[PanelMaker]:
    """A run that reads lines 1 to 9, others, and then the first ones again."""
    shown = {"1 9": "1\tside = 4\n2\tarea = side * side\n", "10 19": "10\tprint(area)\n"}
    steps = [
        {"response": "See.", "action": f"{VIEW} {lines}", "observation": shown[lines]}
        for lines in ("1 9", "10 19", "1 9")
    ]
    steps.append({"response": "It ends.", "action": "submit", "observation": ""})
    history = [{"role": "assistant", "content": f"turn {number}"} for number in range(9)]
    path = tmp_path / "run.traj"
    path.write_text(json.dumps({"trajectory": steps, "history": history}))
    with EventStore.open("sqlite://") as store:
        import_batches(store, "swe-agent", swe_agent.read(path, "t", Report()), Report())
        reader = RunReader(store, "t")
        reader.sequence.read_on()
        yield PanelMaker(reader)


def test_a_step_that_reads_the_same_lines_again_says_so_with_a_link(maker: PanelMaker) -> None:
    first, other, again, last = [step for step in maker.reader.sequence.steps if step.number]
    said = [step_panel(maker, step).count("Read again") for step in (first, other, again, last)]
    assert said == [0, 0, 1, 0]
    line = step_panel(maker, again).partition("Read again")[2].partition("</p>")[0]
    assert "<code>/shapes/area.py</code>" in line
    assert f"unchanged since {maker.link(first.replied)}" in line


def test_events_that_only_their_own_program_reads_are_folded(maker: PanelMaker) -> None:
    panel = step_panel(maker, maker.reader.sequence.steps[-1])
    assert "9 events that only their own program reads" in panel
    assert panel.count("SWE_AGENT_HISTORY") == 9


def test_a_kind_has_its_colour_in_every_prompt(maker: PanelMaker) -> None:
    assert len({shade(kind) for kind in (*KINDS, "settings")}) == len(KINDS) + 1
    assert shade("settings") == shade("a kind that nobody has seen")
    panels = [step_panel(maker, step) for step in maker.reader.sequence.steps if step.number]
    assert sum(f'class="{shade("tool results")}"' in panel for panel in panels) == 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("foreign/claude-code.jsonl", "a session, imported from claude-code: its log ends here"),
        ("foreign/codex.jsonl", "a session, imported from codex: its log ends here"),
        ("recorded/mender.jsonl", "code was written, without a plan or a request of ours"),
    ],
)
def test_a_session_that_is_over_is_not_generating_and_waits_for_nothing(
    name: str, words: str
) -> None:
    path = Path("fixtures") / name
    with ExitStack() as stack:
        if path.parent.name == "recorded":
            log = stack.enter_context(opened(str(path)))
            store, task = log.store, log.tasks[0]
        else:
            store = stack.enter_context(EventStore.open("sqlite://"))
            run(store, path.stem, path)
            task = store.tasks()[0]
        reader = RunReader(store, task)
        reader.sequence.read_on()
        panel = moment_panel(PanelMaker(reader), reader.sequence.version)
        assert words in panel
        assert "generating" not in panel
        assert "waiting for" not in panel
        assert ">started" not in panel
        if reader.sequence.format:
            assert "its log goes on" in moment_panel(PanelMaker(reader), 2)
