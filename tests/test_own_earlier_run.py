"""A task that goes on after its end: what it did before is its own, and no earlier task's."""

import backcast
from backcast.domain.events import (
    ModuleComplete,
    ModuleIteration,
    ModuleStarted,
    TaskComplete,
    TaskStarted,
)
from backcast.engine.history.moments import moment_at
from backcast.engine.history.task_states import states_at


def test_a_task_that_begins_anew_is_no_earlier_task_of_its_own() -> None:
    with backcast.open("sqlite://") as store:
        source = store.put("def total() -> int:\n    return 1\n")
        run = [
            TaskStarted(goal="a shop"),
            ModuleStarted(module_name="cart.py"),
            ModuleIteration(module_name="cart.py", iteration=1, source=source, score=1.0),
            ModuleComplete(module_name="cart.py"),
        ]
        store.append("shop", [*run, TaskComplete()])
        store.append("shop", run)
        store.append("till", run)

        def earlier(task: str) -> list[str]:
            moment = moment_at(store.events, task, "last")
            return [left.task for left in states_at(store.events, task, moment).legacies]

        assert earlier("shop") == []
        assert earlier("till") == ["shop"]
