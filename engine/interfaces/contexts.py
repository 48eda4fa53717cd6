"""Commands about what a model is shown: the prompt at a moment, and whether it can be rebuilt."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.knowing import known
from backcast.engine.interfaces.options import (
    json_option,
    moment_options,
    opened,
    refuse_others,
    store_option,
    task_option,
)
from backcast.engine.interfaces.recorded_prompt import OF_RECORDED, print_recorded
from backcast.engine.interfaces.terminal import SPEAKS, hand_on, message

if TYPE_CHECKING:
    from rich.console import Console

    from backcast.domain.budget import ModelProfile
    from backcast.domain.context import Context
    from backcast.domain.policy import Policy


@click.command()
@store_option
@task_option
@click.option("--for", "target", metavar="NODE", help="module:PATH or function:PATH::NAME.")
@click.option("--query", default="", metavar="TEXT", help="What is to be done, in words.")
@click.option("--policy", "policy_file", type=Path, metavar="FILE", help="Settings, as TOML.")
@click.option("--profile", "name", default="mistral-7b-8k", show_default=True, metavar="NAME")
@click.option("--tokenizer", metavar="NAME", help="Another than the profile's: gguf:FILE, ...")
@click.option("--context-tokens", type=int, help="A context part of so many tokens.")
@moment_options
@click.option("--explain", is_flag=True, help="What is in it and why, what is out and why.")
@click.option("--text", "text_only", is_flag=True, help="What is known of the code alone.")
@click.option("--event", type=int, metavar="N", help="The prompt that was recorded as TASK@N.")
@click.option("--record", is_flag=True, help="Append it as a CONTEXT_BUILT, for 'verify'.")
@json_option
def context(
    url: str,
    task: str,
    target: str | None,
    query: str,
    policy_file: Path | None,
    name: str,
    tokenizer: str | None,
    context_tokens: int | None,
    explain: bool,
    text_only: bool,
    event: int | None,
    record: bool,
    as_json: bool,
    **moment: Any,
) -> None:
    """Print the messages that a model would see at a moment, within its window.

    \b
    backcast context --task task-abc123 --for module:validators.py --at 2026-11-20T10:31
    backcast context --task httpx --for function:httpx/_models.py::Headers.copy --explain
    backcast context --task httpx --before commit:SHA --query "retry when a server is too busy"
    backcast context --task validators --event 21      # as 'backcast log' numbers CONTEXT_BUILT

    A function that is asked for need not exist yet. A policy file sets what differs from the
    default; 'backcast policy' prints all settings.
    """
    from backcast.engine.context.recorded import context_at, record_context
    from backcast.engine.context.request import Request
    from backcast.engine.interfaces.views import console
    from backcast.engine.models.tokenizers import tokenizer_of

    if event is not None:
        refuse_others(OF_RECORDED, "--event")
        with opened(url) as store:
            print_recorded(store, task, event, as_json=as_json, explain=explain)
        return
    request = Request(asked_for(target, query), query)
    profile = profile_by(name, tokenizer, context_tokens)
    policy = policy_by(policy_file)
    counter = tokenizer_of(profile.tokenizer)
    with opened(url) as store:
        at = known(store, task, moment)
        if record and at.at is not None:
            raise InputError("--record needs a moment by position or commit, or none: not a time")
        if record:
            found = record_context(store, task, at, request, profile, policy)
        else:
            found = context_at(store, task, at, request, profile, policy)
    if not counter.exact and (tokenizer or profile.tokenizer != "upper-bound"):  # else it was told
        message(f"note: tokens are counted by an {counter.id}")
    for note in notes(found, target, text_only=text_only and not (explain or as_json)):
        message(f"note: {note}")
    if profile.yarn > 1 and found.tokens <= profile.window // profile.yarn:
        click.echo(
            f"backcast: warning: {found.tokens:,} tokens fit the model's own window of"
            f" {profile.window // profile.yarn:,}; loaded with YaRN x{profile.yarn} it answers"
            " short prompts worse",
            err=True,
        )
    if as_json:
        click.echo(json_text(plain(found)))
    elif explain:
        show(found, console())
    elif text_only:
        hand_on(found.text)
    else:
        for role, text in found.messages:
            hand_on(f"[{role}]\n{text}\n")


def notes(context: "Context", target: str | None, *, text_only: bool = False) -> list[str]:
    """What one should know of a context, or of its text alone, before one trusts it."""
    from backcast.domain.policy import MAP

    told = []
    path = (target or "").partition(":")[2].partition("::")[0]
    if not any(item.section != "task description" for item in context.items):
        told.append("nothing of the code is known at this moment")
    elif path and not any(item.node == f"module:{path}" for item in context.items):
        told.append(f"there is no {path} at this moment; what else is known is shown")
    if any(one.section == "task description" for one in context.omissions):
        told.append("the words of the request do not fit, and are left out: shorten them")
    if not any(item.section == MAP for item in context.items):
        off = Counter(one.reason for one in context.omissions if one.section == MAP)
        why = ", ".join(f"{off[reason]} {reason}" for reason in sorted(off))
        told += [f"no item of the context map is shown: {why}"] if off else []
    elif text_only:
        told.append("the context map is left out: it is shown without --text")
    return told


def asked_for(target: str | None, query: str) -> str:
    """The node of a request, as it was given; empty where only words were."""
    if not target:
        if not query.strip():
            raise InputError("needed --for NODE or --query TEXT, or both")
        return ""
    kind, _, place = target.partition(":")
    if kind not in ("module", "function", "method", "class", "test") or not place:
        raise InputError(f"needed module:PATH or function:PATH::NAME, found {target!r}")
    return target


def profile_by(name: str, tokenizer: str | None, context_tokens: int | None) -> "ModelProfile":
    """A profile by its name, with another tokenizer or context part where they are given; counted
    by a bound where what counts its tokens is not installed."""
    from backcast.engine.models.tokenizers import counted_by
    from backcast.engine.workflow.runtime import profile_named

    profile = profile_named(name)
    if context_tokens is not None:
        profile = profile.with_context(context_tokens)
    return profile._replace(tokenizer=tokenizer or counted_by(profile.tokenizer))


def policy_by(path: Path | None) -> "Policy":
    """The policy of a file, else the default."""
    from backcast.domain.policy import DEFAULT
    from backcast.engine.context.policies import policy_at
    from backcast.engine.replay.regress import rules_of

    if path is None:
        return DEFAULT
    policy = policy_at(path)
    rules_of(str(path))  # what stands beside it is not used here, and is wrong here, too
    return policy


def plain(context: "Context") -> dict[str, Any]:
    """A context as JSON."""
    return context._asdict() | {
        "messages": [{"role": role, "content": text} for role, text in context.messages],
        "items": [item._asdict() for item in context.items],
        "omissions": [omission._asdict() for omission in context.omissions],
        "sections": [
            {"section": section, "budget": budget, "tokens": tokens}
            for section, budget, tokens in context.sections
        ],
    }


def show(context: "Context", out: "Console") -> None:
    """Print what is in a context and why, and what is out and why."""
    from backcast.engine.interfaces.views import table

    bars = [
        (section, budget, tokens, "#" * min(40, round(40 * tokens / budget)) if budget else "")
        for section, budget, tokens in context.sections
        if budget or tokens
    ]
    table(out, ("section", "budget", "tokens", "used"), bars)
    out.print()
    items = [
        (item.priority, item.node, item.version or "", item.level, item.tokens,
         f"{item.score:g}", ", ".join(map(str, item.because)))
        for item in context.items
    ]  # fmt: skip
    table(out, ("priority", "in", "version", "level", "tokens", "score", "events"), items)
    if context.omissions:
        out.print()
        table(out, ("out", "reason"), [(one.node, one.reason) for one in context.omissions])
    out.print("\nA section fills its own budget first; what others leave flows on to it.")
    room = context.window - context.reserve
    out.print(
        f"\n{context.tokens} tokens of {room}, {context.reserve} kept for the answer;"
        f" digest {context.digest[:16]}"
    )


@click.command()
@click.option("--policy", "policy_file", type=Path, metavar="FILE", help="Settings, as TOML.")
@json_option
def policy(policy_file: Path | None, as_json: bool) -> None:
    """Print every setting by which a context is chosen, and their digest.

    \b
    backcast policy
    backcast policy --policy mine.toml --json
    """
    found = policy_by(policy_file)
    if as_json:
        click.echo(json_text({"digest": found.digest, "settings": found.model_dump(mode="json")}))
        return
    click.echo(f"# digest {found.digest}")
    for line in toml_lines(found.model_dump(mode="json")):
        click.echo(line)


def toml_lines(settings: dict[str, Any], table: str = "") -> list[str]:
    """Settings as TOML, plain ones first."""
    lines = [f"[{table}]"] if table else []
    tables = {name: value for name, value in settings.items() if isinstance(value, dict)}
    for name, value in settings.items():
        if name not in tables:
            lines.append(f"{_toml_key(name)} = {_toml(value)}")
    for name, value in tables.items():
        place = f"{table}.{_toml_key(name)}" if table else _toml_key(name)
        lines += ["", *toml_lines(value, place)]
    return lines


def _toml_key(name: str) -> str:
    return name if name.isascii() and name.isidentifier() else _toml(name)


def _toml(value: Any) -> str:
    # TOML has no pairs of surrogates, and escapes more than JSON; what a terminal obeys, always.
    text = json.dumps(value, ensure_ascii=False)
    return SPEAKS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


COMMANDS = (context, policy)
