"""Settings that cannot change a prompt, because of others: who tunes one should be told."""

from collections.abc import Iterator
from pathlib import Path

from backcast.domain.policy import Policy
from backcast.engine.context.policies import base_policy, differing_settings, policy_at, toml_at
from backcast.engine.context.recall.solutions import WEIGHED


def idle_in(file: Path) -> str:
    """Return in a line which settings of a policy file cannot have an effect; empty for none.

    Those that are as in its base are not of the file.
    """
    found = policy_at(file)
    base = base_policy(str(file), toml_at(file), file.parent)
    stated = differing_settings(base, found)
    by_reason: dict[str, list[str]] = {}
    for setting in stated:
        for idle, reason in idle_settings(found):
            if setting == idle or setting.startswith(f"{idle}."):
                # A table that is idle as a whole is named once.
                names = by_reason.setdefault(reason, [])
                names += [idle] if idle not in names else []
                break
    return "; ".join(
        f"{', '.join(names)}: no effect, {reason}" for reason, names in by_reason.items()
    )


def idle_settings(policy: Policy) -> Iterator[tuple[str, str]]:
    """Yield the settings, and whole tables, that cannot change a prompt of a policy, and why."""
    lookup = policy.lookup
    if not policy.pattern:
        why = "as pattern is 0"
        yield "longer", why
        if not (policy.recalled and lookup and lookup.pattern):
            yield "fading", why
        if not policy.beside:
            yield "likeness", why
        else:
            yield "likeness.meaning", why
    if lookup and not lookup.pattern:
        for name in ("longer", "fading", "likeness"):
            yield f"lookup.{name}", "as lookup.pattern is 0"
    if not policy.recalled:
        for name in ("recall", "news", "values"):
            yield name, "as recalled is 0"
    for name in policy.recall:
        if name not in WEIGHED:
            yield f"recall.{name}", "as it is not gathered for earlier work"
    if not policy.beside:
        yield "tests_beside", "as beside is 0"
    if not policy.libraries:
        yield "library_tokens", "as libraries is 0"
    if not (policy.in_order and policy.opening):
        yield "used_imports", "without in_order and opening"
    if not (policy.by_meaning or policy.map.merge):
        yield "embedder", "as nothing weighs meaning"
