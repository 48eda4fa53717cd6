"""`backcast fit`: settings under which a model holds what was written for likelier."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import LOGS, UNREADABLE, address_argument
from backcast.engine.interfaces.log_shelf import LogShelf
from backcast.engine.interfaces.options import (
    check_on,
    engine_on,
    json_option,
    last_option,
    on_option,
    processes_option,
    store_option,
)
from backcast.engine.interfaces.profiles import policy_by, policy_option, refuse_messages
from backcast.engine.interfaces.running import INTERRUPTED
from backcast.engine.interfaces.scoring import Reading
from backcast.engine.interfaces.terminal import escaped, message, say
from backcast.engine.log.remote import shown

if TYPE_CHECKING:
    from backcast.engine.replay.fit_run import FitResult, PolicyFit

NOTHING_LEARNED = 1


@click.command(name="fit")
@address_argument("addresses", several=True, metavar=LOGS)
@store_option
@click.option("--model", metavar="MODEL", help="Who reads: llama:FILE, a GGUF file, or copy.")
@click.option("--keep", is_flag=True,
              help="Fit what is kept of long results in agents' runs; no model.")  # fmt: skip
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE.toml",
              help="The policy file to write.")  # fmt: skip
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@policy_option()
@click.option("--context-tokens", type=click.IntRange(1), metavar="N",
              help="A context part of N tokens; the window changes by the difference.")  # fmt: skip
@last_option
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Only N of the steps.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="S",
              help="Read no longer than this; steps are taken by lot.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), help="As many as cores are free.")
@click.option("--scores", type=Path, metavar="FILE",
              help="Where scores are kept, not in the store or FILE.jsonl.scores.")  # fmt: skip
@on_option(None)
@processes_option
@json_option
def command(
    addresses: tuple[Address, ...], url: str, model: str | None, keep: bool, out: Path, force: bool,
    policy_name: str | None, context_tokens: int | None, last: int | None,
    sample: int | None, seconds: float | None, threads: int | None, scores: Path | None,
    on: str | None, processes: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Fit a policy to a model that reads what was written.

    \b
    backcast fit 'runs/*.jsonl' --model llama:model.gguf --out mine.toml --context-tokens 2000
    backcast fit httpx --model llama:model.gguf --out mine.toml --sample 60 --seconds 3600
    backcast fit httpx --model copy --out mine.toml --last 200    # its last changes
    backcast fit 'runs/**/*.jsonl' --model llama:/models/model.gguf --out mine.toml \\
        --on dask://HOST:8786
    backcast fit 'runs/*.jsonl' --keep --out keep.toml

    LOG is a file, a folder, a quoted pattern, or a URL: https://, s3://, gs://, or that of a store.
    Two of three steps are fitted on: which single texts made what was written likelier, by what
    evidence, and then which settings do so in whole prompts. The third step judges: where what was
    written is not likelier there than under --policy, nothing is written. A policy that was fitted
    on a log must be judged on another one, or on the part that was held out: on the log itself it
    looks better than it is. Every score is kept: Ctrl-C loses nothing, the next call goes on. With
    --on the model reads there; the policy is fitted here, and is the same.

    With --keep no model reads: what an agent's next actions used of its long results, and what a
    compression dropped of it, gives rules on what to keep; runs that are held out confirm them.

    Exit codes: 0 a policy is written, 1 nothing was learned yet, 2 it cannot be fitted, 130 Ctrl-C.
    'backcast help fit' explains it.
    """
    from backcast.engine.context.strategies import STRATEGIES
    from backcast.engine.interfaces.fitting import check_place, planned_fit, remarks, run_fit
    from backcast.engine.replay.fit_file import completed, own_settings

    check_on(on, processes, seconds)
    if keep:
        _fit_keep(addresses, url, out, force, policy_name, as_json, bool(model), bool(on))
    if not model:
        raise click.UsageError("needed --model llama:FILE, who reads, or --keep, found neither")
    base = completed(policy_by(policy_name))
    refuse_messages(base.name, base)
    check_place(out, force)
    over = _over(policy_name)
    own_settings(base, STRATEGIES[over])  # or it says why no file could hold what is made of it
    reading = Reading(model, context_tokens, sample, seconds, threads, scores, last)
    with ExitStack() as stack:
        logs = stack.enter_context(LogShelf(addresses, url))
        engine = stack.enter_context(engine_on(on, processes)) if on else None
        try:
            fit, cost = planned_fit(reading, logs, base, engine)
            found = run_fit(fit, cost)
        except KeyboardInterrupt:
            message("interrupted by Ctrl-C; the scores so far are kept: run it again to go on")
            raise SystemExit(INTERRUPTED) from None
        names = [shown(str(address)) for address in addresses] or ["every task of the store"]
        _end(fit, found, out, names, policy_name or over, over, as_json)
        for remark in remarks(fit, found):
            message(remark)
    if found.late:
        message(f"no policy is written: {found.refusal}")
        raise SystemExit(NOTHING_LEARNED)
    if found.refusal:
        message(f"nothing was learned, and no policy is written: {found.refusal}")
        raise SystemExit(NOTHING_LEARNED)
    raise SystemExit(UNREADABLE if logs.unreadable else 0)


