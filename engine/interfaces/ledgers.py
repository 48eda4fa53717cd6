"""The ledgers of a task, as text and as JSON, and the tokens that they save."""

from typing import Any

from backcast.domain.dispatch_events import TasksRead
from backcast.domain.errors import DamagedError
from backcast.domain.events import TaskStarted
from backcast.domain.json_text import json_text
from backcast.domain.ledger import STALLS, Ledger, StallPolicy
from backcast.engine.history.ledgers import LedgerStates, ledger_of, ledger_states
from backcast.engine.interfaces.addresses import Place
from backcast.engine.interfaces.agent_ledgers import with_calls
from backcast.engine.interfaces.dispatches import row_of, show_dispatches
from backcast.engine.interfaces.empty import note_empty
from backcast.engine.interfaces.histories import is_agents_run
from backcast.engine.interfaces.profiles import counter_by
from backcast.engine.interfaces.terminal import escaped, message, say
from backcast.engine.interfaces.tool_shares import tool_share

FILLED_BY = ("TASK_STARTED", "TASKS_READ", "MODULE_STARTED")


def show_ledgers(place: Place, policy: StallPolicy = STALLS, *, as_json: bool) -> None:
    """Print both ledgers of a task at a moment."""
    states = ledger_states(place.store, place.task, place.moment)
    ledger, made = ledger_of(place.task, states, policy), states.dispatches.dispatches
    if not made and is_agents_run(place):
        ledger = with_calls(place, ledger)
    if states.progress.status == "history" and not made:
        ledger = Ledger("history")
        message(
            f"note: no ledger: {escaped(place.task)!r} is the history of a repository, which was"
            f" asked for nothing; 'backcast show versions {place.task}' lists its modules"
        )
        if not as_json:
            return
    elif ledger.status == "unknown" or not (ledger.items or ledger.given):
        note_empty(place.store, place.task, place.moment, "ledger", FILLED_BY)
    rows = [row_of(place.task, version, made[version]) for version in sorted(made)]
    for row in rows:
        asked = row["recorded_as"] if row["calls"] != 0 else None  # else no model has seen it
        row["tools"] = tool_share(place.store, asked)
    if as_json:
        say(json_text(_json(place.task, ledger, states, rows)))
        return
    say("".join(f"{escaped(line)}\n" for line in ledger.lines()), nl=False)
    show_dispatches(rows)
    if ledger.items:
        _note_saved(place, ledger)


def _json(
    task: str, ledger: Ledger, states: LedgerStates, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "task_id": task,
        "status": ledger.status,
        "facts": [fact._asdict() for fact in ledger.facts()],
        "tasks": [
            item._asdict() | {"dispatches": [row for row in rows if row["item"] == item.id]}
            for item in ledger.items
        ],
    }


def _note_saved(place: Place, ledger: Ledger) -> None:
    """Say how many tokens the ledger has, and how many the files that it comes from."""
    refs = dict[str, str]()
    for event in place.store.read(
        place.task, moment=place.moment, types=["TASK_STARTED", "TASKS_READ"]
    ):
        match event.fact:
            case TaskStarted(spec=str(spec)):
                refs["its specification"] = spec
            case TasksRead(text=str(text), path=path):
                refs[path or "its list of tasks"] = text
    if not refs:
        return
    counter = counter_by(None, None, place.store, place.task)
    try:
        whole = sum(counter.count(place.store.get(ref).decode()) for ref in refs.values())
    except (DamagedError, UnicodeDecodeError):
        return
    own = counter.count("\n".join(ledger.lines()))
    beside = ", in place of" if own < whole else ", beside"
    message(f"note: {own:,} tokens in a prompt{beside} {whole:,} of {escaped(' and '.join(refs))}")
