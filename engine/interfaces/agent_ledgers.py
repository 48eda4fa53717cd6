"""The ledger of an agent's run tells its goal and failures, beside the facts of its modules."""

from backcast.domain.dispatch_statements import line_of_text
from backcast.domain.events import TaskStarted, ToolReturned
from backcast.domain.ledger import Ledger
from backcast.engine.history.shown_lines import shown_paths
from backcast.engine.interfaces.addresses import Place
from backcast.engine.interfaces.failed_results import failure_line
from backcast.engine.replay.agent_prompt import read_text

GOAL = 600
"Characters of a goal that are shown: an agent's is a whole message."
LISTED = 6
"Failures that are listed, the latest."


def with_calls(place: Place, ledger: Ledger) -> Ledger:
    """Return the ledger of an agent's run with more of its goal, and with what failed.

    A failure is open until a later call of the same tool has not failed.
    """
    store, task = place.store, place.task
    failed, goal = dict[str, dict[int, str]](), ""
    kinds = ["TASK_STARTED", "TOOL_RETURNED"]
    for event in store.read(task, moment=place.moment, types=kinds):
        match event.fact:
            case TaskStarted(goal=str(goal)):
                pass
            case ToolReturned() as fact:
                tool = fact.tool or "a tool"
                if not fact.failed:
                    failed.pop(tool, None)
                    continue
                output = read_text(store, fact.output)
                of = next((f" of {path}" for path in shown_paths(output)), "")
                why = (fact.message or failure_line(output)).lstrip("- ")
                line = f"why {tool}{of} failed, event {event.version}: {why}"
                failed.setdefault(tool, {})[event.version] = " ".join(line.split())
    still = {version: line for lines in failed.values() for version, line in lines.items()}
    latest = tuple(still[version] for version in sorted(still)[-LISTED:])
    first, whole = line_of_text(goal), " ".join(goal.split())
    shown = whole if len(whole) <= GOAL else f"{whole[: GOAL - 1]}…"
    given = tuple(shown if line == first else line for line in ledger.given)
    return ledger._replace(given=given, look_up=(*latest, *ledger.look_up))
