"""Profiles and policies as options name them."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backcast.domain.budget import PROFILES
from backcast.domain.errors import InputError
from backcast.engine.interfaces.terminal import message

if TYPE_CHECKING:
    from backcast.domain.budget import ModelProfile
    from backcast.domain.policy import Policy
    from backcast.engine.log.store import EventStore
    from backcast.engine.models.tokenizers import Tokenizer
    from backcast.engine.replay.corpus import Setting


DEFAULT_PROFILE = "mistral-7b-8k"
PROFILE_NAMES = ", ".join(PROFILES)
TOKENIZERS = "mistral-v3, mistral-v1, qwen3, gguf:FILE, server:URL, upper-bound"
"The names that --tokenizer takes, as help tells them."
RECORDED = "recorded"
"Names each prompt's own policy, by which it was recorded."


def profile_by(
    name: str, tokenizer: str | None, context_tokens: int | None, prompt_tokens: int | None = None
) -> "ModelProfile":
    """Return the profile of a name, with another tokenizer, context part or whole prompt where they
    are given; counted by a bound where the tokenizer is not installed."""
    from backcast.engine.workflow.runtime import profile_named

    return _sized(profile_named(name), tokenizer, context_tokens, prompt_tokens)


def profile_at(
    store: "EventStore", task_id: str, name: str | None, tokenizer: str | None,
    context_tokens: int | None, prompt_tokens: int | None,
) -> "ModelProfile":  # fmt: skip
    """Return the profile by which a prompt of a task is built: the one that is named, that of the
    task's last run, which a note tells where it is another than the default, else the default."""
    from backcast.engine.workflow.runtime import used_before

    used = used_before(store, task_id).profile if name is None else None
    if used is None:
        return profile_by(name or DEFAULT_PROFILE, tokenizer, context_tokens, prompt_tokens)
    # A server that a run once asked may be gone.
    own = profile_by(DEFAULT_PROFILE, tokenizer, None).tokenizer
    counted = own if used.tokenizer.startswith("server:") else used.tokenizer
    profile = _sized(used._replace(tokenizer=counted), tokenizer, context_tokens, prompt_tokens)
    if profile != profile_by(DEFAULT_PROFILE, tokenizer, context_tokens, prompt_tokens):
        message(
            f"note: built for prompts of {profile.prompt:,} tokens, as those of the task's last"
            " run: --profile NAME takes another"
        )
    return profile


def _sized(
    profile: "ModelProfile", tokenizer: str | None, context_tokens: int | None,
    prompt_tokens: int | None,
) -> "ModelProfile":  # fmt: skip
    from backcast.engine.models.tokenizers import counted_by

    if context_tokens is not None:
        profile = profile.with_context(context_tokens)
    if prompt_tokens is not None:
        profile = profile.with_prompt(prompt_tokens)
    return profile._replace(tokenizer=tokenizer or counted_by(profile.tokenizer))


def message_counter() -> "Tokenizer":
    """Return what counts prompts of other programs, whose own tokenizer is not known: that of the
    default profile, or a bound where it is not installed."""
    from backcast.engine.models.tokenizers import tokenizer_of

    return tokenizer_of(profile_by(DEFAULT_PROFILE, None, None).tokenizer)


def fell_back(tokenizer: str | None, profile: "ModelProfile") -> bool:
    """Return whether a bound counts in the place of a profile's tokenizer, which was told."""
    return tokenizer is None and profile.tokenizer == "upper-bound"


def counter_by(
    name: str | None, tokenizer: str | None, store: "EventStore", task_id: str, window: str = ""
) -> "Tokenizer":
    """Return what counts tokens: a named tokenizer, that of a named profile, that of the task's
    last run, else that of the default profile of a window.

    A bound where it is not installed, which a note tells, as it does where a bound was named.
    """
    from backcast.engine.models.tokenizers import counted_by, tokenizer_of
    from backcast.engine.workflow.runtime import used_before

    noted = False  # that a bound counts in the place of what was meant
    if tokenizer is None and name is None and not window:
        used = used_before(store, task_id).profile
        # A server that a run once asked may be gone.
        if used and not used.tokenizer.startswith("server:"):
            tokenizer = counted_by(used.tokenizer)
            noted = tokenizer != used.tokenizer
    by_window = {"32k": "qwen3-8b-32k"}.get(window, DEFAULT_PROFILE)
    profile = profile_by(name or by_window, tokenizer, None)
    counter = tokenizer_of(profile.tokenizer)
    if not counter.exact and not (noted or fell_back(tokenizer, profile)):
        message("note: tokens are counted by an upper bound, a token a byte")
    return counter


def policy_by(name: str | None) -> "Policy":
    """Return the policy of a strategy's name or of a TOML file, else the default."""
    from backcast.domain.policy import DEFAULT

    if name is None:
        return DEFAULT
    from backcast.engine.context.policies import policy_named

    policy = policy_named(name)
    if Path(name).is_file():
        from backcast.engine.replay.regress import rules_of

        rules_of(name)  # rules are not used here, and wrong ones are wrong here, too
        note_idle(name)
    return policy


def note_idle(name: str) -> None:
    """Note which settings of a policy file cannot have an effect, and a name that is that of
    another policy: once in a command."""
    from backcast.engine.context.idle_settings import idle_in
    from backcast.engine.context.policies import policy_at, policy_known

    context = click.get_current_context(silent=True)
    noted: set[str] = context.meta.setdefault("backcast.idle", set()) if context else set()
    if name in noted or name == RECORDED or policy_known(name) or not Path(name).is_file():
        return
    noted.add(name)
    if line := idle_in(Path(name)):
        message(f"note: {name}: {line}")
    own, other = policy_at(Path(name)), policy_known(toml_name(name))
    if other and other.digest != own.digest:
        message(f"note: {name}: has other settings than {own.name}, whose name it has")


def toml_name(file: str) -> str:
    """Return the name that a policy file gives itself; empty for none."""
    return str(tomllib.loads(Path(file).read_text(encoding="utf-8")).get("name", ""))


def setting_of(name: str) -> "Setting":
    """Return the policy of a name or file as one of several that are compared."""
    from backcast.engine.context.policies import policy_named
    from backcast.engine.replay.corpus import Setting

    policy = None if name == RECORDED else policy_named(name)
    note_idle(name)
    if policy is None or not name.endswith(".toml"):
        return Setting(name, policy)
    stated = tomllib.loads(Path(name).read_text()).get("name")
    return Setting(stated or Path(name).stem, policy)


def read_setting(name: str) -> "Setting":
    """Return the same for a model that reads; `InputError` where the policy changes messages."""
    setting = setting_of(name)
    if setting.policy is not None:
        refuse_messages(setting.name, setting.policy)
    return setting


def refuse_messages(name: str, policy: "Policy") -> None:
    """Raise `InputError` where a policy changes an agent's messages, which no model reads here."""
    if policy.messages.changes:
        raise InputError(
            f"{name} changes an agent's messages, under which no model reads: needed a policy of"
            f" Backcast's own prompts; 'backcast regress LOG --policy {name}' tries it without a"
            " model"
        )


def policy_option(name: str = "policy_name") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option --policy of the commands that take one policy."""
    return click.option(
        "--policy", name, metavar="NAME_OR_FILE",
        help="A strategy, else settings as TOML, laid over the default: 'backcast help policies'.",
    )  # fmt: skip
