"""Agents' recorded prompts under history policies, as commands print them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.addresses import UNREADABLE, Place, each_log
from backcast.engine.interfaces.history_text import as_json as as_json_of
from backcast.engine.interfaces.history_text import (
    difference_lines,
    idle,
    prompt_json,
    rows,
    told_losses,
)
from backcast.engine.interfaces.log_findings import LogFindings
from backcast.engine.interfaces.many_logs import LogTimes
from backcast.engine.interfaces.profiles import (
    DEFAULT_PROFILE,
    fell_back,
    policy_by,
    profile_by,
)
from backcast.engine.interfaces.terminal import escaped, hand_on, message, say
from backcast.engine.log.remote import shown

if TYPE_CHECKING:
    from backcast.domain.message_settings import MessageSettings
    from backcast.engine.history.address import Address
    from backcast.engine.models.tokenizers import Tokenizer
    from backcast.engine.replay.history_trial import HistoryPolicy, TriedRun
    from backcast.engine.replay.regress import Rules

NONE = "none"
"The prompts as they were recorded."
NEEDED = (
    "needed an agent's run, as 'backcast record' and 'backcast import' take them over, found none"
)


def is_agents_run(place: Place) -> bool:
    """Return whether the prompts of a task are an agent's, of messages."""
    from backcast.engine.replay.agent_prompts import has_messages

    return has_messages(place.store, place.task)


def settings_of(name: str) -> "MessageSettings":
    """Return how a policy shows messages. `InputError` where it shows them as they are."""
    settings = policy_by(name).messages
    if not settings.changes:
        raise InputError(
            f"{name} shows an agent's messages as they were: needed a policy with [messages], for"
            " instance mask-3 ('backcast help histories')"
        )
    return settings


def counter_of(profile: str | None, tokenizer: str | None = None) -> "Tokenizer":
    """Return what counts tokens: a profile's tokenizer, which is noted where it is a bound."""
    from backcast.engine.models.tokenizers import tokenizer_of

    found = profile_by(profile or DEFAULT_PROFILE, tokenizer, None)
    counter = tokenizer_of(found.tokenizer)
    if not counter.exact and not fell_back(tokenizer, found):
        message(
            "note: tokens are counted by an upper bound, a token a byte;"
            " --profile names another counter"
        )
    return counter


def print_prompt(
    place: Place, name: str | None, profile: str | None, tokenizer: str | None, *, as_json: bool
) -> None:
    """Print an agent's prompt under a policy, or without one as it was."""
    from backcast.domain.message_parts import total
    from backcast.domain.message_settings import MessageSettings
    from backcast.engine.replay.history_prompt import prompt_under

    settings = settings_of(name) if name else MessageSettings()
    count = counter_of(profile, tokenizer).count
    found = prompt_under(place.store, place.task, place.when, settings, count)
    if as_json:
        say(json_text(prompt_json(found, name or "none")))
        return
    if found.recorded.formed:
        message("note: no request was recorded; this is formed of the run's messages")
    for part in found.shown:
        role = "" if part.kind == part.role else f"{part.role} "
        named = f" {part.tool}" if part.tool else ""
        hand_on(f"[{role}{part.kind}{named}, turn {part.turn}]\n{part.text}\n")
    before, after = total(found.recorded.parts), total(found.shown)
    message(
        f"{after:,} tokens under {name}, {before:,} as it was" if name else f"{before:,} tokens"
    )


def print_difference(place: Place, policies: Sequence[str], as_json: bool) -> None:
    """Print what a policy changes in an agent's prompt."""
    from backcast.engine.replay.history_prompt import prompt_under

    names = [name for name in policies if name != "recorded"]
    if len(names) != 1:
        raise click.UsageError("an agent's prompt is compared under one policy: needed --policy")
    count = counter_of(None).count
    settings = settings_of(names[0])
    found = prompt_under(place.store, place.task, place.when, settings, count)
    if as_json:
        say(json_text(prompt_json(found, names[0])))
        return
    say(escaped(f"{place.task}@{found.recorded.version}, recorded and {names[0]}"))
    for line in difference_lines(found):
        say(escaped(line))


def message_policies(names: Sequence[str], *, every: bool) -> "list[HistoryPolicy]":
    """Return the named policies that show messages otherwise; with `every` also all ready ones.

    Empty where none does. Where some do, a note tells which of the others show messages as they
    were, as the first row does.
    """
    from backcast.engine.context.message_policies import MESSAGE_POLICIES
    from backcast.engine.context.policies import policy_named
    from backcast.engine.interfaces.profiles import setting_of
    from backcast.engine.replay.history_trial import HistoryPolicy

    found = [
        HistoryPolicy(setting_of(name).name, policy_named(name).messages)
        for name in names
        if name != "recorded"
    ]
    changing = [policy for policy in found if policy.settings.changes]
    if every:
        ready = [HistoryPolicy(name, policy.messages) for name, policy in MESSAGE_POLICIES.items()]
        changing = [*ready, *(policy for policy in changing if policy.name not in MESSAGE_POLICIES)]
    for policy in found if changing else ():
        if not policy.settings.changes:
            message(
                f"note: {policy.name} shows an agent's messages as they were, as the row"
                f" {NONE!r} does; on prompts of Backcast's own try it without {changing[0].name}"
            )
    return changing


