"""Real agents on lists of tasks over two real repositories, against a server with a script.

Each agent works on a list of its own; two tasks run side by side. The server has them do the task,
claim what is not so, give up in the midst of a block, or say nothing of use. Everything but the
model is real: the agent, its tools, the proxy, git, and the run of the tests.
"""

import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from backcast.domain.dispatch_events import (
    ClaimChecked,
    DispatchEnded,
    DispatchStarted,
    ItemDecided,
    ResultClaimed,
)
from backcast.engine.interfaces.proxy.beside import proxy_beside
from backcast.engine.log.store import EventStore
from backcast.engine.replay.verify import verified
from backcast.engine.workflow.dispatch.agents import agent_of
from backcast.engine.workflow.dispatch.dispatch_run import DispatchRun, DispatchSettings
from backcast.engine.workflow.dispatch.loop import begin, work
from backcast.engine.workflow.dispatch.source import source_at
from backcast.engine.workflow.sandbox.run import SandboxLimits
from scripts.benches.dispatched import committed, copies, own_temporary
from scripts.benches.figures import Bench, Bound, Figure
from tests import scripted_model
from tests.upstreams import Playing, upstream

GROUP = "real agents, a scripted model"
AGENTS = ("codex", "mini")
TASKS, FEW = 15, 5
LIMITS = SandboxLimits(seconds=60, cpu_seconds=60)
KINDS = ("right", "nothing done", "failing test", "cut block", "no block")
"What is answered at first; at the second time it is right."


def measure(bench: Bench) -> list[Figure]:
    """Return what came of each claim; agents are those of the folder that BACKCAST_AGENTS names."""
    os.environ["PATH"] = f"{os.environ.get('BACKCAST_AGENTS', '')}{os.pathsep}{os.environ['PATH']}"
    count, figures = TASKS if bench.full else FEW, list[Figure]()
    total = {"tasks": 0, "done": 0, "false": 0, "completed": 0, "left": 0, "prompts": 0, "same": 0}
    for name, place in zip(AGENTS, copies(bench, 2), strict=True):
        bench.say(f"{name}: {count} tasks on {place.name}")
        began = time.monotonic()
        found = _worked(bench.folder, place, name, count)
        total = {key: total[key] + found[key] for key in total}
        seconds = (time.monotonic() - began) / count
        ledger, files = found["ledger"], found["files"]
        figures += [
            Figure(GROUP, f"{name}: seconds for a task", [seconds], "s", f"{seconds:.1f}"),
            Figure(GROUP, f"{name}: tokens of the ledger in all prompts", [ledger], "",
                   f"{ledger:,}", f"of what it stands for: {files:,}"),
        ]  # fmt: skip
    tasks, false = total["tasks"], total["false"]
    return [
        *figures,
        Figure(GROUP, "false claims that complete a task", [total["completed"]], "",
               f"{total['completed']} of {false}", f"believing the claim: {false}",
               must=Bound("<=", 0)),
        Figure(GROUP, "tasks that are done at the end", [total["done"]], "",
               f"{total['done']} of {tasks}"),
        Figure(GROUP, "prompts that are rebuilt and derived the same", [total["same"]], "",
               f"{total['same']} of {total['prompts']}", must=Bound(">=", total["prompts"])),
        Figure(GROUP, "folders left", [total["left"]], "", f"{total['left']}",
               must=Bound("<=", 0)),
    ]  # fmt: skip


def _worked(folder: Path, place: Path, name: str, count: int) -> dict[str, int]:
    """Have an agent work through a list, and return what came of it."""
    tasks = place / "tasks.md"
    tasks.write_text("".join(f"- [ ] {n}. Add value_{n}() to planted_{n}.py\n"
                             for n in range(1, count + 1)))  # fmt: skip
    committed(place, "tasks")
    url = f"sqlite:///{folder}/{name}.db"
    Path(f"{folder}/{name}.db").unlink(missing_ok=True)
    with own_temporary() as temporary, upstream(_play) as server, \
            EventStore.open(url, create=True) as store, \
            proxy_beside(server.url, url, name) as proxy:  # fmt: skip
        settings = DispatchSettings(
            implementer=agent_of(f"{name}:local"), tests=("test_planted_*.py",), limits=LIMITS,
            attempts=3, proxy=proxy, concurrency=2,
        )  # fmt: skip
        run = DispatchRun(store, name, source_at(place, [tasks]), tasks, settings)
        begin(run)
        work(run)
        left = len(list(temporary.iterdir()))
        facts = [event.fact for event in store.read(name)]
        verdicts = list(verified(store, name))
    return {**_counted(facts), "tasks": count, "left": left, "prompts": len(verdicts),
            "same": sum(verdict.holds for verdict in verdicts)}  # fmt: skip


def _counted(facts: Sequence[object]) -> dict[str, int]:
    """Return false claims, those that completed a task, done tasks, and tokens of ledgers."""
    claims = {fact.dispatch for fact in facts if isinstance(fact, ResultClaimed)
              and fact.result and fact.result.get("status") == "completed"}  # fmt: skip
    patches = {fact.dispatch: len(fact.files) for fact in facts if isinstance(fact, DispatchEnded)}
    wrong = {fact.dispatch for fact in facts if isinstance(fact, ClaimChecked)
             and (fact.failed or not patches.get(fact.dispatch))} & claims  # fmt: skip
    accepted = {fact.dispatch for fact in facts if isinstance(fact, ClaimChecked)
                and fact.accepted}  # fmt: skip
    built = [fact.built for fact in facts if isinstance(fact, DispatchStarted) and fact.built]
    done = [fact for fact in facts if isinstance(fact, ItemDecided) and fact.action == "done"]
    parts = [part.tokens for one in built for part in one.parts if part.name == "ledger"]
    return {"false": len(wrong), "completed": len(wrong & accepted), "done": len(done),
            "ledger": sum(parts), "files": sum(one.in_its_place or 0 for one in built)}  # fmt: skip


def _play(asked: Playing) -> None:
    """Answer as the number of the task has it."""
    body = getattr(asked, "body", b"").decode(errors="replace").replace("\\n", "\n")
    found = re.search(r"# Task (\d+)", body)
    number = int(found[1]) if found else 1
    again = "# Attempt" in body or "could not be read" in body
    kind = "right" if again else KINDS[number % len(KINDS)]
    value = 0 if kind == "failing test" else number
    files = [f"planted_{number}.py", f"test_planted_{number}.py"]
    code = f"def value_{number}():\n    return {value}\n"
    test = (f"from planted_{number} import value_{number}\n\n\ndef test_{number}():\n"
            f"    assert value_{number}() == {number}\n")  # fmt: skip
    made = "true" if kind == "nothing done" or "could not be read" in body else (
        f"printf '%b' {json.dumps(code)} > {files[0]};"
        f" printf '%b' {json.dumps(test)} > {files[1]}"
    )  # fmt: skip
    claim = {"task_id": str(number), "status": "completed", "summary": "It is done.",
             "files_changed": files, "tests": [{"command": "pytest", "passed": True}]}  # fmt: skip
    block = f"BEGIN_DISPATCH_RESULT\n{json.dumps(claim)}\nEND_DISPATCH_RESULT"
    said = {"cut block": block[:-40], "no block": "I have done it."}.get(kind, block)
    scripted_model.play(asked, said, made)
