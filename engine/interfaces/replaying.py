"""Commands that ask recorded prompts: do they hold, and what would another policy have made?"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from backcast.domain.errors import BackcastError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.options import DEFAULT_STORE, json_option
from backcast.engine.interfaces.terminal import message

if TYPE_CHECKING:
    from backcast.engine.log.open_logs import Log
    from backcast.engine.replay.steps import ReplayStep
    from backcast.engine.replay.verify import Answer, Verdict

UNREADABLE = 2
"The exit code where a log cannot be read at all."


def logs_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """[LOG]..., --store and --task."""
    for option in (
        click.option("--task", metavar="TASK", help="Only this task; else all of each log."),
        click.option(
            "--store", "url", envvar="BACKCAST_STORE", default=DEFAULT_STORE, show_default=True,
            metavar="URL", help="Where no LOG is named. Also BACKCAST_STORE.",
        ),
        click.argument("logs", nargs=-1, metavar="[LOG]..."),
    ):  # fmt: skip
        command = option(command)
    return command


def note_prompt(at: str, step: "ReplayStep") -> None:
    """Tell that an event is no prompt, where another one is taken for it."""
    if at.isdigit() and int(at) != step.version:
        message(f"note: event {at} is no prompt; taken is the one of event {step.version}")


def each_log(names: Sequence[str], task: str | None) -> "Iterator[Log | None]":
    """Each log, opened; None for one that cannot be read, of which the reason is told."""
    from backcast.engine.log.open_logs import opened

    for name in names:
        try:
            with opened(name, task, whole=True) as log:
                for problem in log.problems:
                    message(f"skipped {problem}")
                yield log
        except BackcastError as error:
            message(error)
            yield None


@click.command()
@logs_argument
@click.option("--bisect", is_flag=True, help="Name the first event that makes each difference.")
@click.option(
    "--only", type=click.Choice(["rebuilt", "derived"]), help="Ask only this of the two questions."
)
@json_option
def verify(
    logs: tuple[str, ...], url: str, task: str | None, bisect: bool, only: str | None, as_json: bool
) -> None:
    """Rebuild every recorded prompt from the log, and build it again as the policy then had it.

    \b
    backcast verify fixtures/logs/till.jsonl fixtures/logs/validators.jsonl
    backcast verify --store sqlite:///runs.db --task till --bisect

    LOG is a file that 'backcast export' wrote, or the URL of a store; without one it is --store.
    The exit code is 0 where every answer is "same" and every log is whole, 2 where a log cannot be
    read at all, else 1.
    """
    told, failed, untold, unreadable, torn = 0, 0, 0, 0, 0
    for log in each_log(logs or (url,), task):
        if log is None:
            unreadable += 1
            continue
        torn += bool(log.problems)
        for verdict in _verdicts(log, bisect):
            told, failed = told + 1, failed + (not _holds(verdict, only))
            untold += not _differs(verdict, only) and not _holds(verdict, only)
            _tell(verdict, only, as_json)
    if told or not unreadable:
        blind = f", of them {untold} that cannot be told here" if untold else ""
        click.echo(f"{told} prompts, {failed} failed{blind}", err=True)
    raise SystemExit(UNREADABLE if unreadable else 1 if failed or torn else 0)


def _verdicts(log: "Log", bisect: bool) -> "Iterator[Verdict]":
    from backcast.engine.replay.bisect import with_event
    from backcast.engine.replay.verify import verified

    for task in log.tasks:
        for verdict in verified(log.store, task):
            yield with_event(log.store, verdict) if bisect else verdict


def _holds(verdict: "Verdict", only: str | None) -> bool:
    if only is None:
        return verdict.holds
    answer: Answer = getattr(verdict, only)
    return answer.verdict == "same"


def _differs(verdict: "Verdict", only: str | None) -> bool:
    asked = [only] if only else ["rebuilt", "derived"]
    return any(getattr(verdict, name).verdict == "different" for name in asked)


def _tell(verdict: "Verdict", only: str | None, as_json: bool) -> None:
    if as_json:
        from backcast.engine.history.state_json import plain

        click.echo(json_text(plain(verdict)))
        return
    from backcast.engine.interfaces.views import one_line

    asked = [only] if only else ["rebuilt", "derived"]
    told = "; ".join(f"{name}: {getattr(verdict, name)}" for name in asked)
    where = f"{verdict.task_id}@{verdict.version}"
    click.echo(one_line(f"{where:<20} {verdict.name}  {told}", 1_000))


COMMANDS = (verify,)
