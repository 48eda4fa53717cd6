"""Commands that run a task, and go on with one that was cut off."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backcast.domain.errors import ConflictError, InputError, ModelError, StoreError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.contexts import policy_by
from backcast.engine.interfaces.options import json_option, opened, store_option
from backcast.engine.interfaces.terminal import escaped, message

if TYPE_CHECKING:
    from collections.abc import Callable

    from backcast.engine.log.store import EventStore
    from backcast.engine.workflow.runtime import Runtime


INTERRUPTED = 128 + 2
"The exit code of what Ctrl-C ends, as shells tell it."


def _options(command: "Callable[..., Any]") -> "Callable[..., Any]":
    for option in (
        json_option,
        click.option("--strict", is_flag=True, help="A recorded answer only to the same prompt."),
        click.option(
            "--deterministic",
            is_flag=True,
            help="A llama-server reads each prompt anew, since what it remembers changes answers.",
        ),
        click.option("--out", type=Path, metavar="FOLDER", help="For the code; else out/TASK."),
        click.option("--policy", "policy_file", type=Path, metavar="FILE", help="As TOML."),
        click.option("--profile", metavar="NAME", help="The window and its rows; see context."),
        store_option,
    ):
        command = option(command)
    return command


@click.command()
@click.argument("spec", type=Path)
@click.option("--model", required=True, metavar="MODEL", help="recorded:FILE, llama:FILE or a URL.")
@_options
def run(spec: Path, url: str, **told: Any) -> None:
    """Run a task: plan it, write its modules, test them, mend them, until all tests pass.

    \b
    backcast run fixtures/specs/validators.toml --model recorded:fixtures/logs/validators.jsonl
    backcast run task.toml --model llama:/models/Qwen3-8B-Q4_K_M.gguf --profile qwen3-8b-32k
    backcast run task.toml --model http://127.0.0.1:8080/v1

    SPEC is a TOML file with task, goal, [[tests]] and, if wanted, requirements, context, summaries,
    [[modules]], [limits] and [checks]. Tasks that name one context share its map. All that is done
    is in the store: a run that was cut off, however, goes on with 'backcast resume TASK'.
    """
    from backcast.engine.workflow.loop import start
    from backcast.engine.workflow.spec import spec_at

    task = spec_at(spec)
    if told["out"] and told["out"].exists() and not told["out"].is_dir():
        raise InputError(f"{told['out']}: needed a folder for the code, found a file")
    with opened(url, create=True) as store:
        open_runtime = _served(told, store, task.task)
        start(store, task)
        _go_on(store, task.task, open_runtime, told)


@click.command()
@click.argument("task")
@click.option("--model", metavar="MODEL", help="Another than before.")
@_options
def resume(task: str, url: str, **told: Any) -> None:
    """Go on with a task that was cut off, from where its log ends.

    \b
    backcast resume validators
    backcast resume validators --model http://127.0.0.1:8080/v1

    Nothing that a model has answered is asked again. Model, profile, policy and folder are those
    that it was run with last, unless others are given.
    """
    with opened(url) as store:
        store.require(task)
        _go_on(store, task, _served(told, store, task), told)


def _served(told: dict[str, Any], store: "EventStore", task: str) -> "Runtime":
    """What the run goes on with: as was told now, else as the log says."""
    from backcast.engine.history.branches import lineage_of
    from backcast.engine.workflow.runtime import open_runtime, used_before

    before = used_before(store, task)
    name = told["model"] or before.model
    if not name:
        raise InputError(f"task {task!r} tells no model: needed --model")
    policy = policy_by(told["policy_file"]) if told["policy_file"] else before.policy
    same = told["model"] in (None, before.model)
    profile = told["profile"] or (before.profile if same else None)
    out = told["out"] or Path(before.out or f"out/{task}")
    try:
        return open_runtime(
            name, task, profile, policy, root=lineage_of(store, task).root, out=str(out),
            strict=told["strict"], deterministic=told["deterministic"],
        )  # fmt: skip
    except ModelError as error:  # nothing has begun yet
        raise InputError(str(error)) from None


def _go_on(store: "EventStore", task: str, open_runtime: "Runtime", told: dict[str, Any]) -> None:
    """Work until the task ends, leave the code, and say what came of it."""
    stood = store.version(task)
    try:
        _tell(store, task, open_runtime.out, _worked(store, task, open_runtime), told["as_json"])
    except (InputError, StoreError) as error:
        if isinstance(error, ConflictError) or store.version(task) == stood:
            raise
        # It had gone on, and stands in the log as far as it came.
        message(error)
        sys.exit(1)


def _worked(store: "EventStore", task: str, open_runtime: "Runtime") -> str:
    """Work until the task ends, and leave the code; tells what stopped it before its end."""
    from backcast.engine.interfaces.run_progress import RunProgress
    from backcast.engine.workflow.loop import work, write_code

    stopped = ""
    with RunProgress(open_runtime.profile.prompt) as shown:
        try:
            work(store, task, open_runtime, watch=shown.take)
        except ModelError as error:
            stopped = str(error)
        except KeyboardInterrupt:
            stopped = "interrupted"
    write_code(store, task, Path(open_runtime.out))
    return stopped


def _tell(store: "EventStore", task: str, out: str, stopped: str, as_json: bool) -> None:
    """Say what came of a run; exits with 1 where the task is not complete."""
    from backcast.engine.history.snapshots import state_at
    from backcast.engine.interfaces.views import console, one_line, table
    from backcast.projections import progress

    state: progress.State = state_at(store, progress, task)
    modules = {path: state.modules[path] for path in sorted(state.modules)}
    if as_json:
        told = {
            "task_id": task, "status": state.status, "reason": stopped or state.reason,
            "events": state.events, "replies": state.replies, "out": out,
            "modules": {path: one._asdict() for path, one in modules.items()},
        }  # fmt: skip
        click.echo(json_text(told))
    else:
        rows = [
            (path, one.iteration, "" if one.score is None else f"{one.score:.0%}", one.status)
            for path, one in modules.items()
        ]
        table(console(), ("module", "iterations", "tests passed", "status"), rows)
        answers = "1 answer" if state.replies == 1 else f"{state.replies} answers"
        where = f"; the code is in {out}" if modules else ""
        click.echo(escaped(f"{state.status} after {answers}{where}"))
    if stopped:
        message(f"stopped: {one_line(stopped, 400)}")
        message(f"'backcast resume {task}' goes on from here")
    elif state.status == "failed":
        message(f"failed: {state.reason}")
    sys.exit(INTERRUPTED if stopped == "interrupted" else state.status != "complete")


COMMANDS = (run, resume)
