"""How much of a prompt is that of the one before, when the same module is worked on again?

After each prompt the module's text changes within the function and a check fails, as a loop would
record them, in a copy of the store.
"""

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from backcast.domain.events import CheckFailure, ChecksRan, ContextBuilt, Fact, ModuleIteration
from backcast.domain.moment import NOW
from backcast.engine.context.recorded import record_context
from backcast.engine.history.task_states import states_at
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from backcast.engine.memory.outlines import Outlining
from scripts.benches.context_ours import profile_of, request_of
from scripts.benches.context_source import Source, node_of
from scripts.benches.context_tasks import Task
from scripts.benches.figures import Bound, Figure
from scripts.benches.workload import checkpoint, open_store

TOKENS = 8_000
MODULES, PROMPTS = 6, 5


class Turn(NamedTuple):
    """A prompt that was recorded after another one about the same function."""

    shared: float
    "The share of its tokens with which the one before began too."
    stored: float
    "Bytes that its record takes, new texts included, for each byte of the prompt."


def turns(group: str, path: Path, name: str, asked: Sequence[Task]) -> Iterator[Figure]:
    """What a prompt shares with the one before, and what its record takes; `path` is a store's."""
    copy = path.with_name(f"{path.stem}-turns.db")
    copy.unlink(missing_ok=True)
    checkpoint(path)
    shutil.copy(path, copy)
    tasks = list({task.path: task for task in asked}.values())[:MODULES]
    with open_store(copy) as store:
        found = [_turns(store, copy, name, task) for task in tasks]
    for left in copy.parent.glob(f"{copy.name}*"):
        left.unlink()
    told = f"{len(tasks)} modules, {PROMPTS} prompts of {TOKENS:,} tokens each"
    shares = [100 * one.shared for _, *later in found for one in later]
    what = "leading tokens that a consecutive prompt shares"
    yield Figure(group, what, shares, "%", told, must=Bound(">=", 80))
    first = [one.stored for one, *_ in found]
    later = [one.stored for _, *rest in found for one in rest]
    what = "bytes of a CONTEXT_BUILT and its new texts, to those of the prompt"
    yield Figure(group, f"{what}: the first", first, "x")
    yield Figure(group, f"{what}: a consecutive one", later, "x")


def _turns(store: EventStore, path: Path, name: str, task: Task) -> list[Turn]:
    found = []
    for number in range(PROMPTS):
        before = _stored(path)
        context = record_context(store, name, NOW, request_of(task), profile_of(TOKENS))
        size = sum(len(text.encode()) for _, text in context.messages)
        *_, event = store.read(name, after=store.version(name) - 1)
        assert isinstance(event.fact, ContextBuilt)
        share = (event.fact.shared_prefix or 0) / context.tokens
        found.append(Turn(share, (_stored(path) - before) / size))
        task = _iterated(store, name, task, states_at(store, name, NOW), number)
    return found


def _stored(path: Path) -> int:
    """The bytes of all facts and texts of a store, as they are stored."""
    with closing(sqlite3.connect(path)) as connection:
        asked = (
            "SELECT (SELECT total(length(body)) FROM events)"
            " + (SELECT total(length(packed)) FROM blobs)"
        )
        return int(connection.execute(asked).fetchone()[0])


def _iterated(store: EventStore, name: str, task: Task, states: Any, number: int) -> Task:
    """Append what a loop would: the module's next text, and a check that failed; and the task, its
    function as it is now."""
    module = states.graph.modules[task.path]
    text = store.get(module.source).decode(errors="replace").replace("\r\n", "\n")
    source = Source(text.encode())
    symbol = source.symbols[task.name]
    node = node_of(source.tree, symbol.first)
    assert node is not None
    line = " " * node.body[-1].col_offset + f"turn_{number} = {number}"
    body = Blob(
        "\n".join([*source.lines[: symbol.last], line, *source.lines[symbol.last :]]).encode()
    )
    failure = CheckFailure(name=f"test_{node.name}", message=f"assert {number} == {number + 1}")
    facts: list[Fact] = [
        ModuleIteration(module_name=task.path, iteration=100 + number, source=body.ref),
        ChecksRan(passed=3, failed=1, module_name=task.path, failures=(failure,)),
    ]
    store.append(name, facts, after=store.version(name), writer="bench", blobs=[body])
    Outlining(store, name).catch_up()
    return task._replace(before=f"{source.full(symbol)}\n{line}")
