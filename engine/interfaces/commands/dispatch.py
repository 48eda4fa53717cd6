"""`backcast dispatch`: coding agents work through a list of tasks."""

from pathlib import Path
from typing import Any

import click

from backcast.engine.interfaces.options import json_option, store_option


@click.command(name="dispatch")
@click.argument("tasks", type=Path)
@click.option("--repo", type=Path, default=Path("."), show_default=True, metavar="FOLDER",
              help="The git repository that the tasks are about.")  # fmt: skip
@click.option("--implementer", metavar="AGENT",
              help="NAME, NAME:MODEL, or any command line: 'cmd: python my_agent.py'.")  # fmt: skip
@click.option("--routing", type=Path, metavar="FILE.toml",
              help="Who begins, who goes on: in place of --implementer.")  # fmt: skip
@click.option("--reviewer", metavar="AGENT", help="Asked about what passed our own check.")
@click.option("--agents", "own", type=Path, metavar="FILE.toml", help="Agents of your own.")
@click.option("--only", multiple=True, metavar="TASK", help="This one, with those below it.")
@click.option("--again", multiple=True, metavar="TASK", help="Do it anew, though it was done.")
@click.option("--tests", multiple=True, metavar="PATH",
              help="Files, folders or patterns of tests that decide; else test_*.py.")  # fmt: skip
@click.option("--test-seconds", type=click.FloatRange(min=1), default=300, show_default=True,
              metavar="N", help="For each run of the tests.")  # fmt: skip
@click.option("--sandbox", type=click.Choice(("usual", "full")), default="usual", show_default=True,
              help="full: no test is run where a layer of isolation is missing.")  # fmt: skip
@click.option("--budget", metavar="AMOUNTS",
              help="2usd,40min,30calls,90000tokens: for the whole run.")  # fmt: skip
@click.option("--attempts", type=click.IntRange(1, 20), default=3, show_default=True, metavar="N",
              help="For each task, before a person must decide.")  # fmt: skip
@click.option("--stalls", type=Path, metavar="FILE.toml",
              help="Its [stalls]: how many alike attempts are too many.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(min=1), metavar="N", help="For each dispatch.")
@click.option("--silence", type=click.FloatRange(min=1), metavar="N",
              help="Seconds without a word of an agent, or of its model under --to.")  # fmt: skip
@click.option("--concurrency", type=click.IntRange(1, 32), default=1, show_default=True,
              metavar="N", help="Tasks at once, unless one needs another.")  # fmt: skip
@click.option("--window", type=click.IntRange(min=1024), metavar="TOKENS",
              help="Of the agents' models, where their tables do not tell it.")  # fmt: skip
@click.option("--to", metavar="URL", help="The model's server: agents ask it through a proxy that"
              " records each of their calls.")  # fmt: skip
@click.option("--task", "name", metavar="NAME", help="The run in the store; else the list's name.")
@store_option
@json_option
def command(tasks: Path, url: str, **options: Any) -> None:
    """Let agents work through a list of tasks, and check what they claim.

    \b
    backcast dispatch tasks.md --implementer qwen --reviewer codex --budget 2usd,40min,30calls
    backcast dispatch tasks.md --implementer "cmd: python my_agent.py" --only 1.2
    backcast show ledger tasks

    Each dispatch has a work tree of its own. What it changed is read from git, its tests are run by
    us; what holds is committed on the branch backcast/NAME, and nowhere else. The same command goes
    on where a run was cut off: 'backcast help dispatch'.
    """
    from backcast.engine.interfaces.dispatches import dispatch_tasks

    dispatch_tasks(tasks, url, **options)
