"""A run as commands begin it, go on with it, and report it."""

import logging
import sys
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backcast.domain.errors import ConflictError, InputError, ModelError, StoreError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.profiles import PROFILE_NAMES, policy_by, policy_option
from backcast.engine.interfaces.terminal import escaped, message, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backcast.domain.spending import Allowance, Price
    from backcast.engine.log.store import EventStore
    from backcast.engine.models.kept_states import StateCaps
    from backcast.engine.workflow.runtime import Alternative, Runtime


log = logging.getLogger("backcast")

OF_POLICY = "policy:"
"What an alternative begins with that is another prompt for the same model."
AT_ONCE = 4
"How many calls of a question are made at once, where nobody states it."
INTERRUPTED = 128 + 2
"The exit code of what Ctrl-C ends, as shells tell it."


LIMITS: tuple[tuple[str, type, str], ...] = (
    ("money", float, "What the task's calls may cost together"),
    ("seconds", float, "Seconds that they may take, one added to the other"),
    ("tokens", int, "Tokens that they may read and write"),
    ("calls", int, "Calls that may be made"),
)
"The amounts of a budget, as options."


def _positive(_: click.Context, option: click.Parameter, most: float | None) -> float | None:
    """Return the limit of a budget; `InputError` for one with which nothing can be asked."""
    if most is None or 0 < most < inf:
        return most
    raise InputError(
        f"--{option.name}: needed a budget above 0, found {most:g}: without the option there is"
        " no limit"
    )


def _price(_: click.Context, __: click.Parameter, stated: str | None) -> "Price":
    """Return the price of tokens; `InputError` for what is none."""
    from backcast.domain.spending import Price

    if stated is None:
        return Price()
    try:
        prompt, answer = map(float, stated.split("/"))
        if 0 <= prompt < inf and 0 <= answer < inf:
            return Price(prompt, answer)
    except ValueError:
        pass
    raise InputError(f"--price: needed two numbers such as 0.2/0.6, found {escaped(stated)[:40]!r}")


def budget_options(command: "Callable[..., Any]") -> "Callable[..., Any]":
    """Add the options of a budget."""
    for option in (
        click.option(
            "--price",
            metavar="PROMPT/ANSWER",
            callback=_price,
            help="What a million tokens of each cost, such as 0.2/0.6, for --money.",
        ),
        *(
            click.option(f"--{name}", type=kind, metavar="N", callback=_positive, help=f"{what}.")
            for name, kind, what in LIMITS
        ),
    ):
        command = option(command)
    return command


def run_options(command: "Callable[..., Any]") -> "Callable[..., Any]":
    """Add the options that run and resume share."""
    for option in (
        json_option,
        click.option("--strict", is_flag=True, help="A recorded answer only to the same prompt."),
        click.option(
            "--deterministic",
            is_flag=True,
            help="A llama-server reads each prompt anew, since what it remembers changes answers.",
        ),
        click.option("--out", type=Path, metavar="FOLDER", help="For the code; else out/TASK."),
        budget_options,
        click.option(
            "--alternative",
            "alternatives",
            multiple=True,
            metavar="OTHER",
            help="Asked too, the first usable answer wins: a model, temperature or policy:NAME.",
        ),
        click.option(
            "--concurrency",
            type=click.IntRange(1, 256),
            default=1,
            show_default=True,
            metavar="N",
            help="Modules that need no other are made side by side, N calls at once.",
        ),
        click.option(
            "--reuse-answers",
            "reuse",
            type=click.Choice(("greedy", "drawn")),
            help="Answers of the log to the same question are used: at temperature 0, or any.",
        ),
        click.option(
            "--warm",
            type=click.Choice(("no", "shared", "ahead")),
            default="shared",
            show_default=True,
            help="What is read before it is asked; see 'backcast help prefixes'.",
        ),
        click.option(
            "--keep-prefixes",
            "kept_prefixes",
            default="256",
            show_default=True,
            metavar="MIB[,FOLDER]",
            help="Prompts that llama:FILE need not read again, in memory, or in a folder.",
        ),
        policy_option(),
        click.option(
            "--template",
            metavar="NAME_OR_FILE",
            help="A chat template for llama:FILE; else it is the model's own.",
        ),
        click.option(
            "--profile", metavar="NAME", help=f"The window and its rows: {PROFILE_NAMES}."
        ),
        store_option,
    ):
        command = option(command)
    return command


