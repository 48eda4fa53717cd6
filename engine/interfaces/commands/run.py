"""`backcast run`: run a task from its specification."""

from pathlib import Path
from typing import Any

import click

from backcast.domain.errors import InputError
from backcast.engine.interfaces.options import opened
from backcast.engine.interfaces.running import go_on, run_options, runtime_of


@click.command(name="run")
@click.argument("spec", type=Path)
@click.option("--model", metavar="MODEL", help="answers:FILE, llama:FILE or a URL.")
@run_options
@click.pass_context
def command(ctx: click.Context, /, spec: Path, url: str, **options: Any) -> None:
    """Run a task until all its tests pass: plan, write, test, mend.

    \b
    backcast run fixtures/specs/validators.toml --model answers:fixtures/logs/validators.jsonl
    backcast run task.toml --model llama:/models/Qwen3-8B-Q4_K_M.gguf
    backcast run task.toml --model http://127.0.0.1:8080/v1

    SPEC is a TOML file with task, goal, [[tests]] and, if wanted, requirements, context, summaries,
    [[modules]], [limits] and [checks]: 'backcast help specifications'. Every step is recorded in
    the store: a run that was cut off, however, goes on with 'backcast resume TASK'.
    """
    from backcast.engine.workflow.loop import require_new, start
    from backcast.engine.workflow.spec import spec_at

    task = spec_at(spec)
    if options["model"] is None:  # the specification is looked at first: it may not be there
        raise click.MissingParameter(ctx=ctx, param_hint="'--model'", param_type="option")
    if options["out"] and options["out"].exists() and not options["out"].is_dir():
        raise InputError(f"{options['out']}: needed a folder for the code, found a file")
    with opened(url, create=True) as store:
        require_new(store, task.task)  # a model may take long to open
        runtime = runtime_of(options, store, task.task)
        start(store, task)
        go_on(store, task.task, runtime, options)