def _fit_keep(
    addresses: tuple[Address, ...], url: str, out: Path, force: bool, policy: str | None,
    as_json: bool, reads: bool, elsewhere: bool,
) -> None:  # fmt: skip
    """Fit what is kept of long results, and leave with the exit code."""
    from backcast.engine.interfaces.fitting import check_place
    from backcast.engine.interfaces.keeping_rules import fit_keeping

    if reads:
        raise click.UsageError("--keep asks no model: needed --model or --keep, found both")
    if elsewhere:
        raise click.UsageError("--on: needed --model, which reads there, found --keep")
    check_place(out, force)
    learned, whole = fit_keeping(addresses, url, policy, out, as_json=as_json)
    raise SystemExit(NOTHING_LEARNED if not learned else 0 if whole else UNREADABLE)


def _over(name: str | None) -> str:
    """Return the strategy over which the file is laid, as the base's own file is."""
    from backcast.domain.policy import DEFAULT
    from backcast.engine.context.policies import base_of

    over = base_of(name or DEFAULT.name)
    return DEFAULT.name if over == "default" else over


def _end(
    fit: "PolicyFit", found: "FitResult", out: Path, logs: list[str], base: str, over: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Write the policy where one was learned, and print how it came about."""
    from backcast.engine.context.strategies import STRATEGIES
    from backcast.engine.interfaces.commands.export import write
    from backcast.engine.interfaces.fitting import file_lines, fit_json, interval, rows
    from backcast.engine.interfaces.score_report import note
    from backcast.engine.interfaces.score_verdict import looks
    from backcast.engine.interfaces.views import console, table
    from backcast.engine.replay.fit_file import own_settings

    policy = found.search.policy.model_copy(update={"name": out.stem, "version": 1})
    if not found.refusal:
        write(out, file_lines(fit, found, policy, over, logs), shared=True)
    if as_json:
        settings = {"base": over} | own_settings(policy, STRATEGIES[over])
        written = None if found.refusal else out
        say(json_text(fit_json(fit, found, settings, written)))
        return
    head, *rest = rows(found)
    table(console(), head, rest)
    if not found.refusal:
        beside = found.scores[1].beside
        assert beside is not None, "it is better by so much"
        say(
            escaped(
                f"{out}: on {found.judged} steps held out {interval(beside)} nats per token to"
                f" {fit.base.name}, likelier on {beside.better}, less likely on {beside.worse}"
            )
        )
        for look in looks(beside, base, str(out)):
            say(escaped(look))
    say(escaped(note(fit.known.reader)))
