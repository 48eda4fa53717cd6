"""A run over a list of tasks as commands begin it, watch it, and show it."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backcast.domain.json_text import json_text
from backcast.engine.interfaces.options import opened
from backcast.engine.interfaces.terminal import escaped, message, say

if TYPE_CHECKING:
    from backcast.engine.interfaces.proxy.beside import ProxyBeside
    from backcast.projections import dispatches

INTERRUPTED, TERMINATED = 128 + 2, 128 + 15


def dispatch_tasks(tasks: Path, url: str, **options: Any) -> None:
    """Work through a list of tasks; exits with 1 where a task is not done."""
    from backcast.engine.workflow.dispatch.folders import swept_after

    terminated = list[int]()

    def interrupt(number: int, frame: object) -> None:
        terminated.append(number)
        raise KeyboardInterrupt

    # A service that is stopped has as much to tell, and to write down, as a person who ends it.
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with swept_after():
            stopped = _worked_through(tasks, url, **options)
    finally:
        signal.signal(signal.SIGTERM, before)
    if stopped == "interrupted":
        message("interrupted; the same command goes on from here")
        sys.exit(TERMINATED if terminated else INTERRUPTED)
    sys.exit(bool(stopped))


def _worked_through(tasks: Path, url: str, **options: Any) -> str:
    """Work through a list of tasks, print its ledger, and return why it stopped, or nothing."""
    from backcast.domain.doubtful_tasks import doubtful_lines
    from backcast.domain.ledger import STALLS
    from backcast.domain.spending import Allowance
    from backcast.engine.interfaces.dispatch_endings import beginning, ending
    from backcast.engine.log.recorder.addresses import scheme_of, sqlite_file
    from backcast.engine.workflow.dispatch.agents import agent_of, program_of
    from backcast.engine.workflow.dispatch.budget import parsed
    from backcast.engine.workflow.dispatch.dispatch_run import DispatchRun, DispatchSettings
    from backcast.engine.workflow.dispatch.loop import begin, work
    from backcast.engine.workflow.dispatch.routing_file import routes_in, routing_in
    from backcast.engine.workflow.dispatch.source import source_at
    from backcast.engine.workflow.sandbox.run import SandboxLimits

    files = [Path(sqlite_file(url))] if scheme_of(url) == "sqlite" else []
    source = source_at(options["repo"], [tasks, *files])
    limits = {name: options[name] for name in ("seconds", "silence", "window")
              if options[name]}  # fmt: skip
    if bool(options["implementer"]) == bool(options["routing"]):
        raise click.UsageError("needed --implementer AGENT or --routing FILE, one of the two")
    routes = routes_in(options["routing"], options["own"]) if options["routing"] else None
    names = routes.policy.agents if routes else [options["implementer"]]
    known = {named: agent_of(named, options["own"]).model_copy(update=limits)
             for named in filter(None, (*names, options["reviewer"]))}  # fmt: skip
    for form in known.values():
        program_of(form, source.top)  # refused now, and not after other agents have worked
    stalls = options["stalls"] or options["routing"]
    name = options["name"] or tasks.stem
    seconds = options["test_seconds"]
    with opened(url, create=True) as store, _proxy(options["to"], url, name) as proxy:
        settings = DispatchSettings(
            implementer=known[names[0]], reviewer=known.get(options["reviewer"] or ""),
            routes=routes._replace(forms=known) if routes else None,
            stalls=routing_in(stalls).stalls if stalls else STALLS,
            tests=options["tests"], attempts=options["attempts"], proxy=proxy,
            limits=SandboxLimits(seconds=seconds, cpu_seconds=int(seconds) + 1,
                                 full=options["sandbox"] == "full"),
            budget=parsed(options["budget"]) if options["budget"] is not None else Allowance(),
            only=options["only"], again=options["again"], concurrency=options["concurrency"],
        )  # fmt: skip
        run = DispatchRun(store, name, source, tasks, settings, lambda text: message(escaped(text)))
        for note in source.notes:
            message(f"note: {escaped(note)}")
        for line in doubtful_lines(tasks.read_text(errors="replace")):
            message(f"note: {escaped(f'{tasks}: {line}')}")
        stopped = ""
        begin(run)
        for line in beginning(run, known.values(), options["to"]):
            message(escaped(line))
        try:
            stopped = work(run)
        except KeyboardInterrupt:
            stopped = "interrupted"
        show_ledger(run.state, name, options["as_json"])
        for line in ending(run):
            message(escaped(line))
    return stopped


@contextmanager
def _proxy(to: str | None, url: str, name: str) -> "Iterator[ProxyBeside | None]":
    """Start a proxy before a server, and return it; None where there is no server."""
    if to is None:
        yield None
        return
    from backcast.engine.interfaces.proxy.beside import proxy_beside

    with proxy_beside(to, url, name) as proxy:
        yield proxy


def show_ledger(state: "dispatches.State", name: str, as_json: bool) -> None:
    """Print the tasks of a list, and of each dispatch what it claims and whether that holds."""
    from backcast.projections import dispatches

    rows = list[dict[str, Any]]()
    for task in state.tasks:
        decided = state.decided.get(task.id)
        rows.append({
            "task": task.id, "title": task.title, "status": task.status,
            "decided": decided.action if decided else None,
            "reason": decided.reason if decided else None,
            "commit": decided.commit if decided else None,
            "dispatches": [row_of(name, version, found)
                           for version, found in dispatches.of_item(state, task.id)],
        })  # fmt: skip
    if as_json:
        say(json_text({"task_id": name, "tasks": rows}))
        return
    for row in rows:
        mark = {"done": "x", "doing": "-"}.get(row["status"], " ")
        reason = f": {row['reason']}" if row["reason"] else ""
        decided_text = f"  ({row['decided']}{reason})" if row["decided"] else ""
        say(escaped(f"[{mark}] {row['task']} {row['title']}{decided_text}"))
    show_dispatches([entry for row in rows for entry in row["dispatches"]], differences=False)


def show_dispatches(made: list[dict[str, Any]], *, differences: bool = True) -> None:
    """Print what each dispatch claims and what we found, and where the two differ."""
    from backcast.engine.interfaces.tool_shares import said
    from backcast.engine.interfaces.views import console, table

    if made:
        table(
            console(), ("dispatch", "task", "agent", "ended", "claims", "we found",
                        "definitions of tools"),
            [(entry["dispatch"], entry["item"], _agent(entry),
              entry["outcome"] or "under way", entry["claims"], entry["found"],
              said(entry.get("tools", {}))) for entry in made],
        )  # fmt: skip
        for entry in made if differences else ():
            for difference in entry["differences"]:
                say(escaped(f"{entry['dispatch']}: {difference}"))


def _agent(entry: dict[str, Any]) -> str:
    return f"{entry['role']} {entry['agent']}{':' if entry['model'] else ''}{entry['model'] or ''}"


def row_of(name: str, version: int, found: "dispatches.DispatchState") -> dict[str, Any]:
    """Return a dispatch as JSON."""
    started, ended, claimed, checked = found.started, found.ended, found.claimed, found.checked
    result = claimed.result if claimed else None
    claims = ""
    if claimed:
        claims = claimed.error or ""
    if result:
        claims = str(result.get("status") or result.get("assessment"))
    return {
        "dispatch": f"{name}@{version}", "item": started.item, "role": started.role,
        "agent": started.agent, "model": started.model or None, "attempt": started.attempt,
        "calls": ended.calls if ended else None,
        "outcome": ended.outcome if ended else None, "seconds": ended.seconds if ended else None,
        "claims": claims, "result": result,
        "files": [file.path for file in ended.files] if ended else [],
        "found": (checked.reason or "") if checked else "",
        "accepted": checked.accepted if checked else None,
        "differences": list(checked.differences) if checked else [],
        "recorded_as": started.recorded_as,
    }  # fmt: skip
