"""Two prompts of a run side by side, as commands and tools show them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from backcast.domain.budget import ModelProfile
from backcast.domain.errors import InputError
from backcast.domain.policy import DEFAULT
from backcast.engine.context.policies import changed, policy_named
from backcast.engine.context.request import Request
from backcast.engine.interfaces.addresses import Place
from backcast.engine.interfaces.diff_text import diff_text
from backcast.engine.interfaces.named_nodes import node_asked
from backcast.engine.interfaces.terminal import escaped, message
from backcast.engine.interfaces.unrated import note_unrated
from backcast.engine.interfaces.views import cause_line, event_line
from backcast.engine.replay.derive import BuilderPool
from backcast.engine.replay.diff import Diff
from backcast.engine.replay.find import known_at, step_at
from backcast.engine.replay.pairs import Side, compared, moved
from backcast.engine.replay.steps import ReplayStep
from backcast.engine.workflow.runtime import profile_named

RECORDED, NOW = "recorded", "as recorded"
SETTINGS = 12
"The most settings in which two policies differ that get a line each."
CHANGES = 200
"Changes that get a line each."


class ShownDifference(NamedTuple):
    """A difference between two prompts, and what made it."""

    found: Diff
    about: str
    events: Sequence[str] = ()
    "The events that made it, as lines."
    settings: Sequence[str] = ()
    causes: Sequence[str] = ()
    "The same events as lines for people."


def difference_lines(shown: ShownDifference) -> Iterator[str]:
    """Yield a difference, the settings that made it, and the events that did."""
    if shown.about:
        yield escaped(shown.about)
    if len(shown.settings) > SETTINGS:
        yield escaped(f"  {len(shown.settings)} settings differ: {_named(shown.settings)}")
    else:
        yield from (escaped(f"  {line}") for line in shown.settings)
    yield from diff_text(shown.found, CHANGES).split("\n")
    if shown.causes:
        yield "made so by"
        yield from shown.causes


def _named(settings: Sequence[str]) -> str:
    """Return the names of settings that differ, those of a table counted.

    >>> _named(["errors 5 -> 0", "weights.rank 0.0 -> 1.0", "weights.typed 0.9 -> 1.0"])
    'errors, 2 of weights'
    """
    names = [line.partition(" ")[0] for line in settings]
    single = [name for name in names if "." not in name]
    tables = Counter(name.partition(".")[0] for name in names if "." in name)
    return ", ".join([*single, *(f"{tables[name]} of {name}" for name in tables)])


def between_settings(
    place: Place, policies: Sequence[str], profiles: Sequence[str] = ()
) -> ShownDifference:
    """Compare the prompt at a moment under two policies or profiles; one name is compared with the
    recorded prompt, of a change with that of the default."""
    step = step_at(place.store, place.task, place.when)
    before, after = _sides(step, policies, profiles)
    for policy in (before.policy, after.policy):
        if policy:
            note_unrated(policy, place.store, place.task, place.moment)
    pool = BuilderPool(place.store)
    found = compared(pool, step, before, after)
    recorded = pool.settings(step.built)[1] if step.built else DEFAULT
    settings = changed(before.policy or recorded, after.policy or recorded)
    return ShownDifference(found, f"{place.task}@{step.version} {step.name}", (), settings)


def _sides(step: ReplayStep, policies: Sequence[str], profiles: Sequence[str]) -> tuple[Side, Side]:
    """Return by what the two prompts are built."""
    named = [None if name == RECORDED else policy_named(name) for name in policies] or [None]
    windows: list[ModelProfile | None] = [profile_named(name) for name in profiles] or [None]
    two = len(policies) == 2 or len(profiles) == 2
    if two:
        first = Side(policies[0] if policies else RECORDED, named[0], windows[0])
    elif step.built:
        first = Side(NOW, now=False)
    else:
        first = Side("default")
    names = [*policies[-1:], *profiles[-1:]]
    return first, Side(" ".join(names), named[-1], windows[-1])


def in_order(first: Place, second: Place) -> tuple[Place, Place]:
    """Return two moments of a task, the earlier one first; note it where they came otherwise."""
    versions = [place.store.version_at(place.task, place.moment) for place in (first, second)]
    if versions[0] <= versions[1]:
        return first, second
    message(f"note: {first.when or 'now'} is the later moment: compared from {second.when} to it")
    return second, first


def between_moments(
    before: Place, after: Place, request: tuple[str | None, str] = (None, ""),
    profiles: Sequence[str] = (),
) -> ShownDifference:  # fmt: skip
    """Compare the prompts of two moments, with the events between that made the difference."""
    begin, end = (_step(place, request) for place in (before, after))
    if begin.version > end.version:
        raise InputError(
            f"needed a second moment behind the first, event {begin.version}, found event"
            f" {end.version}"
        )
    profile = profile_named(profiles[0]) if profiles else None
    found = moved(BuilderPool(before.store), begin, end, profile)
    first, last = (max(1, step.version) - 1 for step in (begin, end))
    causes = {
        cause for change in found.changes for cause in change.because if first < cause <= last
    }
    events = before.store.read(before.task, after=first, last=last)
    made_by = [event for event in events if event.version in causes]
    about = f"{before.task}, from {begin.name} to {end.name}"
    lines, shown = ([line(event) for event in made_by] for line in (event_line, cause_line))
    return ShownDifference(found, about, lines, causes=shown)


def _step(place: Place, request: tuple[str | None, str]) -> ReplayStep:
    """Return the prompt at a moment: the recorded one, or one for what is asked."""
    if not (request[0] or request[1]):
        return step_at(place.store, place.task, place.when)
    moment = place.outlined() if request[0] else place.moment
    version = place.store.version_at(place.task, moment)
    known = known_at(place.store, place.task, moment)
    wanted = Request(node_asked(*request, place.store, place.task, moment), request[1])
    name = place.when or "last"
    return ReplayStep(place.task, version + 1, name, wanted, None, known, known)