def try_histories(
    addresses: "Sequence[Address]", url: str, policies: "Sequence[HistoryPolicy]",
    rules: "Sequence[Rules]", profile: str | None, plot: Path | None = None, *, explain: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Try policies on all agents' runs of some logs, print the figures, and return the exit code:
    1 where one breaks its rules or a log is not whole, else 2 where a log cannot be read."""
    from backcast.domain.message_settings import MessageSettings
    from backcast.engine.interfaces.views import console, table
    from backcast.engine.replay.history_figures import figures
    from backcast.engine.replay.history_trial import HistoryPolicy

    both = [HistoryPolicy(NONE, MessageSettings()), *policies]
    counter = counter_of(profile)
    times, findings = LogTimes(), LogFindings()
    runs = _tried(addresses, url, both, counter, times, findings)
    times.report()
    if not runs:
        if findings.unreadable:
            raise SystemExit(UNREADABLE)  # the reason is on stderr
        raise InputError(f"{policies[0].name} changes an agent's messages: {NEEDED}")
    found = figures(runs, both)
    if plot is not None:
        from backcast.engine.interfaces.plots import history_marks, recall_plot, write_plot

        write_plot(plot, recall_plot(history_marks(found), "of the recall"))
    broken = _broken(found, rules)
    worse = any(broken) or bool(findings.damage)
    code = 1 if worse else UNREADABLE if findings.unreadable else 0
    if as_json:
        ended = {"logs": findings.plain(), "exit_code": code}
        for number, (figures_of, lines) in enumerate(zip(found, broken, strict=True)):
            verdict = {"broken": lines, "regression": bool(lines)} if number else {}
            say(json_text(as_json_of(figures_of, runs, number) | verdict | ended))
    else:
        _print_judged(found, broken if rules else [])  # first what a person asks
        same = idle(found) if not rules else []
        head, *rest = rows([row for row in found if row.name not in same])
        table(console(), head, rest)
        if same:
            say(escaped(f"no prompt is changed by {', '.join(same)}"))
        if explain:
            for number, policy in enumerate(policies, 1):
                if policy.name not in same:
                    for line in told_losses(runs, number, policy.name):
                        say(escaped(line))
    formed = sum(run.formed for run in runs)
    if formed:
        message(
            f"note: {formed} of {len(runs)} runs hold no recorded requests: their prompts are"
            " formed of messages, without tools and whatever else no log tells"
        )
    from backcast.engine.interfaces.regress_report import NOTE

    message(f"tokens are those of {counter.id}. {NOTE}")
    if not as_json and any(broken):
        message("note: --explain names what each prompt lost")
    if findings.damage:
        message(f"{findings.torn}: their missing events were not tried")
    return code


def _tried(
    addresses: "Sequence[Address]", url: str, policies: "Sequence[HistoryPolicy]",
    counter: "Tokenizer", times: LogTimes, findings: LogFindings,
) -> "list[TriedRun]":  # fmt: skip
    from backcast.engine.replay.agent_prompts import has_messages
    from backcast.engine.replay.history_trial import TriedRun, tried

    runs, logs = list[TriedRun](), list[str]()
    for log in each_log(addresses, url, times, findings):
        if log is None:
            continue
        for task in log.tasks:
            if has_messages(log.store, task):
                run = tried(log.store, task, policies, counter.count)
                if run.unread:
                    message(
                        f"note: {run.unread} requests of {task} cannot be read, as texts of theirs"
                        " are masked or gone: 'backcast verify' names them"
                    )
                if run.prompts:
                    runs.append(run)
                    logs.append(log.name)
    if len({run.name for run in runs}) < len(runs):
        runs = [
            run._replace(name=f"{shown(log)}#{run.name}")
            for run, log in zip(runs, logs, strict=True)
        ]
    return runs


def _broken(found: "Sequence[Any]", rules: "Sequence[Rules]") -> list[list[str]]:
    """Return a line for each rule that each policy breaks; of the baseline none."""
    from backcast.engine.interfaces.history_text import broken_rules

    if not rules:
        return [[] for _ in found]
    pairs = zip(found[1:], rules, strict=True)
    return [[], *(list(broken_rules(found[0], figures, limits)) for figures, limits in pairs)]


def _print_judged(found: "Sequence[Any]", broken: Sequence[Sequence[str]]) -> None:
    for figures, lines in list(zip(found, broken, strict=bool(broken)))[1:]:
        for line in lines:
            say(escaped(f"REGRESSION under {figures.name}: {line}"))
        if not lines:
            say(escaped(f"no regression under {figures.name}"))
