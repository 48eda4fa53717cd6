"""What would another policy have shown at one prompt, and over the whole run?

As all of this package it is about prompts. What a model would have answered, nobody can tell.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

from backcast.domain.context import Context
from backcast.domain.errors import BudgetExceededError, InputError
from backcast.domain.node import kind_of, path_of
from backcast.domain.policy import Policy
from backcast.engine.context.message_policies import MESSAGE_POLICIES, message_policy
from backcast.engine.context.policies import policy_in, policy_named, toml_in
from backcast.engine.context.strategies import STRATEGIES
from backcast.engine.log.store import EventStore
from backcast.engine.replay.corpus import ReplayRun, Tried, steps_of
from backcast.engine.replay.derive import BuilderPool, PolicyReplay
from backcast.engine.replay.measure import Measured, measured
from backcast.engine.replay.regress import Comparison, Rules, compared, rules_in, rules_of
from backcast.engine.replay.steps import ReplayStep, asked
from backcast.engine.replay.used import Used, showing, used

RECORDED = "recorded"
NAMES = tuple(name for name, one in STRATEGIES.items() if not one.by_meaning)
"Policies that can be asked about: those that need no model."
MESSAGE_NAMES = tuple(MESSAGE_POLICIES)
"Policies of an agent's messages."
EDITED = "edited"


class OtherPolicy(NamedTuple):
    """A policy that is tried instead of the recorded one."""

    name: str
    policy: Policy
    rules: Rules
    text: str = ""
    "Its TOML, where it was typed and has no file."

    @property
    def file_name(self) -> str:
        """The name by which commands take it: of a file where it is no ready one."""
        is_ready = self.name in NAMES or message_policy(self.name) is not None
        return self.name if is_ready else f"{self.name}.toml"


def other_policy(name: str, text: str = "") -> OtherPolicy:
    """Return a policy by its name, or of TOML that is laid over it; no file is read.

    `InputError` in one line where the text is no policy.
    """
    if name not in NAMES and name not in MESSAGE_NAMES:
        known = ", ".join((*NAMES, *MESSAGE_NAMES))
        raise InputError(f"policy: needed one of {known}, found {name[:80]!r}")
    if not text.strip():
        return OtherPolicy(name, STRATEGIES.get(name) or MESSAGE_POLICIES[name], Rules())
    tables = {"base": name} | toml_in("the policy", text)
    policy = policy_in("the policy", tables)
    if policy.by_meaning:
        table = "weights" if policy.weights.get("meaning") else "likeness"
        raise InputError(f"the policy: {table}.meaning: needed 0, for no model is asked here")
    own = "" if "base" in toml_in("the policy", text) else f'base = "{name}"\n'
    return OtherPolicy(EDITED, policy, rules_in("the policy", tables), own + text.strip())


def policy_asked(name: str) -> OtherPolicy:
    """Return a policy by its name or its file, as a command takes it."""
    short = name.rpartition("/")[2].removesuffix(".toml")
    return OtherPolicy(short, policy_named(name), rules_of(name))


class RunTrial(NamedTuple):
    """A run under its own policies and under another one."""

    comparison: Comparison
    steps: tuple[Measured, ...]
    prompts: int
    "Prompts of the run; more than were measured where time was over."


def run_trial(
    store: EventStore, task: str, other: OtherPolicy,
    is_over: Callable[[], bool] = lambda: False,
    advance: Callable[[int], None] = lambda prompts: None,
) -> RunTrial:  # fmt: skip
    """Measure the prompts of a run under another policy, until `is_over` says that time is."""
    count = sum(prompt.fact.stood_at is not None for prompt in asked(store, task))
    if not count:
        raise InputError(f"{task}: needed a prompt that can be built anew, found none")
    pool, found = BuilderPool(store), list[Measured]()
    replays = [PolicyReplay(pool), PolicyReplay(pool, policy=other.policy)]
    run = ReplayRun("", task, count)
    for step in measured(steps_of(store, run), replays):
        found.append(step)
        advance(1)
        if is_over():
            break
    steps = tuple(found)
    [comparison] = compared([Tried(run, steps)], [RECORDED, other.name], [other.rules])
    return RunTrial(comparison, steps, count)


class UsedThing(NamedTuple):
    """A thing that an outcome used, and how two prompts show it."""

    node: str
    recorded: str
    """The level at which the recorded prompt shows it: name, signature, ...; `within` a text that
    holds it; `out` where it is not there."""
    other: str


class UsedHere(NamedTuple):
    """What the outcome of one prompt used, and whether another policy's prompt shows it."""

    used: int
    shown: int
    "Of them the recorded prompt showed so many."
    lost: tuple[str, ...]
    "Nodes that the recorded prompt showed, and the other does not."
    gained: tuple[str, ...]
    pinned: tuple[str, ...]
    "Items by which a prompt showed what was used: those that are lost or won first."
    things: tuple[UsedThing, ...] = ()
    tokens: int = 0
    "Tokens of the other prompt; 0 where what must be shown does not fit."


def used_here(pool: BuilderPool, step: ReplayStep, other: Policy) -> UsedHere:
    """Return what came of a step, held against its prompt under another policy."""
    things = [thing for thing in used(step) if step.built]
    recorded = cast(Context, step.built)  # its nodes, levels and reasons alone are read
    shows = showing(recorded)
    try:
        context = PolicyReplay(pool, policy=other).context(step)
        shows_other = showing(context)
    except BudgetExceededError:
        return UsedHere(len(things), sum(map(shows, things)), (), (), ())
    before = [thing.node for thing in things if shows(thing)]
    lost = [thing.node for thing in things if shows(thing) and not shows_other(thing)]
    gained = [thing.node for thing in things if shows_other(thing) and not shows(thing)]
    items = [item.node for item in (*recorded.items, *context.items)] if things else []
    pinned: dict[str, None] = {}
    for node in [*(lost or gained), *before]:
        if node in items:
            pinned[node] = None
        elif f"module:{path_of(node)}" in items and kind_of(node) != "failure":
            pinned[f"module:{path_of(node)}"] = None
    ways = tuple(
        UsedThing(thing.node, _way(recorded, thing, is_shown=shows(thing)),
                  _way(context, thing, is_shown=shows_other(thing)))
        for thing in things
    )  # fmt: skip
    return UsedHere(
        len(things), len(before), tuple(lost), tuple(gained), tuple(pinned), ways, context.tokens
    )


def _way(context: Context, thing: Used, *, is_shown: bool) -> str:
    """Return how a prompt shows a thing."""
    level = next((item.level for item in context.items if item.node == thing.node), "")
    if level in ("", "name") and is_shown:
        return "within"
    return level or "out"
