"""Profiles and policies as options name them."""

from pathlib import Path
from typing import TYPE_CHECKING

from backcast.domain.errors import InputError

if TYPE_CHECKING:
    from backcast.domain.budget import ModelProfile
    from backcast.domain.policy import Policy


def node_asked(target: str | None, query: str) -> str:
    """Return the node of a request; empty where only words were given."""
    if not target:
        if not query.strip():
            raise InputError("needed --for NODE or --query TEXT, or both")
        return ""
    kind, _, place = target.partition(":")
    if kind not in ("module", "function", "method", "class", "test") or not place:
        raise InputError(f"needed module:PATH or function:PATH::NAME, found {target!r}")
    return target


def profile_by(name: str, tokenizer: str | None, context_tokens: int | None) -> "ModelProfile":
    """Return the profile of a name, with another tokenizer or context part where they are given;
    counted by a bound where the tokenizer is not installed."""
    from backcast.engine.models.tokenizers import counted_by
    from backcast.engine.workflow.runtime import profile_named

    profile = profile_named(name)
    if context_tokens is not None:
        profile = profile.with_context(context_tokens)
    return profile._replace(tokenizer=tokenizer or counted_by(profile.tokenizer))


def policy_by(path: Path | None) -> "Policy":
    """Return the policy of a file, else the default."""
    from backcast.domain.policy import DEFAULT
    from backcast.engine.context.policies import policy_at
    from backcast.engine.replay.regress import rules_of

    if path is None:
        return DEFAULT
    policy = policy_at(path)
    rules_of(str(path))  # rules are not used here, and wrong ones are wrong here, too
    return policy