def runtime_of(options: dict[str, Any], store: "EventStore", task: str) -> "Runtime":
    """Return the model, profile and policy of a run: as the options say, else as the log does."""
    from backcast.engine.context.recorded import policy_embedder
    from backcast.engine.history.branches import lineage_of
    from backcast.engine.models.kept_states import KeepsStates
    from backcast.engine.workflow.loop import require_no_link
    from backcast.engine.workflow.runtime import open_runtime, used_before

    caps = _caps(options["kept_prefixes"])
    before = used_before(store, task)
    name = options["model"] or before.model
    if not name:
        raise InputError(f"task {task!r} names no model: needed --model")
    policy = policy_by(options["policy_name"]) if options["policy_name"] else before.policy
    if policy.by_meaning:
        policy_embedder(store, policy)  # or the run would stop at its first prompt with code
    same = options["model"] in (None, before.model)
    profile = options["profile"] or (before.profile if same else None)
    template = options["template"] or (before.profile.template if same and before.profile else "")
    out = options["out"] or Path(before.out or f"out/{task}")
    require_no_link(out, task)
    try:
        runtime = open_runtime(
            name, task, profile, policy, template=template, root=lineage_of(store, task).root,
            out=str(out), strict=options["strict"], deterministic=options["deterministic"],
        )  # fmt: skip
    except ModelError as error:  # nothing has begun yet
        raise InputError(str(error)) from None
    try:
        alternatives = _alternatives(runtime, options["alternatives"], task, store)
    except ModelError as error:
        raise InputError(str(error)) from None
    if isinstance(keeper := runtime.model, KeepsStates):
        keeper.keep(caps)
    return runtime._replace(
        warming=options["warm"],
        concurrency=_concurrency(runtime, options["concurrency"]),
        budget=_budget(options),
        price=options["price"],
        alternatives=alternatives,
        reuse=options["reuse"] or "",
    )


def _caps(stated: str) -> "StateCaps":
    """Return what `--keep-prefixes` bounds: in memory, or in a folder too; 0 keeps none."""
    from backcast.engine.models.kept_states import MIB, StateCaps

    size, _, folder = stated.partition(",")
    if (
        not (size.isascii() and size.isdigit())
        or len(size) > 9
        or (folder and folder != folder.strip())
    ):
        raise InputError(
            "--keep-prefixes: needed a number of MiB, as in 256, or with a folder, as in"
            f" 1024,states; found {escaped(stated)[:40]!r}"
        )
    most = int(size) * MIB
    if not folder:
        return StateCaps(memory=most)
    path = Path(folder).expanduser()
    if path.exists() and not path.is_dir():
        raise InputError(f"--keep-prefixes: needed a folder, found the file {path}")
    return StateCaps(memory=most, disk=most, folder=path)


def _alternatives(
    runtime: "Runtime", named: "Sequence[str]", task: str, store: "EventStore"
) -> "tuple[Alternative, ...]":
    """Return what is asked beside the model: others, or it with another prompt or temperature."""
    from backcast.engine.context.recorded import policy_embedder
    from backcast.engine.models.server import ServerModel
    from backcast.engine.workflow.runtime import Alternative, open_runtime

    found: list[Alternative] = []
    for name in named:
        if name.startswith(OF_POLICY):
            policy = policy_by(name.removeprefix(OF_POLICY))
            if policy.by_meaning:
                policy_embedder(store, policy)
            if policy == runtime.policy:
                raise InputError(
                    f"--alternative {escaped(name)[:60]}: needed another policy than the run's own,"
                    " found the same: both would ask with one prompt"
                )
            found.append(Alternative(runtime.model, policy))
            continue
        try:
            temperature = float(name)
        except ValueError:
            found.append(Alternative(open_runtime(name, task, runtime.profile).model))
            continue
        if not isinstance(runtime.model, ServerModel) or not 0 < temperature <= 2:
            raise InputError(
                "--alternative: needed a model, policy:NAME, or of a server a temperature above 0"
                f" and up to 2, found {escaped(name)[:40]!r}"
            )
        drawn = {"temperature": temperature, "seed": len(found) + 2}
        found.append(Alternative(ServerModel(runtime.name, sampling=drawn)))
    return tuple(found)


