"""How much of a prompt is that of the one before, when the same module is worked on again?

After each prompt the module's text changes within the function and a check fails, as a loop would
record them, in a copy of the store.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domain.events import CheckFailure, ChecksRan, ContextBuilt, Fact, ModuleIteration
from domain.moment import NOW
from engine.context.recorded import record_context, states_at
from engine.log.blobs import Blob
from engine.log.store import EventStore
from engine.memory.outlines import Outlining
from scripts.benches.context_ours import profile_of, request_of
from scripts.benches.context_source import Source, node_of
from scripts.benches.context_tasks import Task
from scripts.benches.figures import Bound, Figure
from scripts.benches.workload import checkpoint, open_store

TOKENS = 8_000
MODULES, PROMPTS = 6, 5


def turns(group: str, path: Path, name: str, asked: Sequence[Task]) -> Figure:
    """The share of leading tokens that a prompt has of the one before; `path` is a store's."""
    copy = path.with_name(f"{path.stem}-turns.db")
    copy.unlink(missing_ok=True)
    checkpoint(path)
    shutil.copy(path, copy)
    tasks = list({task.path: task for task in asked}.values())[:MODULES]
    with open_store(copy) as store:
        shares = [one for task in tasks for one in _shares(store, name, task)]
    for left in copy.parent.glob(f"{copy.name}*"):
        left.unlink()
    return Figure(
        group,
        "leading tokens that a consecutive prompt shares",
        [100 * one for one in shares],
        "%",
        ours=f"{len(tasks)} modules, {PROMPTS} prompts of {TOKENS:,} tokens each",
        must=Bound(">=", 80),
    )


def _shares(store: EventStore, name: str, task: Task) -> list[float]:
    target, found = request_of(task).target, []
    for number in range(PROMPTS):
        record_context(store, name, NOW, request_of(task), profile_of(TOKENS))
        task = _iterated(store, name, task, states_at(store, name, NOW), number)
    for event in store.read(name, types=["CONTEXT_BUILT"]):
        fact = event.fact
        if isinstance(fact, ContextBuilt) and fact.target == target:
            found.append((fact.shared_prefix or 0) / (fact.tokens or 1))
    # The first one follows a prompt about another function.
    return found[1:]


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
