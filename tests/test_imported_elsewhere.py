"""Foreign logs that came into a store as an export of another one, and are imported there again."""

from pathlib import Path

import pytest

from backcast.domain.events import WorkflowEvent
from backcast.engine.log import EventStore
from backcast.engine.log.importers.events import export_lines
from backcast.engine.memory.import_log import run

FOREIGN = Path(__file__).parents[1] / "fixtures/foreign"
SAMPLES = {
    "swe-agent": "swe-agent.traj",
    "openhands": "openhands.jsonl",
    "claude-code": "claude-code.jsonl",
    "cline": "cline.json",
    "inspect": "inspect.json",
    "codex": "codex.jsonl",
    "pi": "pi.jsonl",
    "qwen": "qwen.jsonl",
    "atif": "atif.json",
}


def exported(store: EventStore, folder: Path) -> Path:
    """A file with all tasks of a store."""
    file = folder / "exported.jsonl"
    lines = (line for task in store.tasks() for line in export_lines(store, task))
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


@pytest.mark.parametrize("format", SAMPLES)
def test_its_records_are_known_by_what_they_say(format: str, tmp_path: Path) -> None:
    path = FOREIGN / SAMPLES[format]
    with EventStore.open("sqlite://") as first, EventStore.open("sqlite://") as second:
        added = run(first, format, path)
        run(second, "events", exported(first, tmp_path))
        here, there = run(first, format, path), run(second, format, path)
        assert added.added > 3
        assert (there.added, there.known) == (here.added, here.known)
        assert here.added == 0


def test_only_what_a_grown_log_has_more_is_added_behind_its_causes(tmp_path: Path) -> None:
    lines = (FOREIGN / "codex.jsonl").read_text().splitlines(keepends=True)
    log = tmp_path / "codex.jsonl"
    log.write_text("".join(lines[: len(lines) // 2]))
    with EventStore.open("sqlite://") as first, EventStore.open("sqlite://") as second:
        run(first, "codex", log)
        run(second, "events", exported(first, tmp_path))
        log.write_text("".join(lines))
        for store in (first, second):
            assert run(store, "codex", log).added > 0
        [task] = first.tasks()
        assert list(map(_said, first.read(task))) == list(map(_said, second.read(task)))


def _said(event: WorkflowEvent) -> tuple[object, ...]:
    return event.version, event.type, event.fact, event.timestamp, event.writer, event.because