def _budget(options: dict[str, Any]) -> "Allowance | None":
    """Return the budget that the options state; None for what the log says."""
    from backcast.domain.spending import Allowance

    if options["money"] is not None and not any(options["price"]):
        raise InputError("--money: needed --price too, which tells what tokens cost, found none")
    budget = Allowance(**{name: options[name] for name, _, _ in LIMITS})
    return budget if budget.limited else None


def _concurrency(runtime: "Runtime", stated: int | None) -> int:
    """Return how many calls are made at once: no more than the model answers at once."""
    slots: int | None = getattr(runtime.model, "slots", None)
    if stated is None:
        return AT_ONCE if slots is None else max(1, min(slots, AT_ONCE))
    if slots is None or slots >= stated:
        return stated
    calls = "1 call" if slots == 1 else f"{slots} calls"
    log.warning(
        "--concurrency %d: %s answers %s at once, so no more are made", stated, runtime.name, calls
    )
    return max(1, slots)


def go_on(store: "EventStore", task: str, runtime: "Runtime", options: dict[str, Any]) -> None:
    """Work until the task ends, leave the code, and say what came of it."""
    from backcast.engine.history.snapshots import state_at
    from backcast.projections import progress

    stood = store.version(task)
    if state_at(store, progress, task).status == "failed":
        message(
            f"task {task!r} had failed before, so nothing is asked: 'backcast fork {task}@N' goes"
            f" back before one of the prompts that 'backcast log {task} --type CONTEXT_BUILT' lists"
        )
    try:
        _report(store, task, runtime.out, _worked(store, task, runtime), options["as_json"])
    except (InputError, StoreError) as error:
        if isinstance(error, ConflictError) or store.version(task) == stood:
            raise
        # It had gone on, and stands in the log as far as it came.
        message(error)
        sys.exit(1)


def _worked(store: "EventStore", task: str, runtime: "Runtime") -> str:
    """Work until the task ends, and leave the code; tells what stopped it before its end."""
    from backcast.engine.interfaces.run_progress import RunProgress
    from backcast.engine.models.so_far import AnswersSoFar
    from backcast.engine.workflow.loop import work, write_code

    stopped, coming = "", AnswersSoFar()
    runtime = runtime._replace(coming=coming)
    with RunProgress(runtime.profile.prompt, coming=coming) as shown:
        try:
            work(store, task, runtime, watch=shown.take)
        except ModelError as error:
            stopped = str(error)
        except KeyboardInterrupt:
            stopped = "interrupted"
    write_code(store, task, Path(runtime.out))
    return stopped


def _report(store: "EventStore", task: str, out: str, stopped: str, as_json: bool) -> None:
    """Say what came of a run; exits with 1 where the task is not complete."""
    from backcast.engine.history.snapshots import state_at
    from backcast.engine.interfaces.views import console, one_line, table
    from backcast.projections import progress

    state: progress.State = state_at(store, progress, task)
    modules = {path: state.modules[path] for path in sorted(state.modules)}
    if as_json:
        result = {
            "task_id": task, "status": state.status, "reason": stopped or state.reason,
            "events": state.events, "replies": state.replies, "out": out,
            "modules": {path: module._asdict() for path, module in modules.items()},
        }  # fmt: skip
        say(json_text(result))
    else:
        rows = [
            (
                path,
                module.iteration,
                "" if module.score is None else f"{module.score:.0%}",
                module.status,
            )
            for path, module in modules.items()
        ]
        table(console(), ("module", "iterations", "tests passed", "status"), rows)
        answers = "1 answer" if state.replies == 1 else f"{state.replies} answers"
        where = f"; the code is in {out}" if modules else ""
        say(escaped(f"{state.status} after {answers}{where}"))
    if stopped:
        message(f"stopped: {one_line(stopped, 400)}")
        message(f"'backcast resume {task}' goes on from here")
    elif state.status == "failed":
        message(f"failed: {state.reason}")
    sys.exit(INTERRUPTED if stopped == "interrupted" else state.status != "complete")
