"""What fails now, and how the same was mended before: the failure, the patch, and its proof.

A fix is offered where the very message, or the very check, failed before: likeness cannot tell
"enable" from "disable". A policy can let messages differ in values: numbers, addresses and what
stands in quotes, of one exception about one function, or in one test.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from backcast.domain.cache import Failure
from backcast.domain.context import Candidate
from backcast.domain.errors import DamagedError
from backcast.domain.gathered import Fix
from backcast.engine.context.request_scope import RequestScope
from backcast.projections import offline_cache, online_cache

SECTION = "historical patterns"
PATCH_LINES = 60
"Lines of a patch that is shown; a longer one rewrote the module, and is only named."
SURE, LIKELY = 0.9, 0.6
"The chance that a fix helps where the failure is the same, and where values differ."
_VALUE = re.compile(r"0x[0-9a-fA-F]+|'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"|\b\d[\d_.]*\b")
_TYPE = re.compile(r"\b([A-Za-z_][\w.]*(?:Error|Exception|Warning))\b")
_CALL = re.compile(r"\b(\w+(?:\.\w+)*)\(")


class FailureShape(NamedTuple):
    """A message without its values."""

    words: str
    exception: str
    functions: tuple[str, ...]


class MatchedFix(NamedTuple):
    """A fix of something like what fails now."""

    fix: Fix
    same: bool
    "Whether it is the very message or check; else values differ."


def shape_of(message: str) -> FailureShape:
    """Return a message without its values.

    >>> shape_of("TypeError: weigh() takes 1 argument, not 'x'")
    FailureShape(words='TypeError: weigh() takes _ argument, not _', exception='TypeError', \
functions=('weigh',))
    """
    words = _VALUE.sub("_", message)
    exception = _TYPE.search(words)
    return FailureShape(words, exception[1] if exception else "", tuple(_CALL.findall(words)))


def differ_in_values(failure: Failure, fix: Fix) -> bool:
    """Tell whether two failures are of one exception about one function, or in one test, and
    differ in values alone."""
    now, then = shape_of(failure.message), shape_of(fix.message)
    same_check = bool(failure.name) and failure.name == fix.check
    return bool(now.exception) and now.words == then.words and (bool(now.functions) or same_check)


def matched(
    task_id: str, online: online_cache.State, offline: offline_cache.State, *, values: bool
) -> list[MatchedFix]:
    """Return fixes by other tasks of what fails now, the very same first and then the latest, one
    for each message. With `values`, those too whose failure differs in values alone."""
    failing = [one for one in online.failures if not one.over]
    messages = {one.message for one in failing if one.message}
    checks = {one.name for one in failing if one.name and not one.message}
    same, alike = dict[str, MatchedFix](), dict[str, MatchedFix]()
    for fix in offline_cache.fixes(offline) if failing else ():
        if fix.task == task_id:
            continue
        if fix.message in messages or fix.check in checks:
            same.setdefault(fix.message, MatchedFix(fix, True))
        elif values and any(differ_in_values(one, fix) for one in failing):
            alike.setdefault(shape_of(fix.message).words, MatchedFix(fix, False))
    return [*same.values(), *alike.values()]


def fixes(scope: RequestScope) -> Iterator[Candidate]:
    """Yield the fixes of what fails now, as many as the policy says."""
    states, policy = scope.states, scope.policy
    task, offline = scope.symbols.graph.task_id, states.offline
    found = matched(task, states.online, offline, values=policy.values)
    for number, (fix, same) in enumerate(found[: scope.details.patterns]):
        chance = (SURE if same else LIKELY) / (1 + number)
        head = f"Seen before: {fix.check or fix.message}"
        if not same:
            head = f"Seen before with other values: {fix.check or fix.message}"
        mended = f"mended by iteration {fix.iteration} of {fix.module}, task {fix.task}"
        proof = f"{head}: {fix.message}\n{mended}" + (
            f", proved by {fix.check}" if fix.check else ""
        )
        patch = patch_of(scope, fix)
        texts: Sequence[tuple[str, str]] = [
            ("full", f"{proof}:\n{patch}" if patch else proof),
            ("summary", proof),
            ("signature", f"{head}: {mended}"),
        ]
        score = round(chance, 6)
        yield Candidate(
            f"fix:{fix.task}@{fix.position}", SECTION, policy.priority(SECTION),
            scope.levels(texts, score, score), score, (), number, task=fix.task,
        )  # fmt: skip


def patch_of(scope: RequestScope, fix: Fix) -> str:
    """Return the patch that mended something; empty where it is long, or a text is gone."""
    if not (fix.before and fix.source) or fix.before == fix.source:
        return ""
    try:
        patch = scope.cache.lines.changed(fix.before, fix.source)
    except (DamagedError, ValueError):
        return ""
    return patch if patch.count("\n") < PATCH_LINES else ""
