"""With what does a run go on: the model that a name means, its profile, and the policy."""

from pathlib import Path
from typing import NamedTuple

from domain.budget import MISTRAL_7B_8K, PROFILES, ModelProfile
from domain.errors import DamagedError, InputError
from domain.events import PolicyUsed
from domain.policy import DEFAULT, Policy
from engine.context.policies import policy_of
from engine.context.recorded import profile_of
from engine.log.store import EventStore
from engine.models import Model


class Served(NamedTuple):
    """A model, and how it is used."""

    model: Model
    name: str
    "As whoever started the run named it."
    profile: ModelProfile
    policy: Policy = DEFAULT
    out: str = ""
    "The folder that the code is left in."


class Before(NamedTuple):
    """What a log says of how a task was run last."""

    model: str | None = None
    profile: ModelProfile | None = None
    policy: Policy = DEFAULT
    out: str | None = None


def used_before(store: EventStore, task_id: str) -> Before:
    """How a task was run last; nothing for one that was not."""
    last = None
    for event in store.read(task_id, types=["POLICY_USED"]):
        last = event.fact if isinstance(event.fact, PolicyUsed) else last
    if last is None:
        return Before()
    try:
        profile = profile_of(store.get(last.profile)) if last.profile else None
        policy = policy_of(store.get(last.policy)) if last.policy else DEFAULT
    except DamagedError:
        profile, policy = None, DEFAULT
    return Before(last.model, profile, policy, last.out)


def served(
    name: str,
    task_id: str = "",
    profile: ModelProfile | str | None = None,
    policy: Policy = DEFAULT,
    *,
    out: str = "",
    strict: bool = False,
) -> Served:
    """The model that a name means, with its profile.

    `recorded:FILE`, `llama:FILE` or the URL of a server. `InputError` for any other name.
    """
    kind, _, rest = name.partition(":")
    if isinstance(profile, str):
        profile = profile_named(profile)
    if kind == "recorded" and rest:
        from engine.workflow.recorded_run import RecordedRun

        recorded = RecordedRun(Path(rest), strict=strict, task=task_id)
        before = used_before(recorded.store, recorded.task).profile
        return Served(recorded, name, profile or before or MISTRAL_7B_8K, policy, out)
    raise InputError(
        f"needed a model as recorded:FILE, llama:FILE or http://HOST:PORT/v1, found {name!r}"
    )


def profile_named(name: str) -> ModelProfile:
    """A profile by its name, or that of a server: `server:URL`."""
    if name.startswith("server:"):
        from engine.context.server import Server

        return Server(name.removeprefix("server:")).profile()
    if name not in PROFILES:
        known = ", ".join(PROFILES)
        raise InputError(f"needed a profile of {known} or server:URL, found {name!r}")
    return PROFILES[name]
