"""`backcast fit --keep` as it is asked for and printed: rules on what to keep of long results."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.interfaces.addresses import each_log
from backcast.engine.interfaces.histories import NEEDED, counter_of
from backcast.engine.interfaces.profiles import policy_by
from backcast.engine.interfaces.terminal import escaped, message, say

if TYPE_CHECKING:
    from backcast.domain.compression_settings import CompressionSettings
    from backcast.engine.history.address import Address
    from backcast.engine.replay.fit_keep import KeepFit
    from backcast.engine.replay.long_results import KeptEvidence, LongResult

PLAIN = "compress-2000"
"The policy whose rules are added to where none is named."


def compression_by(name: str | None) -> "CompressionSettings":
    """Return how a policy compresses results. `InputError` where it does not."""
    settings = policy_by(name or PLAIN).messages.compress
    if settings is None:
        raise InputError(
            f"{name} compresses no results: needed a policy with [messages.compress], for instance"
            f" {PLAIN} ('backcast help compression')"
        )
    return settings


def fit_keeping(
    addresses: "Sequence[Address]", url: str, policy: str | None, out: Path, *, as_json: bool
) -> tuple[bool, bool]:
    """Fit a guideline, print how it came about and write it; return whether one was learned, and
    whether every log could be read."""
    from backcast.engine.interfaces.commands.export import write
    from backcast.engine.interfaces.views import console, table
    from backcast.engine.replay.fit_keep import fit_keep

    settings = compression_by(policy)
    counter = counter_of(None)
    results, unreadable = _results(addresses, url, settings.over, counter.count)
    if not results and not unreadable:
        raise InputError(f"{NEEDED} with a result of more than {settings.over:,} tokens")
    found = fit_keep(results, settings, counter.count)
    if not found.refusal:
        write(out, _lines(found, out.stem), shared=True)
    if as_json:
        say(json_text(_json(found, None if found.refusal else out)))
    else:
        head, *rest = rows(found)
        table(console(), head, rest)
        for name, before, after in (
            ("training runs", found.before[0], found.after[0]),
            ("runs held out", found.before[1], found.after[1]),
        ):
            say(
                escaped(
                    f"{name}: {before.recall:.1f} -> {after.recall:.1f} % of {before.used:,} used"
                    f" things, {before.after:,} -> {after.after:,} tokens of {before.before:,}"
                )
            )
    if found.refusal:
        message(f"nothing was learned, and no policy is written: {found.refusal}")
    return not found.refusal, not unreadable


def _results(
    addresses: "Sequence[Address]", url: str, over: int, count: Any
) -> "tuple[list[LongResult], int]":
    from backcast.engine.replay.agent_prompts import has_messages
    from backcast.engine.replay.long_results import long_results

    results: list[LongResult] = []
    unreadable = 0
    for log in each_log(addresses, url):
        if log is None:
            unreadable += 1
            continue
        for task in log.tasks:
            if has_messages(log.store, task):
                results += (
                    result._replace(run=f"{log.name}#{task}")
                    for result in long_results(log.store, task, over, count)
                )
    return results, unreadable


def rows(found: "KeepFit") -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table of rules that were tried."""
    yield "rule", "failures", "training", "held out", "kept"
    yield (
        "as it was", f"{found.failures:,}", _recall(found.before[0]), _recall(found.before[1]), "",
    )  # fmt: skip
    for tried in found.tried:
        judged = _recall(tried.held_out) if tried.held_out else ""
        kept = "yes" if tried.kept else "no"
        yield str(tried.rule), f"{tried.failures:,}", _recall(tried.training), judged, kept


def _recall(found: "KeptEvidence") -> str:
    return f"{found.recall:.1f} % ({found.shown:,} of {found.used:,}), {found.after:,} tokens"


def _lines(found: "KeepFit", name: str) -> Iterator[str]:
    """Yield the lines of a policy file: how it came about as comments, then its settings."""
    from backcast.engine.interfaces.installed import VERSION

    before, after = found.before[1], found.after[1]
    yield "# A policy that 'backcast fit --keep' drew from what runs used of long results."
    yield f"# versions: backcast {VERSION}"
    yield f"# runs: {len(found.training_runs)} to draw from, {len(found.held_out_runs)} held out"
    yield (
        f"# held out: {before.recall:.1f} -> {after.recall:.1f} % of {before.used:,} used things,"
        f" {before.after:,} -> {after.after:,} tokens"
    )
    yield ""
    yield f"name = {_quoted(name)}"
    yield ""
    yield "[messages.compress]"
    settings = found.settings
    yield f"target = {settings.target}"
    yield f"over = {settings.over}"
    if settings.share is not None:
        yield f"share = {settings.share}"
    yield f"most = {settings.most}"
    for rule in settings.guideline:
        yield ""
        yield "[[messages.compress.guideline]]"
        for field in ("kind", "path", "name", "place"):
            if value := getattr(rule, field):
                yield f"{field} = {_quoted(value)}"
        yield f"worth = {rule.worth}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _json(found: "KeepFit", written: Path | None) -> dict[str, Any]:
    return {
        "format": "backcast-fit-keep-1",
        "settings": found.settings.model_dump(mode="json"),
        "training_runs": list(found.training_runs),
        "held_out_runs": list(found.held_out_runs),
        "failures": found.failures,
        "before": [figures._asdict() for figures in found.before],
        "after": [figures._asdict() for figures in found.after],
        "tried": [
            {
                "rule": tried.rule.model_dump(mode="json"),
                "failures": tried.failures,
                "training": tried.training._asdict(),
                "held_out": tried.held_out._asdict() if tried.held_out else None,
                "kept": tried.kept,
            }
            for tried in found.tried
        ],
        "refusal": found.refusal or None,
        "written": None if written is None else str(written),
    }
