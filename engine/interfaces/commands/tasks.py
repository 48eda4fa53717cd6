"""`backcast tasks`: list the tasks of a store."""

from typing import Any

import click

from backcast.domain.json_text import json_text
from backcast.engine.interfaces.options import json_option, opened, store_option
from backcast.engine.interfaces.screen import cut_to, screen_width
from backcast.engine.interfaces.terminal import message, say

WIDTH = 100
"Characters that tell of a task."


@click.command(name="tasks")
@store_option
@json_option
def command(url: str, as_json: bool) -> None:
    """List the tasks in the store: their goals, formats, answers and failures; a branch's origin.

    A session that was recorded by 'backcast record' and imported from the agent's own log, too, is
    two tasks, and each names the other.

    \b
    backcast tasks
    backcast tasks --store runs.db --json
    """
    from backcast.engine.history.branches import branches
    from backcast.engine.interfaces.task_summaries import summary_of
    from backcast.engine.interfaces.views import one_line
    from backcast.engine.log.importers.same_session import same_sessions

    with opened(url) as store:
        if not store.tasks():
            message("note: the store is empty: 'backcast record', 'import' or 'run' fills it")
        forked, same = branches(store), same_sessions(store)
        width = screen_width()
        if width and store.tasks() and not as_json:
            say("  events  task, how it ended, and its goal")
        for task in store.tasks():
            row: dict[str, Any] = {"task_id": task, "events": store.version(task)}
            line = f"{row['events']:>8,}  {one_line(task, 200)}"
            if branch := forked.get(task):
                row |= {"origin": branch.origin, "version": branch.version}
                line += f"  (branch of {one_line(branch.origin, 200)}@{branch.version})"
            if others := same.get(task):
                row |= {"same_as": list(others)}
                line += f"  (the same session as {one_line(', '.join(others), 200)})"
            about = summary_of(store, task)
            row |= {name: value for name, value in about._asdict().items() if name != "until"}
            room = max(WIDTH, width - len(line) - 2) if width else WIDTH
            line += f"  {one_line(said, room)}" if (said := about.words) else ""
            say(json_text(row) if as_json else cut_to(line, width))
