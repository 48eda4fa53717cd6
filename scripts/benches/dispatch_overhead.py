"""The time of a dispatch beside the agent itself, on a repository of 500 modules.

The agent does nothing, and is started by itself in turns with a whole dispatch of it: a work tree
of its own, the keeper, its end, what git sees, and the facts. Our run of the tests is not in it,
nor the removal of the folder, which goes on beside that and has a row of its own.
"""

import os
import subprocess
import sys
import time

from backcast.engine.log.store import EventStore
from backcast.engine.workflow.dispatch.dispatch_run import DispatchRun, DispatchSettings
from backcast.engine.workflow.dispatch.dispatching import dispatch
from backcast.engine.workflow.dispatch.loop import begin
from backcast.engine.workflow.dispatch.next_step import NextStep
from backcast.engine.workflow.dispatch.source import source_at
from scripts.benches.dispatched import agent, committed, fresh, git, own_temporary
from scripts.benches.figures import Bench, Bound, Figure

GROUP = "one dispatch, 500 modules"
MODULES, ROUNDS = 500, 15
BODY = "def f{n}(a, b):\n    return a + b + {n}\n\n\n"


def measure(bench: Bench) -> list[Figure]:
    """Return what a dispatch takes more than its agent alone."""
    place = fresh(bench, "modules")
    for number in range(MODULES):
        file = place / f"pkg{number % 20}/module_{number}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(BODY.format(n=n) for n in range(40)))
    (bench.folder / "modules.db").unlink(missing_ok=True)
    tasks = place / "tasks.md"
    tasks.write_text("- [ ] 1. Do nothing\n")
    git(place, "init", "-q")
    committed(place, "modules")
    git(place, "gc", "-q")  # as repositories are that are older than a minute
    nothing = agent("nothing")
    alone, whole, cpu, removal = list[float](), list[float](), list[float](), list[float]()
    with own_temporary(), EventStore.open(f"sqlite:///{place}.db") as store:
        settings = DispatchSettings(implementer=nothing)
        run = DispatchRun(store, "overhead", source_at(place, [tasks]), tasks, settings)
        begin(run)
        [item] = run.items()
        for number in range(ROUNDS + 1):
            bench.say(f"round {number} of {ROUNDS}")
            start, used = time.perf_counter(), _used()
            subprocess.run([sys.executable, *nothing.arguments], cwd=place, input=b"# Task 1\n",
                           stdout=subprocess.DEVNULL, check=True)  # fmt: skip
            between, alone_used = time.perf_counter(), _used()
            dispatch(run, item, NextStep("implement", number + 1))
            ended = time.perf_counter()
            run.settle_leaving()
            if number:
                alone.append(between - start)
                whole.append(ended - between)
                removal.append(1000 * (time.perf_counter() - ended))
                cpu.append(1000 * ((_used() - alone_used) - (alone_used - used)))
    more = [1000 * (a - b) for a, b in zip(whole, alone, strict=True)]
    middle, agents = sorted(whole)[len(whole) // 2], sorted(alone)[len(alone) // 2]
    return [
        Figure(GROUP, "removal of its folder, beside what follows", removal, "ms", ""),
        Figure(GROUP, "processor time beside the agent itself", cpu, "ms",
               "of all processes", must=Bound("<=", 300)),
        Figure(GROUP, "time beside the agent itself", more, "ms",
               f"{middle * 1000:.0f} ms", f"the agent alone: {agents * 1000:.0f} ms",
               must=Bound("<=", 300)),
    ]  # fmt: skip


def _used() -> float:
    """Return the processor time of this process and of all that it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
