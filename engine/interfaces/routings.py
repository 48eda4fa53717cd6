"""Policies of routing, tried on recorded dispatches, as a table and as JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.domain.routing import RoutingPolicy
from backcast.domain.routing_trial import Episode, RoutingResult, TriedOutcome, recorded, result
from backcast.domain.spending import Amounts
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import UNREADABLE, each_log
from backcast.engine.interfaces.log_findings import LogFindings
from backcast.engine.interfaces.terminal import escaped, message, say
from backcast.engine.log.remote import shown
from backcast.engine.replay.routing import episodes_in
from backcast.engine.workflow.dispatch.routing_file import policy_in


def try_routings(
    addresses: Sequence[Address], url: str, files: Sequence[Path], *, as_json: bool
) -> int:
    """Try policies on the dispatches of some logs, and print what is known; return 2 where a log
    cannot be read, 1 where one is not whole, else 0."""
    policies = [(file.stem, policy_in(file)) for file in files]
    ends = policies[0][1].agents
    for agent in dict.fromkeys((ends[0], ends[-1])):
        policies.append((f"always {agent}", RoutingPolicy(agents=(agent,))))
    episodes, logs, findings = list[Episode](), list[str](), LogFindings()
    for log in each_log(addresses, url, findings=findings):
        if log is None:
            continue
        found = [episode for task in log.tasks for episode in episodes_in(log.store, task)]
        if not found:
            message(f"note: {shown(log.name)} holds no dispatches")
        episodes += found
        logs += [shown(log.name)] * len(found)
    code = UNREADABLE if findings.unreadable else 1 if findings.damage else 0
    if not episodes:
        if findings.unreadable:
            return UNREADABLE  # the reason is on stderr
        raise InputError("needed dispatches to try a policy of routing on, found none: 'backcast"
                         " dispatch' makes some")  # fmt: skip
    results = [recorded(episodes), *(result(name, of, episodes) for name, of in policies)]
    if as_json:
        say(
            json_text(
                {
                    "tasks": len(episodes),
                    "policies": [_json(found, episodes, logs) for found in results],
                    "logs": findings.plain(),
                    "exit_code": code,
                }
            )
        )
    else:
        _print(results, episodes, len(files), logs)
    if findings.damage:
        message(f"{findings.torn}: their missing events were not tried")
    return code


def _print(
    results: Sequence[RoutingResult], episodes: Sequence[Episode], files: int, logs: Sequence[str]
) -> None:
    from backcast.engine.interfaces.views import console, table

    columns = ("policy", "exact", "done", "calls", "tokens", "seconds", "money", "estimated done")
    table(console(), columns, [
        (found.name, f"{found.exact} of {len(episodes)}", _range(*found.done),
         *(_between(found, name) for name in Amounts._fields), _estimated(found))
        for found in results
    ])  # fmt: skip
    for found in results[1 : 1 + files]:
        say(f"\n{escaped(found.name)}:")
        for log, episode, outcome in zip(logs, episodes, found.outcomes, strict=True):
            where = f"{log} " if len(set(logs)) > 1 else ""
            say(escaped(f"  {where}{episode.run} {episode.item}: {_said(outcome)}"))
    for found in results[1:]:
        if found.why:
            say(escaped(f"{found.name}: no estimate: {found.why}"))
    message("note: exact where the agents that would be asked were run; else bounds; each task is"
            " taken by itself, once for each time that it was begun")  # fmt: skip
    for found in results[1 : 1 + files]:
        if found.exact < len(episodes):
            message(
                f"note: {escaped(found.name)}: 'backcast dispatch TASKS --routing"
                f" {escaped(found.name)}.toml' runs tasks as it would, and tells the rest"
            )


def _said(outcome: TriedOutcome) -> str:
    asked = ", then ".join(outcome.asked)
    if outcome.exact:
        return f"{asked}: {'done' if outcome.done[0] else 'not done'}"
    ends = "may be done" if outcome.done[1] else "not done by its last attempt"
    return f"{asked}, not run there: {ends}"


def _range(least: float, most: float | None) -> str:
    if most is None:
        return f"{least:,} or more"
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _between(found: RoutingResult, name: str) -> str:
    least, most = getattr(found.least, name), found.most and getattr(found.most, name)
    if name == "money" and not least and not most and found.most is not None:
        return ""
    return _range(least, None if found.most is None else most)


def _estimated(found: RoutingResult) -> str:
    made = found.estimate
    if made is None:
        return ""
    return f"{made.done:.0%} ({made.low:.0%} to {made.high:.0%}), by {made.matched} tasks"


def _json(found: RoutingResult, episodes: Sequence[Episode], logs: Sequence[str]) -> dict[str, Any]:
    return {
        "policy": found.name, "exact": found.exact, "done": list(found.done),
        "least": found.least._asdict(), "most": found.most and found.most._asdict(),
        "estimate": found.estimate and found.estimate._asdict(), "no_estimate": found.why,
        "outcomes": [
            {"log": log, "run": episode.run, "task": episode.item, "asked": list(outcome.asked),
             "exact": outcome.exact, "done": list(outcome.done), "least": outcome.least._asdict(),
             "most": outcome.most and outcome.most._asdict()}
            for log, episode, outcome in zip(logs, episodes, found.outcomes, strict=True)
        ],
    }  # fmt: skip
